"""Results as JSON documents and back."""

import dataclasses
import enum
import json
import math
from typing import NamedTuple

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graceline import (
    Blame,
    GracelineError,
    Kind,
    NodeOutcome,
    PipelineResult,
    RecordedError,
    Source,
    StageOutcome,
    Status,
)
from graceline.results import freeze


@attrs.frozen
class Plan:
    """An attrs value of a user's."""

    goal: str
    steps: tuple


@dataclasses.dataclass
class Step:
    """A dataclass of a user's."""

    name: str
    cost: float


class Colour(enum.Enum):
    """An enum whose values are words."""

    RED = "red"


class Level(enum.IntEnum):
    """An enum whose members are numbers."""

    LOW = 1


class Opaque:
    """Something that nobody can look into."""

    def __repr__(self):
        return "<opaque>"


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: int


BLAME = Blame("node", "rank", Kind.SIBLING_FAILED, 0.2, Source.METADATA, 0.25, "too long", by="b")


def make(value=None, *, error=None, secondary=(), partial=None, blame=None, would=None):
    fetch = NodeOutcome(
        name="fetch",
        status=Status.LATE,
        value=value,
        partial=partial,
        error=error,
        started=0.0,
        elapsed=0.125,
        limit=0.1,
        source=Source.DEFAULT,
        attempts=2,
        grace_used=0.0,
        overrun=0.025,
        blame=blame,
        secondary=secondary,
    )
    stage = StageOutcome(
        name="s",
        status=Status.OK,
        value=value,
        error=error,
        started=0.0,
        elapsed=0.125,
        limit=None,
        source=None,
        grace_used=0.0,
        overrun=0.0,
        blame=None,
        secondary=secondary,
        nodes=freeze({"fetch": fetch}),
    )
    return PipelineResult(
        run_id="r1",
        pipeline="p",
        status=Status.OK,
        value=value,
        stages=freeze({"s": stage}),
        completed=("fetch",),
        degraded=("hint", "rank"),
        partial=freeze({"rank": partial}),
        blame=blame,
        error=error,
        elapsed=0.5,
        queued=0.25,
        limit=1.0,
        source=Source.CALL,
        grace_used=0.0,
        overrun=0.0,
        secondary=secondary,
        would_time_out=would,
    )


def through_json(result):
    """To text and back, as strict readers of JSON have it."""
    return json.loads(json.dumps(result.to_dict(), allow_nan=False))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)  # fmt: skip


@given(json_values)
def test_a_result_of_plain_values_comes_back_equal(value):
    """Whatever JSON can say about a run survives the way to a document and back."""
    result = make(value, partial=value, blame=BLAME, would=BLAME)
    assert PipelineResult.from_dict(through_json(result)) == result


def test_what_comes_back_has_the_types_of_the_original():
    """Statuses, kinds, sources and outcomes are themselves again, and lists are tuples."""
    back = PipelineResult.from_dict(through_json(make(1, blame=BLAME)))
    assert type(back.status) is Status
    assert (back.blame, type(back.blame.kind), type(back.blame.source)) == (BLAME, Kind, Source)
    assert (back.completed, back.degraded) == (("fetch",), ("hint", "rank"))
    assert type(back.node("fetch")) is NodeOutcome
    assert back.unwrap() == 1


def test_the_names_in_a_document_are_those_of_the_attributes():
    """Who knows the result knows the document."""
    document = make().to_dict()
    assert list(document) == [field.name for field in attrs.fields(PipelineResult)]
    node = document["stages"]["s"]["nodes"]["fetch"]
    assert list(node) == [field.name for field in attrs.fields(NodeOutcome)]
    assert (node["status"], node["source"]) == ("late", "default")


