"""Work that runs in the event loop: an async function, awaited as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graceline.work.base import Bound

__all__ = ["bind_coroutine"]


def bind_coroutine(function: Callable[[Any], Any]) -> Bound:
    """An async function is its own bound form: the hot path calls it without a layer in between."""
    return function
