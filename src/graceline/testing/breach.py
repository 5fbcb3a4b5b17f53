"""A broken promise: which one, by which part, when, and what would be right."""

from __future__ import annotations

from contextlib import suppress
from io import StringIO
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from graceline.durations import format_duration
from graceline.errors import DefinitionError
from graceline.results import NodeOutcome, PipelineResult, StageOutcome
from graceline.testing.recording import RecordedTimeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graceline.telemetry.timeline import Timeline

__all__ = ["InvariantError", "Key", "Outcome", "Promise", "label_of", "outcomes_of", "picture"]

Key: TypeAlias = tuple[str, str]
"""Stage and node; a stage is `(stage, "")`, the run is `("", "")`."""
Outcome: TypeAlias = NodeOutcome | StageOutcome
_WIDTH = 100


class InvariantError(AssertionError):
    """A promise of the contract is broken.

    Attributes:
        invariant: its number, `I1` to `I12`.
        node: the node that broke it, None if it was no single node.
        at: when, in seconds from the submission; None if it was no single instant.
        timeline: what was recorded of the run; None where several runs, or an engine, break it.
    """

    def __init__(
        self,
        invariant: str,
        promise: str,
        what: str,
        right: str,
        *,
        node: str | None = None,
        at: float | None = None,
        timeline: Timeline | None = None,
        result: PipelineResult | None = None,
    ) -> None:
        message = f"{invariant} is broken ({promise}):\n  {what}\n  right would be: {right}"
        if timeline is not None:
            message += f"\n\n{picture(timeline, result)}"
        super().__init__(message)
        self.invariant = invariant
        self.node = node
        self.at = at
        self.timeline = timeline


def picture(timeline: Timeline, result: PipelineResult | None = None) -> str:
    """The waterfall of a run as plain text; without rich, one line per part.

    Args:
        timeline: what was recorded of the run.
        result: its result; adds partial values and errors.
    """
    try:
        from rich.console import Console  # noqa: PLC0415 - of the extra `cli`

        from graceline.timelines.waterfall import Waterfall  # noqa: PLC0415
    except ImportError:
        return _listed(timeline)
    for told in (result, None):  # a broken result may be one that cannot be drawn
        text = StringIO()
        console = Console(file=text, width=_WIDTH, color_system=None, legacy_windows=False)
        with suppress(Exception):
            console.print(Waterfall(timeline, told))
            return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
    return _listed(timeline)


def _listed(timeline: Timeline) -> str:
    lines = []
    for row in timeline.rows():
        times = [row.started, row.worked_until, row.ended]
        shown = ["-" if at is None else format_duration(at) for at in times]
        name = f"  {row.name}" if row.level == "node" else row.name
        lines.append(
            f"{name}: {row.status or 'running'}, from {shown[0]}, worked until {shown[1]}, "
            f"ended at {shown[2]}"
        )
        lines += [
            f"    {'hedge' if one.hedge else 'attempt'} {one.number}: {one.status}, "
            f"from {format_duration(one.started)}, ended at {format_duration(one.ended)}"
            for one in row.attempts
        ]
    return "\n".join(lines)


class Promise:
    """One invariant, held against one run.

    Raises:
        DefinitionError: if the timeline is of another run, or kept no steps.
    """

    def __init__(
        self, number: str, words: str, result: PipelineResult | None, timeline: RecordedTimeline
    ) -> None:
        if not isinstance(timeline, RecordedTimeline):
            raise DefinitionError(
                f"{number}: {timeline!r} kept no steps; record the run by simulate() or record()"
            )
        if result is not None and timeline.run_id != result.run_id:
            raise DefinitionError(
                f"{number}: the timeline is of run {timeline.run_id!r}, and the result of "
                f"{result.run_id!r}; take both of the same run"
            )
        self.number = number
        self.words = words
        self.result = result
        self.timeline = timeline

    def broken(
        self, what: str, right: str, *, node: str | None = None, at: float | None = None
    ) -> NoReturn:
        """Raise the error: `what` is wrong, and what would be `right`."""
        raise InvariantError(
            self.number, self.words, what, right, node=node or None, at=at,
            timeline=self.timeline, result=self.result,
        )  # fmt: skip


def outcomes_of(result: PipelineResult) -> Iterator[tuple[Key, Outcome]]:
    """The outcome of every stage, each followed by those of its nodes."""
    for stage in result.stages.values():
        yield (stage.name, ""), stage
        for node in stage.nodes.values():
            yield (stage.name, node.name), node


def label_of(key: Key) -> str:
    """A part, as messages call it."""
    stage, node = key
    if node:
        return f"node {node!r} of stage {stage!r}"
    return f"stage {stage!r}" if stage else "the run"
