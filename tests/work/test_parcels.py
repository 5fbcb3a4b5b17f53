"""Parcels: what cannot be sent is named."""

import threading

import pytest

from graceline import GracelineError
from graceline.work.parcels import pack_call, unpack


class Moody:
    """Can be pickled or not, as the moods say, one after the other."""

    def __init__(self, *moods):
        self.moods = list(moods)

    def __reduce__(self):
        if not self.moods.pop(0):
            raise TypeError("not now")
        return Moody, ()


def test_a_call_arrives_as_it_was_sent():
    """The function and its input are those that were given."""
    assert unpack(pack_call(abs, -1, "n"), "call") == (abs, -1)


@pytest.mark.parametrize(
    ("function", "value", "named"),
    [
        (abs, threading.Lock(), "node 'n': its input, of type lock, cannot be sent"),
        (threading.Lock().acquire, 1, "node 'n': its function 'lock.acquire' cannot be sent"),
    ],
    ids=["input", "function"],
)
def test_what_cannot_be_sent_is_named(function, value, named):
    """The error says which of the two it is."""
    with pytest.raises(GracelineError, match=named):
        pack_call(function, value, "n")


def test_what_cannot_be_sent_together_is_named():
    """If each could be sent by itself, the error names both; if it was a mood, they are sent."""
    no = (False, False)  # pickle, and cloudpickle after it
    with pytest.raises(GracelineError, match="node 'n': its function with its input cannot"):
        pack_call(abs, Moody(*no, True, *no), "n")
    function, value = unpack(pack_call(abs, Moody(*no, True, True), "n"), "call")
    assert (function, type(value)) == (abs, Moody)
