"""The table of metrics: names, labels and values in scenarios of virtual time."""

import threading

import pytest
import trio
import trio.testing
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)

from graceline import (
    Adaptive,
    Breaker,
    Hedge,
    Node,
    Pipeline,
    Retry,
    Stage,
    Status,
    Watchdog,
    choose,
    cleanup,
    current,
    each,
    open_engine,
    parallel,
    sequence,
)

LANE = {"lane"}
PIPELINE = {"lane", "pipeline"}
STAGE = PIPELINE | {"stage"}
NODE = STAGE | {"node"}
END = {"status", "degraded", "within_budget"}

TABLE = {
    "pipeline_duration_seconds": ("histogram", PIPELINE | END),
    "pipelines_total": ("counter", PIPELINE | END),
    "degraded_total": ("counter", NODE),
    "pipeline_nodes": ("histogram", PIPELINE),
    "runs_in_flight": ("gauge", PIPELINE),
    "pipeline_timeouts_total": ("counter", PIPELINE | {"level"}),
    "pipeline_completed_nodes_at_timeout": ("histogram", PIPELINE),
    "stage_duration_seconds": ("histogram", STAGE | {"status"}),
    "stages_total": ("counter", STAGE | {"status"}),
    "node_duration_seconds": ("histogram", NODE | {"status"}),
    "node_executions_total": ("counter", NODE | {"status"}),
    "node_failures_total": ("counter", NODE | {"error_type"}),
    "cancellations_total": ("counter", PIPELINE | {"kind", "level"}),
    "node_timeouts_total": ("counter", NODE | {"level"}),
    "timeout_limit_seconds": ("gauge", NODE | {"source"}),
    "slo_target_seconds": ("gauge", STAGE),
    "deadline_remaining_ratio": ("histogram", PIPELINE),
    "grace_seconds": ("histogram", PIPELINE),
    "cleanup_overruns_total": ("counter", PIPELINE),
    "overrun_seconds": ("histogram", PIPELINE),
    "retries_total": ("counter", NODE | {"stop"}),
    "hedges_total": ("counter", NODE | {"result"}),
    "breaker_state": ("gauge", LANE | {"breaker"}),
    "breaker_transitions_total": ("counter", LANE | {"breaker", "from", "to"}),
    "queue_depth": ("gauge", LANE),
    "queue_wait_seconds": ("histogram", LANE),
    "rejections_total": ("counter", LANE | {"reason"}),
    "node_health": ("gauge", NODE),
    "abandoned_threads": ("gauge", set()),
    "stuck_nodes": ("gauge", set()),
    "loop_blocked_seconds": ("histogram", set()),
    "mode_info": ("gauge", LANE | {"mode"}),
}


async def everything(engine):
    """Runs in which every metric of the table has something to show."""

    async def fail(_):
        raise ValueError

    async def slow(_):
        try:
            await trio.sleep(9)
        finally:
            with cleanup():
                await trio.sleep(9)

    async def lag(_):
        await trio.sleep(0.2)

    good = Node(trio.sleep, name="good", slo=1)
    soft = Node(fail, name="soft", critical=False, retry=Retry(attempts=2, backoff=0.01))
    hedged = Node(lag, name="hedged", idempotent=True, hedge=Hedge(delay=0.1))
    await engine.run(
        Pipeline(
            "all",
            [
                Stage("first", sequence(good, soft), timeout=Adaptive(initial=5, ceiling=5), slo=2),
                Stage("second", [choose(fail, hedged, name="pick")]),
            ],
            timeout=10,
            slo=3,
        ),
        0.5,
    )
    await engine.run(Pipeline("broken", [Node(fail, name="x", breaker=Breaker(consecutive=1))]))
    await engine.run(Pipeline("cut", [slow], timeout=1, grace=0.5))
    with trio.move_on_after(0.5):
        await engine.run(Pipeline("left", [trio.sleep], timeout=1), 9)


