"""Pages that say what was measured: figures go between their marks, tables are aligned Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["DOCS", "fill", "markdown"]

DOCS = Path(__file__).parents[1] / "docs"

Block = Callable[[Sequence[str]], str]


def fill(page: str, blocks: Mapping[str, str | Block]) -> str:
    """The page with all blocks put between `<!-- name -->` and `<!-- end -->`.

    A mark with words, `<!-- name: some words -->`, hands them to its block.

    Raises:
        KeyError: for a mark that nothing is known for.
    """

    def put(mark: re.Match[str]) -> str:
        block = blocks[mark["name"]]
        text = block if isinstance(block, str) else block((mark["words"] or "").split())
        return f"{mark['mark']}\n{text}\n<!-- end -->"

    marked = r"(?P<mark><!-- (?P<name>\w+)(?:: (?P<words>[\w ]+))? -->)\n.*?<!-- end -->"
    return re.sub(marked, put, page, flags=re.DOTALL)


def markdown(
    heads: Sequence[str],
    lines: Sequence[Sequence[str]],
    right: frozenset[int] | set[int] = frozenset(),
) -> str:
    """A table; the columns of figures stand to the right."""
    cells = [[cell.replace("|", "/") for cell in line] for line in (heads, *lines)]
    widths = [max(3, *(len(line[at]) for line in cells)) for at in range(len(heads))]
    rule = [
        "-" * (width - 1) + ":" if at in right else "-" * width for at, width in enumerate(widths)
    ]
    text = []
    for line in (cells[0], rule, *cells[1:]):
        padded = [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append(f"| {' | '.join(padded)} |")
    return "\n".join(text)
