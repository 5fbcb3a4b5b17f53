"""What a call costs its learner: microseconds for issue and settle, and bytes per key."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from random import Random
from statistics import median

from graceline.adaptive import Learner
from graceline.testing.traffic import replay

__all__ = ["memory_per_key", "typical_cost", "worst_cost"]

MICRO = 1e6


def _best(work: Callable[[], int], rounds: int = 7) -> float:
    """CPU microseconds per call: the best round, since a neighbour can only slow one down."""
    figures = []
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        count = work()
        figures.append((time.process_time() - start) / count)
    return min(figures) * MICRO


def typical_cost() -> float:
    """Lognormal traffic with a full window."""
    learner, rng = Learner(), Random(1)  # noqa: S311 - a simulation
    latencies = [0.05 * rng.lognormvariate(0.0, 0.5) for _ in range(10_000)]
    replay(learner, latencies[:1000])

    def work() -> int:
        for latency in latencies:
            lease = learner.issue()
            if latency <= lease.timeout:
                lease.completed(latency)
            else:
                lease.cut(lease.timeout)
        return len(latencies)

    return _best(work)


def worst_cost() -> float:
    """The worst window: every other sample censored, no two of a kind side by side, and hangs."""

    def window() -> Learner:
        learner = Learner()
        for number in range(256):
            (lease := learner.issue()).timeout = 3.0
            duration = 0.5 + (number * 37 % 256) / 256
            if number == 0:
                lease.cut(3.0)
            elif number * 37 % 256 % 2:
                lease.completed(duration)
            else:
                lease.censored(duration)
        return learner

    def cost() -> float:
        lease = window().issue()
        start = time.process_time()
        lease.censored(1.0)
        return time.process_time() - start

    # As in `_best`: a neighbour that stays for a round spoils its median, not that of all rounds.
    return min(median(cost() for _ in range(30)) for _ in range(7)) * MICRO


def memory_per_key() -> float:
    """KiB of a learner with a full window, its settings shared."""
    learner = Learner()
    replay(learner, [0.05 + number / 1e4 for number in range(600)])
    seen: set[int] = set()

    def size(thing: object) -> int:
        if id(thing) in seen or isinstance(thing, type) or thing is learner.settings:
            return 0
        seen.add(id(thing))
        names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
        return sys.getsizeof(thing) + sum(size(getattr(thing, name, None)) for name in names)

    return size(learner) / 1024
