"""The command and its reports: groups here print rows that were made up, and nothing is timed."""

import json
import os
import re
import signal
import subprocess
import sys
from math import inf, nan
from pathlib import Path

import attrs
import pytest
from benchmarks import child
from benchmarks.against import changes, differences
from benchmarks.command import main
from benchmarks.effort import Effort
from benchmarks.measure import Spread
from benchmarks.report import BadReportError, Report, _cpu, read, rows_from, surroundings, write
from benchmarks.rows import Row
from benchmarks.runner import ROOT, run, suite_of

ABOUT = surroundings(Effort())


def row(ratio=0.5, bar=1.0, width=0.0, **fields):
    """A row with a ratio that was not measured."""
    spread = Spread(ratio, ratio - width, ratio + width, 7)
    made = {"group": "g", "what": "w", "unit": "us", "figure": spread, "floor": spread}
    return Row(**{**made, "ratio": spread, "bar": bar, **fields})


def single(figure, **fields):
    """A row with a figure and no ratio."""
    return attrs.evolve(row(figure, None, most=9.0, **fields), floor=None, ratio=None)


def report(*rows, about=ABOUT, **unfinished):
    return Report(about=about, rows=rows, unfinished=unfinished)


def saying(*rows, code=0):
    """The command line of a group that has measured these rows."""
    said = json.dumps([attrs.asdict(one) for one in rows])
    return [sys.executable, "-c", f"import sys; print({said!r}); sys.exit({code})"]


def command(argv, **groups):
    """Run the command with these groups."""
    return main(argv, tuple(groups), lambda names, effort: {name: groups[name] for name in names})


def test_command_writes_what_it_is_asked_for(tmp_path, capsys):
    """The command prints the table and writes JSON and SVG; status 0 where every bar is met."""
    as_json, as_svg = tmp_path / "figures.json", tmp_path / "chart.svg"
    asked = ["--json", str(as_json), "--svg", str(as_svg)]
    assert command(asked, one=saying(row(what="first")), two=saying(row(what="second"))) == 0
    out = capsys.readouterr().out
    assert "first" in out
    assert "second" in out
    assert [one.what for one in read(as_json).rows] == ["first", "second"]
    assert as_svg.read_text().startswith("<svg")


def test_command_runs_only_the_groups_it_is_given(capsys):
    """Groups that are not named on the command line are not measured, and a missed bar is status 1."""
    groups = {"one": saying(row(what="first")), "two": saying(row(2.0, what="second"), code=1)}
    assert command(["one"], **groups) == 0
    assert "second" not in capsys.readouterr().out
    assert command(["two"], **groups) == 1
    assert "MISSED" in capsys.readouterr().out


def test_command_names_the_groups_there_are(capsys):
    """An unknown group is refused with the names of the known ones."""
    with pytest.raises(SystemExit, match="2"):
        command(["three"], one=saying())
    assert "no group is called 'three'; there are one" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["rich", "benchmarks.command"])
def test_without_the_extra_of_developers_the_command_names_it(module):
    """After a plain install there is one line that helps; a module of our own is no such case."""
    source = (
        f"import runpy, sys; sys.modules[{module!r}] = None;"
        "runpy.run_module('benchmarks', run_name='__main__', alter_sys=True)"
    )
    ended = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", source, "--help"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = "error: rich is not installed: pip install -e '.[dev]'\n"
    if module == "rich":
        assert (ended.returncode, ended.stderr) == (2, said)
    else:
        assert ended.returncode == 1
        assert "pip install" not in ended.stderr


def test_a_group_that_crashes_leaves_the_others_alone(tmp_path, capsys):
    """Its last words are told, the rest is measured, and the status is 1."""
    broken = [sys.executable, "-c", "raise ValueError('no such clock')"]
    path = tmp_path / "figures.json"
    assert command(["--json", str(path)], one=broken, two=saying(row(what="second"))) == 1
    captured = capsys.readouterr()
    assert "second" in captured.out
    assert "one did not finish: " in captured.err
    assert "ValueError: no such clock" in captured.err
    assert list(read(path).unfinished) == ["one"]


