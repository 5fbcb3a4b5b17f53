"""Deadlines as a pure state machine: when a level is cancelled, and whose limit it was.

Start with the essay in `graceline.deadlines.level`; `graceline.deadlines.budget` has a second one,
on sharing the time of a pipeline among its parts.
"""

from graceline.deadlines.budget import Gate, eqf_share, shared_limit
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
    "Gate",
    "Kind",
    "Level",
    "Limit",
    "Source",
    "Status",
    "Verdict",
    "blame_failure",
    "blame_level",
    "blame_limit",
    "eqf_share",
    "expired",
    "overran",
    "settle",
    "shared_limit",
]
