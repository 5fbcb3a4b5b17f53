"""Where the command puts the waterfalls that it is asked to write into files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graceline.cli.failures import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from graceline.timelines import Drawn

__all__ = ["check_places", "write_pictures"]


def check_places(html: Path | None, svg: Path | None) -> None:
    """See before the run that the files can be there after it.

    Raises:
        UsageError: for a directory, and for a file in none.
    """
    for option, path in (("--html", html), ("--svg", svg)):
        if path is not None and path.is_dir():
            raise UsageError(f"{option} {path}: this is a directory; name a file")
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{option} {path}: there is no directory {path.parent}")


def write_pictures(timeline: Drawn, html: Path | None, svg: Path | None) -> None:
    """Write the waterfall as a page and as a picture, each if it has a path.

    Raises:
        UsageError: if a file cannot be written.
    """
    try:
        if html is not None:
            html.write_text(timeline.to_html(), "utf-8")
        if svg is not None:
            svg.write_text(timeline.to_svg(), "utf-8")
    except OSError as error:
        raise UsageError(f"the waterfall could not be written: {error}") from error
