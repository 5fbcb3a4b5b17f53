"""Output of a program: its beginning and its end are kept, and all of it can be read live."""

from __future__ import annotations

import codecs

__all__ = ["Kept"]


class Kept:
    """The first and the last bytes of a stream, and how many are missing between them.

    Args:
        limit: bytes that are kept: half of them from the start, half from the end.
    """

    __slots__ = ("_decoder", "_head", "_head_size", "_tail", "_tail_size", "_total")

    def __init__(self, limit: int) -> None:
        self._head_size = limit - limit // 2
        self._tail_size = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        """Take what was written; returns it as text. `b""` is the end of the stream.

        A character that is cut by the border of two pieces comes with the second one.
        """
        self._total += len(data)
        room = self._head_size - len(self._head)
        if room > 0:
            self._head += data[:room]
            rest = data[room:]
        else:
            rest = data
        self._tail += rest[-self._tail_size :] if self._tail_size else b""
        if len(self._tail) > 2 * self._tail_size:  # cut now and then: each cut moves the rest
            del self._tail[: -self._tail_size]
        return self._decoder.decode(data, final=not data)

    def result(self) -> tuple[str, int]:
        """What was kept, as text, and how many bytes were left out of its middle."""
        head, tail = bytes(self._head), bytes(self._tail[-self._tail_size :])
        if len(head) + len(tail) == self._total:
            return (head + tail).decode("utf-8", "replace"), 0
        head, tail = _whole_end(head), _whole_start(tail)
        text = head.decode("utf-8", "replace") + tail.decode("utf-8", "replace")
        return text, self._total - len(head) - len(tail)


def _whole_end(data: bytes) -> bytes:
    """Without the first part of a character whose rest was left out."""
    for size in range(1, min(3, len(data)) + 1):
        byte = data[-size]
        if byte >= 0xC0:  # it begins a character of two to four bytes
            needed = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return data[:-size] if size < needed else data
        if byte < 0x80:
            break
    return data


def _whole_start(data: bytes) -> bytes:
    """Without the last part of a character whose beginning was left out."""
    start = 0
    while start < min(3, len(data)) and 0x80 <= data[start] < 0xC0:
        start += 1
    return data[start:]
