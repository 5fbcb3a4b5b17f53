"""`import graceline` against the imports it cannot do without, each in a fresh process."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from benchmarks.groups.memory import subprocess_sample
from benchmarks.measure import interleave
from benchmarks.rows import MILLI, Row, compare

if TYPE_CHECKING:
    from benchmarks.effort import Effort

__all__ = ["importing"]

_CODE = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


async def importing(effort: Effort) -> list[Row]:
    """The import, timed inside the process: the start of Python itself does not count.

    Both find their bytecode in one place that the warm-up fills, as after an installation.
    """
    imports = ("import trio, attrs", "import graceline", "import graceline.engine")
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"PYTHONPYCACHEPREFIX": folder}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        samples = await interleave(
            {
                what: subprocess_sample("-c", _CODE.format(what.removeprefix("import ")), env=env)
                for what in imports
            },
            effort.rounds(18),
        )
    return [
        compare(
            samples, "import", "import graceline", figure="import graceline",
            floor="import trio, attrs", bar=1.5, unit="ms", scale=MILLI,
        ),
        compare(
            samples, "import", "the same, up to the first engine", figure="import graceline.engine",
            floor="import trio, attrs", unit="ms", scale=MILLI,
        ),
    ]  # fmt: skip
