"""What would happen with these limits: recorded durations, replayed through the real engine.

`make_plan(pipeline, store)` is all that most need; `graceline plan` shows what it gives.
"""

from graceline.planning.forecast import BlameShare, Forecast, PartForecast
from graceline.planning.plan import Known, Plan, Recommendation, make_plan
from graceline.planning.recorded import MissingHistoryError

__all__ = [
    "BlameShare",
    "Forecast",
    "Known",
    "MissingHistoryError",
    "PartForecast",
    "Plan",
    "Recommendation",
    "make_plan",
]
