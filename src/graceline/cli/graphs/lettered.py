"""A sketch on a terminal: stages one below the other, and in them what waits for what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from graceline.cli.graphs.sketch import layers_of
from graceline.timelines.lettering import shown

if TYPE_CHECKING:
    from rich.console import Console

    from graceline.cli.graphs.sketch import Frame, Sketch

__all__ = ["show_sketch"]

_DEEPEST = 8
"""Layers that are set in; deeper ones stand below one another."""


def show_sketch(out: Console, sketch: Sketch) -> None:
    """Show a sketch; what stands further to the right begins later."""

    def legible(*parts: str) -> str:
        return shown(", ".join(parts), out.encoding)

    unicode = out.encoding.lower().startswith("utf")
    rail, tee, end, dot, ring, back = "│├╰●○←" if unicode else "|++*o<"
    head = Text.assemble((legible(sketch.name), "bold"), (f"  {legible(*sketch.facts)}", "dim"))
    out.print(head, soft_wrap=True)
    table = Table.grid(padding=(0, 3, 0, 0))
    longest = max(
        2 * min(depth, _DEEPEST) + cell_len(name)
        for frame in sketch.frames
        for name, depth in _depths(frame)
    )
    table.add_column(overflow="fold", no_wrap=longest + 6 <= out.width // 2)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for number, frame in enumerate(sketch.frames):
        last = number == len(sketch.frames) - 1
        previous = (sketch.frames[number - 1].name,) if number else ()
        after = "" if frame.after == previous else _after(back, frame.after)
        table.add_row(Text(rail, "dim"))
        table.add_row(
            Text.assemble((end if last else tee, "dim"), (f" {legible(frame.name)}", "bold")),
            Text(legible(after), "dim"),
            Text(legible(*frame.facts)),
        )
        for name, depth in _depths(frame):
            box = next(one for one in frame.boxes if one.name == name)
            indent = "  " * min(depth, _DEEPEST)
            table.add_row(
                Text.assemble(
                    (" " if last else rail, "dim"),
                    (f"   {indent}"),
                    (ring if box.soft else dot, "yellow" if box.soft else "green"),
                    f" {legible(box.name)}",
                ),
                Text(legible(_after(back, (*box.after, *box.uses))), "dim"),
                Text(legible(*box.facts)),
            )
    out.print(table)
    if any(box.soft for frame in sketch.frames for box in frame.boxes):
        out.print(Text(f"\n{ring} the run goes on without it", "dim"))


def _after(back: str, names: tuple[str, ...]) -> str:
    return f"{back} {', '.join(names)}" if names else ""


def _depths(frame: Frame) -> list[tuple[str, int]]:
    """The boxes of a frame with their layers; each below what it waits for."""
    layers = layers_of({box.name: box.after for box in frame.boxes})
    return [(name, depth) for depth, layer in enumerate(layers) for name in layer]
