"""Child programs as nodes; real processes and the real clock, and no assertion on speed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from graceline import (
    BlockingEngine,
    Command,
    CommandFailedError,
    DefinitionError,
    Node,
    Pipeline,
    Stage,
    Timeouts,
    each,
    open_engine,
    parallel,
)
from graceline.telemetry.events import CleanupOverran, OutputReceived, SignalSent
from graceline.work import child, groups, guard

THOROUGH_ONLY = pytest.mark.skipif(
    os.environ.get("GRACELINE_PROFILE") != "thorough", reason="takes long: GRACELINE_PROFILE"
)
NO_LIMITS = Timeouts(node=None, pipeline=None, grace=30)
PATIENCE = 60
"""Seconds after which a wait has failed; never a measure of speed."""


@pytest.fixture
async def engine(mark):
    """An engine where nothing is limited by default, with a grace that nobody here needs."""
    async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=None) as engine:
        yield engine


async def run(engine, argv, value=None, **options):
    """Run a command in a pipeline of its own; gives the outcome of its node."""
    result = await engine.run(Pipeline("p", [Node(Command(argv, **options), name="n")]), value)
    return result.node("n")


async def until(condition):
    """Wait for something that another process brings about."""
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.sleep(0.002)


async def cancelled_when(engine, pipeline, told="ready\n", **options):
    """Start a pipeline and cancel it as soon as a program has written something; gives the result."""
    run = engine.start(pipeline)
    text = ""
    with trio.fail_after(PATIENCE):
        async for event in run.events(output=True):
            text += getattr(event, "text", "")
            if told in text:
                break
        run.cancel(**options)
        return await run.wait()


class Record:
    """A sink that keeps events."""

    inline = True

    def __init__(self):
        self.events = []

    def wants_trace(self):
        return False

    def __call__(self, event):
        self.events.append(event)

    def signals(self):
        return [event.signal for event in self.events if isinstance(event, SignalSent)]

    def overran(self):
        return [event for event in self.events if isinstance(event, CleanupOverran)]


# -- what it gives ----------------------------------------------------------------------------


async def test_the_value_is_what_the_program_left(engine):
    """The value holds the arguments, the exit code, and both streams apart from each other."""
    outcome = await run(engine, "echo out; echo err >&2")
    assert outcome.status == "ok"
    value = outcome.value
    assert value.argv == ("/bin/sh", "-c", "echo out; echo err >&2")
    assert (value.exit_code, value.signal) == (0, None)
    assert (value.stdout, value.stderr) == ("out\n", "err\n")
    assert (value.stdout_dropped, value.stderr_dropped, value.artifacts) == (0, 0, ())


async def test_a_list_is_started_without_a_shell(engine):
    """The words of a list arrive as they are, whatever a shell would make of them."""
    words = ["$HOME", "*", "a b", "'", "", "-n", "\u20ac", "\n"]
    outcome = await run(engine, [sys.executable, "-c", "import sys; print(sys.argv[1:])", *words])
    assert outcome.value.stdout == f"{words}\n"


@pytest.mark.parametrize("stdin", ["text \u20ac\n", b"text \xe2\x82\xac\n", lambda value: value])
async def test_stdin(engine, stdin):
    """A program reads the text or the bytes that it is given, or what a function makes of the input."""
    assert (
        await run(engine, ["cat"], "text \u20ac\n", stdin=stdin)
    ).value.stdout == "text \u20ac\n"


@pytest.mark.parametrize("stdin", [None, "", b""])
async def test_without_stdin_there_is_nothing_to_read(engine, stdin):
    """A program that reads its standard input finds the end of it."""
    assert (await run(engine, "cat; echo end", stdin=stdin)).value.stdout == "end\n"


async def test_stdin_and_output_may_be_large(engine):
    """Input is written while output is read, so that neither side waits for the other."""
    text = "0123456789abcde\n" * 65536 * 4
    outcome = await run(engine, ["cat"], stdin=text, max_output=len(text))
    assert outcome.value.stdout == text


@pytest.mark.parametrize("line", ["true", "head -c 1 >/dev/null", "exec <&-; sleep 0.05"])
async def test_stdin_may_be_left_unread(engine, line):
    """A program that does not read its input to the end is none the worse."""
    assert (await run(engine, line, stdin=b"x" * 10_000_000)).status == "ok"


async def test_argv_of_the_input(engine):
    """A function of the input says what is run."""
    outcome = await run(engine, lambda value: ["echo", *value], ["a", "b"])
    assert outcome.value.stdout == "a b\n"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"argv": lambda _: 1 / 0}, ZeroDivisionError),
        ({"argv": lambda _: 7}, DefinitionError),
        ({"argv": lambda _: []}, DefinitionError),
        ({"argv": ["true"], "stdin": lambda _: 1 / 0}, ZeroDivisionError),
        ({"argv": ["true"], "stdin": lambda _: 7}, DefinitionError),
    ],
)
async def test_functions_that_fail(engine, options, error):
    """A function that raises, or gives nonsense, is the node's failure; nothing is started."""
    outcome = await run(engine, **options)
    assert (outcome.status, type(outcome.error)) == ("failed", error)


