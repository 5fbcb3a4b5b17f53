"""Deadlines as a pure state machine: when a level is cancelled, and whose limit it was.

Start with the essay in `graceline.deadlines.level`.
"""

from graceline.deadlines.level import Level, Limit
from graceline.deadlines.settle import (
    Ending,
    Verdict,
    blame_failure,
    blame_level,
    blame_limit,
    expired,
    overran,
    settle,
)
from graceline.deadlines.vocabulary import Blame, DeadlineStatus, Kind, Source, Status

__all__ = [
    "Blame",
    "DeadlineStatus",
    "Ending",
    "Kind",
    "Level",
    "Limit",
    "Source",
    "Status",
    "Verdict",
    "blame_failure",
    "blame_level",
    "blame_limit",
    "expired",
    "overran",
    "settle",
]
