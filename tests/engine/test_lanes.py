"""Lanes: two engines of different lanes share a process and a store, and nothing that they know."""

import attrs
import pytest
import trio
import trio.testing

from graceline import Adaptive, Breaker, Bulkhead, Node, Pipeline, Retry, current, open_engine
from graceline.adaptive import Key, MemoryStore, SqliteStore
from graceline.telemetry import events

LANES = ("day", "night")
HANG = 60


@pytest.fixture
async def two(autojump_clock):
    """An engine in each of two lanes, open at once, with one history store."""
    store = MemoryStore()
    async with (
        open_engine(lane="day", history=store) as day,
        open_engine(lane="night", history=store) as night,
    ):
        yield day, night


class Ear(list):
    """A sink that wants every event."""

    inline = True

    def wants_trace(self):
        return True

    def __call__(self, event):
        self.append(event)


def pipeline_of(work, **options):
    return Pipeline("p", [Node(work, name="work", **options)], timeout=600)


async def lane_fails(_):
    """A service that is down for one of two tenants."""
    if current().lane == "day":
        raise ValueError("down")
    return "value"


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_lanes_learn_apart_in_one_store(autojump_clock, tmp_path, kind):
    """A limit that one lane has learned leaves the other's where it began, also after a restart."""
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "history.db")
    pipeline = pipeline_of(trio.sleep, timeout=Adaptive(initial=1, ceiling=2))
    limits = {}
    async with (
        open_engine(lane="day", history=store) as day,
        open_engine(lane="night", history=store) as night,
    ):
        for _ in range(60):
            await day.run(pipeline, 0.1)
        limits["night"] = (await night.run(pipeline, 0.1)).node("work").limit
        limits["day"] = (await day.run(pipeline, 0.1)).node("work").limit
    for lane in LANES:
        async with open_engine(lane=lane, history=store) as again:
            limits[f"{lane}, later"] = (await again.run(pipeline, 0.1)).node("work").limit
    if kind == "sqlite":
        store.close()
    assert limits["night"] == limits["night, later"] == 1
    assert limits["day"] < 0.5
    assert limits["day, later"] < 0.5


async def test_what_two_lanes_write_does_not_mix(autojump_clock):
    """Each lane finds its own durations, and all of them, whoever wrote last."""
    store = MemoryStore()
    async with (
        open_engine(lane="day", history=store) as day,
        open_engine(lane="night", history=store) as night,
    ):
        for _ in range(3):
            await day.run(pipeline_of(trio.sleep), 1)
            await night.run(pipeline_of(trio.sleep), 2)
    found = {}
    for lane in LANES:
        record = store.load(Key(lane, "p", "p", "work", "node"))
        found[lane] = [seconds for _, seconds, _ in record.history.samples()]
    assert found == {"day": [1, 1, 1], "night": [2, 2, 2]}


async def test_a_breaker_of_one_name_is_one_per_lane(autojump_clock, two):
    """The breaker that opens in one lane refuses nothing in the other, nor do their counts mix."""
    day, night = two
    pipeline = pipeline_of(lane_fails, breaker=Breaker(name="shared", consecutive=2))
    seen = [[(await engine.run(pipeline)).node("work").status for _ in range(3)] for engine in two]
    assert seen == [["failed", "failed", "rejected"], ["ok", "ok", "ok"]]
    (by_day,), (by_night,) = day.health().breakers, night.health().breakers
    assert (by_day.name, by_day.state, by_night.name, by_night.state) == (
        "shared", "open", "shared", "closed",
    )  # fmt: skip
    assert (day.health().lane, night.health().lane) == LANES


async def test_a_bulkhead_of_one_name_is_one_per_lane(autojump_clock, two):
    """A lane that is full keeps nobody of the other lane waiting."""
    day, night = two
    pipeline = pipeline_of(trio.sleep, limit=Bulkhead(slots=1, max_queue=0, name="shared"))
    run = day.start(pipeline, HANG)
    await trio.testing.wait_all_tasks_blocked()
    assert (await day.run(pipeline, 1)).status == "rejected"
    assert (await night.run(pipeline, 1)).status == "ok"
    assert [one.active for one in day.health().bulkheads] == [1]
    assert [one.active for one in night.health().bulkheads] == [0]
    run.cancel()
    await run.wait()


async def test_a_retry_budget_is_one_per_lane(autojump_clock, two):
    """Retries that one lane has used up are left to the other."""
    calls = dict.fromkeys(LANES, 0)

    async def fails(_):
        calls[current().lane] += 1
        raise ValueError("down")

    pipeline = pipeline_of(fails, retry=Retry(attempts=9, backoff=0))
    for _ in range(3):
        await two[0].run(pipeline)
    assert calls == {"day": 3 + 3, "night": 0}  # three calls, and the three tokens in reserve
    await two[1].run(pipeline)
    assert calls["night"] == 1 + 3


async def test_each_event_carries_the_lane_of_its_engine(autojump_clock, two):
    """Breakers and attempts too; and each lane is heard by its own subscribers alone."""
    day, night = two
    heard = {"day": Ear(), "night": Ear()}
    day.subscribe(heard["day"])
    night.subscribe(heard["night"])
    pipeline = pipeline_of(
        lane_fails, breaker=Breaker(consecutive=2), retry=Retry(attempts=2, backoff=0)
    )
    for engine in two:
        await engine.run(pipeline)
    for lane in LANES:
        assert {event.lane for event in heard[lane]} == {lane}
    kinds = {lane: {type(event) for event in heard[lane]} for lane in LANES}
    assert {events.AttemptFinished, events.RunFinished} <= kinds["day"] & kinds["night"]
    assert events.BreakerChanged in kinds["day"] - kinds["night"]


async def test_aggregates_and_health_are_one_per_lane(autojump_clock, two):
    """What ran in one lane is not counted, and is not at work, in the other."""
    day, night = two
    await day.run(pipeline_of(lane_fails))
    counted = [
        {end[0]: tally.count for end, tally in engine.stats.pipeline("p").items() if tally.count}
        for engine in two
    ]
    assert counted == [{"failed": 1}, {}]
    run = night.start(pipeline_of(trio.sleep), HANG)
    await trio.testing.wait_all_tasks_blocked()
    assert (day.health().active, night.health().active) == (0, 1)
    assert [one.run_id for one in night.health().runs] == [run.run_id]
    run.cancel()
    await run.wait()


def test_there_is_no_event_without_a_lane():
    """A kind of event that would not say whose it is is noticed."""
    kinds = [getattr(events, name) for name in events.__all__]
    kinds = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, events.Event)]
    assert len(kinds) >= 15
    assert all("lane" in attrs.fields_dict(kind) for kind in kinds)
