"""Which lane it is where none is named: the same for an engine and for who reads its history."""

from __future__ import annotations

import os

from graceline.definitions.checks import check_name

__all__ = ["default_lane"]


def default_lane() -> str:
    """The environment variable `GRACELINE_LANE`, else `default`.

    Raises:
        DefinitionError: for one that cannot be a name.
    """
    return check_name(os.environ.get("GRACELINE_LANE") or "default", "GRACELINE_LANE")
