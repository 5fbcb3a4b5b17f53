"""Work that is a child program: started in a group of its own, and ended with all of it.

At the node's deadline the group gets SIGTERM. Its members may use the grace period, and what they
write is read on, because a program that dies of a broken pipe has cleaned up nothing. At the end of
the grace period the group gets SIGKILL, whether its leader is still there or not.
"""

from __future__ import annotations

import glob
import os
import re
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from graceline.definitions import Command
from graceline.errors import CommandFailedError
from graceline.results import CommandOutput
from graceline.work.base import Bound, WorkContext
from graceline.work.child import Child
from graceline.work.guard import Guard

__all__ = ["bind_command"]

_DRAIN = 0.25
"""Seconds for what a program left in the background to close its pipes, before it is killed."""
_NO_VARIABLE = re.compile("[^A-Z0-9_]")
_SHOWN = 200
"""Characters of its last words in a message."""


def bind_command(command: Command, context: Callable[[], WorkContext], guard: Guard) -> Bound:
    """Bind a command; `context` finds the node that is running."""
    return partial(_run, command, context, guard)


async def _run(
    command: Command, context: Callable[[], WorkContext], guard: Guard, value: Any
) -> CommandOutput:
    argv = command.resolve(value)
    stdin = command.feed(value)
    changes, cwd = command.surroundings(value)
    here = "" if cwd is None else os.fspath(cwd)
    output = await _run_program(command, argv, changes, here, stdin, context(), guard)
    found: tuple[str, ...] = ()
    if command.artifacts:
        # In a thread, because a pattern may look through a whole tree.
        found = await trio.to_thread.run_sync(
            _artifacts, command, output, here, abandon_on_cancel=True
        )
    return attrs.evolve(output, artifacts=found)


@trio.lowlevel.enable_ki_protection
async def _run_program(
    command: Command,
    argv: tuple[str, ...],
    changes: Mapping[str, str | None],
    here: str,
    stdin: bytes | None,
    context: WorkContext,
    guard: Guard,
) -> CommandOutput:
    """Run a program to its end, and that of its group.

    Raises:
        CommandFailedError: if it did not start, or did not end as it should.
    """
    env = _environment(changes, context.carrier())
    _find(command, argv[0], env, here, told="PATH" in changes)
    await guard.start()
    try:
        child = Child(
            argv, env=env, cwd=here or None, stdin=stdin, max_output=command.max_output,
            guard=guard, received=context.output_received,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise CommandFailedError(f"{_name(command)} could not be started: {error}") from error
    try:
        try:
            await child.until_exited()
        except (trio.Cancelled, KeyboardInterrupt) as error:
            child.collect()
            if not child.exited:  # else it was first: what it has done counts
                await _stop(child, context)
                context.save_partial(_output(argv, child))
                raise
            if isinstance(error, KeyboardInterrupt):
                raise
        with trio.CancelScope(shield=True):
            await child.until_eof(min(_DRAIN, context.remaining()))
            await child.end()
    finally:
        child.close()
    if child.refusal:
        raise CommandFailedError(f"{_name(command)} could not be started: {child.refusal}")
    output = _output(argv, child)
    context.save_partial(output)  # for whatever may still go wrong
    _judge(command, output)
    return output


async def _stop(child: Child, context: WorkContext) -> None:
    """After a cancel: ask the group to end, and end it when its time is over."""
    child.stop()
    context.signal_sent(int(signal.SIGTERM), child.pid)
    with context.cleanup():
        await child.until_gone()
    with trio.CancelScope(shield=True):
        if not child.gone:
            context.signal_sent(int(signal.SIGKILL), child.pid)
        await child.end()


def _environment(changes: Mapping[str, str | None], carrier: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, with what sinks hand on, and the changes of a command."""
    env = dict(os.environ)
    if "traceparent" in carrier:
        env.pop("TRACESTATE", None)  # it would be that of another trace
    for header, value in carrier.items():
        env[_NO_VARIABLE.sub("_", header.upper())] = value
    for name, text in changes.items():
        if text is None:
            env.pop(name, None)
        else:
            env[name] = text
    return env


def _find(command: Command, program: str, env: Mapping[str, str], cwd: str, *, told: bool) -> None:
    """Complain of a program that is not there before anything is started: a shell would mumble."""
    here = cwd or "."
    if not Path(here).is_dir():
        raise CommandFailedError(f"{_name(command)}: its cwd= {here!r} is no directory")
    if "/" in program:
        path = Path(here, program)
        if not path.is_file():
            raise CommandFailedError(f"{_name(command)}: there is no program {str(path)!r}")
        if not os.access(path, os.X_OK):
            raise CommandFailedError(f"{_name(command)}: {str(path)!r} is not executable")
        return
    places = env.get("PATH", os.defpath)
    for place in places.split(":"):
        # As text: a path object for each of them would cost as much as a tenth of the start.
        found = f"{place or '.'}/{program}"
        if not found.startswith("/"):
            found = f"{here}/{found}"
        if os.access(found, os.X_OK) and Path(found).is_file():
            return
    own = f", {places!r}" if told else ""  # else it is long, and everybody can see it
    raise CommandFailedError(f"{_name(command)}: there is no program {program!r} in its PATH{own}")


def _output(argv: tuple[str, ...], child: Child) -> CommandOutput:
    code = child.returncode
    stdout, stdout_dropped = child.stdout.result()
    stderr, stderr_dropped = child.stderr.result()
    return CommandOutput(
        argv=argv,
        exit_code=None if code is None or code < 0 else code,
        signal=None if code is None or code >= 0 else -code,
        stdout=stdout,
        stderr=stderr,
        stdout_dropped=stdout_dropped,
        stderr_dropped=stderr_dropped,
    )


def _judge(command: Command, output: CommandOutput) -> None:
    """Raise if a program did not end as it should."""
    if output.exit_code in command.ok_codes:
        return
    if output.signal is not None:
        how = f"was ended by signal {output.signal} ({_signal_name(output.signal)})"
    elif output.exit_code is not None:
        how = f"exited with code {output.exit_code}"
    else:
        how = (
            "ended, and nobody can tell how: SIGCHLD is ignored in this process, or something in "
            "it waits for the children of others"
        )
    lines = output.stderr.split("\n") if output.stderr else []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    said = f"; its last words: {last[-_SHOWN:]!r}" if last else ""
    raise CommandFailedError(f"{_name(command)} {how}{said}", output=output)


def _artifacts(command: Command, output: CommandOutput, here: str) -> tuple[str, ...]:
    """The files that the patterns of a command match; each pattern has to match one."""
    found: dict[str, None] = {}
    for pattern in command.artifacts:
        matches = glob.glob(pattern, root_dir=here or None, recursive=True)  # noqa: PTH207 - a pattern may be absolute
        files = [path for path in sorted(Path(here, match) for match in matches) if path.is_file()]
        if not files:
            raise CommandFailedError(
                f"{_name(command)} left no file that matches {pattern!r} in "
                f"{here or str(Path.cwd())!r}",
                output=output,
            )
        found |= dict.fromkeys(map(str, files))
    return tuple(found)


def _name(command: Command) -> str:
    return f"command {command.__name__!r}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "a real-time signal"
