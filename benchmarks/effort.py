"""How long to measure: all of it, or `--quick` for a look."""

from __future__ import annotations

import attrs

__all__ = ["Effort"]


@attrs.frozen
class Effort:
    """What the command line asked for."""

    quick: bool = False

    def rounds(self, usual: int) -> int:
        """So many rounds, or about a sixth of them for a quick look; never fewer than 2."""
        return max(2, usual // 6) if self.quick else usual

    def sizes(self, *sizes: int) -> list[int]:
        """Sizes to compare: without the last one if quick."""
        return [*sizes[:-1]] if self.quick else [*sizes]

    @property
    def options(self) -> list[str]:
        """The same on a command line."""
        return ["--quick"] if self.quick else []

    @property
    def limit(self) -> str:
        """What a group may take."""
        return "15m" if self.quick else "1h"
