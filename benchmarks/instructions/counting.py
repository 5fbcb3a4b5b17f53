"""Counting: runs the scenarios under Callgrind, and reads what it wrote."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.instructions.scenarios import MARK, SCENARIOS, Scenario

__all__ = ["Counts", "NoCountError", "count", "read"]

Counts = dict[str, dict[str, float]]
"""Instructions per unit of each scenario, by contestant."""


class NoCountError(Exception):
    """The instructions cannot be counted here."""


def count(
    names: Iterable[str],
    scenarios: Mapping[str, Scenario] = SCENARIOS,
    module: str = "benchmarks.instructions.scenarios",
) -> Counts:
    """Count the instructions of scenarios.

    Args:
        names: which of them.
        scenarios: those there are.
        module: the program that plays them.

    Raises:
        NoCountError: without Valgrind, or if it fails.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise NoCountError(
            "valgrind is not installed: apt-get install valgrind, or the package of your system"
        )
    with TemporaryDirectory() as folder:
        out = Path(folder, "out")
        done = subprocess.run(  # noqa: S603 - our own scenarios
            [
                valgrind, "--tool=callgrind", f"--dump-before={MARK}",
                f"--callgrind-out-file={out}", sys.executable, "-m",
                module, *names,
            ],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise NoCountError(f"the scenarios failed under valgrind:\n{done.stderr}")
        played = json.loads(done.stdout)
        dumps = [Path(f"{out}.{number}") for number in range(1, 2 * len(played) + 1)]
        if not all(dump.exists() for dump in dumps):
            raise NoCountError(f"valgrind did not see the calls of {MARK}() that mark the work")
        totals = [read(dump.read_text().splitlines()) for dump in dumps]
    counts: Counts = {}
    for (name, contestant), total in zip(played, totals[1::2], strict=True):
        scenario = scenarios[name]
        units = scenario.runs * scenario.units
        counts.setdefault(name, {})[contestant] = total / units
    return counts


def read(lines: Sequence[str]) -> int:
    """The instructions of one dump.

    Raises:
        NoCountError: if it does not say.
    """
    for line in reversed(lines):
        if line.startswith("totals: "):
            return int(line.split()[1])
    raise NoCountError("valgrind wrote a profile without totals")
