"""What all charts are drawn with: words, lines and bars in SVG, for light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from graceline.timelines.printing import style, wide

__all__ = ["HEAD", "WIDTH", "arrow", "bar", "dot", "line", "picture", "text", "whisker", "wrapped"]

WIDTH = 960
HEAD = 58
"""The height of title and subtitle."""

_EDGE = 20


def picture(title: str, subtitle: str, height: float, parts: Iterable[str]) -> str:
    """An SVG, `WIDTH` wide."""
    height = round(height)
    return "\n".join([
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        ),
        f"<title>{escape(title)}</title>",
        f"<style>{style()}</style>",
        '<rect class="f-card" width="100%" height="100%"/>',
        text(_EDGE, 27, title, "f-ink h"),
        text(_EDGE, 47, subtitle, "f-soft"),
        *parts,
        "</svg>\n",
    ])  # fmt: skip


def text(x: float, y: float, said: str, kind: str = "f-ink", *, at: str = "start") -> str:
    """Words; `at` says which end of them `x` is."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{at}">{escape(said)}</text>'


def line(points: Sequence[tuple[float, float]], kind: str, width: float = 1.0) -> str:
    """A line through points."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" class="n {kind}" stroke-width="{width:g}"/>'


def bar(x: float, y: float, width: float, height: float, kind: str) -> str:
    """A bar that begins at `x`."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1.5):.1f}" height="{height:.1f}" '
        f'rx="2" class="{kind}"/>'
    )


def arrow(x: float, y: float, height: float, kind: str) -> str:
    """The head of an arrow at the end of a bar that goes on beyond the scale."""
    points = f"{x:.1f},{y - height:.1f} {x + height:.1f},{y:.1f} {x:.1f},{y + height:.1f}"
    return f'<polygon points="{points}" class="{kind}"/>'


def dot(x: float, y: float, kind: str) -> str:
    """A figure on a scale without a zero, where the length of a bar would mean nothing."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="{kind}"/>'


def whisker(low: float, high: float, y: float, capped: Sequence[float]) -> str:
    """The range between the quartiles, with caps at those of its ends that are on the scale."""
    ends = [line([(x, y - 3.5), (x, y + 3.5)], "s-ink", 1.2) for x in capped]
    return "".join([line([(low, y), (high, y)], "s-ink", 1.2), *ends])


def wrapped(said: str, room: float, size: float = 13) -> list[str]:
    """Words in as many lines as they need."""
    lines = [""]
    for word in said.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and wide(longer, size) > room * 1.1:  # `wide` is on the safe side
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
