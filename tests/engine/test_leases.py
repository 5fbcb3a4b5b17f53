"""Leases and samples: every start that learns is settled once, and every duration is kept."""

import collections
import contextlib

import pytest
import trio

from graceline import (
    Adaptive,
    Node,
    Pipeline,
    Stage,
    Timeouts,
    cleanup,
    each,
    open_engine,
    sequence,
)
from graceline.adaptive import Key, Learner, MemoryStore
from graceline.telemetry import events
from graceline.work import WorkRefusedError

LEARNED = Adaptive(initial=1.0, ceiling=3.0)


async def quick(value):
    await trio.sleep(0.1)
    return value


async def hangs(_):
    await trio.sleep_forever()


async def raises(_):
    await trio.sleep(0.1)
    raise ValueError


async def swallows(_):
    with contextlib.suppress(BaseException):
        await trio.sleep_forever()
    return "late"


async def at_once(value):
    await trio.lowlevel.checkpoint()
    return value


def stubborn(_):
    return "from a thread"


def one(work, **options):
    return Node(work, name="work", **{"timeout": LEARNED} | options)


def in_chain(node, *more):
    """The node in a chain, as `run_nodes` runs it."""
    return Pipeline("p", [Stage("s", sequence(at_once, node, *more))])


def in_branch(node, *more):
    """The node as a branch of its own, as `branch_of_one` runs it."""
    return Pipeline("p", [Stage("s", [node, Node(quick, name="other"), *more])])


@pytest.fixture
def leases(monkeypatch):
    """What became of every lease: how often each was settled, and how."""
    issued = []
    settled = collections.Counter()
    issue, settle = Learner.issue, Learner._settle

    def issuing(learner):
        lease = issue(learner)
        issued.append(lease)
        return lease

    def settling(learner, lease, elapsed, at, censored, own):
        settled[lease] += 1
        settle(learner, lease, elapsed, at, censored, own)

    monkeypatch.setattr(Learner, "issue", issuing)
    monkeypatch.setattr(Learner, "_settle", settling)
    yield issued
    assert [settled[lease] for lease in issued] == [1] * len(issued)


def in_flight(engine):
    """Calls that the learners of an engine take to be running."""
    entries = engine._learning._learners._entries.values()
    return sum(entry._in_flight for entry in entries if isinstance(entry, Learner))


def samples(engine, stage="s", node="work", pipeline="p"):
    entry = engine._learning._learners._entries.get(Key("default", pipeline, stage, node))
    kept = [] if entry is None else entry.history.samples()
    return [(round(duration, 6), censored) for _, duration, censored in kept]


# -- every end settles the lease ------------------------------------------------------------------

ENDS = {
    "ok": (quick, "ok", [(0.1, False)]),
    "cut by its limit": (hangs, "timed_out", [(1.0, True)]),
    "late": (swallows, "late", [(1.0, False)]),
    "an error": (raises, "failed", [(0.1, True)]),
    "in no time": (at_once, "ok", [(0.0, False)]),
}


@pytest.mark.parametrize("mode", ["enforce", "observe"])
@pytest.mark.parametrize("place", [in_chain, in_branch])
@pytest.mark.parametrize("end", [end for end in ENDS if end not in ("cut by its limit", "late")])
async def test_a_call_that_ends_settles_its_lease(autojump_clock, leases, mode, place, end):
    """In a chain or a branch, enforced or observed, one lease is taken and settled."""
    work, status, learned = ENDS[end]
    async with open_engine(mode=mode, timeouts=Timeouts.none()) as engine:
        result = await engine.run(place(one(work)))
        assert result.node("work").status == status
        assert (len(leases), in_flight(engine), samples(engine)) == (1, 0, learned)


