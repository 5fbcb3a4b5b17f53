"""Agents by message type: the form of every response, limits, engines, threads, bad messages."""

import asyncio
import enum
import itertools
import json
import logging
import math
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import trio

from graceline import (
    BlockingEngine,
    Command,
    DefinitionError,
    GracelineError,
    Node,
    Pipeline,
    Retry,
    Timeouts,
    choose,
    cleanup,
    current,
    each,
    open_engine,
    save_partial,
)
from graceline.dialects.messages import Dispatcher, Request

PATIENCE = 60

pytestmark = pytest.mark.usefixtures("bounded")


@pytest.fixture
async def agents(autojump_clock):
    """A dispatcher under virtual time, with an engine of its own."""
    async with Dispatcher() as dispatcher:
        yield dispatcher


def register(dispatcher):
    """Three agents in a row, as an agent program has them; how long each takes is in the message."""

    @dispatcher.agent("search")
    async def search(request):
        await trio.sleep(request.message.get("search", 1))
        return {"hits": [request.message["topic"], "again"]}

    @dispatcher.agent("extract")
    async def extract(request):
        await trio.sleep(request.message.get("extract", 1))
        return [hit.upper() for hit in request.results["search"]["hits"]]

    @dispatcher.agent("summarise")
    async def summarise(request):
        if request.message.get("broken"):
            raise ValueError("no words left")
        await trio.sleep(request.message.get("summarise", 1))
        return {"text": " ".join(request.results["extract"]), "seen": list(request.results)}

    dispatcher.workflow("research", ["search", "extract", "summarise"])
    return dispatcher


def spawn(*functions):
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    return threads


def join(threads):
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


# -- the form of responses ------------------------------------------------------------------------


async def test_the_response_of_a_workflow_that_succeeds(agents, autojump_clock):
    """`workflow_type` and `steps` in their order, with what each returned; nothing else."""
    register(agents)
    response = await agents.process_async({"type": "research", "topic": "trio"})
    assert response == {
        "workflow_type": "research",
        "steps": [
            {"step": "search", "status": "ok", "result": {"hits": ["trio", "again"]}},
            {"step": "extract", "status": "ok", "result": ["TRIO", "AGAIN"]},
            {
                "step": "summarise",
                "status": "ok",
                "result": {"text": "TRIO AGAIN", "seen": ["search", "extract"]},
            },
        ],
    }
    assert trio.current_time() == 3


async def test_the_response_of_a_workflow_that_times_out(agents, autojump_clock):
    """`status`, `error` and `partial_progress` come in addition; what is finished stays."""
    register(agents)
    message = {"type": "research", "topic": "trio", "extract": 60}
    response = await agents.process_async(message, timeout=5)
    assert response == {
        "workflow_type": "research",
        "steps": [
            {"step": "search", "status": "ok", "result": {"hits": ["trio", "again"]}},
            {"step": "extract", "status": "timed_out", "result": None},
            {"step": "summarise", "status": "skipped", "result": None},
        ],
        "status": "timed_out",
        "error": "pipeline 'research' exceeded its limit of 5s, given with the call",
        "partial_progress": {
            "completed_steps": ["search"],
            "total_steps_completed": 1,
            "timeout_seconds": 5.0,
        },
    }
    assert trio.current_time() == 5


async def test_the_response_of_a_workflow_that_fails(agents, autojump_clock):
    """`status` and `error` come in addition, and no `partial_progress`."""
    register(agents)
    response = await agents.process_async({"type": "research", "topic": "trio", "broken": True})
    assert [step["status"] for step in response["steps"]] == ["ok", "ok", "failed"]
    assert response["steps"][2] == {"step": "summarise", "status": "failed", "result": None}
    assert set(response) == {"workflow_type", "steps", "status", "error"}
    assert response["status"] == "failed"
    assert response["error"] == "node 'summarise' raised ValueError: no words left"


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"type": "serach"}, "nobody is registered for the message type 'serach'; did you mean 'search'"),
        ({"type": "zzz"}, "valid are: 'search', 'extract', 'summarise', 'research'"),
        ({}, "the message has no key 'type'; valid are: 'search'"),
        ({"type": None}, "'type' is a string of 1 to 200 characters, not None"),
        ({"type": ["search"]}, "characters, not a list"),
        ({"type": ""}, "characters, not one of 0"),
        ({"type": "x" * 10**7}, "characters, not one of 10000000"),
        (None, "a message is a mapping with the key 'type', not None"),
        ('{"type": "search"}', "a message is a mapping with the key 'type', not a str"),
        ([("type", "search")], "not a list"),
    ],
    ids=repr,
)  # fmt: skip
async def test_a_message_that_nobody_can_work_on(agents, autojump_clock, message, error):
    """The response says `error`, has no steps, and names what would be right."""
    register(agents)
    response = await agents.process_async(message)
    assert set(response) == {"workflow_type", "steps", "status", "error"}
    assert (response["steps"], response["status"]) == ([], "error")
    assert error in response["error"]
    assert len(response["error"]) < 300
    known = isinstance(message, dict) and message.get("type") in ("serach", "zzz")
    assert response["workflow_type"] == (message["type"] if known else None)


