"""Recorders by themselves; how they are found and kept is a matter of the registry."""

from math import inf, nan

import pytest

from graceline.adaptive import Recorder


@pytest.mark.parametrize("duration", [nan, inf, -0.1])
def test_what_is_no_duration_is_left_out(duration):
    """NaN, infinity and negative numbers are neither kept nor told."""
    recorder = Recorder()
    told = []
    recorder.listener = told.append
    recorder.add(duration)
    assert (len(recorder.history), told) == (0, [])


def test_only_what_was_kept_is_told():
    """The listener hears of every sample that was kept, and of no early cancel."""
    recorder = Recorder(window=2)
    told = []
    recorder.listener = told.append
    recorder.add(0.2)
    recorder.add(0.1, censored=True)  # below the shortest: it can move no quantile
    assert told == [recorder]
