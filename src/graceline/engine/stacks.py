"""Stacks as text: where a task waits, and where a thread is."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterable, Iterator
from types import CodeType, FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trio

__all__ = ["await_stack", "thread_stack"]

_INNER = ("graceline.engine", "trio.")


def await_stack(task: trio.lowlevel.Task) -> tuple[str, ...]:
    """Where a task waits, outermost call first; the engine's and Trio's own frames are left out.

    One line per frame: file, line, function and the source line. It may be asked of any task but
    the one that asks.
    """
    frames = ((frame.f_code, line, frame) for frame, line in task.iter_await_frames())
    return tuple(_lines(frames))


def thread_stack(ident: int | None) -> tuple[str, ...]:
    """Where a thread is now, outermost call first; empty if there is no such thread."""
    frame = sys._current_frames().get(ident or 0)
    found: list[tuple[CodeType, int, FrameType]] = []
    while frame is not None:
        code = frame.f_code
        # Between two lines, as at the start of a generator, a frame that runs has no line.
        found.append((code, frame.f_lineno or code.co_firstlineno, frame))
        frame = frame.f_back
    return tuple(_lines(reversed(found)))


def _lines(frames: Iterable[tuple[CodeType, int, FrameType]]) -> Iterator[str]:
    for code, number, frame in frames:
        if str(frame.f_globals.get("__name__", "")).startswith(_INNER):
            continue
        source = linecache.getline(code.co_filename, number).strip()
        where = f"{code.co_filename}:{number} in {code.co_qualname}"
        yield f"{where}: {source}" if source else where
