"""The watchdog: it sees what nobody can stop - nodes that do not end, and a loop that is blocked.

A node that swallows its cancel, or shields itself without a limit, goes on after its cleanup should
have been cut. The run waits for it, since Trio offers nothing else; the watchdog says where it is.
It looks at live runs now and then, and at their tasks only if the deadline of one has passed.

While code blocks the event loop, nothing in the loop can tell. So a thread asks it now and then for
a sign of life, and looks where it is when none comes. A tick of the loop costs nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import attrs
import trio

from graceline.definitions.checks import optional_duration
from graceline.engine.levels import CURRENT, LevelRun
from graceline.engine.stacks import await_stack, thread_stack
from graceline.errors import DefinitionError
from graceline.saying import say
from graceline.telemetry import events
from graceline.values import frozen

if TYPE_CHECKING:
    from graceline.durations import Duration
    from graceline.engine.state import RunState, Shared

__all__ = ["Blocked", "LoopWatch", "Stuck", "StuckWatch", "Watchdog"]

_log = logging.getLogger("graceline.watchdog")
_SHARE = 0.1  # of the age of the newest run: if nothing begins, there is less to see
_SELDOM = 3600.0  # seconds


def _accept(value: Duration | None) -> float | None:
    """Tells type checkers what may be given; `__attrs_post_init__` parses, and can say where."""
    return cast("float | None", value)


@frozen(kw_only=True)
class Watchdog:
    """What the watchdog of an engine looks for; seconds, None switches the half off.

    Attributes:
        stuck_after: how long after the end of its grace period a node is reported as stuck. Runs
            are looked at in this interval, and less often, down to once an hour, while no run has
            begun for long.
        blocked_after: how long the event loop may be without a sign of life before it is reported;
            it is asked for one twice in this time.

    Raises:
        DefinitionError: for 0, negative values, NaN, booleans, strings without a unit.
    """

    stuck_after: float | None = attrs.field(default=1.0, converter=_accept)
    blocked_after: float | None = attrs.field(default=0.25, converter=_accept)

    def __attrs_post_init__(self) -> None:
        for name in ("stuck_after", "blocked_after"):
            seconds = optional_duration(getattr(self, name), f"Watchdog({name}=)")
            if seconds == 0:
                raise DefinitionError(f"Watchdog({name}=) must be above 0, or None for never")
            object.__setattr__(self, name, seconds)


@frozen(kw_only=True)
class Stuck:
    """A node that goes on although its cleanup should have been cut.

    Attributes:
        run_id: its run.
        pipeline: the run's pipeline.
        stage: its stage.
        node: its name.
        hard_at: when its cleanup should have been cut, absolute seconds of the loop's clock.
        stack: where its tasks wait, outermost call first.
    """

    run_id: str
    pipeline: str
    stage: str
    node: str
    hard_at: float
    stack: tuple[str, ...]


@frozen(kw_only=True)
class Blocked:
    """The event loop works without a pause: for so many `seconds`, at this `stack`."""

    seconds: float
    stack: tuple[str, ...]


class StuckWatch:
    """Finds stuck nodes among the live runs of one engine.

    Args:
        after: seconds after `hard` at which a node is stuck.
        live: the runs by id, in order of submission.
        shared: what takes the events.
    """

    def __init__(self, after: float, live: dict[str, RunState], shared: Shared) -> None:
        self._after = after
        self._live = live
        self._shared = shared
        self._known: dict[LevelRun, Stuck] = {}
        self._awaited: trio.Event | None = None

    def found(self) -> tuple[Stuck, ...]:
        """The nodes that are stuck now, as last seen; from any thread."""
        return tuple(stuck for level, stuck in self._known.copy().items() if not level.ended)

    def submitted(self) -> None:
        """There is a new run: watch closely again."""
        if self._awaited is not None:
            self._awaited.set()
            self._awaited = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the block runs, from a system task: the engine's own nursery stays empty."""
        scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._watch, scope, name="graceline watchdog")
        try:
            yield
        finally:
            scope.cancel()

    async def _watch(self, scope: trio.CancelScope) -> None:
        with scope:
            await self._look_now_and_then()

    async def _look_now_and_then(self) -> None:
        while True:
            age = self._youngest()
            if age is None:
                self._known.clear()
                self._awaited = trio.Event()
                await self._awaited.wait()
                continue
            if age * _SHARE <= self._after:
                await trio.sleep(self._after)
            else:  # a new run ends the long pause
                self._awaited = trio.Event()
                pause = trio.current_time() + min(age * _SHARE, _SELDOM)
                with trio.CancelScope(deadline=pause):
                    await self._awaited.wait()
                self._awaited = None
            self.look(trio.current_time())

    def _youngest(self) -> float | None:
        """The age of the latest run in flight; who waits for the next look keeps none of them."""
        newest = next(reversed(self._live.values()), None)
        return None if newest is None else trio.current_time() - newest.origin

    def look(self, now: float) -> None:
        """Report the nodes that are stuck at `now` and were not before."""
        self._known = {level: stuck for level, stuck in self._known.items() if not level.ended}
        # The tasks are many; they are looked at only if the deadline of a strand has passed.
        late = any(
            strand.dirty or strand.deadline <= now - self._after
            for run in self._live.values()
            for strand in tuple(run.strands)
        )
        if not late:
            return
        tasks: dict[LevelRun, list[trio.lowlevel.Task]] = {}
        for task in _below(trio.lowlevel.current_root_task()):
            level = CURRENT.of(task.context)
            if level is not None and not level.ended and level.run.shared is self._shared:
                tasks.setdefault(level, []).append(task)
        for level, works in tasks.items():
            if level not in self._known and level.hard() + self._after <= now:
                stage = getattr(level.plan, "stage", level.limit.name)
                self._report(level, stage, works)

    def _report(self, level: LevelRun, stage: str, tasks: list[trio.lowlevel.Task]) -> None:
        run = level.run
        stack: list[str] = []
        for task in tasks:
            if len(tasks) > 1:
                stack.append(f"task {task.name}:")
            stack += await_stack(task)
        stuck = Stuck(
            run_id=run.run_id,
            pipeline=run.plan.name,
            stage=stage,
            node=level.limit.name,
            hard_at=level.hard(),
            stack=tuple(stack),
        )
        self._known[level] = stuck
        run.emit(
            events.NodeStuck,
            run.clock(),
            stage=stage,
            node=stuck.node,
            hard_at=stuck.hard_at,
            stack=stuck.stack,
        )


