"""Running a suite: on an engine of its own, with its limits and no others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from graceline.bench.recorder import Recorder
from graceline.bench.report import check_installed, discard_report, write_report
from graceline.bench.suite import Suite
from graceline.definitions import Timeouts
from graceline.definitions.checks import brief, optional_duration
from graceline.engine import open_engine
from graceline.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graceline.durations import Duration
    from graceline.results import PipelineResult
    from graceline.telemetry.hub import Sink

__all__ = ["recording", "run_suite"]


@contextmanager
def recording(
    suite: Suite, folder: Path, *, timeout: float | None = None, force: bool = False
) -> Iterator[Recorder]:
    """Record what the block runs; afterwards there is a report.

    The recorder is a sink for the engine, holds the pipeline to run, and must be told the result.

    Args:
        suite: what is run.
        folder: the directory of results.
        timeout: seconds that are given with the call, instead of the suite's own limit.
        force: replace the results that are there.

    Raises:
        GracelineError: if there are results already, or the directory cannot be written to.
        OSError: if the end or the report could not be written.
    """
    check_installed(suite)  # not after two hours
    recorder = Recorder(suite, folder, timeout=timeout, force=force)
    try:
        discard_report(folder)
        yield recorder
    except BaseException as error:
        recorder.give_up(error)
        raise
    finally:
        recorder.close()
        write_report(folder)


async def run_suite(
    suite: Suite,
    *,
    out: str | os.PathLike[str],
    timeout: Duration | None = None,
    force: bool = False,
    sinks: Iterable[Sink] = (),
) -> PipelineResult:
    """Run a suite on an engine of its own, and write journal and report into a directory.

    No limit applies but those that the suite states. What was finished is on the disk at once, in
    `journal.jsonl`; at the end come `report.json` and `report.html`.

    Args:
        suite: what to run.
        out: the directory of results; it is made if there is none.
        timeout: limit of this run in seconds, instead of the suite's own.
        force: replace the results that are in the directory.
        sinks: subscribers of the event stream.

    Returns:
        The result of the run, as `engine.run` gives it: stages are phases, nodes are commands.

    Raises:
        Cancelled: if the calling task is cancelled.
        DefinitionError: for something that is no suite, or a bad duration.
        GracelineError: if there are results already, or the directory cannot be written to.
        OSError: if the end or the report could not be written.
    """
    if not isinstance(suite, Suite):
        raise DefinitionError(f"{brief(suite)} is no Suite; write Suite('name', [Phase(...)])")
    seconds = optional_duration(timeout, "run_suite(timeout=)")
    limits = attrs.evolve(Timeouts.batch(), node=None, stage=None, pipeline=None)
    with recording(suite, Path(out), timeout=seconds, force=force) as recorder:
        async with open_engine(timeouts=limits, sinks=[recorder, *sinks]) as engine:
            result = await engine.run(recorder.pipeline, timeout=seconds)
        recorder.finish(result)
    return result
