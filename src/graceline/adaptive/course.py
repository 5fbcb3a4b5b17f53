"""How the calls of a key went, one after another: their durations, the p95 then, and their limit.

It is for people who look at a record. Nothing is learned here, and nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf

import attrs

from graceline.adaptive.history import DurationHistory, Sample
from graceline.adaptive.stores import Record, Why

__all__ = [
    "Point",
    "Summary",
    "course_of",
    "quantiles",
    "summary_of",
    "time_of",
]

_P95 = 0.95
_EARLIEST, _LATEST = 1e9, 1e10
"""Stamps between September 2001 and 2286 are Unix time; counted ones do not get that far."""


@attrs.frozen
class Point:
    """One call.

    Attributes:
        at: its stamp.
        duration: seconds that it took.
        censored: whether it would have taken longer.
        p95: the Kaplan-Meier p95 of the window that ends with it, in seconds; None if that does not
            say.
        limit: the learned limit that it had, in seconds; None if none is known.
        why: what that limit was; None if none is known.
    """

    at: float
    duration: float
    censored: bool
    p95: float | None
    limit: float | None
    why: Why | None


@attrs.frozen
class Summary:
    """What is known of a key, in a few numbers. Durations are seconds.

    Attributes:
        samples: how many samples there are.
        censored: how many of them are censored.
        p50: the duration that half of the calls do not exceed; None if the samples do not say.
        p95: the same for 95 %.
        p99: the same for 99 %.
        limit: the newest learned limit; that of a probe, which is for one call, only if there is no
            other. None if none is known.
        low: the lowest learned limit of these samples, probes left out as before.
        high: the highest one.
        probes: how many calls were probes.
        unfinished: how many of those are censored.
        alarms: how many calls raised an alarm.
        counted: how many of the samples the learner counts; the older ones it has forgotten.
        newest: when the newest sample is from; None if the stamps are no Unix time.
    """

    samples: int
    censored: int
    p50: float | None
    p95: float | None
    p99: float | None
    limit: float | None
    low: float | None
    high: float | None
    probes: int
    unfinished: int
    alarms: int
    counted: int
    newest: datetime | None


def time_of(at: float) -> datetime | None:
    """The time of a stamp that is Unix time, in UTC; None for any other stamp."""
    return datetime.fromtimestamp(at, UTC) if _EARLIEST <= at < _LATEST else None


def quantiles(samples: Sequence[Sample], p: float) -> list[float | None]:
    """For each sample, the Kaplan-Meier quantile of all samples up to it, in seconds.

    None where those do not say. The samples are in the order of their stamps.
    """
    # Not one history that grows: it leaves out what cannot count yet, and may count later.
    return [
        DurationHistory.of(samples[:number], number).quantile(p)
        for number in range(1, len(samples) + 1)
    ]


def course_of(record: Record) -> tuple[Point, ...]:
    """The calls of a record, oldest first."""
    samples = record.history.samples()
    applied = {limit.at: limit for limit in record.limits}
    return tuple(
        Point(
            at,
            duration,
            censored,
            p95,
            applied[at].limit if at in applied else None,
            applied[at].why if at in applied else None,
        )
        for (at, duration, censored), p95 in zip(samples, quantiles(samples, _P95), strict=True)
    )


def summary_of(record: Record) -> Summary:
    """The numbers of a record."""
    history = record.history
    samples = history.samples()
    curve = history.curve()
    censored = [at for at, _, is_censored in samples if is_censored]
    stamps = {at for at, _, _ in samples}
    known = [limit for limit in record.limits if limit.at in stamps] or record.limits
    probes = {one.at for one in known if one.why == "probe"}
    limits = [one.limit for one in known if one.why != "probe"] or [one.limit for one in known]
    since = record.state.get("since", -inf)
    return Summary(
        samples=len(samples),
        censored=len(censored),
        p50=curve.quantile(0.5),
        p95=curve.quantile(_P95),
        p99=curve.quantile(0.99),
        limit=limits[-1] if limits else None,
        low=min(limits, default=None),
        high=max(limits, default=None),
        probes=len(probes),
        unfinished=len(probes.intersection(censored)),
        alarms=sum(one.why == "alarm" for one in known),
        counted=sum(at >= since for at, _, _ in samples),
        newest=time_of(history.newest),
    )
