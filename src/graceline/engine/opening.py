"""Opening an engine: its options are checked, and its block ends in order, however it is left."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from math import inf
from typing import Any, NoReturn

import trio

from graceline.adaptive import Store
from graceline.adaptive.lanes import default_lane
from graceline.definitions import Adaptive, Breaker, Bulkhead, Defaults, Hedge, Retry, Timeouts
from graceline.definitions.arguments import explained
from graceline.definitions.checks import brief, check_flag, check_name, nearest
from graceline.durations import Duration
from graceline.engine.admission import Admission, AdmissionMode
from graceline.engine.core import Engine, Mode
from graceline.engine.endings import split_cancelled
from graceline.engine.learning import Learning
from graceline.engine.metering import Metering
from graceline.engine.watchdog import Watchdog
from graceline.errors import DefinitionError, GracelineError
from graceline.telemetry.checks import check_sinks
from graceline.telemetry.hub import Hub, Listener
from graceline.telemetry.logs import log_mode
from graceline.telemetry.prometheus import Metrics
from graceline.telemetry.stats import Stats
from graceline.work import Workers

__all__ = ["open_engine"]

_MODES: tuple[Mode, ...] = ("enforce", "observe", "off")
_LAST_PORT = 65535
_LOOPBACK = "127.0.0.1"
_LEAST_PATIENCE, _MOST_PATIENCE = 1.0, 60.0  # seconds that sinks have for what they are due
_ADMISSION: tuple[AdmissionMode, ...] = ("enforce", "observe", "off")


def _choose_mode(mode: str | None) -> Mode:
    chosen = mode if mode is not None else os.environ.get("GRACELINE_MODE") or "enforce"
    for known in _MODES:
        if chosen == known:
            return known
    where = "mode=" if mode is not None else "the environment variable GRACELINE_MODE"
    raise DefinitionError(f"{where}: {chosen!r} is no mode; {nearest(chosen, _MODES)}")


def _number(value: float | None, what: str, *, least: int) -> float:
    if value is None:
        return inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
        raise DefinitionError(f"{what} must be at least {least}, or None, not {brief(value)}")
    if value != inf and value != int(value):
        raise DefinitionError(f"{what} must be a whole number, not {brief(value)}")
    return value


class _Block(AbstractAsyncContextManager[Engine]):
    """The block of an engine; a plain `with` is told what it lacks."""

    def __init__(self, inner: AbstractAsyncContextManager[Engine]) -> None:
        self._inner = inner

    async def __aenter__(self) -> Engine:
        return await self._inner.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:  # noqa: PYI036 - as they come
        return await self._inner.__aexit__(*error)

    def __enter__(self) -> NoReturn:
        raise GracelineError(
            "an engine needs `async with`: async with open_engine() as engine: ..."
        )

    def __exit__(self, *_: object) -> None: ...


@explained
def open_engine(
    *,
    timeouts: Timeouts | None = None,
    mode: Mode | None = None,
    max_concurrent_pipelines: float | None = 10,
    max_queue: float | None = 1000,
    admission: AdmissionMode = "observe",
    max_threads: int = 40,
    max_abandoned_threads: int = 64,
    max_processes: int | None = None,
    lane: str | None = None,
    sinks: Iterable[Listener] = (),
    log_payloads: bool = False,
    metrics: Metrics | None = None,
    metrics_port: int | None = None,
    metrics_host: str | None = None,
    watchdog: Watchdog | None = Watchdog(),  # noqa: B008 - frozen
    history: Store | None = None,
    retry: Retry | None = None,
    attempt_timeout: Duration | Adaptive | None = None,
    breaker: Breaker | None = None,
    limit: Bulkhead | int | None = None,
    hedge: Hedge | None = None,
) -> AbstractAsyncContextManager[Engine]:
    """Give an engine to a block of code: `async with open_engine() as engine`.

    Leaving the block normally waits for started runs; leaving it by an exception cancels them as
    `shutdown`, with their grace.

    Args:
        timeouts: default limits; by default `Timeouts.realtime()`.
        mode: `enforce`; `observe` cancels nothing and reports what it would cut; `off` knows no
            deadlines. By default the environment variable `GRACELINE_MODE`, else `enforce`.
        max_concurrent_pipelines: runs that are active at once; None for any number.
        max_queue: runs that may wait for a slot; more are `rejected`. None for any number.
        admission: what becomes of runs that can hardly be in time, by the durations of those before
            and the queue: `enforce` rejects them, `observe` counts and reports them, `off` predicts
            nothing. In the modes that cancel nothing it is `off`.
        max_threads: worker threads for plain functions, abandoned ones not counted.
        max_abandoned_threads: abandoned threads at which thread nodes are `rejected`.
        max_processes: worker processes for nodes with `runs_on="process"`; None for as many as the
            machine has processors.
        lane: name for telemetry; by default the environment variable `GRACELINE_LANE`, else
            `default`.
        sinks: subscribers of the event stream: each in a thread of its own, where it may block,
            unless its attribute `inline` is true. When the block ends they get what they are due,
            within the engine's grace period, or a second where that is longer.
        log_payloads: True has the log show inputs, values and the texts of errors too, each as at
            most 500 characters. They may hold what a log must not.
        metrics: shows Prometheus what the engine counts and does; None for no metrics, or with
            `metrics_port=` for `Metrics()`.
        metrics_port: serves the metrics at this port, 0 for any free one, from a thread that
            answers while the event loop is blocked; None for no endpoint.
        metrics_host: the address to listen at, with `metrics_port=`; by default `127.0.0.1`, which
            only this machine can reach.
        watchdog: what reports stuck nodes and a blocked event loop; None for nothing.
        history: where learned limits come from and go to, and the durations of every node, such as
            a `SqliteStore`; it stays open. None keeps what limits learn for the life of the engine.
        retry: how each node is tried again whose pipeline, stage and own definition say nothing of
            retries; None there switches it off. None here for no retries.
        attempt_timeout: seconds for one attempt, in the same way a default for each node.
        breaker: a circuit breaker for each node, in the same way.
        limit: how many attempts of each node may run at once, in the same way.
        hedge: when a second copy of a slow attempt is sent, in the same way for each node that says
            `idempotent=True`.

    Raises:
        DefinitionError: for an unknown mode, a bad number, what is no policy, or can be no sink.
        GracelineError: outside of Trio, for a plain `with`, or if `metrics_port=` cannot be had.
    """
    policies = {
        "retry": retry, "attempt_timeout": attempt_timeout, "breaker": breaker, "limit": limit,
        "hedge": hedge,
    }  # fmt: skip
    return _Block(
        _opened(
            timeouts, mode, max_concurrent_pipelines, max_queue, admission, max_threads,
            max_abandoned_threads, max_processes, lane, sinks, log_payloads, metrics, metrics_port,
            metrics_host, watchdog, history, policies,
        )
    )  # fmt: skip


def _make(
    timeouts: Timeouts | None,
    mode: Mode | None,
    max_concurrent_pipelines: float | None,
    max_queue: float | None,
    admission: AdmissionMode,
    max_threads: int,
    max_abandoned_threads: int,
    max_processes: int | None,
    lane: str | None,
    sinks: Iterable[Listener],
    log_payloads: bool,  # noqa: FBT001 - as `open_engine` has it
    metrics: Metrics | None,
    metrics_port: int | None,
    metrics_host: str | None,
    watchdog: Watchdog | None,
    history: Store | None,
    policies: dict[str, Any],
) -> Engine:
    """An engine by its options, once they are checked."""
    if not trio.lowlevel.in_trio_task():
        raise GracelineError(
            "graceline runs under Trio: use trio.run(main), not asyncio.run(main())"
        )
    if timeouts is not None and not isinstance(timeouts, Timeouts):
        raise DefinitionError(
            f"timeouts= takes a Timeouts such as Timeouts.interactive(), not {brief(timeouts)}"
        )
    chosen = _choose_mode(mode)
    if lane is None:
        lane = default_lane()
    check_name(lane, "lane=")
    listeners = check_sinks(sinks, "sinks=")
    if watchdog is not None and not isinstance(watchdog, Watchdog):
        raise DefinitionError(
            f"watchdog= takes a Watchdog such as Watchdog(stuck_after=5), not {brief(watchdog)}"
        )
    if history is not None and (isinstance(history, type) or not isinstance(history, Store)):
        raise DefinitionError(f"history= takes a store such as SqliteStore, not {brief(history)}")
    threads = int(_number(max_threads, "max_threads=", least=1))
    abandoned = int(_number(max_abandoned_threads, "max_abandoned_threads=", least=0))
    if max_processes is None:
        max_processes = os.cpu_count() or 1
    processes = int(_number(max_processes, "max_processes=", least=1))
    if admission not in _ADMISSION:
        raise DefinitionError(
            f"admission=: {brief(admission)} is unknown; {nearest(str(admission), _ADMISSION)}"
        )
    metering = _metering(metrics, metrics_host, metrics_port)
    stats = Stats() if metrics is None else Stats(metrics.buckets)
    slots = Admission(
        _number(max_concurrent_pipelines, "max_concurrent_pipelines=", least=1),
        _number(max_queue, "max_queue=", least=0),
        admission if chosen == "enforce" else "off",
        stats,
    )
    if chosen != "enforce":
        log_mode(chosen)
    return Engine(
        timeouts=timeouts or Timeouts.realtime(),
        defaults=Defaults(**policies),
        mode=chosen,
        admission=slots,
        workers=Workers(threads, abandoned, processes),
        learning=None if chosen == "off" else Learning(history, lane),
        stats=stats,
        metering=metering,
        lane=lane,
        sinks=listeners,
        log_payloads=check_flag(log_payloads, "log_payloads="),
        watchdog=watchdog or Watchdog(stuck_after=None, blocked_after=None),
    )


def _metering(metrics: Metrics | None, host: str | None, port: int | None) -> Metering:
    if metrics is not None and not isinstance(metrics, Metrics):
        raise DefinitionError(f"metrics= takes a Metrics such as Metrics(), not {brief(metrics)}")
    if host is not None and (not isinstance(host, str) or not host):
        raise DefinitionError(
            f"metrics_host= must be an address such as '127.0.0.1', not {brief(host)}"
        )
    if port is None:
        if host is not None:
            raise DefinitionError(
                f"metrics_host={host!r} needs metrics_port= as well, such as 9464, or 0 for any"
            )
        return Metering(metrics, _LOOPBACK, None)
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= _LAST_PORT:
        raise DefinitionError(
            f"metrics_port= must be a whole number from 0 (any free port) to {_LAST_PORT}, or "
            f"None, not {brief(port)}"
        )
    return Metering(metrics or Metrics(), host or _LOOPBACK, port)


async def _see_out(hub: Hub, grace: float) -> None:
    """Have sinks in threads take what they are due, for as long as the grace period.

    Threads know nothing of a virtual clock, which would jump while the loop waits for them. So the
    loop itself is what waits there: it does not move while it is blocked.
    """
    if not hub.close():
        return
    wait = partial(hub.wait, min(max(grace, _LEAST_PATIENCE), _MOST_PATIENCE))
    if getattr(trio.lowlevel.current_clock(), "autojump_threshold", inf) < inf:
        wait()
    else:  # an interrupt ends the wait; nodes may have taken all threads of Trio's own limiter
        alone = trio.CapacityLimiter(1)
        await trio.to_thread.run_sync(wait, abandon_on_cancel=True, limiter=alone)


@asynccontextmanager
async def _opened(*options: Any) -> AsyncIterator[Engine]:
    engine = _make(*options)
    failure: BaseException | None = None
    try:
        if engine._learning is not None:
            await engine._learning.begin()
        await engine._metering.begin(engine._source())
        async with trio.open_nursery() as nursery:
            engine._enter(nursery)
            with engine._watched():
                try:
                    yield engine
                except BaseException as error:
                    _, rest = split_cancelled(error)
                    if rest is None:
                        raise  # nothing but cancels, alone or in groups
                    failure = error  # raised below, without a group around it
                    engine.cancel_all("the engine was closed by an exception")
                engine.portal._refuse()  # other threads could keep the block open for ever
                await engine.wait_idle()
                engine._shut()
    except BaseException as error:
        if failure is None:
            raise
        _, rest = split_cancelled(error)
        if rest is not None:
            raise BaseExceptionGroup("the engine was closed", [failure, rest]) from None
    finally:
        engine._shut()
        with trio.CancelScope(shield=True):
            try:
                await engine._workers.aclose()  # bounded: what does not end is killed
                if engine._learning is not None:
                    await engine._learning.end()
                await _see_out(engine._hub, engine._shared.grace)
            finally:
                engine._hub.close()
                await engine._metering.end()
    if failure is not None:
        raise failure
