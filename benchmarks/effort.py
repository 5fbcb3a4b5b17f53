"""How long to measure: `--quick` for a look, `--long` for the largest sizes."""

from __future__ import annotations

import attrs

__all__ = ["Effort"]


@attrs.frozen
class Effort:
    """What the command line asked for."""

    quick: bool = False
    long: bool = False

    def rounds(self, usual: int) -> int:
        """So many rounds, or about a sixth of them for a quick look; never fewer than 2."""
        return max(2, usual // 6) if self.quick else usual

    def sizes(self, *sizes: int, largest: int | None = None) -> list[int]:
        """Sizes to compare: without the last one if quick, with `largest` if long."""
        if self.quick:
            return [*sizes[:-1]]
        return [*sizes, largest] if self.long and largest is not None else [*sizes]
