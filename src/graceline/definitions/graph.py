"""The one graph rule, used twice: a stage holds nodes and a pipeline holds stages in the same way.

- `after` names what must have finished first.
- Nothing before a part: its input is that of the enclosing level. One part: that part's value.
  Several: a dict by name.
- One sink: its value is the output. Several: a dict by name.

A graph is cut into *segments*: chains of parts in which each has one predecessor that has no other
successor. A segment runs in one task; two segments can be alive at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graceline.definitions.checks import check_names, nearest
from graceline.errors import DefinitionError
from graceline.values import frozen

__all__ = ["Graph", "build_graph"]


@frozen
class Graph:
    """A checked graph of named parts.

    Attributes:
        order: the names in an order in which every part comes after what it needs.
        before: for each name, the names it depends on.
        next: for each name, the names that depend on it.
        sinks: names that nothing depends on.
        segments: chains that run in one task each, in `order` of their heads.
    """

    order: tuple[str, ...]
    before: Mapping[str, tuple[str, ...]]
    next: Mapping[str, tuple[str, ...]]
    sinks: tuple[str, ...]
    segments: tuple[tuple[str, ...], ...]


def build_graph(before: Mapping[str, tuple[str, ...]], names: Sequence[str], where: str) -> Graph:
    """Check names and edges, and find the order and the segments.

    Args:
        before: what each part depends on.
        names: the names of the parts, in the order of their definition.
        where: what holds the parts, for error messages.

    Raises:
        DefinitionError: for no parts, a name used twice, an unknown name, a cycle.
    """
    if not names:
        raise DefinitionError(f"{where}: it has no parts; give at least one")
    check_names(names, where)
    known = set(names)
    for name in names:
        for needed in before[name]:
            if needed not in known:
                raise DefinitionError(
                    f"{where}: {name!r} is to run after {needed!r}, which is not in it; "
                    f"{nearest(needed, (other for other in names if other != name))}"
                )
    after: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        for needed in before[name]:
            after[needed].append(name)
    order = _order(before, names, after, where)
    return Graph(
        order=order,
        before=dict(before),
        next={name: tuple(others) for name, others in after.items()},
        sinks=tuple(name for name in names if not after[name]),
        segments=_segments(order, before, after),
    )


def _order(
    before: Mapping[str, tuple[str, ...]],
    names: Sequence[str],
    after: Mapping[str, Sequence[str]],
    where: str,
) -> tuple[str, ...]:
    missing = {name: len(before[name]) for name in names}
    order = [name for name in names if not missing[name]]
    for name in order:  # grows while it is read: Kahn's topological sort
        for other in after[name]:
            missing[other] -= 1
            if not missing[other]:
                order.append(other)
    if len(order) < len(names):
        cycle = " -> ".join(map(repr, _cycle(before, missing)))
        raise DefinitionError(f"{where}: {cycle} is a cycle; remove one of these after=")
    return tuple(order)


def _cycle(before: Mapping[str, tuple[str, ...]], missing: Mapping[str, int]) -> list[str]:
    """One cycle among the parts that could not be ordered, in running order."""
    name = next(name for name, count in missing.items() if count)
    path: list[str] = []
    while name not in path:
        path.append(name)
        name = next(needed for needed in before[name] if missing[needed])
    return [name, *reversed(path[path.index(name) :])]


def _segments(
    order: Sequence[str],
    before: Mapping[str, tuple[str, ...]],
    after: Mapping[str, Sequence[str]],
) -> tuple[tuple[str, ...], ...]:
    segments: list[list[str]] = []
    tail_of: dict[str, list[str]] = {}
    for name in order:
        needed = before[name]
        if len(needed) == 1 and len(after[needed[0]]) == 1:
            segment = tail_of[needed[0]]
            segment.append(name)
        else:
            segment = [name]
            segments.append(segment)
        tail_of[name] = segment
    return tuple(map(tuple, segments))
