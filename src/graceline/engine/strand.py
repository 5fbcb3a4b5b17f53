"""A strand: one task's line of work, with one *rolling* cancel scope.

A sequence runs in one task, so one scope is enough: its deadline is moved to that of the next node.
Moving a deadline costs a third of opening a scope, and more than all else about a node. So nodes
that take next to no time share one deadline, which is at most `SLACK` behind that of each, and
never behind that of their stage. One that asks for its time has a deadline of its own from then on.
Times decide who is to blame, as ever.

The rule that makes it safe: a scope is alive
for certain only while `now < deadline and not dirty`. A node can return in the very tick in which
its deadline passes, and the scope is then cancelled although nobody saw it; anything but the
certain case opens a fresh scope.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from graceline.deadlines import Level

__all__ = ["SHARE", "SLACK", "TIGHT", "Strand", "slack_of"]

SLACK = 1e-4
"""Seconds by which the scope of a node may fire too late, if the node took less the last time.

Timers of Linux have 50 us of slack for the same reason (PR_SET_TIMERSLACK). `epoll`, on which Trio
waits, counts in steps of 1 ms.
"""

SHARE = 0.05
"""The slack of a limit is at most this share of it."""

TIGHT = SLACK / SHARE
"""Seconds; a learned limit below that has no slack: its share would have to be worked out anew."""


def slack_of(clock: Callable[[], float]) -> float:
    """The slack under a clock: none in virtual time, where nothing is too small to be seen."""
    return SLACK if clock() < clock() else 0.0


class Strand:
    """One task's rolling cancel scope.

    Attributes:
        holder: the level whose parts run here; a cut of it or above cancels this strand.
        deadline: that of the scope.
        dirty: the scope may be cancelled; open a fresh one before anything else runs.
        idle: the task waits for a nursery of branches, which have strands of their own.
        now: the latest reading of the clock here; the end of a part is the start of the next.
        ticks: parts run since the last full checkpoint.
    """

    __slots__ = ("deadline", "dirty", "holder", "idle", "now", "scope", "ticks")

    def __init__(self, holder: Level, now: float, deadline: float = inf) -> None:
        self.holder: Level = holder
        self.now: float = now
        self.dirty: bool = False
        self.idle: bool = False
        self.ticks: int = 0
        self.deadline: float = deadline
        self.scope: trio.CancelScope = trio.CancelScope(deadline=deadline)

    @trio.lowlevel.enable_ki_protection
    def open(self) -> None:
        """Enter the first scope."""
        self.scope.__enter__()

    @trio.lowlevel.enable_ki_protection
    def renew(self, deadline: float) -> None:
        """Leave the scope and enter a fresh one; an interrupt cannot come in between."""
        self.scope.__exit__(None, None, None)
        self.scope = trio.CancelScope(deadline=deadline)
        self.deadline = deadline
        self.dirty = False
        self.scope.__enter__()

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Leave the scope for good."""
        self.scope.__exit__(None, None, None)

    def aim(self, deadline: float) -> None:
        """Make the scope fire at `deadline`, with a fresh scope if this one is not surely alive."""
        if self.dirty or self.now >= self.deadline:
            self.renew(deadline)
        elif deadline != self.deadline:
            self.scope.deadline = self.deadline = deadline

    def tighten(self, deadline: float) -> None:
        """Make the scope fire earlier, whatever it is doing."""
        self.scope.deadline = self.deadline = deadline

    def cut(self, reason: str) -> None:
        """Cancel what runs here now."""
        self.dirty = True
        if not self.idle:
            self.scope.cancel(reason)
