"""The events: frozen, complete, and without anything that a user's data could hide in."""

import attrs
import pytest

from graceline.deadlines import Blame, Kind, Source, Status
from graceline.telemetry import events
from graceline.telemetry.events import Event

KINDS = [getattr(events, name) for name in events.__all__]


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_names_its_run(kind):
    """Whoever hears an event knows when it was, and of which run, pipeline and lane it is."""
    assert issubclass(kind, Event)
    assert [field.name for field in attrs.fields(kind)][:4] == ["at", "run_id", "pipeline", "lane"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_has_named_fields_only(kind):
    """Fields can be added later, since nobody relies on their position."""
    assert all(field.kw_only for field in attrs.fields(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_has_no_room_for_a_payload(kind):
    """Every field is a number, a word, a name or a blame: inputs, values and errors do not fit."""
    attrs.resolve_types(kind)
    plain = {
        bool,
        float,
        int,
        str,
        Blame,
        Status,
        Blame | None,
        int | None,
        float | None,
        str | None,
        Source | None,
        tuple[str, ...],
        tuple[tuple[str, tuple[str, ...]], ...],
    }
    if kind is events.PayloadsSeen:  # for those who ask for payloads
        return
    names = {field.name: field.type for field in attrs.fields(kind)}
    assert {name for name, type_ in names.items() if type_ not in plain} == set()
    assert not names.keys() & {"value", "input", "error", "exception"}


def test_an_event_is_frozen():
    """A sink cannot change what the next sink hears."""
    event = events.CleanupOverran(
        at=1.0, run_id="r", pipeline="p", lane="l", level="node", name="x"
    )
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.at = 2.0


def test_equal_events_are_equal():
    """Events are values: two of the same content compare equal."""
    blame = Blame("node", "x", Kind.USER, None, None, 1.0, "enough")
    fields = {"at": 1.0, "run_id": "r", "pipeline": "p", "lane": "l", "blame": blame}
    assert events.CancelRequested(**fields) == events.CancelRequested(**fields)
    assert events.CancelRequested(**fields) != events.CancelRequested(**fields | {"at": 2.0})
