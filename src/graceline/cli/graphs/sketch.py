"""A pipeline as it is drawn: boxes in frames, and what each of them waits for; plain data."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping

import attrs

__all__ = ["Box", "Frame", "Sketch", "layers_of"]


@attrs.frozen
class Box:
    """A node, or a step.

    Attributes:
        name: its name.
        facts: its limits and policies, each in a few words.
        after: the boxes of its own frame that it waits for.
        uses: boxes of frames before it whose values it asks for, as `frame.box` or `box`.
        soft: whether the run goes on without it.
    """

    name: str
    facts: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    soft: bool = False


@attrs.frozen
class Frame:
    """A stage.

    Attributes:
        name: its name.
        facts: as those of a box.
        after: the frames that it waits for.
        boxes: what it holds.
        soft: whether the run goes on without it.
    """

    name: str
    facts: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    soft: bool = False


@attrs.frozen
class Sketch:
    """A pipeline.

    Attributes:
        name: its name.
        facts: as those of a box.
        frames: its stages, each after those that it waits for.
    """

    name: str
    facts: tuple[str, ...] = ()
    frames: tuple[Frame, ...] = ()


def layers_of(after: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Names in layers: each is in the first one that comes after all that it waits for."""
    depth: dict[str, int] = {}
    for name in graphlib.TopologicalSorter(after).static_order():
        depth[name] = 1 + max((depth[before] for before in after[name]), default=-1)
    layers: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in after:  # in the order in which they are written down
        layers[depth[name]].append(name)
    return layers