async def test_every_metric_has_exactly_its_labels(autojump_clock, metrics, shown):
    """The names, types and labels are those of the table, and no others."""
    async with open_engine(metrics=metrics) as engine:
        await everything(engine)
        families = shown.families()
    found = {}
    for family in families:
        for sample in family.samples:
            name, labels = sample.name, set(sample.labels)
            if family.type == "histogram":
                assert ("le" in labels) == name.endswith("_bucket")
                name = family.name
            assert name.startswith("graceline_")
            kind = (family.type, labels - {"le"})
            assert found.setdefault(name.removeprefix("graceline_"), kind) == kind
    assert found == TABLE


async def test_the_exposition_is_valid_openmetrics(autojump_clock, metrics, registry):
    """The strict parser of OpenMetrics accepts all of it, and each series is there once."""
    async with open_engine(metrics=metrics) as engine:
        await everything(engine)
        text = generate_openmetrics(registry).decode()
    names = [family.name for family in parse_openmetrics(text)]
    assert len(names) == len(set(names)) == len(TABLE)


async def test_the_same_again_adds_no_series(autojump_clock, metrics, shown):
    """Hedges, breakers, learned limits, retries and choices that come again have their series."""
    async with open_engine(metrics=metrics) as engine:
        await everything(engine)
        before = set(shown.samples())
        for _ in range(10):
            await everything(engine)
        assert set(shown.samples()) == before


async def test_durations_of_runs(autojump_clock, metrics, shown):
    """A run is observed under its status, and so are those that timed out or were cancelled."""
    pipeline = Pipeline("p", [trio.sleep], timeout=2, grace=0)
    async with open_engine(metrics=metrics) as engine:
        for seconds in (0.5, 1.0, 9.0):
            await engine.run(pipeline, seconds)
        run = engine.start(pipeline, 9)
        await trio.sleep(0.25)
        run.cancel()
        await run.wait()

    def runs(status, within="true"):
        labels = {"status": status, "degraded": "false", "within_budget": within}
        return shown.observed("pipeline_duration_seconds", pipeline="p", **labels)

    assert runs("ok") == (2, 1.5)
    assert runs("timed_out") == (1, 2)
    assert runs("cancelled") == (1, 0.25)
    assert shown.counts("pipelines_total", "status") == {"ok": 2, "timed_out": 1, "cancelled": 1}
    cancelled = shown.counts("cancellations_total", "kind", "level")
    assert cancelled == {("user", level): 1 for level in ("pipeline", "stage", "node")}
    assert shown.observed("deadline_remaining_ratio", pipeline="p") == (4, 0.75 + 0.5 + 0.875)


async def test_runs_past_their_budget(autojump_clock, metrics, shown):
    """Whether a run was within its limit is told of each status, also of one that is ok."""

    async def linger(_):
        await trio.sleep(1)

    late = Node(linger, name="late", on_cleanup=linger)
    pipeline = Pipeline("p", [late], timeout=1.5, grace=2)
    async with open_engine(metrics=metrics) as engine:
        await engine.run(pipeline)
        await engine.run(Pipeline("q", [trio.sleep], timeout=1, grace=1), 0.5)
    by = ("pipeline", "status", "within_budget")
    assert shown.counts("pipelines_total", *by) == {("p", "ok", "false"): 1, ("q", "ok", "true"): 1}
    assert shown.observed("deadline_remaining_ratio", pipeline="p") == (1, 0)


async def test_what_was_skipped_or_refused_has_no_duration(autojump_clock, metrics, shown):
    """Parts that never began are counted, and their 0 s are in no histogram."""
    pipeline = Pipeline("p", [Stage("s", [Node(trio.sleep, name="n", when=bool)])])
    async with open_engine(metrics=metrics) as engine:
        await engine.run(pipeline, 0)
        await engine.drain()
        await engine.run(pipeline, 1)
    assert shown.counts("pipelines_total", "status") == {"ok": 1, "rejected": 1}
    assert shown.counts("stages_total", "status") == {"ok": 1, "skipped": 1}
    assert shown.counts("node_executions_total", "status") == {"skipped": 2}
    names = {name for name, _ in shown.samples()}
    assert "node_duration_seconds_count" not in names
    assert shown.counts("pipeline_duration_seconds_count", "status") == {"ok": 1}
    assert shown.observed("pipeline_nodes", pipeline="p") == (1, 0)
    assert shown.counts("rejections_total", "reason") == {"draining": 1}


