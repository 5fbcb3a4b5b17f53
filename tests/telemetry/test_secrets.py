"""No payload gets into telemetry: marked secrets never show in a log, an event, a label or a span.

The secrets are everywhere where a program has data: in inputs and values, in exceptions with their
notes, causes and groups, in partial values and fallbacks, in what child programs are told and print.
"""

import io
import logging
import sys
import time
import warnings
from contextlib import contextmanager, nullcontext

import attrs
import pytest
import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

from graceline import (
    Breaker,
    Command,
    DefinitionWarning,
    Hedge,
    Metrics,
    Node,
    Pipeline,
    Retry,
    Stage,
    Timeouts,
    TimerTree,
    Watchdog,
    choose,
    cleanup,
    current,
    each,
    open_engine,
    parallel,
    save_partial,
    sequence,
)
from graceline.telemetry.tracing import Tracing
from graceline.testing.chaos import chaos
from graceline.virtual import order_within_an_instant, run_virtual

HIDDEN = "SECRET-payload"
REASON = "SECRET-reason"  # a cancel's: the user's own text, which events and results do carry
MARK = "SECRET"
NO_LIMITS = Timeouts(node=None, pipeline=None, grace=1.0)


# -- everything that is told ----------------------------------------------------------------------


class Ear(list):
    """A sink in the loop that keeps all events."""

    inline = True

    def wants_trace(self):
        return True

    def __call__(self, event):
        self.append(event)


def stumble(event):
    """A sink in a thread that raises: that is logged, with a traceback."""
    raise RuntimeError(type(event).__name__)


class Told:
    """What was told of runs: log records, events, metrics, spans."""

    def __init__(self):
        self.log = io.StringIO()
        self.records = []
        self.events = Ear()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(registry=self.registry)
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def options(self):
        sinks = [self.events, Tracing(self.provider), stumble]
        return {"sinks": sinks, "metrics": self.metrics}

    @contextmanager
    def listening(self):
        """Keep every record of every logger, however it would be formatted."""
        handler = logging.StreamHandler(self.log)
        handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
        handler.addFilter(lambda record: self.records.append(record) or True)
        root = logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            yield self
        finally:
            root.removeHandler(handler)
            root.setLevel(level)

    def logged(self):
        """The log as text, and all fields of its records, each with where it is."""
        yield "the log", self.log.getvalue()
        for record in self.records:
            yield f"a record of {record.name}", repr({**vars(record), "exc_info": None})

    def shown(self):
        """What metrics and spans show, each with where it is."""
        yield "the metrics", openmetrics(self.registry).decode()
        for span in self.exporter.get_finished_spans():
            yield f"the span {span.name}", span.to_json()
            yield f"the status of the span {span.name}", str(span.status.description)

    def told(self):
        """The leaves of all events, but for the texts of blames, which name what was cancelled."""
        for event in self.events:
            for leaf in leaves(event):
                yield f"the event {type(event).__name__}", leaf

    def check(self):
        """Find no secret, or say where one is, with the text around it."""
        for secret, texts in ((MARK, (*self.logged(), *self.shown())), (HIDDEN, self.told())):
            for where, text in texts:
                at = text.find(secret)
                if at >= 0:
                    pytest.fail(f"a secret in {where}: {text[max(0, at - 80) : at + 80]!r}")


