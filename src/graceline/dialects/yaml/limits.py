"""Limits: which one holds for a step, where it is stated, and what stood back for it.

The first match wins: the step's `timeout`, its `metadata.timeout`, the `default_timeout` of its
stage, that of `config`, none. No default of an engine applies to a file.
"""

from __future__ import annotations

import math

import attrs

from graceline.definitions import Adaptive
from graceline.dialects.yaml.forms import SECONDS
from graceline.dialects.yaml.links import Links
from graceline.dialects.yaml.policies import AdaptiveKeys
from graceline.dialects.yaml.problems import Position
from graceline.dialects.yaml.reading import Tree
from graceline.dialects.yaml.schema import ConfigKeys, FileKeys, StageKeys, StepKeys

__all__ = ["GRACE", "Candidate", "Resolved", "StepLimits", "limits_of", "resolve_limits"]

GRACE = 5.0
"""Seconds for cleanup after a limit, where a file says nothing."""

_Path = tuple[str | int, ...]


@attrs.frozen
class Candidate:
    """A place where a limit may be stated.

    Attributes:
        key: the key, such as `config.default_timeout`.
        limit: seconds, or a learned limit; None if it is not stated there.
        at: where it stands; None if it does not, or is no key of the file.
    """

    key: str
    limit: float | Adaptive | None
    at: Position | None


@attrs.frozen
class Resolved:
    """One limit of a step, and where it comes from.

    Attributes:
        what: what it limits.
        candidates: where it may be stated; the first one that states it wins.
    """

    what: str
    candidates: tuple[Candidate, ...]

    @property
    def winner(self) -> Candidate | None:
        """The one that holds; None if none is stated."""
        return next((one for one in self.candidates if one.limit is not None), None)

    @property
    def limit(self) -> float | Adaptive | None:
        """Seconds, or a learned limit; None for no limit."""
        winner = self.winner
        return None if winner is None or winner.limit == math.inf else winner.limit


@attrs.frozen
class StepLimits:
    """Every limit that can cut a step, from the inside out, and its time for cleanup.

    Attributes:
        attempt: of one attempt of one body, of one item with `for_each`.
        total: of all attempts, backoffs and items.
        stage: of its stage.
        pipeline: of the whole.
        cleanup: the time for cleanup after any of these.
    """

    attempt: Resolved
    total: Resolved
    stage: Resolved
    pipeline: Resolved
    cleanup: Resolved


def limits_of(tree: Tree, keys: FileKeys, links: Links) -> dict[str, StepLimits]:
    """The limits of every step of a file; what is built, drawn, warned of and explained is these.

    Args:
        tree: the file.
        keys: the same, structured.
        links: where its steps stand.
    """
    return {
        step.id: resolve_limits(tree, keys, stage, step, links.steps[step.id].path)
        for stage, steps in keys.groups()
        for step in steps
    }


def resolve_limits(
    tree: Tree, file: FileKeys, stage: StageKeys | None, step: StepKeys, path: _Path
) -> StepLimits:
    """Resolve the limits of a step.

    Args:
        tree: the file.
        file: the same, structured.
        stage: its stage; None in a file without stages.
        step: the step.
        path: the way to it.
    """
    above = path[:-2]
    resolver = _Resolver(tree)
    at_stage = () if stage is None else (resolver.find("stage default_timeout", stage, above),)
    metadata = (step.metadata or {}).get("timeout")
    meta_path = (*path, "metadata", "timeout")
    return StepLimits(
        attempt=Resolved(
            "one attempt of one item" if step.for_each is not None else "one attempt",
            (
                resolver.find("step timeout", step, path),
                Candidate(
                    "step metadata.timeout",
                    None if metadata is None else SECONDS.read(metadata),
                    resolver.place(meta_path),
                ),
                *at_stage,
                resolver.find("config default_timeout", file.config, ("config",)),
            ),
        ),
        total=Resolved(
            "all attempts and items", (resolver.find("step total_timeout", step, path),)
        ),
        stage=Resolved(
            "the stage", () if stage is None else (resolver.find("stage timeout", stage, above),)
        ),
        pipeline=Resolved(
            "the pipeline", (resolver.find("config timeout", file.config, ("config",)),)
        ),
        cleanup=Resolved(
            "cleanup",
            (
                *resolver.cleanup("step", step, path),
                *(() if stage is None else resolver.cleanup("stage", stage, above)),
                *resolver.cleanup("config", file.config, ("config",)),
                Candidate("the default for files", GRACE, None),
            ),
        ),
    )


@attrs.frozen
class _Resolver:
    tree: Tree

    def place(self, path: _Path) -> Position | None:
        """Where a value stands."""
        found = self.tree.get(*path)
        return None if found is None else found.at

    def find(self, name: str, holder: StepKeys | StageKeys | ConfigKeys, path: _Path) -> Candidate:
        """What a key of the file says."""
        key = name.partition(" ")[2]
        value = getattr(holder, key)
        limit = value.build() if isinstance(value, AdaptiveKeys) else value
        return Candidate(name, limit, self.place((*path, key)))

    def cleanup(
        self, name: str, holder: StepKeys | StageKeys | ConfigKeys, path: _Path
    ) -> tuple[Candidate, ...]:
        """What a level says about cleanup, in either way."""
        return tuple(self.find(f"{name} {key}", holder, path) for key in ("grace", "reserve"))