async def test_a_message_that_cannot_be_read(agents, autojump_clock):
    """A mapping that raises gets an answer as well."""

    class Broken(Mapping):
        def __getitem__(self, key):
            raise OSError("secret")

        def __iter__(self):
            raise OSError("secret")

        def __len__(self):
            return 1

    response = await agents.process_async(Broken())
    assert response["status"] == "error"
    assert response["error"] == "the message cannot be read: OSError"


async def test_a_single_agent_is_a_workflow_of_one_step(agents, autojump_clock):
    """A message of an agent's own type goes to it alone; an enum that is a string is a type too."""
    register(agents)

    class Kind(enum.StrEnum):
        SEARCH = "search"
        SLEEP = "sleep"

    response = await agents.process_async({"type": Kind.SEARCH, "topic": "x"})
    assert response == {
        "workflow_type": "search",
        "steps": [{"step": "search", "status": "ok", "result": {"hits": ["x", "again"]}}],
    }
    unknown = await agents.process_async({"type": Kind.SLEEP})
    assert type(unknown["workflow_type"]) is str
    assert agents.types == ("search", "extract", "summarise", "research")


# -- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan, -math.inf, "-1s", True, False, "30", "soon", None, [1]])  # fmt: skip
async def test_a_wrong_timeout_is_an_error_of_the_call(agents, autojump_clock, timeout):
    """Negative, NaN, a bool, without a unit, no duration at all: ValueError, for both calls."""
    with pytest.raises(ValueError, match="timeout="):
        await agents.process_async({"type": "x"}, timeout=timeout)
    with pytest.raises(ValueError, match="timeout="):
        agents.process({"type": "x"}, timeout)


@pytest.mark.parametrize("timeout", [2, 2.0, "2s", "2000ms", timedelta(seconds=2)], ids=repr)
async def test_a_timeout_is_seconds_or_has_a_unit(agents, autojump_clock, timeout):
    """However it is written, the response has seconds."""
    register(agents)
    response = await agents.process_async({"type": "search", "topic": "x", "search": 9}, timeout)
    assert response["partial_progress"]["timeout_seconds"] == 2.0


async def test_by_default_a_message_has_30_seconds(agents, autojump_clock):
    """Longer work is cut then."""
    register(agents)
    response = await agents.process_async({"type": "search", "topic": "x", "search": math.inf})
    assert response["partial_progress"]["timeout_seconds"] == 30.0
    assert trio.current_time() == 30


async def test_no_limit_is_infinity(agents, autojump_clock):
    """With `math.inf` nothing is cut, whatever the engine's defaults say."""
    register(agents)
    message = {"type": "search", "topic": "x", "search": 10**6}
    assert "status" not in await agents.process_async(message, timeout=math.inf)


async def test_a_timeout_of_zero_has_expired_on_arrival(agents, autojump_clock):
    """Nothing starts, and `completed_steps` is a list all the same."""
    register(agents)
    response = await agents.process_async({"type": "research", "topic": "x"}, timeout=0)
    assert {step["status"] for step in response["steps"]} == {"skipped"}
    assert response["partial_progress"] == {
        "completed_steps": [],
        "total_steps_completed": 0,
        "timeout_seconds": 0.0,
    }


async def test_the_limit_of_a_step_is_named_when_it_passes(agents, autojump_clock):
    """`timeout_seconds` is the limit that passed, and the error says whose it is."""

    @agents.agent("slow", timeout="2s")
    async def slow(request):
        await trio.sleep(9)

    response = await agents.process_async({"type": "slow"})
    assert response["status"] == "timed_out"
    assert response["error"] == "node 'slow' exceeded its limit of 2s"
    assert response["partial_progress"]["timeout_seconds"] == 2.0


async def test_the_limits_of_a_given_engine_do_not_cut_messages(autojump_clock):
    """The engine's defaults are for pipelines that state nothing; a message always states a limit."""
    async with open_engine(timeouts=Timeouts.realtime()) as engine:
        agents = register(Dispatcher(engine))
        response = await agents.process_async({"type": "research", "topic": "x"})
        assert "status" not in response
        assert agents.types
    with pytest.raises(GracelineError, match="closed"):
        await agents.process_async({"type": "research", "topic": "x"})


async def test_time_in_the_queue_counts(autojump_clock):
    """A message that waits for a slot until its limit passes is answered as any other timeout."""
    async with open_engine(max_concurrent_pipelines=1) as engine, trio.open_nursery() as nursery:
        agents = register(Dispatcher(engine))
        long = {"type": "search", "topic": "x", "search": 20}
        nursery.start_soon(agents.process_async, long)
        await trio.testing.wait_all_tasks_blocked()
        response = await agents.process_async({"type": "search", "topic": "x"}, timeout=3)
        assert response["status"] == "timed_out"
        assert response["steps"][0]["status"] == "skipped"
        assert response["partial_progress"]["completed_steps"] == []
        assert "queue" in response["error"]


async def test_a_message_that_the_engine_refuses(autojump_clock):
    """`rejected` is a status of its own: nothing has started."""
    async with open_engine() as engine:
        agents = register(Dispatcher(engine))
        await engine.drain()
        response = await agents.process_async({"type": "search", "topic": "x"})
        assert response["status"] == "rejected"
        assert response["steps"] == [{"step": "search", "status": "skipped", "result": None}]
        assert response["error"] == "pipeline 'search' was refused: draining"
        assert "partial_progress" not in response


