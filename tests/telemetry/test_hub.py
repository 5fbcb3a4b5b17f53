"""The hub: every sink hears everything, and a broken one disturbs nobody."""

import logging
from unittest.mock import Mock

import pytest

from graceline.errors import DefinitionError
from graceline.telemetry.events import CleanupOverran, OutputReceived
from graceline.telemetry.exemplars import Exemplars
from graceline.telemetry.hub import Hub, Sink
from graceline.telemetry.stats import BUCKETS

EVENT = CleanupOverran(at=1.0, run_id="r", pipeline="p", lane="l", level="node", name="x")
OUTPUT = OutputReceived(
    at=1.0, run_id="r", pipeline="p", lane="l", stage="s", node="x", stream="stdout", text="hi\n"
)


class Listener:
    """Keeps what it hears, in the thread of the hub."""

    inline = True

    def __init__(self, *, trace=False):
        self.heard = []
        self.trace = trace

    def wants_trace(self):
        return self.trace

    def __call__(self, event):
        self.heard.append(event)


class Deaf(Listener):
    """Takes events only while it has ears."""

    ears = False

    def deaf(self):
        return not self.ears


class Reader(Listener):
    """Wants what programs write, or not."""

    def __init__(self, *, output=True):
        super().__init__()
        self.output = output

    def wants_output(self):
        return self.output


class Broken(Listener):
    """Raises whenever it is called, and whenever it is asked."""

    def wants_trace(self):
        raise RuntimeError("asked")

    def __call__(self, event):
        super().__call__(event)
        raise RuntimeError("told")


def complaints(caplog):
    return [record for record in caplog.records if record.name == "graceline.telemetry"]


def test_a_listener_is_a_sink():
    """Any object with the two methods can listen; a bare function cannot."""
    assert isinstance(Listener(), Sink)
    assert not isinstance(print, Sink)


def test_every_sink_hears_every_event():
    """Sinks given at the start and sinks added later hear the same events."""
    first, second = Listener(), Listener()
    hub = Hub((first,))
    hub.add(second)
    hub.emit(EVENT)
    assert first.heard == second.heard == [EVENT]


def test_a_removed_sink_hears_no_more():
    """Removing one sink leaves the others, and removing it twice is harmless."""
    first, second = Listener(), Listener()
    hub = Hub((first,))
    remove = hub.add(second)
    remove()
    remove()
    hub.emit(EVENT)
    assert (first.heard, second.heard) == ([EVENT], [])


def test_a_sink_may_remove_itself_while_it_listens():
    """An event that is under way still reaches the sinks behind the one that leaves."""
    hub = Hub()
    heard = []

    class Once(Listener):
        def __call__(self, event):
            heard.append(self)
            self.leave()

    once = Once()
    once.leave = hub.add(once)
    last = Listener()
    hub.add(last)
    hub.emit(EVENT)
    hub.emit(EVENT)
    assert heard == [once]
    assert last.heard == [EVENT, EVENT]


def test_a_trace_is_built_only_if_somebody_wants_it():
    """One sink that wants a trace is enough, and asked again when it changes its mind."""
    tracer = Listener()
    hub = Hub((Listener(), tracer))
    assert hub.spared() is None
    tracer.trace = True
    assert hub.spared() is not None
    assert Hub().spared() is None


def test_a_trace_is_for_those_who_want_it_or_do_not_say():
    """A sink that wants no trace is spared that of another; one that does not say hears of all."""
    wants, refuses, heard = Listener(trace=True), Listener(), []
    hub = Hub((wants, refuses))
    hub.add(heard.append, inline=True)
    spared = hub.spared()
    assert spared == {id(refuses): refuses}
    hub.trace(EVENT, spared)
    hub.emit(EVENT)
    assert (wants.heard, refuses.heard, heard) == ([EVENT] * 2, [EVENT], [EVENT] * 2)


def test_a_sink_that_raises_in_a_trace_disturbs_nobody(caplog):
    """Of a trace, too, the others hear the event, and the log of the error."""
    broken, other = Broken(), Listener(trace=True)
    hub = Hub((broken, other))
    hub.trace(EVENT, {})
    assert (broken.heard, other.heard) == ([EVENT], [EVENT])
    assert len(complaints(caplog)) == 1


def test_a_sink_that_raises_disturbs_nobody(caplog):
    """The other sinks hear the event, and the broken one hears the next."""
    broken, other = Broken(), Listener()
    hub = Hub((broken, other))
    hub.emit(EVENT)
    hub.emit(EVENT)
    assert broken.heard == other.heard == [EVENT, EVENT]


