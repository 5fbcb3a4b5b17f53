"""The style sheets and the script of the drawings for pages, put together from their files."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from graceline.timelines.look import DARK, LIGHT, colours, tones

__all__ = ["fragment_css", "script", "track_css"]

_ROOT = ".graceline"


@cache
def script() -> str:
    """Folding and arrow keys; it finds its elements itself, as a notebook may run it anywhere."""
    return _file("waterfall.js")


@cache
def track_css() -> str:
    """How the bars of a page look that `graceline.timelines.track` makes."""
    return _file("track.css")


@cache
def fragment_css() -> str:
    """How the waterfall as HTML looks; it touches nothing outside of it, and nothing moves."""
    light = f"{_ROOT} {{ {colours(LIGHT)} color-scheme: light; }}"
    dark = f"{_ROOT} {{ {colours(DARK)} color-scheme: dark; }}"
    bars = "\n".join(
        f"{_ROOT} {line}" if line.startswith(".") else line for line in track_css().splitlines()
    )
    return "\n".join((
        light, f"@media (prefers-color-scheme: dark) {{ {dark} }}",
        # JupyterLab has a theme of its own.
        f'[data-jp-theme-light="true"] {light}', f'[data-jp-theme-light="false"] {dark}',
        bars, tones(f"{_ROOT} "), _file("waterfall.css"),
    ))  # fmt: skip


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")
