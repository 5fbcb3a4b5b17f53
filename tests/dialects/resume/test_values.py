"""What a journal keeps of a value comes back as it was; of what it cannot keep it says why."""

import collections
import json
import math
import types
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graceline import CommandOutput
from graceline.dialects.resume.values import (
    MAX_DEPTH,
    UnkeepableError,
    decode_value,
    encode_value,
)

OUTPUT = CommandOutput(argv=("a", "b"), exit_code=0, stdout="ü\x00", artifacts=("x",))


def again(value):
    """A value on its way through the journal."""
    return decode_value(json.loads(json.dumps(encode_value(value), allow_nan=False)))


def exact(one, other):
    """Whether two values are the same, and of the same types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(exact, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(exact, one.values(), other.values()))
    if isinstance(one, float):
        return repr(one) == repr(other)
    return one == other


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([OUTPUT, "\ud800", "\udc00", -0.0, "$"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from(["$", "of"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(plain)
def test_what_is_kept_comes_back_as_it_was(value):
    """Numbers of any size, NaN, lone surrogates, marks of the form itself: nothing is changed."""
    assert exact(again(value), value)


def test_tuples_and_other_mappings_become_plain():
    """A tuple is a list afterwards, and any mapping a plain one: templates see no difference."""
    ordered = collections.OrderedDict(a=(1, (2,)))
    assert exact(again(ordered), {"a": [1, [2]]})
    assert exact(again(types.MappingProxyType({"a": 1})), {"a": 1})
    assert again([OUTPUT]) == [OUTPUT]


class Broken(dict):
    def items(self):
        raise RuntimeError("no")


class Named(str):
    __slots__ = ()


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"x", "it is of type bytes"),
        ({"a": [1, {2}]}, r"a\[1\] is of type set"),
        ({"a": {1: 2}}, "a has the key 1, which is no text"),
        (object(), "it is of type object"),
        (Named("x"), "it is of type Named"),
        (Point(1, 2), "it is of type Point"),
        (["\ud83d\ude00"], r"\[0\] holds two halves of one character"),
        (Broken(a=1), "RuntimeError while it was read"),
    ],
)
def test_what_is_not_kept_is_told(value, said):
    """What would come back as something else is not kept; the message says where it is, and why."""
    with pytest.raises(UnkeepableError, match=said):
        encode_value(value)


def test_what_is_too_deep_or_too_large_is_not_kept(monkeypatch):
    """A value that holds itself has no end, and one that holds another a million times is cut off."""
    deep = []
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert exact(again(deep), deep)
    with pytest.raises(UnkeepableError, match="levels deep"):
        encode_value([deep])
    endless = {}
    endless["a"] = endless
    with pytest.raises(UnkeepableError, match="levels deep"):
        encode_value(endless)
    wide = [1]
    for _ in range(40):
        wide = [wide, wide]
    with pytest.raises(UnkeepableError, match="more than 1000 values"):
        monkeypatch.setattr("graceline.dialects.resume.values.MAX_VALUES", 1000)
        encode_value(wide)
    monkeypatch.setattr("graceline.dialects.resume.values.MAX_CHARACTERS", 100)
    with pytest.raises(UnkeepableError, match="more than 100 characters"):
        encode_value(["x" * 60] * 2)


def test_numbers_that_json_does_not_know():
    """NaN, the infinities, and numbers of thousands of digits come back."""
    assert math.isnan(again(math.nan))
    assert again([10**5000, -(1 << 9000)]) == [10**5000, -(1 << 9000)]
    assert again([math.inf, -math.inf]) == [math.inf, -math.inf]
