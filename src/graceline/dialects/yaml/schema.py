"""The schema: one attrs class for each mapping that a file may hold, one field for each key."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import attrs

from graceline.dialects.yaml.forms import (
    ANYTHING,
    ARGV,
    CODES,
    CONDITION,
    COUNT,
    FLAG,
    FREE,
    ITEMS,
    METADATA,
    NAME,
    NAMES,
    OUTPUTS,
    PAUSE,
    SECONDS,
    TEXT,
    TEXTS,
    VARIABLES,
    WHOLE,
    WrongError,
    choice,
)
from graceline.dialects.yaml.keys import Nested, key
from graceline.dialects.yaml.policies import (
    ADAPTIVE,
    AdaptiveKeys,
    BackoffKeys,
    BreakerKeys,
    HedgeKeys,
)

__all__ = [
    "INPUT_TYPES",
    "BodyKeys",
    "CleanupKeys",
    "CommandKeys",
    "ConfigKeys",
    "FileKeys",
    "InputKeys",
    "PhaseKeys",
    "StageKeys",
    "StepKeys",
]

INPUT_TYPES = ("string", "integer", "number", "boolean", "array", "object", "any")
"""What an input may be declared to be; the words are those of JSON Schema."""

_Limit = float | AdaptiveKeys | None


def _cleanup_rules(
    grace: float | None, reserve: float | None, timeout: _Limit, name: str = "timeout"
) -> Iterator[WrongError]:
    """What `grace` and `reserve` have to do with each other, and with the limit."""
    if reserve is None:
        return
    if grace is not None:
        yield WrongError(
            "give grace (cleanup after the limit) or reserve (inside it), not both", "reserve"
        )
    if isinstance(timeout, AdaptiveKeys):
        yield WrongError(f"a learned {name} takes grace, and not reserve", "reserve")
    elif timeout is None or math.isinf(timeout):
        yield WrongError(f"is carved out of a finite {name}, and there is none", "reserve")
    elif reserve >= timeout:
        yield WrongError(
            f"{reserve:g} must be smaller than the {name} of {timeout:g}, or no time is left for "
            "the work",
            "reserve",
        )


@attrs.frozen(kw_only=True)
class ConfigKeys:
    """What holds for the whole pipeline."""

    timeout: _Limit = key(ADAPTIVE, "the limit of the whole pipeline")
    default_timeout: _Limit = key(
        ADAPTIVE, "fills `timeout` of every step that has none, and whose stage says nothing"
    )
    grace: float | None = key(PAUSE, "time for cleanup after a limit (5)")
    reserve: float | None = key(PAUSE, "instead of `grace`: time for cleanup inside the limit")
    fail_fast: bool | None = key(FLAG, "whether the first failure cancels what runs beside (true)")
    max_parallel: int | None = key(COUNT, "how many steps run at once")

    def rules(self) -> Iterator[WrongError]:
        """What one key has to do with another."""
        yield from _cleanup_rules(self.grace, self.reserve, self.timeout)


@attrs.frozen(kw_only=True)
class InputKeys:
    """What a run of the pipeline is given."""

    type: str = key(choice(*INPUT_TYPES), "what it is; texts are converted (any)", default="any")
    required: bool | None = key(FLAG, "whether it has to be given (if it has no default)")
    default: Any = key(ANYTHING, "what it is if it is not given")
    description: str | None = key(TEXT, "for people")

    def rules(self) -> Iterator[WrongError]:
        """What one key has to do with another; the default is checked with the inputs."""
        if self.required and self.default is not None:
            yield WrongError("has no use: an input with required: true has to be given", "default")


@attrs.frozen(kw_only=True)
class BodyKeys:
    """Something to run: a tool, a registered action, or a program."""

    tool: str | None = key(TEXT, "the tool that is called")
    action: str | None = key(TEXT, "what the tool is to do; alone, the registered action to call")
    parameters: dict[str, Any] | None = key(
        FREE, "what the tool or the action is given", template=True
    )
    command: str | list[str] | None = key(
        ARGV, "the program to run: a list, or a line for the shell", template=True
    )
    env: dict[str, str | None] | None = key(
        VARIABLES, "variables that differ from this process's; null takes one away", template=True
    )
    cwd: str | None = key(
        TEXT, "its directory; a relative one is below the root, the default", template=True
    )

    def rules(self) -> Iterator[WrongError]:
        """What one key has to do with another."""
        if self.command is None:
            if self.tool is None and self.action is None:
                yield WrongError("has nothing to run; give it tool, command or action")
            for name in ("env", "cwd", "stdin", "ok_codes", "artifacts"):
                if getattr(self, name, None) is not None:
                    yield WrongError("is used with command only", name)
            return
        for name in ("tool", "action", "parameters"):
            if getattr(self, name) is not None:
                yield WrongError("does not go with command; give one of the two", name)


@attrs.frozen(kw_only=True)
class CleanupKeys(BodyKeys):
    """What is run when a step has ended."""


@attrs.frozen(kw_only=True)
class StepKeys(BodyKeys):
    """One unit of work."""

    id: str = key(NAME, "what others call it", also=("name",), required=True)
    description: str | None = key(TEXT, "for people", template=None)
    stdin: str | None = key(TEXT, "what the program can read", template=True)
    ok_codes: list[int] | None = key(CODES, "exit codes that count as success ([0])")
    artifacts: list[str] | None = key(
        TEXTS, "patterns, each of which must match a file when the program has ended"
    )
    timeout: _Limit = key(ADAPTIVE, "the limit of one attempt; with `for_each`, of one item")
    total_timeout: float | None = key(SECONDS, "the limit of all attempts, backoffs and items")
    grace: float | None = key(PAUSE, "time for cleanup after a limit; for a program, until SIGKILL")
    reserve: float | None = key(
        PAUSE, "instead of `grace`: time for cleanup inside `total_timeout`"
    )
    max_retries: int | None = key(WHOLE, "how often it is tried again after a failure (0)")
    backoff: BackoffKeys | None = key(
        Nested(BackoffKeys), "how long is waited between the attempts"
    )
    breaker: BreakerKeys | None = key(
        Nested(BreakerKeys), "refuses attempts while the step keeps failing"
    )
    hedge: HedgeKeys | None = key(
        Nested(HedgeKeys), "sends a second copy of a slow attempt; needs `idempotent: true`"
    )
    idempotent: bool | None = key(
        FLAG, "whether it may be done twice; false retries no started one"
    )
    dependencies: tuple[str, ...] = key(
        NAMES, "steps that have to be done first, besides those in templates", default=()
    )
    condition: bool | str | None = key(
        CONDITION, "the step is skipped where this is false", template=True
    )
    on_error: str = key(
        choice("fail", "continue", "skip"),
        "what its failure does: ends the run, lets what depends on it run, or skips that (fail)",
        also=("on_failure",),
        default="fail",
    )
    cleanup: CleanupKeys | None = key(
        Nested(CleanupKeys), "what is run when the step has ended, however it did"
    )
    for_each: list[Any] | str | None = key(
        ITEMS,
        "a list to run over; templates know `item`, `index`, `is_first`, `is_last`, `length`",
        template=True,
    )
    max_parallel: int | None = key(COUNT, "how many items run at once (8)")
    runs_on: str | None = key(
        choice("coroutine", "thread", "process"), "where a Python function runs"
    )
    metadata: dict[str, Any] | None = key(
        METADATA,
        "free-form; only `timeout` has a meaning, where the step has no other",
        template=None,
    )

    def rules(self) -> Iterator[WrongError]:
        """What one key has to do with another."""
        yield from super().rules()
        yield from _cleanup_rules(self.grace, self.reserve, self.total_timeout, "total_timeout")
        if self.backoff is not None and self.max_retries is None:
            yield WrongError("is used with max_retries, which is not stated", "backoff")
        if self.max_parallel is not None and self.for_each is None:
            yield WrongError("is used with for_each, which is not stated", "max_parallel")
        if self.hedge is not None and self.idempotent is not True:
            yield WrongError("does the work twice; say idempotent: true if it may", "hedge")
        if self.command is not None and self.runs_on is not None:
            yield WrongError("is for Python functions, and this is a command", "runs_on")
        if self.metadata is not None and "timeout" in self.metadata:
            try:
                SECONDS.read(self.metadata["timeout"])
            except WrongError as error:
                yield WrongError(f"timeout: {error}", "metadata")


@attrs.frozen(kw_only=True)
class StageKeys:
    """Steps that belong together; stages run one after the other."""

    id: str = key(NAME, "what results call it", also=("name",), required=True)
    description: str | None = key(TEXT, "for people")
    timeout: _Limit = key(ADAPTIVE, "the limit of the whole stage")
    default_timeout: _Limit = key(ADAPTIVE, "fills `timeout` of its steps that have none")
    grace: float | None = key(PAUSE, "time for cleanup after a limit")
    reserve: float | None = key(PAUSE, "instead of `grace`: time for cleanup inside the limit")
    critical: bool = key(FLAG, "whether its failure ends the run (true)", default=True)
    steps: tuple[StepKeys, ...] = key(
        Nested(StepKeys, "list"), "what it does; steps that depend on nothing run at once",
        required=True,
    )  # fmt: skip

    def rules(self) -> Iterator[WrongError]:
        """What one key has to do with another."""
        yield from _cleanup_rules(self.grace, self.reserve, self.timeout)


@attrs.frozen(kw_only=True)
class CommandKeys:
    """One command of a phase of the benchmark runner."""

    command: str | list[str] = key(
        ARGV, "the program to run: a list, or a line for the shell", required=True
    )
    name: str | None = key(TEXT, "what reports call it (the program)", also=("id",))
    timeout: float | None = key(SECONDS, "its limit")
    grace: float | None = key(PAUSE, "time between SIGTERM and SIGKILL")
    reserve: float | None = key(PAUSE, "instead of `grace`: the same inside the limit")
    continue_on_failure: bool = key(FLAG, "whether its phase goes on (false)", default=False)
    skip_if_failed: tuple[str, ...] = key(
        NAMES, "commands before it, or phases before its own", default=()
    )
    env: dict[str, str | None] | None = key(
        VARIABLES, "variables that differ from this process's; null takes one away"
    )
    cwd: str | None = key(TEXT, "its directory; a relative one is below the root, the default")
    stdin: str | None = key(TEXT, "what the program can read")
    max_output: int | None = key(WHOLE, "bytes kept of each output stream (1048576)")
    ok_codes: list[int] | None = key(CODES, "exit codes that count as success ([0])")
    artifacts: list[str] | None = key(
        TEXTS, "patterns, each of which must match a file when the program has ended"
    )

    def rules(self) -> Iterator[WrongError]:
        """What one key has to do with another."""
        yield from _cleanup_rules(self.grace, self.reserve, self.timeout)


@attrs.frozen(kw_only=True)
class PhaseKeys:
    """Commands that belong together, one after the other; phases are those of `graceline bench`."""

    name: str = key(TEXT, "what reports call it", also=("id",), required=True)
    commands: tuple[CommandKeys, ...] = key(
        Nested(CommandKeys, "list"), "what it runs", required=True
    )
    timeout: float | None = key(SECONDS, "the limit of the whole phase")
    grace: float | None = key(PAUSE, "time between SIGTERM and SIGKILL")
    reserve: float | None = key(PAUSE, "instead of `grace`: the same inside the limit")
    continue_on_failure: bool = key(FLAG, "whether the suite goes on (false)", default=False)
    skip_if_failed: tuple[str, ...] = key(NAMES, "phases before it", default=())
    parallel: bool = key(FLAG, "whether its commands run at once (false)", default=False)

    def rules(self) -> Iterator[WrongError]:
        """What one key has to do with another."""
        yield from _cleanup_rules(self.grace, self.reserve, self.timeout)


@attrs.frozen(kw_only=True)
class FileKeys:
    """A whole file."""

    id: str | None = key(TEXT, "the name of the pipeline; `name` if it is left out")
    name: str | None = key(TEXT, "the name for people; `id` if it is left out")
    description: str | None = key(TEXT, "for people")
    version: str | None = key(TEXT, "of the file, for people; quoted, as in '1.0'")
    config: ConfigKeys = key(
        Nested(ConfigKeys), "what holds for the whole pipeline", factory=ConfigKeys
    )
    inputs: dict[str, InputKeys] = key(
        Nested(InputKeys, "map"), "what a run is given", also=("parameters",), factory=dict
    )
    stages: tuple[StageKeys, ...] = key(
        Nested(StageKeys, "list"), "steps in groups, one after the other", default=()
    )
    steps: tuple[StepKeys, ...] = key(
        Nested(StepKeys, "list"), "what is done; steps that depend on nothing run at once",
        default=(),
    )  # fmt: skip
    outputs: dict[str, Any] | None = key(
        OUTPUTS, "what the run gives: templates by name", template=True
    )
    phases: tuple[PhaseKeys, ...] = key(
        Nested(PhaseKeys, "list"), "instead of steps: a suite for the benchmark runner", default=()
    )

    def groups(self) -> list[tuple[StageKeys | None, tuple[StepKeys, ...]]]:
        """The steps by their stages; None for the only one of a file without stages."""
        return [(stage, stage.steps) for stage in self.stages] or [(None, self.steps)]

    def rules(self) -> Iterator[WrongError]:
        """What one key has to do with another."""
        if self.id is None and self.name is None:
            yield WrongError("has no name; give it an id")
        held = [name for name in ("stages", "steps", "phases") if getattr(self, name)]
        if not held:
            yield WrongError("has nothing to do; give it steps, stages or phases")
        for other in held[1:]:
            yield WrongError(f"does not go with {held[0]}; give one of the two", other)
        if held != ["phases"]:
            return
        if self.inputs:
            yield WrongError("is for steps: commands of phases are no templates", "inputs")
        if self.outputs is not None:
            yield WrongError("is for steps: what phases leave is in their report", "outputs")
        for name in ("default_timeout", "fail_fast", "max_parallel"):
            if getattr(self.config, name) is not None:
                yield WrongError(f"{name} is for steps, and not for phases", "config")
        if isinstance(self.config.timeout, AdaptiveKeys):
            yield WrongError("timeout of a suite is a number of seconds", "config")
