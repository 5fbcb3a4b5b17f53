"""Drawing whole scenarios for the oracle: sequences, parallels, graphs, nested runs and cancels.

Every duration is a multiple of an eighth of a second, which one can read in a report, plus a tiny
amount of its own, so that two unrelated instants never coincide. Limits have no such amount: equal
limits are wanted, since ties go to the outermost level. All are exact in binary, and so are their
sums: the virtual clock and the oracle agree to the last bit.
"""

from __future__ import annotations

import random
from typing import Any

import attrs
from hypothesis import strategies as st

from graceline.engine import Mode
from graceline.testing.accounts import KEEP_INPUT
from graceline.testing.models import (
    AttemptModel,
    Ending,
    ModelError,
    NodeModel,
    PipelineModel,
    RetryModel,
    Scenario,
    StageModel,
)

__all__ = ["draw_scenario"]

_UNIT = 0.125
_TINY = [  # multiples of 2**-42, all below 2**-12; sums of a few of them are distinct
    seed * 2.0**-42
    for seed in random.Random(2024).sample(range(1, 2**30), 400)  # noqa: S311
]

_DURATION = st.integers(1, 12).map(_UNIT.__mul__)
_LIMIT = st.sampled_from([None, None, *(n * _UNIT for n in (0, 2, 4, 4, 6, 8, 8, 10, 14, 20))])
_WIDE = st.sampled_from([None, None, None, *(n * _UNIT for n in (4, 8, 12, 16, 24, 32, 48))])
_GRACE = st.sampled_from([None, None, None, *(n * _UNIT for n in (0, 1, 2, 4, 8, 16))])
_CLEANUPS = st.sampled_from([(), (), (), (1,), (2,), (4,), (1, 2), (3, 3), (1, 2, 4), (8, 1)])
_ENDINGS: list[Ending] = ["value", "raises", "swallows"]
_ENDING = st.sampled_from([*_ENDINGS, *_ENDINGS, "value", "value", "value"])
_FAILING: list[Ending] = ["raises"] * 8
_TRIED: list[Ending] = ["value", *_FAILING, "several", "unstarted", "swallows", "final", "mixed"]
_TRIED_ENDING = st.sampled_from(_TRIED)
_SHORT = st.integers(1, 4).map(_UNIT.__mul__)
_WAIT = st.sampled_from([None, None, None, *(n * _UNIT for n in (1, 3, 6))])
_BACKOFF = st.sampled_from([n * _UNIT for n in (0, 1, 2, 4)])
_MODE: st.SearchStrategy[Mode] = st.sampled_from(["enforce"] * 6 + ["observe", "off"])
_CRITICAL = st.sampled_from([True, True, False])
_STRICT = st.sampled_from([None, None, None, True, False])
_FAIL_FAST = st.sampled_from([None, None, True, False])
_SHAPE = st.sampled_from(["sequence", "sequence", "parallel", "graph"])
_OFTEN = st.sampled_from([True, True, True, False])
_SOMETIMES = st.sampled_from([False, False, False, True])
_AT = st.one_of(st.none(), st.none(), st.integers(1, 30).map(_UNIT.__mul__))


def _never(_: Any) -> bool:
    return False


def _breaks(_: Any) -> Any:
    raise ModelError


_WHEN = st.sampled_from([None, None, None, None, None, _never, _breaks])
_FALLBACK = st.sampled_from([KEEP_INPUT, KEEP_INPUT, "instead", _breaks])


class _Names:
    """Unique names, and a unique tiny amount for each duration."""

    def __init__(self, *, attempts: bool = False) -> None:
        self.attempts = attempts
        self.used = 0
        self.tiny = iter(_TINY)

    def name(self, prefix: str) -> str:
        self.used += 1
        return f"{prefix}{self.used}"

    def own(self, seconds: float) -> float:
        return seconds + next(self.tiny)


def _limits(draw: st.DrawFn, names: _Names) -> dict[str, Any]:
    timeout = draw(_WIDE if names.attempts and draw(_OFTEN) else _LIMIT)
    grace = draw(_GRACE)
    strict = draw(_STRICT)
    if timeout and grace is not None and grace + _UNIT <= timeout and draw(st.booleans()):
        return {"timeout": timeout, "reserve": names.own(grace), "strict": strict}
    grace = None if grace is None else names.own(grace)
    return {"timeout": timeout, "grace": grace, "strict": strict}


def _step(draw: st.DrawFn) -> dict[str, Any]:
    critical = draw(_CRITICAL)
    fallback = KEEP_INPUT if critical else draw(_FALLBACK)
    return {"critical": critical, "when": draw(_WHEN), "fallback": fallback}


