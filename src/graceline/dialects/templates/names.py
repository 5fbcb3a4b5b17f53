"""Which names a template refers to, found in its tree: what has to be there before it is evaluated.

A path ends where it stops being constant: `steps.a.result[0]` refers to `steps.a.result`, and
`steps[which]` to `steps`. A method that is called belongs to its value: `topic.upper()` refers to
`topic`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jinja2 import nodes

from graceline.dialects.templates.evaluating import NULL
from graceline.dialects.templates.parsing import FUNCTIONS

__all__ = ["constant_calls", "paths_of"]

_Path = tuple[str, ...]


def paths_of(tree: nodes.Template) -> frozenset[_Path]:
    """The paths of a template, without loop variables and what it sets itself."""
    found: set[_Path] = set()
    _statements(tree.body, set(), found)
    return frozenset(found)


def constant_calls(tree: nodes.Template | None) -> Iterator[nodes.Call]:
    """The calls of functions, such as `range(10)`, whose arguments refer to no name at all."""
    for call in () if tree is None else tree.find_all(nodes.Call):
        names = [name for name in call.find_all(nodes.Name) if name.name not in FUNCTIONS]
        if isinstance(call.node, nodes.Name) and not names:
            yield call


def _statements(body: Iterable[nodes.Node], local: set[str], found: set[_Path]) -> None:
    """Visit statements in order; what they set is in `local` from then on."""
    for node in body:
        match node:
            case nodes.For():
                _visit(node.iter, local, found)
                inner = local | _targets(node.target) | {"loop"}
                if node.test is not None:
                    _visit(node.test, inner, found)
                _statements(node.body, set(inner), found)
                _statements(node.else_, set(local), found)
            case nodes.If():
                for choice in (node, *node.elif_):
                    _visit(choice.test, local, found)
                    _statements(choice.body, local, found)
                _statements(node.else_, local, found)
            case nodes.Assign():
                _visit(node.node, local, found)
                local |= _targets(node.target)
            case nodes.AssignBlock():
                _statements(node.body, set(local), found)
                _maybe(node.filter, local, found)
                local |= _targets(node.target)
            case nodes.With():
                for value in node.values:
                    _visit(value, local, found)
                names = set().union(*map(_targets, node.targets))
                _statements(node.body, local | names, found)
            case nodes.FilterBlock():
                _statements(node.body, set(local), found)
                _visit(node.filter, local, found)
            case _:
                _visit(node, local, found)


def _maybe(node: nodes.Node | None, local: set[str], found: set[_Path]) -> None:
    if node is not None:
        _visit(node, local, found)


def _visit(node: nodes.Node, local: set[str], found: set[_Path]) -> None:
    """Visit an expression."""
    if isinstance(node, nodes.Call):
        for part in (*node.args, *node.kwargs):
            _visit(part, local, found)
        if isinstance(node.node, nodes.Getattr):
            _visit(node.node.node, local, found)
        return
    if isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem):
        path, base = _path(node, local, found)
        if isinstance(base, nodes.Name):
            if base.name not in local and base.name != NULL:
                found.add(path)
            return
        _visit(base, local, found)
        return
    for child in node.iter_child_nodes():
        _visit(child, local, found)


def _path(node: nodes.Node, local: set[str], found: set[_Path]) -> tuple[_Path, nodes.Node]:
    """The constant path that a chain of dots and brackets begins with, and what it starts from."""
    links: list[str | None] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        if isinstance(node, nodes.Getattr):
            links.append(node.attr)
        elif isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            links.append(node.arg.value)
        else:
            links.append(None)
            _visit(node.arg, local, found)
        node = node.node
    path = [node.name] if isinstance(node, nodes.Name) else []
    for link in reversed(links):
        if link is None:
            break
        path.append(link)
    return tuple(path), node


def _targets(target: nodes.Node) -> set[str]:
    return {name.name for name in [target, *target.find_all(nodes.Name)] if hasattr(name, "name")}
