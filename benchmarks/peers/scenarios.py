"""The probes: small scenarios with short limits on the real clock, and what is seen in each.

A scenario runs where the peer is; its judgement is a function of what was seen, and is made where
the driver is. What was seen is kept as the evidence.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from benchmarks.peers.contract import Adapter, Ended, Limits, Part, Plain

__all__ = ["PROBES", "Probe", "Seen", "observe"]

LIMIT = 0.25
"""The limit that passes, in seconds."""

WORK = 1.0
"""What the slow node takes if nobody stops it."""

CLEANUP = 0.1
HANGING = 2.5
"""A cleanup that nobody should have to wait for."""

MARGIN = 0.5
"""How long after its natural end a node is looked for, to see whether it ran on."""

SLOW = "slowpoke"

ENDED = ("worked on", "stopped by")
"""What the slow node says when it ends: by itself, or by what was raised in it."""

Seen = Mapping[str, Any]
"""Plain JSON: `elapsed` of the call, `ended` (see `Ended`), and `events` as [seconds, what]."""


@dataclass(frozen=True)
class Probe:
    """A question, the scenario that answers it, and how the answer is read off.

    Attributes:
        question: answered by yes or no, where yes is what one would want.
        level: whose limit passes; `any` is the node's, or the run's where nodes have none.
        judge: an empty string for yes, else what happened instead, in a few words.
        cleanup: what the slow node's `finally` takes.
        swallow: whether the slow node swallows what stops it.
        blocking: whether the slow node is a plain function that blocks.
        twice: whether the limit of the run passes in a second run.
    """

    question: str
    level: Literal["node", "run", "any"]
    judge: Callable[[Seen], str]
    cleanup: float = 0.0
    swallow: bool = False
    blocking: bool = False
    twice: bool = False

    @property
    def lasts(self) -> float:
        """Seconds after the slow node's start in which it ends by itself, if nobody stops it."""
        return WORK + self.cleanup + MARGIN


