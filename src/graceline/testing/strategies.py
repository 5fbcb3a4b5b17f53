"""Hypothesis strategies: definitions that run, what their nodes do, and what meets them.

Everything is made of round numbers: unless you choose another unit, each duration is a multiple of
an eighth of a second, exact in binary, and so are sums of them. Limits come from a small set, so
that equal ones are common. The first choice is always the plainest one, so a failing example
shrinks to a handful of nodes.

    @given(pipelines(), cancellations())
    def test_it_ends_in_time(pipeline, cancels):
        recording = simulate(pipeline, [1, 2], cancels=cancels)
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from hypothesis import strategies as st

from graceline.definitions import Node, Pipeline, Stage, Timeouts
from graceline.durations import Duration, parse_duration
from graceline.errors import DefinitionError
from graceline.testing import behaviours as does
from graceline.testing.behaviours import Behaviour
from graceline.testing.drawing import Drawing, eighths
from graceline.testing.latency import Bimodal, Constant, Latency, Lognormal, Pareto, Trace
from graceline.testing.load import Load
from graceline.testing.models import Scenario
from graceline.testing.scenarios import draw_scenario
from graceline.testing.world import Cancels

__all__ = [
    "behaviours",
    "cancellations",
    "cooperative_pipelines",
    "latencies",
    "loads",
    "nodes",
    "pipelines",
    "scenarios",
    "stages",
    "timeouts",
]


@st.composite
def scenarios(
    draw: st.DrawFn, *, depth: int = 2, caller: bool = True, attempts: bool = False
) -> Scenario:
    """A pipeline of up to three stages of up to three nodes, and the cancels that meet it.

    Args:
        draw: given by Hypothesis.
        depth: how deep runs inside nodes may nest.
        caller: whether the caller may have a deadline and may be cancelled.
        attempts: whether nodes may have policies; without a caller, the mode is drawn as well.
    """
    return draw_scenario(draw, depth=depth, caller=caller, attempts=attempts)


def timeouts() -> st.SearchStrategy[Timeouts]:
    """Default limits of an engine; the plainest has none, and a grace of 1 s."""
    limits = st.sampled_from([None, 1.0, 0.5, 0.25, 2.0])
    return st.builds(
        Timeouts,
        node=limits,
        stage=limits,
        pipeline=limits,
        grace=st.sampled_from([1.0, 0.5, 0.125, 0.0]),
        fail_fast=st.sampled_from([True, False]),
        strict=st.booleans(),
    )


def latencies(*, unit: Duration = "125ms", smooth: bool = False) -> st.SearchStrategy[Latency]:
    """How long a call takes: `Constant`, `Bimodal` and `Trace`, 1 to 12 units.

    Args:
        unit: choose it so that your limits lie in the range, or all examples are too slow, or none.
        smooth: `Lognormal` and `Pareto` too. Their samples are no round numbers, and Pareto's have
            no upper bound.

    Raises:
        DefinitionError: for a unit that is no duration above 0.
    """
    multiples = partial(_multiples, _above_0(unit, "latencies(unit=)"))
    kinds: list[st.SearchStrategy[Latency]] = [
        st.builds(Constant, multiples(1, 12)),
        st.builds(
            Bimodal,
            multiples(1, 4),
            multiples(5, 12),
            st.sampled_from([0.5, 0.25, 0.125, 0.0, 1.0]),
        ),
        st.builds(Trace, st.lists(multiples(1, 12), min_size=1, max_size=4).map(tuple)),
    ]
    if smooth:
        kinds.append(st.builds(Lognormal, multiples(1, 8), st.sampled_from([0.5, 0.25, 1.0])))
        kinds.append(st.builds(Pareto, multiples(1, 4), st.sampled_from([2.0, 1.5, 3.0])))
    return st.one_of(*kinds)


def _above_0(value: Duration, what: str) -> float:
    seconds = parse_duration(value, what)
    if not seconds:
        raise DefinitionError(f"{what} must be above 0")
    return seconds


def _multiples(unit: float, least: int, most: int) -> st.SearchStrategy[float]:
    return st.integers(least, most).map(unit.__mul__)


_BEHAVIOURS: dict[type, st.SearchStrategy[Any]] = {
    does.Obeys: st.just(does.Obeys()),
    does.Raises: st.just(does.Raises()),
    does.SlowCleanup: st.lists(eighths(1, 8), min_size=1, max_size=3).map(
        lambda lengths: does.SlowCleanup(*lengths)
    ),
    does.SwallowsOnce: st.builds(does.SwallowsOnce, eighths(0, 8)),
    does.OwnScope: st.builds(does.OwnScope, eighths(1, 8)),
    does.SavesPartials: st.builds(does.SavesPartials, eighths(1, 4)),
    does.SpawnsNursery: st.builds(does.SpawnsNursery, st.integers(1, 3)),
    does.RaisesInCleanup: st.just(does.RaisesInCleanup()),
    does.SwallowsLoop: st.builds(does.SwallowsLoop, st.integers(1, 4)),
    does.OwnShield: st.just(does.OwnShield()),
    does.AtDeadline: st.just(does.AtDeadline()),
    does.SyncBurst: st.builds(does.SyncBurst, eighths(1, 8)),
}

_OBEDIENT = (
    does.Obeys,
    does.Raises,
    does.SlowCleanup,
    does.OwnScope,
    does.SavesPartials,
    does.SpawnsNursery,
    does.RaisesInCleanup,
)


def behaviours(*, only: Iterable[type] | None = None) -> st.SearchStrategy[Behaviour]:
    """What a node does besides taking time; the plainest obeys.

    Args:
        only: the classes that are wanted, such as `(Obeys, Raises)`; None for all. Runs inside
            nodes come from `pipelines(depth=)`.

    Raises:
        DefinitionError: for no class, and for one that there is no strategy for.
    """
    wanted = tuple(_BEHAVIOURS) if only is None else tuple(only)
    known = ", ".join(kind.__name__ for kind in _BEHAVIOURS)
    if not wanted:
        raise DefinitionError(f"behaviours(only=) needs at least one of {known}")
    for kind in wanted:
        if kind not in _BEHAVIOURS:
            raise DefinitionError(f"behaviours(only=): {kind!r} is none of {known}")
    return st.one_of(*(_BEHAVIOURS[kind] for kind in wanted))


def _drawing(behaviour: Any, latency: Any, *, loops: bool) -> Drawing:
    return Drawing(
        behaviours() if behaviour is None else behaviour,
        latencies() if latency is None else latency,
        loops=loops,
    )


@st.composite
def nodes(
    draw: st.DrawFn,
    *,
    behaviour: st.SearchStrategy[Behaviour] | None = None,
    latency: st.SearchStrategy[Latency] | None = None,
    depth: int = 1,
    loops: bool = True,
) -> Node:
    """A node with a modelled body and limits; the arguments are those of `pipelines`."""
    run = _drawing(behaviour, latency, loops=loops)
    return run.tell(draw, run.node(draw, (), depth, lists=True))


@st.composite
def stages(
    draw: st.DrawFn,
    *,
    behaviour: st.SearchStrategy[Behaviour] | None = None,
    latency: st.SearchStrategy[Latency] | None = None,
    depth: int = 1,
    loops: bool = True,
) -> Stage:
    """A stage of up to three nodes; the arguments are those of `pipelines`."""
    run = _drawing(behaviour, latency, loops=loops)
    return run.tell(draw, run.stage(draw, None, depth))


@st.composite
def pipelines(
    draw: st.DrawFn,
    *,
    behaviour: st.SearchStrategy[Behaviour] | None = None,
    latency: st.SearchStrategy[Latency] | None = None,
    depth: int = 1,
    loops: bool = True,
) -> Pipeline:
    """A pipeline of up to three stages of up to three nodes: sequences, parallels and graphs.

    Names are unique in the whole definition, and start with `p`, `s` and `n`. Give a run a list as
    its input: nodes return what they get, and those made by `each()` need a list.

    Args:
        draw: given by Hypothesis.
        behaviour: what nodes do; by default `behaviours()`.
        latency: how long they take; by default `latencies()`.
        depth: how deep runs inside nodes may nest; they need `running_on(engine)`.
        loops: whether nodes may be made by `each()`.
    """
    run = _drawing(behaviour, latency, loops=loops)
    return run.tell(draw, run.pipeline(draw, depth))


def cooperative_pipelines(
    *,
    latency: st.SearchStrategy[Latency] | None = None,
    depth: int = 1,
    loops: bool = True,
) -> st.SearchStrategy[Pipeline]:
    """Pipelines whose nodes end as soon as they are cancelled, cleanup aside; see `pipelines`.

    They may raise, clean up for longer than they may, and limit themselves. All invariants hold.
    """
    obedient = behaviours(only=_OBEDIENT)
    return pipelines(behaviour=obedient, latency=latency, depth=depth, loops=loops)


def cancellations(
    *, unit: Duration = "125ms", caller: bool = True, drain: bool = True
) -> st.SearchStrategy[Cancels]:
    """What cancels a run from outside, by the user, its caller, or a drain; or nothing.

    Args:
        unit: the instants are 0 to 32 units from the submission.
        caller: whether the caller may have a deadline and may be cancelled.
        drain: whether the engine may be drained.

    Raises:
        DefinitionError: for a unit that is no duration above 0.
    """
    at = st.none() | _multiples(_above_0(unit, "cancellations(unit=)"), 0, 32)
    return st.builds(
        Cancels,
        user_at=at,
        caller_at=at if caller else st.none(),
        caller_deadline=at if caller else st.none(),
        drain_at=at if drain else st.none(),
    )


def loads(
    *,
    pipeline: st.SearchStrategy[Pipeline] | None = None,
    cancels: st.SearchStrategy[Cancels] | None = None,
    most: int = 6,
) -> st.SearchStrategy[Load]:
    """Up to `most` runs within 2 s against one to three slots and a short queue.

    Args:
        pipeline: what is run; by default `pipelines(depth=0)`.
        cancels: what cancels each run; by default the user, now and then.
        most: how many runs arrive at most, at least 1.
    """
    if most < 1:
        raise DefinitionError(f"loads(most=) must be at least 1, not {most!r}")
    met = cancellations(caller=False, drain=False) if cancels is None else cancels
    arrival = st.tuples(eighths(0, 16), pipelines(depth=0) if pipeline is None else pipeline, met)
    return st.builds(
        Load,
        slots=st.integers(1, 3),
        max_queue=st.sampled_from([None, 2, 1, 0]),
        arrivals=st.lists(arrival, min_size=1, max_size=most).map(tuple),
    )
