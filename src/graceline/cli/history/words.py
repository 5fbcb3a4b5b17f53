"""What is known of a key, in words: for the terminal and for pages."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from graceline.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graceline.adaptive.course import Summary

__all__ = ["facts_of", "known", "packed", "share_of", "split_name"]


def known(seconds: float | None) -> str:
    """A duration, or that nobody can tell it."""
    return "unknown" if seconds is None else format_duration(seconds)


def share_of(part: int, whole: int) -> str:
    """A share in percent."""
    return f"{100 * part / whole:.1f} %"


def facts_of(summary: Summary) -> list[tuple[str, str]]:
    """The facts about a key, each with the word that names it."""
    newest = (
        "" if summary.newest is None else f", the newest of {summary.newest:%Y-%m-%d %H:%M} UTC"
    )
    facts = [("samples", f"{summary.samples}{newest}"), ("censored", _censored(summary))]
    # What is unknown is so for the higher quantiles too.
    why = "" if summary.p99 is not None else "; unknown where too many were censored to tell"
    said = f"p50 {known(summary.p50)}, p95 {known(summary.p95)}, p99 {known(summary.p99)}"
    facts.append(("duration", said + why))
    if summary.limit is None or summary.low is None or summary.high is None:
        return [*facts, ("limit", "none is known here: it is not learned, or was not applied yet")]
    between = f"; from {known(summary.low)} to {known(summary.high)} in these samples"
    facts.append(("limit", known(summary.limit) + (between if summary.low < summary.high else "")))
    if summary.counted < summary.samples:
        said = f"the newest {summary.counted} samples; the learner has forgotten the older ones"
        facts.append(("counted", said))
    return [*facts, ("probes", _probes(summary)), ("alarms", str(summary.alarms))]


def _censored(summary: Summary) -> str:
    if not summary.censored:
        return "0"
    return (
        f"{summary.censored} ({share_of(summary.censored, summary.samples)}): cut or cancelled, "
        "they would have taken longer"
    )


def _probes(summary: Summary) -> str:
    if not summary.probes:
        return "0"
    finished = summary.probes - summary.unfinished
    return f"{summary.probes}: {finished} finished, {summary.unfinished} did not"


def split_name(name: str, width: int) -> list[str]:
    """A long name in lines of at most some characters, split after dots where that is enough."""
    lines = [""]
    for part in re.findall(r"[^.]*\.?", name):
        if len(lines[-1]) + len(part) <= width:
            lines[-1] += part
        else:
            lines += textwrap.wrap(part, max(1, width), break_on_hyphens=False)
    return [line for line in lines if line]


def packed(words: Iterable[str], width: int, between: str) -> list[str]:
    """Words in lines of at most some characters, as many in each as fit; none is split."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(between) + len(word) <= width:
            lines[-1] += between + word
        else:
            lines.append(word)
    return lines