async def test_environment(engine, monkeypatch):
    """The program has this process's variables with the changes, and none of ours."""
    monkeypatch.setenv("GRACELINE_A", "a")
    monkeypatch.setenv("GRACELINE_B", "b")
    env = {"GRACELINE_A": None, "GRACELINE_B": "x=\n'\u20ac", "GRACELINE_C": "c", "NOBODY": None}
    outcome = await run(engine, ["env", "-0"], env=env)
    seen = dict(entry.split("=", 1) for entry in outcome.value.stdout.split("\0") if entry)
    assert seen == {
        **{name: text for name, text in os.environ.items() if name != "GRACELINE_A"},
        "GRACELINE_B": "x=\n'\u20ac",
        "GRACELINE_C": "c",
    }


async def test_surroundings_of_the_input(engine, tmp_path):
    """Variables and directory can be told by the input, and patterns look in that directory."""
    (tmp_path / "made").touch()
    stage = Stage(
        "s",
        Command(
            'echo "$GRACELINE_A $(pwd)"',
            env=lambda value: {"GRACELINE_A": value["a"]},
            cwd=lambda value: value["here"],
            artifacts="made",
        ),
    )
    result = await engine.run(Pipeline("p", [stage]), {"a": "b", "here": tmp_path})
    assert result.value.stdout == f"b {tmp_path}\n"
    assert result.value.artifacts == (str(tmp_path / "made"),)


async def test_no_variable_is_added(engine, monkeypatch):
    """An environment without PWD stays without it."""
    monkeypatch.delenv("PWD", raising=False)
    lines = (await run(engine, ["env"])).value.stdout.splitlines()
    assert not [line for line in lines if line.startswith("PWD=")]


@pytest.mark.parametrize("stdin", [None, "x"])
async def test_variables_that_no_shell_would_hand_on(engine, stdin):
    """A name that is none for a shell, or one of its own, arrives all the same."""
    env = {"a.b": "1", "IFS": "2", "OPTIND": "x"}
    outcome = await run(engine, ["env"], env=env, stdin=stdin)
    assert {"a.b=1", "IFS=2", "OPTIND=x"} <= set(outcome.value.stdout.splitlines())
    assert (await run(engine, ["cat"], env=env, stdin=stdin)).value.stdout == (stdin or "")


@pytest.mark.parametrize("place", ["/nowhere", "/proc/self/..", "relative"])
async def test_variables_that_a_gate_might_touch(engine, place, tmp_path):
    """A stated PWD arrives as it is, true or not, and no name is used up by the start."""
    env = {"PWD": place, "GRACELINE_GATE": "1"}
    for cwd in (None, tmp_path):
        lines = (await run(engine, ["env"], env=env, cwd=cwd)).value.stdout.splitlines()
        assert {f"PWD={place}", "GRACELINE_GATE=1"} <= set(lines)