def _below(root: trio.lowlevel.Task | None) -> Iterator[trio.lowlevel.Task]:
    """All tasks but the one that asks."""
    left = [] if root is None else [root]
    me = trio.lowlevel.current_task()
    while left:
        task = left.pop()
        if task is not me:
            yield task
        left += [child for nursery in task.child_nurseries for child in nursery.child_tasks]


class LoopWatch:
    """Sees from a thread whether the event loop is blocked, and where.

    Args:
        after: seconds without an answer that count as blocked.
        shared: what takes the events.
    """

    def __init__(self, after: float, shared: Shared) -> None:
        self._after = after
        self._shared = shared
        self._asked: float | None = None
        self._found: tuple[float, Blocked] | None = None  # and for which question
        self._stop = threading.Event()
        self._ident = threading.get_ident()
        self._token = trio.lowlevel.current_trio_token()

    def found(self) -> Blocked | None:
        """What blocks the loop now; from any thread."""
        found, asked = self._found, self._asked
        if found is None or found[0] != asked:  # the loop answered while the thread looked
            return None
        return attrs.evolve(found[1], seconds=time.perf_counter() - found[0])

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the block runs, from a thread of its own."""
        thread = threading.Thread(target=self._watch, name="graceline watchdog", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _watch(self) -> None:
        """In the thread: ask the loop for a sign of life, and look where it is if none comes."""
        while not self._stop.wait(self._after / 2):
            asked = self._asked
            if asked is None:
                self._asked = time.perf_counter()
                self._token.run_sync_soon(self._answer)
            elif time.perf_counter() - asked >= self._after:
                self._report(time.perf_counter() - asked)

    def _report(self, seconds: float) -> None:
        known, stack, asked = self.found(), thread_stack(self._ident), self._asked
        if asked is None:
            return  # it went on while we looked
        self._found = asked, Blocked(seconds=seconds, stack=stack)
        if known is None:
            say(
                _log, logging.WARNING, "loop_blocked",
                "the event loop has been blocked for %.2f s:\n%s", seconds, "\n".join(stack),
                frames=stack,
            )  # fmt: skip

    def _answer(self) -> None:
        """In the loop: it lives, and says how long it was blocked."""
        blocked = self.found()
        self._asked = self._found = None
        if blocked is not None:
            shared = self._shared
            shared.stats.blocked.add(blocked.seconds)
            shared.hub.emit(
                events.LoopBlocked(
                    at=trio.current_time(), run_id="", pipeline="", lane=shared.lane,
                    seconds=blocked.seconds, stack=blocked.stack,
                )
            )  # fmt: skip
