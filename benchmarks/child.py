"""One group in a process of its own, which stays for all rounds of all contestants.

`python -m benchmarks.child GROUP [--quick]` prints the rows as JSON, and the table for
people to stderr. Exit status: 1 if a bar is missed that does not depend on the machine, else 0.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys

import attrs
import trio

from benchmarks.effort import Effort
from benchmarks.groups import GROUPS
from benchmarks.table import show

__all__ = ["main"]


def main() -> int:
    """Measure the group."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.child")
    parser.add_argument("group", choices=GROUPS)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    with contextlib.redirect_stdout(sys.stderr):
        rows = trio.run(GROUPS[asked.group], Effort(quick=asked.quick))
        show(rows)
    print(json.dumps([attrs.asdict(row) for row in rows]))
    return int(any(row.missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