async def test_a_directory_that_was_removed(engine, tmp_path, monkeypatch):
    """Where this process's own directory is gone, programs start without a word about it."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    outcome = await run(engine, ["/bin/echo", "x"])
    assert (outcome.value.stdout, outcome.value.stderr) == ("x\n", "")


async def test_cwd(engine, tmp_path):
    """The program runs in its directory, and a relative path is looked up there."""
    script = tmp_path / "here.sh"
    script.write_text("#!/bin/sh\npwd\n")
    script.chmod(0o755)
    for cwd in (tmp_path, str(tmp_path)):
        assert (await run(engine, ["./here.sh"], cwd=cwd)).value.stdout == f"{tmp_path}\n"
    outcome = await run(engine, ["here.sh"], cwd=tmp_path, env={"PATH": "/nowhere:."})
    assert outcome.value.stdout == f"{tmp_path}\n"


async def test_no_descriptor_is_handed_on(engine):
    """A program has its three streams and nothing else of this process."""
    with open("/dev/null") as file:  # noqa: PTH123 - any file
        os.set_inheritable(file.fileno(), True)
        for stdin in (None, "x"):
            outcome = await run(engine, ["ls", "/proc/self/fd"], stdin=stdin)
            assert set(outcome.value.stdout.split()) == {"0", "1", "2", "3"}  # 3 is what `ls` reads


async def test_it_leads_a_session_of_its_own(engine):
    """A program is the leader of its session and of its process group."""
    code = "import os; print(os.getpid() == os.getpgid(0) == os.getsid(0))"
    assert (await run(engine, [sys.executable, "-c", code])).value.stdout == "True\n"


# -- how it fails -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"argv": ["no-such-program"]}, "no program 'no-such-program' in its PATH$"),
        ({"argv": ["true"], "env": {"PATH": "/nowhere"}}, "in its PATH, '/nowhere'"),
        ({"argv": ["x"], "env": lambda _: {"PATH": "/no"}}, "in its PATH, '/no'$"),
        ({"argv": ["./gone"]}, "no program 'gone'"),
        ({"argv": ["/etc/passwd"]}, "'/etc/passwd' is not executable"),
        ({"argv": ["/etc"]}, "no program '/etc'"),
        ({"argv": ["true"], "cwd": "/nowhere"}, "cwd= '/nowhere' is no directory"),
        ({"argv": ["true"], "cwd": "/etc/passwd"}, "cwd= '/etc/passwd' is no directory"),
        ({"argv": ["true", "x" * 200_000]}, "could not be started: .*too long"),
    ],
)
async def test_a_program_that_cannot_be_started(engine, options, message):
    """What is wrong is said clearly, before anything runs."""
    outcome = await run(engine, **options)
    assert outcome.status == "failed"
    with pytest.raises(CommandFailedError, match=message) as caught:
        raise outcome.error
    error = caught.value
    assert (error.output, error.exit_code, error.signal) == (None, None, None)


@pytest.mark.parametrize("env", [None, {"a.b": "1"}], ids=["gate", "no gate"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"#!/no/such/interpreter\n", "not found|No such file"),
        (b"#!/etc/passwd\n", "Permission denied"),
        (b"\0\1garbage\0", "Exec format error"),
    ],
)
async def test_a_program_that_the_system_refuses(engine, tmp_path, content, message, env):
    """What cannot be executed has not run: no exit code of a shell's stands for it."""
    path = tmp_path / "refused"
    path.write_bytes(content)
    path.chmod(0o755)
    events = []
    node = Node(Command([path], env=env, ok_codes=(0, 126, 127), max_output=0), name="n")
    run = engine.start(Pipeline("p", [node]))
    async for event in run.events(output=True):
        events.append(event)
    outcome = run.result.node("n")
    assert (outcome.status, outcome.partial, outcome.error.output) == ("failed", None, None)
    with pytest.raises(CommandFailedError, match=f"'refused' could not be started: .*({message})"):
        raise outcome.error
    assert not [event for event in events if isinstance(event, OutputReceived)]


async def test_exit_codes_of_a_shell_are_a_programs_own(engine):
    """A program that ran may exit with 126 and 127, and may complain like a shell."""
    line = "echo 'graceline: 1: exec: x: not found' >&2; exit 127"
    outcome = await run(engine, line, ok_codes=127)
    assert (outcome.status, outcome.value.exit_code) == ("ok", 127)
    assert outcome.value.stderr == "graceline: 1: exec: x: not found\n"


@pytest.mark.parametrize(
    ("line", "code", "number", "message"),
    [
        ("exit 3", 3, None, "exited with code 3"),
        ("echo a; printf 'no\\nwhy \\n\\n' >&2; exit 200", 200, None, "200; its last words: 'why'"),
        ("kill -9 $$", None, 9, r"was ended by signal 9 \(SIGKILL\)"),
        ("kill -40 $$", None, 40, r"was ended by signal 40 \(a real-time signal\)"),
        ("sh -c 'kill -15 $$'; exit $?", 143, None, "exited with code 143"),
    ],
)
async def test_an_unexpected_end_is_a_failure(engine, line, code, number, message):
    """The error holds the exit code or the signal and the output, which is the partial value too."""
    outcome = await run(engine, line)
    assert outcome.status == "failed"
    with pytest.raises(CommandFailedError, match=message) as caught:
        raise outcome.error
    error = caught.value
    assert (error.exit_code, error.signal) == (code, number)
    assert (error.output.exit_code, error.output.signal) == (code, number)
    assert outcome.partial == error.output


async def test_expected_exit_codes(engine):
    """`ok_codes` says which exit codes are no failure."""
    assert (await run(engine, "exit 1", ok_codes=(0, 1))).value.exit_code == 1
    assert (await run(engine, "exit 1", ok_codes=1)).status == "ok"
    assert (await run(engine, "exit 0", ok_codes=1)).status == "failed"
    assert (await run(engine, "kill -10 $$", ok_codes=(0, 1))).status == "failed"


@pytest.mark.parametrize("failing", ["Popen", "epoll"])
async def test_a_lack_of_resources_is_a_failure(engine, monkeypatch, nothing_more, failing):
    """Where the system refuses, the node fails, and nothing is left."""

    def refuse(*_, **__):
        raise OSError(24, "Too many open files")

    await run(engine, ["true"])
    same = nothing_more()
    with monkeypatch.context() as patch:
        if failing == "Popen":
            patch.setattr(subprocess, "Popen", refuse)
        else:
            patch.setattr(os, "set_blocking", refuse)  # the first thing after the start
        outcome = await run(engine, "sleep 1000")
    with pytest.raises(CommandFailedError, match="Too many open files"):
        raise outcome.error
    assert same()


