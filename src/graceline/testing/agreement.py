"""Agreement: run a scenario for real, in virtual time, and hold it against the oracle.

Instants are compared to a nanosecond. What happens within one instant may come in any order, so a
run agrees if one of the oracle's admissible answers fits.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import attrs
import trio

from graceline.definitions import Pipeline, Timeouts
from graceline.engine import Run, open_engine
from graceline.errors import AttemptTimeoutError
from graceline.results import NodeOutcome, PipelineResult, StageOutcome
from graceline.telemetry.events import AttemptFinished, Event, RunFinished
from graceline.testing.accounts import Blamed, PartAccount, RunAccount, TryAccount
from graceline.testing.models import Scenario, build
from graceline.testing.oracle import admissible
from graceline.virtual import run_virtual

__all__ = ["Observation", "differences", "disagreements", "observe"]

_SAME = 1e-9
_ROUNDED = 0.051  # notes are for people: they show tenths of a second


@attrs.define
class Observation:
    """What a real run of a scenario showed.

    Attributes:
        results: the results by the pipeline's name; also of runs whose caller was cancelled, where
            the engine said what they came to.
        returned: when the outermost `engine.run` came back, with a result or an exception.
        raised: whether it came back with the caller's `Cancelled`.
        starts: the instant of submission of each run.
        nested_raised: for each run inside a node, whether it came back with a `Cancelled`.
        tries: the attempts by run and node; None if the run was not traced.
    """

    results: dict[str, PipelineResult] = attrs.field(factory=dict)
    returned: float = -1.0
    raised: bool = False
    starts: dict[str, float] = attrs.field(factory=dict)
    nested_raised: dict[str, bool] = attrs.field(factory=dict)
    tries: dict[tuple[str, str], tuple[TryAccount, ...]] | None = None


class _Watcher:
    """A sink that keeps the handle of every run that tells of its end."""

    inline = True

    def __init__(self, *, trace: bool) -> None:
        self.trace = trace
        self.engine: Any = None
        self.ended: list[Run] = []
        self.tries: dict[tuple[str, str], tuple[TryAccount, ...]] = {}

    def wants_trace(self) -> bool:
        """Traced runs take the engine's slow path, others the fast one; both are wanted."""
        return self.trace

    def __call__(self, event: Event) -> None:
        """The result itself is there as soon as the run is over."""
        if isinstance(event, RunFinished):
            self.ended += [run for run in self.engine.runs() if run.run_id == event.run_id]
        elif isinstance(event, AttemptFinished):
            start, key = event.started, (event.run_id, f"{event.stage}.{event.node}")
            made = TryAccount(
                event.attempt, str(event.status), start, start + event.elapsed, event.delay,
                event.stop,
            )  # fmt: skip
            self.tries[key] = (*self.tries.get(key, ()), made)


def observe(scenario: Scenario, *, trace: bool = False) -> Observation:
    """Run a scenario in virtual time; `trace` subscribes a sink that wants every event."""
    return run_virtual(_observe, scenario, _Watcher(trace=trace))


async def _observe(scenario: Scenario, watcher: _Watcher) -> Observation:
    seen = Observation()
    timeouts = Timeouts(node=None, pipeline=None, grace=scenario.engine_grace)
    async with (
        open_engine(
            timeouts=timeouts, mode=scenario.mode, sinks=[watcher], watchdog=None
        ) as engine,
        trio.open_nursery() as nursery,
    ):
        watcher.engine = engine
        plans = engine._plans  # noqa: SLF001 - jitter comes from nowhere else
        plans._resources = attrs.evolve(plans._resources, random=lambda: scenario.jitter)  # noqa: SLF001
        runs = Counter[str]()

        async def nested(pipeline: Pipeline, value: Any) -> Any:
            name = pipeline.name
            runs[name] += 1
            key = name if runs[name] == 1 else f"{name}#{runs[name]}"
            seen.starts[key] = trio.current_time()
            seen.nested_raised[key] = True
            result = await engine.run(pipeline, value, run_id=key)
            seen.nested_raised[key] = False
            seen.results[key] = result
            return (str(result.status), result.value)

        pipeline = build(scenario.pipeline, nested)
        top = pipeline.name
        scope = trio.CancelScope()
        if scenario.caller_deadline is not None:
            scope.deadline = scenario.caller_deadline
        if scenario.user_cancel_at is not None:
            nursery.start_soon(_cancel_user, engine, top, scenario.user_cancel_at)
        if scenario.drain_at is not None:
            nursery.start_soon(_drain, engine, scenario.drain_at)
        if scenario.caller_cancel_at is not None:
            nursery.start_soon(_cancel_scope, scope, scenario.caller_cancel_at)
        seen.starts[pipeline.name] = trio.current_time()
        with scope:
            seen.raised = True
            try:
                result = await engine.run(pipeline, scenario.input, run_id=top)
                seen.raised = False
                seen.results[pipeline.name] = result
            finally:
                seen.returned = trio.current_time()
        nursery.cancel_scope.cancel()
    for run in watcher.ended:
        if run.result is not None:
            seen.results.setdefault(run.run_id, run.result)
    seen.tries = watcher.tries if watcher.trace else None
    return seen


async def _cancel_user(engine: Any, run_id: str, at: float) -> None:
    await trio.sleep_until(at)
    await engine.cancel(run_id, "the user asks", wait=False)


async def _drain(engine: Any, at: float) -> None:
    await trio.sleep_until(at)
    await engine.drain(0)


