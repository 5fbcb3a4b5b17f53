"""What sinks hand on with a call: to threads, worker processes, programs and other services."""

import json
import sys
import threading
from contextvars import ContextVar
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the workers get it from this process

import process_jobs as jobs

from graceline import (
    Command,
    GracelineError,
    Node,
    Pipeline,
    Timeouts,
    open_engine,
    outgoing_headers,
)
from graceline.work.luggage import gather, pack_luggage, take_up

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=30)
TOLD = ContextVar("told", default="nothing")
PRINT = "import json, os; print(json.dumps(dict(os.environ)))"


class Teller:
    """A sink that knows something of the calling task, and hands it on."""

    inline = True

    def __init__(self, resume=jobs.resume):
        self.resume = resume

    def __call__(self, event):
        pass

    def carrier(self):
        return {"traceparent": TOLD.get(), "X-Other": "yes"}


class Broken(Teller):
    """One that cannot."""

    def carrier(self):
        raise RuntimeError("no")


@pytest.fixture
async def engine():
    async with open_engine(timeouts=NO_LIMITS, sinks=[Teller(), Broken()]) as engine:
        yield engine


async def headers_from(engine, function, **options):
    result = await engine.run(Pipeline("p", [Node(function, name="n", **options)]), "x")
    return result.unwrap()


async def test_a_call_from_a_node_hands_it_on(engine):
    """The headers for another service hold what sinks hand on, limited or not."""

    async def work(_):
        TOLD.set("this task")
        return outgoing_headers()

    told = {"traceparent": "this task", "X-Other": "yes"}
    assert await headers_from(engine, work) == told
    limited = await headers_from(engine, work, timeout=100)
    assert limited.pop("grpc-timeout")
    assert limited == told


async def test_a_call_from_a_thread_hands_it_on(engine):
    """A worker thread has the context of its node."""
    TOLD.set("around")
    result = await headers_from(engine, lambda _: outgoing_headers(), runs_on="thread")
    assert result == {"traceparent": "around", "X-Other": "yes"}


async def test_a_call_from_a_worker_process_hands_it_on(engine):
    """What a sink takes up there goes out with the calls of the job, and not with the next one's."""
    TOLD.set("around")
    result = await headers_from(engine, jobs.headers, runs_on="process")
    assert result == {"traceparent": "taken up: around", "X-Other": "taken up: yes"}


async def test_jobs_of_one_worker_do_not_mix():
    """A job without luggage finds nothing of an earlier one, in the same process."""
    async with open_engine(timeouts=NO_LIMITS, max_processes=1) as engine:
        remove = engine.subscribe(Teller())
        first = await headers_from(engine, jobs.told, runs_on="process")
        remove()
        second = await headers_from(engine, jobs.told, runs_on="process")
    assert first[0] == second[0]
    assert (first[1:], second[1:]) == (
        ["nothing", {"traceparent": "taken up: nothing", "X-Other": "taken up: yes"}],
        [None, {}],
    )


async def test_a_program_gets_it_in_its_environment(engine):
    """Headers are variables there: upper case, with underscores."""
    TOLD.set("around")
    output = await headers_from(engine, Command([sys.executable, "-c", PRINT]))
    env = json.loads(output.stdout)
    assert (env["TRACEPARENT"], env["X_OTHER"]) == ("around", "yes")


async def test_what_a_command_says_of_its_environment_counts(engine, monkeypatch):
    """A variable that the command sets, or removes, is not replaced."""
    command = Command([sys.executable, "-c", PRINT], env={"TRACEPARENT": "own", "X_OTHER": None})
    env = json.loads((await headers_from(engine, command)).stdout)
    assert (env["TRACEPARENT"], "X_OTHER" in env) == ("own", False)


async def test_the_state_of_another_trace_is_not_handed_on(engine, monkeypatch):
    """A `TRACESTATE` of this process's own parent does not go with the trace of the node."""
    monkeypatch.setenv("TRACEPARENT", "parent")
    monkeypatch.setenv("TRACESTATE", "parent=1")
    env = json.loads((await headers_from(engine, Command([sys.executable, "-c", PRINT]))).stdout)
    assert env["TRACEPARENT"] == "nothing"
    assert "TRACESTATE" not in env


async def test_without_such_a_sink_the_environment_is_that_of_this_process(monkeypatch):
    """Nothing is added, and nothing is removed."""
    monkeypatch.setenv("TRACESTATE", "parent=1")
    async with open_engine(timeouts=NO_LIMITS) as engine:
        command = Command([sys.executable, "-c", PRINT])
        env = json.loads((await headers_from(engine, command)).stdout)
    assert env["TRACESTATE"] == "parent=1"
    assert "TRACEPARENT" not in env


async def test_nonsense_of_a_sink_ends_no_call(caplog):
    """A program gets what can be in an environment; the sink is reported once."""

    class Nonsense(Teller):
        def carrier(self):
            return {"traceparent": None, "a": "\0", 7: "x", "X-Other": "yes"}

    async with open_engine(timeouts=NO_LIMITS, sinks=[Nonsense()]) as engine:
        for _ in range(2):
            output = await headers_from(engine, Command([sys.executable, "-c", PRINT]))
            assert json.loads(output.stdout)["X_OTHER"] == "yes"
    (record,) = [one for one in caplog.records if one.name == "graceline.telemetry"]
    assert record.event_type == "sink_raised"


@pytest.mark.parametrize("resume", [lambda _: dict, jobs.fails_to_resume, jobs.exits_to_resume])
async def test_luggage_that_is_lost_ends_no_job(resume, caplog):
    """What cannot be sent, or cannot be taken up, is missing there; the job goes on."""
    async with open_engine(timeouts=NO_LIMITS, sinks=[Teller(resume)]) as engine:
        assert await headers_from(engine, jobs.double, runs_on="process") == "xx"


def test_luggage_that_cannot_be_sent_is_said(caplog):
    """The log says which node lost what."""
    assert pack_luggage([(lambda _: dict, {"a": object})], "n") != b""
    assert pack_luggage([(jobs.resume, {"a": threading.Lock()})], "n") == b""
    assert "node 'n': what a sink sends along with its job cannot be sent" in caplog.text


def test_luggage_that_cannot_be_taken_up_is_said(caplog):
    """What was taken up before it stays."""
    assert take_up(pack_luggage([(jobs.fails_to_resume, {})], "n"), "n") == ()
    assert "node 'n': what a sink sent along with its job is lost" in caplog.text


def test_headers_that_a_sink_cannot_give_are_said(caplog):
    """The others are handed on."""

    def fails():
        raise GracelineError("no")

    def exits():
        sys.exit(1)

    given = [lambda: {"a": "1"}, fails, exits, lambda: {"b": "2", "c": None, "d": "\0", 7: "7"}]
    for _ in range(3):
        assert gather(given, "of nonsense") == {"a": "1", "b": "2"}
    assert caplog.text.count("node 'of nonsense': headers of a sink are missing") == 1
