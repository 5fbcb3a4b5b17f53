"""The logging sink: structured, free of payloads, and as loud as it should be."""

import ast
import json
import logging
import math
import re
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

import graceline
from graceline.deadlines import Blame, Kind, Source, Status
from graceline.telemetry import events
from graceline.telemetry.logs import LoggingSink, log_mode, log_sub_second

BLAME = Blame("stage", "rank", Kind.TIMEOUT, 0.2, Source.STAGE, 0.25, "secret message", by="b")
SAMPLES = {
    "at": 12.5,
    "run_id": "r1",
    "pipeline": "p",
    "lane": "main",
    "queued": 0.0,
    "limit": 0.2,
    "source": Source.DEFAULT,
    "fires_at": 12.75,
    "critical": True,
    "slo": 0.25,
    "index": 3,
    "nodes": (("s", ("n",)),),
    "stage": "s",
    "node": "n",
    "status": Status.OK,
    "started": 12.25,
    "elapsed": 0.25,
    "grace_used": 0.0,
    "overrun": 0.0,
    "blame": None,
    "error_type": None,
    "attempts": 1,
    "partial": False,
    "degraded": (),
    "completed": 1,
    "level": "node",
    "name": "n",
    "follows": False,
    "fault": "error",
    "hard_at": 13.0,
    "late_after": 0.125,
    "attempt": 2,
    "alternative": "primary",
    "health": 0.5,
    "delay": 0.05,
    "stop": None,
    "hedge": True,
    "result": "won",
    "reason": None,
    "breaker": "p.s.n",
    "old": "closed",
    "new": "open",
    "remaining": 0.5,
    "retry_after": None,
    "seconds": 0.5,
    "stack": ("app.py:1 in wait: await forever()",),
    "abandoned": 1,
    "signal": 15,
    "pid": 4711,
    "input": "1",
    "value": "2",
    "partial_value": "3",
    "error": "ValueError: 4",
    "secondary": ("OSError: 5",),
}
NEEDS_BLAME = {events.CancelRequested, events.WouldTimeOut}
CONCRETE = [
    getattr(events, name) for name in events.__all__ if name not in ("Event", "OutputReceived")
]
OF_STRUCTLOG = {
    "event", "exc_info", "exception", "level", "logger", "positional_args", "stack", "stack_info",
    "timestamp", "_record", "_from_structlog",
}  # fmt: skip
RESERVED = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def make(kind, **fields):
    names = [field.name for field in attrs.fields(kind)]
    known = SAMPLES | ({"blame": BLAME} if kind in NEEDS_BLAME else {}) | fields
    return kind(**{name: known[name] for name in names})


@pytest.fixture
def write(caplog):
    """Writes an event with everything switched on and gives the records."""
    caplog.set_level(logging.DEBUG, "graceline.run")

    def write_(event):
        caplog.clear()
        LoggingSink()(event)
        return caplog.records

    return write_


def extra(record):
    return {key: value for key, value in vars(record).items() if key not in RESERVED}


def as_json(record):
    """What the usual JSON formatters do: the message and everything that is not standard."""
    return json.dumps({"message": record.getMessage(), **extra(record)}, allow_nan=False)


@pytest.mark.parametrize("kind", CONCRETE)
def test_every_event_is_one_record_that_a_json_formatter_takes(write, kind):
    """Each kind of event gives one record whose fields are JSON as they are."""
    (record,) = write(make(kind))
    fields = json.loads(as_json(record))
    assert fields["event_type"] == record.getMessage().split()[0]
    assert (fields["run_id"], fields["pipeline"], fields["lane"]) == ("r1", "p", "main")
    assert record.name == "graceline.run"


@pytest.mark.parametrize(
    ("kind", "event_type", "level"),
    [
        (events.RunStarted, "pipeline_started", logging.DEBUG),
        (events.StageStarted, "stage_started", logging.DEBUG),
        (events.NodeStarted, "node_started", logging.DEBUG),
        (events.AttemptStarted, "attempt_started", logging.DEBUG),
        (events.AttemptRefused, "attempt_refused", logging.DEBUG),
        (events.AlternativeStarted, "alternative_started", logging.DEBUG),
        (events.RunAborted, "pipeline_aborted", logging.DEBUG),
        (events.NodeFinished, "node_finished", logging.DEBUG),
        (events.StageFinished, "stage_finished", logging.DEBUG),
        (events.RunFinished, "pipeline_finished", logging.DEBUG),
        (events.CancelRequested, "cancel_requested", logging.INFO),
        (events.RunningLate, "running_late", logging.INFO),
        (events.BreakerChanged, "breaker_changed", logging.WARNING),
        (events.CleanupOverran, "cleanup_overran", logging.WARNING),
        (events.WouldReject, "would_reject", logging.WARNING),
        (events.WouldTimeOut, "would_time_out", logging.WARNING),
        (events.FaultInjected, "fault_injected", logging.WARNING),
        (events.NodeStuck, "node_stuck", logging.WARNING),
        (events.LoopBlocked, "loop_blocked", logging.INFO),
        (events.ThreadAbandoned, "thread_abandoned", logging.WARNING),
        (events.ThreadEnded, "thread_ended", logging.DEBUG),
    ],
)
def test_an_event_has_its_type_and_its_level(write, kind, event_type, level):
    """What goes well is DEBUG, what somebody asked for INFO, what needs a look WARNING."""
    (record,) = write(make(kind))
    assert (record.event_type, record.levelno) == (event_type, level)