async def test_an_end_that_nobody_can_tell(engine):
    """Where children are not waited for, a failed program does not pass for a successful one."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        outcome = await run(engine, "exit 1")
    finally:
        signal.signal(signal.SIGCHLD, before)
    with pytest.raises(CommandFailedError, match="nobody can tell how: SIGCHLD is ignored"):
        raise outcome.error
    assert (outcome.error.exit_code, outcome.error.signal) == (None, None)


async def test_artifacts(engine, tmp_path):
    """The files that the patterns match are listed; they may lie deep, or anywhere."""
    line = "mkdir -p out/deep; touch out/b.txt out/a.txt out/deep/c.txt; mkdir out/d.txt"
    patterns = ("out/*.txt", "**/c.txt", str(tmp_path / "out" / "b.*"))
    value = (await run(engine, line, cwd=tmp_path, artifacts=patterns)).value
    names = [str(Path(path).relative_to(tmp_path)) for path in value.artifacts]
    assert names == ["out/a.txt", "out/b.txt", "out/deep/c.txt"]


async def test_a_missing_artifact_is_a_failure(engine, tmp_path):
    """A pattern that matches no file fails the node, and the output is kept."""
    outcome = await run(engine, "echo x; mkdir y", cwd=tmp_path, artifacts="y")
    with pytest.raises(CommandFailedError, match=f"left no file that matches 'y' in '{tmp_path}'"):
        raise outcome.error
    assert outcome.error.exit_code == 0
    assert outcome.partial.stdout == "x\n"


# -- how it ends ------------------------------------------------------------------------------

PYTHON_IN_C = """
import signal
signal.signal(signal.SIGTERM, lambda *_: None)  # it would run when the sum is done
print("ready", flush=True)
while True:
    sum(range(10**18))
