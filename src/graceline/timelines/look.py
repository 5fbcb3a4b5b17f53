"""The look of the drawings for pages: colours for light and dark, and a mark for each status."""

from __future__ import annotations

__all__ = ["DARK", "LIGHT", "MARKS", "STATUSES", "colours", "tones"]

LIGHT = {
    "page": "#f6f7f9", "card": "#ffffff", "ink": "#1b1f27", "soft": "#5a6372", "line": "#dfe3e9",
    "grid": "#edf0f4", "code": "#f3f5f8",
    "ok": "#17703f", "late": "#8a5c00", "timed_out": "#b04600", "failed": "#c0203a",
    "cancelled": "#8250a8", "skipped": "#5f6876", "rejected": "#c0203a", "running": "#185fbd",
    "unwinding": "#8a5c00", "not_started": "#5f6876", "interrupted": "#b04600",
}  # fmt: skip
"""Colours on a light ground, by what they are for; a status has its own, and a mark as well."""

DARK = {
    "page": "#12151b", "card": "#1a1f27", "ink": "#e6e9ef", "soft": "#9aa4b4", "line": "#2d3541",
    "grid": "#232a34", "code": "#12161c",
    "ok": "#4cc38a", "late": "#e0b040", "timed_out": "#ff9d5c", "failed": "#ff7b8a",
    "cancelled": "#c79bea", "skipped": "#9aa4b2", "rejected": "#ff7b8a", "running": "#6cb0ff",
    "unwinding": "#e0b040", "not_started": "#9aa4b2", "interrupted": "#ff9d5c",
}  # fmt: skip
"""The same on a dark ground."""

MARKS = {
    "ok": "✓", "late": "✓", "timed_out": "◷", "failed": "✗", "cancelled": "⊘", "skipped": "»",
    "rejected": "⊘", "running": "…", "unwinding": "…", "not_started": "·", "interrupted": "!",
}  # fmt: skip
"""A sign for each status, so that colour is not needed."""

STATUSES = tuple(MARKS)


def colours(palette: dict[str, str]) -> str:
    """A palette as custom properties of CSS."""
    return " ".join(f"--{name}: {colour};" for name, colour in palette.items())


def tones(prefix: str = "") -> str:
    """A class for each status, which gives what is below it the colour of the status."""
    return "\n".join(f"{prefix}.is-{status} {{ --tone: var(--{status}); }}" for status in STATUSES)
