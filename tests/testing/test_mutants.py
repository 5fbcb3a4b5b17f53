"""Each check can fail: a broken engine, or a broken equation, is caught by the one that guards it."""

import contextvars
import logging
import sys
from itertools import count
from math import inf

import attrs
import pytest
import trio
from trio.testing import MockClock

import graceline.engine.graphs
import graceline.engine.runner
import graceline.engine.running
import graceline.engine.settling
import graceline.engine.state
from graceline import Node, Pipeline, Stage, Status, Timeouts, cleanup, open_engine
from graceline.deadlines import Level, Limit
from graceline.engine.admission import Admission
from graceline.engine.core import Engine
from graceline.engine.levels import LevelRun
from graceline.engine.state import RunState
from graceline.engine.strand import Strand
from graceline.testing.agreement import disagreements
from graceline.testing.breach import InvariantError
from graceline.testing.comparisons import (
    check_clocks_agree,
    check_limits_do_not_matter,
    check_modes_agree,
    check_replay,
)
from graceline.testing.invariants import (
    check_children_end_first,
    check_cleanup_is_bounded,
    check_every_part_has_a_status,
    check_nothing_lost,
    check_one_blame,
    check_work_stops,
)
from graceline.testing.models import NodeModel, PipelineModel, Scenario, StageModel
from graceline.testing.recording import record
from graceline.testing.surroundings import check_foreign_cancel_passes, check_full_capacity
from graceline.testing.world import Cancels, simulate
from graceline.virtual import run_virtual


@pytest.fixture(autouse=True)
def quiet(caplog):
    """Broken engines complain."""
    caplog.set_level(logging.CRITICAL + 1, logger="graceline")


def works(seconds, *, cleans=0.0):
    """A node's body that works, and then cleans up whatever happens."""

    async def body(value):
        try:
            await trio.sleep(seconds)
            return value
        finally:
            if cleans:
                with cleanup():
                    await trio.sleep(cleans)

    return body


def a_node(seconds, name="work", cleans=0.0, **limits):
    return Node(works(seconds, cleans=cleans), name=name, **limits)


async def _returns_late(value):
    try:
        await trio.sleep(9)
    except trio.Cancelled:
        return value


NONE = Timeouts.none()
TIED = Pipeline("p", [Stage("s", [a_node(9, timeout=1)], timeout=1)], timeout=1, grace=1)
SLOW_CLEANUP = Pipeline("p", [a_node(9, cleans=9)], timeout=1, grace=1)
LATE = Pipeline("p", [Node(_returns_late, name="work", timeout=1)], grace=1)
STOPPED = Pipeline("p", [Stage("s", [a_node(9)]), Stage("t", [a_node(1)])], timeout=1, grace=1)
BRANCHES = Pipeline("p", [Stage("s", [a_node(1, "one"), a_node(2, "two")])], timeout=9, grace=1)
CLEANS_WELL = Pipeline("p", [a_node(0.05, cleans=0.08, timeout=0.2, grace=0.1)])
SHORT_LIMIT = Pipeline("p", [a_node(0.3, timeout=0.03)])


def holds(check, pipeline, **options):
    """A check of one run, as a function without arguments."""

    def run():
        seen = simulate(pipeline, "in", timeouts=NONE, **options)
        check(seen.result, seen.timeline)

    return run


# -- one broken engine per invariant ----------------------------------------------------------


def aims_for_each_node(patch):
    """Have no node take the short way, on which the deadline is moved without `Strand.aim`."""
    patch.setattr(graceline.engine.running, "BREATHE", 0)


def cancels_too_late(patch):
    aims_for_each_node(patch)
    aim = Strand.aim
    patch.setattr(Strand, "aim", lambda strand, deadline: aim(strand, deadline + 1))
    patch.setattr(Strand, "tighten", lambda *_: None)  # it would mend it


def cuts_too_late(patch):
    end = RunState.cleanup_end
    patch.setattr(RunState, "cleanup_end", lambda run, level, now: end(run, level, now) + 1)


def _cause(*, own=Level.own, key=float, ties="outermost"):
    def cause(level, at):
        found = None
        while level is not None:
            if own(level) <= at and (
                found is None
                or key(own(level)) < key(own(found))
                or (ties == "outermost" and own(level) == own(found))
            ):
                found = level
            level = level.parent
        return found

    return cause