ENDINGS = {
    Status.LATE: "late",
    Status.TIMED_OUT: "timeout",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
    Status.REJECTED: "rejected",
}


@pytest.mark.parametrize(("status", "word"), ENDINGS.items())
@pytest.mark.parametrize(
    ("kind", "part", "level"),
    [
        (events.NodeFinished, "node", logging.INFO),
        (events.StageFinished, "stage", logging.INFO),
        (events.RunFinished, "pipeline", logging.WARNING),
    ],
)
def test_what_did_not_end_well_is_louder(write, kind, part, level, status, word):
    """A part that did not end well is INFO, a run WARNING, and the type says how it ended."""
    (record,) = write(make(kind, status=status, blame=BLAME))
    assert (record.event_type, record.levelno) == (f"{part}_{word}", level)
    assert record.status == status.value


@pytest.mark.parametrize("kind", [events.NodeFinished, events.StageFinished])
def test_a_skipped_part_is_nothing_to_worry_about(write, kind):
    """A condition that was false is as calm as a success."""
    (record,) = write(make(kind, status=Status.SKIPPED))
    assert record.levelno == logging.DEBUG
    assert record.event_type.endswith("_skipped")


def test_a_degraded_run_is_a_warning(write):
    """A run that is ok without one of its parts is worth a look."""
    (record,) = write(make(events.RunFinished, degraded=("hint",)))
    assert (record.event_type, record.levelno) == ("pipeline_finished", logging.WARNING)


@pytest.mark.parametrize(
    ("limit", "source", "said"),
    [
        (0.2, Source.DEFAULT, "p.s.n, limit 200ms (default)"),
        (30.0, Source.METADATA, "p.s.n, limit 30s (metadata)"),
        (None, None, "p.s.n, no limit"),
    ],
)
def test_debug_says_which_limit_applied_and_where_it_came_from(write, limit, source, said):
    """The record of a start answers 'which limit, and who stated it?' in text and in fields."""
    (record,) = write(make(events.NodeStarted, limit=limit, source=source))
    assert record.getMessage() == f"node_started {said}"
    assert (record.limit, record.source) == (limit, source)


def test_a_part_that_nothing_fires_has_no_time_for_it(write):
    """Infinity is no JSON, so an unlimited part says None."""
    (record,) = write(make(events.NodeStarted, fires_at=math.inf))
    assert record.fires_at is None


def test_words_are_plain_strings(write):
    """A formatter that knows no enums writes statuses and sources as their words."""
    (record,) = write(make(events.NodeFinished))
    assert (type(record.status), type(record.source)) == (str, str)


def test_a_blame_is_three_fields_and_a_few_words(write):
    """The record names the level to blame, and never holds the blame's free text."""
    (record,) = write(make(events.NodeFinished, status=Status.TIMED_OUT, blame=BLAME))
    assert (record.blamed_level, record.blamed_name, record.blamed_kind) == (
        "stage",
        "rank",
        "timeout",
    )
    assert record.getMessage() == (
        "node_timeout p.s.n, limit 200ms (default), took 250ms, blamed: stage 'rank' (timeout)"
    )
    assert not hasattr(record, "blame")


@pytest.mark.parametrize("kind", CONCRETE)
def test_no_free_text_gets_into_a_record(write, kind):
    """A message that somebody wrote for a person is not in the log, whatever the event."""
    fields = {"blame": BLAME} if "blame" in attrs.fields_dict(kind) else {}
    (record,) = write(make(kind, **fields))
    assert "secret" not in as_json(record)


def test_the_name_of_a_level_does_not_clash_with_the_loggers(write):
    """`name` means the logger in a record, so the name of a part travels as `part_name`."""
    (record,) = write(make(events.CleanupOverran, name="rank"))
    assert (record.name, record.part_name, record.part_level) == ("graceline.run", "rank", "node")
    assert record.getMessage() == "cleanup_overran p, node 'rank'"
    (other,) = write(make(events.NodeStarted))
    assert not hasattr(other, "part_name")