def test_a_group_that_prints_no_rows_has_not_finished():
    """A process that ends well and has said nothing is no group without rows."""
    measured = run(suite_of("s", {"one": ["true"], "two": ["echo", "[{}]"]}, "1m"))
    assert measured.unfinished == dict.fromkeys(("one", "two"), "it printed no rows")
    assert measured.rows == ()


@pytest.mark.parametrize("said", ["null", "3", "{}", '"rows"'])
def test_a_group_that_prints_another_document_has_not_finished(said):
    """JSON that is no list of rows is that group's fault, and ends nothing but the group."""
    measured = run(suite_of("s", {"one": ["echo", said], "two": saying(row())}, "1m"))
    assert measured.unfinished == {"one": "it printed no rows"}
    assert measured.rows == (row(),)


@pytest.mark.parametrize("figure", [nan, inf])
def test_a_group_with_a_figure_that_is_no_number_has_not_finished(tmp_path, figure):
    """A figure that is not finite holds no bar: its group printed no rows, and the others did."""
    path = tmp_path / "figures.json"
    groups = {"one": saying(row(figure)), "two": saying(row(what="second"))}
    assert command(["--json", str(path)], **groups) == 1
    assert read(path).unfinished == {"one": "it printed no rows"}
    assert [one.what for one in read(path).rows] == ["second"]


def test_the_figures_are_written_before_they_are_shown(tmp_path, monkeypatch):
    """What a table cannot show is not lost: an hour of measuring is in the file by then."""

    def broken(rows):
        raise ValueError("no room")

    monkeypatch.setattr("benchmarks.command.show", broken)
    path = tmp_path / "figures.json"
    with pytest.raises(ValueError, match="no room"):
        command(["--json", str(path)], one=saying(row(what="first")))
    assert [one.what for one in read(path).rows] == ["first"]


def test_a_process_that_breaks_after_its_rows_has_not_finished():
    """Only 0 and 1 say that all went well: rows of a process that a signal ended are not shown."""
    measured = run(suite_of("s", {"one": saying(row(), code=3)}, "1m"))
    assert measured.rows == ()
    assert "exited with code 3" in measured.unfinished["one"]


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_the_process_of_a_group_says_its_rows_and_nothing_else(monkeypatch, capsys, ratio):
    """JSON goes to stdout, and to stderr what a group prints and the table; a missed bar is status 1."""

    async def group(effort):
        print("a word in between", effort.quick)  # noqa: T201 - that is the question
        return [row(ratio)]

    monkeypatch.setattr(child, "GROUPS", {"one": group})
    monkeypatch.setattr(sys, "argv", ["child", "one", "--quick"])
    assert child.main() == int(ratio > 1)
    printed = capsys.readouterr()
    assert rows_from(json.loads(printed.out)) == (row(ratio),)
    assert "a word in between True" in printed.err
    assert "<= 1 x" in printed.err


def test_a_group_that_hangs_is_ended():
    """A group has a limit, and what it is is told."""
    suite = suite_of("s", {"one": ["sleep", "60"]}, "50ms")
    measured = run(suite)
    assert measured.unfinished == {"one": "timed out after 0.05 s"}


def test_after_a_signal_there_are_the_rows_so_far():
    """Ctrl-C ends what is measured, starts nothing more, and keeps what had finished."""
    interrupt = ["sh", "-c", f"kill -INT {os.getpid()}; sleep 60"]
    suite = suite_of("s", {"one": saying(row()), "two": interrupt, "three": saying(row())}, "1m")
    measured = run(suite)
    assert measured.rows == (row(),)
    assert measured.unfinished == {"two": "cancelled", "three": "skipped"}
    assert measured.signal == signal.SIGINT