def blames_the_innermost(patch):
    patch.setattr(Level, "cause", _cause(ties="innermost"))


def blames_the_latest(patch):
    patch.setattr(Level, "cause", _cause(key=float.__neg__))


def loses_late_values(patch):
    build = graceline.engine.settling.node_outcome

    def node_outcome(run, level, now, verdict, **fields):
        if verdict.status is Status.LATE:
            fields["value"] = None
        return build(run, level, now, verdict, **fields)

    patch.setattr(graceline.engine.settling, "node_outcome", node_outcome)


def forgets_skipped_nodes(patch):
    skipped = graceline.engine.runner.skipped_stage
    patch.setattr(
        graceline.engine.runner,
        "skipped_stage",
        lambda run, plan, now: attrs.evolve(skipped(run, plan, now), nodes={}),
    )


def leaves_a_task_behind(patch):
    run_graph = graceline.engine.running.run_graph

    async def leaky(*args):
        trio.lowlevel.spawn_system_task(trio.sleep_forever, context=contextvars.copy_context())
        return await run_graph(*args)

    patch.setattr(graceline.engine.running, "run_graph", leaky)


def caps_the_grace_by_the_limit(patch):
    ends = Level.cleanup_ends
    patch.setattr(
        Level, "cleanup_ends", lambda level, now: min(ends(level, now), now + level.limit.span / 4)
    )


def keeps_the_callers_cancel(patch):
    async def look_away(run, now):
        """Look nowhere."""

    patch.setattr(RunState, "caller_cancelled", lambda *_: None)
    patch.setattr(graceline.engine.runner, "_look_outside", look_away)


def patient_on_the_real_clock(patch):
    aims_for_each_node(patch)
    aim = Strand.aim

    def lazy(strand, deadline):
        real = not isinstance(trio.lowlevel.current_clock(), MockClock)
        aim(strand, deadline + real)

    patch.setattr(Strand, "aim", lazy)


def ages(patch):
    aims_for_each_node(patch)
    aim, calls = Strand.aim, count()
    patch.setattr(Strand, "aim", lambda strand, deadline: aim(strand, deadline + next(calls) / 64))


def loses_slots(patch):
    patch.setattr(Admission, "leave", lambda admission, run: None)


def enforces_in_observe(patch):
    submit = Engine._submit

    def enforced(engine, *args):
        plans = engine._plans
        plans._resources = attrs.evolve(plans._resources, enforced=engine._mode == "observe")
        return submit(engine, *args)

    patch.setattr(Engine, "_submit", enforced)


def full_after_a_timeout():
    async def main():
        async with open_engine() as engine:
            await engine.run(STOPPED)
            check_full_capacity(engine)

    run_virtual(main)


def caller_is_told():
    check_foreign_cancel_passes(
        simulate(SLOW_CLEANUP, timeouts=NONE, cancels=Cancels(caller_at=0.5))
    )


def limits_do_not_matter():
    check_limits_do_not_matter(CLEANS_WELL)


INVARIANTS = {
    "I1": (cancels_too_late, holds(check_work_stops, TIED)),
    "I2": (cuts_too_late, holds(check_cleanup_is_bounded, SLOW_CLEANUP)),
    "I3": (blames_the_innermost, holds(check_one_blame, TIED)),
    "I4": (loses_late_values, holds(check_nothing_lost, LATE)),
    "I5": (forgets_skipped_nodes, holds(check_every_part_has_a_status, STOPPED)),
    "I6": (leaves_a_task_behind, holds(check_children_end_first, BRANCHES)),
    "I7": (caps_the_grace_by_the_limit, limits_do_not_matter),
    "I8": (keeps_the_callers_cancel, caller_is_told),
    "I9": (patient_on_the_real_clock, lambda: check_clocks_agree(SHORT_LIMIT)),
    "I10": (ages, lambda: check_replay(TIED)),
    "I11": (loses_slots, full_after_a_timeout),
    "I12": (enforces_in_observe, lambda: check_modes_agree(TIED)),
}


