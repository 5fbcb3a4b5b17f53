"""The timeline: a sink that keeps the events of one run and turns them into rows of plain data.

It knows more than `result.timeline`, which is made from the outcomes alone: each attempt with its
backoff, abandoned threads, and what goes on in a run that has not ended. While the run goes on it
only keeps what it hears; what that means is found out when somebody looks.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, TypeAlias

import attrs

from graceline.deadlines import Blame, Status
from graceline.results import timeout_class
from graceline.telemetry import events
from graceline.timelines.drawn import Drawn
from graceline.timelines.rows import AttemptRow, Row, blames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graceline.telemetry.events import Event

__all__ = ["Timeline"]

_Key: TypeAlias = tuple[str, str]
"""Stage and node; a stage is `(stage, "")`, the pipeline is `("", "")`."""


_Started: TypeAlias = events.RunStarted | events.StageStarted | events.NodeStarted
_Finished: TypeAlias = events.RunFinished | events.StageFinished | events.NodeFinished


class Timeline(Drawn):
    """A sink that keeps the events of one run: `open_engine(sinks=[timeline])`.

    Args:
        run_id: the run to keep; by default the first one that is heard of.
    """

    inline = True

    def __init__(self, run_id: str | None = None) -> None:
        self._run_id = run_id
        self._heard: deque[Event] = deque()
        self._pipeline = ""
        self._origin: float | None = None
        self._admitted: float | None = None
        self._shape: tuple[tuple[str, tuple[str, ...]], ...] = ()
        self._started: dict[_Key, _Started] = {}
        self._finished: dict[_Key, _Finished] = {}
        self._cancelled: float | None = None
        self._hanging: dict[_Key, int] = {}
        self._attempts: dict[_Key, list[events.AttemptFinished]] = {}
        self._alternatives: dict[_Key, list[events.AlternativeFinished]] = {}
        self._unhedged: dict[tuple[_Key, int], str | None] = {}

    def wants_trace(self) -> bool:
        """It does: the parts that end well are most of the picture."""
        return True

    def __call__(self, event: Event) -> None:
        """Keep an event, if it is one of this run: the loop waits meanwhile."""
        if event.run_id == self._run_id:
            self._heard.append(event)
        elif self._run_id is None and event.run_id:
            self._run_id = event.run_id
            self._heard.append(event)

    def _catch_up(self) -> None:
        """Write down what the events say that were kept since the last look."""
        heard = self._heard
        while heard:
            self._note(heard.popleft())

    def _note(self, event: Event) -> None:
        self._pipeline = event.pipeline
        if isinstance(event, events.RunStarted):
            self._origin, self._admitted = event.at - event.queued, event.at
            self._shape = event.nodes
        elif isinstance(event, events.RunFinished):
            self._origin = event.started
        key = (getattr(event, "stage", ""), getattr(event, "node", ""))
        if isinstance(event, _Started):
            self._started[key] = event
        elif isinstance(event, _Finished):
            self._finished[key] = event
        elif isinstance(event, events.AttemptFinished):
            self._attempts.setdefault(key, []).append(event)
        elif isinstance(event, events.AlternativeFinished):
            self._alternatives.setdefault(key, []).append(event)
        elif isinstance(event, events.HedgeSettled):
            self._unhedged[key, event.attempt] = event.reason
        elif isinstance(event, events.ThreadAbandoned):
            self._hanging[key] = self._hanging.get(key, 0) + 1
        elif isinstance(event, events.ThreadEnded):
            self._hanging[key] = max(0, self._hanging.get(key, 0) - 1)
        elif isinstance(event, events.CancelRequested):
            self._cancelled = event.at

    @property
    def run_id(self) -> str | None:
        """The run that is kept, None while none is known."""
        return self._run_id

    @property
    def queued(self) -> float:
        """Seconds from the submission to the start of the run; 0 while it is not known."""
        self._catch_up()
        if self._admitted is None or self._origin is None:
            return 0.0
        return self._admitted - self._origin

    def elapsed(self, at: float) -> float:
        """Seconds from the submission to `at`, absolute seconds of the run's clock; 0 before it."""
        self._catch_up()
        return 0.0 if self._origin is None else max(0.0, at - self._origin)

    @property
    def degraded(self) -> tuple[str, ...]:
        """Names of the non-critical parts that did not succeed; empty while the run goes on."""
        self._catch_up()
        end = self._finished.get(("", ""))
        return end.degraded if isinstance(end, events.RunFinished) else ()

    @property
    def pipeline(self) -> Row | None:
        """The row of the run as a whole, None before anything was heard of it."""
        self._catch_up()
        return None if self._origin is None else self._row(("", ""))

    def rows(self) -> tuple[Row, ...]:
        """One row per stage and node, each stage before its nodes, in the order of definition."""
        self._catch_up()
        keys = [key for stage, nodes in self._shape for key in _keys(stage, nodes)]
        known = dict.fromkeys([*keys, *self._started, *self._finished])
        known.pop(("", ""), None)
        return tuple(self._row(key) for key in known)

    def _row(self, key: _Key) -> Row:
        stage, node = key
        level = "node" if node else "stage" if stage else "pipeline"
        begun, done = self._started.get(key), self._finished.get(key)
        row = Row(
            level=level,
            stage=stage,
            name=node or stage or self._pipeline,
            abandoned=key in self._hanging,
            hanging=self._hanging.get(key, 0),
            attempts=self._attempts_of(key),
            passed_over=tuple(self._passed_over(key)),
        )
        origin = self._origin or 0.0
        if begun is not None:
            fires, cancelled = begun.fires_at, self._cancelled
            row = attrs.evolve(
                row,
                started=(origin if level == "pipeline" else begun.at) - origin,
                worked_until=None if cancelled is None else max(begun.at, cancelled) - origin,
                limit_at=None if fires == inf else fires - origin,
                limit=begun.limit,
                source=begun.source,
            )
        if done is None:
            return row
        if begun is None and level != "pipeline":  # it never started, whatever its status
            row = attrs.evolve(
                row, limit=done.limit, source=done.source, status=done.status, blame=done.blame
            )
            return attrs.evolve(row, blamed=blames(self._blame, row))
        started = done.started - origin
        ended = started + done.elapsed
        row = attrs.evolve(
            row,
            started=started,
            worked_until=max(started, ended - done.grace_used),
            ended=ended,
            limit=done.limit,
            source=done.source,
            status=done.status,
            blame=done.blame,
            grace_used=done.grace_used,
            overrun=done.overrun,
            partial=isinstance(done, events.NodeFinished) and done.partial,
            tries=done.attempts if isinstance(done, events.NodeFinished) else 0,
            unattempted=isinstance(done, events.NodeFinished) and done.attempts == 0,
        )
        return attrs.evolve(row, blamed=blames(self._blame, row))

    @property
    def _blame(self) -> Blame | None:
        end = self._finished.get(("", ""))
        return None if end is None else end.blame

    def _attempts_of(self, key: _Key) -> tuple[AttemptRow, ...]:
        origin = self._origin or 0.0
        found = [
            _attempt(event, origin, self._unhedged.get((key, event.attempt)))
            for event in self._attempts.get(key, ())
        ]
        return tuple(sorted(found, key=lambda one: (one.number, one.hedge)))

    def _passed_over(self, key: _Key) -> Iterator[str]:
        stage, node = key
        for event in self._alternatives.get(key, ()):
            # The attempts of an alternative are those of a node below the choice.
            tried = self._attempts.get((stage, f"{node}.{event.alternative}"), ())
            ended: list[events.AlternativeFinished | events.AttemptFinished] = [event]
            ended += [attempt for attempt in tried if attempt.delay is not None]
            named = (one.error_type or _timeout_of(one.blame) for one in ended)
            yield from (name for name in named if name is not None)


def _keys(stage: str, nodes: tuple[str, ...]) -> list[_Key]:
    return [(stage, ""), *((stage, node) for node in nodes)]


def _timeout_of(blame: Blame | None) -> str | None:
    """The class of the error that stands for a limit of an alternative, or of what is in it."""
    if blame is None or blame.level not in ("attempt", "alternative", "item"):
        return None
    return timeout_class(blame.level).__name__


def _attempt(event: events.AttemptFinished, origin: float, unhedged: str | None) -> AttemptRow:
    started = event.started - origin
    ended = started + event.elapsed
    worked_until = ended
    if event.status is Status.TIMED_OUT and event.limit is not None:
        worked_until = min(ended, started + event.limit)
    return AttemptRow(
        number=event.attempt,
        started=started,
        worked_until=worked_until,
        ended=ended,
        status=event.status,
        limit=event.limit,
        source=event.source,
        blame=event.blame,
        error_type=event.error_type,
        delay=event.delay,
        stop=event.stop,
        hedge=event.hedge,
        unhedged=unhedged,
    )
