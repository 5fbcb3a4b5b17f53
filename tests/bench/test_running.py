import importlib.util
import json
import os
import sys

import pytest
import trio

from graceline import DefinitionError, GracelineError, Node, PipelineResult, Status
from graceline.bench import Phase, Step, Suite, command, read_story, run_suite
from graceline.bench.journal import journal_of, read_lines
from graceline.testing import virtual_time

SOFT = {"continue_on_failure": True}
HANG = "echo before; exec sleep 60"


async def fine(value):
    return {"given": value}


async def boom(value):
    raise ValueError("bad luck")


async def hang(value):
    await trio.sleep_forever()


def statuses(result):
    return {
        name: [str(stage.status), *(str(node.status) for node in stage.nodes.values())]
        for name, stage in result.stages.items()
    }


def table(out):
    """The table of the report: a status for each phase and command."""
    lines = json.loads((out / "report.json").read_text())["commands"]
    return {f"{line['phase']}/{line['command']}": line["status"] for line in lines}


async def test_twenty_phases(tmp_path, mark, monkeypatch):
    """Twenty real phases, many of which hang, fail or are skipped: each has the status it should."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(*mark.env.popitem())
    python = sys.executable
    stubborn = [python, "-c", ("import signal, time; signal.signal(15, signal.SIG_IGN)\n"
                "print('ready', flush=True)\nwhile True: time.sleep(9)")]  # fmt: skip
    in_c = [python, "-c", "import re; re.match('(a+)+$', 'a' * 60 + 'b')"]

    def late(value):
        return len(value.stdout)

    suite = Suite(
        "twenty",
        [
            Phase("ok", [command("echo fine")]),
            Phase("exit 3", [command("echo why >&2; exit 3", **SOFT)]),
            Phase("hang", [command(HANG, name="hang", timeout=0.3)], **SOFT),
            Phase("phase limit", [command("sleep 60 & wait", name="hang")], timeout=0.3, **SOFT),
            Phase("clamped", [command(HANG, name="hang")], timeout=0.3, **SOFT),
            Phase("stubborn", [command(stubborn, name="s", timeout=1, grace=0.2)], **SOFT),
            Phase("in C", [command(in_c, name="c", timeout=0.5)], **SOFT),
            Phase("unread", [command("exec sleep 60", name="u", stdin="x" * 10**6, timeout=0.3)], **SOFT),
            Phase("depends", [command("touch depends")], skip_if_failed="hang"),
            Phase("chain", [command("touch chain")], skip_if_failed="depends"),
            Phase("goes on", [command("true")], skip_if_failed=["ok", "exit 3"]),
            Phase("inside", [command("false", **SOFT), command("true", skip_if_failed="false"),
                             command("echo last", name="last")]),
            Phase("ends", [command("false"), command("touch ends")], **SOFT),
            Phase("artifact", [command("touch a.txt", artifacts="*.txt")]),
            Phase("no artifact", [command("true", artifacts="*.none")], **SOFT),
            Phase("signal", [command("kill -9 $$", name="kill")], **SOFT),
            Phase("missing", [command(["no-such-program"])], **SOFT),
            Phase("at once", [command("sleep 60", name="a", timeout=0.3, **SOFT),
                              command("echo b", name="b"), Node(hang, timeout=0.3, critical=False)],
                  parallel=True),
            Phase("function", [command("echo abc"), late, Node(boom, critical=False)]),
            Phase("background", [command("sleep 60 & echo left", name="left")]),
        ],
        timeout="10m",
    )  # fmt: skip
    result = await run_suite(suite, out=tmp_path / "out", timeout="5m")
    assert statuses(result) == {
        "ok": ["ok", "ok"],
        "exit 3": ["ok", "failed"],
        "hang": ["timed_out", "timed_out"],
        "phase limit": ["timed_out", "timed_out"],
        "clamped": ["timed_out", "timed_out"],
        "stubborn": ["timed_out", "timed_out"],
        "in C": ["timed_out", "timed_out"],
        "unread": ["timed_out", "timed_out"],
        "depends": ["skipped", "skipped"],
        "chain": ["skipped", "skipped"],
        "goes on": ["ok", "ok"],
        "inside": ["ok", "failed", "skipped", "ok"],
        "ends": ["failed", "failed", "skipped"],
        "artifact": ["ok", "ok"],
        "no artifact": ["failed", "failed"],
        "signal": ["failed", "failed"],
        "missing": ["failed", "failed"],
        "at once": ["ok", "timed_out", "ok", "timed_out"],
        "function": ["ok", "ok", "ok", "failed"],
        "background": ["ok", "ok"],
    }
    assert (result.status, len(result.stages)) == (Status.OK, 20)
    assert result.stages["hang"].blame.level == "node"
    assert result.stages["phase limit"].blame.level == "stage"
    assert not (tmp_path / "depends").exists()
    assert not (tmp_path / "chain").exists()
    assert not (tmp_path / "ends").exists()
    assert mark.alive() == []

    story = read_story(tmp_path / "out")
    told = {(t.phase, t.row.name): t for t in story.told() if t.command is not None}
    assert {key: t.status for key, t in told.items()} == {
        (stage.name, node.name): node.status
        for stage in result.stages.values()
        for node in stage.nodes.values()
    }
    assert (story.state, story.result.status, story.result.degraded) == (
        "ended", "ok", result.degraded,
    )  # fmt: skip
    assert told["exit 3", "echo"].output["stderr"] == "why\n"
    assert told["exit 3", "echo"].output["exit_code"] == 3
    assert told["hang", "hang"].output["stdout"] == "before\n"
    assert told["stubborn", "s"].output["signal"] == 9
    assert told["artifact", "touch"].output["artifacts"] == ["a.txt"]
    assert told["function", "late"].outcome.value == 4
    assert told["depends", "touch"].why == "hang did not succeed"
    assert told["chain", "touch"].why == "depends did not succeed"
    assert told["inside", "true"].why == "false did not succeed"
    assert told["ends", "touch"].why == "its phase had ended"
    assert told["missing", "no-such-program"].output is None
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    again = PipelineResult.from_dict(document["result"])
    assert statuses(again) == statuses(result)
    assert again.stages["ok"].nodes["echo"].value["stdout"] == "fine\n"


@virtual_time
async def test_phases_that_add_up_to_more_than_the_whole(tmp_path):
    """Phases of 40 s each in a suite of 60 s: the second is cut by the suite, the third never starts."""
    slow = Node(trio.sleep, name="slow")
    suite = Suite(
        "s",
        [
            Phase("a", Node(hang, timeout="30s", critical=False), timeout="40s"),
            Phase("b", Node(hang), timeout="40s", **SOFT),
            Phase("c", slow, timeout="40s"),
        ],
        timeout="60s",
    )
    result = await run_suite(suite, out=tmp_path)
    assert statuses(result) == {
        "a": ["ok", "timed_out"], "b": ["timed_out", "timed_out"], "c": ["timed_out", "skipped"],
    }  # fmt: skip
    assert (result.blame.level, result.elapsed) == ("pipeline", 60)
    assert read_story(tmp_path).result.blame == result.blame
    told = {t.row.name: t for t in read_story(tmp_path).told()}
    assert told["slow"].why == "the suite had ended"


@virtual_time
async def test_without_limits_there_are_none(tmp_path):
    """A suite that states no limit has none; a limit with the call stands instead of its own."""
    suite = Suite("s", Phase("p", Node(_long)))
    assert (await run_suite(suite, out=tmp_path / "a")).status is Status.OK
    result = await run_suite(suite, out=tmp_path / "b", timeout="1h")
    assert (result.status, result.limit, result.elapsed) == (Status.TIMED_OUT, 3600, 3600)
    assert read_story(tmp_path / "b").timeout == 3600


async def _long(value):
    await trio.sleep(9e5)


@virtual_time
async def test_grace_is_half_a_minute(tmp_path):
    """Cleanup has 30 s where the suite says nothing, and what the suite says where it does."""
    from graceline import cleanup

    async def stubborn(value):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep_forever()

    for grace, expected in ((None, 31), ("5s", 6)):
        suite = Suite("s", Phase("p", Node(stubborn)), timeout=1, grace=grace)
        result = await run_suite(suite, out=tmp_path, force=True)
        assert (result.status, result.elapsed) == (Status.TIMED_OUT, expected)


@virtual_time
async def test_the_end_of_the_suite(tmp_path):
    """What fails without continue_on_failure ends the suite; the rest is skipped."""
    suite = Suite("s", [Phase("a", [fine, boom, hang]), Phase("b", fine)])
    result = await run_suite(suite, out=tmp_path)
    assert statuses(result) == {"a": ["failed", "ok", "failed", "skipped"], "b": ["skipped"] * 2}
    assert result.blame.name == "boom"
    assert table(tmp_path) == {
        "a/fine": "ok",
        "a/boom": "failed",
        "a/hang": "skipped",
        "b/fine": "skipped",
    }


@virtual_time
async def test_lines_come_as_things_happen(tmp_path):
    """When a command starts, the outcome of the one before is on the disk, and its own start is."""
    seen = []

    async def look(value):
        seen.append(
            [
                (line["event"], line.get("command", line.get("node")))
                for line in read_lines(tmp_path)
            ]
        )

    await run_suite(Suite("s", Phase("p", [fine, look])), out=tmp_path)
    assert seen == [[
        ("suite_begun", None), ("run_started", None), ("stage_started", None),
        ("node_started", "fine"), ("command_ended", "fine"), ("node_finished", "fine"),
        ("node_started", "look"),
    ]]  # fmt: skip


@virtual_time
async def test_the_end_of_the_grace_period_cuts_no_line(tmp_path):
    """A command that used up its grace period has its outcome and its partial value in the journal."""
    from graceline import cleanup, save_partial

    async def stubborn(value):
        save_partial("half")
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep_forever()

    await run_suite(Suite("s", Phase("p", Node(stubborn)), timeout=1, grace=0), out=tmp_path)
    ends = [line for line in read_lines(tmp_path) if line["event"] == "command_ended"]
    assert [end["outcome"]["partial"] for end in ends] == ["half"]
    assert read_story(tmp_path).result.partial == {"stubborn": "half"}


@virtual_time
async def test_handlers_of_a_node_stay(tmp_path):
    """A node's own handlers and its condition count as before."""
    heard = []
    node = Node(
        fine, on_cleanup=lambda outcome: heard.append(outcome.name), when=lambda value: True
    )
    no = Node(fine, name="no", when=lambda value: False)
    both = Step(Node(fine, name="both", when=lambda value: False), ("fine",))
    result = await run_suite(Suite("s", Phase("p", [node, no, both])), out=tmp_path)
    assert (heard, statuses(result)) == (["fine"], {"p": ["ok", "ok", "skipped", "skipped"]})
    assert [t.why for t in read_story(tmp_path).told()][2] == "its condition was false"