async def test_a_cancelled_run_is_said_to_be(agents, autojump_clock):
    """Who cancels the run through the engine gives the reason that the response names."""

    @agents.agent("stop")
    async def stop(request):
        await agents._engine.cancel(current().run_id, "enough", wait=False)
        await trio.sleep(9)

    response = await agents.process_async({"type": "stop"})
    assert response["status"] == "cancelled"
    assert response["error"] == "pipeline 'stop' was cancelled: enough"
    assert response["steps"] == [{"step": "stop", "status": "cancelled", "result": None}]


async def test_a_late_step_is_a_success(agents, autojump_clock):
    """A value that came after the limit is not lost: its step is `late`, the response complete."""

    @agents.agent("stubborn")
    async def stubborn(request):
        with trio.CancelScope(shield=True):
            await trio.sleep(4)
        return "here"

    response = await agents.process_async({"type": "stubborn"}, timeout=3)
    assert response == {
        "workflow_type": "stubborn",
        "steps": [{"step": "stubborn", "status": "late", "result": "here"}],
    }


async def test_a_strict_late_value_is_kept_as_the_partial_one(agents, autojump_clock):
    """With `strict=True` the step is `timed_out`, and what it returned is its result."""

    async def stubborn(request):
        with trio.CancelScope(shield=True):
            await trio.sleep(4)
        return "here"

    agents.register("stubborn", Node(stubborn, strict=True))
    response = await agents.process_async({"type": "stubborn"}, timeout=3)
    assert response["steps"] == [{"step": "stubborn", "status": "timed_out", "result": "here"}]


# -- steps ----------------------------------------------------------------------------------------


async def test_steps_in_a_group_run_at_the_same_time(agents, autojump_clock):
    """Each sees the results before the group; what follows sees those of all of them."""

    async def step(request):
        await trio.sleep(1)
        return sorted(request.results)

    for name in "abcd":
        agents.register(name, step)
    agents.workflow("w", ["a", ("b", "c"), ["d"]])
    response = await agents.process_async({"type": "w"})
    assert [entry["result"] for entry in response["steps"]] == [[], ["a"], ["a"], ["a", "b", "c"]]
    assert trio.current_time() == 3


async def test_a_group_comes_first_and_a_group_follows_a_group(agents, autojump_clock):
    """Results are merged by name, however many steps hand them on."""

    async def step(request):
        return sorted(request.results)

    for name in "abcd":
        agents.register(name, step)
    agents.workflow("w", [["a", "b"], ["c", "d"]])
    response = await agents.process_async({"type": "w"})
    assert [entry["result"] for entry in response["steps"]] == [[], [], ["a", "b"], ["a", "b"]]


async def test_what_a_step_saved_is_its_result_when_it_is_cut(agents, autojump_clock):
    """The last partial value of a step that does not finish is in the response."""

    @agents.agent("careful")
    async def careful(request):
        save_partial({"pages": 3})
        await trio.sleep(9)

    response = await agents.process_async({"type": "careful"}, timeout=1)
    assert response["steps"][0] == {
        "step": "careful",
        "status": "timed_out",
        "result": {"pages": 3},
    }


async def test_a_step_that_is_not_critical_may_fail(agents, autojump_clock):
    """The workflow succeeds; what follows sees the fallback, or nothing of the step."""

    async def fails(request):
        raise ValueError("no")

    async def sees(request):
        return request.results

    for name, options in {
        "plain": {},
        "value": {"fallback": 7},
        "called": {"fallback": lambda request: request.message["n"]},
    }.items():
        part = Node(fails, name="weak", critical=False, **options)
        agents.workflow(name, [part, Node(sees, name="sees")])
    expected = {"plain": {}, "value": {"weak": 7}, "called": {"weak": 5}}
    for name, results in expected.items():
        response = await agents.process_async({"type": name, "n": 5})
        assert response == {
            "workflow_type": name,
            "steps": [
                {"step": "weak", "status": "failed", "result": None},
                {"step": "sees", "status": "ok", "result": results},
            ],
        }


async def test_a_step_may_have_a_condition_and_be_tried_again(agents, autojump_clock):
    """`when=` is asked with the request, also behind a group; `retry=` works as in any node."""
    tries = []

    @agents.agent("flaky", retry=Retry(attempts=3), timeout=10)
    async def flaky(request):
        tries.append(request.results)
        if len(tries) < 3:
            raise OSError("not yet")
        return len(tries)

    async def note(request):
        return sorted(request.results)

    wanted = Node(note, name="wanted", when=lambda request: request.results["flaky"] == 3)
    unwanted = Node(note, name="unwanted", when=lambda request: "x" in request.message)
    last = Node(note, name="last", when=lambda request: "wanted" in request.results)
    agents.workflow("w", ["flaky", [wanted, unwanted], last])
    response = await agents.process_async({"type": "w"})
    assert [(entry["status"], entry["result"]) for entry in response["steps"]] == [
        ("ok", 3),
        ("ok", ["flaky"]),
        ("skipped", None),
        ("ok", ["flaky", "wanted"]),
    ]


