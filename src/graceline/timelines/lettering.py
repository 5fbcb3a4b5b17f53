"""Text on a terminal: what fits its width and its encoding, and facts under one another.

Needs rich, as the drawings do that use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

__all__ = ["cropped", "fitted", "listed", "shown"]


def listed(facts: list[tuple[str, str]], console: Console, width: int, more: str) -> Iterator[Text]:
    """Facts under one another, each kind named once; they are wrapped to a width in cells."""
    indent = 2 + max(len(word) for word, _ in facts)
    previous = ""
    for word, said in facts:
        text = Text(said)
        if word == "partial":
            text = cropped(text, max(8, width - indent), more)
        head = "" if word == previous else word
        for line in text.wrap(console, max(8, width - indent)):
            full = Text.assemble((f"{head:<{indent}}", "bold"), line.plain.rstrip())
            full.no_wrap, full.overflow = True, "crop"
            yield full
            head = ""
        previous = word


def shown(text: str, encoding: str) -> str:
    """One line of text: nothing that would move the cursor, and nothing that cannot be encoded."""
    line = "".join(char if char.isprintable() else "?" for char in text)
    return line.encode(encoding, "backslashreplace").decode(encoding)


def cropped(text: Text, cells: int, more: str) -> Text:
    """A text that fits, with a sign where something is missing."""
    if text.cell_len > cells:
        text.truncate(max(0, cells - cell_len(more)), overflow="crop")
        text.append(more)
    return text


def fitted(text: str, cells: int, more: str) -> str:
    """Text cut or padded to a number of cells; the middle is cut, since ends tell names apart."""
    length = cell_len(text)
    if length <= cells:
        return text + " " * (cells - length)
    room = max(0, cells - cell_len(more))
    head = _taken(text, room - room * 2 // 5)
    tail = _taken(text[::-1], room - cell_len(head))[::-1]
    cut = f"{head}{more}{tail}"
    return cut + " " * (cells - cell_len(cut))


def _taken(text: str, cells: int) -> str:
    """As much of the start of a text as fits."""
    taken = ""
    for char in text:
        if cell_len(taken + char) > cells:
            break
        taken += char
    return taken
