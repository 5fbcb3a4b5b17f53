"""The track: the bar of one part on a page, with its limit, and what both say in words."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from graceline.timelines.axis import brief, share
from graceline.timelines.segments import segments

if TYPE_CHECKING:
    from graceline.timelines.rows import Row
    from graceline.timelines.segments import Segment

__all__ = ["cut_above", "limit_share", "said", "track", "visible"]

_CLASSES = {
    "work": "bar", "unwinding": "bar grace", "backoff": "bar backoff", "queue": "bar queue",
    "refused": "bar refused",
}  # fmt: skip
_CELLS = 500  # a wait that is shorter than this part of the scale cannot be seen


def track(row: Row, scale: float, now: float, *, label: str, thin: bool = False) -> str:
    """The element with the bar of one part.

    Args:
        row: the part.
        scale: seconds at the right end.
        now: for a part that goes on, seconds since the submission of the run.
        label: what the bar says to whoever cannot see it.
        thin: whether it is the bar of a part whose parts have bars of their own.
    """
    inside = [_bar(row, piece, scale, now, thin=thin) for piece in visible(row, scale, now)]
    at = limit_share(row, scale)
    if at is not None:
        above = " above" if row.limit is None or cut_above(row) is not None else ""
        inside.append(f'<i class="limit{above}" style="left:{at}%"></i>')
    empty = " empty" if row.started is None else ""
    head = f'<div class="track{empty}" role="img" aria-label="{escape(label)}">'
    return f"{head}{''.join(inside)}</div>"


def visible(row: Row, scale: float, now: float) -> list[Segment]:
    """The pieces of a bar that can be seen."""
    return [
        piece
        for piece in segments(row, now, scale / _CELLS)
        if piece.end > piece.start or piece.brief or piece.kind == "refused"
    ]


def limit_share(row: Row, scale: float) -> float | None:
    """Where the tick of a limit stands, in percent; None if there is none, or none in sight."""
    if row.limit_at is None or row.limit_at > scale * (1 + 1e-9):
        return None
    return share(row.limit_at, scale)


def cut_above(row: Row) -> float | None:
    """The seconds to which limits above a part cut its own limit; None if they do not."""
    if row.limit is None or row.limit_at is None or row.started is None:
        return None
    left = row.limit_at - row.started
    return left if left < row.limit * (1 - 1e-9) else None


def said(row: Row) -> str:
    """When a part ran and where its limit stood, in words."""
    words = []
    if row.started is None:
        words.append("never started" if row.status is not None else "not started yet")
    elif row.ended is None:
        words.append(f"from {brief(row.started)} on")
    else:
        words.append(f"from {brief(row.started)} to {brief(row.ended)}")
        words.append(f"took {brief(row.ended - row.started)}")
    if row.limit_at is not None:
        words.append(f"limit at {brief(row.limit_at)}")
    if row.grace_used > 0:
        words.append(f"unwinding for {brief(row.grace_used)}")
    return ", ".join(words)


def _bar(row: Row, piece: Segment, scale: float, now: float, *, thin: bool) -> str:
    left, length = share(piece.start, scale), share(piece.end - piece.start, scale)
    classes = _CLASSES[piece.kind]
    if piece.kind == "work":
        goes_on = row.ended is None and piece.status is None and piece.end >= now
        classes += " open" * goes_on + " thin" * thin
        if piece.status is not None and piece.status is not row.status:
            classes += f" is-{piece.status}"
    width = "" if piece.kind == "refused" else f";width:{length}%"
    return f'<i class="{classes}" style="left:{left}%{width}"></i>'