def test_a_signal_before_the_first_rows_leaves_files_alone(tmp_path, capsys):
    """Good figures of an earlier run are not replaced by none, and that is said."""
    path = tmp_path / "it.json"
    path.write_text("good")
    interrupt = ["sh", "-c", f"kill -INT {os.getpid()}; sleep 60"]
    asked = ["--json", str(path), "--svg", str(tmp_path / "it.svg")]
    assert command(asked, one=interrupt) == 128 + signal.SIGINT
    assert path.read_text() == "good"
    assert [place.name for place in tmp_path.iterdir()] == ["it.json"]
    assert "no group had finished: no file was written" in capsys.readouterr().err


def test_what_had_finished_before_a_signal_is_written(tmp_path):
    """Figures that there are go into the file, with the groups that are not in it."""
    path = tmp_path / "it.json"
    interrupt = ["sh", "-c", f"kill -INT {os.getpid()}; sleep 60"]
    assert command(["--json", str(path)], one=saying(row()), two=interrupt) == 128 + signal.SIGINT
    assert (read(path).rows, list(read(path).unfinished)) == ((row(),), ["two"])


def test_a_report_is_read_as_it_was_written(tmp_path):
    """The JSON holds every figure with its quartiles, and what follows from them."""
    series = {"10": Spread.of([1.0]), "100": Spread.of([2.0])}
    made = report(row(0.5, series=series), row(2.0, what="slow"), three="it crashed")
    write(made, tmp_path / "it.json")
    assert read(tmp_path / "it.json") == made
    document = json.loads((tmp_path / "it.json").read_text())
    assert document["missed"] == ["slow"]
    assert [one["verdict"] for one in document["rows"]] == ["ok", "MISSED"]
    assert document["rows"][0]["ratio"] == {"median": 0.5, "low": 0.5, "high": 0.5, "count": 7}


def test_a_report_says_what_was_measured_and_not_where(tmp_path):
    """Date, versions and processor are in it; no name of the machine, and no path."""
    write(report(row()), tmp_path / "it.json")
    text = (tmp_path / "it.json").read_text()
    assert {"date", "graceline", "trio", "python", "cores", "cpu", "quick"} < set(json.loads(text))
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text


def test_the_processor_is_named_where_it_says_its_name(tmp_path):
    """The name comes from /proc/cpuinfo; without one there is what the platform says."""
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A Fast One\nprocessor\t: 1\nmodel name\t: B\n")
    assert _cpu(info) == "A Fast One"
    assert isinstance(_cpu(tmp_path / "none"), str)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no json", "is no JSON: Expecting value"),
        ("[]", "is no report that .*: a report is an object"),
        ("null", "is no report that .*: a report is an object"),
        (
            '{"unfinished": [1]}',
            "is no report that .*: a report is an object, and so is `unfinished`",
        ),
        ('{"rows": []}', r"is no report that .*: required field missing @ \$.date"),
    ],
)
def test_a_file_that_is_no_report_is_refused(tmp_path, text, why):
    """What is wrong with a file is told, and its name."""
    path = tmp_path / "it.json"
    path.write_text(text)
    with pytest.raises(BadReportError, match=f"^{path} {why}"):
        read(path)


def test_a_row_of_another_shape_is_refused(tmp_path):
    """A report whose rows lack something is refused by what they lack."""
    path = tmp_path / "it.json"
    document = {**attrs.asdict(ABOUT), "rows": [{"group": "g"}], "unfinished": {}}
    path.write_text(json.dumps(document))
    with pytest.raises(BadReportError, match=r"required field missing @ \$\[0\].what"):
        read(path)


