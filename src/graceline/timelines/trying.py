"""What the attempts of a node tell: whether it is at one, and why there was no further one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs

from graceline.deadlines import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graceline.results import NodeOutcome
    from graceline.timelines.rows import AttemptRow, Row

__all__ = [
    "earlier_errors",
    "going_since",
    "has_items",
    "is_refused",
    "is_retried",
    "last_of",
    "message_of",
    "note_of",
    "numbers_of",
    "why_no_more",
]

_NOTES = ("retry stopped", "retry budget empty")
_OWN_TIMEOUT = "AttemptTimeoutError"


def has_items(row: Row) -> bool:
    """Whether the attempts are those of a list's items, which are no sequence."""
    numbers = [one.number for one in row.attempts if not one.hedge]
    return len(set(numbers)) < len(numbers)


def is_retried(row: Row) -> bool:
    """Whether there is more to tell of the attempts of a node than of the node."""
    first = row.attempts[:1]
    more = len(row.attempts) > 1 or any(one.hedge or one.delay is not None for one in first)
    return more and not has_items(row)


def is_refused(row: Row) -> bool:
    """Whether a protection refused the attempt after those that were made."""
    last = last_of(row)
    if last is None or last.delay is None or row.blame is None:
        return False
    if row.status is Status.TIMED_OUT:  # is it the last attempt's own timeout?
        blame = last.blame
        return blame is not None and row.blame == attrs.evolve(blame, message=row.blame.message)
    return row.status is Status.FAILED


def going_since(row: Row) -> float | None:
    """When the attempt began, or is to begin, that a node is at; None if it is at none.

    It may have begun later: nothing tells when a node gets its slot.
    """
    last = last_of(row)
    if row.status is not None:
        return None
    if last is None:
        return row.started
    return None if last.delay is None else last.ended + last.delay


def last_of(row: Row) -> AttemptRow | None:
    """The attempt after the others, hedges aside; None if none has ended."""
    firsts = [one for one in row.attempts if not one.hedge]
    return firsts[-1] if firsts else None


def numbers_of(attempts: Iterable[AttemptRow]) -> str:
    """How many ended in which way: `2 failed, 1 ok`."""
    times = Counter(str(one.status) for one in attempts)
    return ", ".join(f"{count} {word}" for word, count in times.items())


def why_no_more(row: Row, outcome: NodeOutcome | None) -> str | None:
    """Why a node was not tried again; None if it is ok, its blame says it, or nobody asked for it.

    Args:
        row: the row of a node that has ended.
        outcome: its outcome; what it raised has a note that says more than the events do.
    """
    if row.blame is None or any(said in row.blame.message for said in _NOTES):
        return None
    note = None if outcome is None else note_of(outcome.error)
    if note is not None:
        return note
    last = last_of(row)
    if last is None or has_items(row):
        return None
    if is_refused(row):
        return f"{_NOTES[0]}: refused"
    if last.stop == "budget":
        return _NOTES[1]
    if last.stop == "deadline":
        return f"{_NOTES[0]}: too little time left"
    used_up = last.stop == "attempts"
    if last.stop is None or (used_up and last.number == 1):  # nobody asked for another one
        return None
    why = f"all {last.number} attempts are used up" if used_up else last.stop.replace("_", " ")
    return f"{_NOTES[0]}: {why}"


def note_of(error: BaseException | None) -> str | None:
    """Why there was no further attempt, as the note of what the last one raised says it."""
    notes = getattr(error, "__notes__", [])
    return next((str(note) for note in notes if note.startswith(_NOTES)), None)


def earlier_errors(
    row: Row, outcome: NodeOutcome
) -> tuple[list[BaseException], list[BaseException]]:
    """The errors beside that of an outcome: of what was tried before, and of cleanup and handlers.

    What was tried are other attempts, and the other alternatives of a choice. Timeouts of a node's
    attempts and the refusal that is its blame are in neither: the rest says them.
    """
    raised = Counter([*(one.error_type for one in row.attempts), *row.passed_over])
    if outcome.error is not None:
        raised[_name(outcome.error)] -= 1
    earlier: list[BaseException] = []
    others: list[BaseException] = []
    for error in outcome.secondary:
        name = _name(error)
        if _is_blame(row, error):
            continue
        if raised[name] > 0:
            raised[name] -= 1
            earlier.append(error)
        elif not (row.attempts and name == _OWN_TIMEOUT):
            others.append(error)
    return earlier, others


def _is_blame(row: Row, error: BaseException) -> bool:
    """Whether an error is the refusal that the blame of its node tells of."""
    if row.status is not Status.REJECTED or row.blame is None:
        return False
    return _name(error) == "CircuitOpenError" and message_of(error) in row.blame.message


def message_of(error: BaseException) -> str:
    """What an error says, also one of a result that was read from a document."""
    return str(getattr(error, "message", None) or error)


def _name(error: BaseException) -> str:
    return str(getattr(error, "type_name", type(error).__name__))
