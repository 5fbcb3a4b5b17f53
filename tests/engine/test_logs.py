"""What an engine logs: payloads only on request, and as JSON and structlog write it."""

import io
import json
import logging

import attrs
import pytest
import structlog
import trio
from pythonjsonlogger.json import JsonFormatter

from graceline import (
    DefinitionError,
    Node,
    Pipeline,
    Retry,
    Stage,
    cleanup,
    open_engine,
    parallel,
    save_partial,
    sequence,
)
from graceline.engine.blocking import BlockingEngine
from graceline.telemetry.events import PayloadsSeen
from graceline.telemetry.timeline import Timeline


@pytest.fixture
def records(monkeypatch):
    """What the library logs, DEBUG included, as a formatter writes it: one line for each record."""

    def through(formatter):
        handler = logging.StreamHandler(io.StringIO())
        handler.setFormatter(formatter)
        logger = logging.getLogger("graceline")
        monkeypatch.setattr(logger, "handlers", [handler])
        monkeypatch.setattr(logger, "propagate", False)
        logger.setLevel(logging.DEBUG)
        return lambda: handler.stream.getvalue().splitlines()

    yield through
    logging.getLogger("graceline").setLevel(logging.NOTSET)


async def fail(_):
    await trio.sleep(1)
    raise ValueError("secret")


async def slow(_):
    save_partial("half")
    try:
        await trio.sleep_forever()
    finally:
        with cleanup():
            await trio.sleep_forever()


async def add(value):
    await trio.sleep(0.01)
    return value + 1


EVENTFUL = Pipeline(
    "eventful",
    [
        Stage("a", sequence(Node(add, timeout=0.5))),
        Stage(
            "b",
            parallel(Node(fail, retry=Retry(attempts=2, backoff=1), critical=False), add),
            critical=False,
        ),
        Stage("c", [Node(slow, timeout=2, grace=1)]),
    ],
    timeout=60,
)
TYPES = {
    "sub_second_timeout", "pipeline_started", "stage_started", "node_started", "node_finished",
    "stage_finished", "attempt_started", "attempt_failed", "node_failed", "node_timeout",
    "cleanup_overran", "stage_timeout", "pipeline_timeout",
}  # fmt: skip


async def run_eventful(**options):
    async with open_engine(**options) as engine:
        await engine.run(EVENTFUL, 1, run_id="r1")


