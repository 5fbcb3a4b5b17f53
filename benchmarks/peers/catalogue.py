"""Who is compared: the peers of `pins.toml`, with what is installed for each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import attrs

__all__ = ["OURS", "PINS", "Peer", "peers"]

PINS = Path(__file__).with_name("pins.toml")

OURS = "graceline"


@attrs.frozen
class Peer:
    """One of them.

    Attributes:
        name: of its adapter, and on the command line.
        title: in tables.
        install: requirements with versions; none runs in our own environment.
        env: variables of its worker, such as those that switch telemetry off.
    """

    name: str
    title: str
    install: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict)


def peers(pins: Path = PINS) -> dict[str, Peer]:
    """All peers by name, in the order of the file."""
    tables = tomllib.loads(pins.read_text("utf-8"))
    return {
        name: Peer(
            name,
            table.get("title", name.replace("_", "-")),
            tuple(table.get("install", ())),
            table.get("env", {}),
        )
        for name, table in tables.items()
    }
