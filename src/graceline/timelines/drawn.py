"""What can be drawn: the rows of a run, and the drawings that every timeline has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType

    from graceline.results import PipelineResult
    from graceline.timelines.pairs import Pair
    from graceline.timelines.rows import Row

__all__ = ["Drawn"]


class Drawn(ABC):
    """The timeline of a run. A drawing shows names, times, statuses and blame, never a value.

    `rich.print(timeline)` draws it in a terminal, and a notebook shows it as HTML. Errors and
    partial values are in no drawing but `Waterfall(timeline, result)`.
    """

    @property
    @abstractmethod
    def pipeline(self) -> Row | None:
        """The row of the run as a whole, None before anything was heard of it."""

    @abstractmethod
    def rows(self) -> tuple[Row, ...]:
        """One row per stage and node, each stage before its nodes, in the order of definition."""

    @property
    @abstractmethod
    def queued(self) -> float:
        """Seconds from the submission to the start of the run."""

    @property
    @abstractmethod
    def degraded(self) -> tuple[str, ...]:
        """Names of the non-critical parts that did not succeed."""

    def to_html(self, *, now: float = 0.0) -> str:
        """The waterfall as a page that needs nothing else, not even a network.

        Args:
            now: for a run that goes on, seconds since its submission.
        """
        from graceline.timelines.html import page  # noqa: PLC0415 - paid for by who draws

        return page((self,), now=now)

    def to_svg(self, *, width: int = 960, now: float = 0.0) -> str:
        """The waterfall as a picture, with a text alternative for each bar.

        Args:
            width: in pixels, at least 400.
            now: for a run that goes on, seconds since its submission.

        Raises:
            DefinitionError: for a smaller width, and for what is no finite number.
        """
        from graceline.timelines.svg import picture  # noqa: PLC0415

        return picture((self,), width=width, now=now)

    def beside(
        self, other: Drawn | PipelineResult, *, names: tuple[str, str] = ("first", "second")
    ) -> Pair:
        """This run and another one, drawn side by side on a common scale.

        Args:
            other: the other run: its timeline, or its result.
            names: what to call the two.

        Raises:
            DefinitionError: if `other` is neither, or `names` are not two texts.
        """
        from graceline.timelines.pairs import Pair  # noqa: PLC0415

        return Pair(self, other, names)

    def _repr_html_(self) -> str:
        """The waterfall as a fragment of a page, for notebooks."""
        from graceline.timelines.html import fragment  # noqa: PLC0415

        return fragment((self,))

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """The waterfall for a terminal."""
        from graceline.timelines.waterfall import Waterfall  # noqa: PLC0415

        yield Waterfall(self)