async def test_a_pipeline_is_an_agent(agents, autojump_clock):
    """Its input is the request, its value the result of the step."""

    async def topic(request):
        return request.message["topic"]

    async def shout(text):
        return text.upper()

    pipeline = Pipeline("p", [Node(topic), Node(shout, after="topic")])
    agents.register("shout", pipeline)
    agents.workflow("w", [pipeline, "shout"])
    response = await agents.process_async({"type": "w", "topic": "x"})
    assert response["steps"] == [
        {"step": "p", "status": "ok", "result": "X"},
        {"step": "shout", "status": "ok", "result": "X"},
    ]


@pytest.mark.parametrize("limit", [1, 60])
async def test_a_pipeline_that_does_not_succeed_hands_its_status_on(agents, autojump_clock, limit):
    """Its own limit is a timeout of the step, an error in it a failure, with what it had finished."""

    async def first(request):
        return 1

    async def second(value):
        await trio.sleep(5)
        raise ValueError("deep inside")

    pipeline = Pipeline("p", [Node(first), Node(second, after="first")], timeout=limit)
    agents.workflow("w", [pipeline])
    response = await agents.process_async({"type": "w"})
    step = response["steps"][0]
    if limit == 1:
        assert (response["status"], step["status"]) == ("timed_out", "timed_out")
        assert response["partial_progress"] == {
            "completed_steps": [],
            "total_steps_completed": 0,
            "timeout_seconds": 1.0,
        }
        assert "pipeline 'p' exceeded its limit of 1s" in response["error"]
    else:
        assert (response["status"], step["status"]) == ("failed", "failed")
        assert response["error"].endswith("node 'second' raised ValueError: deep inside")
        assert "partial_progress" not in response
    assert step["result"] == {"first": 1}


async def test_an_agent_may_send_messages_itself(agents, autojump_clock):
    """Its work belongs to the run around it: the limit of the outer message cuts both."""
    register(agents)
    inner = []

    @agents.agent("boss")
    async def boss(request):
        response = await agents.process_async({"type": "research", "topic": "x"})
        inner.append(response["steps"][2]["result"]["text"])
        await agents.process_async({"type": "search", "topic": "x", "search": 99}, timeout=90)

    response = await agents.process_async({"type": "boss"}, timeout=10)
    assert inner == ["X AGAIN"]
    assert response["status"] == "timed_out"
    assert trio.current_time() == 10
    assert agents._engine.runs() == ()


async def test_a_message_is_the_workflows_own(agents, autojump_clock):
    """What the sender does to the message afterwards is not seen, nor what an agent does to it."""

    @agents.agent("nosy")
    async def nosy(request):
        await trio.sleep(1)
        request.message["more"] = 1
        return request.message["topic"]

    message = {"type": "nosy", "topic": "first"}

    async def send():
        response = await agents.process_async(message)
        assert response["steps"][0]["result"] == "first"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.sleep(0.5)
        message["topic"] = "second"
    assert message == {"type": "nosy", "topic": "second"}


# -- results --------------------------------------------------------------------------------------


@attrs.frozen
class Point:
    x: int


class Mute:
    def __repr__(self):
        raise RuntimeError("no repr")


def cyclic():
    value = []
    value.append(value)
    return value


def deep():
    value = None
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Point(1), {"x": 1}),
        ({1: (2, {3})}, {"1": [2, [3]]}),
        (math.nan, {"repr": "nan"}),
        (b"abc", {"repr": "b'abc'"}),
        (ValueError("x"), {"type": "ValueError", "message": "x"}),
    ],
    ids=repr,
)
async def test_results_become_plain_json(agents, autojump_clock, value, written):
    """Other steps see what was returned; the response has it in JSON types."""
    seen = []

    async def give(request):
        return value

    async def take(request):
        seen.append(request.results["give"])

    agents.workflow("w", [give, take])
    response = await agents.process_async({"type": "w"})
    assert response["steps"][0]["result"] == written
    assert seen[0] is value
    json.dumps(response, allow_nan=False)


async def test_a_response_has_plain_types_only(agents, autojump_clock):
    """Words of the library's own enums are strings like any other."""

    def types(value):
        yield type(value)
        if isinstance(value, dict):
            for key, entry in value.items():
                yield from (*types(key), *types(entry))
        elif isinstance(value, list):
            for entry in value:
                yield from types(entry)

    register(agents)
    for changes in ({}, {"broken": True}, {"extract": 60}, {"type": "x"}):
        message = {"type": "research", "topic": "trio"} | changes
        found = set(types(await agents.process_async(message)))
        assert found <= {dict, list, str, int, float, bool, type(None)}


@pytest.mark.parametrize("make", [cyclic, deep, Mute])
async def test_a_result_that_cannot_be_written_spoils_no_response(agents, autojump_clock, make):
    """A cycle, a bottomless list, a broken `repr`: the step is `ok`, the others are as they are."""

    async def give(request):
        return make()

    async def take(request):
        return 1

    agents.workflow("w", [give, take])
    response = await agents.process_async({"type": "w"})
    assert [step["status"] for step in response["steps"]] == ["ok", "ok"]
    assert set(response["steps"][0]["result"]) == {"repr"}
    assert response["steps"][1]["result"] == 1
    json.dumps(response, allow_nan=False)


