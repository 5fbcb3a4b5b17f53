"""Agreement: run a scenario for real, in virtual time, and hold it against the oracle.

Instants are compared to a nanosecond. What happens within one instant may come in any order, so a
run agrees if one of the oracle's admissible answers fits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import trio

from graceline.definitions import Pipeline, Timeouts
from graceline.engine import Run, open_engine
from graceline.results import NodeOutcome, PipelineResult, StageOutcome
from graceline.telemetry.events import Event, RunFinished
from graceline.testing.accounts import Blamed, PartAccount, RunAccount
from graceline.testing.models import Scenario, build
from graceline.testing.oracle import admissible
from graceline.virtual import run_virtual

__all__ = ["Observation", "differences", "disagreements", "observe"]

_SAME = 1e-9


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
    """

    results: dict[str, PipelineResult] = attrs.field(factory=dict)
    returned: float = -1.0
    raised: bool = False
    starts: dict[str, float] = attrs.field(factory=dict)
    nested_raised: dict[str, bool] = attrs.field(factory=dict)


class _Watcher:
    """A sink that keeps the handle of every run that tells of its end."""

    def __init__(self, *, trace: bool) -> None:
        self.trace = trace
        self.engine: Any = None
        self.ended: list[Run] = []

    def wants_trace(self) -> bool:
        """Traced runs take the engine's slow path, others the fast one; both are wanted."""
        return self.trace

    def __call__(self, event: Event) -> None:
        """The result itself is there as soon as the run is over."""
        if isinstance(event, RunFinished):
            self.ended += [run for run in self.engine.runs() if run.run_id == event.run_id]


def observe(scenario: Scenario, *, trace: bool = False) -> Observation:
    """Run a scenario in virtual time; `trace` subscribes a sink that wants every event."""
    return run_virtual(_observe, scenario, _Watcher(trace=trace))


async def _observe(scenario: Scenario, watcher: _Watcher) -> Observation:
    seen = Observation()
    timeouts = Timeouts(node=None, pipeline=None, grace=scenario.engine_grace)
    async with (
        open_engine(timeouts=timeouts, sinks=[watcher], watchdog=None) as engine,
        trio.open_nursery() as nursery,
    ):
        watcher.engine = engine

        async def nested(pipeline: Pipeline, value: Any) -> Any:
            seen.starts[pipeline.name] = trio.current_time()
            seen.nested_raised[pipeline.name] = True
            result = await engine.run(pipeline, value)
            seen.nested_raised[pipeline.name] = False
            seen.results[pipeline.name] = result
            return (str(result.status), result.value)

        pipeline = build(scenario.pipeline, nested)
        scope = trio.CancelScope()
        if scenario.caller_deadline is not None:
            scope.deadline = scenario.caller_deadline
        if scenario.user_cancel_at is not None:
            nursery.start_soon(_cancel_user, engine, scenario.user_cancel_at)
        if scenario.drain_at is not None:
            nursery.start_soon(_drain, engine, scenario.drain_at)
        if scenario.caller_cancel_at is not None:
            nursery.start_soon(_cancel_scope, scope, scenario.caller_cancel_at)
        seen.starts[pipeline.name] = trio.current_time()
        with scope:
            seen.raised = True
            try:
                result = await engine.run(pipeline, scenario.input, run_id="top")
                seen.raised = False
                seen.results[pipeline.name] = result
            finally:
                seen.returned = trio.current_time()
        nursery.cancel_scope.cancel()
    for run in watcher.ended:
        if run.result is not None:
            seen.results.setdefault(run.pipeline, run.result)
    return seen


async def _cancel_user(engine: Any, at: float) -> None:
    await trio.sleep_until(at)
    await engine.cancel("top", "the user asks", wait=False)


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
        same = engine == oracle
        if isinstance(engine, float) and isinstance(oracle, float):
            same = abs(engine - oracle) <= _SAME
        if not same:
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
            if account.raised and _never_ran(shown) and _never_ran(account.parts[path]):
                continue  # cancelled before its first step, or not even started: the caller's
            for field, oracle in attrs.asdict(account.parts[path], recurse=False).items():
                if shown.status == "skipped" and field in ("start", "end"):
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
    return PartAccount(
        str(outcome.status), _blamed(outcome), start, start + outcome.elapsed, outcome.value
    )
