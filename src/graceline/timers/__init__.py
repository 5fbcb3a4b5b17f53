"""Deadlines for plain threads: the same levels, without Trio and without an engine."""

from graceline.timers.tree import TimerScope, TimerTree

__all__ = ["TimerScope", "TimerTree"]
