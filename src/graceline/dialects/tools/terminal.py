"""The tool `terminal`: a program, run and ended as a `Command` node runs and ends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from graceline.definitions import Command
from graceline.dialects.tools.actions import Actions
from graceline.dialects.tools.results import ToolRefusedError
from graceline.engine.site import current_guard, current_site
from graceline.errors import DefinitionError
from graceline.results import CommandOutput
from graceline.work.program import bind_command

__all__ = ["Terminal"]


class Terminal(Actions):
    """Runs programs; the value is a `CommandOutput`.

    The program leads a process group of its own. At the step's limit the group gets SIGTERM, and
    SIGKILL at the end of the grace period, or at once if this process is killed.

    Args:
        root: the directory where programs start; `cwd` is relative to it.
    """

    name: ClassVar[str] = "terminal"
    actions: ClassVar[dict[str, str]] = {"run": "run", "execute": "run"}
    otherwise: ClassVar[str] = "run"

    def __init__(self, root: Path | str = ".") -> None:
        self._root = Path(root).absolute()

    async def run(
        self,
        command: str | Sequence[str],
        cwd: str | None = None,
        env: Mapping[str, str | None] | None = None,
        stdin: str | bytes | None = None,
        ok_codes: Sequence[int] = (0,),
        max_output: int = 1 << 20,
    ) -> CommandOutput:
        """Run a program to its end.

        Args:
            command: the program and its arguments, or a line for the shell.
            cwd: the directory, relative to the root.
            env: variables that differ from this process's; None takes one away.
            stdin: what it can read.
            ok_codes: exit codes that count as success.
            max_output: bytes that are kept of each of its output streams.

        Raises:
            ToolRefusedError: for parameters that no command takes.
            CommandFailedError: if it did not start, or did not end as it should.
        """
        try:
            definition = Command(
                command,
                cwd=self._root / cwd if cwd is not None else self._root,
                env=env,
                stdin=stdin,
                ok_codes=tuple(ok_codes),
                max_output=max_output,
            )
        except (DefinitionError, TypeError) as error:
            raise ToolRefusedError(f"terminal: {error}") from error
        output: CommandOutput = await bind_command(definition, current_site, current_guard())(None)
        return output
