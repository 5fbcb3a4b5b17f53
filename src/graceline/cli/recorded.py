"""Runs of files that keep a journal, new ones and those that go on, as commands show them."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from graceline.cli.ending import NOT_OK, complain
from graceline.cli.failures import ProblemsError, UsageError
from graceline.cli.files import dialect
from graceline.cli.loading import is_file
from graceline.cli.showing import Wanted, run_shown
from graceline.deadlines import Status
from graceline.durations import format_duration
from graceline.errors import GracelineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from graceline.cli.files import Job
    from graceline.dialects.resume import Recording
    from graceline.results import PipelineResult

__all__ = ["check_journal", "problems_said", "run_new", "run_recorded"]


def check_journal(target: str, journal: Path | None, *, force: bool) -> None:
    """See whether a run can keep a journal.

    Raises:
        UsageError: if it is none of a file, or if `--force` stands alone.
    """
    if journal is not None and not is_file(target):
        raise UsageError(
            f"--journal is for pipelines in files: a run of {target}, which is Python, could not "
            "be resumed"
        )
    if force and journal is None:
        raise UsageError("--force replaces the journal in --journal DIR, which is not given")


def run_new(
    target: str,
    job: Job,
    folder: Path,
    wanted: Wanted,
    *,
    tools: Iterable[str] = (),
    timeout: float | None = None,
    history: Path | None = None,
    force: bool = False,
) -> int:
    """Run a file with a journal; returns the exit code.

    Args:
        target: the file, as the command line has it.
        job: the same, loaded, and its input.
        folder: the directory of the journal.
        wanted: what to show and to write.
        tools: the modules with its tools.
        timeout: limit of this run in seconds, instead of the pipeline's own.
        history: the file with what runs have taught; None for none.
        force: replace the journal that is there.

    Raises:
        UsageError: if the journal cannot be begun.
    """
    from graceline.dialects.resume import recording  # noqa: PLC0415 - only files need it

    assert job.file is not None  # noqa: S101 - see `check_journal`
    words = [_from_anywhere(word) for word in tools]
    with contextlib.ExitStack() as stack:
        with problems_said():
            run = stack.enter_context(
                recording(job.file, folder, job.given, timeout=timeout, tools=words, force=force)
            )
        return run_recorded(target, run, folder, wanted, history=history)


def run_recorded(
    name: str, run: Recording, folder: Path, wanted: Wanted, *, history: Path | None = None
) -> int:
    """Run what is recorded, show what came of it and what can be done next; returns the exit code.

    Args:
        name: what messages call the pipeline.
        run: the run; it is told its result.
        folder: the directory of the journal, as the command line has it.
        wanted: what to show and to write.
        history: the file with what runs have taught; None for none.
    """
    end = _End(run, folder)
    code = run_shown(
        name, run.pipeline, run.inputs or None, wanted,
        timeout=run.timeout, history=history, ended=end,
    )  # fmt: skip
    if end.problem is None:
        return code
    complain(str(end.problem))
    return code or NOT_OK


@contextlib.contextmanager
def problems_said() -> Iterator[None]:
    """Say what is wrong with a journal, or with the file of its run.

    Raises:
        UsageError: for it.
    """
    with dialect():
        try:
            yield
        except GracelineError as error:
            if hasattr(error, "problems"):
                raise
            if hasattr(error, "changes"):
                raise ProblemsError(str(error).split("\n")) from error
            raise UsageError(str(error).replace("\n", "\ngraceline: ")) from error


def _from_anywhere(word: str) -> str:
    """A module with tools, so that it is found from another directory: modules are not files."""
    place, colon, name = (word, "", "") if word.endswith(".py") else word.rpartition(":")
    return f"{os.path.abspath(place)}{colon}{name}" if place.endswith(".py") else word  # noqa: PTH100


class _End:
    """Tells a recording its result, and says for people what is kept, and what can be done."""

    def __init__(self, run: Recording, folder: Path) -> None:
        self._run = run
        self._folder = shlex.quote(str(folder))
        self.problem: GracelineError | None = None

    def __call__(self, result: PipelineResult) -> list[str]:
        """The hints for a result."""
        try:
            self._run.finish(result)
        except GracelineError as error:
            self.problem = error
        return list(self._hints(result))

    def _hints(self, result: PipelineResult) -> Iterator[str]:
        run = self._run
        if run.kept:
            yield f"kept, and not done again: {', '.join(run.kept)}"
        for name, count in run.items.items():
            yield f"kept, and not done again: {count} items of {name}"
        if run.again:
            yield f"done again: {', '.join(run.again)}"
        if run.changes:
            yield f"the file has changed: {'; '.join(change.what for change in run.changes)}"
        for name, why in run.unkept.items():
            yield (
                f"the value of {name} could not be kept: {why}; it can be done again only: "
                f"graceline resume {self._folder} --again {name}"
            )
        if (not result.ok or result.degraded) and not run.unkept:
            yield f"to go on from here: graceline resume {self._folder}{self._longer(result)}"

    def _longer(self, result: PipelineResult) -> str:
        """What to add where the limit of the call has cut the run: else it would cut it again."""
        limit, blame = self._run.timeout, result.blame
        if limit is None or blame is None or blame.level != "pipeline":
            return ""
        if result.status is not Status.TIMED_OUT:
            return ""
        return f" --timeout ... (without it, {format_duration(limit)} again)"