@pytest.mark.parametrize("place", [in_chain, in_branch])
@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize("end", ENDS)
async def test_however_it_ends_the_outcome_shows_its_limit(
    autojump_clock, engine, leases, place, critical, end
):
    """The outcome shows the limit that was applied, and the lease is settled, whatever happened."""
    work, status, learned = ENDS[end]
    result = await engine.run(place(one(work, critical=critical)))
    outcome = result.node("work")
    assert (outcome.status, outcome.limit, outcome.source) == (status, 1.0, "adaptive")
    assert (len(leases), in_flight(engine), samples(engine)) == (1, 0, learned)


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("place", [in_chain, in_branch])
async def test_the_limit_shown_is_that_of_the_run(autojump_clock, engine, leases, place, traced):
    """Outcomes of the past keep the limit that they had, whether or not somebody takes a trace."""
    heard = []

    class Sink:
        inline = True

        def wants_trace(self):
            return traced

        def __call__(self, event):
            heard.append(event)

    engine.subscribe(Sink())
    pipeline = place(one(quick))
    results = [await engine.run(pipeline) for _ in range(60)]
    limits = [result.node("work").limit for result in results]
    assert limits == [lease.timeout for lease in leases]
    assert limits[0] == 1.0
    assert limits[-1] < 0.3
    starts = [e for e in heard if isinstance(e, events.NodeStarted) and e.node == "work"]
    assert [start.limit for start in starts] == (limits if traced else [])
    assert all(start.fires_at == start.at + start.limit for start in starts)


@pytest.mark.parametrize("place", [in_chain, in_branch])
async def test_the_learned_limit_cuts_and_not_the_first_one(autojump_clock, engine, leases, place):
    """After 60 quick calls a hang is cut at the limit that was learned from them, to the instant."""
    hanging = False

    async def work(value):
        return await (hangs if hanging else quick)(value)

    pipeline = place(one(work))
    for _ in range(60):
        await engine.run(pipeline)
    hanging = True
    outcome = (await engine.run(pipeline)).node("work")
    assert (outcome.status, outcome.limit) == ("timed_out", leases[-1].timeout)
    assert outcome.elapsed == pytest.approx(outcome.limit)
    assert outcome.limit < 0.3


@pytest.mark.parametrize("place", [in_chain, in_branch])
async def test_a_user_s_cancel_settles(autojump_clock, engine, leases, place):
    """A run that is cancelled leaves no lease behind, and teaches how long it went on."""
    run = engine.start(place(one(hangs)))
    await trio.sleep(0.4)
    run.cancel("enough")
    assert (await run.wait()).node("work").status == "cancelled"
    assert (len(leases), in_flight(engine), samples(engine)) == (1, 0, [(0.4, True)])


@pytest.mark.parametrize("place", [in_chain, in_branch])
async def test_the_caller_s_cancel_settles(autojump_clock, engine, leases, place, cancelled_after):
    """A caller that is cancelled leaves no lease behind."""
    await cancelled_after(0.4, engine.run, place(one(hangs)))
    assert (len(leases), in_flight(engine), samples(engine)) == (1, 0, [(0.4, True)])


@pytest.mark.parametrize("timeout", [LEARNED, 5], ids=["learned", "recorded"])
async def test_cleanup_after_the_caller_s_cancel_is_no_work(
    autojump_clock, keeping, cancelled_after, timeout
):
    """A caller's cancel ends the work; what a cleanup block does after it is no part of the duration."""

    async def cleans(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.3)

    await cancelled_after(0.4, keeping.run, in_chain(one(cleans, timeout=timeout)))
    assert samples(keeping) == [(0.4, True)]


async def test_a_sibling_s_failure_settles(autojump_clock, engine, leases):
    """A branch that is cancelled because another failed is censored there."""
    result = await engine.run(in_branch(one(hangs), Node(raises, name="bad")))
    assert result.node("work").status == "cancelled"
    assert (len(leases), in_flight(engine), samples(engine)) == (1, 0, [(0.1, True)])


@pytest.mark.parametrize("place", [in_chain, in_branch])
async def test_what_is_skipped_takes_no_lease(autojump_clock, engine, leases, place):
    """`when` that says no, or raises, takes none."""
    await engine.run(place(one(quick, when=lambda _: False)))
    await engine.run(place(one(quick, when=lambda _: 1 / 0)))
    assert (leases, samples(engine)) == ([], [])


