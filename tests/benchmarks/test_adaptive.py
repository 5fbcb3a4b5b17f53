"""The simulator of learners, with made-up calls: nothing here is timed."""

import json
import re
from math import inf
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from benchmarks.adaptive import budgets, command, metrics
from benchmarks.adaptive.budgets import SharedRuns, render_budgets, share
from benchmarks.adaptive.naive import CutsAtTheMaximum, Static, SuccessesOnly
from benchmarks.adaptive.regimes import CHANGE, REGIMES, STATIONARY
from benchmarks.adaptive.service import serve
from benchmarks.adaptive.table import LEARNERS, OURS, Line, Simulation, lines, render

from graceline.adaptive import Learner
from graceline.testing.traffic import Call, EndedCall, replay


def ended(latency=0.1, limit=1.0, outside=inf):
    """A call as it would end under a limit."""
    elapsed = min(latency, limit, outside)
    return EndedCall(Call(latency, outside), limit, elapsed, cut=elapsed not in (latency, outside))


FINE, CUT, HUNG = ended(), ended(2.0), ended(inf)


def test_a_false_timeout_could_have_finished():
    """A cut counts as false if the call would have ended by the ceiling, and before anything outside ended it."""
    assert metrics.is_false(CUT)
    assert not metrics.is_false(FINE)
    assert not metrics.is_false(HUNG)
    assert not metrics.is_false(ended(3.1))
    assert not metrics.is_false(ended(2.0, 1.0, outside=1.5))


def test_rates_are_means_over_the_seeds():
    """The rate is in percent of all calls; the cold one looks at the first fifty."""
    runs = [[FINE, CUT], [FINE, FINE]]
    assert metrics.false_rate(runs) == 25.0
    assert metrics.cold_rate([[FINE] * 50 + [CUT] * 50]) == 0.0
    assert metrics.cold_limit([[ended(limit=0.2)] * 25 + [ended(limit=0.4)] * 25]) == pytest.approx(
        300
    )
    assert metrics.cuts_after(1, 2)([[CUT, CUT, FINE, CUT], [CUT, FINE, FINE, CUT]]) == 0.5


def test_recovery_is_the_start_of_twenty_calm_calls():
    """Recovery counts the calls after the change before the first 20 in a row that are not cut."""
    before = [FINE] * CHANGE
    assert metrics.recovery([[*before, *[FINE] * 30]]) == 0
    assert metrics.recovery([[*before, CUT, *[FINE] * 19, CUT, *[FINE] * 20]]) == 21
    assert metrics.recovery([[*before, *[CUT] * 30]]) == inf


def test_hangs_have_a_time_and_a_waste():
    """Detection is the mean time of hung calls; waste is the p99 over all calls of what cut ones took."""
    runs = [[FINE, HUNG, ended(inf, 0.5)]]
    assert metrics.detection(0, 3)(runs) == 750.0
    assert metrics.waste(0, 3)(runs) == 1000.0
    assert metrics.waste(0, 1)(runs) == 0.0


def test_variation_is_that_of_the_learned_limit():
    """A limit that stands still has no variation; what was before call 500 does not count."""
    cold = [ended(limit=9.0)] * 500
    assert metrics.variation([[*cold, *[FINE] * 100]]) == 0.0
    limits = [ended(limit=1.0 + number % 100 / 100) for number in range(1000)]
    assert metrics.variation([[*cold, *limits]]) == pytest.approx(100 * 0.5 / 1.349 / 1.5, rel=0.02)


def test_stuck_is_half_of_the_last_calls():
    """A learner is stuck if, at the end of any seed, half of the healthy calls are cut."""
    assert metrics.stuck([[FINE] * 500, [FINE, CUT] * 250])
    assert not metrics.stuck([[FINE, FINE, CUT] * 200])
    assert not metrics.stuck([[FINE, HUNG] * 250])


def test_a_seed_is_always_the_same_traffic():
    """The same seed gives the same calls, another one others."""
    for regime in REGIMES.values():
        assert regime.calls(1, 50) == regime.calls(1, 50)
        assert regime.calls(1, 50) != regime.calls(2, 50) or regime.name == "outage of 50 calls"
    assert set(STATIONARY) < set(REGIMES)


def test_naive_learners_fail_as_they_are_meant_to():
    """After a shift the learner of successes cuts everything for ever; with cuts at the maximum it recovers, but hangs raise it; a static limit learns nothing."""
    calls = REGIMES["the trap: 40-60 to 90-118 ms"].calls(1)
    assert all(one.cut for one in replay(SuccessesOnly(), calls)[-1000:])
    assert not any(one.cut for one in replay(CutsAtTheMaximum(), calls)[-100:])
    hangs = REGIMES["5 % hang for ever"].calls(1)
    assert replay(CutsAtTheMaximum(), hangs)[-1].limit > 0.5
    assert {one.limit for one in replay(Static(), calls)} == {1.0}
    assert not any(one.cut for one in replay(SuccessesOnly(), [Call(0.1, 0.05)] * 50))


def test_a_line_is_held_against_its_bar():
    """A figure of ours above its bar is missed; those of others are not; what never recovers is shown."""
    good = Line("a", "%", {"graceline": 1.0, "static 1 s": 9.0}, 1.5)
    bad = Line("b", "calls", {"graceline": inf}, 40.0)
    free = Line("c", "", {"graceline": 123.4})
    assert [line.missed for line in (good, bad, free)] == [False, True, False]
    text = render([good, bad, free]).splitlines()
    assert text[1].endswith("ok")
    assert "never" in text[2]
    assert text[2].endswith("MISSED")
    assert "123" in text[3]
    assert bad.to_document()["figures"] == {"graceline": None}


