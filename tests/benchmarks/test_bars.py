"""The bars, beside what the design promises; the samples are made up, so nothing is timed."""

from contextlib import asynccontextmanager

import attrs
import pytest
from benchmarks.effort import Effort
from benchmarks.groups import GROUPS

HAND = "hand-written scopes"
BARS = {
    "sequence": {
        ("overhead per node, 50 plain nodes in stages of 5", HAND): (0.6, None, None),
        ("overhead per node, 50 nodes with a checkpoint in stages of 5", HAND): (0.6, None, None),
    },
    "run": {
        (f"whole run, 5 {kind} in {shape}", HAND): (1.0, None, None)
        for kind in ("plain nodes", "nodes with a checkpoint")
        for shape in ("one stage", "five stages")
    },
    "parallel": {
        ("stage of 20 parallel plain nodes", HAND): (1.25, None, None),
        ("stage of 20 parallel nodes with a checkpoint", HAND): (1.25, None, None),
    },
    "concurrent": {
        ("CPU of 1,000 runs at once, 5 nodes x 10 ms", "plain Trio"): (1.7, None, None),
        ("CPU of 1,000 runs at once, 5 nodes x 10 ms", HAND): (1.0, None, None),
    },
    "memory": {
        ("RSS per run in flight, 10,000 at once, 5-node sequence", HAND): (None, None, 8.0),
        ("RSS per run in flight, 10,000 at once, stage of 4 parallel nodes", HAND): (
            1.3, None, None,
        ),
    },
    "lateness": {
        ("p50 lateness of a 50 ms timeout, alone", HAND): (1.1, None, None),
        ("p50 lateness of 1,000 runs with one deadline", HAND): (2.0, None, None),
        ("p50 lateness of 10,000 runs with one deadline", HAND): (2.0, None, None),
    },
    "timeout": {
        ("CPU of a run that times out, third node of 5", HAND): (1.6, None, None),
        ("CPU of a run that times out, 100 at once", HAND): (1.6, None, None),
    },
    "crowds": {
        ("per run, one after another, 10 to 100,000",): (1.3, None, None),
        ("CPU per run in flight outside the collector, 10 to 100,000",): (1.3, None, None),
        (f"CPU per run in flight, times that of {HAND}, 10 to 100,000",): (1.3, None, None),
    },
    "growth": {
        ("per node, in one stage, 10 to 10,000",): (1.3, None, None),
        ("per node, in stages of 5, 10 to 10,000",): (1.3, None, None),
        ("per node, in levels of 2, 10 to 10,000",): (1.3, None, None),
    },
    "import": {("import graceline", "import trio, attrs"): (1.5, None, None)},
    "features": {
        (f"{name}, more per node of {nodes}", HAND): (pytest.approx(us / 6.1, rel=0.01), None, None)
        for name, us in (
            ("metrics in a registry", 0.5),
            ("a learned limit", 6.0),
            ("a retry and a breaker", 3.0),
            ("a timeline as a live sink", 3.0),
        )
        for nodes in (5, 50)
    },
    "ticks": {("watchdog, more per tick of the event loop", HAND): (0.16, None, None)},
    "process": {
        ("node in a warm worker process", "trio-parallel, guarded"): (1.3, None, None),
        ("census of 300 files in 2 processes", "threads"): (pytest.approx(1 / 1.5), None, None),
    },
    "stalls": {},
    "storms": {},
    "define": {},
    "capacity": {},
}  # fmt: skip
"""What is promised of the rows of each group, by what they are called: bar, least, most."""


_DEAR = 100.0
"""What the engine takes, in the groups where it has a contestant of this name."""

ENGINE = ("sequence", "run", "parallel", "concurrent", "memory", "lateness", "timeout", "storms")
"""These groups; their floors take less than a tenth of it."""


class _Anything(dict):
    """The same figures, whatever is asked for."""

    def __missing__(self, _):
        return self["all"]


def _made_up(contestants):
    figures = {name: float(at) for at, name in enumerate(contestants, start=1)}
    if "engine" in figures:
        figures["engine"] = _DEAR
    return {name: [figure] * 15 for name, figure in figures.items()}


async def _interleave(contestants, rounds, warmup=1):
    return _made_up(contestants)


async def _readings(contestants, rounds):
    return _Anything(all=_made_up(contestants))


def _unwarmed(contestants):
    @asynccontextmanager
    async def made(nodes):
        async with contestants(nodes) as known:
            yield {name: attrs.evolve(one, warm=0) for name, one in known.items()}

    return made


@pytest.fixture
def unmeasured(monkeypatch):
    """Groups that measure nothing and warm nothing up."""
    for name in BARS:
        names = GROUPS[name].__globals__
        for made, instead in (("interleave", _interleave), ("readings", _readings)):
            if made in names:
                monkeypatch.setitem(names, made, instead)
    one_run = {
        name: attrs.evolve(shape, pipeline=lambda _, made=shape: made.pipeline(1),
                           by_hand=lambda _, made=shape: made.by_hand(1))
        for name, shape in GROUPS["growth"].__globals__["SHAPES"].items()
    }  # fmt: skip
    monkeypatch.setitem(GROUPS["growth"].__globals__, "SHAPES", one_run)
    names = GROUPS["features"].__globals__
    monkeypatch.setitem(names, "contestants", _unwarmed(names["contestants"]))


@pytest.mark.parametrize("group", BARS)
async def test_the_bars_are_those_of_the_design(unmeasured, group):
    """Each row that promises something promises what the design does, and no other row does."""
    rows = await GROUPS[group](Effort())
    promised = {
        row.key[1:]: (row.bar, row.least, row.most)
        for row in rows
        if (row.bar, row.least, row.most) != (None, None, None)
    }
    assert rows
    assert promised == BARS[group]
    assert not any(row.exact for row in rows)


@pytest.mark.parametrize("group", ENGINE)
async def test_it_is_the_engine_that_has_a_bar(unmeasured, group):
    """The figure of a row is the engine's, and the floor is not."""
    held = [
        row
        for row in await GROUPS[group](Effort())
        if row.ratio and "one moved scope" not in row.what
    ]
    assert held
    assert all(row.ratio.median > 10 for row in held)
