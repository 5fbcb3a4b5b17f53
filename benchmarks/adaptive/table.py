"""The table: every promise with its bar, and what each learner reaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from benchmarks.adaptive import metrics
from benchmarks.adaptive.naive import CutsAtTheMaximum, Static, SuccessesOnly
from benchmarks.adaptive.regimes import BROWN_OUT, CALLS, CHANGE, REGIMES, STATIONARY, STORM
from graceline.adaptive import Learner
from graceline.testing.traffic import EndedCall, LimitLearner, replay

__all__ = ["LEARNERS", "OURS", "Line", "Simulation", "lines", "render"]

OURS = "graceline"
LEARNERS: Mapping[str, Callable[[], LimitLearner]] = {
    OURS: Learner,
    "successes only": SuccessesOnly,
    "cuts at the maximum": CutsAtTheMaximum,
    "static 1 s": Static,
}


@attrs.frozen
class Line:
    """One line of the table.

    Attributes:
        what: the metric, and the regime where it is not in its name.
        unit: of the figures.
        figures: by the name of the learner.
        bar: the most that ours may be; None where nothing is promised.
    """

    what: str
    unit: str
    figures: Mapping[str, float]
    bar: float | None = None

    @property
    def missed(self) -> bool:
        """Whether ours is above the bar."""
        return self.bar is not None and self.figures[OURS] > self.bar

    def to_document(self) -> dict[str, Any]:
        """The line as plain JSON types; what never recovers is null."""
        figures = {
            name: None if value == float("inf") else value for name, value in self.figures.items()
        }
        return {
            "what": self.what,
            "unit": self.unit,
            "figures": figures,
            "bar": self.bar,
            "missed": self.missed,
        }


@attrs.frozen
class Simulation:
    """Runs regimes with the same seeds for every learner, each at most once."""

    seeds: tuple[int, ...]
    _runs: dict[tuple[str, str, int], list[list[EndedCall]]] = attrs.field(factory=dict)

    def runs(self, learner: str, regime: str, in_flight: int = 1) -> list[list[EndedCall]]:
        """The calls of one regime, seed by seed."""
        key = (learner, regime, in_flight)
        if key not in self._runs:
            self._runs[key] = [
                replay(LEARNERS[learner](), REGIMES[regime].calls(seed), in_flight=in_flight)
                for seed in self.seeds
            ]
        return self._runs[key]

    def line(
        self,
        what: str,
        figure: metrics.Figure,
        regimes: Sequence[str] | str,
        *,
        unit: str = "",
        bar: float | None = None,
        in_flight: int = 1,
    ) -> Line:
        """The worst of some regimes, for every learner."""
        names = (regimes,) if isinstance(regimes, str) else regimes
        figures = {
            learner: max(figure(self.runs(learner, name, in_flight)) for name in names)
            for learner in LEARNERS
        }
        return Line(what, unit, figures, bar)


def lines(simulation: Simulation) -> list[Line]:
    """The whole table, costs aside."""
    line = simulation.line
    brown_out, whole = (BROWN_OUT.start, len(BROWN_OUT)), (0, CALLS)
    after = metrics.cuts_after(CHANGE, 500)
    first = metrics.cuts_after(0, 500)
    storm = metrics.cuts_after(STORM.start, len(STORM))
    made = [
        line(f"false timeouts, {name}", metrics.false_rate, name, unit="%", bar=1.5)
        for name in STATIONARY
    ]
    made += [
        line(
            f"false timeouts, {name}, 32 in flight",
            metrics.false_rate,
            name,
            unit="%",
            bar=1.5,
            in_flight=32,
        )
        for name in STATIONARY
    ]
    made += [
        line(
            "cold start: false timeouts in the first 50 calls",
            metrics.cold_rate,
            "lognormal",
            unit="%",
            bar=1,
        ),
        line(
            "cold start: mean limit of the first 50 calls",
            metrics.cold_limit,
            "lognormal",
            unit="ms",
            bar=500,
        ),
        line("step x1.7: cuts in the next 500", after, "step x1.7"),
        line("step x4: cuts in the next 500", after, "step x4", bar=10),
        line("step x4: p90 recovery", metrics.recovery, "step x4", unit="calls", bar=40),
        line("step x20: cuts in the next 500", after, "step x20", bar=6),
        line("the trap: cuts in the next 500", after, "the trap: 40-60 to 90-118 ms"),
        line("above the default: cuts in the first 500", first, "above the default", bar=6),
        line("miss storm: cuts", storm, "miss storm", bar=15),
        line("step x4, 32 in flight: cuts in the next 500", after, "step x4", bar=45, in_flight=32),
        line(
            "brown-out: mean time to detect a hang",
            metrics.detection(*brown_out),
            "brown-out",
            unit="ms",
            bar=350,
        ),
        line("brown-out: p99 waste", metrics.waste(*brown_out), "brown-out", unit="ms", bar=300),
        line(
            "5 % hang: mean time to detect a hang",
            metrics.detection(*whole),
            "5 % hang for ever",
            unit="ms",
            bar=350,
        ),
        line("5 % hang: p99 waste", metrics.waste(*whole), "5 % hang for ever", unit="ms", bar=250),
        line(
            "brown-out, 32 in flight: mean time to detect",
            metrics.detection(*brown_out),
            "brown-out",
            unit="ms",
            bar=600,
            in_flight=32,
        ),
        line(
            "brown-out, 32 in flight: p99 waste",
            metrics.waste(*brown_out),
            "brown-out",
            unit="ms",
            bar=1200,
            in_flight=32,
        ),
        line("variation of the limit, lognormal", metrics.variation, "lognormal", unit="%", bar=15),
        line(
            "variation of the limit, pareto tail",
            metrics.variation,
            "pareto tail",
            unit="%",
            bar=35,
        ),
    ]
    made += [
        line(f"false timeouts, {name}", metrics.false_rate, name, unit="%")
        for name in ("drift x3", "periodic", "flapping x4", "step down /4")
    ]
    stuck = {
        learner: float(
            sum(
                metrics.stuck(simulation.runs(learner, name, flight))
                for name in REGIMES
                for flight in (1, 32)
            )
        )
        for learner in LEARNERS
    }
    made.append(
        Line(f"regimes in which it is stuck for ever, of {2 * len(REGIMES)}", "", stuck, 0.0)
    )
    return made


def render(table: Sequence[Line]) -> str:
    """The table as text."""
    rows = [("", *LEARNERS, "bar", "")]
    for line in table:
        figures = [_figure(line.figures.get(name), line.unit) for name in LEARNERS]
        verdict = "" if line.bar is None else "MISSED" if line.missed else "ok"
        rows.append(
            (
                line.what,
                *figures,
                "" if line.bar is None else f"<= {_figure(line.bar, line.unit)}",
                verdict,
            )
        )
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if value == float("inf"):
        return "never"
    text = f"{value:.0f}" if value >= 100 else f"{value:.2f}" if unit == "%" else f"{value:.3g}"
    return f"{text} {unit}".rstrip()