def test_a_sink_that_raises_is_logged_once(caplog):
    """The log has one error with the traceback per broken sink, however often it raises."""
    hub = Hub((Broken(), Broken()))
    for _ in range(3):
        hub.emit(EVENT)
        assert hub.spared() is None
    assert [record.levelno for record in complaints(caplog)] == [logging.ERROR] * 2
    assert "the sink 'Broken' raised" in complaints(caplog)[0].message
    assert complaints(caplog)[0].exc_info[0] is RuntimeError


def test_a_sink_that_raises_when_asked_for_a_trace_disturbs_no_run(caplog):
    """A broken answer counts as 'no', is logged, and does not keep others from wanting a trace."""
    hub = Hub((Broken(),))
    assert hub.spared() is None
    hub.add(Listener(trace=True))
    assert hub.spared() is not None
    assert len(complaints(caplog)) == 1


def test_a_hub_is_heard_unless_all_its_sinks_are_deaf():
    """An event need not be built while nobody would take it; who does not say listens."""
    deaf = Deaf()
    hub = Hub((deaf,))
    assert not Hub().heard()
    assert not hub.heard()
    deaf.ears = True
    assert hub.heard()
    deaf.ears = False
    hub.add(Listener())
    assert hub.heard()


def test_a_sink_that_raises_when_asked_whether_it_listens_is_taken_to_listen(caplog):
    """A broken answer keeps no event from the sink, and is logged like any other trouble."""

    class Confused(Listener):
        def deaf(self):
            raise RuntimeError("what?")

    assert Hub((Confused(),)).heard()
    assert len(complaints(caplog)) == 1


def test_a_sink_that_comes_back_is_logged_again(caplog):
    """What was known about a sink is forgotten when it is removed."""
    hub, broken = Hub(), Broken()
    for _ in range(2):
        remove = hub.add(broken)
        hub.emit(EVENT)
        remove()
    assert len(complaints(caplog)) == 2


def test_output_goes_to_those_who_want_it():
    """What a program wrote is built once, and handed to the sinks that want output at that moment."""
    wanting, other, never = Reader(), Reader(output=False), Listener(trace=True)
    hub = Hub((wanting, never))
    hub.add(other)
    built = []

    def build():
        built.append(OUTPUT)
        return OUTPUT

    hub.emit_output(build)
    other.output, wanting.output = True, False
    hub.emit_output(build)
    assert (wanting.heard, other.heard, never.heard) == ([OUTPUT], [OUTPUT], [])
    other.output = False
    hub.emit_output(build)
    hub.add(Reader())
    hub.add(Reader())
    hub.emit_output(build)
    assert len(built) == 3  # none where nobody wants it, and one for two


def test_a_reader_that_raises_disturbs_nobody(caplog):
    """A sink that raises when it is asked, or told, is logged once, and the others hear the output."""

    class Asked(Listener):
        def wants_output(self):
            raise RuntimeError("asked")

    class Told(Broken):
        def wants_output(self):
            return True

    good = Reader()
    hub = Hub((Asked(), Told(), good))
    for _ in range(2):
        hub.emit_output(lambda: OUTPUT)
    assert good.heard == [OUTPUT, OUTPUT]
    assert len(complaints(caplog)) == 2


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_no_broken_sink(stop):
    """What is to end the program passes through the hub."""

    class Interrupted(Listener):
        def __call__(self, event):
            raise stop

    with pytest.raises(stop):
        Hub((Interrupted(),)).emit(EVENT)


def test_a_sink_that_notes_exemplars_gets_the_store():
    """It gets it whenever it is subscribed; one that raises then is logged, and disturbs nobody."""

    class Noting(Listener):
        store = None

        def keep_exemplars(self, store):
            self.store = store

    class Refusing(Listener):
        def keep_exemplars(self, store):
            raise RuntimeError("no")

    store = Exemplars((1.0,))
    first, second, other = Noting(), Noting(), Noting()
    hub = Hub((Refusing(), first), store)
    hub.add(second)
    Hub((other,))
    assert (first.store, second.store, other.store) == (store, store, None)


