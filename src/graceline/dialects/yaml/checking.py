"""Checking: what is valid in a file, but hardly what was meant; each a warning at its place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import attrs

from graceline.definitions import Adaptive
from graceline.definitions.checks import brief
from graceline.dialects.templates.parsing import is_template
from graceline.dialects.yaml.explaining import retries_of
from graceline.dialects.yaml.limits import Resolved, StepLimits
from graceline.dialects.yaml.links import Links
from graceline.dialects.yaml.policies import AdaptiveKeys
from graceline.dialects.yaml.problems import Position, Problem
from graceline.dialects.yaml.reading import Tree
from graceline.dialects.yaml.schema import FileKeys, StageKeys, StepKeys
from graceline.durations import format_duration
from graceline.resilience import StopReason

__all__ = ["warnings_of"]

_Stated = float | Adaptive | AdaptiveKeys | None
_Path = tuple[str | int, ...]


def warnings_of(
    keys: FileKeys, tree: Tree, links: Links, limits: Mapping[str, StepLimits], file: str
) -> list[Problem]:
    """The warnings of a file that has no errors, in its order."""
    found = sorted(
        _Checker(keys, tree, links, limits, file).all(),
        key=lambda one: (one[0] or Position(0, 0), one[1]),
    )
    return [Problem(message, file, at, "warning") for at, message in found]


_Warning = tuple[Position | None, str]


def _seconds(limit: _Stated) -> float:
    """The most that a limit lets pass; `inf` for none."""
    if isinstance(limit, Adaptive | AdaptiveKeys):
        return limit.ceiling
    return math.inf if limit is None else limit


@attrs.frozen
class _Checker:
    keys: FileKeys
    tree: Tree
    links: Links
    limits: Mapping[str, StepLimits]
    file: str

    def all(self) -> Iterator[_Warning]:
        """Every warning."""
        if self.keys.phases:
            yield from self._phases()
            return
        yield from self._sum()
        for number, stage in enumerate(self.keys.stages):
            yield from self._stage(stage, ("stages", number))
        yield from self._steps()

    def _at(self, *path: str | int) -> Position | None:
        found = self.tree.get(*path)
        return None if found is None else found.at

    def _phases(self) -> Iterator[_Warning]:
        for number, phase in enumerate(self.keys.phases):
            for place, one in enumerate(phase.commands):
                path = ("phases", number, "commands", place)
                if isinstance(one.command, str):
                    yield self._shell(
                        f"command {one.name or brief(one.command)}", *path, templates=False
                    )

    def _shell(self, what: str, *path: str | int, templates: bool = True) -> _Warning:
        found = self.tree.get(*path, "command")
        if templates and found is not None and is_template(str(found.value)):
            why = "runs under the shell, which reads what templates put into it"
        else:
            why = "runs under the shell"
        return (
            None if found is None else found.at,
            f"{what}: a text {why}; a list such as [make, all] does not",
        )

    def _sum(self) -> Iterator[_Warning]:
        config = self.keys.config
        limit = _seconds(config.timeout)
        stages = [stage for stage in self.keys.stages if stage.critical]
        total = sum(_seconds(stage.timeout) for stage in stages if stage.timeout is not None)
        if limit < total < math.inf and len(stages) > 1:
            yield (
                self._at("config", "timeout"),
                (
                    "the limits of the critical stages add up to "
                    f"{format_duration(total)}, and the pipeline has {format_duration(limit)}"
                ),
            )
        if (config.grace or 0) >= limit:
            yield self._at("config", "grace"), _grace(config.grace, limit, "the pipeline")

    def _stage(self, stage: StageKeys, path: _Path) -> Iterator[_Warning]:
        where = f"stage {stage.id!r}"
        limit, above = _seconds(stage.timeout), _seconds(self.keys.config.timeout)
        if above < limit < math.inf:
            yield self._at(*path, "timeout"), _clamped(where, limit, above, "the pipeline")
        if stage.grace and stage.grace >= limit:
            yield self._at(*path, "grace"), _grace(stage.grace, limit, where)

    def _steps(self) -> Iterator[_Warning]:
        for stage, steps in self.keys.groups():
            for step in steps:
                path = self.links.steps[step.id].path
                yield from self._step(stage, step, path)

    def _step(self, stage: StageKeys | None, step: StepKeys, path: _Path) -> Iterator[_Warning]:
        where = f"step {step.id!r}"
        limits = self.limits[step.id]
        attempt, total = _seconds(limits.attempt.limit), _seconds(limits.total.limit)
        above = [
            (_seconds(limits.stage.limit), "its stage"),
            (_seconds(limits.pipeline.limit), "the pipeline"),
        ]
        least, which = min(above, key=lambda one: one[0])
        for limit, resolved in ((attempt, limits.attempt), (total, limits.total)):
            if least < limit < math.inf:
                yield _place(resolved), _clamped(where, limit, least, which)
        if step.max_retries and total <= attempt < math.inf:
            yield (
                _place(limits.attempt),
                (
                    f"{where}: one attempt may take {format_duration(attempt)}, and all of them "
                    f"{format_duration(total)}: none is left for its retries"
                ),
            )
        elif total < attempt < math.inf:
            yield _place(limits.attempt), _clamped(where, attempt, total, "its total_timeout")
        if step.max_retries:
            failing = retries_of(self.keys, self.links, limits, self.file, stage, step).failing
            if failing.why == StopReason.BUDGET:
                yield (
                    self._at(*path, "max_retries"),
                    (
                        f"{where}: if it fails at once, the retry budget of 3 in 10s allows "
                        f"{failing.attempts} of its {step.max_retries + 1} attempts; a longer "
                        "backoff spreads them"
                    ),
                )
        least = min(attempt, total)
        if step.grace and step.grace >= least:
            yield self._at(*path, "grace"), _grace(step.grace, least, where)
        if step.hedge is not None and step.hedge.delay is not None and step.hedge.delay >= least:
            yield (
                self._at(*path, "hedge", "delay"),
                (
                    f"{where}: a second copy is sent after {format_duration(step.hedge.delay)}, "
                    f"and its limit is {format_duration(least)}: none is ever sent"
                ),
            )
        if isinstance(step.command, str):
            yield self._shell(where, *path)
        if step.cleanup is not None and isinstance(step.cleanup.command, str):
            yield self._shell(f"{where}, cleanup", *path, "cleanup")
        unused = self.keys.outputs is not None and step.id not in self.links.used
        if unused and _only_looks(step):
            yield (
                self._at(*path),
                f"{where}: nobody uses it, neither another step nor outputs",
            )


def _only_looks(step: StepKeys) -> bool:
    """Whether a step gives a value and does nothing else; nobody knows it of programs."""
    if step.tool == "filesystem":
        return step.action in ("read", "list", "exists")
    if step.tool not in ("http", "web-fetch"):
        return False
    method = (step.parameters or {}).get("method", "get")
    looking = ("get", "head")
    return step.action in (None, "fetch", "request", *looking) and str(method).lower() in looking


def _place(limit: Resolved) -> Position | None:
    return None if limit.winner is None else limit.winner.at


def _clamped(where: str, limit: float, above: float, which: str) -> str:
    return (
        f"{where}: its limit of {format_duration(limit)} is above the {format_duration(above)} of "
        f"{which}, which clamps it"
    )


def _grace(grace: float | None, limit: float, where: str) -> str:
    return (
        f"{where}: the grace of {format_duration(grace or 0)} is no shorter than the limit of "
        f"{format_duration(limit)}"
    )
