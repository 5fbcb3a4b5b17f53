"""Templates: a text with expressions in it, and trees of such texts.

A text that is nothing but `{{ expression }}` gives the value itself, of whatever type. Any other
text gives a text, and one without braces is itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from graceline.definitions.checks import brief
from graceline.dialects.templates.errors import TemplateError
from graceline.dialects.templates.evaluating import Evaluation
from graceline.dialects.templates.meter import Meter
from graceline.dialects.templates.names import constant_calls, paths_of
from graceline.dialects.templates.parsing import is_template, parse

if TYPE_CHECKING:
    from jinja2 import nodes

__all__ = ["Template", "Value", "compile_value"]


class Value(Protocol):
    """What can be evaluated in a scope."""

    @property
    def names(self) -> frozenset[str]:
        """The names that it refers to, each with its path, such as `steps.a.result`."""

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """Its value where the names stand for what the scope says."""


class Template:
    """A text with expressions in it: `Template("notes/{{ topic | slugify }}.md")`.

    Args:
        source: the text.

    Raises:
        TemplateError: if it is no template, or uses what templates are not offered.
    """

    def __init__(self, source: str) -> None:
        if not isinstance(source, str):
            raise TemplateError(f"a template is a text, not {brief(source)}")
        self.source: str = source
        self._tree: nodes.Template | None = None
        if is_template(source):
            try:
                self._tree = parse(source)
            except TemplateError as error:
                raise TemplateError(f"{self._where()}: {error}") from error.__cause__

    def __repr__(self) -> str:
        return f"Template({brief(self.source)})"

    @property
    def names(self) -> frozenset[str]:
        """The names that it refers to, each with its path, such as `steps.a.result`.

        Loop variables and what it sets itself are none.
        """
        return frozenset(map(".".join, self.paths))

    @cached_property
    def paths(self) -> frozenset[tuple[str, ...]]:
        """The same as tuples, for names that have dots in them."""
        return frozenset() if self._tree is None else paths_of(self._tree)

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """Its value: native if it is one expression, else a text.

        Args:
            scope: what the names stand for.

        Raises:
            TemplateError: if something is missing, is not offered, goes wrong, or takes too much.
        """
        return self.evaluate_within(scope, Meter())

    def check(self, meter: Meter) -> None:
        """Evaluate what needs no scope: all of it if it refers to nothing, else its ranges.

        Raises:
            TemplateError: if that goes wrong or takes too much, as it would in any scope.
        """
        if not self.paths:
            self.evaluate_within({}, meter)
            return
        evaluation = Evaluation({}, meter)
        for node in constant_calls(self._tree):
            try:
                evaluation.value(node)
            except TemplateError as error:
                raise TemplateError(f"{self._where(node.lineno)}: {error}") from error.__cause__

    def evaluate_within(self, scope: Mapping[str, Any], meter: Meter) -> Any:
        """The same, within what a meter has left for several templates."""
        if self._tree is None:
            return self.source
        evaluation = Evaluation(scope, meter)
        try:
            return evaluation.run(self._tree)
        except TemplateError as error:
            cause = error.__cause__
            raise TemplateError(f"{self._where(evaluation.line)}: {error}") from cause
        except Exception as error:
            # Values of the scope may be objects of any class, which raise what they like.
            what = f"{type(error).__name__}: {error}"
            raise TemplateError(f"{self._where(evaluation.line)}: {what}") from error

    def _where(self, line: int = 1) -> str:
        place = f", line {line}" if line > 1 else ""
        return f"template {brief(self.source)}{place}"


class _Tree:
    """A list or a mapping with templates in it."""

    def __init__(self, tree: Any) -> None:
        self._tree = tree
        self._templates: list[Template] = list(_templates(tree))

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of all templates in it."""
        return frozenset().union(*(template.names for template in self._templates))

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """A new tree, with the values of the templates in their places."""
        return _filled(self._tree, scope, Meter())


def compile_value(tree: Any) -> Value:
    """What can be evaluated, of a tree of lists, mappings and texts; all else stays as it is.

    One evaluation of a tree may do as much as one of a single template.

    Raises:
        TemplateError: for a text that is no template, and for a key that is one.
    """
    if isinstance(tree, str):
        return Template(tree)
    return _Tree(_compiled(tree))


def _compiled(tree: Any) -> Any:
    if isinstance(tree, str):
        return Template(tree)
    if isinstance(tree, Mapping):
        for key in tree:
            if isinstance(key, str) and is_template(key):
                raise TemplateError(f"{brief(key)} is a key, and keys are no templates")
        return {key: _compiled(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_compiled(value) for value in tree]
    return tree


def _templates(tree: Any) -> Iterator[Template]:
    if isinstance(tree, Template):
        yield tree
    elif isinstance(tree, dict | list):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _templates(part)


def _filled(tree: Any, scope: Mapping[str, Any], meter: Meter) -> Any:
    if isinstance(tree, Template):
        return tree.evaluate_within(scope, meter)
    if isinstance(tree, dict):
        return {key: _filled(value, scope, meter) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_filled(value, scope, meter) for value in tree]
    return tree