async def brief(_):
    return 1


async def second(_):
    await trio.sleep(1)


def seconds(number):
    """So many nodes that take a second each."""
    return [Node(second, name=f"n{one}") for one in range(number)]


async def test_nodes_that_began_and_completed(autojump_clock, metrics, shown):
    """A run counts the nodes that began, and one that timed out those that had completed."""
    async with open_engine(metrics=metrics) as engine:
        await engine.run(Pipeline("p", [Stage("s", sequence(*seconds(4)))], timeout=9))
        await engine.run(Pipeline("p", [Stage("s", parallel(*seconds(3)))], timeout=0.5))
        await engine.run(Pipeline("late", [Stage("s", sequence(*seconds(4)))], timeout=2.5))
    assert shown.observed("pipeline_nodes", pipeline="p") == (2, 4 + 3)
    assert shown.observed("pipeline_nodes", pipeline="late") == (1, 3)
    assert shown.observed("pipeline_completed_nodes_at_timeout", pipeline="late") == (1, 2)
    assert shown.observed("pipeline_completed_nodes_at_timeout", pipeline="p") == (1, 0)


async def test_numbers_of_nodes_have_buckets(autojump_clock, metrics, shown):
    """The buckets tell a pipeline of one node from those of two, and both from large ones."""
    async with open_engine(metrics=metrics) as engine:
        for number in (1, 2, 30):
            await engine.run(Pipeline("p", [Stage("s", parallel(*seconds(number)))]))
    found = shown.counts("pipeline_nodes_bucket", "le", pipeline="p")
    assert found == {
        "1.0": 1, "2.0": 2, "5.0": 2, "10.0": 2, "20.0": 2, "50.0": 3, "100.0": 3, "200.0": 3,
        "500.0": 3, "1000.0": 3, "+Inf": 3,
    }  # fmt: skip


async def test_timeouts_by_the_level_to_blame(autojump_clock, metrics, shown):
    """A node that its stage cut counts under `stage`, and so does the run."""
    async with open_engine(metrics=metrics) as engine:
        await engine.run(Pipeline("p", [Stage("s", [trio.sleep], timeout=1)], timeout=9), 5)
        await engine.run(Pipeline("p", [Stage("s", [trio.sleep])], timeout=1), 5)
    expected = {"stage": 1, "pipeline": 1}
    assert shown.counts("pipeline_timeouts_total", "level") == expected
    assert shown.counts("node_timeouts_total", "level", node="sleep", stage="s") == expected
    place = {"pipeline": "p", "stage": "s", "status": "timed_out"}
    assert shown.observed("stage_duration_seconds", **place) == (2, 1 + 1)
    assert shown.observed("node_duration_seconds", node="sleep", **place) == (2, 1 + 1)


async def test_failures_by_class(autojump_clock, metrics, shown):
    """A node that fails counts under the name of the class, and never under its message."""

    async def look_up(_):
        return {}["secret"]

    async with open_engine(metrics=metrics) as engine:
        await engine.run(Pipeline("p", [Stage("s", [look_up])]))
    labels = {"pipeline": "p", "stage": "s", "node": "look_up"}
    assert shown.counts("node_failures_total", "error_type", **labels) == {"KeyError": 1}
    assert "secret" not in shown.text()


async def test_parts_that_a_run_went_on_without(autojump_clock, metrics, shown):
    """A non-critical part that fails is counted, has 0 before, and marks its run as degraded."""

    async def fail(_):
        raise ValueError

    soft = Stage("s", [Node(fail, name="n", critical=False), brief], critical=False)
    async with open_engine(metrics=metrics) as engine:
        await engine.run(Pipeline("p", [soft]))
    assert shown.value("degraded_total", pipeline="p", stage="s", node="n") == 1
    assert shown.value("degraded_total", pipeline="p", stage="s", node="") == 0
    assert shown.value("degraded_total", pipeline="p", stage="s", node="brief") is None
    assert shown.counts("pipelines_total", "status", "degraded") == {("ok", "true"): 1}


