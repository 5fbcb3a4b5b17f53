"""The comparison with other libraries, with made-up peers: none is installed, nothing is timed."""

import fcntl
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import trio
from benchmarks.command import main
from benchmarks.measure import Spread
from benchmarks.peers import study
from benchmarks.peers.catalogue import Peer
from benchmarks.peers.chart import draw
from benchmarks.peers.command import report, unknown
from benchmarks.peers.contract import Adapter, Ended, Limits, Part, Plain, flat
from benchmarks.peers.environments import Contestant, prepare
from benchmarks.peers.link import NoAnswerError, open_worker
from benchmarks.peers.scenarios import HANGING, LIMIT, PROBES, WORK, observe
from benchmarks.peers.study import judged, missed
from benchmarks.peers.table import costs, limits, meanings, ordered
from benchmarks.peers.worker import answer

FAKE = """
import json, os, sys
about = {"version": "1", "node_limit": "n()", "run_limit": "", "docs": "d", "nodes": 10}
took = {"cpu": float(sys.argv[1]), "wall": 2 * float(sys.argv[1])}
seen = {"elapsed": 0.25, "ended": {"status": "raised", "said": "Error: x", "kept": {},
        "known": ""}, "events": [[0.0, "began"]]}
seen["of the run"] = dict(seen)
for line in sys.stdin:
    request = json.loads(line)
    if sys.argv[2] == request["do"]:
        print("going from", os.getcwd(), file=sys.stderr)
        sys.exit(3)
    answers = {"about": about, "time": took, "probe": seen}
    print(json.dumps(answers[request["do"]]), flush=True)
"""


def fake(name, script=FAKE, *, cost="1e-6", dies_at="never"):
    """A contestant whose worker is a script."""
    return Contestant(
        peer=Peer(name, name),
        argv=(sys.executable, "-c", script, cost, dies_at),
        env=dict(os.environ),
    )


def entry(ratio=2.0, **fields):
    """What a study finds of one peer."""
    spread = {"median": ratio, "low": ratio, "high": ratio, "count": 1}
    cost = {f"over_{one}{more}": spread for one in ("hand", "graceline") for more in ("", "_wall")}
    about = {"version": "1.2", "node_limit": "n()", "run_limit": "r()", "docs": "", "nodes": 50}
    found = {"title": "T", "absent": "", "about": about, "cost": cost, "cells": {}}
    return found | fields


def seen(*events, elapsed=LIMIT, **ended):
    """What a scenario saw."""
    told = {"status": "raised", "said": "", "kept": {}, "known": "", **ended}
    return {"elapsed": elapsed, "events": [list(event) for event in events], "ended": told}


async def ask(contestant, *requests):
    answers = []
    async with open_worker(contestant) as worker:
        for request in requests:
            answers.append(await worker.ask(60, **request))
    return answers


async def test_a_worker_answers_each_request():
    """Requests and answers are lines of JSON, one after the other, over one process."""
    about, took, again = await ask(fake("x"), {"do": "about"}, {"do": "time"}, {"do": "time"})
    assert about["version"] == "1"
    assert took == again == {"cpu": 1e-6, "wall": 2e-6}


async def test_a_worker_that_dies_says_its_last_words():
    """The reason why a peer is missing has the exit status and the last line that it printed."""
    with pytest.raises(NoAnswerError, match="process ended with status 3: going"):
        await ask(fake("x", dies_at="about"), {"do": "about"})


async def test_a_worker_that_cannot_be_started_is_no_crash():
    """A missing interpreter is a reason, not a traceback."""
    with pytest.raises(NoAnswerError, match="could not be started: No such file"):
        await ask(Contestant(peer=Peer("x", "x"), argv=("/nowhere/python",)), {"do": "about"})


async def test_a_worker_that_is_silent_is_given_up(tmp_path):
    """Each answer has a limit; the process and all that it has started end with the block."""
    lock = tmp_path / "lock"
    script = f"""
import fcntl, os, time
held = open({str(lock)!r}, "w")
if os.fork() == 0:
    fcntl.flock(held, fcntl.LOCK_EX)
    print("{{}}", flush=True)
    time.sleep(600)
held.close()
os.wait()
"""
    with pytest.raises(NoAnswerError, match="no answer within 0 s"):
        async with open_worker(fake("x", script)) as worker:
            assert await worker.ask(60, do="about") == {}
            with lock.open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            await worker.ask(0, do="about")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits for as long as the child of the worker lives


