"""Drawing definitions part by part, and telling Hypothesis how to show them.

The first choice is always the plainest one, so a failing example shrinks to a handful of nodes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import strategies as st

from graceline.definitions import Node, Pipeline, Stage, each
from graceline.errors import DefinitionWarning
from graceline.testing.behaviours import ModelledFunction, SavesPartials, modelled
from graceline.testing.nested import RunsNested

__all__ = ["Drawing", "eighths"]

T = TypeVar("T")
_UNIT = 0.125
# Equal limits are wanted, since ties go to the outermost level: one value is drawn far more often.
_LIMITS = [None, None, None, None, *(n * _UNIT for n in (4, 4, 4, 4, 8, 2, 6, 0))]
_GRACES = [None, None, *(n * _UNIT for n in (4, 2, 8, 1, 0))]


def eighths(least: int, most: int) -> st.SearchStrategy[float]:
    """Multiples of an eighth of a second."""
    return st.integers(least, most).map(_UNIT.__mul__)


def _rarely(value: Any) -> st.SearchStrategy[Any]:
    """`value` now and then, else None, which stands for what is not stated."""
    return st.sampled_from([None, None, None, value])


class _Call:
    """How a definition is written down: Hypothesis shows this, and not the fields of all parts.

    Its own way of showing calls inside calls takes exponential time at this depth.
    """

    def __init__(self, name: str, args: list[Any], options: dict[str, Any]) -> None:
        self.name = name
        self.args = args
        self.options = options

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002, FBT001
        entries = [("", value) for value in self.args]
        entries += [(f"{name}=", value) for name, value in self.options.items()]
        with printer.group(4, f"{self.name}(", ")"):
            for index, (label, value) in enumerate(entries):
                if index:
                    printer.text(",")
                printer.breakable(" " if index else "")
                printer.text(label)
                printer.pretty(value)


def _limits(draw: st.DrawFn) -> dict[str, Any]:
    """`timeout`, and either `grace` or `reserve`, and `strict`."""
    timeout = draw(st.sampled_from(_LIMITS))
    grace = draw(st.sampled_from(_GRACES))
    inside = timeout is not None and grace is not None and grace < timeout and draw(st.booleans())
    return {
        "timeout": timeout,
        "reserve" if inside else "grace": grace,
        "strict": draw(_rarely(value=True)),
    }


def _soft(draw: st.DrawFn) -> dict[str, Any]:
    """Whether a part is critical, and what its dependents get if it is not."""
    if not draw(_rarely(value=True)):
        return {}
    return {"critical": False, "fallback": draw(_rarely([]))}


def _after(draw: st.DrawFn, shape: str, earlier: list[str]) -> tuple[str, ...]:
    if shape == "parallel" or not earlier:
        return ()
    if shape == "sequence":
        return (earlier[-1],)
    return tuple(name for name in earlier[-3:] if draw(st.booleans()))


_SHAPES = st.sampled_from(["sequence", "parallel", "graph"])


class Drawing:
    """What the parts of one pipeline have in common: strategies, and a supply of names."""

    def __init__(self, behaviour: Any, latency: Any, *, loops: bool) -> None:
        self.behaviour: st.SearchStrategy[Any] = behaviour
        self.latency: st.SearchStrategy[Any] = latency
        self.loops: bool = loops
        self.used: int = 0
        self.calls: dict[int, tuple[Any, _Call]] = {}  # by identity; the part is kept alive with it

    def name(self, prefix: str) -> str:
        """A name that no other part has."""
        self.used += 1
        return f"{prefix}{self.used}"

    def make(self, make: Callable[..., T], *args: Any, **options: Any) -> T:
        """Make a definition, without the options that are None, and keep how."""
        stated = {name: value for name, value in options.items() if value is not None}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DefinitionWarning)  # clamped limits are the subject
            made = make(*args, **stated)
        call = _Call(make.__name__, [self.shown(arg) for arg in args], stated)
        self.calls[id(made)] = (made, call)
        return made

    def shown(self, value: Any) -> Any:
        """How to show an argument."""
        if isinstance(value, list):
            return [self.shown(entry) for entry in value]
        return self.calls[id(value)][1] if id(value) in self.calls else value

    def tell(self, draw: st.DrawFn, made: T) -> T:
        """Let Hypothesis know how to show what is handed out."""
        call = self.calls[id(made)][1]

        def give(*_args: Any, **_options: Any) -> T:
            return made

        give.__name__ = call.name
        stated = {name: st.just(value) for name, value in call.options.items()}
        return draw(st.builds(give, *map(st.just, call.args), **stated))

    def node(self, draw: st.DrawFn, after: tuple[str, ...], depth: int, *, lists: bool) -> Node:
        """Draw a node; `lists` says that its input is a list."""
        name = self.name("n")
        function = self.function(draw, name, depth)
        partial = isinstance(function.behaviour, SavesPartials)
        loops = self.loops and lists and not partial and draw(_rarely(value=True))
        options = {
            "after": after or None,
            "when": draw(st.sampled_from([None] * 7 + [bool])),
            **_soft(draw),
            **_limits(draw),
        }
        if not loops:
            return self.make(Node, function, name=name, **options)
        options["item_timeout"] = draw(st.sampled_from(_LIMITS))
        options["max_parallel"] = draw(st.integers(1, 3))
        return self.make(each, function, name=name, **options)

    def function(self, draw: st.DrawFn, name: str, depth: int) -> ModelledFunction:
        """Draw a body, which may be a run of its own."""
        latency = draw(self.latency)
        nests = depth > 0 and draw(_rarely(value=True))
        nested = self.pipeline(draw, depth - 1) if nests else None
        behaviour = draw(self.behaviour) if nested is None else self.make(RunsNested, nested)
        return self.make(modelled, latency, behaviour, name=name)

    def stage(
        self, draw: st.DrawFn, after: tuple[str, ...] | None, depth: int, *, lists: bool = True
    ) -> Stage:
        """Draw a stage of up to three nodes."""
        name = self.name("s")
        shape = draw(_SHAPES)
        drawn: list[Node] = []
        listing: dict[str, bool] = {}
        while not drawn or (len(drawn) < 3 and draw(st.booleans())):
            needed = _after(draw, shape, [node.name for node in drawn])
            gets_list = listing[needed[0]] if len(needed) == 1 else lists and not needed
            node = self.node(draw, needed, depth, lists=gets_list)
            listing[node.name] = gets_list
            drawn.append(node)
        options = {"fail_fast": draw(_rarely(value=False)), **_soft(draw), **_limits(draw)}
        return self.make(Stage, name, drawn, after=after, **options)

    def pipeline(self, draw: st.DrawFn, depth: int) -> Pipeline:
        """Draw a pipeline of up to three stages."""
        name = self.name("p")
        shape = draw(_SHAPES)
        drawn: list[Stage] = []
        lists = True
        while not drawn or (len(drawn) < 3 and draw(st.booleans())):
            after = _after(draw, shape, [stage.name for stage in drawn])
            first = not drawn or not after
            drawn.append(
                self.stage(
                    draw, None if shape == "sequence" else after, depth, lists=first or lists
                )
            )
            # A dict by name goes on, where there are several sinks or predecessors: no list.
            lists = lists and shape == "sequence" and len(drawn[-1].graph.sinks) == 1
        options = {"fail_fast": draw(_rarely(value=False)), **_limits(draw)}
        return self.make(Pipeline, name, drawn, **options)
