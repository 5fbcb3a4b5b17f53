"""The deadline header: a node hands on what is left of its time, and a run keeps to what it got."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from graceline.definitions.checks import brief
from graceline.durations import Duration
from graceline.engine.cleanup import enclosing_cleanup
from graceline.engine.levels import CURRENT
from graceline.errors import DeadlineSpentError, DefinitionError, GracelineError
from graceline.resilience import DEFAULT_HEADER, Malformed, decode, encode
from graceline.saying import say
from graceline.telemetry.carrying import TOKEN
from graceline.work.here import current_job

__all__ = ["MalformedHeaders", "incoming_budget", "outgoing_headers"]

_SPENT = encode(0.0)

_log = logging.getLogger("graceline.header")


def outgoing_headers(name: str = DEFAULT_HEADER) -> dict[str, str]:
    """The header that tells another service how long the work of this attempt may still take.

    Ask again for every call: the time is relative. It is that of the work, inside a cleanup block
    too: grace is never handed on. Empty if nothing limits the work. Works in worker threads and
    worker processes too. With `Tracing`, the headers of the trace come with it.

    Args:
        name: of the header.

    Raises:
        DeadlineSpentError: if nothing is left; do not make the call.
        GracelineError: outside of a run.
        DefinitionError: for what cannot be the name of a header.
    """
    _check_name(name, "outgoing_headers()")
    text = encode(_work_left())
    if text == _SPENT:
        raise DeadlineSpentError(
            f"nothing is left of the deadline that {name!r} would hand on; a call that cleanup has "
            "to make is made without this header, within its cleanup() block"
        )
    headers = _carrier()
    if text is not None:
        headers[name] = text
    return headers


def _carrier() -> dict[str, str]:
    """What sinks hand on, such as a trace."""
    level = CURRENT.get()
    if level is not None:
        return level.run.shared.hub.carrier()
    job = current_job()
    assert job is not None  # noqa: S101 - or there would be no time to hand on
    return job.carrier()


def _work_left() -> float:
    """Seconds until the work of this level is cancelled; 0 or less once it is."""
    level = CURRENT.get()
    if level is None:
        job = current_job()
        if job is None:
            raise GracelineError(
                "outgoing_headers() works only inside a run: in a node, or in a handler given as "
                "on_cleanup=; elsewhere no deadline is there to hand on"
            )
        return job.work_left()
    end = level.fired()
    block = enclosing_cleanup(level)
    if block is not None:  # it has noticed a cancel that is not ours
        end = min(end, level.foreign_at, block.deadline)
    return end - level.run.clock()


def incoming_budget(
    headers: Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]],
    name: str = DEFAULT_HEADER,
) -> float | Malformed | None:
    """What a request says of the requester's patience, for `engine.run(..., budget=)`.

    Args:
        headers: those of the request, a mapping or pairs; case does not matter.
        name: of the header.

    Returns:
        Seconds, 0 if nothing is left; None without the header. `Malformed` if it says nothing, or
        comes twice: the run then has the limits that it has without, and the engine counts it.

    Raises:
        DefinitionError: for a value in place of the headers, and what is no header or no name.
    """
    _check_name(name, "incoming_budget()")
    if isinstance(headers, str | bytes) or not isinstance(headers, Iterable):
        raise DefinitionError(
            f"incoming_budget() takes all headers of a request, not {brief(headers)}; write "
            f"incoming_budget({{{name!r}: ...}}) for the value of one"
        )
    wanted = name.lower()
    found = []
    for pair in headers.items() if isinstance(headers, Mapping) else headers:
        match pair:
            case [str() | bytes() as key, value]:
                if _text(key).lower() == wanted:
                    found.append(value)
            case _:
                raise DefinitionError(
                    "incoming_budget() takes a mapping or pairs of a name and a value, and "
                    f"{brief(pair)} is none"
                )
    for value in found:
        if not isinstance(value, str | bytes):
            raise DefinitionError(
                f"incoming_budget(): the value of {name!r} is text or bytes as it came, such as "
                f"'250m', not {brief(value)}"
            )
    return decode(", ".join(map(_text, found))) if found else None


def _check_name(name: str, where: str) -> None:
    if not isinstance(name, str) or not TOKEN.fullmatch(name):
        raise DefinitionError(
            f"{where}: {brief(name)} cannot be the name of a header; it is letters, digits and "
            f"hyphens, such as {DEFAULT_HEADER!r}"
        )


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


class MalformedHeaders:
    """Counts the deadline headers that said nothing; the first one is logged.

    Args:
        lane: of the engine that got them.
    """

    def __init__(self, lane: str) -> None:
        self.count: int = 0
        self._lane = lane

    def sift(self, budget: Duration | Malformed | None) -> Duration | None:
        """A budget as it is; what is malformed is counted, and is none."""
        if not isinstance(budget, Malformed):
            return budget
        self.count += 1
        if self.count == 1:  # a peer must not fill the log
            say(
                _log, logging.WARNING, "malformed_header",
                "a deadline header of %d characters was ignored: one is at most eight digits and a "
                "unit of H, M, S, m, u, n, and comes once; engine.health() counts more",
                budget.length, lane=self._lane, length=budget.length,
            )  # fmt: skip
        return None
