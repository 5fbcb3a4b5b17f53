"""The deadline header: how much time is left, handed to the next service.

The time is relative, since the clocks of two machines differ, and in the syntax of gRPC's
`grpc-timeout` ("gRPC over HTTP2", PROTOCOL-HTTP2.md): at most eight digits, and one of the units
`H`, `M`, `S`, `m` (milliseconds), `u`, `n`. As in grpc-go it is the finest unit that eight digits
suffice for. All is rounded down, so that a deadline that is passed on any number of times is only
ever shortened. A spent deadline is written as `0n`, which gRPC itself does not send.
"""

from __future__ import annotations

import re
import reprlib
from math import inf

from graceline.values import frozen

__all__ = ["DEFAULT_HEADER", "Malformed", "decode", "encode"]

DEFAULT_HEADER = "grpc-timeout"
"""The name of the header, unless another one was chosen."""

_PER_SECOND = {"n": 10**9, "u": 10**6, "m": 10**3, "S": 1}
_SECONDS = {"M": 60, "H": 3600}
_MOST = 10**8 - 1
_SYNTAX = re.compile(r"([0-9]{1,8})([HMSmun])")


@frozen
class Malformed:
    """A header that says nothing; count it, and go on as if there were none.

    Attributes:
        text: what it was, shortened.
        length: how many characters it had.
    """

    text: str
    length: int


def encode(remaining: float) -> str | None:
    """Write down how much time is left, rounded down by less than 1 %.

    The loss is larger below 101 ns, and above the 11,400 years that the syntax can say.

    Args:
        remaining: seconds; 0 or less is written as `0n`.

    Returns:
        The value of the header; None for `inf`: then there is none.

    Raises:
        ValueError: for NaN.
    """
    if remaining == inf:
        return None
    if remaining <= 0.0:
        return "0n"
    # Integers, since a product of floats may be rounded up.
    above, below = remaining.as_integer_ratio()
    for unit, per_second in _PER_SECOND.items():
        count = above * per_second // below
        if count <= _MOST:
            return f"{count}{unit}"
    for unit, seconds in _SECONDS.items():
        count = above // (below * seconds)
        if count <= _MOST:
            return f"{count}{unit}"
    return f"{_MOST}H"


def decode(text: str) -> float | Malformed:
    """Read how much time is left, in seconds; 0 if it is spent.

    Anything else than one to eight ASCII digits and a unit is malformed, spaces and signs included.
    Malformed is not unlimited, and not spent either: whoever gets it keeps to the limits it has.
    """
    match = _SYNTAX.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return Malformed(reprlib.repr(text), len(text) if isinstance(text, str) else 0)
    count, unit = int(match[1]), match[2]
    return count * _SECONDS[unit] if unit in _SECONDS else count / _PER_SECOND[unit]