"""
IGNORING = "trap '' TERM; echo ready; while :; do sleep 1000; done"
ENDINGS = {
    "cooperative": "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done",
    "simple": "echo ready; exec sleep 1000",
    "ignoring": IGNORING,
    "in C": [sys.executable, "-c", PYTHON_IN_C],
    "under sh -c": "echo ready; sleep 1000; echo never",
    "forked twice": "trap '' TERM; ((echo ready; sleep 1000) &); sleep 1000",
    "the leader leaves": "(trap '' TERM; echo ready; exec sleep 1000) & exec sleep 1000",
    "flood": "trap '' TERM; echo ready; while :; do cat /dev/zero; done",
    "stopped": "(until grep -q 'State:.T' /proc/$$/status; do :; done; echo ready) & kill -STOP $$",
    "closed streams": "trap '' TERM; echo ready; exec >&- 2>&-; while :; do sleep 1000; done",
}
POLITE = ("cooperative", "simple", "under sh -c")
"""Those that end by themselves once they are asked to."""


@pytest.mark.parametrize("pidfd", [True, False], ids=["pidfd", "no pidfd"])
@pytest.mark.parametrize("kind", ENDINGS)
async def test_every_program_ends(mark, monkeypatch, kind, pidfd):
    """Whatever a program does, its group has ended when its node has, and what it wrote is kept."""
    if not pidfd:
        monkeypatch.setattr(groups, "open_pidfd", lambda _: None)
    record = Record()
    command = Command(ENDINGS[kind], env=mark.env, stdin=b"x" * 10_000_000, max_output=1000)
    grace = PATIENCE if kind in POLITE else 0.1
    async with open_engine(timeouts=NO_LIMITS, sinks=[record]) as engine:
        pipeline = Pipeline("p", [Node(command, name="n", grace=grace)])
        result = await cancelled_when(engine, pipeline)
        assert mark.alive() == []
    outcome = result.node("n")
    assert (result.status, outcome.status) == ("cancelled", "cancelled")
    assert outcome.partial.stdout.startswith("ready\n")
    assert outcome.grace_used < grace + PATIENCE / 2
    forced = kind not in POLITE
    assert record.signals() == [signal.SIGTERM, signal.SIGKILL][: 1 + forced]
    assert len(record.overran()) == forced
    if kind == "cooperative":
        assert outcome.partial.stdout == "ready\nbye\n"
        assert (outcome.partial.exit_code, outcome.partial.signal) == (0, None)
    elif kind in ("simple", "under sh -c", "the leader leaves"):
        assert outcome.partial.signal == signal.SIGTERM
    else:
        assert outcome.partial.signal == signal.SIGKILL


async def test_a_timeout_keeps_what_was_written(mark):
    """At its limit a program is asked to end; its outcome blames the limit and holds its output."""
    line = "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.01; done"
    node = Node(Command(line, env=mark.env), name="n", timeout=1)
    async with open_engine(timeouts=NO_LIMITS) as engine:
        result = await engine.run(Pipeline("p", [node]))
        assert mark.alive() == []
    outcome = result.node("n")
    assert (result.status, outcome.status, outcome.value) == ("timed_out", "timed_out", None)
    assert (outcome.blame.level, outcome.blame.name, outcome.blame.limit) == ("node", "n", 1)
    assert (outcome.partial.stdout, outcome.partial.exit_code) == ("hello\nbye\n", 0)
    assert result.partial["n"] == outcome.partial


async def test_a_reserve_is_the_grace_of_a_program(mark):
    """With `reserve` the program is asked to end earlier, and has ended at the limit."""
    command = Command(IGNORING, env=mark.env)
    async with open_engine(timeouts=NO_LIMITS) as engine:
        result = await engine.run(Pipeline("p", [Node(command, name="n")], timeout=1, reserve=0.5))
    assert (result.status, result.partial["n"].signal) == ("timed_out", 9)


async def test_what_is_left_in_the_background_is_killed(engine, mark):
    """A program that returned is done: a grandchild that holds its pipes gets no time of its own."""
    outcome = await run(engine, "echo done; sleep 1000 &", env=mark.env)
    assert (outcome.status, outcome.value.stdout) == ("ok", "done\n")
    assert outcome.elapsed < PATIENCE
    assert mark.alive() == []


async def test_a_quiet_process_in_the_background_is_killed_too(engine, mark):
    """One that holds no pipe is found through its group."""
    outcome = await run(engine, "(sleep 1000 >/dev/null 2>&1 &) ; echo done", env=mark.env)
    assert outcome.value.stdout == "done\n"
    assert mark.alive() == []


@pytest.mark.parametrize(
    "line",
    [
        "timeout 1000 sh -c \"trap '' TERM; echo ready; while :; do sleep 1000; done\"; echo never",
        "timeout 1000 sh -c \"trap '' TERM; echo ready; while :; do sleep 1000; done\" & sleep 1000",
        """
        timeout 1000 sleep 1000 >/dev/null 2>&1 &
        until grep -q . /proc/$!/task/$!/children; do :; done
        echo ready
        exec sleep 1000
        """,
    ],
)
async def test_other_groups_of_its_session_end_too(engine, mark, line):
    """What `timeout` runs is in a group of its own, and is ended all the same."""
    node = Node(Command(line, env=mark.env), name="n", grace=0.1)
    result = await cancelled_when(engine, Pipeline("p", [node]))
    assert result.partial["n"].stdout == "ready\n"
    assert mark.alive() == []


async def test_a_job_that_holds_the_pipes_is_killed(engine, mark):
    """Who is left in another group of the session is found if it holds the pipes."""
    outcome = await run(engine, "timeout 1000 sleep 1000 & echo done", env=mark.env)
    assert (outcome.status, outcome.value.stdout) == ("ok", "done\n")
    assert mark.alive() == []


async def test_what_the_background_writes_at_the_end_is_kept(engine):
    """A grandchild that is just finishing may finish what it writes."""
    assert (await run(engine, "echo a; (sleep 0.02; echo b) &")).value.stdout == "a\nb\n"


async def test_a_stranger_that_holds_the_pipes_delays_nothing(engine, mark):
    """A descendant that left the group is out of reach; the node returns without it."""
    line = "setsid sh -c 'echo $$; exec yes' & sleep 0.05; echo done >&2"
    with trio.fail_after(PATIENCE):
        outcome = await run(engine, line, env=mark.env)
    assert outcome.status == "ok"
    escaped = mark.alive()
    assert escaped == [int(outcome.value.stdout.split("\n")[0])] or escaped == []  # `yes` may fail
    for pid in escaped:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: mark.alive() == [])


async def test_streams_may_be_closed_early(engine):
    """A program that closes its output is waited for all the same."""
    outcome = await run(engine, "echo a; exec >&- 2>&-; sleep 0.1; exit 4")
    assert (outcome.error.exit_code, outcome.error.output.stdout) == (4, "a\n")


@pytest.mark.parametrize("megabytes", [200, pytest.param(4000, marks=THOROUGH_ONLY)])
async def test_a_flood_of_output_is_read_to_its_end(engine, megabytes):
    """However much is written, its start and its end are kept and the rest is counted."""
    size = megabytes * 1_000_000
    line = f"echo start; head -c {size} /dev/zero; echo end"
    value = (await run(engine, line, max_output=1000)).value
    assert value.stdout.startswith("start\n\0")
    assert value.stdout.endswith("\0end\n")
    assert (len(value.stdout), value.stdout_dropped) == (1000, size + 10 - 1000)


async def test_nothing_may_be_kept(engine):
    """With `max_output=0` the output is counted only."""
    value = (await run(engine, "echo abc", max_output=0)).value
    assert (value.stdout, value.stdout_dropped, value.stderr_dropped) == ("", 4, 0)


async def test_a_program_that_ended_before_the_cancel_counts(engine, mark, tmp_path):
    """A cancel that finds the program ended does not undo its success: the node is late."""
    line = "echo $$; until [ -e go ]; do :; done"
    command = Command(line, env=mark.env, cwd=tmp_path)
    run = engine.start(Pipeline("p", [Node(command, name="n")]))
    with trio.fail_after(PATIENCE):
        async for event in run.events(output=True):
            if isinstance(event, OutputReceived):
                break
        stat = Path(f"/proc/{int(event.text)}/stat")
        (tmp_path / "go").touch()
        while b") Z " not in stat.read_bytes():  # without an await, so that nobody else sees it
            pass
        run.cancel()
        result = await run.wait()
    outcome = result.node("n")
    assert (outcome.status, outcome.value.exit_code) == ("late", 0)


async def test_a_cancel_before_the_start_starts_nothing(engine, mark, tmp_path):
    """A node that is cancelled before its program was started leaves no trace of it."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await run(engine, "touch started", cwd=tmp_path)
    assert scope.cancelled_caught
    assert list(tmp_path.iterdir()) == []


