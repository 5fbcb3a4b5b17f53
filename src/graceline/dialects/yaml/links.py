"""Links: which steps of a file need which, and what their templates refer to."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from graceline.dialects.yaml.problems import Problem
from graceline.dialects.yaml.reading import Tree

__all__ = ["Links", "Place", "References"]


@attrs.frozen
class Place:
    """A step in a file.

    Attributes:
        id: its id.
        stage: the number of its stage, from 0.
        path: the way to it.
        tree: the step itself.
    """

    id: str
    stage: int
    path: tuple[str | int, ...]
    tree: Tree


@attrs.define
class References:
    """What the templates of a step refer to, or those of the outputs.

    Attributes:
        steps: the steps, itself included.
        inputs: the inputs.
        all_inputs: whether it refers to `inputs` as a whole, or by a name that only a run knows.
    """

    steps: set[str] = attrs.field(factory=set)
    inputs: set[str] = attrs.field(factory=set)
    all_inputs: bool = False


@attrs.frozen
class Links:
    """What refers to what.

    Attributes:
        steps: the steps by their ids, in the order of the file.
        needs: by step, the steps that it needs, declared or found in templates.
        after: the same within its own stage.
        problems: what is wrong.
        used: the steps that another step or an output refers to.
        references: by step, what its templates refer to.
        outputs: the same of the outputs.
    """

    steps: dict[str, Place] = attrs.field(factory=dict)
    needs: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    after: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    problems: list[Problem] = attrs.field(factory=list)
    used: set[str] = attrs.field(factory=set)
    references: dict[str, References] = attrs.field(factory=dict)
    outputs: References = attrs.field(factory=References)

    def with_dependents(self, names: Iterable[str]) -> set[str]:
        """Some steps, and all that need them, or need something that does."""
        dependents: dict[str, list[str]] = {}
        for name, needed in self.needs.items():
            for other in needed:
                dependents.setdefault(other, []).append(name)
        found = set(names)
        waiting = list(found)
        while waiting:
            for name in dependents.get(waiting.pop(), ()):
                if name not in found:
                    found.add(name)
                    waiting.append(name)
        return found