@pytest.mark.parametrize("number", INVARIANTS)
def test_a_broken_engine_is_caught(number, monkeypatch):
    """Each invariant holds for the engine as it is, and fails for one that breaks just this."""
    plant, check = INVARIANTS[number]
    check()
    plant(monkeypatch)
    with pytest.raises(InvariantError) as caught:
        check()
    assert caught.value.invariant == number


# -- one broken rule per equation -------------------------------------------------------------


def scenario(*nodes, cancels=None, **limits):
    return Scenario(PipelineModel("p", (StageModel("s", nodes),), **limits), **(cancels or {}))


def agrees(given):
    """The engine agrees with the oracle, as a function without arguments."""

    def run():
        found = disagreements(given) + disagreements(given, trace=True)
        assert not found, "\n".join(found)

    return run


def own_without_cancels(patch):
    patch.setattr(Level, "cause", _cause(own=lambda level: level.deadline))


def own_without_deadline(patch):
    patch.setattr(Level, "cause", _cause(own=lambda level: level.cancelled_at))


def fired_without_parents(patch):
    patch.setattr(Level, "fired", lambda level: min(level.deadline, level.cancelled_at))


def fired_without_cancels(patch):
    def fired(level):
        above = inf if level.parent is None else fired(level.parent)
        return min(level.deadline, above)

    patch.setattr(Level, "fired", fired)


def deadline_without_reserve(patch):
    prepare = Limit.__attrs_post_init__

    def careless(limit):
        prepare(limit)
        if limit.enforced:
            object.__setattr__(limit, "span", limit.timeout)

    patch.setattr(Limit, "__attrs_post_init__", careless)


def _hard(*, parents=True, foreign=True, forced=True):
    def hard(level):
        above = inf if level.parent is None or not parents else hard(level.parent)
        began = min(level.fired(), level.foreign_at) if foreign else level.fired()
        return min(began + level.grace, level.forced_at if forced else inf, above)

    return hard


def hard_without_parents(patch):
    patch.setattr(Level, "hard", _hard(parents=False))


def hard_without_foreign(patch):
    patch.setattr(Level, "hard", _hard(foreign=False))


def hard_without_force(patch):
    patch.setattr(Level, "hard", _hard(forced=False))


def a_budget_per_block(patch):
    patch.setattr(Level, "cleanup_ends", lambda level, now: now + level.grace)


def no_budget_before_a_cancel(patch):
    patch.setattr(Level, "cleanup_ends", lambda level, now: level.hard())


def blocks_are_not_retimed(patch):
    patch.setattr(RunState, "retime", lambda run: None)


def grace_is_not_inherited(patch):
    start = LevelRun.__init__

    def poor(level, run, plan, *args):
        start(level, run, plan, *args)
        if plan.limit.grace is None:
            level.grace = run.shared.grace

    patch.setattr(LevelRun, "__init__", poor)


def foreign_is_not_inherited(patch):
    patch.setattr(Level, "inherit_foreign", lambda level, noticed, upto=None: None)


def foreign_is_never_forgotten(patch):
    module = sys.modules["graceline.engine.cleanup"]
    notice = module._notice

    def remember(level, now, **options):
        before = level.notice, level.foreign_at
        notice(level, now, **options)
        if before[0] is not None:
            level.notice, level.foreign_at = before

    patch.setattr(module, "_notice", remember)


def absorbed_cancels_are_forgotten():
    """The models have no body with a cleanup block in a scope of its own; its value tells."""

    async def body(value):
        with trio.move_on_after(1):
            try:
                await trio.sleep(9)
            finally:
                with cleanup():
                    await trio.sleep(0.5)
        await trio.sleep(3)
        with cleanup():
            await trio.sleep(0.5)
            return "cleaned"

    seen = simulate(Pipeline("p", [Node(body, name="work")], grace=1), timeouts=NONE)
    assert seen.result.value == "cleaned"


def no_virtual_parent(patch):
    patch.setattr(graceline.engine.state, "_above", lambda limit, parent, *_: parent)


def starts_when_expired(patch):
    patch.setattr(graceline.engine.settling, "expired", lambda level, at: None)


def a_tie_is_in_time(patch):
    settle = graceline.engine.settling.settle

    def lenient(level, ending, at, **options):
        if ending is graceline.deadlines.Ending.VALUE and at == level.fired():
            at -= 0.001
        return settle(level, ending, at, **options)

    patch.setattr(graceline.engine.settling, "settle", lenient)