@pytest.mark.parametrize(
    ("line", "says"),
    [("hello", "no JSON: b'hello'"), ('{"error": "ValueError: no"}', "ValueError: no")],
)
async def test_an_answer_that_is_none_is_a_reason(line, says):
    """What a worker prints instead of an answer, or says that went wrong, is told."""
    script = f"input(); print('{line}', flush=True); input()"
    with pytest.raises(NoAnswerError, match=says):
        await ask(fake("x", script), {"do": "about"})


async def test_the_real_worker_speaks_the_protocol():
    """The worker keeps its stdout for answers, refuses what it does not know, and goes on."""
    contestant = await prepare(Peer("wait_for", "w"), Path("/nowhere"))
    async with open_worker(contestant) as worker:
        assert (await worker.ask(60, do="about"))["nodes"] == 50
        with pytest.raises(NoAnswerError, match="is no request; it has do: about, time or probe"):
            await worker.ask(60, do="sing")
        assert set(await worker.ask(60, do="time", nodes=3, times=1)) == {"cpu", "wall"}


async def test_a_study_goes_on_without_those_that_fail():
    """A peer that is absent, dies or cannot be probed stays in the study, with the reason."""
    said = []
    found = await study.study(
        [
            fake("hand", cost="2e-6"),
            fake("graceline"),
            fake("dear", cost="100e-6"),
            fake("dying", dies_at="time"),
            fake("unprobed", dies_at="probe"),
            Contestant(peer=Peer("gone", "gone"), absent="could not be installed: no"),
        ],
        3,
        said.append,
    )
    assert found["gone"]["absent"] == "could not be installed: no"
    assert "ended with status 3" in found["dying"]["absent"]
    assert found["dying"]["cost"] is None
    assert found["dear"]["cost"]["over_hand"]["median"] == pytest.approx(50)
    assert found["dear"]["cost"]["over_graceline"]["count"] == 3
    assert found["graceline"]["cost"]["over_hand_wall"]["median"] == pytest.approx(0.5)
    assert found["dear"]["cells"]["node stops"]["answer"] == "yes"
    assert found["dear"]["cells"]["run stops"] == {"answer": "none", "word": "", "seen": None}
    assert found["unprobed"]["cells"]["node stops"] == {
        "answer": "unknown",
        "word": "its process ended with status 3: going from ~",
        "seen": None,
    }
    assert "gone: could not be installed: no" in said
    assert json.loads(json.dumps(found)) == found
    assert "dying" in report(found)


@pytest.mark.parametrize(
    ("probe", "evidence", "word"),
    [
        ("node stops", seen((0.0, "began")), ""),
        ("node stops", seen((0.0, "began"), (WORK, "worked on")), "ran on"),
        ("node stops", seen((WORK, "worked on"), elapsed=WORK + 0.1), "waited for it"),
        ("run stops", seen((0.0, "began")), ""),
        ("run stops", seen((0.3, "last began")), "went on"),
        ("cleanup awaited", seen((0.3, "cleaned up"), elapsed=0.35), ""),
        ("cleanup awaited", seen((0.3, "cleaned up"), elapsed=0.25), "not awaited"),
        ("cleanup awaited", seen((0.3, "cleanup began")), "cut"),
        ("cleanup awaited", seen(), "did not begin"),
        ("cleanup bounded", seen((0.25, "cleanup began"), elapsed=0.75), ""),
        ("cleanup bounded", seen(), "did not begin"),
        ("cleanup bounded", seen((2.8, "cleaned up"), elapsed=HANGING + 0.3), "waited for it"),
        ("cleanup bounded", seen((2.8, "cleaned up")), "ran on"),
        ("swallowed", seen(status="ok"), "success"),
        ("swallowed", seen(status="ok", said="slowpoke late"), ""),
        ("swallowed", seen(status="raised"), ""),
        ("values kept", seen(kept={"first": "2"}), ""),
        ("values kept", seen(kept={"other": "2"}), "lost"),
        ("no thread left", seen((0.2, "stopped by SystemError")), ""),
        ("no thread left", seen((1.0, "stopped by SystemError")), "left"),
        ("no thread left", seen((1.0, "worked on")), "left"),
        ("no thread left", seen((0.0, "began")), "left"),
        ("no thread left", seen((1.0, "worked on"), known="one"), "left, and counted"),
        ("no thread left", seen((1.0, "worked on"), elapsed=1.1), "limit not kept"),
    ],
)
def test_what_was_seen_decides(probe, evidence, word):
    """The answer follows from what happened and when, not from what a peer says of itself."""
    cell = judged(PROBES[probe], evidence)
    assert cell == {"answer": "no" if word else "yes", "word": word, "seen": evidence}