async def test_the_callers_cancel_passes_through(engine, mark):
    """The caller's own cancel ends the program, with its grace, and goes on to the caller."""
    with trio.fail_after(PATIENCE), trio.move_on_after(0.2) as scope:
        await run(engine, ENDINGS["cooperative"], env=mark.env)
    assert scope.cancelled_caught
    assert mark.alive() == []


async def test_a_forced_end(engine, mark):
    """`force_after` cuts the grace of a program."""
    pipeline = Pipeline("p", [Node(Command(IGNORING, env=mark.env), name="n")], grace=10 * PATIENCE)
    result = await cancelled_when(engine, pipeline, force_after=0)
    assert (result.status, result.partial["n"].signal) == ("cancelled", signal.SIGKILL)


async def test_no_grace_at_all(engine, mark):
    """With `grace=0` there is no time between the two signals."""
    result = await cancelled_when(
        engine, Pipeline("p", [Node(Command(IGNORING, env=mark.env), name="n", grace=0)])
    )
    assert result.partial["n"].signal == signal.SIGKILL


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_modes_that_cut_nothing(mark, mode):
    """A limit does not end a program in `observe` and `off`; an explicit cancel does."""
    slow = Node(Command("sleep 0.1; echo done", env=mark.env), name="n", timeout=0.01)
    long = Node(Command(ENDINGS["cooperative"], env=mark.env), name="n", grace=0)
    async with open_engine(timeouts=NO_LIMITS, mode=mode) as engine:
        assert (await engine.run(Pipeline("p", [slow]))).value.stdout == "done\n"
        result = await cancelled_when(engine, Pipeline("p", [long]))
    assert (result.status, result.partial["n"].stdout) == ("cancelled", "ready\nbye\n")


async def test_a_failing_sibling_ends_a_program(engine, mark):
    """Where fail-fast cancels a program, it is asked to end like at any other cancel."""
    started = trio.Event()

    async def fail(_):
        await started.wait()
        raise ValueError

    nodes = parallel(Node(Command(ENDINGS["cooperative"], env=mark.env), name="n"), fail)
    run = engine.start(Pipeline("p", [Stage("s", nodes)]))
    with trio.fail_after(PATIENCE):
        async for event in run.events(output=True):
            if isinstance(event, OutputReceived):
                started.set()
        result = await run.wait()
    outcome = result.node("n")
    assert (result.status, outcome.status) == ("failed", "cancelled")
    assert outcome.partial.stdout == "ready\nbye\n"


async def test_items(engine, mark):
    """A command may run over a list: each item is a program of its own."""
    command = Command(lambda item: ["echo", str(item)], env=mark.env)
    result = await engine.run(Pipeline("p", [each(command, name="n", max_parallel=3)]), range(7))
    assert [value.stdout for value in result.value] == [f"{number}\n" for number in range(7)]


async def test_items_have_limits(engine, mark):
    """An item that hangs is ended at its limit, and so are the others, when the first one fails."""
    command = Command(lambda item: item, env=mark.env)
    node = each(command, name="n", max_parallel=3, timeout=0.5)
    result = await engine.run(Pipeline("p", [node]), ["echo a", "sleep 1000", "sleep 1001"])
    outcome = result.node("n")
    assert (outcome.status, [value.stdout for value in outcome.partial]) == ("timed_out", ["a\n"])
    assert mark.alive() == []


