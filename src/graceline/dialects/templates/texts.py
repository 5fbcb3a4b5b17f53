"""What filters and methods do with text, each bounded in advance."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import islice
from typing import Any
from urllib.parse import quote

from graceline.definitions.checks import brief
from graceline.dialects.templates.errors import TemplateError
from graceline.dialects.templates.meter import MAX_ITEMS, Meter
from graceline.dialects.templates.operators import text_of

__all__ = [
    "basename", "center", "check_text", "indent", "join", "quoted", "replaced", "slugify", "split",
    "truncate", "words",
]  # fmt: skip

_MAX_WIDTH = 1000
_WORD = re.compile(r"\w+")
_NO_WORD = re.compile(r"[\W_]+")


def check_text(value: Any, what: str) -> str:
    """Return a text, or raise."""
    if not isinstance(value, str):
        raise TemplateError(f"{what} needs a text, not {brief(value)}")
    return value


def _check_width(width: Any, what: str) -> int:
    if isinstance(width, bool) or not isinstance(width, int) or not 0 <= width <= _MAX_WIDTH:
        raise TemplateError(f"{what} takes a width from 0 to {_MAX_WIDTH}, not {brief(width)}")
    return width


def join(meter: Meter, parts: Iterable[Any], separator: str = "") -> str:
    """The texts of some values, with a separator between them."""
    separator = check_text(separator, "join")
    texts = []
    for part in parts:
        meter.tick()
        text = text_of(part, meter)
        meter.charge(len(text) + len(separator))
        texts.append(text)
    whole = sum(map(len, texts)) + len(separator) * len(texts)
    meter.charge(whole)
    return separator.join(texts)


def replaced(meter: Meter, value: str, old: str, new: str, count: int = -1) -> str:
    """A text with another in place of one."""
    value, old, new = (check_text(text, "replace") for text in (value, old, new))
    if not isinstance(count, int):
        raise TemplateError(f"replace takes a number of times, not {brief(count)}")
    meter.pay(value, old)
    times = value.count(old) if count < 0 else min(count, value.count(old))
    meter.charge(len(value) + times * max(0, len(new) - len(old)))
    return str(meter.kept(value.replace(old, new, count)))


def split(
    meter: Meter,
    value: str,
    separator: str | None = None,
    maxsplit: int = -1,
    *,
    lines: bool = False,
) -> list[str]:
    """The parts of a text between separators, or its lines."""
    meter.pay(value)
    # Not all at once: a text of sixteen million commas is small, and its parts are not.
    if lines:
        parts = value.splitlines() if len(value) < MAX_ITEMS else _lines(value)
    else:
        limit = MAX_ITEMS if not 0 <= maxsplit <= MAX_ITEMS else maxsplit
        parts = value.split(separator, limit)
    kept: list[str] = meter.fresh(parts)
    return kept


def _lines(value: str) -> list[str]:
    """The lines of a long text, one more than there may be at the most."""
    return [line.rstrip("\r\n") for line in islice(StringIO(value), MAX_ITEMS + 1)]


def indent(meter: Meter, value: str, width: int | str = 4, first: bool = False) -> str:
    """A text with its lines but the first one indented, or all of them."""
    text = check_text(value, "indent")
    if isinstance(width, str):
        margin = width
        _check_width(len(width), "indent")
    else:
        margin = " " * _check_width(width, "indent")
    count = text.count("\n") + 1
    meter.items(count)
    meter.charge(2 * len(text) + count * len(margin))
    lines = text.split("\n")
    start = 0 if first else 1
    lines[start:] = [margin + line if line.strip() else line for line in lines[start:]]
    return "\n".join(lines)


def center(meter: Meter, value: Any, width: int = 80) -> str:
    """A text in the middle of a line."""
    return str(meter.kept(text_of(value, meter).center(_check_width(width, "center"))))


def truncate(
    meter: Meter,
    value: str,
    length: int = 255,
    killwords: bool = False,
    end: str = "...",
    leeway: int = 5,
) -> str:
    """A text, cut behind a word if it is longer than `length` by more than `leeway`.

    `end` is part of the length.
    """
    text = check_text(value, "truncate")
    end = check_text(end, "truncate")
    if isinstance(length, bool) or not isinstance(length, int) or length < len(end):
        raise TemplateError(f"truncate takes a length of at least {len(end)}, not {brief(length)}")
    if not isinstance(leeway, int) or leeway < 0:
        raise TemplateError(f"truncate takes a leeway of 0 or more, not {brief(leeway)}")
    if len(text) <= length + leeway:
        return text
    cut = text[: length - len(end)]
    if not killwords:
        cut = cut.rsplit(" ", 1)[0]
    return str(meter.kept(cut + end))


def slugify(meter: Meter, value: Any) -> str:
    """Letters and digits in lower case, with hyphens for all else: the name of a file."""
    text = text_of(value, meter)
    meter.charge(20 * len(text))  # one character may become eighteen
    plain = text.casefold()
    if not plain.isascii():
        meter.tick(len(plain) // 4)
        # One by one: the marks of a whole text would be sorted, in a time that grows with the
        # square of their number.
        plain = "".join(unicodedata.normalize("NFKD", char) for char in plain)
        meter.tick(len(plain) // 4)
        plain = "".join(char for char in plain if not unicodedata.combining(char))
    return _NO_WORD.sub("-", unicodedata.normalize("NFC", plain)).strip("-")


def basename(meter: Meter, value: Any) -> str:
    """The last part of a path."""
    text = text_of(value, meter)
    meter.pay(text)
    return posixpath.basename(text.rstrip("/"))


def quoted(meter: Meter, value: Any) -> str:
    """A text as part of an address: all but letters, digits and `_.-~/` in percents."""
    text = text_of(value, meter)
    meter.charge(12 * len(text))
    return quote(text, safe="/")


def words(text: str) -> Iterator[str]:
    """The words of a text, one after the other."""
    return (match[0] for match in _WORD.finditer(text))
