"""Limits that learn from the durations of calls, and the stores that keep what they learned.

Start with the essay in `graceline.adaptive.learner`.
"""

from graceline.adaptive.history import DurationHistory, Sample
from graceline.adaptive.learner import Learner, Lease
from graceline.adaptive.settings import Settings

__all__ = ["DurationHistory", "Learner", "Lease", "Sample", "Settings"]