@virtual_time
async def test_values_that_cannot_be_told(tmp_path):
    """A value whose own `repr` raises costs the value in the journal, and nothing else."""

    class Bad:
        def __repr__(self):
            raise RuntimeError("no")

    async def bad(value):
        return Bad()

    result = await run_suite(Suite("s", Phase("p", [bad, Node(_none)])), out=tmp_path)
    assert result.status is Status.OK
    story = read_story(tmp_path)
    assert story.outcomes["p", "bad"].value == {"repr": "<Bad, whose repr raises RuntimeError>"}
    assert story.result.status is Status.OK


async def _none(value): ...


@virtual_time
async def test_runs_inside_a_node_are_its_own_business(tmp_path):
    """A run that a node starts on the engine of the suite is not part of the journal."""
    from graceline import Pipeline, open_engine

    async def nested(value):
        async with open_engine() as engine:
            await engine.run(Pipeline("inner", [fine]))

    await run_suite(Suite("s", Phase("p", Node(nested))), out=tmp_path)
    assert {line.get("pipeline", "s") for line in read_lines(tmp_path)} == {"s"}


@virtual_time
async def test_the_caller_is_cancelled(tmp_path):
    """A caller who gives up gets the `Cancelled`; the report says what had finished, and by what it ended."""
    with trio.move_on_after(5) as scope:
        await run_suite(Suite("s", Phase("p", [fine, hang])), out=tmp_path)
    assert scope.cancelled_caught
    story = read_story(tmp_path)
    assert (story.state, story.reason, story.ended is None) == ("interrupted", "Cancelled", False)
    assert table(tmp_path) == {"p/fine": "ok", "p/hang": "timed_out"}
    assert json.loads((tmp_path / "report.json").read_text())["result"]["status"] is None


