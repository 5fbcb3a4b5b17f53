"""The closing lines of a waterfall: whom to blame, what was raised and where, what is left.

Values on one line need rich; without a result there are none.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from graceline.timelines.places import place_of
from graceline.timelines.rows import Row
from graceline.timelines.trying import (
    earlier_errors,
    has_items,
    message_of,
    note_of,
    numbers_of,
    why_no_more,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from graceline.deadlines import Blame
    from graceline.results import NodeOutcome, PipelineResult
    from graceline.timelines.drawn import Drawn

__all__ = ["closing_facts", "in_short"]

_MANY = 10


def closing_facts(
    run: Row, timeline: Drawn, result: PipelineResult | None
) -> Iterator[tuple[str, str]]:
    """The facts that a picture cannot show, each as a word and what it says.

    Args:
        run: the row of the run.
        timeline: its rows.
        result: adds errors and partial values, None if there is none.
    """
    rows = timeline.rows()
    places = {name: row for row in rows for name in (row.name, f"{row.stage}.{row.name}")}
    if run.blame is not None:
        yield "to blame", _blame(run.blame)
    if result is not None and result.error is not None:
        yield "error", _error(result.error)
    for name in timeline.degraded:
        yield "degraded", f"{name}{_why(places.get(name), result)}"
    yield from _attempts(rows, result)
    abandoned = [row for row in rows if row.abandoned]
    labelled = list(zip(abandoned, _labels(abandoned), strict=True))
    for hangs, word in ((True, "went on"), (False, "ended since")):
        threads = [name for row, name in labelled if (row.hanging > 0) is hangs]
        if threads:
            more = f" and {len(threads) - _MANY} more" if len(threads) > _MANY else ""
            said = f"{', '.join(threads[:_MANY])}{more}"
            yield "threads", f"abandoned at the cancel, and {word}: {said}"
    if result is None:
        return
    order = list(places)
    partial = sorted(
        result.partial.items(), key=lambda item: order.index(item[0]) if item[0] in places else -1
    )
    for name, value in partial[:_MANY]:
        yield "partial", f"{name} = {_brief(value)}"
    if len(result.partial) > _MANY:
        yield "partial", f"and of {len(result.partial) - _MANY} more"
    for where, error in _secondary(rows, result):
        yield "cleanup", f"{where}: {_error(error)}"


def in_short(facts: Iterable[tuple[str, str]], most: int) -> Iterator[tuple[str, str]]:
    """The facts, kind by kind: of more than `most` of one, how many others there are."""
    kinds: dict[str, list[str]] = {}
    for word, said in facts:
        kinds.setdefault(word, []).append(said)
    for word, found in kinds.items():
        # To tell of a single one takes no less room than to show it.
        shown = (
            found if len(found) <= most + 1 else [*found[:most], f"and {len(found) - most} more"]
        )
        for said in shown:
            yield word, said


def _why(row: Row | None, result: PipelineResult | None) -> str:
    """Why a part did not succeed, with the words of what it raised."""
    if row is None or row.blame is None:
        return ""
    said = f": {row.status}, {_blame(row.blame)}"
    if result is None or row.stage not in result.stages:
        return said
    stage = result.stages[row.stage]
    error = stage.error if row.level == "stage" else stage.nodes[row.name].error
    if error is None:
        return said
    kind, text = _error(error).partition(":")[::2]
    return f"{said}:{text}" if text and said.endswith(kind) else f"{said}; {_error(error)}"


def _labels(rows: list[Row]) -> list[str]:
    """The names of nodes, with their stage where a name occurs twice."""
    times = Counter(row.name for row in rows)
    return [row.name if times[row.name] == 1 else f"{row.stage}.{row.name}" for row in rows]


def _attempts(rows: tuple[Row, ...], result: PipelineResult | None) -> Iterator[tuple[str, str]]:
    """Why nodes were not tried again, and what earlier attempts and alternatives raised."""
    tried = [row for row in rows if row.attempts or row.passed_over]
    labelled = list(zip(tried, _labels(tried), strict=True))
    for row, label in labelled:
        outcome = _outcome(row, result)
        why = why_no_more(row, outcome)
        if has_items(row) and (why is not None or any(one.number > 1 for one in row.attempts)):
            said = f"{len(row.attempts)}, {numbers_of(row.attempts)}"
            yield "attempts", f"{label}: {said}{'' if why is None else f'; {why}'}"
        elif why is not None:
            known = 0 if outcome is None else outcome.attempts  # those of alternatives included
            number = max((one.number for one in row.attempts), default=known)
            yield "attempts", f"{label}: {number}, {why}"
        unhedged = Counter(one.unhedged for one in row.attempts if one.unhedged is not None)
        for reason, times in unhedged.items():
            yield "hedges", f"{label}: {times} not sent: {reason}"
    for row, label in labelled:
        outcome = _outcome(row, result)
        errors = [] if outcome is None else earlier_errors(row, outcome)[0]
        texts = Counter(
            _alternative(error) if row.passed_over else _error(error) for error in errors
        )
        for text, times in list(texts.items())[:_MANY]:
            yield "earlier", f"{label}: {f'{times} x ' if times > 1 else ''}{text}"
        if len(texts) > _MANY:
            yield "earlier", f"{label}: and {len(texts) - _MANY} more"


def _outcome(row: Row, result: PipelineResult | None) -> NodeOutcome | None:
    if result is None or row.stage not in result.stages:
        return None
    return result.stages[row.stage].nodes[row.name]


def _secondary(
    rows: tuple[Row, ...], result: PipelineResult
) -> Iterator[tuple[str, BaseException]]:
    nodes = {(row.stage, row.name): row for row in rows if row.level == "node"}
    for stage in result.stages.values():
        for node in stage.nodes.values():
            row = nodes.get((stage.name, node.name), Row(level="node", stage="", name=""))
            for error in earlier_errors(row, node)[1]:
                yield node.name, error
        for error in stage.secondary:
            yield stage.name, error
    for error in result.secondary:
        yield result.pipeline, error


def _blame(blame: Blame) -> str:
    who = f"{blame.level} {blame.name!r}"
    return blame.message if blame.message.startswith(who) else f"{who}: {blame.message}"


def _error(error: BaseException) -> str:
    name = getattr(error, "type_name", type(error).__name__)
    message = message_of(error)
    place = place_of(error)
    said = f"{name}: {message}" if message else str(name)
    return f"{said} ({place})" if place else said


def _alternative(error: BaseException) -> str:
    """What an alternative raised, and why it was not tried again."""
    note = note_of(error)
    return _error(error) if note is None else f"{_error(error)}; {note}"


def _brief(value: Any) -> str:
    """A value on one line."""
    from rich.pretty import pretty_repr  # noqa: PLC0415 - pages do without rich

    return pretty_repr(value, max_width=100_000, max_length=6, max_string=80, max_depth=3)
