"""The command `graceline completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from graceline.cli.ending import OK

if TYPE_CHECKING:
    from collections.abc import Callable

    from cyclopts import App

__all__ = ["COMPLETION_EPILOGUE", "COMPLETION_HELP", "completion_of"]

COMPLETION_HELP = """\
Print the script that lets a shell complete commands, options and files.
"""
COMPLETION_EPILOGUE = """\
Examples, each for good; a new shell reads it:

  d=~/.local/share/bash-completion/completions
  mkdir -p $d && graceline completion bash > $d/graceline

  graceline completion zsh > ~/.zfunc/_graceline
    (in ~/.zshrc: fpath+=~/.zfunc; autoload -U compinit; compinit)

  graceline completion fish > ~/.config/fish/completions/graceline.fish

Exit codes:

  0    it is printed
  2    there is none for this shell
"""


def completion_of(app: App) -> Callable[..., int]:
    """The command for the commands of an app, those that are registered later included."""

    def completion(
        shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="For which shell.")], /
    ) -> int:
        """Print a script."""
        sys.stdout.write(app.generate_completion(prog_name="graceline", shell=shell))
        return OK

    return completion