def test_exceptions_come_back_as_their_record():
    """A document keeps class and text of every error, through any number of round trips."""
    result = make(error=KeyError("no key"), secondary=(ValueError("first"), OSError()))
    once = PipelineResult.from_dict(through_json(result))
    twice = PipelineResult.from_dict(through_json(once))
    for back in (once, twice):
        assert isinstance(back.error, RecordedError)
        assert (back.error.type_name, back.error.message) == ("KeyError", "'no key'")
        assert [str(error) for error in back.secondary] == ["ValueError: first", "OSError"]
        assert back.node("fetch").error.type_name == "KeyError"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Plan("win", (1, 2)), {"goal": "win", "steps": [1, 2]}),
        (Step("a", 0.5), {"name": "a", "cost": 0.5}),
        ([Plan("x", (Step("b", 1.0),))], [{"goal": "x", "steps": [{"name": "b", "cost": 1.0}]}]),
        (Colour.RED, "red"),
        (Level.LOW, 1),
        (Status.OK, "ok"),
        (Point(1, 2), [1, 2]),
        ((1, (2,)), [1, [2]]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (b"raw", {"repr": "b'raw'"}),
        (math.nan, {"repr": "nan"}),
        ([math.inf, -math.inf], [{"repr": "inf"}, {"repr": "-inf"}]),
        (Opaque(), {"repr": "<opaque>"}),
        (Plan, {"repr": repr(Plan)}),
        ({1: "a", None: "b", Colour.RED: "c"}, {"1": "a", "None": "b", "red": "c"}),
        (freeze({"a": {1}}), {"a": [1]}),
        ({"error": ValueError("no")}, {"error": {"type": "ValueError", "message": "no"}}),
        (True, True),
    ],
)
def test_values_that_json_does_not_know_are_written_in_plain_types(value, written):
    """Values become their fields, their items or their `repr`, in values and partial values."""
    document = through_json(make(value, partial=value))
    assert document["value"] == document["partial"]["rank"] == written
    assert document["stages"]["s"]["nodes"]["fetch"]["value"] == written
    assert PipelineResult.from_dict(document).value == written


class Mute:
    """Something that raises when it is to show itself."""

    def __repr__(self):
        raise RuntimeError("no")


class MuteError(Exception):
    """An error without a message."""

    def __str__(self):
        raise RuntimeError("no")


class Broken(dict):
    """A mapping that cannot be read."""

    def items(self):
        raise RuntimeError("no")


ENDLESS: list = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ([1, Mute()], [1, {"repr": "<Mute, whose repr raises RuntimeError>"}]),
        ({Mute()}, [{"repr": "<Mute, whose repr raises RuntimeError>"}]),
        (
            MuteError(),
            {"type": "MuteError", "message": "<MuteError, whose str raises RuntimeError>"},
        ),
        (Broken(a=1), {"repr": "<Broken, not told: RuntimeError>"}),
        (ENDLESS, {"repr": "<list, not told: RecursionError>"}),
    ],
    ids=["list", "set", "error", "mapping", "endless"],
)
def test_a_value_that_cannot_be_told_costs_nothing_else(value, written):
    """A value that raises when it is looked at is told as such, and all else of the result is there."""
    document = through_json(make(value))
    assert (document["value"], document["run_id"]) == (written, "r1")


def test_every_problem_of_a_bad_document_is_named_with_its_path():
    """Whoever repairs a document reads all that is wrong at once, and where."""
    document = through_json(make(blame=BLAME))
    document["status"] = "fine"
    document["colour"] = "red"
    del document["run_id"]
    document["stages"]["s"]["nodes"]["fetch"]["attempts"] = "many"
    document["blame"]["kind"] = "fate"
    document["error"] = {"kind": "KeyError"}
    with pytest.raises(GracelineError) as caught:
        PipelineResult.from_dict(document)
    text = str(caught.value)
    assert text.startswith("not the document of a PipelineResult: ")
    assert "'fine' is not a valid Status @ result.status" in text
    assert "colour" in text
    assert "result.run_id" in text
    assert "result.stages['s'].nodes['fetch'].attempts" in text
    assert "result.blame.kind" in text
    assert "an error is {'type': ..., 'message': ...}" in text
    assert "result.error" in text


@pytest.mark.parametrize("field", ["stages", "blame", "partial", "completed", "error"])
def test_a_field_of_another_shape_is_named_with_its_path(field):
    """A number where there should be something with parts is one more problem, not a crash."""
    document = through_json(make()) | {field: 3}
    with pytest.raises(GracelineError, match=rf"^not the document .* @ result.{field}$"):
        PipelineResult.from_dict(document)


@pytest.mark.parametrize("document", [None, 3, "text", [], {}])
def test_what_is_no_document_at_all_is_refused(document):
    """Anything but a mapping with the fields of a result is refused in the same way."""
    with pytest.raises(GracelineError, match="not the document of a PipelineResult"):
        PipelineResult.from_dict(document)
