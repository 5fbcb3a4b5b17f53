"""Our own benchmarks as a suite: `graceline bench benchmarks/suite.py:suite --out out`.

One phase per group of `python -m benchmarks`. A group that misses a bar or hangs leaves the others
alone, and what it printed is in the report.
"""

from __future__ import annotations

import sys
from pathlib import Path

from graceline.bench import Phase, Suite, command

__all__ = ["quick", "suite"]

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # a file is imported like a script: without what lies above it

from benchmarks.groups import GROUPS  # noqa: E402 - only now can it be found


def _phases(*options: str) -> list[Phase]:
    return [
        Phase(
            name,
            command(
                [sys.executable, "-m", "benchmarks", name, *options],
                name="measure",
                cwd=ROOT,
                timeout="30m",
            ),
            continue_on_failure=True,
        )
        for name in GROUPS
    ]


suite = Suite("benchmarks", _phases(), timeout="2h", grace="10s")
quick = Suite("quick", _phases("--quick"), timeout="30m", grace="10s")