@pytest.mark.parametrize("figure", [nan, inf, -inf])
@pytest.mark.parametrize("place", ["figure", "floor", "ratio"])
def test_a_figure_that_is_no_number_is_refused(tmp_path, place, figure):
    """No bar can be held against what is not finite, so a report with it is none."""
    path = tmp_path / "it.json"
    write(report(attrs.evolve(row(), **{place: Spread.of([figure])})), path)
    with pytest.raises(BadReportError, match="a figure of g, w is no finite number"):
        read(path)
    write(report(row(series={"10": Spread.of([figure])})), path)
    with pytest.raises(BadReportError, match="a figure of g, w is no finite number"):
        read(path)


def test_a_missing_file_is_refused_before_anything_is_measured(tmp_path, capsys):
    """`--against` of a file that is not there is a mistake in the command line."""
    with pytest.raises(SystemExit, match="2"):
        command(["--against", str(tmp_path / "none.json")], one=["false"])
    assert "none.json cannot be read: No such file" in capsys.readouterr().err


def test_a_place_that_is_not_there_is_refused_before_anything_is_measured(tmp_path, capsys):
    """What could not be written after an hour is a mistake in the command line."""
    with pytest.raises(SystemExit, match="2"):
        command(["--json", str(tmp_path / "none" / "it.json")], one=["false"])
    assert "cannot be written: there is no directory" in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), ("--peers", "hand")])
@pytest.mark.parametrize(
    ("option", "name", "why"),
    [
        ("--json", "folder", "it is a directory"),
        ("--json", "none/it", "there is no directory"),
        ("--json", "denied", "permission denied"),
        ("--svg", "folder.svg", "it is a directory"),
        ("--svg", "denied.svg", "permission denied"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_first(
    tmp_path, capsys, monkeypatch, options, option, name, why
):
    """Directories and files without permission too, and of `--peers` as well."""
    for folder in ("folder", "folder.svg"):
        (tmp_path / folder).mkdir()
    for file in ("denied", "denied.svg"):
        (tmp_path / file).touch()
    monkeypatch.setattr(os, "access", lambda path, _: not path.name.startswith("denied"))
    monkeypatch.setattr("benchmarks.command.compare_peers", None)
    with pytest.raises(SystemExit, match="2"):
        command([*options, option, str(tmp_path / name)], one=["false"])
    assert f"{name} cannot be written: {why}" in capsys.readouterr().err


def test_charts_need_a_directory(tmp_path, capsys):
    """A file is no place for several charts, which is said before anything is measured."""
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="2"):
        command(["--svg", str(tmp_path / "file")], one=["false"])
    assert "file cannot be written: it is no directory" in capsys.readouterr().err


def test_a_bad_place_for_environments_is_refused(tmp_path, capsys, monkeypatch):
    """Where none can be made that is told; without `--peers` there is nothing to keep."""
    monkeypatch.setattr("benchmarks.command.compare_peers", None)
    (tmp_path / "file").touch()
    asked = ["--peers-dir", str(tmp_path / "file" / "below")]
    for argv, why in (
        (["--peers", *asked], "no environments can be kept in .*below: Not a directory"),
        (asked, "--peers-dir .* needs --peers"),
    ):
        with pytest.raises(SystemExit, match="2"):
            command(argv, one=["false"])
        assert re.search(why, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["--against", "a", "one"], "'one' is a group: write groups before it"),
        (["--against", "a", "b", "c"], "takes OLD, or OLD and NEW"),
        (["one", "--against", "a", "b"], "measures nothing"),
        (["--quick", "--against", "a", "b"], "measures nothing"),
        (["--peers", "--against", "a"], "--peers has no --against"),
    ],
)
def test_what_against_cannot_mean_is_refused(capsys, argv, why):
    """Groups after `--against`, three files, and options of measuring beside two files."""
    with pytest.raises(SystemExit, match="2"):
        command(argv, one=["false"])
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "verdict", "decides"),
    [
        (row(0.5, width=0.1), row(0.65, width=0.1), "noise", False),
        (row(0.5), row(0.5), "same", False),
        (row(0.5), row(0.54), "same", False),
        (row(0.5), row(0.56), "worse", True),
        (row(0.5), row(0.44), "better", False),
        (row(0.01), row(0.02), "same", False),
        (row(0.5, None), row(0.9, None), "changed", False),
        (row(3.0, None, least=2.0), row(2.5, None, least=2.0), "worse", True),
        (row(3.0, None, least=2.0), row(3.5, None, least=2.0), "better", False),
        (single(5.0), single(6.0), "worse", False),
        (
            single(5.0, exact=True),
            single(6.0, exact=True),
            "worse",
            True,
        ),
    ],
)  # fmt: skip
def test_worse_is_what_is_apart_and_beyond_the_tolerance(old, new, verdict, decides):
    """Ranges that touch are noise, a tenth is tolerated, and only ratios and exact figures decide."""
    [change] = changes(report(old), report(new))
    assert (change.verdict, change.decides) == (verdict, decides)


