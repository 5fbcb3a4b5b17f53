import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from graceline import PipelineResult, Status
from graceline.cli import main

GOOD = """
@node
async def double(given):
    print("on the way")
    return {"twice": 2 * given["n"] if given else None}

p = Pipeline("p", [double])
"""
SLOW = """
@node
async def slow(given):
    save_partial(["half"])
    await trio.sleep_forever()

p = Pipeline("p", [slow])
"""
SIGNALLED = """
@node
async def slow(given):
    save_partial(["half"])
    try:
        os.kill(os.getpid(), signal.{signal})
        await trio.sleep_forever()
    finally:
        with cleanup():
            await trio.lowlevel.checkpoint()
            save_partial(["half", "clean"])

p = Pipeline("p", [slow])
"""


def test_good_run(write, call):
    """A run that succeeds shows its waterfall and its value, and the exit code is 0."""
    code, out, err = call("run", f"{write(GOOD)}:p", "-i", "n=21")
    assert code == 0
    assert "p  ok after" in out
    assert "{'twice': 42}" in out
    assert err == ""


def test_json(write, call):
    """With --json standard output is the document of the result and nothing else."""
    code, out, err = call("run", write(GOOD), "--input", "n=21", "--json")
    result = PipelineResult.from_dict(json.loads(out))
    assert (code, result.value, result.status) == (0, {"twice": 42}, Status.OK)
    assert err == "on the way\n"


def test_no_input(write, call):
    """Without -i the input is None."""
    code, out, _ = call("run", write(GOOD), "--json")
    assert (code, json.loads(out)["value"]) == (0, {"twice": None})


def test_timeout(write, virtual, call):
    """--timeout limits the run: exit code 1, the level to blame and the partial values."""
    code, out, _ = call("run", write(SLOW), "--timeout", "20ms")
    assert code == 1
    assert "to blame  pipeline 'p' exceeded its limit of 20ms, given with the call" in out
    assert "partial   slow = ['half']" in out


def test_no_default_limits(write, call):
    """A pipeline that states no limit has none."""
    code, out, _ = call("run", write(GOOD), "--json")
    document = json.loads(out)
    assert (code, document["limit"], document["stages"]["p"]["nodes"]["double"]["limit"]) == (
        0, None, None,
    )  # fmt: skip


FAILS = """
async def boom(given):
    raise ValueError("bad luck")

p = Pipeline("p", [Node(boom, on_cleanup=boom)])
"""


def test_failure(write, call):
    """A failed run says which node raised what, without a traceback, with exit code 1."""
    code, out, err = call("run", write(FAILS))
    assert code == 1
    assert "error     ValueError: bad luck" in out
    assert err == ""


def test_failure_with_debug(write, call):
    """--debug shows the tracebacks of what nodes and handlers raised."""
    _, _, err = call("run", write(FAILS), "--debug")
    assert err.count("Traceback") >= 2
    assert "jobs.py" in err


def test_degraded(write, call):
    """A degraded run is not good enough, unless --allow-degraded says so."""
    target = write("""
    async def boom(given): raise ValueError
    p = Pipeline("p", [Stage("s", [boom], critical=False, on_cleanup=boom)])
    """)
    code, out, _ = call("run", target)
    assert (code, "degraded  s" in out) == (1, True)
    assert call("run", target, "--allow-degraded")[0] == 0


def test_late(write, virtual, call):
    """A late run has its value: exit code 0."""
    target = write("""
    async def stubborn(given):
        with trio.CancelScope(shield=True):
            await trio.sleep(0.01)
        return "at last"
    p = Pipeline("p", [stubborn], timeout=0.001)
    """)
    code, out, _ = call("run", target)
    assert (code, "late" in out, "at last" in out) == (0, True, True)


def test_errors_of_a_good_run(write, call):
    """--debug shows what a handler raised although the run succeeded."""
    target = write("""
    def handler(outcome): raise OSError("disk")
    async def fine(given): ...
    p = Pipeline("p", [Stage("s", [Node(fine), Node(fine, name="other")])], on_cleanup=handler)
    """)
    code, _, err = call("run", target, "--debug")
    assert (code, err.count("OSError: disk")) == (0, 1)


