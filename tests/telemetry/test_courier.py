"""The courier: a sink in a thread gets everything in order, and nobody ever waits for it."""

import logging
import threading
import time
from functools import partial

import pytest

from graceline.telemetry import courier as couriers
from graceline.telemetry.courier import Courier, name_of
from graceline.telemetry.events import CleanupOverran
from graceline.telemetry.hub import Hub

AGES = 60.0  # seconds of patience that no passing test uses up


def event(number):
    return CleanupOverran(
        at=float(number), run_id="r", pipeline="p", lane="l", level="node", name="x"
    )


class Gate:
    """A sink that holds each event until it is opened, and says when it has the first one."""

    def __init__(self):
        self.entered, self.opened = threading.Event(), threading.Event()
        self.heard = []

    def __call__(self, event):
        self.entered.set()
        assert self.opened.wait(AGES)
        self.heard.append(event.at)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def small(monkeypatch):
    """Queues that are full with three events."""
    monkeypatch.setattr(couriers, "QUEUE_SIZE", 3)


@pytest.fixture
def hub():
    """A hub whose threads are at their end when the test is."""
    hub = Hub()
    yield hub
    hub.close()
    hub.wait(AGES)


def said(caplog):
    return [
        (record.levelno, record.event_type)
        for record in caplog.records
        if record.name == "graceline.telemetry"
    ]


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("graceline sink")]


def finish(hub):
    hub.close()
    hub.wait(AGES)


def test_events_arrive_in_order_in_a_thread_of_the_sink(hub):
    """A plain function gets all events in order, in one daemon thread named after it."""
    heard = []

    def note(event):
        heard.append((event.at, threading.current_thread()))

    hub.add(note)
    for number in range(500):
        hub.emit(event(number))
    finish(hub)
    assert [at for at, _ in heard] == list(range(500))
    (thread,) = {thread for _, thread in heard}
    assert thread is not threading.current_thread()
    assert thread.name == f"graceline sink {__name__}.{note.__qualname__}"
    assert thread.daemon


@pytest.mark.parametrize(
    ("sink", "name"),
    [
        (event, f"{__name__}.event"),
        (Gate().__call__, f"{__name__}.Gate.__call__"),
        (Gate(), "Gate"),
        (print, "builtins.print"),
        ([].append, "list.append"),
        (partial(event), "partial"),
    ],
)
def test_a_sink_is_called_by_where_it_is_found(sink, name):
    """The log names the function or method, else the class of the object."""
    assert name_of(sink) == name


def test_a_sink_says_itself_where_it_is_called(hub):
    """`inline = True` means at once, here, whether the sink says so or who subscribes it."""
    heard = []

    class Here:
        inline = True

        def __call__(self, event):
            heard.append((event.at, threading.current_thread() is threading.main_thread()))

    def there(event):
        heard.append((event.at, threading.current_thread() is threading.main_thread()))

    hub.add(Here())
    hub.add(there, inline=False)
    hub.add(lambda _: heard.append("function"), inline=True)
    hub.emit(event(1))
    assert {(1.0, True), "function"} <= set(heard)
    finish(hub)
    assert len(heard) == 3
    assert (1.0, False) in heard


def test_no_thread_starts_before_the_first_event(hub):
    """A sink that hears nothing costs no thread, neither at the end."""
    before = threads()
    hub.add(lambda _: None)
    assert not hub.close()
    assert threads() == before


def test_a_blocked_sink_holds_up_neither_the_caller_nor_the_others(hub, gate):
    """While one sink blocks, `emit` returns and another sink gets its events."""
    told = threading.Event()
    hub.add(gate)
    hub.add(lambda event: told.set() if event.at == 2 else None)
    hub.emit(event(1))
    assert gate.entered.wait(AGES)
    hub.emit(event(2))
    assert told.wait(AGES)
    assert gate.heard == []


def test_a_full_queue_drops_and_counts_the_newest(hub, gate, small, caplog):
    """What waits is delivered in order, what found no room is counted, and the log says so once."""
    hub.add(gate)
    hub.emit(event(0))
    assert gate.entered.wait(AGES)
    for number in range(1, 8):
        hub.emit(event(number))
    assert hub.dropped == 4
    assert said(caplog) == [(logging.WARNING, "events_dropped")]
    gate.opened.set()
    finish(hub)
    assert gate.heard == [0, 1, 2, 3]
    assert hub.dropped == 4


def test_the_count_of_drops_stays_when_the_sink_goes(hub, gate, small):
    """A removed sink takes none of the count with it."""
    remove = hub.add(gate)
    hub.emit(event(0))
    assert gate.entered.wait(AGES)
    for number in range(1, 6):
        hub.emit(event(number))
    remove()
    gate.opened.set()
    finish(hub)
    hub.add(print)
    assert hub.dropped == 2