async def test_limits_and_objectives(autojump_clock, metrics, shown):
    """Limits are shown with their source while an engine is open, objectives without nodes."""
    learned = Adaptive(initial=4, floor=1, ceiling=8)
    async with open_engine(metrics=metrics) as engine:
        node = Node(trio.sleep, name="n", timeout=3, slo=1)
        stages = [Stage("s", [node], timeout=learned, slo=2), Stage("t", [brief])]
        pipeline = Pipeline("p", stages, timeout=10, slo=5)
        await engine.run(pipeline, 0)
        limits = ("stage", "node", "source")
        assert shown.counts("timeout_limit_seconds", *limits) == {
            ("", "", "configured"): 10,
            ("s", "", "adaptive"): 4,
            ("s", "n", "configured"): 3,
        }
        assert shown.counts("slo_target_seconds", "pipeline", "stage") == {
            ("p", ""): 5,
            ("p", "s"): 2,
        }
        for _ in range(60):
            await engine.run(pipeline, 1.5)
        applied = (await engine.run(pipeline, 1.5)).stages["s"].limit
        assert applied != 4
        assert shown.counts("timeout_limit_seconds", "stage", source="adaptive") == {"s": applied}
    assert shown.counts("timeout_limit_seconds", *limits) == {}
    assert shown.counts("slo_target_seconds", "stage") == {}


async def test_a_learned_limit_of_attempts_is_not_that_of_the_node(autojump_clock, metrics, shown):
    """The gauge shows the limits of parts; what one attempt may take is none of them."""
    learned = Adaptive(initial=4, floor=1, ceiling=8)
    node = Node(trio.sleep, name="n", timeout=9, attempt_timeout=learned)
    async with open_engine(metrics=metrics) as engine:
        result = await engine.run(Pipeline("p", [Stage("s", [node])], timeout=10), 1)
        found = shown.counts("timeout_limit_seconds", "node", "source")
    assert result.ok
    assert found == {("", "configured"): 10, ("n", "configured"): 9}


