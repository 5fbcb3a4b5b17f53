"""Evaluation: a walk through the tree of a template, of which every step is counted."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar

from jinja2 import nodes

from graceline.definitions.checks import brief
from graceline.dialects.templates.access import attribute, call_method, item, missing
from graceline.dialects.templates.errors import MissingError, TemplateError
from graceline.dialects.templates.filters import FILTERS, MISSING
from graceline.dialects.templates.lists import each_of
from graceline.dialects.templates.meter import MAX_ITEMS, MISSED, Meter
from graceline.dialects.templates.operators import (
    binary,
    check_hashable,
    compare,
    negative,
    text_of,
)
from graceline.dialects.templates.parsing import lone
from graceline.dialects.templates.tests import TESTS

__all__ = ["NULL", "Evaluation"]

NULL = "null"
"""A constant of YAML that Jinja2 takes for a name."""
_SIGNS = {
    nodes.Add: "+", nodes.Sub: "-", nodes.Mul: "*", nodes.Div: "/", nodes.FloorDiv: "//",
    nodes.Mod: "%", nodes.Pow: "**",
}  # fmt: skip
_PATHS = (nodes.Name, nodes.Getattr, nodes.Getitem)
_OF_EMPTY = ("first", "last", "min", "max")
"""Filters whose value is missing for an empty collection."""


def _loop_at(at: int, length: int) -> Mapping[str, Any]:
    """What `loop` is inside a `{% for %}`."""
    return {
        "index": at + 1,
        "index0": at,
        "revindex": length - at,
        "revindex0": length - at - 1,
        "first": at == 0,
        "last": at == length - 1,
        "length": length,
    }


class Evaluation:
    """One evaluation of a tree.

    Args:
        scope: what the names at the root stand for.
        meter: counts the steps, and what is made.
    """

    def __init__(self, scope: Mapping[str, Any], meter: Meter) -> None:
        self.line: int = 1
        self._scope = scope
        self._meter = meter
        self._locals: dict[str, Any] = {}

    def run(self, tree: nodes.Template) -> Any:
        """The value of a template: native if it is one expression, else its text."""
        only = lone(tree)
        if only is None:
            return self._text(tree.body)
        for statement in tree.body:
            if not isinstance(statement, nodes.Output):
                self._execute(statement, [])
        return self._value(only)

    def value(self, node: nodes.Expr) -> Any:
        """The value of one expression of a template."""
        return self._value(node)

    # -- statements -----------------------------------------------------------------------------

    def _text(self, body: list[nodes.Node]) -> str:
        """What a body puts out, as one text."""
        pieces: list[str] = []
        self._execute_all(body, pieces)
        self._meter.charge(sum(map(len, pieces)))
        return "".join(pieces)

    def _execute_all(self, body: list[nodes.Node], pieces: list[str]) -> None:
        for statement in body:
            self._execute(statement, pieces)

    def _execute(self, node: nodes.Node, pieces: list[str]) -> None:
        self._enter(node)
        match node:
            case nodes.Output():
                for part in node.nodes:
                    text = text_of(self._value(part), self._meter)
                    self._meter.charge(len(text))
                    pieces.append(text)
            case nodes.If():
                self._execute_all(self._branch(node), pieces)
            case nodes.For():
                self._loop(node, pieces)
            case nodes.Assign():
                self._assign(node.target, self._value(node.node))
            case nodes.AssignBlock():
                self._assign(node.target, self._block(node.body, node.filter))
            case nodes.With():
                values = [self._value(value) for value in node.values]
                outside = dict(self._locals)
                for target, value in zip(node.targets, values, strict=True):
                    self._assign(target, value)
                self._execute_all(node.body, pieces)
                self._locals = outside
            case nodes.FilterBlock():
                text = text_of(self._block(node.body, node.filter), self._meter)
                self._meter.charge(len(text))
                pieces.append(text)

    def _block(self, body: list[nodes.Node], chain: nodes.Filter | None) -> Any:
        outside = dict(self._locals)
        text = self._text(body)
        self._locals = outside
        return text if chain is None else self._chained(chain, text)

    def _chained(self, node: nodes.Filter, text: str) -> Any:
        """What the filters of a block make of its text; the innermost one has no value itself."""
        inner = node.node
        value = self._chained(inner, text) if isinstance(inner, nodes.Filter) else text
        return self._filter(node, value)

    def _branch(self, node: nodes.If) -> list[nodes.Node]:
        for choice in (node, *node.elif_):
            if self._value(choice.test):
                return choice.body
        return node.else_

    def _loop(self, node: nodes.For, pieces: list[str]) -> None:
        outside = dict(self._locals)
        entries = list(each_of(self._value(node.iter), self._meter))
        if node.test is not None:
            chosen = []
            for entry in entries:
                self._assign(node.target, entry)
                if self._value(node.test):
                    chosen.append(entry)
            entries = chosen
        for index, entry in enumerate(entries):
            self._meter.tick(1 + len(outside) // 16)
            self._locals = dict(outside)
            self._locals["loop"] = _loop_at(index, len(entries))
            self._assign(node.target, entry)
            self._execute_all(node.body, pieces)
        self._locals = outside
        if not entries:
            self._execute_all(node.else_, pieces)
            self._locals = outside

    def _assign(self, target: nodes.Node, value: Any) -> None:
        if isinstance(target, nodes.Name):
            self._locals[target.name] = value
            return
        names = target.items if isinstance(target, nodes.Tuple) else []
        parts = list(each_of(value, self._meter))
        if len(parts) != len(names):
            raise TemplateError(
                f"{brief(value)} has {len(parts)} parts, and there are {len(names)} names for them"
            )
        for name, part in zip(names, parts, strict=True):
            self._assign(name, part)

    # -- expressions ----------------------------------------------------------------------------

    def _enter(self, node: nodes.Node) -> None:
        self._meter.tick()
        self.line = node.lineno

    def _value(self, node: nodes.Node) -> Any:
        self._enter(node)
        return self._kinds[type(node)](self, node)

    def _constant(self, node: nodes.Const) -> Any:
        return node.value

    def _data(self, node: nodes.TemplateData) -> Any:
        return node.data

    def _name(self, node: nodes.Name) -> Any:
        name = node.name
        if name in self._locals:
            return self._locals[name]
        if name in self._scope:
            return self._scope[name]
        if name == NULL:
            return None
        raise missing(f"there is no {brief(name)}", name, [*self._locals, *self._scope])

    def _attribute(self, node: nodes.Getattr) -> Any:
        return attribute(self._value(node.node), node.attr, _dotted(node.node))

    def _item(self, node: nodes.Getitem) -> Any:
        value = self._value(node.node)
        return item(value, self._value(node.arg), _dotted(node.node), self._meter)

    def _slice(self, node: nodes.Slice) -> Any:
        bounds = (node.start, node.stop, node.step)
        return slice(*(None if bound is None else self._value(bound) for bound in bounds))

    def _list(self, node: nodes.List) -> Any:
        return self._meter.kept([self._value(part) for part in node.items])

    def _tuple(self, node: nodes.Tuple) -> Any:
        return self._meter.kept(tuple(self._value(part) for part in node.items))

    def _dict(self, node: nodes.Dict) -> Any:
        made = {}
        for pair in node.items:
            key = self._value(pair.key)
            check_hashable(key, self._meter)
            made[key] = self._value(pair.value)
        return self._meter.kept(made)

    def _concat(self, node: nodes.Concat) -> Any:
        texts = [text_of(self._value(part), self._meter) for part in node.nodes]
        self._meter.charge(sum(map(len, texts)))
        return "".join(texts)

    def _binary(self, node: nodes.BinExpr) -> Any:
        left, right = self._value(node.left), self._value(node.right)
        return binary(_SIGNS[type(node)], left, right, self._meter)

    def _negative(self, node: nodes.UnaryExpr) -> Any:
        return negative("-" if isinstance(node, nodes.Neg) else "+", self._value(node.node))

    def _not(self, node: nodes.Not) -> Any:
        return not self._value(node.node)

    def _and(self, node: nodes.And) -> Any:
        return self._value(node.left) and self._value(node.right)

    def _or(self, node: nodes.Or) -> Any:
        return self._value(node.left) or self._value(node.right)

    def _condition(self, node: nodes.CondExpr) -> Any:
        if self._value(node.test):
            return self._value(node.expr1)
        if node.expr2 is None:
            raise TemplateError("the condition is false, and there is no else")
        return self._value(node.expr2)

    def _compare(self, node: nodes.Compare) -> Any:
        left = self._value(node.expr)
        for operand in node.ops:
            right = self._value(operand.expr)
            if not compare(operand.op, left, right, self._meter):
                return False
            left = right
        return True

    def _filtered(self, node: nodes.Filter) -> Any:
        operand: Any = node.node  # None only in the tag, which `_chained` evaluates
        if node.name not in ("default", "d"):
            return self._filter(node, self._value(operand))
        try:
            value = self._maybe(operand)
        except MissingError:
            self._meter.tick(MISSED)
            value = MISSING
        return self._filter(node, value)

    def _filter(self, node: nodes.Filter, value: Any) -> Any:
        return self._apply(FILTERS[node.name], node, value, f"the filter {brief(node.name)}")

    def _tested(self, node: nodes.Test) -> Any:
        if node.name in ("defined", "undefined"):
            try:
                self._maybe(node.node)
            except MissingError:
                self._meter.tick(MISSED)
                return node.name == "undefined"
            return node.name == "defined"
        value = self._value(node.node)
        return self._apply(TESTS[node.name], node, value, f"the test {brief(node.name)}")

    def _maybe(self, node: nodes.Node) -> Any:
        """A value that may be missing: what is missing elsewhere than in its path still counts."""
        if isinstance(node, _PATHS) or (isinstance(node, nodes.Filter) and node.name in _OF_EMPTY):
            return self._value(node)
        try:
            return self._value(node)
        except MissingError as error:
            raise TemplateError(str(error)) from error

    def _apply(
        self,
        function: Callable[..., Any],
        node: nodes.Filter | nodes.Test,
        value: Any,
        what: str,
    ) -> Any:
        args, options = self._arguments(node)
        signature = _signature(function)
        try:
            signature.bind(self._meter, value, *args, **options)
        except TypeError as error:
            plain = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
            taken = ", ".join(map(str, plain[2:]))
            raise TemplateError(f"{what} takes ({taken}): {error}") from None
        try:
            return function(self._meter, value, *args, **options)
        except (TypeError, ValueError) as error:
            raise TemplateError(f"{what}: {error}") from error

    def _arguments(
        self, node: nodes.Call | nodes.Filter | nodes.Test
    ) -> tuple[list[Any], dict[str, Any]]:
        args = [self._value(arg) for arg in node.args]
        return args, {str(option.key): self._value(option.value) for option in node.kwargs}

    def _call(self, node: nodes.Call) -> Any:
        args, options = self._arguments(node)
        if isinstance(node.node, nodes.Getattr):
            value = self._value(node.node.node)
            label = _dotted(node.node.node)
            return call_method(value, node.node.attr, args, options, label, self._meter)
        return _range(self._meter, args, options)

    _kinds: ClassVar[Mapping[type[nodes.Node], Callable[[Evaluation, Any], Any]]] = {
        nodes.Add: _binary,
        nodes.And: _and,
        nodes.Call: _call,
        nodes.Compare: _compare,
        nodes.Concat: _concat,
        nodes.CondExpr: _condition,
        nodes.Const: _constant,
        nodes.Dict: _dict,
        nodes.Div: _binary,
        nodes.Filter: _filtered,
        nodes.FloorDiv: _binary,
        nodes.Getattr: _attribute,
        nodes.Getitem: _item,
        nodes.List: _list,
        nodes.Mod: _binary,
        nodes.Mul: _binary,
        nodes.Name: _name,
        nodes.Neg: _negative,
        nodes.Not: _not,
        nodes.Or: _or,
        nodes.Pos: _negative,
        nodes.Pow: _binary,
        nodes.Slice: _slice,
        nodes.Sub: _binary,
        nodes.TemplateData: _data,
        nodes.Test: _tested,
        nodes.Tuple: _tuple,
    }


@cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


def _range(meter: Meter, args: list[Any], options: dict[str, Any]) -> list[int]:
    """The numbers of a range as a list, counted before they are made."""
    whole = all(isinstance(arg, int) for arg in args)
    if options or not whole or not 1 <= len(args) <= 3 or args[2:] == [0]:
        raise TemplateError("range takes a stop, or a start and a stop, or those and a step, not 0")
    start, stop, step = (0, args[0], 1) if len(args) == 1 else (*args, 1)[:3]
    count = max(0, -((start - stop) // step))
    if count > MAX_ITEMS:
        raise TemplateError(
            f"range() has {brief(count)} elements, and a list of a template has {MAX_ITEMS} at most"
        )
    meter.items(count)
    made: list[int] = meter.kept(list(range(start, stop, step)))
    return made


def _dotted(node: nodes.Node) -> str:
    """What an expression is called in an error: its path, or `a value`."""
    match node:
        case nodes.Name():
            return node.name
        case nodes.Getattr():
            return f"{_dotted(node.node)}.{node.attr}"
        case nodes.Getitem(arg=nodes.Const(value=key)):
            return f"{_dotted(node.node)}[{brief(key)}]"
        case nodes.Getitem():
            return f"{_dotted(node.node)}[...]"
        case nodes.Const():
            return brief(node.value)
        case _:
            return "a value"
