"""The time axis of a drawing: where instants lie on it, and which of them it names."""

from __future__ import annotations

import math

from graceline.durations import format_duration

__all__ = ["brief", "share", "step_of", "ticks"]

_MINUTES = tuple(60.0 * part for part in (0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 720))


def share(seconds: float, scale: float) -> float:
    """Where an instant lies on an axis of `scale` seconds, in percent of its length."""
    return round(100 * max(0.0, min(1.0, seconds / scale)), 3)


def step_of(scale: float) -> float:
    """The distance of two marks on the time axis: a round number, at most six of it."""
    for size in (*_MINUTES, math.inf) if scale > 60 else ():
        if scale <= 6 * size:
            return size if size < math.inf else scale / 4
    unit = 10.0 ** math.floor(math.log10(scale)) if scale > 0 else 1.0
    return next(unit * part for part in (0.2, 0.5, 1, 2) if scale <= 6 * unit * part)


def ticks(scale: float) -> list[tuple[float, str]]:
    """The marks on the time axis, each in percent of its length, and in words."""
    step = step_of(scale)
    count = math.floor(scale / step * (1 + 1e-9))
    return [(share(part * step, scale or 1.0), brief(part * step)) for part in range(count + 1)]


def brief(seconds: float) -> str:
    """Seconds in words; what is shorter than a microsecond is nothing."""
    return format_duration(0.0 if seconds < 1e-6 else seconds)