def siblings_go_on(patch):
    patch.setattr(graceline.engine.graphs._GraphRun, "_fail_fast", lambda *_: None)


def forced_cleanup_is_cut():
    async def main():
        async with open_engine(timeouts=Timeouts(node=None, pipeline=None, grace=9)) as engine:
            with record(engine) as timeline:
                run = engine.start(Pipeline("p", [a_node(9, cleans=5)]))
                await trio.sleep(1)
                run.cancel(force_after=1)
                result = await run.wait()
            check_cleanup_is_bounded(result, timeline)

    run_virtual(main)


USER = {"user_cancel_at": 1}
EQUATIONS = [
    (own_without_cancels, agrees(scenario(NodeModel("a", 9), cancels=USER))),
    (own_without_deadline, agrees(scenario(NodeModel("a", 9, timeout=1)))),
    (fired_without_parents, agrees(scenario(NodeModel("a", 9, "swallows", 2), timeout=1))),
    (
        fired_without_cancels,
        agrees(scenario(NodeModel("a", 9, "swallows", 2), cancels=USER)),
    ),
    (deadline_without_reserve, agrees(scenario(NodeModel("a", 9, timeout=2, reserve=1)))),
    (
        hard_without_parents,
        agrees(scenario(NodeModel("a", 9, grace=8, cleanups=(5,)), timeout=1, grace=1)),
    ),
    (
        hard_without_foreign,
        agrees(
            scenario(
                NodeModel("a", 9, cleanups=(0.75, 0.75)),
                timeout=1.5,
                grace=1,
                cancels={"caller_cancel_at": 1},
            )
        ),
    ),
    (hard_without_force, forced_cleanup_is_cut),
    (a_budget_per_block, agrees(scenario(NodeModel("a", 9, cleanups=(0.75, 0.75)), timeout=1))),
    (no_budget_before_a_cancel, agrees(scenario(NodeModel("a", 1, cleanups=(5,)), timeout=9))),
    (
        blocks_are_not_retimed,
        holds(
            check_cleanup_is_bounded,
            Pipeline("p", [a_node(1, cleans=5, grace=9)], grace=1),
            cancels=Cancels(user_at=2),
        ),
    ),
    (
        grace_is_not_inherited,
        agrees(scenario(NodeModel("a", 9, cleanups=(5,), timeout=1), grace=3)),
    ),
    (
        foreign_is_not_inherited,
        agrees(
            Scenario(
                PipelineModel(
                    "p",
                    (
                        StageModel(
                            "s",
                            (
                                NodeModel("a", 5, cleanups=(1,)),
                                NodeModel("b", 6, cleanups=(8,), timeout=9, grace=7),
                            ),
                            fail_fast=False,
                        ),
                    ),
                ),
                engine_grace=3.0,
                caller_cancel_at=1,
            )
        ),
    ),
    (blames_the_innermost, agrees(scenario(NodeModel("a", 9, timeout=1), timeout=1))),
    (
        blames_the_latest,
        agrees(scenario(NodeModel("a", 9, "swallows", 2, timeout=1), timeout=2)),
    ),
    (foreign_is_never_forgotten, absorbed_cancels_are_forgotten),
    (
        no_virtual_parent,
        agrees(scenario(NodeModel("a", 9, cleanups=(5,)), cancels={"caller_deadline": 1})),
    ),
    (
        starts_when_expired,
        agrees(Scenario(PipelineModel("p", (StageModel("s", (NodeModel("a", 9),), timeout=0),)))),
    ),
    (a_tie_is_in_time, agrees(scenario(NodeModel("a", 9, "swallows", timeout=1)))),
    (siblings_go_on, agrees(scenario(NodeModel("a", 1, "raises"), NodeModel("b", 9)))),
    (cancels_too_late, agrees(scenario(NodeModel("a", 9, timeout=1), NodeModel("b", 9)))),
    (keeps_the_callers_cancel, caller_is_told),
]


@pytest.mark.parametrize(
    ("plant", "check"), EQUATIONS, ids=[plant.__name__ for plant, _ in EQUATIONS]
)
def test_a_broken_rule_is_caught(plant, check, monkeypatch):
    """Each equation is held by a check that passes with it, and fails without it."""
    check()
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        check()
