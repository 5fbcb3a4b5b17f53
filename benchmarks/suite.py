"""Our own benchmarks as suites: `graceline bench benchmarks/suite.py:suite --out out`.

They are what `python -m benchmarks` runs, with a journal and a report that stay. A group that
misses a bar is `failed` there; what it measured is in its output.
"""

from __future__ import annotations

import sys
from pathlib import Path

# A file is imported like a script: without what lies above it.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.effort import Effort
from benchmarks.groups import GROUPS
from benchmarks.runner import programs, suite_of

__all__ = ["quick", "suite"]

suite, quick = (
    suite_of(name, programs(GROUPS, effort), effort.limit)
    for name, effort in (("benchmarks", Effort()), ("quick", Effort(quick=True)))
)