def _after(draw: st.DrawFn, shape: str, earlier: list[str]) -> tuple[str, ...]:
    if shape == "parallel" or not earlier:
        return ()
    if shape == "sequence":
        return (earlier[-1],)
    return tuple(name for name in earlier[-3:] if draw(st.booleans()))


def _node(draw: st.DrawFn, names: _Names, after: tuple[str, ...], depth: int) -> NodeModel:
    absorb = names.own(draw(_DURATION)) if draw(_SOMETIMES) else None
    nested = _pipeline(draw, names, depth - 1) if depth and draw(_SOMETIMES) else None
    ending = draw(_ENDING)
    return NodeModel(
        names.name("n"),
        names.own(draw(_DURATION)),
        ending,
        names.own(draw(_DURATION)) if ending == "swallows" else 0.0,
        tuple(names.own(length * _UNIT) for length in draw(_CLEANUPS)),
        **_step(draw),
        after=after,
        absorb_after=absorb,
        nested=nested,
        **_limits(draw, names),
    )


def _attempt(draw: st.DrawFn, names: _Names) -> AttemptModel:
    ending = draw(_TRIED_ENDING)
    hint = draw(_WAIT) if ending in ("raises", "unstarted", "several", "mixed") else None
    return AttemptModel(
        names.own(draw(_SHORT)),
        ending,
        names.own(draw(_SHORT)) if ending == "swallows" else 0.0,
        tuple(names.own(length * _UNIT) for length in draw(_CLEANUPS)),
        hint=None if hint is None else names.own(hint),
    )


def _tried(draw: st.DrawFn, names: _Names, node: NodeModel) -> NodeModel:
    """The same node with policies, and with attempts that differ."""
    first, *later = (_attempt(draw, names) for _ in range(draw(st.integers(1, 3))))
    backoff = names.own(draw(_BACKOFF))
    retry = RetryModel(
        draw(st.sampled_from([3, 2, 4, 6, 9, 1])),
        backoff=backoff if draw(st.booleans()) else 0.0,
        factor=draw(st.sampled_from([1.0, 2.0])),
        max_backoff=backoff + draw(st.sampled_from([8.0, 0.0, 3 * _UNIT])),
        min_attempt=draw(st.sampled_from([n * _UNIT for n in (0, 0, 1, 4)])),
        nested=draw(_SOMETIMES),
        on=not draw(_SOMETIMES) or not draw(_SOMETIMES),
    )
    return attrs.evolve(
        node,
        **attrs.asdict(first),
        later=tuple(later),
        retry=None if draw(_SOMETIMES) else retry,
        attempt_timeout=draw(st.sampled_from([None, None, *(n * _UNIT for n in (2, 3, 4, 8))])),
        idempotent=draw(st.sampled_from([None, None, None, None, True, True, False])),
        guarded=draw(_SOMETIMES),
    )


def _stage(draw: st.DrawFn, names: _Names, after: tuple[str, ...] | None, depth: int) -> StageModel:
    shape = draw(_SHAPE)
    nodes: list[NodeModel] = []
    for _ in range(draw(st.integers(1, 3 if depth else 2))):
        earlier = [node.name for node in nodes]
        node = _node(draw, names, _after(draw, shape, earlier), depth)
        nodes.append(_tried(draw, names, node) if names.attempts and draw(_OFTEN) else node)
    return StageModel(
        names.name("s"),
        tuple(nodes),
        **_step(draw),
        after=after,
        fail_fast=draw(_FAIL_FAST),
        **_limits(draw, names),
    )


def _pipeline(draw: st.DrawFn, names: _Names, depth: int) -> PipelineModel:
    shape = draw(_SHAPE)
    stages: list[StageModel] = []
    for _ in range(draw(st.integers(1, 3 if depth == 2 else 2))):
        earlier = [stage.name for stage in stages]
        after = None if shape == "sequence" else _after(draw, shape, earlier)
        stages.append(_stage(draw, names, after, depth))
    return PipelineModel(
        names.name("p"), tuple(stages), fail_fast=draw(_FAIL_FAST), **_limits(draw, names)
    )


def draw_scenario(draw: st.DrawFn, *, depth: int, caller: bool, attempts: bool) -> Scenario:
    """Draw a scenario; see `graceline.testing.strategies.scenarios`."""
    names = _Names(attempts=attempts)
    mode = draw(_MODE) if attempts and not caller else "enforce"

    def at() -> float | None:
        instant = draw(_AT)
        return None if instant is None else names.own(instant)

    return Scenario(
        _pipeline(draw, names, depth),
        engine_grace=names.own(draw(st.integers(0, 16)) * _UNIT),
        user_cancel_at=at(),
        drain_at=at(),
        caller_cancel_at=at() if caller else None,
        caller_deadline=at() if caller else None,
        jitter=draw(st.sampled_from([1.0, 0.5, 0.0])) if attempts else 1.0,
        mode=mode,
    )
