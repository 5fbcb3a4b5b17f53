"""Virtual time: one event loop, in which hours pass in no time, and always in the same order.

The clock jumps to the next deadline as soon as nothing can run. It starts at 0.0, so that instants
are sums of the durations that are named.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import trio
from trio.testing import MockClock

__all__ = ["order_within_an_instant", "run_virtual"]

T = TypeVar("T")


def run_virtual(async_fn: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run an async function under a fresh virtual clock and return its value.

    An exception that arrives wrapped in groups of one is raised without them.
    """
    lone: BaseException
    try:
        return trio.run(async_fn, *args, clock=MockClock(autojump_threshold=0))
    except BaseExceptionGroup as group:
        lone = _unwrapped(group)
        if lone is group:
            raise
    raise lone


@contextmanager
def order_within_an_instant(seed: int) -> Iterator[None]:
    """Have Trio take tasks that are ready at one instant in an order that follows from a seed.

    Trio shuffles them, and offers no public way to seed that but its plugin for Hypothesis. The
    jitter of backoffs and breakers comes from the module `random`, which is seeded likewise.
    """
    scheduler: Any = trio._core._run  # noqa: SLF001
    state, allowed = scheduler._r.getstate(), scheduler._ALLOW_DETERMINISTIC_SCHEDULING  # noqa: SLF001
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001
    scheduler._r.setstate(random.Random(seed).getstate())  # noqa: S311, SLF001 - no secret
    jitter = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(jitter)
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = allowed  # noqa: SLF001
        scheduler._r.setstate(state)  # noqa: SLF001


def _unwrapped(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