async def test_grace_and_overrun(autojump_clock, metrics, shown):
    """What runs take after their cancel is observed, and only of those that took any."""

    async def tidy(_):
        try:
            await trio.sleep(9)
        finally:
            with cleanup():
                await trio.sleep(3)

    async def stubborn(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(1.25)

    async with open_engine(metrics=metrics, watchdog=None) as engine:
        await engine.run(Pipeline("p", [brief], timeout=1, grace=0.5))
        await engine.run(Pipeline("p", [tidy], timeout=1, grace=0.5))
        await engine.run(Pipeline("q", [stubborn], timeout=1, grace=0.5))
    assert shown.observed("grace_seconds", pipeline="p") == (1, 0.5)
    assert shown.value("cleanup_overruns_total", pipeline="p") == 1
    assert shown.observed("overrun_seconds", pipeline="p") == (0, 0)
    assert shown.observed("overrun_seconds", pipeline="q") == (1, 0.25)
    assert shown.value("cleanup_overruns_total", pipeline="q") == 0


async def test_blocks_with_a_deadline_have_no_series(autojump_clock, metrics, shown):
    """The name of `engine.deadline` may be any text, so it becomes no label."""
    async with open_engine(metrics=metrics) as engine:
        await engine.run(Pipeline("p", [brief]))
        async with engine.deadline("p", 1), engine.deadline("upload-4711", 1, grace=0.5):
            before = shown.counts("runs_in_flight", "pipeline")
            with cleanup():
                await trio.sleep(9)
    assert before == {}
    assert "4711" not in shown.text()


async def test_hedges_and_health(autojump_clock, metrics, shown):
    """A second copy that wins is counted; an alternative has its health, and counts of its own."""

    async def slow_at_first(_):
        first.append(1)
        await trio.sleep(9 if len(first) == 1 else 0)

    async def fail(_):
        raise ValueError

    first = []
    hedged = Node(slow_at_first, name="h", idempotent=True, hedge=Hedge(delay=0.5, max_extra=1))
    async with open_engine(metrics=metrics) as engine:
        await engine.run(Pipeline("p", [Stage("s", [hedged])], timeout=20))
        pick = choose(fail, brief, name="pick")
        for _ in range(3):
            await engine.run(Pipeline("q", [Stage("s", [pick])]))
        health = shown.counts("node_health", "stage", "node")
    labels = {"pipeline": "p", "stage": "s", "node": "h"}
    assert shown.counts("hedges_total", "result", **labels) == {"won": 1}
    assert shown.value("hedges_total", result="suppressed", **labels) == 0
    assert health == {("s", "pick.brief"): 1}
    runs = shown.counts("node_executions_total", "node", "status", pipeline="q")
    assert runs.pop(("pick.fail", "failed")) >= 1
    assert runs == {("pick", "ok"): 3, ("pick.brief", "ok"): 3}
    assert shown.counts("node_failures_total", "node", "error_type").keys() == {
        ("pick.fail", "ValueError")
    }
    assert shown.counts("node_health", "node") == {}


async def test_hedges_that_do_not_help(autojump_clock, metrics, shown):
    """A copy that is slower than the first is lost; one that finds no slot is suppressed."""

    async def slow(_):
        await trio.sleep(9 if current().hedge else 1)

    hedge = Hedge(delay=0.5, max_extra=1)
    lost = Node(slow, name="lost", idempotent=True, hedge=hedge)
    held = Node(slow, name="held", idempotent=True, hedge=hedge, limit=1)
    async with open_engine(metrics=metrics) as engine:
        await engine.run(Pipeline("p", [Stage("s", sequence(lost, held))], timeout=20))
    assert shown.counts("hedges_total", "node", "result") == {
        ("lost", "lost"): 1,
        ("held", "suppressed"): 1,
    }


async def test_breakers_of_one_name(autojump_clock, metrics, shown):
    """Where the name of one breaker is the place of another, the worst state is shown."""

    async def fail(_):
        raise ValueError

    first = Node(fail, name="n", breaker=Breaker(consecutive=1))
    other = Node(brief, name="m", breaker=Breaker(name="p.s.n"))
    async with open_engine(metrics=metrics) as engine:
        await engine.run(Pipeline("p", [Stage("s", [first])]))
        await engine.run(Pipeline("q", [Stage("s", [other])]))
        assert len(engine.health().breakers) == 2
        assert shown.counts("breaker_state", "breaker") == {"p.s.n": 2}


async def test_breakers(autojump_clock, metrics, shown):
    """Their state is that of the moment, and each change is counted from 0 on."""

    async def call(good):
        if not good:
            raise ValueError

    node = Node(call, name="n", breaker=Breaker(consecutive=1, open_for=5, name="db"))
    pipeline = Pipeline("p", [node])

    def state():
        return shown.value("breaker_state", breaker="db")

    async with open_engine(metrics=metrics) as engine:
        await engine.run(pipeline, True)
        change = {"breaker": "db", "from": "closed", "to": "open"}
        assert (state(), shown.value("breaker_transitions_total", **change)) == (0, 0)
        await engine.run(pipeline, False)
        assert state() == 2
        await engine.run(pipeline, True)
        assert shown.counts("node_executions_total", "status")["rejected"] == 1
        await trio.sleep(20)
        await engine.run(pipeline, True)
        assert state() == 0
    assert shown.counts("breaker_transitions_total", "from", "to") == {
        ("closed", "open"): 1,
        ("open", "half_open"): 1,
        ("half_open", "closed"): 1,
    }
    assert state() is None


async def test_the_queue(autojump_clock, metrics, shown):
    """Every run that was let in has waited, 0 s at least; refusals are counted by their reason."""
    pipeline = Pipeline("p", [trio.sleep], timeout=9)
    options = {"max_concurrent_pipelines": 1, "max_queue": 2}
    async with open_engine(metrics=metrics, **options) as engine:
        assert shown.value("rejections_total", reason="queue_full") == 0
        runs = [engine.start(pipeline, 2, timeout=limit) for limit in (9, 9, 1, 9)]
        await trio.testing.wait_all_tasks_blocked()
        assert shown.value("queue_depth") == 2
        assert shown.value("runs_in_flight", pipeline="p") == 1
        for run in runs:
            await run.wait()
        assert shown.value("queue_depth") == 0
        assert shown.value("runs_in_flight", pipeline="p") == 0
    assert shown.observed("queue_wait_seconds") == (3, 0 + 2 + 1)
    assert shown.counts("rejections_total", "reason") == {"queue_full": 1}
    assert shown.value("queue_depth") is None


@pytest.mark.parametrize("mode", ["enforce", "observe", "off"])
async def test_the_mode(autojump_clock, metrics, shown, mode):
    """Whether limits cut anything is told with the lane, while the engine is open."""
    async with open_engine(metrics=metrics, mode=mode, lane="night"):
        found = [key for key in shown.samples() if key[0] == "mode_info"]
    assert found == [("mode_info", (("lane", "night"), ("mode", mode)))]
    assert not [key for key in shown.samples() if key[0] == "mode_info"]


async def test_stuck_nodes(autojump_clock, metrics, shown):
    """A node that goes on after the end of its grace period is counted while it does."""

    async def stuck(_):
        with trio.CancelScope(shield=True):
            await trio.sleep(20)

    async with open_engine(metrics=metrics, watchdog=Watchdog(blocked_after=None)) as engine:
        run = engine.start(Pipeline("p", [stuck], timeout=1, grace=1))
        await trio.sleep(10)
        assert shown.value("stuck_nodes") == 1
        await run.wait()
        assert shown.value("stuck_nodes") == 0
    assert shown.value("abandoned_threads") == 0


async def until(condition):
    """Wait for something that another thread brings about."""
    with trio.fail_after(60):
        while not condition():
            await trio.sleep(0.001)


async def test_abandoned_threads(metrics, shown):
    """A worker thread that goes on after its node was cut is counted until it ends."""
    ends = threading.Event()

    def hang(_):
        ends.wait(60)

    async with open_engine(metrics=metrics) as engine:
        run = await engine.run(Pipeline("p", [hang], timeout=0.05, grace=0))
        assert run.status == "timed_out"
        assert shown.value("abandoned_threads") == 1
        ends.set()
        await until(lambda: shown.value("abandoned_threads") == 0)


async def test_a_blocked_loop(metrics, shown):
    """How long the loop was blocked is observed once it goes on, and kept after the engine."""
    watchdog = Watchdog(blocked_after=0.02, stuck_after=None)

    async def block(_):
        while engine.health().blocked is None:
            threading.Event().wait(0.001)

    async with open_engine(metrics=metrics, watchdog=watchdog) as engine:
        await engine.run(Pipeline("p", [block], timeout=60))
        await until(lambda: shown.value("loop_blocked_seconds_count"))
    count, seconds = shown.observed("loop_blocked_seconds")
    assert count >= 1
    assert seconds >= 0.02


async def test_statuses_are_there_before_they_are_needed(autojump_clock, metrics, shown):
    """A rate sees the first failure of a part, as its series begins with 0."""
    async with open_engine(metrics=metrics) as engine:
        await engine.run(Pipeline("p", [Stage("s", [brief])]))
    statuses = [str(status) for status in Status]
    for status in statuses:
        assert shown.value("stages_total", pipeline="p", stage="s", status=status) in {0, 1}
        labels = {"pipeline": "p", "stage": "s", "node": "brief", "status": status}
        assert shown.value("node_executions_total", **labels) in {0, 1}
        labels = {"pipeline": "p", "status": status, "degraded": "true", "within_budget": "false"}
        assert shown.value("pipelines_total", **labels) == (None if status == "skipped" else 0)
    assert shown.value("pipeline_timeouts_total", pipeline="p", level="pipeline") == 0
    assert shown.value("cancellations_total", pipeline="p", kind="user", level="pipeline") == 0


class Retrying:
    """What the retries of a node came to."""

    def __init__(self, shown, engine):
        self.shown = shown
        self.engine = engine

    async def stops(self, function, value=None, *, timeout=5, **policy):
        node = Node(function, name="n", retry=Retry(**({"attempts": 3, "backoff": 0} | policy)))
        await self.engine.run(Pipeline("p", [Stage("s", [node])], timeout=timeout), value)
        return self.shown.counts("retries_total", "stop")


@pytest.fixture
async def retrying(autojump_clock, metrics, shown):
    async with open_engine(metrics=metrics) as engine:
        yield Retrying(shown, engine)


def failing(times, error=ValueError):
    """A function that fails so many times."""
    calls = []

    async def call(_):
        calls.append(1)
        if len(calls) <= times:
            raise error

    return call


async def test_a_retry_that_helps(retrying):
    """What succeeds after a retry stopped with `ok`; before, each reason has been there with 0."""
    assert await retrying.stops(failing(0)) == {}
    labels = {"pipeline": "p", "stage": "s", "node": "n"}
    for stop in ("ok", "attempts", "budget", "deadline", "not_retryable"):
        assert retrying.shown.value("retries_total", stop=stop, **labels) == 0
    assert await retrying.stops(failing(2)) == {"ok": 1}


async def test_retries_that_are_used_up(retrying):
    """After the last attempt the reason is `attempts`; with a single one there is none."""
    assert await retrying.stops(failing(9)) == {"attempts": 1}
    assert await retrying.stops(failing(9), attempts=1) == {"attempts": 1}


async def test_retries_of_what_is_not_to_be_retried(retrying):
    """An error that the policy does not name stops at once."""
    assert await retrying.stops(failing(9), on=OSError) == {"not_retryable": 1}


async def test_retries_without_time(retrying):
    """No time for another attempt, before a backoff or within an attempt, is `deadline`."""
    assert await retrying.stops(failing(9), min_attempt=9) == {"deadline": 1}

    calls = []

    async def hang(_):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        await trio.sleep(99)

    assert await retrying.stops(hang) == {"deadline": 2}


async def test_retries_that_somebody_cancels(retrying):
    """A cancel by a user is no deadline, and nothing that a retry would help."""
    calls = []

    async def hang(_):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        retrying.engine.runs()[0].cancel()
        await trio.sleep(99)

    assert await retrying.stops(hang) == {"not_retryable": 1}


async def test_retries_without_a_budget(retrying):
    """Retries of many calls that all fail end for want of tokens."""
    for _ in range(60):
        stops = await retrying.stops(failing(9))
    assert stops["budget"] > 0
    assert sum(stops.values()) == 60


async def test_retries_that_a_breaker_refuses(retrying, shown):
    """A breaker that opens during the attempts makes a further one useless."""
    node = Node(
        failing(9), name="n", retry=Retry(attempts=3, backoff=0), breaker=Breaker(consecutive=1)
    )
    await retrying.engine.run(Pipeline("p", [Stage("s", [node])]))
    assert shown.counts("retries_total", "stop") == {"not_retryable": 1}


async def test_retries_over_a_list_are_counted_by_item(autojump_clock, metrics, shown):
    """Each item of a node that runs over a list has its own attempts."""
    calls = []

    async def call(item):
        calls.append(item)
        if calls.count(item) == 1:
            raise ValueError

    node = each(Node(call, name="n", retry=Retry(attempts=2, backoff=0)), max_parallel=2)
    async with open_engine(metrics=metrics) as engine:
        await engine.run(Pipeline("p", [Stage("s", [node])], timeout=9), [1, 2, 3])
    assert shown.counts("retries_total", "node", "stop") == {("n", "ok"): 3}