@pytest.mark.parametrize("length", [0, 5000])
async def test_the_text_of_an_error_is_bounded(agents, autojump_clock, length):
    """An empty one leaves no colon behind, a long one is cut."""

    @agents.agent("x")
    async def fails(request):
        raise ValueError("y" * length)

    error = (await agents.process_async({"type": "x"}))["error"]
    assert error == "node 'x' raised ValueError" + (f": {'y' * 1000}..." if length else "")


def test_a_forgotten_type_is_told():
    """`@agents.agent` without parentheses gets the function for a type."""
    with pytest.raises(DefinitionError, match=r"write @agents.agent\(\"type\"\)"):

        @Dispatcher().agent
        def search(request):
            raise AssertionError("it is not called")


async def test_an_error_without_a_text_is_answered(agents, autojump_clock):
    """An exception whose `str` raises is named by its class."""

    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError

    @agents.agent("x")
    async def fails(request):
        raise MuteError

    assert (await agents.process_async({"type": "x"}))["error"] == "node 'x' raised MuteError"


# -- logs -----------------------------------------------------------------------------------------


async def test_a_timeout_below_a_second_is_a_warning(agents, autojump_clock, caplog):
    """The record has `warning_type`; one second is long enough, zero is not."""
    register(agents)
    for timeout, expected in ((1, 0), (0.999, 1), ("200ms", 2), (0, 3)):
        await agents.process_async({"type": "search", "topic": "x", "search": 0}, timeout)
        found = [r for r in caplog.records if getattr(r, "warning_type", None)]
        assert len(found) == expected
    assert {record.warning_type for record in found} == {"sub_second_timeout"}
    assert {record.levelno for record in found} == {logging.WARNING}
    assert [record.timeout_seconds for record in found] == [0.999, 0.2, 0]


async def test_bodies_are_never_logged(agents, autojump_clock, caplog):
    """No record at any level holds anything of a message, a result, an error or an unknown type."""
    caplog.set_level(logging.DEBUG)

    @agents.agent("known")
    async def known(request):
        save_partial("SECRET")
        logging.getLogger("theirs").info("working on %r", request)
        if request.message["how"] == "SECRET fails":
            raise ValueError("SECRET")
        if request.message["how"] == "SECRET hangs":
            await trio.sleep(99)
        return "SECRET"

    for how in ("works", "fails", "hangs"):
        await agents.process_async({"type": "known", "how": f"SECRET {how}"}, 2)
    await agents.process_async({"type": "SECRET"})
    await agents.process_async({"body": "SECRET"})
    ours = [record for record in caplog.records if record.name == "graceline.messages"]
    types = [record.event_type for record in ours]
    assert types == ["message_received", "message_answered"] * 3 + ["message_refused"] * 2
    assert [r.status for r in ours if r.event_type == "message_answered"] == ["ok", "failed", "timed_out"]  # fmt: skip
    assert ours[0].steps == ("known",)
    assert [record.levelname for record in ours[1::2]][:3] == ["DEBUG", "WARNING", "WARNING"]
    assert [record.reason for record in ours[-2:]] == ["unknown_type", "malformed"]
    assert len(caplog.records) > len(ours) + 3
    for record in caplog.records:
        assert "SECRET" not in f"{record.getMessage()} {vars(record)}"


async def test_no_type_makes_a_line_of_its_own_in_the_log(agents, autojump_clock, caplog):
    """Newlines and escapes of a terminal are escaped in the message; the field has them."""
    caplog.set_level(logging.DEBUG, "graceline.messages")
    name = "x\nERROR forged\x1b[2J"

    @agents.agent(name)
    async def works(request):
        return 1

    await agents.process_async({"type": name}, 2)
    assert [record.event_type for record in caplog.records] == ["message_received", "message_answered"]  # fmt: skip
    for record in caplog.records:
        assert record.getMessage().isprintable()
        assert record.workflow_type == name


async def test_a_handler_that_raises_costs_no_answer(agents, autojump_clock, monkeypatch, capsys):
    """What a handler of the program raises is printed, and the message is answered."""
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: {}["lost"]
    log = logging.getLogger("graceline.messages")
    monkeypatch.setattr(log, "handlers", [handler])
    log.setLevel(logging.DEBUG)
    try:
        register(agents)
        response = await agents.process_async({"type": "search", "topic": "x", "search": 0}, 0.5)
        refused = await agents.process_async({"type": "nobody"})
    finally:
        log.setLevel(logging.NOTSET)
    assert "status" not in response
    assert refused["status"] == "error"
    assert capsys.readouterr().err.count("KeyError: 'lost'") == 4


# -- nothing goes on ------------------------------------------------------------------------------


async def test_nothing_runs_after_the_response(agents, autojump_clock):
    """The cleanup of what was cut has ended when the response comes."""
    done = []

    @agents.agent("tidy")
    async def tidy(request):
        try:
            await trio.sleep(99)
        finally:
            with cleanup():
                await trio.sleep(0.5)
                done.append(trio.current_time())

    response = await agents.process_async({"type": "tidy"}, timeout=2)
    assert (response["status"], done) == ("timed_out", [2.5])
    assert agents._engine.runs() == ()


