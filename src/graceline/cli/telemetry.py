"""The command `graceline telemetry export`: the dashboard and the rules, written out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from graceline.cli.ending import OK
from graceline.cli.failures import UsageError
from graceline.cli.loading import as_number
from graceline.cli.options import FLAG

__all__ = ["TELEMETRY", "telemetry"]

TELEMETRY = {"telemetry export": "one DIR"}
"""The commands of this module, with the words that each takes."""

_ABOUT = """\
What comes with graceline for Prometheus and Grafana.
"""
_EXPORT_HELP = """\
Write a Grafana dashboard, and recording and alert rules for Prometheus.

They are about the latency objective: the share of runs that end with a value \
within the limit of their pipeline.
"""
_EXPORT_EPILOGUE = """\
Examples:

  graceline telemetry export monitoring
  graceline telemetry export monitoring --objective 0.999 --period 7d

Exit codes: 0; 2 if a word is wrong, or a file is there already.
"""

telemetry: App = App(
    name="telemetry", help=_ABOUT, help_format="plaintext", result_action="return_value"
)


@telemetry.command(name="export", help=_EXPORT_HELP, help_epilogue=_EXPORT_EPILOGUE)
def _export(
    directory: Annotated[
        Path, Parameter(name="DIR", help="Where to write; it is made if it is not there.")
    ],
    /,
    *,
    prefix: Annotated[str, Parameter(help="The prefix of the metrics.")] = "graceline",
    objective: Annotated[
        float, Parameter(help="The share of runs that are to be within their limit.")
    ] = 0.99,
    period: Annotated[
        str,
        Parameter(help="How long an error budget lasts; the windows of the alerts follow it."),
    ] = "30d",
    force: Annotated[bool, FLAG, Parameter(help="Replace files that are there already.")] = False,
) -> int:
    """Write the files."""
    from graceline.telemetry.shipping import export  # noqa: PLC0415 - `run` does not pay for it

    number = as_number(period)
    if number is not None:
        raise UsageError(f"--period {period}: a number needs its unit; write {number:.15g}d")
    try:
        written = export(directory, prefix=prefix, objective=objective, period=period, force=force)
    except FileExistsError as error:
        raise UsageError(f"{error}; --force replaces them") from None
    except OSError as error:
        raise UsageError(f"{directory} cannot be written: {error.strerror}") from None
    for path in written:
        sys.stdout.write(f"{path}\n")
    return OK
