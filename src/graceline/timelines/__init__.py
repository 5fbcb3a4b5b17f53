"""Timelines: a run as rows of plain data, and its drawings for terminals, pages and notebooks."""

from graceline.timelines.derived import RunTimeline
from graceline.timelines.drawn import Drawn
from graceline.timelines.pairs import Pair
from graceline.timelines.rows import AttemptRow, Row

__all__ = ["AttemptRow", "Drawn", "Pair", "Row", "RunTimeline"]
