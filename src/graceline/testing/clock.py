"""Tests in virtual time: they sleep for hours in no time, with a fresh clock each time they run.

A shared `autojump_clock` fixture does not mix with Hypothesis, since one fixture serves all
examples; here every example has its own clock.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from graceline.virtual import run_virtual

__all__ = ["virtual_time"]

P = ParamSpec("P")
T = TypeVar("T")


def virtual_time(async_fn: Callable[P, Awaitable[T]]) -> Callable[P, T]:
    """Make a plain test function of an async one; it runs in virtual time.

    Name and signature stay, so that fixtures and parameters are found. It works below `@given` and
    above it; each example has a clock of its own.
    """
    given: Any = getattr(async_fn, "hypothesis", None)
    if given is not None:
        given.inner_test = virtual_time(given.inner_test)
        return async_fn  # type: ignore[return-value]

    @functools.wraps(async_fn)
    def in_virtual_time(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_virtual(functools.partial(async_fn, *args, **kwargs))

    return in_virtual_time