def test_huge_value(write, call):
    """A huge value is cut, and the command says so."""
    target = write("""
    async def huge(given): return [str(i) * 50 for i in range(1000)]
    p = Pipeline("p", [huge])
    """)
    code, out, _ = call("run", target)
    assert code == 0
    assert "more lines; --json prints everything" in out
    assert len(out.splitlines()) < 60


@pytest.mark.parametrize(("limit", "code"), [("0s", 1), ("1h", 0), ("90m", 0)])
def test_limits_that_can_be_typed(write, call, limit, code):
    """What the messages say that one should write is taken."""
    assert call("run", write(GOOD), "--timeout", limit)[0] == code


def test_place_of_a_failure(write, call):
    """A failure says at which line of the user's it was raised, and how to see the traceback."""
    target = write("""
    import json
    def load(given): return json.loads("{")
    @node
    async def boom(given): load(given)
    p = Pipeline("p", [boom])
    """)
    _, out, _ = call("run", target)
    assert "(jobs.py:6)\n" in out
    assert "hint      --debug shows the traceback" in out
    assert "hint" not in call("run", target, "--debug", "-i", "a=1")[1]


@pytest.mark.parametrize(
    ("stages", "count"),
    [
        ("[Stage('s', [bad])]", 1),
        ("[Stage('s', [Node(fine, when=bad_if)])]", 1),
        ("[Stage('s', [fine], when=bad_if)]", 1),
        ("[Stage('s', [fine], on_cleanup=bad)]", 1),
        ("[Stage('s', [Node(fine, on_cleanup=bad)])]", 1),
        ("[Stage('s', [fine])], on_cleanup=bad", 1),
        ("[Stage('s', [fine])]", 0),
    ],
)
def test_what_is_said_of_tracebacks_is_true(write, call, stages, count):
    """Whatever was raised, and wherever: --debug is named where it shows a traceback, each once."""
    target = write(f"""
    def bad_if(given): raise OSError("here")
    async def bad(given): raise OSError("here")
    async def fine(given): ...
    p = Pipeline("p", {stages})
    """)
    assert ("--debug shows the traceback" in call("run", target)[1]) is bool(count)
    _, out, err = call("run", target, "--debug")
    assert err.count("OSError: here") == err.count("Traceback") == count
    assert "--debug" not in out


NEEDS_INPUT = """
@node
async def first(given): return given["n"] if given else 0
@node
async def hungry(given): return given["n"]
soft = {"critical": False}
p = Pipeline("p", [
    Stage("a", [first, hungry]), Stage("b", [Node(hungry.function, name="later")], **soft)
])
later = Pipeline("later", [
    Stage("a", [first, Node(hungry.function, name="after", after="first", **soft)], **soft),
    Stage("b", [hungry]),
])
"""


def test_no_input_is_said_where_it_hurts(write, call):
    """A node that fails on the run's input is told that there was none, if there was none."""
    target = f"{write(NEEDS_INPUT)}:p"
    _, out, _ = call("run", target)
    assert "hint      the input of hungry was None: there was no -i key=value\n" in out
    _, out, _ = call("run", target, "-i", "n=3")
    assert "there was no -i" not in out
    assert "there was no -i" not in call("run", target, "-i", "m=3")[1]
    _, out, _ = call("run", "jobs.py:later")
    assert "raised TypeError" in out
    assert "there was no -i" not in out


def test_no_time_in_a_queue(write, virtual, monkeypatch, capsys):
    """One run alone never waits, whatever else the command does; its first bar begins at the left."""
    from rich.console import Console

    from graceline.cli import live, showing

    target = write("""
    @node
    async def work(given): await trio.sleep(1)
    p = Pipeline("p", [work])
    """)

    async def view(*_):
        trio.lowlevel.current_clock().jump(5)  # as if it took so long until it could show anything

    def console(**options):
        return Console(**options, width=80, force_terminal=True, color_system=None)

    monkeypatch.setattr(showing, "Console", console)
    monkeypatch.setattr(live, "show_live", view)
    for _ in range(5):  # the order of tasks is random
        assert main(["run", target]) == 0
        head, axis, stage = capsys.readouterr().out.splitlines()[:3]
        assert head == "p  ok after 5s"
        assert stage.index("─") == axis.index("0")


def test_abandoned_thread(write, call):
    """A worker thread that was left behind is named."""
    target = write("""
    import threading
    release = threading.Event()
    def hang(given):
        os.kill(os.getpid(), signal.SIGINT)
        release.wait(60)
    p = Pipeline("p", [hang], on_cleanup=lambda outcome: release.set())
    """)
    said = call("run", target)[1]
    assert re.search("threads   abandoned at the cancel, and (went on|ended since): hang", said)


