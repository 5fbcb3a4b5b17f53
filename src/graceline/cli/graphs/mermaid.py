"""A sketch as Mermaid text, for READMEs and wikis that draw it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graceline.cli.graphs.sketch import Sketch

__all__ = ["mermaid"]

_PLAIN = frozenset(" _-.,:=/")


def mermaid(sketch: Sketch) -> str:
    """The text; solid arrows wait, dotted ones use a value of an earlier stage.

    Names are labels of generated ids, and whatever might mean something to Mermaid is written as
    the number of its character: `#34;`.
    """
    return "\n".join(_lines(sketch)) + "\n"


def _lines(sketch: Sketch) -> Iterator[str]:
    ids = {
        (frame.name, box.name): f"n{number}_{place}"
        for number, frame in enumerate(sketch.frames)
        for place, box in enumerate(frame.boxes)
    }
    stages = {frame.name: f"s{number}" for number, frame in enumerate(sketch.frames)}
    yield f"%% {_escaped(sketch.name)}"
    yield "flowchart LR"
    soft: list[str] = []
    for frame in sketch.frames:
        yield f'  subgraph {stages[frame.name]}["{_label(frame.name, frame.facts)}"]'
        for box in frame.boxes:
            yield f'    {ids[frame.name, box.name]}["{_label(box.name, box.facts)}"]'
            soft += [ids[frame.name, box.name]] * box.soft
        for box in frame.boxes:
            for name in box.after:
                yield f"    {ids[frame.name, name]} --> {ids[frame.name, box.name]}"
        yield "  end"
        soft += [stages[frame.name]] * frame.soft
    for frame in sketch.frames:
        for name in frame.after:
            yield f"  {stages[name]} --> {stages[frame.name]}"
        for box in frame.boxes:
            for used in box.uses:
                origin = next(key for (_, name), key in ids.items() if name == used)
                yield f"  {origin} -.-> {ids[frame.name, box.name]}"
    if soft:
        yield "  classDef soft stroke-dasharray: 5 4"
        yield f"  class {','.join(soft)} soft"


def _label(name: str, facts: tuple[str, ...]) -> str:
    return "<br/>".join(map(_escaped, (name, *facts)))


def _escaped(text: str) -> str:
    return "".join(char if char in _PLAIN or char.isalnum() else f"#{ord(char)};" for char in text)