async def test_plain_logging(autojump_clock, records):
    """Each record begins with its type; the limits and where they were stated are there."""
    lines = records(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    await run_eventful()
    assert {line.split()[2] for line in lines()} == TYPES
    assert "DEBUG graceline.run node_started eventful.a.add, limit 500ms (node)" in lines()
    assert "DEBUG graceline.run pipeline_started eventful, limit 1m (pipeline)" in lines()


async def test_json_of_every_record(autojump_clock, records):
    """python-json-logger writes each record as one object with all its fields, unchanged."""
    lines = records(JsonFormatter("{levelname}{name}{message}", style="{"))
    await run_eventful()
    entries = [json.loads(line) for line in lines()]
    assert {entry["event_type"] for entry in entries} == TYPES
    (timeout,) = [entry for entry in entries if entry["event_type"] == "node_timeout"]
    known = {"levelname": "INFO", "name": "graceline.run", "run_id": "r1", "lane": "default"}
    known |= {"pipeline": "eventful", "stage": "c", "node": "slow", "status": "timed_out"}
    known |= {"limit": 2.0, "source": "node", "blamed_level": "node", "partial": True}
    assert known.items() <= timeout.items()
    (cut,) = [entry for entry in entries if entry["event_type"] == "cleanup_overran"]
    assert (cut["part_level"], cut["part_name"]) == ("node", "slow")


@pytest.mark.parametrize("renderer", ["json", "console", "logfmt"])
async def test_structlog_renders_every_record(autojump_clock, records, renderer):
    """`ProcessorFormatter` with `foreign_pre_chain` and `ExtraAdder` takes them as they are."""
    last = {
        "json": structlog.processors.JSONRenderer(),
        "console": structlog.dev.ConsoleRenderer(colors=False),
        "logfmt": structlog.processors.LogfmtRenderer(),
    }[renderer]
    lines = records(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.add_log_level,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso"),
                structlog.processors.StackInfoRenderer(),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    await run_eventful()
    if renderer != "json":
        assert len(lines()) > len(TYPES)
        return
    entries = [json.loads(line) for line in lines()]
    assert {entry["event_type"] for entry in entries} == TYPES
    assert all(entry["event"].startswith(entry["event_type"]) for entry in entries)
    assert {entry["level"] for entry in entries} == {"debug", "info", "warning"}
    assert {entry["logger"] for entry in entries} == {"graceline.run", "graceline.engine"}


# -- limits below one second ----------------------------------------------------------------------


async def test_limits_below_one_second_are_told_once(autojump_clock, caplog):
    """DEBUG names those that the definition states, once per definition and engine."""
    caplog.set_level(logging.DEBUG, "graceline.engine")
    short = Pipeline(
        "short",
        [Stage("s", [Node(add, timeout=0.25), Node(add, name="b")], timeout=0.5)],
        timeout=0.9,
    )
    async with open_engine() as engine:
        for timeout in (None, 0.5, None):
            await engine.run(short, 1, timeout=timeout)
        await engine.run(Pipeline("free", [add]), 1)  # the engine's own defaults are not news
    (record,) = caplog.records
    assert (record.levelno, record.event_type) == (logging.DEBUG, "sub_second_timeout")
    assert record.getMessage() == "sub_second_timeout short: short 900ms, s 500ms, s.add 250ms"
    assert record.limits == ("short 900ms", "s 500ms", "s.add 250ms")


# -- payloads -------------------------------------------------------------------------------------


def payloads(caplog):
    return {
        (record.pipeline, record.stage, record.node): record
        for record in caplog.records
        if getattr(record, "event_type", "").endswith("_payload")
    }


async def test_payloads_on_request(autojump_clock, caplog):
    """Inputs, values, partial values and error texts stand in records of their own, and nowhere else."""
    caplog.set_level(logging.DEBUG, "graceline.run")
    await run_eventful(log_payloads=True)
    found = payloads(caplog)
    assert found.keys() == {
        ("eventful", "a", "add"), ("eventful", "a", ""), ("eventful", "b", "fail"),
        ("eventful", "b", "add"), ("eventful", "b", ""), ("eventful", "c", "slow"),
        ("eventful", "c", ""), ("eventful", "", ""),
    }  # fmt: skip
    good, failed = found["eventful", "a", "add"], found["eventful", "b", "fail"]
    assert (good.input, good.value, good.error, good.levelname) == ("1", "2", None, "DEBUG")
    assert (failed.input, failed.value) == ("2", None)
    assert failed.error.startswith("ValueError: secret; ")  # with the note on the attempts
    assert failed.secondary == ("ValueError: secret",)
    assert found["eventful", "c", "slow"].partial_value == "'half'"
    assert found["eventful", "a", ""].value == "2"
    assert found["eventful", "", ""].levelname == "WARNING"
    others = [record for record in caplog.records if record not in found.values()]
    assert others
    assert not any("secret" in record.getMessage() for record in others)


async def test_by_default_no_payload_is_looked_at(autojump_clock, caplog):
    """Without the option nothing calls a `repr`, and no such event is built."""
    caplog.set_level(logging.DEBUG, "graceline.run")

    class Untouchable:
        def __repr__(self):
            raise AssertionError("looked at")

    async with open_engine() as engine:
        result = await engine.run(Pipeline("p", [fail], timeout=9), Untouchable())
    assert result.status == "failed"
    assert payloads(caplog) == {}


async def test_of_what_ends_well_payloads_are_told_in_a_trace_only(autojump_clock, caplog):
    """At INFO the engine stays on its short path; what fails is shown all the same."""
    caplog.set_level(logging.INFO, "graceline.run")
    async with open_engine(log_payloads=True) as engine:
        await engine.run(Pipeline("well", [Node(add, timeout=1)]), 1)
        assert payloads(caplog) == {}
        await engine.run(Pipeline("ill", [Node(fail, timeout=9)]), 1, timeout=20)
    assert ("ill", "ill", "fail") in payloads(caplog)


async def give_back(value):
    return value


async def test_payloads_that_no_record_would_show_are_not_looked_at(autojump_clock, caplog):
    """A trace for another sink does not have the payloads of what ends well written for a quiet log."""
    caplog.set_level(logging.INFO, "graceline.run")
    looks = []

    class Watched:
        def __repr__(self):
            looks.append(self)
            return "watched"

    timeline = Timeline()
    async with open_engine(log_payloads=True, sinks=[timeline]) as engine:
        await engine.run(Pipeline("p", [Node(give_back, timeout=1)]), Watched())
    assert [row.status for row in timeline.rows()] == ["ok", "ok"]
    assert looks == []


async def test_a_part_without_a_turn_has_no_payload(autojump_clock, caplog):
    """A part that is skipped took nothing and returned nothing."""
    caplog.set_level(logging.DEBUG, "graceline.run")
    async with open_engine(log_payloads=True) as engine:
        pipeline = Pipeline("p", [Stage("s", [Node(add, when=bool)])], timeout=60)
        await engine.run(pipeline, 0)
    assert payloads(caplog).keys() == {("p", "s", ""), ("p", "", "")}


def test_payloads_of_a_blocking_engine(caplog):
    """The option is there too."""
    caplog.set_level(logging.WARNING, "graceline.run")
    with BlockingEngine(log_payloads=True) as engine:
        engine.run(Pipeline("p", [Node(add, timeout=60)], timeout=60), "text")
    assert payloads(caplog)["p", "", ""].error.startswith("TypeError: can only concatenate")


async def test_what_is_no_answer_is_refused():
    """`log_payloads` is True or False, nothing in between."""
    with pytest.raises(DefinitionError, match="log_payloads= must be True or False"):
        async with open_engine(log_payloads="yes"):
            pass


@pytest.mark.parametrize("inline", [True, False])
async def test_a_sink_of_ones_own_asks_for_payloads(autojump_clock, inline):
    """It is asked once, when it is subscribed, and gets texts: nothing holds on to a value."""
    heard, answers = [], [True]

    class Curious:
        def wants_trace(self):
            return True

        def wants_payloads(self):
            return answers.pop()

        def __call__(self, event):
            heard.append(event)

    async with open_engine() as engine:
        remove = engine.subscribe(Curious(), inline=inline)
        for _ in range(2):
            await engine.run(Pipeline("p", [Node(add, timeout=1)]), 1, timeout=9)
        remove()
        await engine.run(Pipeline("p", [fail]))  # what fails is told without a trace as well
    seen = [event for event in heard if isinstance(event, PayloadsSeen)]
    assert len(seen) == 6
    assert [event.value for event in seen] == ["2"] * 6
    kinds = {type(value) for event in seen for value in attrs.astuple(event, recurse=False)}
    assert int not in kinds


async def test_a_sink_that_raises_when_asked_gets_no_payloads(autojump_clock, caplog):
    """A broken answer is a no, and is logged once."""

    class Broken:
        inline = True

        def wants_payloads(self):
            raise RuntimeError("asked")

        def __call__(self, event):
            assert not isinstance(event, PayloadsSeen)

    async with open_engine(sinks=[Broken()]) as engine:
        await engine.run(Pipeline("p", [fail]))
    assert [r.event_type for r in caplog.records if r.name == "graceline.telemetry"] == [
        "sink_raised"
    ]


class Raises(logging.Handler):
    """Raises at every record."""

    def emit(self, record):
        raise OSError("the disk is full")


@pytest.mark.parametrize("mode", ["enforce", "observe"])
async def test_a_handler_that_raises_ends_no_run(autojump_clock, monkeypatch, capsys, mode):
    """Engine and runs are those without it, sinks that raise as well and are to be logged included."""
    logger = logging.getLogger("graceline")
    monkeypatch.setattr(logger, "handlers", [Raises()])
    monkeypatch.setattr(logger, "level", logging.DEBUG)

    def stumble(_):
        raise ValueError

    async with open_engine(mode=mode, sinks=[stumble]) as engine:
        engine.subscribe(stumble, inline=True)
        result = await engine.run(Pipeline("p", [Node(add, timeout=0.5)]), 1)
    assert (result.status, result.value) == ("ok", 2)
    assert "the disk is full" in capsys.readouterr().err


async def test_a_repr_that_ends_programs_ends_no_run(autojump_clock, caplog):
    """While payloads are logged, a `repr` may even call `sys.exit`."""
    caplog.set_level(logging.DEBUG, "graceline.run")

    class Exits:
        def __repr__(self):
            raise SystemExit(3)

    async def give(_):
        await trio.sleep(0.01)
        return Exits()

    async with open_engine(log_payloads=True) as engine:
        result = await engine.run(Pipeline("p", [Node(give, timeout=1)]), Exits(), timeout=9)
    assert result.status == "ok"
    assert payloads(caplog)["p", "p", "give"].value == "<Exits whose repr raised SystemExit>"
