"""The engine: waiting, and nothing else. What decides is in `graceline.deadlines`."""

from graceline.engine.cleanup import Cleanup, cleanup
from graceline.engine.context import (
    Current,
    StopSignal,
    current,
    remaining,
    save_partial,
    stopping,
)
from graceline.engine.core import Engine, Mode
from graceline.engine.handle import Run
from graceline.engine.opening import open_engine

__all__ = [
    "Cleanup",
    "Current",
    "Engine",
    "Mode",
    "Run",
    "StopSignal",
    "cleanup",
    "current",
    "open_engine",
    "remaining",
    "save_partial",
    "stopping",
]