class Log:
    """What happened in the nodes, with the seconds since the run was called."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.events: list[tuple[float, str]] = []

    def __call__(self, what: str) -> None:
        self.events.append((self.now(), what))

    def now(self) -> float:
        return round(time.monotonic() - self.start, 3)


def _slow(adapter: Adapter, probe: Probe, log: Log) -> Callable[[Any], Any]:
    world = Plain() if probe.blocking else adapter.world

    async def slowpoke(value: Any) -> Any:
        log("began")
        try:
            await world.sleep(WORK)
            log("worked on")
        except BaseException as error:
            log(f"stopped by {type(error).__name__}")
            if not probe.swallow:
                raise
        finally:
            if probe.cleanup:
                with world.cleanup():
                    log("cleanup began")
                    await world.sleep(probe.cleanup)
                    log("cleaned up")
        return value

    return _plain(slowpoke) if world.plain else slowpoke


def _plain(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def slowpoke(value: Any) -> Any:
        return Plain().start(lambda: function(value))

    return slowpoke


def _parts(adapter: Adapter, probe: Probe, log: Log) -> list[Part]:
    async def first(value: Any) -> Any:
        return value + 1

    async def last(value: Any) -> Any:
        log("last began")
        return value

    quick = [_plain(one) if adapter.world.plain else one for one in (first, last)]
    return [
        Part("first", quick[0]),
        Part(SLOW, _slow(adapter, probe, log)),
        Part("last", quick[1]),
    ]


async def _once(adapter: Adapter, probe: Probe, limits: Limits) -> dict[str, Any]:
    log = Log()
    parts = _parts(adapter, probe, log)
    async with adapter.open([parts], limits, keep=True) as call:
        log.start = time.monotonic()
        try:
            returned = await call(1)
        except Exception as error:  # noqa: BLE001 - how a peer tells of a limit is the question
            elapsed = log.now()
            ended = await adapter.raised(error)
        else:
            elapsed = log.now()
            ended = await adapter.read(returned)
        began = next((at for at, event in log.events if event == "began"), 0.0)
        await adapter.world.sleep(max(0.0, began + probe.lasts - log.now()))
    return {"elapsed": elapsed, "ended": _plain_json(ended), "events": list(log.events)}


def _plain_json(ended: Ended) -> dict[str, Any]:
    fields = asdict(ended)
    return fields | {
        "value": repr(ended.value)[:120],
        "said": ended.said[:400],
        "kept": {name: repr(value)[:60] for name, value in ended.kept.items()},
    }


async def observe(adapter: Adapter, name: str) -> dict[str, Any]:
    """Run a scenario in a peer, and say what was seen."""
    probe = PROBES[name]
    of_run = probe.level == "run" or (probe.level == "any" and not adapter.node_limit)
    limits = Limits(run=LIMIT) if of_run else Limits(node=LIMIT, run=60.0)
    seen = await _once(adapter, probe, limits)
    if probe.twice and adapter.run_limit:
        seen["of the run"] = await _once(adapter, probe, Limits(run=LIMIT))
    return seen


def _when(seen: Seen, what: str) -> float | None:
    return next((at for at, event in seen["events"] if event == what), None)


def _stops(seen: Seen) -> str:
    ended = _when(seen, "worked on")
    if ended is None:
        return ""
    return "ran on" if seen["elapsed"] < ended else "waited for it"


def _stops_all(seen: Seen) -> str:
    return "went on" if _when(seen, "last began") is not None else _stops(seen)


def _awaited(seen: Seen) -> str:
    cleaned = _when(seen, "cleaned up")
    if cleaned is None:
        return "cut" if _when(seen, "cleanup began") is not None else "did not begin"
    return "" if cleaned <= seen["elapsed"] else "not awaited"


def _bounded(seen: Seen) -> str:
    cleaned = _when(seen, "cleaned up")
    if cleaned is None:
        return "" if _when(seen, "cleanup began") is not None else "did not begin"
    return "ran on" if seen["elapsed"] < cleaned else "waited for it"


def _told_apart(seen: Seen) -> str:
    ended = seen["ended"]
    return "success" if ended["status"] == "ok" and not ended["said"] else ""


def _kept(seen: Seen) -> str:
    return "" if "first" in seen["ended"]["kept"] else "lost"


def _no_thread(seen: Seen) -> str:
    end = next((one for one in seen["events"] if one[1].startswith(ENDED)), (math.inf, ""))
    if end[0] <= seen["elapsed"]:
        return "limit not kept" if end[1] == "worked on" else ""
    return "left, and counted" if seen["ended"]["known"] else "left"


def _blames(seen: Seen) -> str:
    of_node = seen["ended"]["said"]
    if SLOW not in of_node:
        return "node not named"
    if "of the run" not in seen:
        return ""
    of_run = seen["of the run"]["ended"]["said"]
    return "" if of_node.partition(":")[0] != of_run.partition(":")[0] else "same error"


PROBES: Mapping[str, Probe] = {
    "node stops": Probe("A node that exceeds its limit is stopped", "node", _stops),
    "run stops": Probe("The limit of a run stops everything", "run", _stops_all),
    "cleanup awaited": Probe(
        "A cleanup of 100 ms has ended when the call returns", "any", _awaited, cleanup=CLEANUP
    ),
    "cleanup bounded": Probe(
        "A cleanup that hangs is cut", "any", _bounded, cleanup=HANGING
    ),
    "swallowed": Probe(
        "A node that swallows its cancel is told apart from a success",
        "any",
        _told_apart,
        swallow=True,
    ),
    "values kept": Probe("Values of nodes that had ended can be had after a limit", "any", _kept),
    "no thread left": Probe(
        "A plain function that blocks is left in time, and no thread stays", "any", _no_thread,
        blocking=True,
    ),
    "level blamed": Probe(
        "The error names the node, and is another one if the run's limit passed", "node", _blames,
        twice=True,
    ),
}  # fmt: skip
