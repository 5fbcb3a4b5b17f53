"""The harness, with made-up figures: nothing here is timed."""

import pytest
import trio
from benchmarks.effort import Effort
from benchmarks.floors import bare, hand_parallel, hand_written, plain_parallel
from benchmarks.groups.overload import _at_twice
from benchmarks.measure import Spread, interleave, ratios, timed
from benchmarks.overload import Traffic, play
from benchmarks.rows import Row, compare, growth
from benchmarks.shapes import layered, plain, side_by_side, stages_of, straight

from graceline import open_engine
from graceline.virtual import run_virtual


def row(ratio=0.5, bar=1.0, **fields):
    """A row with a ratio that was not measured."""
    spread = Spread.of([ratio])
    made = {"group": "g", "what": "w", "unit": "us", "figure": spread, "floor": spread}
    return Row(**{**made, "ratio": spread, "bar": bar, **fields})


def test_ratio_is_the_median_of_the_ratios_of_each_round():
    """The ratio is taken within a round first, so a slow round does not count twice."""
    made = compare({"a": [1.0, 20.0, 3.0], "b": [2.0, 10.0, 3.0]}, "g", "w", figure="a", floor="b")
    assert made.ratio == Spread(1.0, 0.75, 1.5, 3)
    assert made.figure.median == 3.0 * 1e6
    assert made.floor.median == 3.0 * 1e6


def test_more_can_be_better():
    """A ratio below its least is missed, and the bar is shown as such."""
    assert not row(2.0, None, least=2.0).missed
    assert row(1.9, None, least=2.0).missed
    assert row(1.9, None, least=2.0).verdict == "MISSED"


def test_a_figure_that_is_exact_decides():
    """An absolute bar fails the command only where the figure is the same on every machine."""
    assert row(bar=None, most=0.4).verdict == "MISSED"
    assert not row(bar=None, most=0.4).missed
    assert row(bar=None, most=0.4, exact=True).missed


def test_more_completes_with_predictions():
    """The load test sends the same traffic twice, and its figures say what became of it."""
    off, enforced = (run_virtual(play, Traffic(2.0), mode, 0, 400) for mode in ("off", "enforce"))
    assert len(off.results) == len(enforced.results) == 400
    assert enforced.done > 2 * off.done
    assert enforced.wasted < 15 < off.wasted
    assert (off.refused, off.until_no) == (0.0, pytest.approx(400))
    assert enforced.refused > 30
    assert enforced.until_no == 0.0
    assert 0 < enforced.refused_wrongly(off) < off.done


async def test_the_bars_of_overload():
    """At twice the load: twice as many complete, 15 % are wasted, 160 ms until no is said."""
    rows = await _at_twice(1, 20)
    assert [(one.least, one.most, one.exact) for one in rows] == [
        (2.0, None, True),
        (None, 15.0, True),
        (None, 160.0, True),
    ]
    assert [one.what.split(": ")[1].split()[0] for one in rows] == ["completed", "slot", "p50"]


def test_base_is_taken_off_both_sides():
    """An overhead is what is left of figure and floor after the bare loop of the same round."""
    samples = {"a": [3.0, 7.0], "b": [5.0, 9.0], "bare": [1.0, 5.0]}
    made = compare(samples, "g", "w", figure="a", floor="b", base="bare", unit="s", scale=1.0)
    assert (made.figure.median, made.floor.median, made.ratio.median) == (2.0, 4.0, 0.5)


def test_round_without_a_floor_is_left_out():
    """A round in which noise pushed the floor below its base says nothing about the ratio."""
    assert ratios([3.0, 3.0], [2.0, 1.0], [1.0, 1.0]) == [2.0]


def test_spread_has_the_quartiles():
    """A spread shows the middle half of the figures around their median."""
    assert Spread.of([5.0, 1.0, 2.0, 4.0, 3.0]) == Spread(3.0, 2.0, 4.0, 5)


def test_spread_of_one_figure_is_that_figure():
    """One round gives a spread of no width instead of an error."""
    assert Spread.of([2.0], scale=10.0) == Spread(20.0, 20.0, 20.0, 1)


def test_spread_of_nothing_is_refused():
    """No figure at all is an error, not a zero."""
    with pytest.raises(ValueError, match="at least one figure"):
        Spread.of([])


