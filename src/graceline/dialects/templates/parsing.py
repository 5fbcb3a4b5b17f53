"""From text to a checked tree: Jinja2 reads, and what is not offered is refused.

Only the lexer and the parser of Jinja2 are used. Nothing is compiled to Python: `evaluating` walks
the tree, so that every step of it can be counted, and what it does not know cannot happen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from graceline.definitions.checks import brief, nearest
from graceline.dialects.templates.access import METHODS, check_attribute
from graceline.dialects.templates.errors import TemplateError
from graceline.dialects.templates.filters import FILTERS
from graceline.dialects.templates.meter import check_bits
from graceline.dialects.templates.tests import TESTS
from graceline.errors import GracelineError

try:
    from jinja2 import Environment, TemplateSyntaxError, nodes
except ImportError as _error:
    raise GracelineError(
        f"templates need {_error.name}, which is not installed; run: pip install 'graceline[yaml]'"
    ) from _error

__all__ = ["FUNCTIONS", "MAX_SOURCE", "is_template", "lone", "parse"]

MAX_SOURCE = 1 << 16
"""Characters of one template; plain text may be longer."""
FUNCTIONS = ("range",)
_MAX_BRACKETS = 30
_MAX_LEVELS = 100

_OFFERED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Assign,
    nodes.AssignBlock, nodes.With, nodes.FilterBlock, nodes.Name, nodes.Const, nodes.Tuple,
    nodes.List, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.CondExpr, nodes.Filter, nodes.Test,
    nodes.Call, nodes.Getitem, nodes.Getattr, nodes.Slice, nodes.Concat, nodes.Compare,
    nodes.Operand, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Add, nodes.Sub, nodes.Mod, nodes.Pow,
    nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos,
)  # fmt: skip
_TAGS = {
    "AssignBlock": "set", "Block": "block", "CallBlock": "call", "Extends": "extends",
    "FromImport": "from", "Import": "import", "Include": "include", "Macro": "macro",
    "ScopedEvalContextModifier": "autoescape",
}  # fmt: skip
_CHOOSING = ("select", "reject", "selectattr", "rejectattr")
_OPENING, _CLOSING = ("lparen", "lbrace", "lbracket"), ("rparen", "rbrace", "rbracket")

_environment = Environment(keep_trailing_newline=True, autoescape=False)  # noqa: S701 - not HTML


def is_template(text: str) -> bool:
    """Whether a text has anything that templates give a meaning."""
    return "{{" in text or "{%" in text or "{#" in text


def parse(source: str) -> nodes.Template:
    """The checked tree of a template.

    Raises:
        TemplateError: if it is none, too long, nested too deeply, or uses what is not offered.
    """
    if len(source) > MAX_SOURCE:
        raise TemplateError(
            f"it has {len(source)} characters, and a template may have {MAX_SOURCE}"
        )
    try:
        _check_brackets(source)
        tree = _environment.parse(source)
    except TemplateSyntaxError as error:
        said = (error.message or "it cannot be read").rstrip(".")
        raise TemplateError(f"{said}{_line(error.lineno, source)}") from error
    except RecursionError:
        raise TemplateError(_DEEP) from None
    except (ValueError, OverflowError) as error:  # a number of thousands of digits, for instance
        raise TemplateError(f"it cannot be read: {error}") from error
    for node in _walk(tree):
        try:
            _check(node)
        except TemplateError as error:
            raise TemplateError(f"{error}{_line(node.lineno, source)}") from None
    return tree


_DEEP = f"it is nested too deeply: more than {_MAX_LEVELS} levels, or {_MAX_BRACKETS} brackets"


def _line(number: int | None, source: str) -> str:
    return f" (line {number})" if number and "\n" in source.strip() else ""


def _check_brackets(source: str) -> None:
    """Complain of deep nesting before the parser does, which recurses a dozen calls for each."""
    depth = 0
    for _, kind, text in _environment.lex(source):
        if kind != "operator":
            continue
        depth += (text in "([{") - (text in ")]}")
        if depth > _MAX_BRACKETS:
            raise TemplateError(_DEEP)


def _walk(tree: nodes.Node) -> Iterator[nodes.Node]:
    """Every node of a tree, without a recursion."""
    waiting = [(tree, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > _MAX_LEVELS:
            raise TemplateError(_DEEP)
        yield node
        waiting += [(child, depth + 1) for child in node.iter_child_nodes()]


def _check(node: nodes.Node) -> None:
    if not isinstance(node, _OFFERED):
        kind = type(node).__name__
        tag = _TAGS.get(kind)
        what = f"{{% {tag} %}}" if tag else {"NSRef": "an attribute as the target of set"}.get(kind)
        raise TemplateError(f"{what or kind} is not offered in templates")
    if isinstance(node, nodes.For) and node.recursive:
        raise TemplateError("a recursive {% for %} is not offered in templates")
    if isinstance(node, nodes.Filter):
        _check_known(node.name, FILTERS, "filter")
        _check_named(node)
    if isinstance(node, nodes.Test):
        _check_known(node.name, TESTS, "test")
    if getattr(node, "dyn_args", None) or getattr(node, "dyn_kwargs", None):
        raise TemplateError("arguments by * and ** are not offered in templates")
    if isinstance(node, nodes.Getattr):
        check_attribute(node.attr)
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        check_attribute(node.arg.value)
    if isinstance(node, nodes.Name) and node.name.startswith("__"):
        raise TemplateError(
            f"{brief(node.name)} is private: names that begin with __ are not offered"
        )
    if isinstance(node, nodes.Const) and isinstance(node.value, int):
        check_bits(node.value)
    if isinstance(node, nodes.Call):
        _check_call(node.node)


def _check_call(called: nodes.Expr) -> None:
    """Only a function by its name, and a method by its name, can be called."""
    if isinstance(called, nodes.Getattr):
        _check_known(called.attr, METHODS, "method")
    elif isinstance(called, nodes.Name):
        _check_known(called.name, FUNCTIONS, "function")
    else:
        raise TemplateError("what is called here is not the name of a function")


def _check_named(node: nodes.Filter) -> None:
    """A filter such as `select('odd')` names another filter, or a test."""
    place = 1 if node.name.endswith("attr") else 0
    named = node.args[place] if len(node.args) > place else None
    if not isinstance(named, nodes.Const) or not isinstance(named.value, str):
        return
    if node.name == "map":
        _check_known(named.value, FILTERS, "filter")
    elif node.name in _CHOOSING:
        _check_known(named.value, TESTS, "test")


def _check_known(name: str, known: Collection[str], what: str) -> None:
    if name not in known:
        raise TemplateError(f"there is no {what} {brief(name)}; {nearest(name, sorted(known))}")


def lone(tree: nodes.Template) -> nodes.Expr | None:
    """The expression of a template that is nothing else, but for `set` before it and a line end."""
    outputs = [node for node in tree.body if not isinstance(node, nodes.Assign | nodes.AssignBlock)]
    parts = [part for node in outputs for part in getattr(node, "nodes", [node])]
    sets = len(outputs) < len(tree.body)
    kept = [part for part in parts if not _is_blank(part, " \t\r\n" if sets else "\r\n")]
    if len(kept) != 1 or not isinstance(kept[0], nodes.Expr):
        return None
    before = parts.index(kept[0])
    if isinstance(kept[0], nodes.TemplateData) or (before and not sets):
        return None
    return kept[0]


def _is_blank(part: nodes.Node, blanks: str) -> bool:
    return isinstance(part, nodes.TemplateData) and not part.data.strip(blanks)