async def test_a_caller_that_is_cancelled_gets_no_response(agents, autojump_clock):
    """The work is cancelled, its cleanup awaited, and the `Cancelled` goes on to the caller."""
    register(agents)
    with trio.move_on_after(1.5) as scope:
        await agents.process_async({"type": "research", "topic": "x"})
        raise AssertionError
    assert scope.cancelled_caught
    assert agents._engine.runs() == ()
    assert trio.current_time() == 1.5


async def test_many_messages_at_once(autojump_clock):
    """Each has its own results and its own limit."""
    async with Dispatcher(max_concurrent_pipelines=None) as agents, trio.open_nursery() as nursery:
        register(agents)

        async def send(number):
            message = {"type": "research", "topic": f"t{number}", "extract": number}
            response = await agents.process_async(message, timeout=50)
            hits = response["steps"][0]["result"]["hits"]
            assert hits == [f"t{number}", "again"]
            assert ("status" in response) == (number > 48)

        for number in range(100):
            if number != 48:  # ends as its limit passes: either is right
                nursery.start_soon(send, number)


# -- threads --------------------------------------------------------------------------------------


def test_a_plain_program_processes_messages():
    """`with` has an engine in a thread of its own; plain agents run in worker threads."""
    agents = Dispatcher()

    @agents.agent("count")
    def count(request):
        assert threading.current_thread() is not threading.main_thread()
        return len(request.message["text"])

    @agents.agent("double")
    async def double(request):
        return 2 * request.results["count"]

    agents.workflow("both", ["count", "double"])
    for _ in range(2):  # a dispatcher may be opened again
        with agents as opened:
            assert opened is agents
            response = agents.process({"type": "both", "text": "abc"})
            assert [step["result"] for step in response["steps"]] == [3, 6]
            json.dumps(response)
        with pytest.raises(GracelineError, match="no open engine; use `with Dispatcher"):
            agents.process({"type": "both", "text": "abc"})


def test_an_agent_may_run_in_a_worker_process():
    """The request and the result of the step cross to it and back."""
    with Dispatcher(max_processes=1) as agents:
        agents.register("show", Node(repr, runs_on="process"))
        response = agents.process({"type": "show", "text": "abc"})
        assert response["steps"][0]["result"] == "Request(workflow_type='show')"


def test_an_agent_that_blocks_its_thread_holds_up_no_response():
    """The thread is abandoned at the limit; healthy agents go on."""
    release = threading.Event()
    started = threading.Event()
    with Dispatcher() as agents:

        @agents.agent("hang")
        def hang(request):
            started.set()
            release.wait(PATIENCE)

        @agents.agent("well")
        def well(request):
            return "well"

        while not started.is_set():  # a thread may take longer to start
            assert agents.process({"type": "hang"}, timeout=0.05)["status"] == "timed_out"
        assert agents._engine.abandoned_threads == 1
        assert agents._engine.runs() == ()
        assert agents.process({"type": "well"})["steps"][0]["result"] == "well"
        release.set()


async def test_an_agent_that_shields_itself_holds_up_its_own_response(agents, autojump_clock):
    """No task can be left behind: the response comes when it has returned, and others are not held."""

    @agents.agent("stubborn")
    async def stubborn(request):
        with trio.CancelScope(shield=True):
            await trio.sleep(60)
        await trio.sleep_forever()

    @agents.agent("well")
    async def well(request):
        return "well"

    responses = {}

    async def send(name, timeout):
        response = await agents.process_async({"type": name}, timeout)
        responses[name] = trio.current_time(), response["steps"][0]["status"]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, "stubborn", 2)
        nursery.start_soon(send, "well", 2)
    assert responses == {"well": (0, "ok"), "stubborn": (60, "timed_out")}
    assert agents._engine.runs() == ()


