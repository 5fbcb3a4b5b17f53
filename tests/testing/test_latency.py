import math
import random
import statistics
from datetime import timedelta

import pytest

from graceline.errors import DefinitionError
from graceline.testing.latency import (
    Bimodal,
    Constant,
    Latency,
    Lognormal,
    Pareto,
    Trace,
    as_latency,
)

MODELS = [
    Constant(0.25),
    Lognormal(0.25, 0.5),
    Pareto(0.25, 2.0),
    Bimodal(0.25, 1.0, 0.5),
    Trace([0.25, 0.5, 1.0]),
]


def samples(model, count=4000, seed=1):
    dice = random.Random(seed)  # noqa: S311 - no secret
    return [model.sample(dice) for _ in range(count)]


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_seeded(model):
    """The same generator gives the same durations, none of them negative."""
    assert isinstance(model, Latency)
    assert samples(model, 50) == samples(model, 50)
    assert min(samples(model)) >= 0


def test_constant():
    """A constant never varies, and may be endless."""
    assert set(samples(Constant("250ms"), 10)) == {0.25}
    assert samples(Constant(math.inf), 1) == [math.inf]


def test_lognormal():
    """Half of the calls do not exceed the median, and the logarithm has the stated deviation."""
    found = samples(Lognormal(0.25, 0.5))
    assert statistics.median(found) == pytest.approx(0.25, rel=0.05)
    assert statistics.stdev(map(math.log, found)) == pytest.approx(0.5, rel=0.05)


def test_pareto():
    """No call is below the scale, and the share above x is `(scale / x) ** alpha`."""
    found = samples(Pareto(0.25, 2.0))
    assert min(found) >= 0.25
    assert sum(x > 0.5 for x in found) / len(found) == pytest.approx(0.25, rel=0.1)


def test_bimodal():
    """There are two durations, in the stated shares; a share of 0 or 1 leaves one."""
    found = samples(Bimodal(0.25, 1.0, 0.125))
    assert set(found) == {0.25, 1.0}
    assert found.count(1.0) / len(found) == pytest.approx(0.125, rel=0.15)
    assert set(samples(Bimodal(0.25, 1.0, 0))) == {0.25}
    assert set(samples(Bimodal(0.25, 1.0, 1))) == {1.0}


def test_trace():
    """A history is sampled with replacement, and nothing that is not in it comes out."""
    found = samples(Trace(["250ms", 0.5]))
    assert set(found) == {0.25, 0.5}
    assert found.count(0.25) / len(found) == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("value", [0.25, "250ms", timedelta(milliseconds=250)])
def test_a_duration_is_a_constant(value):
    """Seconds, text and a timedelta become constants."""
    assert as_latency(value) == Constant(0.25)


def test_a_model_stays():
    """A model stays as it is, one of the user's own too."""

    class Own:
        def sample(self, random):
            return 1.0

    for model in (*MODELS, own := Own()):
        assert as_latency(model) is model
    assert isinstance(own, Latency)


@pytest.mark.parametrize("value", [None, [1], {}, object(), Constant, True, "1", -1, math.nan])
def test_not_a_latency(value):
    """What is neither a duration nor a model is refused, and the message says what would be."""
    with pytest.raises(DefinitionError, match=r"latency: .*(?:0.25|bool|unit|negative|NaN)"):
        as_latency(value)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Constant(-1), r"Constant\(seconds=\).*negative"),
        (lambda: Lognormal(0, 1), r"Lognormal\(median=\) must be above 0"),
        (lambda: Lognormal(math.inf, 1), r"Lognormal\(median=\) must be a finite"),
        (lambda: Lognormal(1, -1), r"Lognormal\(sigma=\).*at least 0"),
        (lambda: Lognormal(1, math.nan), r"Lognormal\(sigma=\).*not nan"),
        (lambda: Lognormal(1, True), r"Lognormal\(sigma=\).*not True"),
        (lambda: Pareto(0, 1), r"Pareto\(scale=\) must be above 0"),
        (lambda: Pareto(1, 0), r"Pareto\(alpha=\) must be above 0"),
        (lambda: Pareto(1, "2"), r"Pareto\(alpha=\).*not '2'"),
        (lambda: Bimodal(1, 2, 1.5), r"Bimodal\(slow_share=\).*from 0 to 1"),
        (lambda: Bimodal(2, 1, 0.5), r"Bimodal\(slow=\) must be at least fast=2, not 1"),
        (lambda: Bimodal("1", 2, 0.5), r"Bimodal\(fast=\).*no unit"),
        (lambda: Trace([]), "at least one"),
        (lambda: Trace("1s"), "list of durations"),
        (lambda: Trace(3), "list of durations"),
        (lambda: Trace([1, -1]), r"duration 1: -1 is negative"),
    ],
)
def test_bad_models(make, match):
    """A bad number is refused by the name of its attribute."""
    with pytest.raises(DefinitionError, match=match):
        make()