@pytest.mark.parametrize("kind", CONCRETE)
def test_no_field_means_anything_to_others(write, kind):
    """Neither `logging` nor structlog has a use of its own for the name of a field."""
    (record,) = write(make(kind))
    assert not {"status", *(extra(record))} & (RESERVED | OF_STRUCTLOG)
    fields = {field.name for field in attrs.fields(kind)}
    renamed = {"name", "level", "stack", "blame"}
    assert fields - renamed <= extra(record).keys()  # nothing was lost to a clash


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_no_number_is_beyond_json(write, value):
    """What JSON cannot say, is None."""
    (record,) = write(make(events.NodeStarted, fires_at=value))
    assert record.fires_at is None


def test_payloads_are_as_loud_as_the_end_of_their_part(write):
    """They stand before the record of the end, on its level, and say everything in the message."""
    (record,) = write(make(events.PayloadsSeen))
    assert (record.event_type, record.levelno) == ("node_payload", logging.DEBUG)
    assert record.getMessage() == (
        "node_payload p.s.n, input=1, value=2, partial_value=3, error=ValueError: 4, "
        "secondary=OSError: 5"
    )
    nothing = {"value": None, "partial_value": None, "error": None, "secondary": ()}
    (record,) = write(make(events.PayloadsSeen, node="", status=Status.FAILED, **nothing))
    assert (record.event_type, record.levelno) == ("stage_payload", logging.INFO)
    assert record.getMessage() == "stage_payload p.s, input=1"
    (record,) = write(make(events.PayloadsSeen, node="", stage="", status=Status.LATE))
    assert (record.event_type, record.levelno) == ("pipeline_payload", logging.WARNING)


@pytest.mark.parametrize("kind", CONCRETE)
def test_no_name_makes_a_line_of_its_own(write, kind):
    """Newlines and escapes of a terminal are escaped in the message; fields have them as they are."""
    names = ("pipeline", "stage", "node", "name", "alternative", "breaker", "reason")
    forged = dict.fromkeys(names, "x\nERROR forged\x1b[2J") | {"run_id": "a\nb"}
    fields = {field.name for field in attrs.fields(kind)}
    (record,) = write(make(kind, **{name: forged[name] for name in forged if name in fields}))
    assert record.getMessage().isprintable()
    assert (record.pipeline, record.run_id) == (forged["pipeline"], "a\nb")


def test_no_name_of_a_limit_makes_a_line_of_its_own(caplog):
    """The same where limits are said."""
    caplog.set_level(logging.DEBUG, "graceline.engine")
    log_sub_second("p\nERROR", [("a\rb", 0.5)])
    (record,) = caplog.records
    assert record.getMessage() == r"sub_second_timeout p\nERROR: a\rb 500ms"


# -- the page ---------------------------------------------------------------------------------


DOCS = Path(__file__).parents[2] / "docs" / "logging.md"
SOURCES = Path(graceline.__file__).parent
BLAMED = {"blamed_level", "blamed_name", "blamed_kind"}
ENDING = {"status", "started", "elapsed", "limit", "source", "error_type"} | BLAMED
SETS = {
    "blame": BLAMED,
    "limit": {"limit", "source", "fires_at"},
    "ending": ENDING,
    "outcome": ENDING | {"grace_used", "overrun"},
}
NEVER = {"alternative_skipped", "attempt_skipped", "pipeline_skipped"}
COMMON = {"event_type", "at", "run_id", "pipeline", "lane"}


def rows():
    """Each row of the tables of the page: its types, its levels, its fields."""
    for line in DOCS.read_text("utf-8").splitlines():
        if line.startswith("| `") and not line.startswith("| `graceline."):
            types, levels, fields, _ = (cell.strip() for cell in line.strip("|").split(" | "))
            words = set(re.findall(r"\*(\w+)\*", fields))
            named = set(re.findall(r"`(\w+)`", fields)).union(*(SETS[word] for word in words))
            yield re.findall(r"`(\w+)`", types), set(re.findall(r"[A-Z]+", levels)), named


def written(write):
    """What the sink writes of every event, however it ended."""
    found = {}
    for kind in CONCRETE:
        names = attrs.fields_dict(kind)
        for status in Status if "status" in names and kind is not events.DeadlineEnded else [None]:
            changes = [{}] if status is None else [{"status": status}]
            changes += [{**changes[0], "degraded": ("x",)}] if "degraded" in names else []
            changes += [{**changes[0], "node": ""}, {**changes[0], "node": "", "stage": ""}] * (
                kind is events.PayloadsSeen
            )
            changes += [{**changes[0], "stop": "ok"}] if "stop" in names else []
            for change in changes:
                (record,) = write(make(kind, **change))
                levels, _ = found.setdefault(
                    record.event_type, (set(), set(extra(record)) - COMMON)
                )
                levels.add(record.levelname)
    found["loop_blocked"][0].add("WARNING")  # the watchdog's thread has said it, too
    return {name: facts for name, facts in found.items() if name not in NEVER}