def alive(pid):
    """Whether a process is there and is no zombie, which waits for nobody but its new parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_no_program_outlives_the_response(tmp_path):
    """What an agent has started, and what that has started, are gone when the response comes."""
    pids = tmp_path / "pids"
    program = Command(f"sleep 1000 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait")
    with Dispatcher() as agents:
        agents.register("program", Pipeline("p", [program]))
        while not pids.exists():  # a program may take longer to start
            response = agents.process({"type": "program"}, timeout=0.1)
            left = [pid for pid in pids.read_text().split() if alive(pid)] if pids.exists() else []
    assert response["status"] == "timed_out"
    assert left == []


def test_a_plain_agent_that_gives_a_coroutine_has_failed():
    """Nobody would run it; the error says what to register, and nothing is left un-awaited."""

    async def work(request):
        raise AssertionError

    def wrapped(request):
        return work(request)

    with Dispatcher() as agents:
        agents.register("wrapped", wrapped)
        response = agents.process({"type": "wrapped"})
    assert response["status"] == "failed"
    assert "returned a coroutine; register the async function itself" in response["error"]


def test_an_agent_that_ends_the_program_ends_the_engine():
    """What is raised for the program is no answer: callers get an error, the block raises it."""

    async def leave(request):
        raise SystemExit(3)

    errors = []
    with pytest.raises(BaseExceptionGroup) as caught, Dispatcher() as agents:
        agents.register("leave", leave)
        try:
            agents.process({"type": "leave"})
        except GracelineError as error:
            errors.append(error)
    assert len(errors) == 1
    assert caught.value.split(SystemExit)[0] is not None


def test_any_number_of_threads_may_process_messages():
    """Each gets the response to its own message, while others register agents."""
    responses = {}
    with register(Dispatcher(max_concurrent_pipelines=None)) as agents:

        def send(number):
            message = {"type": "research", "topic": f"t{number}"}
            quick = dict.fromkeys(("search", "extract", "summarise"), 0)
            responses[number] = agents.process(message | quick)

        def grow(number):
            agents.register(f"more {number}", len)

        numbers = range(20)
        join(
            spawn(*[lambda n=n: send(n) for n in numbers], *[lambda n=n: grow(n) for n in numbers])
        )
        assert len(agents.types) == 24
    assert len(responses) == 20
    for number, response in responses.items():
        assert response["steps"][1]["result"] == [f"T{number}", "AGAIN"]


def test_other_event_loops_may_process_messages():
    """A thread with asyncio or Trio of its own calls `process`; under Trio `process_async` as well."""
    message = {"type": "search", "topic": "x", "search": 0}
    with register(Dispatcher()) as agents:
        expected = agents.process(message)
        assert "status" not in expected

        async def under_asyncio():
            assert agents.process(message) == expected
            assert await asyncio.to_thread(agents.process, message) == expected
            with pytest.raises(GracelineError, match="under asyncio write await asyncio"):
                await agents.process_async(message)

        async def under_trio():
            assert agents.process(message) == expected
            assert await agents.process_async(message) == expected

        asyncio.run(under_asyncio())
        trio.run(under_trio)


def test_threads_beside_the_loop_use_process():
    """In the loop's own thread it would wait for itself: an error says so."""

    async def main():
        async with Dispatcher() as agents:
            register(agents)
            message = {"type": "search", "topic": "x", "search": 0}
            response = await trio.to_thread.run_sync(agents.process, message)
            assert "status" not in response
            with pytest.raises(GracelineError, match=r"write await agents\.process_async"):
                agents.process(message)

    trio.run(main)


def test_in_a_thread_an_agent_sends_messages_within_its_own_time():
    """What a plain agent waits for ends when the agent is cut, whatever timeout it gives."""
    started, ended = threading.Event(), threading.Event()
    inner = []
    with Dispatcher() as agents:

        @agents.agent("inner")
        async def never(request):
            await trio.sleep_forever()

        @agents.agent("outer")
        def outer(request):
            started.set()
            inner.append(agents.process({"type": "inner"}, timeout=3600))
            ended.set()

        while not started.is_set():  # a thread may take longer to start
            assert agents.process({"type": "outer"}, timeout=0.05)["status"] == "timed_out"
        assert ended.wait(PATIENCE)
    assert inner[0]["status"] == "timed_out"


def test_a_cancelled_caller_in_another_loop_ends_the_work():
    """`process_async` in a loop that is not the engine's cancels its run, and waits for its end."""
    cleaned = []
    with Dispatcher() as agents:

        @agents.agent("hang")
        async def hang(request):
            started.set()
            try:
                await trio.sleep_forever()
            finally:
                cleaned.append(True)

        async def cancel(scope):
            await trio.to_thread.run_sync(started.wait)
            scope.cancel()

        async def main():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel, nursery.cancel_scope)
                await agents.process_async({"type": "hang"}, timeout=3600)
                raise AssertionError

        started = threading.Event()
        trio.run(main)
        assert cleaned == [True]
        assert agents._engine.runs() == ()


@pytest.mark.parametrize("through", ["process", "process_async"])
def test_ctrl_c_ends_the_work(interrupt, through):
    """The first interrupt of a caller cancels the work, awaits its cleanup, and is raised."""
    cleaned = []
    with Dispatcher() as agents:

        @agents.agent("hang")
        async def hang(request):
            try:
                interrupt()
                await trio.sleep_forever()
            finally:
                cleaned.append(True)

        with pytest.raises(KeyboardInterrupt):
            if through == "process":
                agents.process({"type": "hang"}, timeout=3600)
            else:
                trio.run(agents.process_async, {"type": "hang"}, 3600)
        assert cleaned == [True]
        assert agents._engine.runs() == ()


def test_leaving_the_block_answers_what_has_started():
    """Callers in other threads get whole responses until it is closed, and then an error each."""
    started = threading.Barrier(4)
    statuses, errors = [], []
    agents = Dispatcher()

    @agents.agent("work")
    async def work(request):
        await trio.sleep(0.01)
        return request.message["n"]

    def call():
        started.wait(PATIENCE)
        for n in itertools.count():
            try:
                response = agents.process({"type": "work", "n": n}, PATIENCE)
            except GracelineError as error:
                errors.append(str(error))
                return
            statuses.append(response["steps"] == [{"step": "work", "status": "ok", "result": n}])

    with agents:
        threads = spawn(call, call, call)
        started.wait(PATIENCE)
        agents.process({"type": "work", "n": 0}, PATIENCE)
    join(threads)
    assert all(statuses)
    assert len(errors) == 3
    for error in errors:
        assert "the engine is closed" in error or "has no open engine" in error


