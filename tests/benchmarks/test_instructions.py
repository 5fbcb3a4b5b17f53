"""The gate, with made-up counts; the scenarios, without Callgrind."""

import json
import sys

import pytest
import trio
from benchmarks.instructions import counting, scenarios
from benchmarks.instructions.command import main
from benchmarks.instructions.counting import NoCountError, count, read
from benchmarks.instructions.figures import FIGURES, TOLERANCE, compare, ratio
from benchmarks.instructions.scenarios import BARE, ENGINE, HAND, SCENARIOS, Steps, play

from graceline import Status, Watchdog, open_engine

PYTHON = "{}.{}".format(*sys.version_info)


def counts(engine=80.0, hand=100.0, name="one"):
    return {name: {HAND: hand, ENGINE: engine}}


def gate(tmp_path, now, *argv, known=80.0):
    """Run the command with counts of now against those that are known."""
    path = tmp_path / "figures.json"
    if known is not None:
        path.write_text(json.dumps({PYTHON: {"counts": counts(known)}}))
    return main(argv, counting=lambda _: now, figures=path), path


@pytest.mark.parametrize(
    ("engine", "status", "said"),
    [
        (80.0, 0, "ok"),
        (81.5, 0, "ok"),
        (83.9, 0, "ok"),
        (84.1, 1, "WORSE"),
        (60.0, 0, "better: keep it"),
    ],
)
def test_what_got_worse_fails(tmp_path, capsys, engine, status, said):
    """The status is 1 if a ratio has grown by more than the tolerance, and only then."""
    assert TOLERANCE == 0.05
    assert gate(tmp_path, counts(engine))[0] == status
    assert said in capsys.readouterr().out


def test_a_slower_machine_is_no_matter(tmp_path):
    """Both sides cost three times as much, as by another build of Python: nothing got worse."""
    assert gate(tmp_path, counts(240.0, 300.0))[0] == 0


def test_what_is_not_known_fails(tmp_path, capsys):
    """Without figures of this Python, or of a new scenario, the command asks for them."""
    assert gate(tmp_path, counts(), known=None)[0] == 1
    assert gate(tmp_path, counts(name="five"))[0] == 1
    assert f"lacks figures of Python {PYTHON}: --update writes them" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<<<<<<< ours", "JSONDecodeError"),
        ("[]", "no attribute 'values'"),
        ('{"3.11": {"counts": {"one": {"hand": 1}}}}', "KeyError: 'engine'"),
        ('{"3.11": {"counts": {"one": {"hand": 0, "engine": 1}}}}', "ZeroDivisionError"),
        ('{"3.11": {"counts": {"one": {"hand": 1, "engine": NaN}}}}', "a ratio of nan"),
        ('{"3.11": {"counts": {"one": {"hand": 1, "engine": 0}}}}', "a ratio of 0"),
    ],
)
@pytest.mark.parametrize("argv", [[], ["--update"]])
def test_damaged_figures_are_told_before_anything_is_counted(tmp_path, capsys, argv, text, why):
    """One sentence with the name of the file, status 2, and the file stays as it was."""
    path = tmp_path / "figures.json"
    path.write_text(text)
    assert main(argv, counting=None, figures=path) == 2
    said = capsys.readouterr().err
    assert f"{path} holds " in said
    assert why in said
    assert said.count("\n") == 1
    assert path.read_text() == text


def test_update_writes_what_was_counted(tmp_path):
    """After --update the same counts pass; other versions and scenarios are kept."""
    other = {"2.7": {"trio": "0", "counts": counts()}, PYTHON: {"counts": counts(1.0, name="five")}}
    path = tmp_path / "figures.json"
    path.write_text(json.dumps(other))
    for argv in (["--update"], []):
        assert main(argv, counting=lambda _: counts(90.2), figures=path) == 0
    written = json.loads(path.read_text())
    assert written["2.7"] == other["2.7"]
    assert written[PYTHON]["trio"] == trio.__version__
    assert written[PYTHON]["counts"] == {"one": {"hand": 100, "engine": 90}} | counts(
        1.0, name="five"
    )


