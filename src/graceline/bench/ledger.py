"""The ledger: what a suite looks like, the statuses so far, and who is skipped because of them."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import attrs

from graceline.deadlines import Status
from graceline.definitions import Command

if TYPE_CHECKING:
    from graceline.bench.suite import Phase, Step, Suite
    from graceline.definitions import Part

__all__ = ["CommandFacts", "Ledger", "PhaseFacts", "SuiteFacts", "facts_of"]


@attrs.frozen(kw_only=True)
class _PartFacts:
    name: str
    timeout: float | None
    grace: float | None
    reserve: float | None


@attrs.frozen(kw_only=True)
class CommandFacts(_PartFacts):
    """A command as the journal knows it; its environment may hold secrets, and stays out.

    Attributes:
        runs_on: `command`, or what else a node runs on.
        argv: the program and its arguments; empty for a function, or where they depend on the
            input.
        cwd: the directory in which it runs, None for that of the runner.
        artifacts: glob patterns of the files that it must leave.
        continue_on_failure: whether its phase goes on if it does not succeed.
        skip_if_failed: what must have succeeded.
    """

    runs_on: str
    argv: tuple[str, ...]
    cwd: str | None
    artifacts: tuple[str, ...]
    continue_on_failure: bool
    skip_if_failed: tuple[str, ...]


@attrs.frozen(kw_only=True)
class PhaseFacts(_PartFacts):
    """A phase as the journal knows it."""

    continue_on_failure: bool
    skip_if_failed: tuple[str, ...]
    parallel: bool
    commands: tuple[CommandFacts, ...]


@attrs.frozen(kw_only=True)
class SuiteFacts(_PartFacts):
    """A suite as the journal knows it."""

    phases: tuple[PhaseFacts, ...]


def facts_of(suite: Suite) -> SuiteFacts:
    """What the journal says of a suite before it runs."""
    return SuiteFacts(phases=tuple(_phase_facts(phase) for phase in suite.phases), **_limits(suite))


def _phase_facts(phase: Phase) -> PhaseFacts:
    return PhaseFacts(
        continue_on_failure=phase.continue_on_failure,
        skip_if_failed=phase.skip_if_failed,
        parallel=phase.parallel,
        commands=tuple(_command_facts(step) for step in phase.commands),
        **_limits(phase),
    )


def _command_facts(step: Step) -> CommandFacts:
    node, program = step.node, step.node.function
    fixed = isinstance(program, Command) and not callable(program.argv)
    cwd = None
    if isinstance(program, Command) and not callable(program.cwd):
        cwd = program.cwd
    return CommandFacts(
        runs_on=node.runs_on,
        argv=program.resolve(None) if isinstance(program, Command) and fixed else (),
        cwd=None if cwd is None else os.fspath(cwd),
        artifacts=program.artifacts if isinstance(program, Command) else (),
        continue_on_failure=not node.critical,
        skip_if_failed=step.skip_if_failed,
        **_limits(node),
    )


def _limits(part: Part) -> dict[str, Any]:
    limit = part.stated_timeout
    return {
        "name": part.name,
        "timeout": None if limit == math.inf else limit,  # JSON has no infinity
        "grace": None if part.grace == math.inf else part.grace,
        "reserve": part.reserve,
    }


class Ledger:
    """Statuses of phases and commands as they come in; a phase is `(phase, "")`."""

    def __init__(self, facts: SuiteFacts) -> None:
        self._phases = {phase.name: phase for phase in facts.phases}
        self._commands = {
            (phase.name, command.name): command
            for phase in facts.phases
            for command in phase.commands
        }
        self._statuses: dict[tuple[str, str], Status] = {}

    def note(self, phase: str, command: str, status: Status) -> None:
        """A phase or a command has ended, or is not going to run."""
        self._statuses[phase, command] = status

    def unmet(self, phase: str, command: str = "") -> tuple[str, ...]:
        """The names in `skip_if_failed` of a command or a phase that did not succeed.

        A command's name comes before a phase's, where both have it.
        """
        if not command:
            keys = [(name, "") for name in self._phases[phase].skip_if_failed]
        else:
            facts = self._phases[phase]
            inside = [] if facts.parallel else [entry.name for entry in facts.commands]
            before = inside[: inside.index(command)] if inside else []
            keys = [
                (phase, name) if name in before else (name, "")
                for name in self._commands[phase, command].skip_if_failed
            ]
        return tuple(name or owner for owner, name in keys if not self._succeeded(owner, name))

    def _succeeded(self, phase: str, command: str) -> bool:
        """Whether it was `ok` or `late`; a phase of which nothing ran did not succeed."""
        if self._statuses.get((phase, command)) not in (Status.OK, Status.LATE):
            return False
        inside = [(phase, entry.name) for entry in self._phases[phase].commands]
        return bool(command) or any(self._statuses.get(key) is not Status.SKIPPED for key in inside)