@pytest.mark.parametrize(
    ("of_node", "of_run", "word"),
    [
        ("NodeTimeout: slowpoke", "RunTimeout: run", ""),
        ("Timeout: slowpoke", "Timeout: run", "same error"),
        ("Timeout: ", "Other: ", "node not named"),
    ],
)
def test_blame_needs_a_name_and_a_level(of_node, of_run, word):
    """An error tells the level if it names the node, and another one tells of the run."""
    evidence = seen(said=of_node) | {"of the run": seen(said=of_run)}
    assert PROBES["level blamed"].judge(evidence) == word


class AtOnce(Plain):
    """A world in which nothing takes time."""

    async def sleep(self, seconds):
        pass


class Known(Adapter):
    """A peer that runs nodes in a loop, and raises after them if it has a limit."""

    node_limit = "n()"
    run_limit = "r()"
    world = AtOnce()

    def __init__(self):
        self.limits = []

    @asynccontextmanager
    async def open(self, stages, limits, *, keep):
        self.limits.append(limits)
        self.keep = keep

        async def call(value):
            for part in flat(stages):
                value = part.function(value)
            if limits.run == LIMIT:
                raise TimeoutError("the run took too long")
            return value

        yield call

    async def kept(self):
        return {"first": 2}


def test_a_scenario_tells_what_happened():
    """Nodes log what they do; what the call gave or raised is plain JSON."""
    adapter = Known()
    told = adapter.world.start(lambda: observe(adapter, "level blamed"))
    assert [event for _, event in told["events"]] == ["began", "worked on", "last began"]
    assert told["ended"]["value"] == "2"
    assert told["ended"]["kept"] == {"first": "2"}
    assert told["of the run"]["ended"]["said"] == "TimeoutError: the run took too long"
    assert adapter.limits == [Limits(node=LIMIT, run=60.0), Limits(run=LIMIT)]
    assert adapter.keep
    assert json.loads(json.dumps(told)).keys() == told.keys()


def test_a_peer_without_limits_of_nodes_is_asked_through_the_run():
    """What happens at a limit can be looked at by whichever limit the peer has."""
    adapter = Known()
    adapter.node_limit = ""
    adapter.world.start(lambda: observe(adapter, "values kept"))
    assert adapter.limits == [Limits(run=LIMIT)]


def test_a_blocking_node_is_a_plain_function():
    """Threads are probed with a function that blocks, in a peer of coroutines as well."""
    parts = []

    class Nosy(Known):
        @asynccontextmanager
        async def open(self, stages, limits, *, keep):
            parts.extend(flat(stages))

            async def call(value):
                raise TimeoutError

            yield call

    adapter = Nosy()
    adapter.world.start(lambda: observe(adapter, "no thread left"))
    assert parts[1].blocks


def test_timing_takes_the_bare_loop_off():
    """A sample is seconds per node of CPU and of the clock, for as many runs as were asked for."""
    took = answer(Known(), {"do": "time", "nodes": 7, "times": 2})
    assert set(took) == {"cpu", "wall"}


def test_timing_ends_with_a_tick():
    """Who leaves stale deadlines behind pays for clearing them away, in the loop's next tick."""
    waits = []

    class Ticking(AtOnce):
        async def sleep(self, seconds):
            waits.append(seconds)

    adapter = Known()
    adapter.world = Ticking()
    answer(adapter, {"do": "time", "nodes": 7, "times": 2})
    assert waits == [0]


