"""What a benchmark suite is: phases of commands, each with its limit, checked when written down.

A suite is a pipeline with the words of whoever runs benchmarks: a phase is a stage, a command is a
node, and `continue_on_failure` is `critical=False`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import attrs

from graceline.definitions import Command, Node, Pipeline, Stage, parallel, sequence
from graceline.definitions.checks import (
    brief,
    check_cleanup,
    check_flag,
    check_names,
    nearest,
    optional_duration,
)
from graceline.definitions.nodes import as_node
from graceline.definitions.part import Part
from graceline.errors import DefinitionError, DefinitionWarning

if TYPE_CHECKING:
    from graceline.definitions.command import Argv
    from graceline.durations import Duration

__all__ = ["Phase", "Step", "Suite", "armed", "command"]

_Entry: TypeAlias = "Step | Node | Command | Callable[[Any], Any]"
_Rule: TypeAlias = Callable[[Any], bool]

# As in `graceline.definitions.part`: the converters say what may be given, and the conversion
# itself waits until the name is known, which belongs into every message.


def _names(value: str | Iterable[str]) -> tuple[str, ...]:
    return cast("tuple[str, ...]", value)


def _steps(value: _Entry | Iterable[_Entry]) -> tuple[Step, ...]:
    return cast("tuple[Step, ...]", value)


def _phases(value: Phase | Iterable[Phase]) -> tuple[Phase, ...]:
    return cast("tuple[Phase, ...]", value)


@attrs.frozen(eq=False)
class Step:
    """One command of a phase, as `command()` makes it.

    Attributes:
        node: what runs.
        skip_if_failed: names of commands before it in its phase, or of phases before that one; it
            is skipped if one of them did not succeed.
    """

    node: Node
    skip_if_failed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The command's name."""
        return self.node.name


def command(
    argv: Argv | Callable[[Any], Argv],
    *,
    name: str = "",
    timeout: Duration | None = None,
    grace: Duration | None = None,
    reserve: Duration | None = None,
    continue_on_failure: bool = False,
    skip_if_failed: str | Iterable[str] = (),
    env: Mapping[str, str | None] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    stdin: str | bytes | Callable[[Any], str | bytes] | None = None,
    max_output: int = 1 << 20,
    ok_codes: int | Iterable[int] = 0,
    artifacts: str | Iterable[str] = (),
) -> Step:
    """A child program as a command of a phase: `command("make -j2", timeout="10m")`.

    Args:
        argv: the program and its arguments, or a line for the shell, or a plain function of the
            value of the command before it that returns either; see `Command`.
        name: unique within its phase; by default the name of the program.
        timeout: seconds from its start; the limits of its phase and of the suite clamp it.
        grace: seconds between SIGTERM and SIGKILL; None takes the phase's.
        reserve: instead of `grace`, seconds of `timeout` that are kept for it.
        continue_on_failure: whether the phase goes on if it does not succeed.
        skip_if_failed: names of commands before it in its phase, or of phases before that one; it
            is skipped if one of them did not succeed.
        env: variables that differ from the runner's environment; None takes one away.
        cwd: the directory in which it runs; None for the runner's.
        stdin: what it can read; None is an empty input.
        max_output: bytes that are kept of each of its output streams.
        ok_codes: exit codes that count as success.
        artifacts: glob patterns, relative to `cwd`; each of them must match a file afterwards.

    Raises:
        DefinitionError: for a wrong argument; says which, and what would be right.
    """
    program = Command(
        argv, env=env, cwd=cwd, stdin=stdin, max_output=max_output, ok_codes=ok_codes,
        artifacts=artifacts,
    )  # fmt: skip
    where = f"command {name or program.__name__!r}"
    limit = optional_duration(timeout, f"{where}, timeout=")
    cleanup = optional_duration(grace, f"{where}, grace=")
    kept = optional_duration(reserve, f"{where}, reserve=")
    check_cleanup(where, limit, cleanup, kept)
    soft = check_flag(continue_on_failure, f"{where}, continue_on_failure=")
    node = Node(program, name=name, timeout=limit, grace=cleanup, reserve=kept, critical=not soft)
    return Step(node, _names_of(skip_if_failed, where))


@attrs.frozen(eq=False)
class Phase(Part):
    """Commands that belong together, with a limit for all of them.

    Attributes:
        name: unique within the suite.
        commands: made by `command()`; nodes, commands and functions are welcome too. They run one
            after the other.
        continue_on_failure: whether the suite goes on if this phase does not succeed.
        skip_if_failed: names of phases before it; it is skipped if one of them did not succeed.
        parallel: run the commands at once.
        stage: the phase as a stage, without its skipping.

    Raises:
        DefinitionError: for no commands, a name used twice, and everything that `Stage` refuses.
    """

    name: str
    commands: tuple[Step, ...] = attrs.field(default=(), converter=_steps)
    continue_on_failure: bool = attrs.field(default=False, kw_only=True)
    skip_if_failed: tuple[str, ...] = attrs.field(default=(), converter=_names, kw_only=True)
    parallel: bool = attrs.field(default=False, kw_only=True)
    stage: Stage = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        where = f"phase {self.name!r}"
        put = object.__setattr__
        steps = tuple(_as_step(entry, where) for entry in _listed(self.commands, where, "commands"))
        check_names([step.name for step in steps], where)
        put(self, "commands", steps)
        check_flag(self.continue_on_failure, f"{where}, continue_on_failure=")
        check_flag(self.parallel, f"{where}, parallel=")
        put(self, "skip_if_failed", _names_of(self.skip_if_failed, where))
        arranged = (parallel if self.parallel else sequence)(*(step.node for step in steps))
        stage = Stage(self.name, arranged, critical=not self.continue_on_failure, **_common(self))
        put(self, "stage", stage)


