"""Exporting: what a store knows as lines of JSON, and back; another machine merges them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any, TextIO, cast, get_args

import attrs

from graceline.adaptive.history import DurationHistory
from graceline.adaptive.stores import Applied, Key, Record, Records, Store, Why

__all__ = ["export_records", "import_records"]

_FORMAT = 1
"""The version of an exported line; a reader refuses a newer one."""


def export_records(store: Records, file: TextIO) -> int:
    """Write everything as JSON lines, one key per line; returns how many."""
    count = 0
    for key in store.keys():  # noqa: SIM118 - a store is no mapping
        record = store.load(key)
        if record is None:  # forgotten meanwhile, by another process
            continue
        line = {
            "format": _FORMAT,
            **attrs.asdict(key),
            "state": dict(record.state),
            "history": record.history.dump(),
            "limits": [list(limit) for limit in record.limits],
        }
        file.write(json.dumps(line, allow_nan=False) + "\n")
        count += 1
    return count


def import_records(store: Store, lines: Iterable[str]) -> int:
    """Merge JSON lines that `export_records` wrote into a store; returns how many.

    All lines are read before the first one is merged, so a file that is broken changes nothing.

    Raises:
        ValueError: names the line that is none of ours, or is of a newer format.
    """
    records = list(_parse(lines))
    for key, record in records:
        known = store.load(key)
        merged = record if known is None else known.merge(record)
        store.put(key, record.history.samples(), merged.state, record.limits)
    return len(records)


def _parse(lines: Iterable[str]) -> Iterator[tuple[Key, Record]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document: dict[str, Any] = json.loads(line.strip())
            version = document.pop("format")
            state = {str(name): _number(value) for name, value in document.pop("state").items()}
            history = DurationHistory.load(document.pop("history"))
            limits = tuple(_applied(*limit) for limit in document.pop("limits", ()))
            key = Key(**{name: str(document[name]) for name in document})
        except (
            AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError,
        ) as error:  # fmt: skip
            why = _why_not(error)
            raise ValueError(f"line {number} is no exported history: {why}") from error
        if version != _FORMAT:
            raise ValueError(
                f"line {number} has format {version!r}; this version of graceline reads {_FORMAT}"
            )
        yield key, Record(history, state, limits)


def _why_not(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, at column {error.colno}"
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


def _applied(at: object, limit: object, why: object) -> Applied:
    if why not in get_args(Why):
        raise ValueError(f"{why!r} is not what a limit was; one of {', '.join(get_args(Why))}")
    return Applied(_number(at), _number(limit), cast("Why", why))


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    if not isfinite(value):
        raise ValueError(f"{value!r} is not finite")
    return value
