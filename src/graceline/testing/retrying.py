"""The oracle's rule of retries: whether there is another attempt, read off the contract.

Before attempt k > 1, in this order: is it of a kind that is ever retried; may there be so many; is
there time for the backoff and for the attempt; is there a token. As the oracle itself it shares
nothing with the package. It knows no p50: no scenario has 20 successes of one node.
"""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from graceline.testing.models import NodeModel

__all__ = ["Ended", "Tokens", "next_attempt"]

_LIVES = 10
"""Seconds of the clock, the one that runs included, that a fifth of a token counts in."""


class Tokens:
    """The retry budget of a node, as the list of all that was ever put in and taken out."""

    def __init__(self) -> None:
        self._moves: list[tuple[float, int]] = []

    def success(self, now: float) -> None:
        """A fifth of a token."""
        self._moves.append((now, 1))

    def take(self, now: float) -> bool:
        """A whole one, if there is one: three in reserve and what the last seconds moved."""
        recent = [fifths for at, fifths in self._moves if floor(now) - floor(at) < _LIVES]
        if 15 + sum(recent) < 5:
            return False
        self._moves.append((now, -5))
        return True

    def give_back(self) -> None:
        """The last one was not used."""
        index = max(at for at, (_, fifths) in enumerate(self._moves) if fifths < 0)
        del self._moves[index]


@attrs.frozen(kw_only=True)
class Ended:
    """An attempt that did not succeed.

    Attributes:
        number: which one it was, from 1.
        ending: what it did; None if its own limit cut it.
        hint: when its error wants to be asked again.
        retried_inside: whether a layer inside it had its own retries.
        remaining: seconds until the node is cancelled.
    """

    number: int
    ending: str | None
    hint: float | None
    retried_inside: bool
    remaining: float


def next_attempt(
    model: NodeModel, ended: Ended, jitter: float, tokens: Tokens, now: float
) -> float | tuple[Any, ...]:
    """The backoff before the next attempt, or why there is none."""
    retry = model.retry
    if retry is None or retry.attempts == 1:
        return ("attempts",)
    again = ended.ending in (None, "raises", "unstarted", "several")
    if ended.ending is not None:
        again = again and retry.on
    if ended.retried_inside:
        again = again and retry.nested
    if model.idempotent is False:
        again = again and ended.ending == "unstarted"
    if not again:
        return ("not_retryable",)
    if ended.number == retry.attempts:
        return ("attempts",)
    delay = retry.backoff
    for _ in range(ended.number - 1):
        delay *= retry.factor
    delay = jitter * min(delay, retry.max_backoff)
    if ended.hint is not None and ended.ending is not None:
        delay = max(delay, ended.hint)
    need = retry.min_attempt
    if model.attempt_timeout is not None:
        need = min(need, model.attempt_timeout)
    if ended.remaining <= delay + need:
        return ("deadline", max(ended.remaining, 0.0), delay, need)
    return delay if tokens.take(now) else ("budget",)