def leaves(value):
    """Whatever is in an event, as text; an object that is neither data nor a blame is a defect."""
    if attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield from leaves(getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from leaves(item)
    else:
        assert isinstance(value, str | int | float | None), type(value)
        yield str(value)


# -- everything that may be secret ----------------------------------------------------------------


class Datum:
    """Shows itself however it is asked."""

    def __repr__(self):
        return HIDDEN

    __str__ = __repr__


def error(kind=ValueError):
    """An exception that is full of secrets."""
    found = kind(HIDDEN, {"key": [HIDDEN]})
    found.add_note(HIDDEN)
    found.__cause__ = KeyError(HIDDEN)
    return found


def payload():
    return {"text": HIDDEN, "deep": [(HIDDEN, Datum())], HIDDEN: Datum()}


async def gives(value):
    await trio.sleep(1)
    return [payload(), value]


async def raises(_):
    await trio.sleep(1)
    raise error()


async def raises_group(value):
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(raises, None)


async def raises_its_own_group(_):
    raise ExceptionGroup(HIDDEN, [error(), ExceptionGroup(HIDDEN, [error(OSError)])])


async def hangs(_):
    save_partial(payload())
    await trio.sleep_forever()


async def spoils_its_cleanup(_):
    save_partial(payload())
    try:
        await trio.sleep_forever()
    finally:
        with cleanup():
            await trio.sleep(0.5)
            raise error()


async def overruns_its_cleanup(_):
    try:
        await trio.sleep_forever()
    finally:
        with cleanup():
            await trio.sleep(100)  # in `observe` nothing cuts it


async def is_stuck(_):
    with trio.CancelScope(shield=True):
        await trio.sleep(30)
    return payload()


async def comes_late(_):
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        return payload()


async def fails_at_first(value):
    if current().attempt < 3:
        raise error()
    return value


async def is_slow_at_first(_):
    await trio.sleep(0.5 if current().hedge else 20)
    return payload()


async def item(value):
    await trio.sleep(0.1)
    if value == "last":
        raise error()
    return payload()


def refuses(_):
    raise error()


WORK = [
    gives, raises, raises_group, raises_its_own_group, hangs, spoils_its_cleanup,
    overruns_its_cleanup, is_stuck, comes_late, fails_at_first, is_slow_at_first,
]  # fmt: skip
ENDS = [
    {},
    {"retry": Retry(attempts=3, backoff=0.5)},
    {"retry": Retry(attempts=3, backoff=0.5), "attempt_timeout": 1.5},
    {"breaker": Breaker(consecutive=1, open_for=2)},
    {"hedge": Hedge(delay=1, max_extra=1), "idempotent": True},
    {"limit": 1},
    {"critical": False, "fallback": payload()},
    {"critical": False, "fallback": refuses},
    {"when": refuses},
    {"on_cleanup": refuses},
    {"strict": True},
    {"critical": False, "slo": 0.5},
]


@st.composite
def nodes(draw, name):
    """One node: work in which secrets are, and what is to become of it."""
    options = {"timeout": draw(st.sampled_from([3, 5])), "name": name}
    options |= draw(st.sampled_from(ENDS))
    shape = draw(st.sampled_from(["plain", "plain", "plain", "each", "choose", "nested"]))
    work = draw(st.sampled_from(WORK))
    if shape == "each":
        options.pop("hedge", None)
        return Node(lambda _: None, name=name), each(Node(item, **options), max_parallel=2)
    if shape == "choose":
        other = draw(st.sampled_from(WORK))
        return None, choose(
            Node(work, name=f"{name}a", timeout=2), Node(other, name=f"{name}b"), name=name
        )
    if shape == "nested":
        inner = Pipeline(f"in_{name}", [Node(work, name="inner", timeout=2)])

        async def outer(_):
            return await ENGINE[0].execute(inner, payload())

        return None, Node(outer, **options)
    return None, Node(work, **options)


ENGINE = []
LIST = [HIDDEN, Datum(), "last"]


async def make_list(_):
    return LIST


@st.composite
def pipelines(draw):
    """A pipeline of one to three stages, in sequence or with branches."""
    stages = []
    for index in range(draw(st.integers(1, 3))):
        count = draw(st.integers(1, 3))
        made = [draw(nodes(f"n{index}{place}")) for place in range(count)]
        parts = [
            sequence(Node(make_list, name=f"list_{node.name}"), node) if lister else node
            for lister, node in made
        ]
        joined = parallel if draw(st.booleans()) else sequence
        critical = draw(st.booleans())
        stages.append(
            Stage(
                f"s{index}",
                joined(*parts),
                critical=critical,
                on_cleanup=draw(st.sampled_from([None, refuses])),
            )
        )
    return Pipeline("p", stages, timeout=draw(st.sampled_from([6, 20])))


async def play(pipeline, told, mode, faults, cut, log_payloads):
    """Three runs of it; one is cancelled at `cut`. Returns what their callers see."""
    results = []
    async with open_engine(
        timeouts=NO_LIMITS, mode=mode, watchdog=Watchdog(stuck_after=1, blocked_after=None),
        log_payloads=log_payloads, **told.options(),
    ) as engine:  # fmt: skip
        ENGINE[:] = [engine]
        monkey = chaos(engine, 0.5, error=error(), seed=1) if faults else nullcontext()
        with monkey, trio.move_on_after(400):
            for _ in range(2):
                results.append(await engine.run(pipeline, payload()))
            run = engine.start(pipeline, payload())
            await trio.sleep(cut)
            run.cancel(REASON)
            results.append(await run.wait())
            async with engine.deadline("block", 1):
                await hangs_in_a_block()
        engine.cancel_all(REASON)
    return results


async def hangs_in_a_block():
    await trio.sleep_forever()


@contextmanager
def unadvised():
    """Definitions that somebody would be warned of are what is wanted here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DefinitionWarning)
        yield


@st.composite
def stories(draw):
    with unadvised():
        pipeline = draw(pipelines())
    mode = draw(st.sampled_from(["enforce", "enforce", "observe"]))
    return pipeline, mode, draw(st.booleans()), draw(st.sampled_from([0.5, 1.5, 4]))


def tell(story, *, log_payloads=False):
    pipeline, mode, faults, cut = story
    told = Told()
    with unadvised(), told.listening(), order_within_an_instant(0):
        results = run_virtual(play, pipeline, told, mode, faults, cut, log_payloads)
    return told, results


# To shrink a story takes longer than a test may; what is told of it says where the secret is.
@settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(stories())
def test_no_secret_is_told(story):
    """Whatever becomes of runs, what they take, return and raise is in no telemetry."""
    told, _ = tell(story)
    assert told.events
    assert told.exporter.get_finished_spans()
    told.check()


def test_all_work_with_every_end():
    """Each kind of work under each policy: no kind of event is left out, and no secret gets in."""
    heard = set()
    for mode in ("enforce", "observe"):
        with unadvised():
            stages = [
                Stage(
                    work.__name__,
                    parallel(
                        *(
                            Node(work, **{"timeout": 3, "name": f"{work.__name__}{index}"} | end)
                            for index, end in enumerate(ENDS)
                        ),
                        choose(
                            Node(work, name=f"{work.__name__}_a", timeout=2),
                            Node(gives, name=f"{work.__name__}_b"),
                            name=f"{work.__name__}_choice",
                        ),
                    ),
                    critical=False,
                    fail_fast=False,
                )
                for work in WORK
            ]
            pipeline = Pipeline("p", stages, timeout=500)
        for faults in (False, True):
            told, _ = tell((pipeline, mode, faults, 4))
            told.check()
            heard |= {type(event).__name__ for event in told.events}
    assert heard >= {
        "AlternativeFinished", "AttemptFinished", "BreakerChanged", "CancelRequested",
        "CleanupOverran", "DeadlineEnded", "FaultInjected", "HedgeSettled", "NodeFinished",
        "NodeStuck", "RunFinished", "StageFinished", "WouldTimeOut",
    }  # fmt: skip


def test_the_secrets_were_there():
    """The search would find them: results hold them, and the log does when it is asked to."""
    steps = sequence(Node(gives, name="a"), Node(hangs, name="b", timeout=2, critical=False))
    failing = parallel(Node(raises, name="c"), Node(raises_its_own_group, name="d"))
    pipeline = Pipeline("p", [Stage("s", steps), Stage("t", failing)], timeout=20)
    told, results = tell((pipeline, "enforce", False, 1.5), log_payloads=True)
    assert all(HIDDEN in str(result.to_dict()) for result in results)
    assert any(HIDDEN in text for _, text in told.logged())
    assert all(MARK not in text for _, text in told.shown())
    with pytest.raises(pytest.fail.Exception, match=f"^a secret in the log: .*{HIDDEN}"):
        told.check()


def test_a_reason_is_in_events_and_results_only():
    """What somebody gives as the reason of a cancel is read in the result, by whoever has it."""
    pipeline = Pipeline("p", [Node(gives, name="a", timeout=20)])
    told, results = tell((pipeline, "enforce", False, 0.5))
    assert results[-1].blame.message == REASON
    assert ("the event CancelRequested", REASON) in list(told.told())
    told.check()


# -- work that needs a real clock -----------------------------------------------------------------


def in_a_thread(_):
    raise error()


def in_a_process(_):
    raise ValueError(HIDDEN, {"key": [HIDDEN]})


SHOUT = "import os, sys; print(os.environ['A'], sys.argv, sys.stdin.read()); sys.exit(sys.argv[1])"


async def test_no_secret_of_other_kinds_of_work_is_told():
    """What threads, processes and programs are told, and what they raise and print, stays with them."""
    told = Told()
    shout = [sys.executable, "-c", SHOUT, HIDDEN]
    nodes = [
        Node(in_a_thread, name="thread", runs_on="thread"),
        Node(in_a_process, name="process", runs_on="process"),
        Node(Command(shout, env={"A": HIDDEN}, stdin=HIDDEN), name="program"),
        Node(Command(lambda value: [*shout, value], env={"A": HIDDEN}), name="late", timeout=0.01),
        Command(f"echo {HIDDEN}; exec /bin/false {HIDDEN}"),
    ]
    nodes = [
        node if isinstance(node, Command) else attrs.evolve(node, critical=False) for node in nodes
    ]
    pipeline = Pipeline("p", [Stage("s", sequence(*nodes))], timeout=None)
    with told.listening():
        async with open_engine(timeouts=NO_LIMITS, **told.options()) as engine:
            result = await engine.run(pipeline, HIDDEN)
    statuses = [result.node(name).status for name in ("thread", "process", "program", "late")]
    assert statuses == ["failed", "failed", "failed", "timed_out"]
    assert HIDDEN in str(result.to_dict())
    told.check()


def test_no_secret_of_a_timers_handler_is_logged():
    """Timers of plain threads log what a handler raises, and not what it says."""
    told = Told()
    with (
        told.listening(),
        TimerTree() as tree,
        tree.deadline("t", 0.001, on_timeout=refuses) as scope,
    ):
        while not scope.secondary:
            time.sleep(0.001)
    assert HIDDEN in str(scope.secondary)
    assert any("refuses" in text or "ValueError" in text for _, text in told.logged())
    told.check()