async def test_closing_the_engine_by_an_exception(mark):
    """Programs end with the block of their engine."""
    with pytest.raises(KeyError):
        async with open_engine(timeouts=NO_LIMITS) as engine:
            run = engine.start(Pipeline("p", [Command(ENDINGS["cooperative"], env=mark.env)]))
            async for event in run.events(output=True):
                if isinstance(event, OutputReceived):
                    raise KeyError
    assert run.result.status == "cancelled"


async def test_two_engines(mark, nothing_more):
    """Each engine has a guard of its own, and none when it is closed."""
    same = nothing_more()
    pipeline = Pipeline("p", [Command("echo x", env=mark.env)])
    async with open_engine(timeouts=NO_LIMITS) as one:
        async with open_engine(timeouts=NO_LIMITS) as two:
            assert (await one.run(pipeline)).status == "ok"
            assert (await two.run(pipeline)).status == "ok"
        assert (await one.run(pipeline)).status == "ok"
    assert same()


def test_blocking_engine(mark, nothing_more):
    """Programs run in an engine for plain code too, and are cancelled from any thread."""
    same = nothing_more()
    with BlockingEngine(timeouts=NO_LIMITS) as engine:
        assert engine.execute(Pipeline("p", [Command(["echo", "x"])])).stdout == "x\n"
        talks = Command("while :; do echo again; sleep 0.05; done", env=mark.env)
        run = engine.start(Pipeline("p", [talks]))
        for event in run.events(output=True):
            if isinstance(event, OutputReceived):
                run.cancel()
        assert run.wait(PATIENCE).status == "cancelled"
    assert same()


INTERRUPTED = """
import os, signal, sys, trio
from graceline import Command, Node, Pipeline, open_engine
from graceline.telemetry.events import OutputReceived

signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
where = trio.lowlevel.enable_ki_protection if sys.argv[5] == "waiting" else lambda task: task

@where  # protected, the task is passed over, and the main task gets it where it waits
async def interrupt(run):
    async for event in run.events(output=True):
        if isinstance(event, OutputReceived) and "ready" in event.text:
            signal.raise_signal(signal.SIGINT)

async def main():
    try:
        async with open_engine() as engine, trio.open_nursery() as nursery:
            command = Command(sys.argv[1], env={sys.argv[2]: sys.argv[3]})
            pipeline = Pipeline("p", [Node(command, name="n", grace=float(sys.argv[4]))])
            async def follow():
                while not engine.runs():
                    await trio.sleep(0)
                await interrupt(engine.runs()[0])
            nursery.start_soon(follow)
            await engine.run(pipeline)
    finally:
        print("children:", open(f"/proc/self/task/{os.getpid()}/children").read())

trio.run(main)
"""


SAVING = "trap 'echo saved >saved; exit 0' TERM; echo ready; while :; do sleep 0.01; done"


