"""Running with a journal: a run that is written down, and one that goes on from there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from graceline.bench.common import runner, wall_clock
from graceline.bench.journal import Journal, journal_of
from graceline.definitions import Pipeline
from graceline.definitions.checks import brief, nearest, optional_duration
from graceline.dialects.resume.changes import (
    Change,
    Version,
    affected,
    compare,
    read_keys,
)
from graceline.dialects.resume.pipelines import recorded_pipeline
from graceline.dialects.resume.recorded import FORMAT, RecordedRun, read_run
from graceline.dialects.resume.recorder import Recorder
from graceline.dialects.resume.values import UnkeepableError, encode_value
from graceline.dialects.yaml import PipelineFile, load
from graceline.dialects.yaml.files import parts_of
from graceline.errors import GracelineError

if TYPE_CHECKING:
    from graceline.dialects.yaml.bodies import ToolSource
    from graceline.dialects.yaml.files import Functions
    from graceline.durations import Duration
    from graceline.results import PipelineResult

__all__ = ["ChangedError", "Recording", "recording", "resuming"]


class ChangedError(GracelineError):
    """The file of a run is not what it was.

    Attributes:
        changes: what is different.
        again: the steps that `force` would do again, in the order of the file.
    """

    def __init__(self, message: str, changes: Iterable[Change], again: Iterable[str]) -> None:
        super().__init__(message)
        self.changes: tuple[Change, ...] = tuple(changes)
        self.again: tuple[str, ...] = tuple(again)


@attrs.define(eq=False)
class Recording:
    """One run that is written down: run its pipeline with its inputs, and tell it the result.

    Attributes:
        file: the file.
        pipeline: what to run, once.
        inputs: the input of the run.
        timeout: seconds for the run, instead of the pipeline's own limit; None for that.
        kept: the steps that are finished, and are not done again.
        items: how many items are finished of steps that are not.
        again: the steps that were finished, and are done again.
        changes: what is different in the file since the run began.
    """

    file: PipelineFile
    pipeline: Pipeline
    inputs: dict[str, Any]
    timeout: float | None
    _recorder: Recorder
    kept: tuple[str, ...] = ()
    items: Mapping[str, int] = attrs.field(factory=dict)
    again: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def unkept(self) -> dict[str, str]:
        """Steps that ended well, and whose values the journal cannot keep, and why."""
        return dict(self._recorder.unkept)

    def finish(self, result: PipelineResult) -> None:
        """Write down how the run ended.

        Raises:
            GracelineError: if that, or anything before it, could not be written.
        """
        self._recorder.finish(result)


@contextmanager
def recording(
    file: PipelineFile,
    folder: str | os.PathLike[str],
    inputs: Mapping[str, Any] | None = None,
    *,
    timeout: Duration | None = None,
    tools: Iterable[str] = (),
    force: bool = False,
) -> Iterator[Recording]:
    """Record what the block runs.

    Args:
        file: what is run; it was loaded from a file with steps.
        folder: the directory of the journal; it is made if there is none.
        inputs: what the run is given.
        timeout: seconds for the run, instead of the pipeline's own limit.
        tools: the modules with its tools, for `graceline resume`.
        force: replace the journal that is there.

    Raises:
        FileError: for inputs that are wrong.
        GracelineError: if there is a journal already, if it cannot be written, or cannot keep the
            inputs, and for what is no file with steps.
    """
    place = Path(folder)
    path = Path(file.file).absolute()
    if not path.is_file():
        raise GracelineError(f"{file.file} is no file, so no run of it could be resumed")
    seconds = optional_duration(timeout, "timeout=")
    given = file.inputs(inputs)
    stated = {name: given[name] for name in inputs or {}}
    built = file.built()
    document = _inputs_document(stated)
    if not force and journal_of(place).exists():
        _refuse_to_replace(place)
    journal = Journal(place, force=force, private=True)
    with closing(journal):
        _begin(
            journal,
            "run_begun",
            format=FORMAT,
            at=wall_clock(),
            file=str(path),
            text=file.text,
            directory=str(Path.cwd()),
            root=str(Path(file.root or "").absolute()),
            inputs=document,
            timeout=encode_value(seconds),
            tools=list(tools),
            runner=runner(),
        )
        recorder = Recorder(journal)
        wrapped = recorded_pipeline(built, recorder, None)
        with _told(recorder):
            yield Recording(file, wrapped, stated, seconds, recorder)


@contextmanager
def resuming(
    folder: str | os.PathLike[str],
    *,
    tools: ToolSource | Functions | None = None,
    timeout: Duration | None = None,
    again: Iterable[str] = (),
    force: bool = False,
) -> Iterator[Recording]:
    """Go on with a run that was recorded, in the block; the journal goes on, too.

    Args:
        folder: the directory of the journal.
        tools: the tools that its steps may use; None for those of every program.
        timeout: seconds for what is left; None for what the run was given, or the pipeline's own.
        again: finished steps that are to be done again, with all that depend on them.
        force: go on although the file is not what it was: what has changed is done again, with all
            that depends on it.

    Raises:
        ChangedError: if what is done has changed, without `force`.
        FileError: if the file is wrong now, or has gone.
        GracelineError: if there is no journal that can be resumed, if another process writes to it,
            and for finished steps whose values are not in it, and which are not to be done again.
    """
    seconds = optional_duration(timeout, "timeout=")
    place = Path(folder)
    read_run(place)  # what is no journal at all is told before anything is locked
    journal = Journal(place, append=True, private=True)
    with closing(journal):
        run = read_run(place)
        file = load(run.file, tools=tools, root=run.root)
        changes, changed = _changes(run, file)
        again = parts_of(file).links.with_dependents(_known(again, file))
        if any(not change.harmless for change in changes) and not force:
            raise _changed_error(run, file, changes, changed)
        dropped = (
            again | changed | (set(run.steps) | set(run.unkept)) - set(parts_of(file).links.steps)
        )
        finished = {name for name in dropped if name in run.steps or name in run.unkept}
        run.forget(dropped)
        _refuse_unkept(run)
        run.timeout = run.timeout if seconds is None else seconds
        facts = {"text": file.text} if file.text != run.text else {}
        _begin(
            journal,
            "run_resumed",
            at=wall_clock(),
            again=sorted(dropped),
            timeout=encode_value(run.timeout),
            runner=runner(),
            **facts,
        )
        inputs = {
            name: value for name, value in run.inputs.items() if name in parts_of(file).keys.inputs
        }
        recorder = Recorder(journal)
        with _told(recorder):
            yield Recording(
                file,
                recorded_pipeline(file.built(), recorder, run),
                inputs,
                run.timeout,
                recorder,
                kept=_ordered(run.steps, file),
                items={name: len(items) for name, items in run.items.items()},
                again=_ordered(finished, file),
                changes=tuple(changes),
            )


@contextmanager
def _told(recorder: Recorder) -> Iterator[None]:
    """Write down what tears the block down."""
    try:
        yield
    except BaseException as error:
        recorder.give_up(error)
        raise


def _begin(journal: Journal, event: str, **facts: Any) -> None:
    try:
        journal.write({"event": event, **facts})
    except OSError as error:
        raise GracelineError(f"the journal could not be written: {error.strerror}") from error


def _inputs_document(inputs: Mapping[str, Any]) -> Any:
    try:
        return encode_value(inputs)
    except UnkeepableError as error:
        raise GracelineError(
            f"the inputs cannot be kept in a journal: {error}; give texts, numbers, lists, mappings"
        ) from error


def _refuse_to_replace(folder: Path) -> None:
    try:
        run = read_run(folder)
    except GracelineError:
        hint = "name another directory, or replace it by --force"
    else:
        done = "shows" if run.finished else "goes on with"
        hint = f"`graceline resume {folder}` {done} it, --force replaces it"
    raise GracelineError(f"{folder} holds the journal of an earlier run; {hint}")


def _changes(run: RecordedRun, file: PipelineFile) -> tuple[list[Change], set[str]]:
    """What is different in the file, and the steps whose values do not count any more."""
    if file.text == run.text:
        return [], set()
    new = Version(parts_of(file).keys, parts_of(file).tree)
    changes = compare(read_keys(run.text, str(run.file)), new, parts_of(file).links, file.file)
    return changes, affected(changes, parts_of(file).links)


def _known(again: Iterable[str], file: PipelineFile) -> set[str]:
    names = {again} if isinstance(again, str) else set(again)
    for name in names:
        if name not in parts_of(file).links.steps:
            raise GracelineError(
                f"--again {name}: there is no step {brief(name)}; "
                f"{nearest(name, list(parts_of(file).links.steps))}"
            )
    return names


def _changed_error(
    run: RecordedRun, file: PipelineFile, changes: list[Change], changed: set[str]
) -> ChangedError:
    lost = _ordered([name for name in changed if name in run.steps], file)
    held = _ordered([name for name in run.steps if name not in changed], file)
    what = [str(change) for change in changes if not change.harmless]
    hint = (
        f"--force goes on with the file as it is: it does {_listed(lost)} again and keeps "
        f"{_listed(held)}"
    )
    message = "\n".join([f"{run.file} is not what it was when the run began:", *what, hint])
    return ChangedError(message, changes, lost)


def _refuse_unkept(run: RecordedRun) -> None:
    if not run.unkept:
        return
    lines = [f"step {name!r} is finished, but its value could not be kept: {why}"
             for name, why in run.unkept.items()]  # fmt: skip
    words = " ".join(f"--again {name}" for name in run.unkept)
    raise GracelineError("\n".join([*lines, f"to do that a second time, say so: {words}"]))


def _ordered(names: Iterable[str], file: PipelineFile) -> tuple[str, ...]:
    """Steps in the order of the file; those that it has no more are left out."""
    found = set(names)
    return tuple(name for name in parts_of(file).links.steps if name in found)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(repr, names)) if names else "nothing"
