"""The words, which are the same everywhere."""

import attrs
import pytest

from graceline.deadlines import Blame, Kind, Source, Status


def test_there_are_seven_statuses():
    """Code, logs, metrics and documents share these words and no others."""
    assert [str(status) for status in Status] == [
        "ok",
        "late",
        "timed_out",
        "failed",
        "cancelled",
        "skipped",
        "rejected",
    ]


def test_the_kinds_of_blame_are_those_of_the_contract():
    """A blame has one of these kinds and no other."""
    assert set(Kind) == {
        "timeout",
        "queue",
        "user",
        "shutdown",
        "caller",
        "superseded",
        "sibling_failed",
        "failed",
        "rejected",
    }


def test_the_sources_of_limits_are_those_of_the_contract():
    """A limit comes from one of these places and no other."""
    assert set(Source) == {
        "node",
        "metadata",
        "stage",
        "pipeline",
        "default",
        "call",
        "header",
        "inherited",
        "adaptive",
    }


def test_a_status_compares_with_its_word():
    """A result's status can be compared with a plain string."""
    assert Status.TIMED_OUT == "timed_out"


def test_a_blame_is_frozen():
    """Nobody can shift the blame later."""
    blame = Blame("node", "x", Kind.TIMEOUT, 1.0, Source.NODE, 1.0, "late")
    assert blame.by is None
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        blame.name = "y"