@attrs.frozen(eq=False)
class Suite(Part):
    """Phases that run one after the other, with a limit for the whole.

    Attributes:
        name: for people, and for `graceline bench suite.py:name`.
        phases: in the order in which they run.
        pipeline: the suite as a pipeline, without its skipping.

    Raises:
        DefinitionError: for no phases, a name used twice, an unknown name in `skip_if_failed`, and
            everything that `Pipeline` refuses.
    """

    name: str
    phases: tuple[Phase, ...] = attrs.field(default=(), converter=_phases)
    pipeline: Pipeline = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        where = f"suite {self.name!r}"
        phases = _listed(self.phases, where, "phases")
        for phase in phases:
            if not isinstance(phase, Phase):
                shown = f"command {phase.name!r}" if isinstance(phase, Step) else brief(phase)
                raise DefinitionError(
                    f"{where}: {shown} is no Phase; write Phase('name', [command(...)])"
                )
        check_names([phase.name for phase in phases], where)
        object.__setattr__(self, "phases", phases)
        for index, phase in enumerate(phases):
            _check_skips(phase, [other.name for other in phases], index)
        pipeline = Pipeline(self.name, [phase.stage for phase in phases], **_common(self))
        object.__setattr__(self, "pipeline", pipeline)


def armed(
    suite: Suite,
    *,
    wanted: Callable[[str, str], bool],
    ended: Callable[[str, str], Callable[[Any], Any]],
) -> Pipeline:
    """The pipeline of a suite for one run.

    Args:
        suite: what to run.
        wanted: says of a phase and a command ("" for the phase itself) whether it is to run; asked
            only for those with `skip_if_failed`.
        ended: gives, for a phase and a command, the plain function that is called with the
            outcome of the command once it has unwound.
    """

    def rule(phase: str, name: str, own: Callable[[Any], Any] | None = None) -> _Rule:
        return lambda value: wanted(phase, name) and (own is None or bool(own(value)))

    stages = []
    with warnings.catch_warnings():
        # Said already, at the line that wrote the suite down.
        warnings.simplefilter("ignore", DefinitionWarning)
        for phase in suite.phases:
            skips = {step.name: bool(step.skip_if_failed) for step in phase.commands}
            nodes = [
                attrs.evolve(
                    node,
                    when=rule(phase.name, node.name, node.when) if skips[node.name] else node.when,
                    on_cleanup=(*node.on_cleanup, ended(phase.name, node.name)),
                )
                for node in phase.stage.nodes
            ]
            when = rule(phase.name, "") if phase.skip_if_failed else None
            stages.append(attrs.evolve(phase.stage, nodes=nodes, when=when))
        return attrs.evolve(suite.pipeline, stages=stages)


def _common(part: Part) -> dict[str, Any]:
    """What a phase or a suite hands on to its stage or pipeline."""
    return {
        field.name: getattr(part, field.name)
        for field in attrs.fields(Part)
        if field.name != "name"
    }


def _listed(value: object, where: str, what: str) -> tuple[Any, ...]:
    """The phases of a suite or the commands of a phase; one alone may stand without a list."""
    if isinstance(value, Part | Step | Command) or callable(value):
        return (value,)
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise DefinitionError(f"{where}: its {what} must be a list, not {brief(value)}")
    entries = tuple(value)
    if not entries:
        raise DefinitionError(f"{where}: it has no {what}; give at least one")
    return entries


def _as_step(entry: object, where: str) -> Step:
    if isinstance(entry, Step):
        return entry
    if isinstance(entry, str):
        raise DefinitionError(f"{where}: {brief(entry)} is no command; write command({entry!r})")
    return Step(as_node(entry, where))


def _names_of(value: object, where: str) -> tuple[str, ...]:
    entries = (value,) if isinstance(value, str) else value
    names = tuple(entries) if isinstance(entries, Iterable) else (entries,)
    for name in names:
        if not isinstance(name, str):
            raise DefinitionError(f"{where}: skip_if_failed= takes names, not {brief(name)}")
    return tuple(dict.fromkeys(names))


def _check_skips(phase: Phase, phases: list[str], index: int) -> None:
    """Every name in `skip_if_failed` must be one of something that has ended by then."""
    where, before = f"phase {phase.name!r}", phases[:index]
    for name in phase.skip_if_failed:
        if name not in before:
            why = _why_not(name, phases, "a phase before it", before)
            raise DefinitionError(f"{where}: skip_if_failed= names {name!r}, {why}")
    inside = [step.name for step in phase.commands]
    for place, step in enumerate(phase.commands):
        earlier = [] if phase.parallel else inside[:place]
        for name in step.skip_if_failed:
            if name in earlier or name in before:
                continue
            if phase.parallel and name in inside:
                why = "which runs at the same time: the phase is parallel=True"
            else:
                what = "a command before it in its phase, or a phase before that"
                why = _why_not(name, [*inside, *phases], what, [*earlier, *before])
            raise DefinitionError(
                f"{where}, command {step.name!r}: skip_if_failed= names {name!r}, {why}"
            )


def _why_not(name: str, known: list[str], what: str, valid: list[str]) -> str:
    if name in known:
        return f"which has not ended by then; name {what}"
    return f"which is not {what}; {nearest(name, valid)}"
