"""Sharing a pipeline's budget: what may a part use of what is left, and when is it late?

The problem
===========

A pipeline has 250 ms for five stages. Cut into five equal limits, a stage that needs more than its
fifth is ended although the others have time to spare. Limits by each stage's p95 do the same to a
stage that needs its p99 today. What is left unused is lost, and what is overdrawn is fatal. Yet
with no limit but the last, the first stage may hang until nothing is left for the others, and all
that they were about to do is wasted.

The equations
=============

With R = deadline - now, the time that is left, p50 of the part, and *reserve*, the longest sum of
p50 along the paths after it:

    limit = max(R - 0.8 * reserve, R * p50 / (p50 + reserve))
    soft  = now + R * p50 / (p50 + reserve)

A part may use everything but four fifths of what the others usually need. `soft` is its
proportional share, the rule EQF (Kao & Garcia-Molina 1997, "Deadline assignment in a distributed
soft real-time system", IEEE Trans. Parallel Distrib. Syst. 8:1268). As a hard limit that would be
too strict; a part that is past it is *late*, which is worth an event, or a hedge. When so little is
left that the others' reserve alone exceeds it, the share is the limit as well: a part that starts
may at least use that.

What cannot work is not begun: if the part and what follows would finish in the time that is left
with a probability below 5 %, it is refused. But a gate that is fed by its own samples locks shut
for ever, because what it refuses is never measured. So one refusal in 16 is let through, and none
of the parts after it is refused in that run.
"""

from __future__ import annotations

from math import inf

__all__ = ["Gate", "eqf_share", "shared_limit"]

_RESERVED = 0.8
"""The share of the others' p50 that is kept for them."""


def eqf_share(left: float, p50: float, reserve: float) -> float:
    """The part's proportional share of the time that is left, in seconds (EQF).

    Args:
        left: seconds until the deadline, `inf` without one; below 0 if it has passed.
        p50: of the part, in seconds, at least 0.
        reserve: seconds that what follows usually needs.
    """
    needed = p50 + reserve
    return left * (p50 / needed) if needed > 0.0 else left


def shared_limit(left: float, p50: float | None, reserve: float) -> float:
    """The limit of a part in seconds, `inf` if it may use all that is left.

    Args:
        left: seconds until the deadline, `inf` without one; below 0 if it has passed.
        p50: of the part, in seconds; None if it is not known.
        reserve: seconds that what follows usually needs; 0 if that is not known.
    """
    if reserve <= 0.0 or left == inf:
        return inf
    limit = left - _RESERVED * reserve
    share = 0.0 if p50 is None else eqf_share(left, p50, reserve)
    limit = max(limit, share)
    return limit if limit > 0.0 else inf


class Gate:
    """Refuses what is as good as hopeless, but lets one refusal in so many through.

    Args:
        let_through: how many refusals there are to one that is let through after all.
    """

    __slots__ = ("_let_through", "_refused")

    def __init__(self, let_through: int = 16) -> None:
        self._let_through = let_through
        self._refused = 0

    def refuses(self) -> bool:
        """Whether to refuse the next part that is as good as hopeless."""
        self._refused += 1
        return self._refused % self._let_through != 0
