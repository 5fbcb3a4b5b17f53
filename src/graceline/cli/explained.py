"""A step explained on a terminal: what cuts it first, and all levels with what was looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from graceline.durations import format_duration
from graceline.timelines.lettering import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from graceline.dialects.yaml import Explanation
    from graceline.dialects.yaml.course import Ended
    from graceline.dialects.yaml.explanations import Cleanup, LevelLimit, Retries, Statement

__all__ = ["show_step"]

_ON_ERROR = {
    "fail": "the run fails",
    "continue": "the run goes on; what depends on it runs, and can look at the error",
    "skip": "the run goes on; what depends on it is skipped",
}
_ABOVE = {"node": "total_timeout", "stage": "the limit of the stage", "pipeline": "that of the run"}
_STOPPED = {
    "attempts": "",
    "budget": ": the retry budget allows 3 in 10s while nothing succeeds",
    "deadline": ": too little time is left for another one",
    "not_retryable": ": idempotent is false",
}


def show_step(out: Console, said: Explanation) -> None:
    """Show an explanation."""
    where = f"stage {said.stage}, " if said.stage else ""
    head = Text.assemble(
        (f"step {said.step}", "bold"),
        (shown(f"  {where}pipeline {said.pipeline}, {said.at}", out.encoding), "dim"),
    )
    out.print(head, soft_wrap=True)
    summary = shown(said.summary, out.encoding)
    out.print(Text(summary, "bold" if said.first else "bold yellow"), soft_wrap=True)
    out.print()
    out.print(_levels(out, said))
    out.print()
    facts = Table.grid(padding=(0, 2, 0, 0))
    previous = ""
    for word, text in _facts(said):
        name = Text("" if word == previous else word, "bold")
        facts.add_row(name, Text(shown(text, out.encoding), overflow="fold"))
        previous = word
    out.print(facts)


def _levels(out: Console, said: Explanation) -> Table:
    """Each level, from the inside out, with what was looked at for its limit."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold", min_width=min(16, out.width // 4))

    def add(what: str, limit: str, note: str, statements: tuple[Statement, ...]) -> None:
        table.add_row(Text(what, "bold"), Text(limit, "bold"), Text(note, "dim"))
        for one in statements:
            holds = one.standing == "holds"
            place = [shown(one.at, out.encoding)] if one.at else []
            aside = [one.standing] if one.standing == "stands back" else []
            style = "" if holds else "dim"
            table.add_row(
                Text(f"{'>' if holds else ' '} {one.key}", style),
                Text(one.says, style),
                Text(", ".join((*place, *aside)), style),
            )

    for level in said.levels:
        limit = "none" if level.limit is None else format_duration(level.limit)
        add(level.what, limit, ", ".join(_notes(said, level)), level.candidates)
    cleanup = said.cleanup
    add("cleanup", format_duration(cleanup.grace), _clamped(cleanup), cleanup.candidates)
    return table


def _notes(said: Explanation, level: LevelLimit) -> Iterator[str]:
    """How a limit stands to the others."""
    if level.limit is None or level.cut_after is None:
        return
    if level.reserve:
        cut, reserve = format_duration(level.cut_after), format_duration(level.reserve)
        yield f"work is cut after {cut}, {reserve} are kept for cleanup"
    if level.clamped_by is not None:
        yield f"never reached: {_ABOVE[level.clamped_by]} comes first"
    elif level.learned is not None:
        above = said.levels[said.levels.index(level) + 1 :]
        ends = [(one.cut_after, one.level) for one in above if one.cut_after is not None]
        if ends and min(ends)[0] < level.learned.ceiling:
            least, by = min(ends)
            yield f"never above {format_duration(least)}: {_ABOVE[by]} comes first"
    first = said.first
    if level.overtakes_after is not None and first is not None:
        what = first.level if first.level == "stage" else "step"
        later = format_duration(level.overtakes_after)
        whom = "it" if level.level == "stage" else "the run"
        yield f"cuts first if the {what} starts {later} or more into {whom}"


def _clamped(cleanup: Cleanup) -> str:
    if cleanup.clamped_by is None or cleanup.after_first is None:
        return ""
    left = format_duration(max(cleanup.after_first, 0.0))
    level = {"node": "step"}.get(cleanup.clamped_by, cleanup.clamped_by)
    return f"{left} after the first cut: the cleanup of the {level} ends then"


def _facts(said: Explanation) -> Iterator[tuple[str, str]]:
    """What else decides what becomes of it, each with its word."""
    retries, hedge, breaker, loop = said.retries, said.hedge, said.breaker, said.for_each
    yield from (("retries", text) for text in _retries(retries))
    if hedge is not None:
        after = "the p95 of the calls" if hedge.delay is None else format_duration(hedge.delay)
        yield "hedge", f"a second copy of an attempt after {after}, with the same limit of its own"
    if breaker is not None:
        opens = f"when {breaker.failure_rate:.0%} of at least {breaker.min_calls} calls fail"
        if breaker.consecutive is not None:
            opens += f", or {breaker.consecutive} in a row"
        length = format_duration(breaker.open_for)
        yield "breaker", f"opens {opens}; then attempts are refused for {length}"
    if said.max_parallel is not None:
        count = f"{said.max_parallel} attempts at once in all runs of the file"
        yield "bulkhead", f"{count}; waiting for a place counts for all limits but an attempt's"
    if loop is not None:
        count = "the items of a list" if loop.items is None else f"{loop.items} items"
        yield "for each", f"{count}, {loop.max_parallel} at once; the first that fails ends it"
    yield "on error", f"{said.on_error}: {_ON_ERROR[said.on_error]}"
    if said.condition is not None:
        yield "condition", f"{said.condition}; skipped where that is false"
    before = [*said.waits_for, *(f"stage {name}" for name in said.waits_for_stages)]
    yield "waits for", ", ".join(before) or "nothing"
    yield "needed by", ", ".join(said.waited_for_by) or "no step"


def _retries(retries: Retries) -> Iterator[str]:
    if retries.backoff is None:
        yield "none"
        return
    backoff = retries.backoff
    initial, most = format_duration(backoff.initial), format_duration(backoff.max)
    yield (
        f"up to {retries.attempts} attempts; the first backoff is at most {initial}, each further "
        f"one {backoff.factor:g} times that, at most {most}"
    )
    yield f"if all hang: {_ended(retries.hanging)}"
    yield f"if all fail at once: {_ended(retries.failing)}"


def _ended(ended: Ended) -> str:
    if ended.after is None:
        return "never over" if ended.attempts == 1 else f"more than {ended.attempts} attempts"
    after = format_duration(ended.after)
    count = f"{ended.attempts} attempt{'s' * (ended.attempts != 1)}"
    if ended.why == "limit":
        assert ended.level is not None  # noqa: S101 - a limit is some level's
        return f"cut after {after} by {_ABOVE[ended.level]}, in attempt {ended.attempts}"
    return f"over after at most {after}, with {count}{_STOPPED[ended.why]}"