class Carrying(Listener):
    """Hands something on with every call."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def carrier(self):
        return {self.name: "yes"}


def test_what_sinks_hand_on_is_gathered():
    """Every sink with a method `carrier` adds its headers; one that raises is logged once."""

    class Refusing(Listener):
        def carrier(self):
            raise RuntimeError("no")

    hub = Hub((Carrying("a"), Listener(), Refusing(), Carrying("b")))
    assert hub.carrier() == {"a": "yes", "b": "yes"}
    assert Hub((Listener(),)).carrier() == {}


class Anything(Carrying):
    """Hands on what it has as its name."""

    def carrier(self):
        return self.name


NONSENSE = [
    None, 7, "text", {"traceparent": None}, {"traceparent": 1}, {"a": b"1"}, {7: "1"}, {None: "1"},
    {"a": "\0"}, {"a": "x\r\nSet-Cookie: y"}, {"a": "\ud800"}, {"a": "\u20ac"}, {"a": "\xe9"},
    {"": "1"}, {"a b": "1"}, {"a=b": "1"}, {"a\n": "1"}, {"\xe9": "1"},
]  # fmt: skip


@pytest.mark.parametrize("nonsense", NONSENSE, ids=repr)
def test_headers_that_nobody_can_send_stay_here(nonsense, caplog):
    """They are left out and reported once, without their values; those beside them go out."""
    more = {"ok": "1", **nonsense, "also": "~ 2"} if isinstance(nonsense, dict) else nonsense
    hub = Hub((Anything(more), Carrying("b")))
    beside = {"ok": "1", "also": "~ 2"} if isinstance(nonsense, dict) else {}
    for _ in range(3):
        assert hub.carrier() == {**beside, "b": "yes"}
    (record,) = complaints(caplog)
    assert (record.event_type, record.sink) == ("sink_raised", "Anything")
    assert "Set-Cookie" not in str(record.exc_info[1])


def test_luggage_is_that_of_sinks_that_can_take_it_up():
    """A worker process gets the headers of sinks that know what to do with them there."""

    class Refusing(Carrying):
        @property
        def resume(self):
            raise RuntimeError("no")

    able = Carrying("a")
    able.resume = dict
    hub = Hub((Carrying("b"), able, Refusing("c")))
    assert hub.luggage() == [(dict, {"a": "yes"})]


class Apart:
    """Gives each hub one of its own, and hears on until it is let go."""

    inline = True

    def __init__(self, made):
        self.made = made
        self.heard = []

    def for_engine(self):
        self.made.append(Apart(self.made))
        return self.made[-1]

    def see_out(self, drop):
        self.heard.append(drop)

    def __call__(self, event):
        self.heard.append(event)


def test_a_sink_may_have_one_for_each_hub_that_says_when_it_goes():
    """The hub hands its events to that one, and removes it when it says so."""
    made = []
    sink = Apart(made)
    first, second = Hub(), Hub((sink,))
    remove = first.add(sink)
    remove()
    first.emit("one")
    second.emit("two")
    (two,), (drop, one) = (own.heard for own in made)
    assert (one, two, sink.heard) == ("one", "two", [])
    drop()
    first.emit("three")
    assert made[1].heard == [drop, "one"]


def test_a_sink_of_the_loop_gets_no_thread():
    """`inline=False` is refused for a sink that says that it has to be called in the event loop."""
    hub = Hub()
    with pytest.raises(DefinitionError, match="Listener has to be called in the event loop"):
        hub.add(Listener(), inline=False)
    assert not hub.heard()


def test_complaints_of_a_sink_go_with_it():
    """A sink that raised when it was given the store for exemplars leaves nothing behind."""

    class Choosy(Listener):
        inline = False

        def keep_exemplars(self, _):
            raise ValueError

    hub = Hub((), Exemplars(BUCKETS))
    hub.add(Choosy())()
    assert not hub._complaints


def test_a_mock_is_a_sink():
    """What has every method one asks for is called itself."""
    sink = Mock(inline=True)
    hub = Hub()
    remove = hub.add(sink)
    hub.emit("one")
    remove()
    hub.emit("two")
    sink.assert_called_once_with("one")


def test_all_who_say_no_are_spared_a_trace(caplog):
    """Each of several, and one that raises when it is asked, since that counts as no."""
    first, wants, broken, last = Listener(), Listener(trace=True), Broken(), Listener()
    hub = Hub((first, wants, broken, last))
    hub.trace(EVENT, hub.spared())
    assert [sink.heard for sink in (first, wants, broken, last)] == [[], [EVENT], [], []]


class Listing(list):
    """A list that is a sink: it is equal to each other that has heard the same."""

    inline = True

    def __init__(self, *, trace):
        super().__init__()
        self.trace = trace

    def wants_trace(self):
        return self.trace

    __call__ = list.append


def test_a_sink_is_not_taken_for_one_that_is_equal():
    """A trace reaches a sink that wants it, though one that does not is equal to it at that moment."""
    wants, refuses = Listing(trace=True), Listing(trace=False)
    hub = Hub((wants, refuses))
    hub.trace(EVENT, hub.spared())
    assert (wants, refuses) == ([EVENT], [])


def test_a_removed_sink_is_asked_nothing():
    """Neither for a trace, nor for output, headers or payloads."""

    class Curious(Carrying):
        def wants_output(self):
            return True

        def wants_payloads(self):
            return True

    sink = Curious("a")
    sink.trace, sink.resume = True, dict
    hub = Hub()
    remove = hub.add(sink)
    remove()
    hub.emit_output(lambda: OUTPUT)
    hub.emit_payloads(EVENT)
    assert (hub.spared(), hub.carrier(), hub.luggage(), hub.curious) == (None, {}, [], ())
    assert sink.heard == []
