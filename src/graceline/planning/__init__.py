"""What would happen with these limits: recorded durations, replayed through the real engine.

`make_plan(pipeline, store)` is all that most need; `graceline plan` shows what it gives.
"""

from graceline.planning.plan import Known, Plan, Recommendation, Watch, make_plan
from graceline.planning.projection import BlameShare, PartProjection, Projection
from graceline.planning.recorded import MissingHistoryError

__all__ = [
    "BlameShare",
    "Known",
    "MissingHistoryError",
    "PartProjection",
    "Plan",
    "Projection",
    "Recommendation",
    "Watch",
    "make_plan",
]