def test_growth_is_the_same_row_wherever_it_is_worst():
    """A curve is compared with itself, though the worst pair of sizes is another one."""
    series = {"10": Spread.of([1.0])}
    old, new = (row(what="c", against=pair, series=series) for pair in ("10 -> 20", "20 -> 30"))
    assert len(changes(report(old), report(new))) == 1
    assert len(changes(report(row(against="a")), report(row(against="b")))) == 0


def test_two_files_are_compared_without_measuring(tmp_path, capsys):
    """Old and new ratio with quartiles, the change in percent; status 1 if a row got worse."""
    paths = [tmp_path / "old.json", tmp_path / "new.json"]
    for path, ratio in zip(paths, (0.5, 0.75), strict=True):
        write(report(row(ratio, width=0.01, what="a row")), path)
    assert command(["--against", *map(str, paths)], one=["false"]) == 1
    out = capsys.readouterr().out
    for said in ("a row", "0.50 (0.49-0.51)", "0.75 (0.74-0.76)", "+50 %", "worse", "1 of 1 rows"):
        assert said in out
    assert command(["--against", *map(str, reversed(paths))], one=["false"]) == 0


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (report(row(), h="it hung"), "h did not finish in the new one"),
        (report(), "no row is in both"),
        (report(row(what="other")), "no row is in both"),
    ],
)
def test_what_the_new_file_lost_fails(tmp_path, capsys, new, said):
    """The status is 1 if a group did not finish in the new one, or there is nothing to compare."""
    paths = [tmp_path / "old.json", tmp_path / "new.json"]
    for path, one in zip(paths, (report(row(), row(group="h")), new), strict=True):
        write(one, path)
    assert command(["--against", *map(str, paths)], one=["false"]) == 1
    assert said in capsys.readouterr().out
    assert command(["--against", str(paths[0]), str(paths[0])], one=["false"]) == 0


def test_a_run_is_compared_with_a_file(tmp_path, capsys):
    """`--against OLD` measures, prints the table, and then what has changed."""
    path = tmp_path / "old.json"
    write(report(row(0.5, group="one", what="a row")), path)
    groups = {"one": saying(row(0.7, group="one", what="a row"))}
    assert command(["--against", str(path)], **groups) == 1
    out = capsys.readouterr().out
    assert "<= 1 x" in out
    assert "+40 %" in out


def test_what_is_in_one_report_only_is_said():
    """Rows and whole groups that have no partner, groups that did not finish, other versions."""
    about = attrs.evolve(ABOUT, python="3.99.0")
    old = report(row(what="a"), row(what="b"), row(group="h"), row(group="i"))
    new = report(row(what="a"), row(what="c"), about=about, h="it hung")
    assert list(differences(old, new)) == [
        f"python: {ABOUT.python} in the old one, 3.99.0 in the new one",
        "only in the old one: all of h, i",
        "only in the old one: g, b",
        "h did not finish in the new one: it hung",
        "only in the new one: g, c",
    ]
