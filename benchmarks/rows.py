"""A row of the table: a figure, the floor it is held against, and the bar.

Only a bar on a *ratio* decides the exit status, or one on a figure that is the same on every
machine; any other absolute one is shown.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from benchmarks.floors import HAND
from benchmarks.measure import Samples, Spread, ratios

__all__ = ["Row", "amount", "compare", "difference", "growth"]

MICRO = 1e6
MILLI = 1e3
DESIGN_HAND = 6.1
"""Microseconds of a node with hand-written scopes on the machine of the design."""


@attrs.frozen(kw_only=True)
class Row:
    """One line.

    Attributes:
        group: the group it belongs to, as on the command line.
        what: what is measured.
        unit: of figure and floor.
        figure: the engine's.
        floor: what it is compared with; None for an absolute figure.
        against: what the floor is.
        ratio: of figure to floor; None without a floor.
        bar: the most that the ratio may be; None where nothing is promised.
        least: the least that the ratio may be, where more is better.
        most: the most that the figure itself may be, in its unit.
        exact: whether the figure is the same on every machine, as in virtual time.
        series: the figure by size, for a curve; empty where there is one size.
    """

    group: str
    what: str
    unit: str
    figure: Spread
    floor: Spread | None = None
    against: str = ""
    ratio: Spread | None = None
    bar: float | None = None
    least: float | None = None
    most: float | None = None
    exact: bool = False
    series: Mapping[str, Spread] = attrs.field(factory=dict)

    @property
    def key(self) -> tuple[str, ...]:
        """What it is the same row by in another run: growth may be worst between other sizes."""
        return (self.group, self.what) if self.series else (self.group, self.what, self.against)

    @property
    def missed(self) -> bool:
        """Whether a bar is missed that does not depend on the machine: this decides the status."""
        if self.exact and self.exceeded:
            return True
        if self.ratio is None:
            return False
        ratio = self.ratio.median
        above = self.bar is not None and ratio > self.bar
        return above or (self.least is not None and ratio < self.least)

    @property
    def exceeded(self) -> bool:
        """Whether the figure is above its absolute bar."""
        return self.most is not None and self.figure.median > self.most

    @property
    def verdict(self) -> str:
        """`ok`, `MISSED`, or nothing where nothing is promised."""
        if self.bar is None and self.least is None and self.most is None:
            return ""
        return "MISSED" if self.missed or self.exceeded else "ok"


def compare(
    samples: Samples,
    group: str,
    what: str,
    *,
    figure: str,
    floor: str,
    base: str | None = None,
    bar: float | None = None,
    unit: str = "us",
    scale: float = MICRO,
) -> Row:
    """A row from the samples of one interleaved run; the contestants are given by name.

    Args:
        samples: the figures of every contestant.
        group: see `Row`.
        what: see `Row`.
        figure: the contestant in question.
        floor: the contestant it is compared with.
        base: a contestant whose figure is taken off both, round by round.
        bar: see `Row`.
        unit: of the figures once they are scaled.
        scale: from the sampled unit (seconds) to `unit`.
    """
    bases = samples[base] if base is not None else [0.0] * len(samples[figure])
    over = [one - two for one, two in zip(samples[figure], bases, strict=True)]
    under = [one - two for one, two in zip(samples[floor], bases, strict=True)]
    return Row(
        group=group,
        what=what,
        unit=unit,
        figure=Spread.of(over, scale=scale),
        floor=Spread.of(under, scale=scale),
        against=floor,
        ratio=Spread.of(ratios(samples[figure], samples[floor], bases)),
        bar=bar,
    )


def amount(samples: Samples, group: str, what: str, *, figure: str, base: str | None = None) -> Row:
    """A figure alone, in microseconds; what `base` takes in the same round is taken off."""
    bases = samples[base] if base is not None else [0.0] * len(samples[figure])
    over = [one - two for one, two in zip(samples[figure], bases, strict=True)]
    return Row(group=group, what=what, unit="us", figure=Spread.of(over, scale=MICRO))


def difference(
    samples: Samples, group: str, what: str, *, figure: str, base: str, design: float | None = None
) -> Row:
    """What one contestant takes more than another in the same round, beside hand-written scopes.

    The design allows for these additions in microseconds, on its own machine. They mean nothing on
    another one, where everything takes twice as long or half. So what is added is divided by what a
    node with hand-written scopes takes in the same round (`floors.yardstick`: 50 plain nodes in
    stages of 5, as in the design), and the bar is what the design allows for, divided by the 6.1 us
    that such a node took there: 6 us are 0.98 x, 5 us 0.82 x, 3 us 0.49 x, 1 us 0.16 x and 0.5 us
    0.082 x. The ratio decides; the microseconds are shown.

    Args:
        samples: the figures of every contestant, `HAND` among them.
        group: see `Row`.
        what: see `Row`.
        figure: the contestant in question.
        base: the same without what is in question.
        design: the microseconds of the design; None where nothing is promised.
    """
    more = [one - two for one, two in zip(samples[figure], samples[base], strict=True)]
    return attrs.evolve(
        amount(samples, group, what, figure=figure, base=base),
        floor=Spread.of(samples[HAND], scale=MICRO),
        against=HAND,
        ratio=Spread.of(ratios(more, samples[HAND])),
        bar=None if design is None else float(f"{design / DESIGN_HAND:.2g}"),
    )


def growth(
    samples: Samples,
    group: str,
    what: str,
    *,
    bar: float | None,
    unit: str = "us",
    scale: float = MICRO,
) -> Row:
    """The worst growth of a cost per unit, from any size to a larger one.

    The contestants are the sizes in ascending order. Comparing only with the smallest size would
    let its fixed costs hide a growth among the larger ones.
    """
    sizes = list(samples)
    pairs = [(low, high) for at, low in enumerate(sizes) for high in sizes[at + 1 :]]
    spreads = {pair: Spread.of(ratios(samples[pair[1]], samples[pair[0]])) for pair in pairs}
    (low, high), ratio = max(spreads.items(), key=lambda entry: entry[1].median)
    return Row(
        group=group,
        what=f"{what}, {sizes[0]} to {sizes[-1]}",
        unit=unit,
        figure=Spread.of(samples[high], scale=scale),
        floor=Spread.of(samples[low], scale=scale),
        against=f"{low} -> {high}",
        ratio=ratio,
        bar=bar,
        series={size: Spread.of(samples[size], scale=scale) for size in sizes},
    )