def test_a_bare_loop_is_taken_off_both_sides():
    """What remains of engine and hand-written scopes above a bare loop makes the ratio."""
    counted = {BARE: 20.0, HAND: 120.0, ENGINE: 70.0}
    assert ratio(counted) == 0.5
    (line,) = compare({"sequence": counted}, {PYTHON: {"counts": {"sequence": counted}}}, PYTHON)
    assert (line.engine, line.hand, line.known, line.verdict) == (50.0, 100.0, 0.5, "ok")


def test_unknown_scenario_is_an_error(capsys):
    """A misspelt scenario ends the command, and those that there are are named."""
    with pytest.raises(SystemExit):
        main(["sequense"])
    assert "no scenario is called 'sequense'; there are sequence, " in capsys.readouterr().err


def test_without_valgrind_nothing_is_counted(tmp_path, capsys, monkeypatch):
    """Where Valgrind is missing the command says how to get it, and its status is 2."""
    monkeypatch.setattr(counting.shutil, "which", lambda _: None)
    assert main([], figures=tmp_path / "none.json") == 2
    assert "valgrind is not installed: apt-get install valgrind" in capsys.readouterr().err


def test_what_fails_under_valgrind_is_shown(tmp_path, monkeypatch):
    """An error of the scenarios themselves is not lost."""
    broken = tmp_path / "valgrind"
    broken.write_text("#!/bin/sh\necho nothing works here >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(counting.shutil, "which", lambda _: str(broken))
    with pytest.raises(NoCountError, match="nothing works here"):
        count(["one"])


def test_marks_that_are_not_seen_are_noticed(tmp_path, monkeypatch):
    """Where no profile was written at the marks, there is no count instead of a wrong one."""
    deaf = tmp_path / "valgrind"
    deaf.write_text("""#!/bin/sh\necho '[["one", "hand"]]'\n""")
    deaf.chmod(0o755)
    monkeypatch.setattr(counting.shutil, "which", lambda _: str(deaf))
    with pytest.raises(NoCountError, match=r"did not see the calls of getpgrp\(\)"):
        count(["one"])


def test_total_of_a_dump():
    """The instructions of a profile are those of its last line."""
    assert read(["fn=(1) main", "4 20", "", "totals: 1234"]) == 1234
    with pytest.raises(NoCountError, match="without totals"):
        read(["fn=(1) main"])


def test_every_scenario_has_committed_figures():
    """The gate knows each scenario in each version of Python that it knows."""
    for version in json.loads(FIGURES.read_text()).values():
        assert list(version["counts"]) == list(SCENARIOS)


def test_work_stands_between_marks(monkeypatch):
    """Each contestant runs as often as it is counted between two marks, and is named in order."""
    marks = []
    monkeypatch.setattr(scenarios, "_mark", lambda: marks.append(None))
    played = trio.run(play, SCENARIOS, ["one", "timeout"], clock=Steps())
    assert played == [("one", HAND), ("one", ENGINE), ("timeout", HAND), ("timeout", ENGINE)]
    assert len(marks) == 2 * len(played)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios_end_as_they_should(name):
    """The one that times out does, on both sides; all others give the value to everybody."""

    async def main():
        async with open_engine(watchdog=Watchdog(blocked_after=None)) as engine:
            return [await work() for work in SCENARIOS[name].contestants(engine).values()]

    *others, result = trio.run(main, clock=Steps())
    if name == "timeout":
        assert (others, result.status, result.blame.name) == ([None], Status.TIMED_OUT, "n2")
    else:
        assert result.status is Status.OK
        values = others[0]
        assert all(other == values for other in others)
        got = result.value
        assert (list(got.values()) if isinstance(got, dict) else got) == (
            list(values.values()) if isinstance(values, dict) else values
        )