async def blocks(value):
    """Takes 300 ms of which Trio learns nothing: no cancel comes before it ends."""
    trio.lowlevel.current_clock().jump(0.3)
    return value


async def test_what_is_due_before_its_turn_takes_no_lease(autojump_clock, engine, leases):
    """A node in a chain whose run is due when its turn comes does not start."""
    pipeline = Pipeline("p", [Stage("s", sequence(blocks, one(quick)))])
    result = await engine.run(pipeline, timeout=0.2)
    assert (result.blame.level, result.node("work").attempts) == ("pipeline", 0)
    assert (leases, samples(engine)) == ([], [])


@pytest.mark.parametrize("start", [blocks, raises])
async def test_a_branch_whose_stage_is_over_takes_no_lease(autojump_clock, engine, leases, start):
    """A branch that has its first turn when the run is due, or its stage failed, does not start."""

    async def first(value):
        if start is raises:
            raise ValueError
        return await blocks(value)

    nodes = [Node(first, name=f"n{n}") for n in range(4)]
    nodes = [*nodes[:2], one(quick), Node(quick, name="w2", timeout=LEARNED), *nodes[2:]]
    started = 0
    for _ in range(8):  # Trio shuffles who comes first
        result = await engine.run(Pipeline("p", [Stage("s", nodes)]), timeout=0.2)
        started += sum(result.node(name).attempts for name in ("work", "w2"))
        assert (len(leases), in_flight(engine)) == (started, 0)
    assert started < 16


async def test_a_due_checkpoint_settles_too(autojump_clock, engine, leases):
    """The 64th node in a row comes after a full checkpoint: it has a lease like the others."""
    nodes = [Node(at_once, name=f"n{n}", timeout=LEARNED) for n in range(200)]
    result = await engine.run(Pipeline("p", [Stage("s", sequence(*nodes))]))
    assert result.status == "ok"
    assert (len(leases), in_flight(engine)) == (200, 0)
    assert all(result.node(f"n{n}").source == "adaptive" for n in range(200))


async def test_a_cancel_at_a_due_checkpoint_takes_no_lease(autojump_clock, engine, leases):
    """A node before which its run was cancelled at the checkpoint does not start."""

    async def cancels(value):
        run.cancel("enough")
        return value

    nodes = [Node(at_once, name=f"n{n}", timeout=LEARNED) for n in range(62)]
    run = engine.start(Pipeline("p", [Stage("s", sequence(*nodes, cancels, one(quick)))]))
    assert (await run.wait()).status == "cancelled"
    assert (len(leases), in_flight(engine), samples(engine)) == (62, 0, [])


async def test_items_have_one_lease_together(autojump_clock, engine, leases):
    """A node that runs over a list takes one lease, for the whole list."""
    items = each(one(quick), max_parallel=1)
    await engine.run(Pipeline("p", [Stage("s", [items])]), [1, 2, 3])
    assert (len(leases), in_flight(engine), samples(engine)) == (1, 0, [(0.3, False)])


async def test_a_limit_above_moves_with_the_learned_one(autojump_clock, engine, leases):
    """A node after one that learns has its own limit; one that learns is cut by the run's, too."""
    result = await engine.run(in_chain(one(quick), Node(hangs, timeout=0.5)), timeout=5)
    assert (result.blame.level, result.elapsed) == ("node", pytest.approx(0.6))
    result = await engine.run(in_chain(Node(quick), one(hangs)), timeout=0.5)
    assert (result.blame.level, result.elapsed) == ("pipeline", pytest.approx(0.5))
    assert in_flight(engine) == 0


# -- durations of nodes that do not learn ---------------------------------------------------------


@pytest.fixture
async def keeping(autojump_clock):
    """An engine that keeps durations, and where nothing is limited by default."""
    async with open_engine(history=MemoryStore(), timeouts=Timeouts.none()) as engine:
        yield engine


