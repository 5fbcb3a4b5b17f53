"""A rule-based machine for Hypothesis: it plans what happens to an engine, and then it happens.

The rules only write a plan: submits, cancels, drains, hand-overs to threads, each with its instant.
When an example ends, the plan is carried out once in a fresh virtual world, and every promise is
checked: each run has its result, each result keeps the invariants, and the engine has its full
capacity again. Async rules are not awaited by Hypothesis; a plan needs none, and it shrinks well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import Any, ClassVar

import attrs
import trio
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule
from trio.testing import MockClock

from graceline.definitions import Pipeline, Timeouts
from graceline.engine import Engine, Run, open_engine
from graceline.results import PipelineResult
from graceline.testing.invariants import check_invariants
from graceline.testing.nested import running_on
from graceline.testing.recording import RecordedTimeline, record
from graceline.testing.strategies import cooperative_pipelines
from graceline.testing.surroundings import check_full_capacity
from graceline.virtual import run_virtual

__all__ = ["Act", "EngineMachine", "Played", "carry_out"]

_EIGHTH = 0.125
_INPUT = (1, 2)  # a list, for the nodes that are made by `each()`
_instants = st.integers(0, 24).map(_EIGHTH.__mul__)
_limits = st.none() | st.integers(1, 16).map(_EIGHTH.__mul__)


@attrs.frozen(kw_only=True)
class Act:
    """Something that happens at an instant, in seconds from the start of the world.

    Attributes:
        at: when.
        what: `run` (in a task of its own), `start` (in the engine), `cancel`, `cancel_caller`,
            `drain`.
        run: which run, by number; the number of the submits before it for a submit.
        by_thread: whether a worker thread does it.
        pipeline: what is submitted.
        timeout: the limit of the call, or how long a drain waits.
    """

    at: float
    what: str
    run: int = 0
    by_thread: bool = False
    pipeline: Pipeline | None = None
    timeout: float | None = None


@attrs.define(eq=False)
class Played:
    """A run of the plan, as it came out: `result` is None where its caller was cancelled."""

    submit: Act
    timeline: RecordedTimeline | None = None
    handle: Run | None = None
    result: PipelineResult | None = None
    raised: bool = False


class EngineMachine(RuleBasedStateMachine):
    """Plans the life of an engine; make it a test by `TestEngine = EngineMachine.TestCase`.

    Attributes:
        submitted: a strategy of the pipelines that are submitted; replace it by your own, such as
            `st.just(replace_latencies(checkout, Lognormal(0.1, 1)))`. Their nodes must obey
            cancels, or the invariants say so.
        options: for `open_engine`; few slots and a short queue by default.
    """

    submitted: ClassVar[st.SearchStrategy[Pipeline]] = cooperative_pipelines()
    options: ClassVar[dict[str, Any]] = {
        "max_concurrent_pipelines": 2,
        "max_queue": 2,
        "timeouts": Timeouts.none(),
    }
    runs: ClassVar[Bundle[int]] = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.plan: list[Act] = []
        self.count: int = 0

    def _submit(self, what: str, data: st.DataObject, at: float, **fields: Any) -> int:
        pipeline = data.draw(self.submitted, label="pipeline")
        self.plan.append(Act(at=at, what=what, run=self.count, pipeline=pipeline, **fields))
        self.count += 1
        return self.count - 1

    @rule(target=runs, data=st.data(), at=_instants, timeout=_limits)
    def run_in_a_task(self, data: st.DataObject, at: float, timeout: float | None) -> int:
        """A task calls `engine.run`."""
        return self._submit("run", data, at, timeout=timeout)

    @rule(target=runs, data=st.data(), at=_instants, by_thread=st.booleans())
    def start(self, data: st.DataObject, at: float, by_thread: bool) -> int:  # noqa: FBT001
        """Somebody calls `engine.start`, perhaps from a thread."""
        return self._submit("start", data, at, by_thread=by_thread)

    @rule(run=runs, at=_instants, by_thread=st.booleans())
    def cancel(self, run: int, at: float, by_thread: bool) -> None:  # noqa: FBT001
        """Somebody cancels a run, perhaps from a thread, perhaps too early or too late."""
        self.plan.append(Act(at=at, what="cancel", run=run, by_thread=by_thread))

    @rule(run=consumes(runs), at=_instants)
    def cancel_caller(self, run: int, at: float) -> None:
        """The task that waits for a run is cancelled."""
        self.plan.append(Act(at=at, what="cancel_caller", run=run))

    @rule(at=_instants, patience=_limits)
    def drain(self, at: float, patience: float | None) -> None:
        """The engine is drained."""
        self.plan.append(Act(at=at, what="drain", timeout=patience))

    def teardown(self) -> None:
        """Carry the plan out, and check every promise."""
        for played in carry_out(self.plan, **self.options):
            if played.result is None:
                assert played.raised, f"nothing came of {played.submit}"  # noqa: S101 - a check
            elif played.timeline is not None:
                check_invariants(played.result, played.timeline)


def carry_out(plan: list[Act], **options: Any) -> tuple[Played, ...]:
    """Carry out a plan in a fresh virtual world; the engine must have its full capacity at the end.

    Args:
        plan: what happens.
        options: for `open_engine`.

    Raises:
        InvariantError: if the engine has not.
    """
    return run_virtual(_World(plan, options).play)


@attrs.define(eq=False)
class _World:
    plan: list[Act]
    options: dict[str, Any]
    runs: dict[int, Played] = attrs.field(factory=dict)
    scopes: dict[int, trio.CancelScope] = attrs.field(factory=dict)
    hands: int = 0

    async def play(self) -> tuple[Played, ...]:
        submits = [act for act in self.plan if act.pipeline is not None]
        self.runs = {act.run: Played(act) for act in submits}
        self.scopes = {act.run: trio.CancelScope() for act in submits}
        async with open_engine(**{"watchdog": None} | self.options) as engine:
            with running_on(engine):
                async with trio.open_nursery() as nursery:
                    for act in self.plan:
                        nursery.start_soon(self._act, engine, act)
            await engine.wait_idle()
            check_full_capacity(engine)
        return tuple(self.runs.values())

    async def _act(self, engine: Engine, act: Act) -> None:
        await trio.sleep_until(act.at)
        if act.what == "drain":
            await engine.drain(act.timeout)
        elif act.what == "cancel":
            await self._by(act, partial(self._cancel, engine, act))
        elif act.what == "cancel_caller":
            self.scopes[act.run].cancel()
        else:
            await self._submit(engine, act)

    def _cancel(self, engine: Engine, act: Act) -> None:
        for run in engine.runs():
            if run.run_id == str(act.run):
                run.cancel("somebody cancels")

    async def _submit(self, engine: Engine, act: Act) -> None:
        played, name = self.runs[act.run], str(act.run)
        assert act.pipeline is not None  # noqa: S101 - it is a submit
        with record(engine, name) as played.timeline:
            with self.scopes[act.run]:
                played.raised = True
                if act.what == "run":
                    played.result = await engine.run(
                        act.pipeline, _INPUT, run_id=name, timeout=act.timeout
                    )
                else:
                    start = partial(engine.start, act.pipeline, _INPUT, run_id=name)
                    played.handle = await self._by(act, start)
                    await played.handle.wait()
                played.raised = False
            if played.handle is not None:  # its caller may have gone; the run goes on
                played.result = await played.handle.wait()

    async def _by(self, act: Act, do: Callable[[], Any]) -> Any:
        """Do it here, or from a thread; meanwhile the clock must not take the thread for idle."""
        if not act.by_thread:
            return do()
        with trio.CancelScope(shield=True):
            return await self._held(partial(trio.to_thread.run_sync, _in_the_loop, do))

    async def _held(self, work: Callable[[], Awaitable[Any]]) -> Any:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)  # noqa: S101 - `run_virtual` gave it
        self.hands += 1
        clock.autojump_threshold = inf
        try:
            return await work()
        finally:
            self.hands -= 1
            if not self.hands:
                clock.autojump_threshold = 0


def _in_the_loop(do: Callable[[], Any]) -> Any:
    return trio.from_thread.run_sync(do)