@pytest.mark.parametrize("task", ["waiting", "another"])
@pytest.mark.parametrize(
    ("line", "grace"),
    [(SAVING, PATIENCE), (ENDINGS["under sh -c"], PATIENCE), (IGNORING, 0.1)],
    ids=["cooperative", "under sh -c", "ignoring"],
)
def test_an_interrupt_ends_a_program(mark, engine_script, tmp_path, line, grace, task):
    """Ctrl-C in whichever task ends the program like any cancel, with its grace, and goes on."""
    (item,) = mark.env.items()
    done = subprocess.run(  # noqa: S603 - our own program
        [*engine_script(INTERRUPTED), line, *item, str(grace), task],
        capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert "KeyboardInterrupt" in done.stderr
    assert done.stdout == "children: \n"
    assert (tmp_path / "saved").exists() == (line == SAVING)
    assert mark.alive() == []


OTHER_USER = """
import ctypes, logging, os, sys, trio
from graceline import Command, Node, Pipeline, open_engine

logging.basicConfig()
if len(sys.argv) == 1:  # from now on, root may not signal other users' processes either
    assert ctypes.CDLL(None, use_errno=True).prctl(24, 5, 0, 0, 0) == 0  # PR_CAPBSET_DROP, CAP_KILL
    os.execv(sys.executable, [sys.executable, __file__, "again"])

BECOME = "import os, sys, time; os.setresuid(65534, 65534, 65534); print(os.getpid(), flush=True); "
STAY = [sys.executable, "-c", BECOME + "os.closerange(0, 3) if sys.argv[1:] else 0; time.sleep(200)"]

async def main():
    words = {
        "leader": STAY,
        "descendant": ["/bin/sh", "-c", '"$@" & wait', "sh", *STAY],
        "quiet descendant": ["/bin/sh", "-c", '"$@" quiet & wait', "sh", *STAY],
    }
    async with open_engine() as engine:
        nodes = [Node(Command(argv), name="n", timeout=2, grace=0.2) for argv in words.values()]
        runs = [engine.start(Pipeline("p", [node])) for node in nodes]
        for kind, run in zip(words, runs):
            result = await run.wait()
            print(kind, result.status, result.partial["n"].stdout.strip(), sep=":", flush=True)

trio.run(main)
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="it takes root")
def test_a_program_of_another_user_is_left_behind(engine_script):
    """What nobody here may signal delays the node by a bounded time, and a warning tells of it."""
    done = subprocess.run(  # noqa: S603 - our own program
        engine_script(OTHER_USER), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    rows = [line.split(":") for line in done.stdout.splitlines()]
    for row in rows:
        os.kill(int(row[2]), signal.SIGKILL)  # it was still there
    assert done.returncode == 0, done.stderr
    assert [row[:2] for row in rows] == [
        ["leader", "timed_out"],
        ["descendant", "timed_out"],
        ["quiet descendant", "timed_out"],
    ]
    assert done.stderr.count("could not be killed") == 1


async def test_who_could_not_be_killed_is_waited_for_later(engine, monkeypatch, caplog):
    """A program that was left behind is reaped when another one starts, once it has ended."""
    monkeypatch.setattr(child, "_LAST", 0.01)
    monkeypatch.setattr(groups, "may_signal", lambda _: False)
    with monkeypatch.context() as patch:
        patch.setattr(groups, "send", lambda *_: False)
        patch.setattr(groups, "send_session", lambda *_: None)
        node = Node(Command("echo ready; exec sleep 1000"), name="n", grace=0)
        result = await cancelled_when(engine, Pipeline("p", [node]))
    partial = result.partial["n"]
    assert (result.status, partial.stdout, partial.exit_code) == ("cancelled", "ready\n", None)
    assert "could not be killed" in caplog.text
    (left,) = child._left
    left.kill()
    with trio.fail_after(PATIENCE):
        await groups.exited(left.pid)
    assert (await run(engine, ["true"])).status == "ok"
    assert child._left == []


async def test_a_guard_that_dies_is_replaced_while_a_program_runs(mark, monkeypatch, nothing_more):
    """A program that runs sees the end of the guard, and starts another one that knows it."""
    monkeypatch.setattr(guard, "_LIVED", 0)
    told = []
    same = nothing_more()
    async with open_engine(timeouts=NO_LIMITS) as engine:
        monkeypatch.setattr(guard.Guard, "add", lambda *args: told.append(args))
        nodes = [Node(Command("echo ready; exec sleep 1000", env=mark.env), name=x) for x in "ab"]
        run = engine.start(Pipeline("p", [Stage("s", parallel(*nodes))]))
        await until(lambda: len(told) == 2)
        own = told[0][0]
        for _ in range(3):
            lost = own._process
            lost.kill()
            await until(lambda lost=lost: own._process not in (None, lost))
        run.cancel()
        await run.wait()
    assert same()


async def test_a_guard_that_cannot_live_is_not_started_for_ever(mark, monkeypatch):
    """One that dies as soon as it was started is left alone until the next program starts."""
    monkeypatch.setattr(guard, "_LIVED", 10 * PATIENCE)
    own = []
    monkeypatch.setattr(guard.Guard, "add", lambda self, _: own.append(self))
    async with open_engine(timeouts=NO_LIMITS) as engine:
        run = engine.start(Pipeline("p", [Command("read x; sleep 1", stdin="x", env=mark.env)]))
        await until(lambda: own)
        lost = own[0]._process
        lost.kill()
        await run.wait()
        assert own[0]._process is lost
        assert run.result.status == "ok"


# -- and how nothing is left ------------------------------------------------------------------


async def test_two_hundred_programs_leave_nothing(mark, nothing_more):
    """After 200 programs of every kind, and a node of 11 s beside them, nothing more is held."""
    limiter = trio.CapacityLimiter(4)
    lines = [*ENDINGS.values(), "true", "exit 1", "echo x; sleep 1000 &", ["no-such-program"]]
    ends = []

    async def one(number):
        line = lines[number % len(lines)]
        command = Command(line, env=mark.env, stdin=b"x" * 1_000_000, max_output=1000)
        node = Node(command, name="n", timeout=0.15, grace=0.05)
        async with limiter:
            result = await engine.run(Pipeline(f"p{number}", [node]))
        ends.append(result.status)
        assert result.elapsed < PATIENCE

    async def patient():
        command = Command("echo a; sleep 10.5; echo b", env=mark.env)
        assert (await engine.execute(Pipeline("long", [command]))).stdout == "a\nb\n"
        ends.append("long")

    async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=None) as engine:
        await engine.run(Pipeline("p", [Command(["true"], env=mark.env)]))
        same = nothing_more()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(patient)
            for number in range(200):
                nursery.start_soon(one, number)
        assert mark.alive() == []
        assert same()
    assert len(ends) == 201
    assert {"timed_out", "failed", "long"} <= set(ends)
