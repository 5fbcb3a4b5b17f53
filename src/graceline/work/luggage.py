"""Luggage: what sinks send along with a job to a worker process, such as the trace it belongs to.

Each sink gives headers, and a function that takes them up there: called in the context of the job,
it returns what gives the headers of calls that the job makes. Luggage that is lost ends no job.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from graceline.errors import GracelineError
from graceline.saying import say
from graceline.telemetry.carrying import add_headers

__all__ = ["Carrier", "Luggage", "gather", "pack_luggage", "take_up"]

Carrier: TypeAlias = Callable[[], Mapping[str, str]]
"""Gives the headers that go out with a call made here and now."""
Luggage: TypeAlias = Sequence[tuple[Callable[[Mapping[str, str]], Carrier], Mapping[str, str]]]
"""Functions that take headers up, each with its headers."""

_log = logging.getLogger("graceline.work")
_COMPLAINED: set[str] = set()


def pack_luggage(luggage: Luggage, node: str) -> bytes:
    """The luggage as bytes; none at all if there is none, or if it cannot be sent."""
    if not luggage:
        return b""
    from graceline.work.parcels import pack  # noqa: PLC0415 - `pickle` is for who has processes

    try:
        return pack(luggage, f"node {node!r}: what a sink sends along with its job")
    except GracelineError as error:
        say(_log, logging.WARNING, "luggage_unsendable", "%s", error, node=node)
        return b""


def take_up(data: bytes, node: str) -> tuple[Carrier, ...]:
    """In the worker, in the context of the job: take up what was sent along."""
    from graceline.work.parcels import unpack  # noqa: PLC0415 - as above

    carriers: list[Carrier] = []
    try:
        luggage: Luggage = unpack(data, f"node {node!r}: what a sink sent along with its job")
        carriers.extend(resume(headers) for resume, headers in luggage)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a sink raises, the job goes on
        say(
            _log, logging.WARNING, "luggage_lost",
            "node %r: what a sink sent along with its job is lost", node, exc_info=error, node=node,
        )  # fmt: skip
    return tuple(carriers)


def gather(carriers: Sequence[Carrier], node: str) -> dict[str, str]:
    """The headers of a call that a job makes; what is wrong is logged once for a node."""
    headers: dict[str, str] = {}
    for carrier in carriers:
        try:
            add_headers(headers, carrier())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
            if node in _COMPLAINED:
                continue
            _COMPLAINED.add(node)
            say(
                _log, logging.WARNING, "headers_missing",
                "node %r: headers of a sink are missing", node, exc_info=error, node=node,
            )  # fmt: skip
    return headers
