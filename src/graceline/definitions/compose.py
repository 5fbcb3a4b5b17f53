"""Sugar for nodes that belong together: `sequence`, `parallel`, `each`, `choose`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from graceline.definitions.checks import brief, check_options, check_plain, optional_duration
from graceline.definitions.choice import Choice
from graceline.definitions.nodes import Each, Node, NodeOptions, as_node
from graceline.definitions.pipeline import Stage
from graceline.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Unpack

    from graceline.definitions.command import Command
    from graceline.durations import Duration

__all__ = ["choose", "each", "parallel", "sequence"]

_Group: TypeAlias = tuple[Any, ...]


def sequence(*parts: Any) -> _Group:
    """Run parts one after the other: each gets the value of the one before.

    Args:
        parts: nodes, plain functions, stages, or groups made by `sequence` and `parallel`; after a
            parallel group comes a dict of its values by name.

    Returns:
        The parts with `after` filled in, for a `Stage` or a `Pipeline`.

    Raises:
        DefinitionError: for a part that already says what it runs after, or is no part.
    """
    done: list[Any] = []
    before: tuple[str, ...] = ()
    for part in parts:
        group = _group(part, "sequence()")
        inside = {member.name for member in group}
        placed = [_place(member, before, inside, "sequence()") for member in group]
        needed = {name for member in placed for name in member.after or ()}
        before = tuple(m.name for m in placed if m.name not in needed) or before
        done += placed
    return tuple(done)


def parallel(*parts: Any) -> _Group:
    """Run parts at the same time, all with the same input.

    Args and errors are those of `sequence`.
    """
    done: list[Any] = []
    for part in parts:
        group = _group(part, "parallel()")
        inside = {member.name for member in group}
        done += [_place(member, (), inside, "parallel()") for member in group]
    return tuple(done)


def _group(part: Any, where: str) -> _Group:
    if isinstance(part, list | tuple):
        return tuple(member for entry in part for member in _group(entry, where))
    return (part if isinstance(part, Stage) else as_node(part, where),)


def _place(part: Any, before: tuple[str, ...], inside: set[str], where: str) -> Any:
    """Give a part that has no predecessor inside its own group the ones of the whole group."""
    if part.after:
        foreign = [name for name in part.after if name not in inside]
        if foreign:
            raise DefinitionError(
                f"{where}: {part.name!r} says after={foreign!r} itself; use one of the two"
            )
        return part
    return attrs.evolve(part, after=before)


def each(
    node: Node | Callable[[Any], Any],
    *,
    max_parallel: int = 8,
    item_timeout: Duration | None = None,
    items: Callable[[Any], Iterable[Any]] | None = None,
    **options: Unpack[NodeOptions],
) -> Node:
    """Run a node over a list: the input is an iterable, the value the list of results in its order.

    The node's own `timeout` bounds the whole loop. Values of finished items are the node's partial
    value. The first item that fails ends the loop and cancels the others.

    Args:
        node: the node or function for one item.
        max_parallel: items that run at once, at least 1.
        item_timeout: limit of one item in seconds.
        items: a plain function of the input that gives the list, where the input is none.
        options: any option of `Node`, such as `name` or `timeout` of the whole loop.

    Raises:
        DefinitionError: for a bad limit or option, and for a node that is a loop already.
    """
    inner = as_node(node, "each()")
    where = f"each({inner.name!r})"
    if inner.each is not None:
        raise DefinitionError(f"{where}: it runs over a list already")
    if isinstance(max_parallel, bool) or not isinstance(max_parallel, int) or max_parallel < 1:
        raise DefinitionError(f"{where}: max_parallel= must be at least 1, not {max_parallel!r}")
    if items is not None:
        check_plain(items, f"{where}, items=")
    seconds = optional_duration(item_timeout, f"{where}, item_timeout=")
    loop = Each(max_parallel, seconds, items)
    own = ("max_parallel", "item_timeout", "items")
    check_options(options, [*own, *NodeOptions.__annotations__], where)
    return attrs.evolve(inner, each=loop, **options)


def choose(
    *alternatives: Node | Command | Callable[[Any], Any], **options: Unpack[NodeOptions]
) -> Node:
    """Do the same work in one of several ways: the healthiest is tried first, then the next.

    The node's own `timeout` bounds all of it. What raises, exceeds its own limit or is refused
    gives way to the next alternative; a cancel and a limit above end the node.

    Args:
        alternatives: two or more nodes, functions or commands; those of equal health are tried in
            this order. Each may have its own name, limit and cleanup time, `stop_before`, policies
            and `runs_on`. One with `idempotent=False` gives way only if it was refused.
        options: any option of `Node` but `runs_on`. By default the name is that of the
            alternatives with `_or_` in between. Policies hold for each alternative that says
            nothing itself.

    Raises:
        DefinitionError: for fewer than two alternatives, a name used twice, a choice or `each()`
            among them, and an option that does not belong where it stands.
    """
    where = "choose()"
    if "runs_on" in options:
        raise DefinitionError(f"{where}: runs_on= is for the alternatives; state it on each")
    check_options(options, NodeOptions.__annotations__, where)
    for part in alternatives:
        if isinstance(part, list | tuple):
            raise DefinitionError(
                f"{where}: alternatives are given one by one: write choose(first, second), not "
                f"choose({brief(part)})"
            )
    return Node(Choice(tuple(as_node(part, where) for part in alternatives)), **options)