async def test_contestants_take_turns():
    """Every contestant is sampled once per round, in the same order, and warm-up does not count."""
    order = []

    def contestant(name):
        async def sample():
            order.append(name)
            return float(len(order))

        return sample

    samples = await interleave({"a": contestant("a"), "b": contestant("b")}, 3, warmup=1)
    assert order == ["a", "b"] * 4
    assert samples == {"a": [3.0, 5.0, 7.0], "b": [4.0, 6.0, 8.0]}


async def test_timed_counts_per_unit():
    """A timed sample is the time of all calls over all the units they did."""
    readings = iter([10.0, 16.0])
    calls = []

    async def work():
        calls.append(None)

    sample = timed(work, times=3, units=4, clock=lambda: next(readings))
    assert await sample() == 0.5
    assert len(calls) == 3


async def test_what_work_leaves_to_the_next_tick_is_timed_too():
    """A sample ends after a tick, in which Trio clears away the deadlines that the work left."""

    class Ticks(trio.abc.Instrument):
        seen = 0

        def after_io_wait(self, timeout):
            self.seen += 1

    async def work():
        """Not even a checkpoint."""

    ticks = Ticks()
    trio.lowlevel.add_instrument(ticks)
    assert await timed(work, times=2, clock=lambda: float(ticks.seen))() == 0.5
    trio.lowlevel.remove_instrument(ticks)


def test_growth_is_the_worst_of_all_pairs():
    """A growth among the larger sizes shows, though the smallest is dearer for its fixed costs."""
    made = growth({"10": [4.0], "100": [2.0], "1,000": [3.0]}, "g", "per node", bar=1.3)
    assert made.ratio.median == 1.5
    assert (made.what, made.against) == ("per node, 10 to 1,000", "100 -> 1,000")
    assert [one.median for one in made.series.values()] == [4.0e6, 2.0e6, 3.0e6]
    assert made.missed


def test_exit_status_is_that_of_the_ratio_bars():
    """The status is 1 if any ratio is above its bar, and a bar that is just met is met."""
    assert [one.missed for one in (row(1.0, 1.0), row(9.0, None), row(1.01, 1.0))] == [
        False, False, True,
    ]  # fmt: skip


def test_absolute_bar_is_shown_and_does_not_decide():
    """A figure above an absolute bar is shown as missed, but machines differ: the status is 0."""
    large = row(bar=None, figure=Spread.of([9.0]), most=8.0, unit="KB")
    assert large.verdict == "MISSED"
    assert not large.missed
    assert row(bar=None).verdict == ""


def test_effort_scales_rounds_and_sizes():
    """A quick look has fewer rounds and leaves out the largest size."""
    assert Effort().rounds(60) == 60
    assert Effort(quick=True).rounds(60) == 10
    assert Effort(quick=True).rounds(6) == 2
    assert Effort().sizes(1, 2, 3) == [1, 2, 3]
    assert Effort(quick=True).sizes(1, 2, 3) == [1, 2]


async def test_floors_do_the_same_work_as_the_engine():
    """Floors and engine compute the same values from the same functions."""

    async def add(value):
        return value + 1

    work = stages_of(add, 2, 3)
    async with open_engine() as engine:
        assert await bare(work, 0) == 6
        assert await hand_written(work, 0) == 6
        assert (await engine.run(straight(work), 0)).value == 6
        expected = {0: 1, 1: 1}
        assert await plain_parallel([add, add], 0) == expected
        assert await hand_parallel([add, add], 0) == expected
        result = await engine.run(side_by_side([add, add]), 0)
        assert result.value == {"n0": 1, "n1": 1}


async def test_hand_written_scopes_cut_at_each_level(autojump_clock):
    """The floor stops at the limit of a node or a stage, and raises at that of the pipeline."""

    async def stuck(_):
        await trio.sleep_forever()

    assert await hand_written([[stuck]], 0, node_limit=1) is None
    assert await hand_written([[stuck]], 0, stage_limit=1) is None
    with pytest.raises(trio.TooSlowError):
        await hand_written([[stuck]], 0, pipeline_limit=1)


def test_layered_graph_needs_a_nursery():
    """Each node of a level needs both of the level above, so no level is a mere sequence."""
    stage = layered(plain, 3).stages[0]
    assert stage.graph.before["n4"] == ("n2", "n3")
    assert len(stage.graph.segments) == 6
