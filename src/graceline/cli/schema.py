"""The command `graceline schema`: the JSON Schema of files, for editors and other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from graceline.cli.ending import OK
from graceline.cli.failures import UsageError
from graceline.cli.files import dialect
from graceline.cli.writing import check_places, write_file

__all__ = ["SCHEMA_EPILOGUE", "SCHEMA_HELP", "schema"]

SCHEMA_HELP = """\
Print the JSON Schema of pipelines and suites in files.

With it an editor completes and checks keys. References, tools and cycles are \
for `graceline check`.
"""
SCHEMA_EPILOGUE = """\
Examples:

  graceline schema --output pipeline.schema.json
  graceline schema | jq .title

An editor with a YAML language server finds it by a line of the file:

  # yaml-language-server: $schema=pipeline.schema.json

Exit codes:

  0    it is written
  2    a mistake in the command line, or the file cannot be written
"""


def schema(
    *,
    output: Annotated[
        Path | None, Parameter(help="Write it to this file, instead of standard output.")
    ] = None,
) -> int:
    """Print the schema."""
    with dialect():
        from graceline.dialects.yaml import shipped_schema  # noqa: PLC0415 - an extra

        text = shipped_schema()
    if output is None:
        sys.stdout.write(text)
        return OK
    check_places({"--output": output})
    try:
        write_file(output, text)
    except OSError as error:
        raise UsageError(f"--output {output}: it cannot be written: {error}") from None
    sys.stdout.write(f"{output}\n")
    return OK
