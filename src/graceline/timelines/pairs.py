"""Pairs: two runs side by side, on a common scale."""

from __future__ import annotations

from reprlib import repr as brief
from typing import TYPE_CHECKING, Any

from graceline.errors import DefinitionError
from graceline.timelines.drawn import Drawn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType

    from graceline.results import PipelineResult

__all__ = ["Pair"]

_BETWEEN = 4  # columns
_SIDE_BY_SIDE = 120  # columns from which there is room for two waterfalls in a row


class Pair:
    """Two runs on a common scale, as `timeline.beside(other)` makes them.

    `rich.print(pair)` draws them in a terminal, one below the other where it has fewer than 120
    columns; a notebook shows them as HTML.

    Args:
        first: the timeline of a run.
        second: another run: its timeline, or its result.
        names: what to call the two.

    Raises:
        DefinitionError: if `second` is neither, or `names` are not two texts.
    """

    def __init__(
        self,
        first: Drawn,
        second: Drawn | PipelineResult,
        names: tuple[str, str] = ("first", "second"),
    ) -> None:
        other = getattr(second, "timeline", second)
        if not isinstance(other, Drawn):
            raise DefinitionError(f"beside() needs another timeline or result, not {brief(second)}")
        self._both = (first, other)
        given: Any = names  # whatever was given
        pair = tuple(given) if isinstance(given, (tuple, list)) else ()
        if len(pair) != len(self._both) or not all(isinstance(name, str) for name in pair):
            raise DefinitionError(
                f'names= must be two texts, such as ("before", "after"), not {brief(given)}'
            )
        self._names: tuple[str, ...] = pair

    def to_html(self, *, now: float = 0.0) -> str:
        """Both waterfalls as a page that needs nothing else; `now` is that of `Drawn.to_html`."""
        from graceline.timelines.html import page  # noqa: PLC0415 - paid for by who draws

        return page(self._both, self._names, now=now)

    def to_svg(self, *, width: int = 1400, now: float = 0.0) -> str:
        """Both waterfalls as a picture, `width` pixels wide; the rest is as in `Drawn.to_svg`.

        Raises:
            DefinitionError: for a width below 800, and for what is no finite number.
        """
        from graceline.timelines.svg import picture  # noqa: PLC0415

        return picture(self._both, self._names, width=width, now=now)

    def _repr_html_(self) -> str:
        """Both waterfalls as a fragment of a page, for notebooks."""
        from graceline.timelines.html import fragment  # noqa: PLC0415

        return fragment(self._both, self._names)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Both waterfalls for a terminal."""
        from rich.console import Group  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        from graceline.timelines.waterfall import Waterfall  # noqa: PLC0415

        both = zip(self._names, self._both, reversed(self._both), strict=True)
        drawn = [
            Group(Text(name, style="bold underline"), Waterfall(timeline, beside=other))
            for name, timeline, other in both
        ]
        if options.max_width < _SIDE_BY_SIDE:
            yield Group(drawn[0], Text(), drawn[1])
            return
        each = (options.max_width - _BETWEEN) // 2
        table = Table.grid()
        for width in (each, _BETWEEN, each):
            table.add_column(width=width)
        table.add_row(drawn[0], "", drawn[1])
        yield table