@pytest.mark.parametrize("place", [in_chain, in_branch])
@pytest.mark.parametrize("end", ENDS)
async def test_a_store_records_every_node(autojump_clock, keeping, place, end):
    """With a history each node's duration is kept, what did not return as a lower bound."""
    work, _, learned = ENDS[end]
    await keeping.run(place(one(work, timeout=1)))
    assert samples(keeping) == learned


async def test_each_node_has_a_key_of_its_own(autojump_clock, keeping):
    """Stage and node name the key; stages and pipelines are not recorded."""
    await keeping.run(in_chain(one(quick, timeout=None), Node(quick, name="more")))
    keys = keeping._learning._learners.keys()
    assert {(key.stage, key.node, key.level) for key in keys} == {
        ("s", name, "node") for name in ("at_once", "work", "more")
    }


async def test_threads_are_recorded():
    """A plain function in a worker thread is recorded like others."""
    async with open_engine(history=MemoryStore()) as engine:
        await engine.run(in_chain(one(stubborn, timeout=30)))
        [(_, censored)] = samples(engine)
    assert not censored


async def test_a_cancel_is_a_lower_bound(autojump_clock, keeping):
    """A node that its run's cancel ended would have taken longer."""
    run = keeping.start(in_chain(one(hangs, timeout=None)))
    await trio.sleep(0.4)
    run.cancel("enough")
    await run.wait()
    assert samples(keeping) == [(0.4, True)]


async def test_what_did_not_run_is_not_recorded(autojump_clock, keeping):
    """Nothing is kept of nodes that were skipped, due before their turn or never had one."""
    await keeping.run(in_chain(one(quick, when=lambda _: False, timeout=None)))
    await keeping.run(in_chain(one(quick, when=lambda _: 1 / 0, timeout=None)))
    await keeping.run(in_chain(one(quick, timeout=0)))
    await keeping.run(Pipeline("p", [Stage("s", sequence(Node(raises, timeout=None), one(quick)))]))
    assert samples(keeping) == []


@pytest.mark.parametrize("timeout", [None, Adaptive(initial=1, ceiling=3)], ids=str)
async def test_what_was_refused_is_not_recorded(autojump_clock, keeping, timeout):
    """A node for which there was no thread has not worked, however long that took to find out."""

    async def refused(_):
        await trio.sleep(0.1)
        raise WorkRefusedError("thread limit")

    result = await keeping.run(in_chain(one(refused, timeout=timeout)))
    assert (result.node("work").status, samples(keeping)) == ("rejected", [])


async def test_a_late_value_is_recorded_with_strict_too(autojump_clock, keeping):
    """With `strict` a late value is a timeout, and still a true duration."""
    await keeping.run(in_chain(one(swallows, timeout=1, strict=True)))
    assert samples(keeping) == [(1.0, False)]


async def test_without_a_store_nothing_is_recorded(autojump_clock, engine):
    """An engine without a history keeps durations only where a limit learns or time is shared."""
    await engine.run(in_chain(one(quick, timeout=None)))
    assert len(engine._learning._learners) == 0
    shared = Pipeline("p", [one(quick, timeout=None)], timeout=5, budget="remaining")
    await engine.run(shared)
    assert samples(engine, "p") == [(0.1, False)]


async def test_off_records_nothing(autojump_clock):
    """In `off` a store is not even asked."""
    store = MemoryStore()
    async with open_engine(mode="off", history=store) as engine:
        await engine.run(in_chain(one(quick)))
    assert list(store.keys()) == []


async def test_the_store_has_it_after_the_end(autojump_clock):
    """What was recorded is in the store when the engine has closed, with stamps that can merge."""
    store = MemoryStore()
    async with open_engine(history=store) as engine:
        await engine.run(in_chain(one(quick, timeout=None)))
    [(at, duration, censored)] = store.load(Key("default", "p", "s", "work")).history.samples()
    assert (round(duration, 6), censored) == (0.1, False)
    assert at > 1e9
