"""Checks of sinks: what could never hear an event is refused where it is given."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING

from graceline.definitions.checks import brief
from graceline.errors import DefinitionError

if TYPE_CHECKING:
    from graceline.telemetry.hub import Listener

__all__ = ["check_sink", "check_sinks"]


def check_sink(sink: Listener, where: str) -> Listener:
    """Return what can be a sink, or raise."""
    if isinstance(sink, type):
        raise DefinitionError(
            f"{where}: {sink.__name__} is a class; a sink is an object of it: {sink.__name__}(...)"
        )
    if not callable(sink):
        raise DefinitionError(
            f"{where}: a sink is a function of one event, or an object that can be called with "
            f"one, such as Timeline(), not {brief(sink)}"
        )
    if any(map(inspect.iscoroutinefunction, (sink, type(sink).__call__))):
        raise DefinitionError(
            f"{where}: {brief(sink)} is async, and nobody would await it; a sink is a plain "
            "function, which may block, or one with inline=True that sends to a memory channel"
        )
    return sink


def check_sinks(sinks: Iterable[Listener], where: str) -> tuple[Listener, ...]:
    """Return the sinks of an iterable, or raise."""
    if callable(sinks) or isinstance(sinks, str) or not isinstance(sinks, Iterable):
        raise DefinitionError(
            f"{where} takes a list of sinks, such as [Timeline()], not {brief(sinks)}"
        )
    return tuple(check_sink(sink, where) for sink in sinks)
