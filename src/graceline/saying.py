"""Saying: how the library logs, so that no handler and no filter of a program can disturb it.

Every record has an `event_type`, and its facts as fields; docs/logging.md lists them all.
"""

from __future__ import annotations

import logging
from typing import Any, Final

__all__ = ["say"]

_broken: Final = logging.NullHandler()


def say(
    log: logging.Logger,
    level: int,
    event_type: str,
    text: str,
    /,
    *args: object,
    exc_info: BaseException | None = None,
    **fields: object,
) -> None:
    """Log one record; what a handler or filter raises is printed, as `logging` does it, or lost.

    Args:
        log: where.
        level: how much it matters.
        event_type: what happened, for machines.
        text: what happened, for people, to be formatted by `args`.
        args: what the text needs.
        exc_info: shown with its traceback.
        fields: the facts, for machines.
    """
    extra: dict[str, Any] = {"event_type": event_type, **fields}
    try:
        log.log(level, text, *args, exc_info=exc_info, extra=extra, stacklevel=2)
    except Exception:  # noqa: BLE001 - the program's own handler; the work goes on
        # It heeds `logging.raiseExceptions`, and prints where the record came from.
        _broken.handleError(logging.LogRecord(log.name, level, "", 0, text, args, None))