def test_regimes_are_simulated_once():
    """Two lines of one regime share its runs."""
    simulation = Simulation((1,))
    first = simulation.runs("graceline", "lognormal")
    assert simulation.runs("graceline", "lognormal") is first
    assert simulation.runs("graceline", "lognormal", 32) is not first


def test_calls_in_flight_and_the_learner_are_those_of_the_line():
    """A run is that of the learner that is named, with so many calls in flight; ours is the one that users get."""
    simulation = Simulation((1,))
    assert LEARNERS[OURS] is Learner
    for in_flight in (1, 32):
        [run] = simulation.runs(OURS, "lognormal", in_flight)
        assert run == replay(Learner(), REGIMES["lognormal"].calls(1), in_flight=in_flight)
    assert simulation.runs(OURS, "lognormal") != simulation.runs(OURS, "lognormal", 32)


class MadeUp(Simulation):
    """A simulation in which each learner has the same few calls everywhere; notes what was asked."""

    def __init__(self):
        super().__init__((1,))
        object.__setattr__(self, "asked", set())

    def runs(self, learner, regime, in_flight=1):
        self.asked.add((learner, regime, in_flight))
        cut = regime in ("bad", "pareto tail") or in_flight == 32
        return [[HUNG, *[CUT if cut else FINE] * 9] * 300]


def test_a_line_is_the_worst_of_its_regimes():
    """Of several regimes the highest figure counts, with the calls in flight of the line."""
    simulation = MadeUp()
    for regimes in (["lognormal", "bad"], ["bad", "lognormal"]):
        line = simulation.line("made up", metrics.false_rate, regimes)
        assert set(line.figures) == set(LEARNERS)
        assert line.figures[OURS] == 90.0
    line = simulation.line("made up", metrics.false_rate, "lognormal", in_flight=32)
    assert line.figures[OURS] == 90.0


def test_the_table_has_the_bars_of_its_documentation():
    """Each line with a bar is in the documentation with that very bar, and every regime is looked at."""
    simulation = MadeUp()
    bars = {line.what: line.bar for line in lines(simulation) if line.bar is not None}
    text = (Path(__file__).parents[2] / "docs" / "adaptive.md").read_text()
    found = re.findall(
        r"^\| ([^|]+) \| [^|]+ \| <= ([\d.]+)[^|]* \| [^|\s][^|]* \|", text, re.MULTILINE
    )
    promised = {what: float(bar) for what, bar in found}
    assert len(promised) > 25
    stuck = f"regimes in which it is stuck for ever, of {2 * len(REGIMES)}"
    assert bars == {**promised, stuck: 0.0}
    assert simulation.asked == {
        (learner, regime, flight)
        for learner in LEARNERS
        for regime in REGIMES
        for flight in (1, 32)
    }


def test_command_writes_what_it_is_asked_for(tmp_path, capsys, monkeypatch):
    """The command prints the table, writes JSON and one SVG per regime, and exits by the bars."""
    line = Line("made up", "ms", dict.fromkeys(LEARNERS, 1.0), 2.0)
    monkeypatch.setattr(command, "lines", lambda simulation: [line])
    asked = []
    monkeypatch.setattr(command, "serve", lambda seed, *, real: asked.append(real) or [])
    monkeypatch.setattr(command, "share", lambda seeds: {"reserve": SharedRuns(90.0, 20.0)})
    monkeypatch.setattr(command, "REGIMES", {"15.6 ms timer": REGIMES["15.6 ms timer"]})
    as_json, charts = tmp_path / "f.json", tmp_path / "charts"
    options = ["--no-costs", "--seeds", "1", "2", "--json", str(as_json), "--charts", str(charts)]
    assert command.main(options) == 0
    assert "made up" in capsys.readouterr().out
    document = json.loads(as_json.read_text())
    assert document["lines"][0]["bar"] == 2.0
    assert document["budgets"] == {"reserve": {"completed": 90.0, "wasted": 20.0}}
    (chart,) = charts.iterdir()
    assert chart.name == "15-6-ms-timer.svg"
    first = chart.read_bytes()
    assert ET.fromstring(first).tag.endswith("svg")  # noqa: S314 - drawn by ourselves
    assert command.main([*options, "--real-time"]) == 0
    assert chart.read_bytes() == first
    assert asked == [False, False, True]
    line = Line("made up", "ms", dict.fromkeys(LEARNERS, 3.0), 2.0)
    assert command.main(["--no-costs", "--seeds", "1", "2"]) == 1


def test_ways_to_share_a_budget_meet_the_same_runs():
    """A seed is always the same durations, in which about 2 % hang; other seeds are others."""
    drawn = budgets.durations(1, 2000)
    assert drawn == budgets.durations(1, 2000)
    assert drawn != budgets.durations(2, 2000)
    assert 20 <= sum(inf in run for run in drawn) <= 60
    assert all(run.count(inf) <= 1 for run in drawn)


def test_sharing_beats_an_equal_split():
    """Limits that are cut into equal parts lose most runs; keeping a reserve wastes less than not to."""
    found = share([10_000], 200)
    assert found["equal split"].completed < 40
    assert found["remaining"].completed > 85
    assert found["reserve"].completed > 85
    assert found["reserve"].wasted < found["remaining"].wasted < found["equal split"].wasted
    assert render_budgets(found).splitlines()[3].startswith("reserve")


def test_a_service_in_the_engine_holds_the_bars():
    """In virtual time, with the real engine: recovery from a step, the waste of hangs, and the rate of cuts."""
    lines = serve(10007, real=False)
    assert [line.what for line in lines if line.missed] == []
    assert lines[1].figures["graceline"] >= 1
