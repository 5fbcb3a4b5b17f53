"""What is kept of a stream: its start and its end, as text, and how much is missing."""

import pytest

from graceline.work.output import Kept


def fed(limit, *pieces):
    kept = Kept(limit)
    for piece in pieces:
        kept.feed(piece)
    return kept.result()


@pytest.mark.parametrize("text", ["", "a", "a\n", "no newline", "ä€𝄞"])
def test_short_output_is_kept_as_it_is(text):
    """What fits the limit is kept whole, with or without a newline, in pieces of any size."""
    data = text.encode()
    assert fed(100, data) == (text, 0)
    assert fed(100, *(data[at : at + 1] for at in range(len(data)))) == (text, 0)


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_the_middle_of_long_output_is_left_out(size):
    """Half of the limit is kept from the start and half from the end, and the rest is counted."""
    data = b"".join(b"%04d" % number for number in range(100))
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert fed(16, *pieces) == ("0000000100980099", 400 - 16)


@pytest.mark.parametrize(("limit", "kept"), [(0, ""), (1, "a"), (2, "af"), (5, "abcef")])
def test_tiny_limits(limit, kept):
    """A limit may be 0; an odd byte goes to the start."""
    assert fed(limit, b"abc", b"def") == (kept, 6 - limit)


def test_exactly_the_limit_is_whole():
    """Output that ends at the limit has lost nothing."""
    assert fed(4, b"abcd") == ("abcd", 0)
    assert fed(4, b"abcde") == ("abde", 1)


@pytest.mark.parametrize("limit", range(2, 24))
def test_a_cut_never_breaks_a_character(limit):
    """Where the middle is left out, the bytes of a half character go with it."""
    data = "ä€𝄞".encode() * 10
    text, dropped = fed(limit, data)
    assert "\ufffd" not in text
    assert len(text.encode()) + dropped == len(data)


def test_bytes_that_are_no_text_become_replacement_characters():
    """Invalid bytes are shown as U+FFFD and not trimmed away."""
    assert fed(100, b"a\xff\x80b") == ("a\ufffd\ufffdb", 0)
    assert fed(4, b"a\x80", b"x" * 10, b"b\n")[0] == "a\ufffdb\n"


def test_live_text_waits_for_the_rest_of_a_character():
    """A character that is cut by two reads comes whole with the second; a broken one at the end."""
    kept = Kept(100)
    data = "€".encode()
    assert [kept.feed(data[:1]), kept.feed(data[1:]), kept.feed(data[:2])] == ["", "€", ""]
    assert kept.feed(b"") == "\ufffd"
    assert kept.result() == ("€\ufffd", 0)


def test_memory_is_bounded():
    """However much comes, no more than the limit and its half again is held."""
    kept = Kept(1000)
    for _ in range(1000):
        kept.feed(b"x" * 999)
        assert len(kept._head) + len(kept._tail) <= 1500
    assert kept.result() == ("x" * 1000, 1000 * 998)