def test_bad_mode(write, call, monkeypatch):
    """An environment that asks for an unknown mode is exit code 2."""
    monkeypatch.setenv("GRACELINE_MODE", "obsreve")
    code, _, err = call("run", write(GOOD))
    assert (code, "did you mean 'observe'" in err) == (2, True)


@pytest.mark.parametrize(
    ("source", "expected", "message"),
    [
        ("1 / 0", 2, "ZeroDivisionError: division by zero (while jobs.py was imported)"),
        ("raise SystemExit(7)", 7, ""),
        ("raise SystemExit", 0, ""),
        ("raise SystemExit('no')", 1, "no"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("raise ValueError", 2, "ValueError (while"),
        ("async def f(given): raise SystemExit(9)\np = Pipeline('p', [f])", 9, ""),
        ("async def f(given): raise KeyboardInterrupt\np = Pipeline('p', [f])", 130, "interrupted"),
    ],
)
def test_what_the_code_raises(write, call, source, expected, message):
    """What the user's code raises for the program ends the command with a message, no traceback."""
    code, out, err = call("run", write(source))
    assert (code, out) == (expected, "")
    assert message in err
    assert "Traceback" not in err


def test_traceback_of_an_import(write, call):
    """--debug shows the traceback of an error at import."""
    assert "Traceback" in call("run", write("1 / 0"), "--debug")[2]


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_signal(write, call, name, code):
    """A signal cancels the run with its cleanup; what it has so far is shown."""
    got, out, err = call("run", write(SIGNALLED.format(signal=name)))
    assert got == code
    assert "partial   slow = ['half', 'clean']" in out
    word = {"SIGINT": "interrupted", "SIGTERM": "terminated"}[name]
    assert f"to blame  pipeline 'p': {word}" in out
    assert err == ""


def test_signal_with_json(write, call):
    """After an interrupt, --json prints the partial result."""
    code, out, _ = call("run", write(SIGNALLED.format(signal="SIGINT")), "--json")
    result = PipelineResult.from_dict(json.loads(out))
    assert (code, result.status, result.partial["slow"]) == (130, "cancelled", ["half", "clean"])


def test_second_signal(write, call):
    """A second signal cuts the cleanup at once, although it has grace left."""
    target = write("""
    @node
    async def slow(given):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep_forever()
        finally:
            with cleanup():
                os.kill(os.getpid(), signal.SIGINT)
                await trio.sleep_forever()

    p = Pipeline("p", [slow], grace=3600)
    """)
    code, out, _ = call("run", target)
    assert (code, "to blame  pipeline 'p': interrupted" in out) == (130, True)


def test_third_signal(write):
    """A third signal ends the process, whatever its nodes do."""
    target = write("""
    @node
    async def immortal(given):
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            try:
                await trio.sleep(0.01)
            except trio.Cancelled:
                pass
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()

    p = Pipeline("p", [immortal])
    """)
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", f"from graceline.cli import main; main(['run', {target!r}])"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGINT


def test_interrupt_of_the_command(write):
    """The installed command answers Ctrl-C with a partial result and exit code 130."""
    target = write("""
    @node
    async def slow(given):
        save_partial(["half"])
        print("started", flush=True)
        await trio.sleep_forever()

    p = Pipeline("p", [slow])
    """)
    command = Path(sys.executable).with_name("graceline")
    with subprocess.Popen(  # noqa: S603 - our own command
        [command, "run", target], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "partial   slow = ['half']" in out
    assert err == ""


ONE_SECOND = """
@node
async def slow(given): await trio.sleep(1)
p = Pipeline("p", [Stage("s", [slow], timeout=%s)])
"""


@pytest.mark.parametrize(
    ("mode", "timeout", "said"),
    [
        ("observe", 0.5, "mode observe: limits cut nothing; the limit of 500ms of stage 's' would have"),
        ("observe", 2, "mode observe: limits cut nothing, and none would have"),
        ("off", 0.5, "mode off: limits cut nothing"),
    ],
)  # fmt: skip
def test_a_mode_that_cuts_nothing_is_said(write, virtual, call, monkeypatch, mode, timeout, said):
    """A run that no limit could cut says so, and which one would have."""
    monkeypatch.setenv("GRACELINE_MODE", mode)
    code, out, _ = call("run", write(ONE_SECOND % timeout))
    assert code == 0
    assert f"hint      {said}\n" in out


def test_enforce_is_not_said(write, virtual, call):
    """Where limits cut, as everywhere, there is no word of a mode."""
    assert "mode" not in call("run", write(ONE_SECOND % 2))[1]


def test_a_passed_soft_deadline_is_said(write, virtual, call):
    """A part that went on past a soft deadline is named, with that deadline."""
    target = write("""
    @node(timeout=0.5)
    async def slow(given): await trio.sleep(1)
    p = Pipeline("p", [Stage("s", [slow])], timeout=4, budget="remaining")
    """)
    code, out, _ = call("run", target)
    assert code == 0
    assert "hint      node 'slow' went on past its soft deadline of 500ms\n" in out


def test_a_command_that_does_not_exist(write, call):
    """A word that is no command points at the list of commands."""
    code, _, err = call("rnu", write(ONE_SECOND % 2))
    assert (code, "see: graceline --help" in err) == (2, True)


def test_attempts(write, virtual, call):
    """A node that was tried again has a line for each attempt, and earlier errors are kept."""
    path = write("""
    from graceline import Retry
    script = [OSError("disk")]
    async def flaky(given):
        await trio.sleep(1)
        if script:
            raise script.pop()
    p = Pipeline("p", [Node(flaky, retry=Retry(backoff=0))])
    """)
    code, out, _ = call("run", path)
    assert code == 0
    assert [line.split()[-2:] for line in out.splitlines() if "attempt " in line] == [
        ["failed", "1s"],
        ["ok", "1s"],
    ]
    assert "earlier  flaky: OSError: disk (jobs.py:" in out


SHARED = """
from graceline import Bulkhead
async def work(given): return given
both = [Node(work, name=f"n{slots}", limit=Bulkhead(slots=slots, name="db")) for slots in (1, 2)]
bad = Pipeline("p", [Stage("s", both)])
"""


@pytest.mark.parametrize("more", [[], ["--json"], ["--no-history"]])
def test_a_definition_that_is_wrong_only_together(write, call, more):
    """A mistake that shows when the pipeline is to run is one in the definition: exit code 2."""
    target = f"{write(SHARED)}:bad"
    code, out, err = call("run", target, *more)
    assert (code, out) == (2, "")
    assert err.startswith(f"graceline: {target}: bulkhead 'db': nodes that share it by name must")
    assert "Traceback (most" in call("run", target, "--debug")[2]


def test_a_definition_error_of_a_node(write, call):
    """What a node raises is its failure, whatever it is."""
    target = write("""
    from graceline.errors import DefinitionError
    async def work(given): raise DefinitionError("mine")
    p = Pipeline("p", [work])
    """)
    code, out, err = call("run", target)
    assert (code, err) == (1, "")
    assert "DefinitionError: mine" in out


def test_pictures(write, call, tmp_path):
    """`--html` and `--svg` write the waterfall into files, beside what the run says."""
    page, picture = tmp_path / "run.html", tmp_path / "run.svg"
    code, out, err = call("run", write(GOOD), "--html", str(page), "--svg", str(picture))
    assert (code, err) == (0, "")
    assert "p  ok after" in out
    assert 'aria-label="double: ok' in page.read_text("utf-8")
    assert 'aria-label="double: ok' in picture.read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "is a directory; name a file"), ("no/such.html", "there is no directory")],
)
def test_pictures_that_have_no_place(write, call, tmp_path, name, said):
    """A file that cannot be there is a mistake that is said before the run, with exit code 2."""
    code, out, err = call("run", write(GOOD), "--html", str(tmp_path / name))
    assert (code, out) == (2, "")
    assert said in err


def test_pictures_that_cannot_be_written(write, call, tmp_path, monkeypatch):
    """A file that turns out not to be writable is said after the run has been shown."""

    def full(*_args, **_options):
        raise OSError("the disk is full")

    target = write(GOOD)
    monkeypatch.setattr(Path, "replace", full)
    code, out, err = call("run", target, "--svg", str(tmp_path / "run.svg"))
    assert code == 2
    assert "p  ok after" in out
    assert "the disk is full" in err
    assert list(tmp_path.glob(".run.svg*")) == []