@virtual_time
async def test_results_are_not_overwritten(tmp_path):
    """A second run into the same directory needs force, and the first one's report goes with it."""
    suite = Suite("s", Phase("p", fine))
    await run_suite(suite, out=tmp_path)
    before = journal_of(tmp_path).read_bytes()
    with pytest.raises(GracelineError, match="earlier run"):
        await run_suite(suite, out=tmp_path)
    assert journal_of(tmp_path).read_bytes() == before

    async def look(value):
        return os.listdir(tmp_path)  # noqa: PTH208

    result = await run_suite(Suite("t", Phase("p", look)), out=tmp_path, force=True)
    assert result.value == ["journal.jsonl"]
    assert sorted(os.listdir(tmp_path)) == ["journal.jsonl", "report.html", "report.json"]  # noqa: PTH208


@virtual_time
async def test_a_disk_that_is_full(tmp_path, monkeypatch):
    """A line that cannot be written is an error of its command's cleanup, and of the run's end."""
    write = os.write

    def full(file, data):
        if b'"command_ended"' in data or b'"suite_ended"' in data:
            raise OSError(28, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", full)
    heard = []
    suite = Suite("s", Phase("p", fine), on_cleanup=heard.append)
    with pytest.raises(OSError, match="No space left"):
        await run_suite(suite, out=tmp_path)
    assert [str(error) for error in heard[0].node("fine").secondary] == [
        "[Errno 28] No space left on device"
    ]
    assert table(tmp_path) == {"p/fine": "ok"}


async def test_what_is_no_suite(tmp_path):
    """Something else than a suite, or a bad limit, is refused before anything is written."""
    with pytest.raises(DefinitionError, match="is no Suite; write Suite"):
        await run_suite(Phase("p", fine), out=tmp_path)
    with pytest.raises(DefinitionError, match=r"run_suite\(timeout=\)"):
        await run_suite(Suite("s", Phase("p", fine)), out=tmp_path, timeout="x")
    assert not journal_of(tmp_path).exists()


async def test_jinja_is_missed_before_the_run(tmp_path, monkeypatch):
    """Without Jinja2 nothing is started that could have no report after two hours."""
    from importlib import util

    monkeypatch.setattr(util, "find_spec", lambda name: None)
    with pytest.raises(GracelineError, match=r"pip install 'graceline\[cli\]'"):
        await run_suite(Suite("s", Phase("p", fine)), out=tmp_path)
    assert not journal_of(tmp_path).exists()


def test_a_blocked_loop_is_no_part_of_the_run(tmp_path):
    """That the event loop was blocked belongs to no run, and so it is not in the journal."""
    from graceline.bench.recorder import Recorder
    from graceline.telemetry import events

    recorder = Recorder(Suite("s", Phase("p", fine)), tmp_path)
    recorder(events.LoopBlocked(at=0, run_id="", pipeline="", lane="default", seconds=1, stack=()))
    recorder.close()
    assert [line["event"] for line in read_lines(tmp_path)] == ["suite_begun"]


@virtual_time
async def test_what_is_not_installed_is_told_before_anything_is_written(tmp_path, monkeypatch):
    """A suite with a worker process and no trio-parallel leaves no directory of results."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "trio_parallel" else find(name)
    )
    suite = Suite("s", Phase("p", Node(len, name="n", runs_on="process")))
    with pytest.raises(GracelineError, match=r"command 'n': .*pip install 'graceline\[process\]'"):
        await run_suite(suite, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