def test_a_removed_sink_gets_what_came_before(hub, gate):
    """What was handed out before the removal is delivered, what comes later is not."""
    remove = hub.add(gate)
    hub.emit(event(1))
    hub.emit(event(2))
    remove()
    remove()
    hub.emit(event(3))
    gate.opened.set()
    finish(hub)
    assert gate.heard == [1, 2]


def test_a_closed_courier_takes_nothing():
    """Not even as its first event: a thread that began now would be waited for by nobody."""
    heard = []
    courier = Courier(heard.append, heard.clear)
    courier.close()
    courier(event(1))
    assert courier.done
    assert (courier._begun, courier._box.qsize()) == (False, 0)


def test_a_closed_hub_delivers_nothing_more_in_threads(hub):
    """After the end inline sinks still hear, those in threads do not."""
    here, there = [], []
    hub.add(here.append, inline=True)
    hub.add(there.append)
    hub.emit(event(1))
    finish(hub)
    hub.emit(event(2))
    assert [len(here), len(there)] == [2, 1]


def test_at_the_end_a_sink_that_hangs_is_given_up(hub, gate, caplog):
    """`wait` returns when its time is over; the log has the count, and the rest is not delivered."""
    hub.add(gate)
    for number in range(3):
        hub.emit(event(number))
    assert gate.entered.wait(AGES)
    assert hub.close()
    hub.wait(0.0)
    (record,) = caplog.records
    assert (record.event_type, record.sink, record.events) == ("events_undelivered", "Gate", 3)
    gate.opened.set()
    hub.wait(AGES)
    assert gate.heard == [0]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, BaseException])
def test_whatever_a_sink_raises_is_logged_once(hub, error, caplog):
    """In its own thread a sink may raise anything: it hears the next event all the same."""
    heard = []

    def broken(event):
        heard.append(event.at)
        raise error

    hub.add(broken)
    for number in range(3):
        hub.emit(event(number))
    finish(hub)
    assert heard == [0, 1, 2]
    assert said(caplog) == [(logging.ERROR, "sink_raised")]


def test_a_sink_in_a_thread_is_asked_once(hub):
    """Its answers count from then on: a question later, in the loop, might block it."""
    asked = []

    class Curious(Gate):
        def wants_trace(self):
            asked.append("trace")
            return True

        def wants_output(self):
            asked.append("output")
            return True

    curious = Curious()
    curious.opened.set()
    hub.add(curious)
    assert hub.spared() is not None
    assert hub.spared() is not None
    hub.emit_output(lambda: event(1))
    hub.emit_output(lambda: event(2))
    finish(hub)
    assert asked == ["trace", "output"]
    assert curious.heard == [1, 2]


def test_a_sink_that_raises_when_asked_is_logged_and_hears(hub, caplog):
    """A broken answer is a no; it counts as the one complaint."""

    class Confused(Gate):
        def wants_trace(self):
            raise RuntimeError("what?")

        def __call__(self, event):
            self.heard.append(event.at)
            raise RuntimeError

    confused = Confused()
    hub.add(confused)
    assert hub.spared() is None
    hub.emit(event(1))
    finish(hub)
    assert confused.heard == [1]
    assert said(caplog) == [(logging.ERROR, "sink_raised")]


def test_without_a_thread_the_events_wait_for_the_next_try(hub, monkeypatch, caplog):
    """If the system gives no thread, nothing is lost as long as it does so in the end."""
    heard = []
    hub.add(lambda event: heard.append(event.at))

    def refuse(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        hub.emit(event(1))
    assert said(caplog) == [(logging.ERROR, "sink_raised")]
    finish(hub)
    assert heard == [1]


def test_a_start_that_was_interrupted_is_repeated(monkeypatch):
    """An interrupt between the start and the note of it leaves one thread at work, and the order."""
    heard = []
    courier = Courier(lambda event: heard.append(event.at), print)
    start = threading.Thread.start
    started = []

    def interrupted(self):
        start(self)
        started.append(self)
        if len(started) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        courier(event(0))
    for number in range(1, 50):
        courier(event(number))
    courier.close()
    courier.wait(time.monotonic() + AGES)
    assert len(started) == 2
    assert heard == list(range(50))


def test_a_sink_in_a_thread_is_not_asked_for_headers(hub):
    """Only an inline one is: the answer is needed at once, in the loop."""
    sink = Gate()
    sink.carrier = lambda: {"a": "yes"}
    hub.add(sink)
    assert (hub.carrier(), hub.luggage()) == ({}, [])
