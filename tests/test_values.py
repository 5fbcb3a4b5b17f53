"""Values behave as classes that attrs has written itself."""

import pickle

import attrs
import pytest

from graceline.telemetry.events import NodeStarted, RunAborted
from graceline.values import define, draft_of, frozen

FIELDS = {"at": 1.0, "run_id": "r", "pipeline": "p", "lane": "l"}


def build(decorate, **options):
    @decorate(**options)
    class Point:
        x: int
        y: object = attrs.field(default=None, repr=False)
        z: int = attrs.field(default=0, eq=False)

    return Point


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (frozen, attrs.frozen, {}),
        (frozen, attrs.frozen, {"kw_only": True}),
        (frozen, attrs.frozen, {"eq": False}),
        (define, attrs.define, {}),
        (define, attrs.define, {"eq": False}),
    ],
)
def test_a_value_behaves_as_one_of_attrs(ours, theirs, options):
    """What is equal, what has a hash, what is shown and what can be changed are the same."""
    seen = []
    for decorate in (ours, theirs):
        kind = build(decorate, **options)
        one, same, other = kind(x=1, z=5), kind(x=1, z=6), kind(x=2)
        facts = [repr(one), one == one, one == same, one != same, one == other, one == 1]  # noqa: PLR0124
        for ask in (lambda one, same: hash(one) == hash(same), lambda one, _: setattr(one, "x", 3)):
            try:
                facts.append(ask(one, same))
            except (TypeError, AttributeError) as error:
                facts.append(type(error))
        seen.append(facts)
    assert seen[0] == seen[1]


def test_a_value_of_another_class_is_another():
    """A subclass with the same fields is not equal to it."""
    kind = build(frozen)
    heir = frozen(type("Heir", (kind,), {}))
    assert kind(1) != heir(1)
    assert hash(kind(1)) != hash(heir(1))


def test_what_a_class_says_of_itself_stays():
    """A class that compares or shows itself does so."""

    @frozen
    class Own:
        x: int

        def __repr__(self):
            return "own"

        def __eq__(self, other):
            return True

        __hash__ = None

    assert repr(Own(1)) == "own"
    assert Own(1) == Own(2) == 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(Own(1))


def test_a_value_that_holds_itself_is_shown():
    """A loop ends in dots."""
    kind = build(define)
    one = kind(1)
    one.x = [one]
    assert repr(one).endswith("Point(x=[...], z=0)")


def test_a_value_survives_pickle():
    """It comes back equal, and as frozen as it was."""
    event = RunAborted(**FIELDS)
    again = pickle.loads(pickle.dumps(event))  # noqa: S301 - our own
    assert again == event
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        again.at = 2.0


def test_a_draft_becomes_the_frozen_class():
    """A draft that was filled in, at once or field by field, equals what was frozen from the start."""
    facts = {**FIELDS, "stage": "s", "node": "n", "limit": None, "source": None, "fires_at": 2.0}
    draft = draft_of(NodeStarted)(**facts, critical=True, slo=None)
    draft.stage = "t"
    draft.__class__ = NodeStarted
    assert draft == NodeStarted(**{**facts, "stage": "t"})
    assert type(draft) is NodeStarted
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        draft.stage = "u"