def test_leaving_the_block_by_an_error_cuts_what_runs():
    """Other callers are answered: their work was cancelled by the shutdown."""
    started = threading.Event()
    responses = []
    agents = Dispatcher()

    @agents.agent("hang")
    async def hang(request):
        started.set()
        await trio.sleep_forever()

    with pytest.raises(OSError, match="enough"), agents:
        threads = spawn(lambda: responses.append(agents.process({"type": "hang"}, 3600)))
        assert started.wait(PATIENCE)
        raise OSError("enough")
    join(threads)
    assert responses[0]["status"] == "cancelled"


def test_a_blocking_engine_may_be_given():
    """It is used as it is; in its loop agents reach it too, and pipelines run in it."""

    async def twice(request):
        inner = await agents.process_async({"type": "one"})
        return inner["steps"][0]["result"]

    with BlockingEngine() as engine:
        agents = Dispatcher(engine)
        agents.register("one", Pipeline("p", [lambda request: 1]))
        agents.register("twice", twice)
        assert agents.process({"type": "twice"})["steps"][0]["result"] == 1


# -- definitions ----------------------------------------------------------------------------------


def test_a_dispatcher_has_one_engine_at_a_time():
    """Opened twice, opened although one was given, options beside it, no engine: clear errors."""
    with Dispatcher() as agents:
        with pytest.raises(GracelineError, match="one engine at a time"):
            agents.__enter__()
        agents.register("a", len)
    with BlockingEngine() as engine:
        with pytest.raises(GracelineError, match="given an engine and is ready"):
            Dispatcher(engine).__enter__()
        with pytest.raises(DefinitionError, match="lane= is for an engine of its own"):
            Dispatcher(engine, lane="x")
    with pytest.raises(DefinitionError, match="5 is no engine"):
        Dispatcher(5)


def test_while_the_block_opens_there_is_no_engine_yet(monkeypatch):
    """Another thread is told the same as before the block, and a second one cannot open it."""
    errors = []
    enter = BlockingEngine.__enter__

    def entering(engine):
        for call in (lambda: agents.process({"type": "a"}), agents.__enter__):
            with pytest.raises(GracelineError) as caught:
                call()
            errors.append(str(caught.value))
        return enter(engine)

    agents = Dispatcher()
    monkeypatch.setattr(BlockingEngine, "__enter__", entering)
    with agents:
        assert len(errors) == 2
    assert "this dispatcher has no open engine" in errors[0]
    assert "one engine at a time" in errors[1]


def test_a_block_that_cannot_open_leaves_the_dispatcher_as_it_was():
    """A bad option is an error of `with` and of `async with`, each time."""

    async def main():
        async with agents:
            raise AssertionError

    agents = Dispatcher(max_threads=0)
    for _ in range(2):
        with pytest.raises(DefinitionError, match="max_threads="), agents:
            raise AssertionError
        with pytest.raises(DefinitionError, match="max_threads="):
            trio.run(main)
    with pytest.raises(DefinitionError, match="max_runs= is unknown"):
        Dispatcher(max_runs=1).__enter__()


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        (["serach"], "'serach' is no registered agent; did you mean 'search'"),
        (["research"], "'research' is a workflow and no agent"),
        ([], "it has no parts"),
        (["search", []], "a group of steps is empty"),
        ("search", "its steps must be a list, not 'search'"),
        (7, "its steps must be a list, not 7"),
        ({"search": 1}, "its steps must be a list"),
        (["search", "search"], "'search' is used twice"),
        ([5], "5 is not a function"),
        ([Command("true")], r"a Command is no agent by itself; write Pipeline\("),
        ([each(len)], "more than one function of a request; wrap it: Pipeline"),
        ([choose(len, repr)], "more than one function of a request; wrap it: Pipeline"),
        ([Node(len, after="x")], r"says after=\['x'\] itself"),
        pytest.param([lambda: 1], "exactly one argument, its Request", id="no-argument"),
    ],
    ids=repr,
)
def test_a_bad_workflow_is_refused(steps, error):
    """The error says what is wrong, and what would be right; nothing is registered."""
    agents = register(Dispatcher())
    with pytest.raises(DefinitionError, match=error):
        agents.workflow("w", steps)
    assert "w" not in agents.types


@pytest.mark.parametrize("name", ["", " ", None, 5, "x" * 201])
def test_a_bad_type_is_refused(name):
    """A type is a short string that says something."""
    with pytest.raises(DefinitionError, match=r"name must be|at most 200"):
        Dispatcher().register(name, len)
    with pytest.raises(DefinitionError, match=r"name must be|at most 200"):
        Dispatcher().workflow(name, [len])


def test_a_type_belongs_to_one():
    """Neither an agent nor a workflow replaces what is registered."""
    agents = register(Dispatcher())
    for name in ("search", "research"):
        with pytest.raises(DefinitionError, match=f"for the message type '{name}' already"):
            agents.register(name, len)
        with pytest.raises(DefinitionError, match=f"for the message type '{name}' already"):
            agents.workflow(name, [len])


def test_the_decorator_leaves_the_function_as_it_is():
    """Whoever calls it directly, in its unit test for instance, needs no engine."""
    agents = Dispatcher()

    @agents.agent("count", timeout=5)
    def count(request):
        return len(request.message["text"])

    assert count(Request("count", {"text": "abc"})) == 3
    assert "abc" not in repr(Request("count", {"text": "abc"}, {"x": "abc"}))