async def _cancel_scope(scope: trio.CancelScope, at: float) -> None:
    await trio.sleep_until(at)
    scope.cancel()


def disagreements(
    scenario: Scenario,
    *,
    trace: bool = False,
    expected: Iterable[dict[str, RunAccount]] | None = None,
) -> list[str]:
    """Run a scenario and say where the engine and the oracle differ; empty if they agree.

    Args:
        scenario: what is run.
        trace: see `observe`.
        expected: the admissible answers; by default the oracle's.
    """
    seen = observe(scenario, trace=trace)
    first: list[str] | None = None
    for answer in admissible(scenario) if expected is None else expected:
        found = differences(scenario.pipeline.name, answer, seen)
        if not found:
            return []
        first = found if first is None else first
    return first or []


def differences(top: str, answer: dict[str, RunAccount], seen: Observation) -> list[str]:
    """Where an observation of run `top` differs from one of the oracle's answers."""
    found: list[str] = []

    def check(what: str, engine: Any, oracle: Any) -> None:
        if not _same(engine, oracle, _ROUNDED if what.endswith(" note") else _SAME):
            found.append(f"{what}: engine {engine!r}, oracle {oracle!r}")

    check("runs", sorted(seen.starts), sorted(answer))
    check(f"{top} raised Cancelled", seen.raised, answer[top].raised)
    check(f"{top} returned at", seen.returned, answer[top].end)
    for name in answer.keys() & seen.starts.keys():
        account, result = answer[name], seen.results.get(name)
        if name != top:
            check(f"{name} raised Cancelled", seen.nested_raised[name], account.raised)
        if result is None:
            continue  # the caller was cancelled and the run ended ok: there is nobody to tell
        start = seen.starts[name]
        check(f"{name} start", start, account.start)
        check(f"{name} end", start + result.elapsed, account.end)
        check(f"{name} status", str(result.status), account.status)
        check(f"{name} blame", _blamed(result), account.blame)
        check(f"{name} value", result.value, account.value)
        check(f"{name} completed", result.completed, account.completed)
        check(f"{name} degraded", tuple(sorted(result.degraded)), account.degraded)
        parts: dict[str, NodeOutcome | StageOutcome] = {**result.stages}
        for stage in result.stages.values():
            parts |= {f"{stage.name}.{node.name}": node for node in stage.nodes.values()}
        check(f"{name} parts", sorted(parts), sorted(account.parts))
        for path in parts.keys() & account.parts.keys():
            shown = _shown(parts[path], start)
            if seen.tries is None:
                shown = attrs.evolve(shown, tries=account.parts[path].tries)
            else:
                shown = attrs.evolve(shown, tries=seen.tries.get((name, path), ()))
            if account.raised and _never_ran(shown) and _never_ran(account.parts[path]):
                continue  # cancelled before its first step, or not even started: the caller's
            for field, oracle in attrs.asdict(account.parts[path], recurse=False).items():
                if shown.status == "skipped" and field in ("start", "end"):
                    continue
                if field in ("error", "secondary") and path in result.stages:
                    continue
                check(f"{name}/{path} {field}", getattr(shown, field), oracle)
    return found


def _never_ran(part: PartAccount) -> bool:
    return part.status == "skipped" or (part.status == "cancelled" and part.start == part.end)


def _blamed(outcome: NodeOutcome | StageOutcome | PipelineResult) -> Blamed | None:
    blame = outcome.blame
    return None if blame is None else (blame.level, blame.name, str(blame.kind))


def _shown(outcome: NodeOutcome | StageOutcome, origin: float) -> PartAccount:
    start = origin + outcome.started
    shown = PartAccount(
        str(outcome.status), _blamed(outcome), start, start + outcome.elapsed, outcome.value
    )
    if not isinstance(outcome, NodeOutcome):
        return shown
    return attrs.evolve(
        shown,
        attempts=outcome.attempts,
        error=None if outcome.error is None else _text(outcome.error),
        secondary=tuple(map(_text, outcome.secondary)),
        note=_note(outcome),
    )


def _text(error: BaseException) -> str:
    if isinstance(error, ExceptionGroup):
        return error.message
    return "timeout" if isinstance(error, AttemptTimeoutError) else str(error)


_LEFT = re.compile(r"retry stopped: ([\d.]+) s left, ([\d.]+) s backoff \+ ([\d.]+) s expected")


def _note(outcome: NodeOutcome) -> tuple[Any, ...]:
    """Why there was no further attempt, as the notes of the error say, or the blame."""
    notes = getattr(outcome.error, "__notes__", [])
    blame = outcome.blame
    if blame is not None and blame.level == "attempt" and "; " in blame.message:
        notes = [blame.message.split("; ", 1)[1]]
    if not notes:
        return ()
    (note,) = notes
    left = _LEFT.fullmatch(note)
    if left:
        return "deadline", *map(float, left.groups())
    if note == "retry budget empty":
        return ("budget",)
    return ("attempts",) if note.endswith("used up") else ("not_retryable",)


def _same(engine: Any, oracle: Any, within: float) -> bool:
    if isinstance(engine, tuple) and isinstance(oracle, tuple):
        pairs = zip(engine, oracle, strict=False)
        return len(engine) == len(oracle) and all(_same(*pair, within) for pair in pairs)
    if isinstance(engine, TryAccount) and isinstance(oracle, TryAccount):
        return _same(attrs.astuple(engine), attrs.astuple(oracle), within)
    if isinstance(engine, float) and isinstance(oracle, float):
        return abs(engine - oracle) <= within
    return bool(engine == oracle)