def test_a_plain_world_has_nothing_to_wait_for():
    """A coroutine that waits where nothing can wait is a mistake of the adapter."""
    with pytest.raises(RuntimeError, match="waited for something"):
        Plain().start(trio.lowlevel.checkpoint)


def test_parts_know_whether_they_block():
    """A peer can tell a plain function from a coroutine function."""

    async def awaits(value):
        return value

    assert not Part("a", awaits).blocks
    assert Part("b", len).blocks


def test_ended_is_told_by_the_error():
    """An exception is told by its class and its text."""
    told = Plain().start(lambda: Known().raised(ValueError("no")))
    assert told == Ended("raised", said="ValueError: no", kept={"first": 2})


def test_tables_have_every_peer():
    """Who could not run is in the table too, last, with the reason."""
    gone = entry(title="Gone", absent="no wheel | for this Python", cost=None, about=None)
    cells = {
        "node stops": {"answer": "yes", "word": ""},
        "run stops": {"answer": "no", "word": "went on"},
        "swallowed": {"answer": "none", "word": ""},
        "values kept": {"answer": "unknown", "word": "no answer within 30 s"},
    }
    free = entry(0.5, title="Free", cells=cells)
    free["about"] = free["about"] | {"node_limit": "", "run_limit": ""}
    found = {"gone": gone, "dear": entry(1234.0, title="Dear"), "free": free}
    assert ordered(found) == ["free", "dear", "gone"]
    first, second, third = costs(found).splitlines()[2:]
    assert " ".join(first.split()) == "| Free | 1.2 | 0.50 (0.50 to 0.50) | 0.50 | 0.50 | none |"
    assert "1,234 (1,234 to 1,234)" in second
    assert "`n()`, `r()`" in second
    assert "no wheel / for this Python" in third
    row = limits(found).splitlines()[2].split("|")
    answers = dict(zip(PROBES, (cell.strip() for cell in row[2:-1]), strict=True))
    assert {answers[name] for name in cells} == {"yes", "no: went on", "-", "?"}
    assert "- ? Free, values kept: no answer within 30 s." in meanings(found)
    assert "- ? Gone: no wheel" in meanings(found)


def test_the_bar_is_langgraph_per_node():
    """A node of langgraph costs at least 60 times one of ours; who was not measured misses nothing."""
    assert missed({"langgraph": entry(59.9)})
    assert "MISSED" in report({"langgraph": entry(59.9)})
    assert not missed({"langgraph": entry(60.0)})
    assert "langgraph over graceline, per node: 60 x, bar >= 60 x: ok" in report(
        {"langgraph": entry(60.0)}
    )
    assert not missed({"langgraph": entry(cost=None)})
    assert not missed({})


def test_chart_of_peers_is_well_formed():
    """The chart has a bar for each that was measured, on a scale of powers of ten."""
    drawn = ET.fromstring(  # noqa: S314 - drawn by ourselves
        draw({"a": entry(0.5, title="a < b"), "b": entry(5000.0), "c": entry(cost=None)})
    )
    texts = [element.text for element in drawn]
    assert {"a < b", "0.50", "5,000", "10,000"} < set(texts)
    assert ET.fromstring(draw({})).tag.endswith("svg")  # noqa: S314


def test_an_unknown_peer_is_refused(capsys):
    """A name that is none is told with those that there are."""
    assert unknown(["graceline"]) == ""
    with pytest.raises(SystemExit, match="2"):
        main(["--peers", "langgrap"])
    assert "no peer is called 'langgrap'; there are graceline, hand" in capsys.readouterr().err


def test_spread_of_a_study_is_that_of_the_benchmarks():
    """The JSON holds ratios with their quartiles, as the other groups do."""
    assert study._over([2.0, 4.0], [1.0, 1.0]) == {
        "median": 3.0, "low": 2.5, "high": 3.5, "count": 2,
    }  # fmt: skip
    assert Spread.of([2.0, 4.0]).median == 3.0