def test_the_page_lists_every_record_of_a_run(write):
    """Types, levels and fields in the table are those that the sink writes."""
    listed = {name: (levels, fields) for types, levels, fields in rows() for name in types}
    found = written(write)
    assert {name: listed.get(name) for name in found} == found


def test_the_page_lists_every_other_record(write):
    """A type that the sources name, wherever they log, is in a table; and nothing else is."""
    listed = {name for types, _, _ in rows() for name in types}
    said = [ast.unparse(call.args[2]) for call in calls() if name_of(call.func) == "say"]
    assert said.count("event_type") == 1  # the sink's own, which are tried above
    named = {text.strip("'") for text in said} - {"event_type", "f'chaos_{what}"}
    named |= {"chaos_begins", "chaos_ends"}
    assert {"events_dropped", "malformed_header"} <= named
    assert listed == named | written(write).keys()


def calls():
    """Every call in the package, but for those of the one place that logs."""
    for path in SOURCES.rglob("*.py"):
        if path.name != "saying.py":
            for found in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(found, ast.Call):
                    yield found


def name_of(expression):
    return getattr(expression, "attr", getattr(expression, "id", ""))


def test_nothing_is_logged_without_a_type():
    """Whatever the package logs, it logs by `say`, which demands an `event_type`."""
    methods = {name_of(call.func) for call in calls() if isinstance(call.func, ast.Attribute)}
    logged = {"debug", "info", "warning", "error", "critical", "handle"} & methods
    assert not logged
    logs = {ast.unparse(call.func) for call in calls() if name_of(call.func) == "log"}
    assert logs <= {"math.log", "log"}  # the logarithm


def test_a_trace_is_wanted_only_while_debug_is_on(caplog):
    """Without DEBUG the engine need not build the events of what ends well."""
    caplog.set_level(logging.INFO, "graceline.run")
    assert not LoggingSink().wants_trace()
    caplog.set_level(logging.DEBUG, "graceline.run")
    assert LoggingSink().wants_trace()


@contextmanager
def only(handlers):
    """The loggers of the library with these handlers and their own, and DEBUG switched on.

    Undone within the test: pytest keeps handlers of its own at the root.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger(), "handlers", [])
        for name, handler in handlers.items():
            logger = logging.getLogger(name)
            patch.setattr(logger, "handlers", [*logger.handlers, handler])
        logging.getLogger("graceline.run").setLevel(logging.DEBUG)
        yield patch
        logging.getLogger("graceline.run").setLevel(logging.NOTSET)


def test_without_any_handler_no_record_is_wanted():
    """Where the library's own handler is the only one, no trace is built even at DEBUG."""
    with only({}):
        assert LoggingSink().deaf()
        assert not LoggingSink().wants_trace()


@pytest.mark.parametrize("name", ["graceline.run", "graceline", None])
def test_a_handler_anywhere_above_hears(name):
    """A handler of the run's logger, of the library's or of the root gets the records."""
    with only({name: logging.StreamHandler()}):
        assert not LoggingSink().deaf()
        assert LoggingSink().wants_trace()


def test_a_handler_behind_a_closed_door_does_not_hear():
    """A logger that does not propagate keeps its records from the handlers above."""
    with only({None: logging.StreamHandler()}) as patch:
        patch.setattr(logging.getLogger("graceline.run"), "propagate", False)
        assert LoggingSink().deaf()


def test_what_the_level_hides_is_not_written(caplog):
    """At INFO a success leaves no record, and a failure does."""
    caplog.set_level(logging.INFO, "graceline.run")
    LoggingSink()(make(events.NodeFinished))
    assert caplog.records == []
    LoggingSink()(make(events.NodeFinished, status=Status.FAILED, blame=BLAME))
    assert len(caplog.records) == 1


def test_the_library_does_not_print_by_itself():
    """Without a handler of the user's nothing goes to the standard error stream."""
    handlers = logging.getLogger("graceline").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


def test_a_mode_that_cuts_nothing_is_announced(caplog):
    """Whoever runs in `observe` or `off` is told once, with structured fields."""
    log_mode("observe")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert (record.event_type, record.mode) == ("mode", "observe")
    assert "no limit cancels anything" in record.getMessage()


@pytest.mark.parametrize("hedge", [False, True])
def test_copies_of_an_attempt(write, hedge):
    """A record tells a hedge from the attempt that it is a copy of."""
    [record] = write(make(events.AttemptFinished, hedge=hedge))
    assert ("attempt 2, second copy" in record.getMessage()) is hedge
