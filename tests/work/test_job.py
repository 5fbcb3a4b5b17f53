"""The side of the worker, without one: signals are raised in this process."""

import os
import signal
import threading
import time
from math import inf
from types import SimpleNamespace

import pytest

from graceline import (
    DeadlineSpentError,
    GracelineError,
    cleanup,
    current,
    outgoing_headers,
    remaining,
    save_partial,
    stopping,
)
from graceline.resilience import decode
from graceline.work import job as jobs
from graceline.work.channel import Board
from graceline.work.here import Here, current_job
from graceline.work.job import JobCancelled, Order, Reply, perform
from graceline.work.parcels import pack, pack_error, unpack


@pytest.fixture
def board(monkeypatch):
    """A board of the engine; this process is its worker."""
    board = Board.create()
    worker = Board.open(board.path)
    monkeypatch.setattr(Here, "board", worker)
    before = signal.signal(signal.SIGTERM, jobs._on_sigterm)
    yield board
    signal.signal(signal.SIGTERM, before)
    board.seal()
    board.close()
    worker.close()


class Local:
    """Stands for a parcel: what is called here cannot be sent."""

    def __init__(self, function):
        self.function = function

    def unpack(self, data, what):
        return self.function, "input"


def hang():
    """Hang in Python: a signal that comes just before a sleep does not interrupt that sleep."""
    while True:
        time.sleep(0.01)


@pytest.fixture
def do(board, monkeypatch):
    """Do a job here; returns the reply."""

    def do(function, **options):
        fields = {
            "number": 1, "run_id": "r", "pipeline": "p", "stage": "s", "node": "n", "lane": "l",
            "has_partial": True, "remaining": 1000.0, "stop_in": inf, "grace": 100.0, "parcel": b"",
            "luggage": b"", "attempt": 1, "hedge": False,
        }  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(jobs, "unpack", Local(function).unpack)
            patch.setattr(jobs, "_children", set)  # those of pytest are not ours
            return Reply(*perform(*Order(**{**fields, **options})))

    return do


def test_value_is_replied(do):
    """The reply holds the value of the function, called with the input."""
    reply = do(lambda value: value + "!")
    assert (reply.kind, unpack(reply.parcel, "value")) == ("value", "input!")
    assert (reply.overran, reply.children) == (False, False)


def test_error_is_replied(do):
    """The reply holds what the function raised."""
    reply = do(lambda _: {}["x"])
    assert reply.kind == "error"
    assert repr(unpack(reply.parcel, "error")) == "KeyError('x')"


def test_nothing_is_left_after_a_job(do, board):
    """Outside of a job the functions for nodes say that there is no run, and SIGTERM does nothing."""
    do(lambda _: current())
    board.cancel(1, inf)
    signal.raise_signal(signal.SIGTERM)
    assert current_job() is None
    for function in (current, remaining, stopping, lambda: save_partial(1)):
        with pytest.raises(GracelineError, match="only inside a run"):
            function()
    with pytest.raises(GracelineError, match="only inside a run"):
        cleanup().__enter__()


def test_cancel_that_came_before_the_job(do, board):
    """A job that is cancelled while its modules are imported is never called."""
    board.cancel(1, inf)
    reply = do(lambda _: pytest.fail("it was called"))
    assert reply.kind == "cancelled"


def test_signal_for_another_job_is_ignored(do, board):
    """A signal that was meant for an earlier job does not reach the next one."""

    def work(_):
        board.cancel(7, inf)
        signal.raise_signal(signal.SIGTERM)
        return "went on"

    assert do(work).kind == "value"


def test_cancel_is_raised_once(do, board):
    """What catches the cancel is not told again, and its value counts."""

    def work(_):
        board.cancel(1, inf)
        with pytest.raises(JobCancelled):
            signal.raise_signal(signal.SIGTERM)
        assert remaining() == 0.0
        signal.raise_signal(signal.SIGTERM)
        return "went on"

    assert unpack(do(work).parcel, "value") == "went on"


def test_cancel_in_a_group_leaves_the_rest(do, board):
    """Of a group only what is no cancel is replied; a group of nothing else is a cancel."""

    def work(*others):
        def fail(_):
            raise BaseExceptionGroup("g", [JobCancelled(), *others])

        return fail

    assert do(work()).kind == "cancelled"
    reply = do(work(KeyError("x")))
    assert reply.kind == "error"
    assert repr(unpack(reply.parcel, "error").exceptions) == "(KeyError('x'),)"


def test_cleanup_holds_the_cancel_back(do, board):
    """A cancel inside cleanup blocks is raised when the outermost one is left."""
    seen = []

    def work(_):
        with cleanup() as outer:
            with cleanup() as inner:
                board.cancel(1, 50.0)
                signal.raise_signal(signal.SIGTERM)
                assert max(outer.deadline, inner.deadline) <= time.monotonic() + 50
                assert remaining() <= 50
                seen.append("inner")
            seen.append("outer")

    assert do(work).kind == "cancelled"
    assert seen == ["inner", "outer"]
    assert not board.shielded


def test_error_of_a_block_that_held_the_cancel_back_is_kept(do, board):
    """The job is cancelled behind such a block, and its error is what the engine gets."""
    seen = []

    def work(_):
        try:
            with cleanup():
                board.cancel(1, 50.0)
                signal.raise_signal(signal.SIGTERM)
                raise KeyError("x")
        except Exception:
            pytest.fail("the cancel was not raised over it")
        finally:
            seen.append("unwound")

    reply = do(work)
    assert (reply.kind, seen) == ("error", ["unwound"])
    assert repr(unpack(reply.parcel, "error")) == "KeyError('x')"


def test_cut_of_a_block_that_held_the_cancel_back_is_no_error(do, board):
    """A block that is cut after a cancel leaves the cancel alone."""

    def work(_):
        with cleanup():
            board.cancel(1, 0.01)
            signal.raise_signal(signal.SIGTERM)
            hang()

    reply = do(work)
    assert (reply.kind, reply.overran) == ("cancelled", True)


def test_threads_left_behind_are_told(do):
    """The reply tells of threads that the job has started and left, and of no others."""
    end = threading.Event()

    def leave(_):
        threading.Thread(target=end.wait, daemon=True).start()

    def join(_):
        started = threading.Thread(target=str)
        started.start()
        started.join()

    try:
        assert do(leave).threads
        assert not do(join).threads
    finally:
        end.set()


def test_signals_of_an_earlier_job_are_undone(do, board):
    """Whatever a job did to SIGTERM and SIGALRM, the next one gets its cancel, and no alarm."""

    def spoil(_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGALRM})
        signal.raise_signal(signal.SIGALRM)
        signal.setitimer(signal.ITIMER_REAL, 1000.0)

    def work(_):
        facts = (
            signal.getitimer(signal.ITIMER_REAL)[0],
            signal.getsignal(signal.SIGALRM),
            signal.sigpending(),
        )
        board.cancel(2, inf)
        with pytest.raises(JobCancelled):
            signal.raise_signal(signal.SIGTERM)
        return facts

    do(spoil)
    assert unpack(do(work, number=2).parcel, "value") == (0.0, signal.SIG_DFL, set())


def test_exception_without_a_text_is_replied():
    """An exception whose own `__str__` raises is still told by its type."""

    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError("no text")

        def __reduce__(self):
            raise RuntimeError("no pickle")

    told = unpack(pack_error(MuteError(), "node 'n'"), "error")
    assert "node 'n' raised MuteError, whose __str__ raises" in str(told)


def test_block_after_a_cancel_ends_at_hard(do, board):
    """After a cancel `hard` decides, so that all blocks of a job share one grace period."""
    ends = []

    def work(_):
        board.cancel(1, 50.0)
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            for _ in range(2):
                with cleanup() as block:
                    ends.append(block.deadline)

    assert do(work).kind == "cancelled"
    assert len(set(ends)) == 1


def test_block_before_a_cancel_has_grace_from_its_start(do):
    """Before any cancel a block has the grace period, and no more than the limit and it leave."""

    def work(_):
        with cleanup() as block:
            return block.deadline - time.monotonic()

    assert 99 < unpack(do(work).parcel, "value") <= 100
    assert unpack(do(work, remaining=-60.0).parcel, "value") <= 40
    assert unpack(do(work, grace=inf).parcel, "value") == inf


def test_inner_block_ends_with_the_outer_one(do):
    """A block inside a block ends with the outer one at the latest."""

    def work(_):
        with cleanup() as outer, cleanup() as inner:
            return inner.deadline == outer.deadline

    assert unpack(do(work).parcel, "value") is True


def test_outermost_block_is_cut(do, board):
    """At the end of an outer block the inner ones unwind with it, and the job goes on behind it."""

    def work(_):
        with cleanup():
            with cleanup():
                hang()
            pytest.fail("the outer block was not cut")
        return "went on"

    reply = do(work, grace=0.01)
    assert (unpack(reply.parcel, "value"), reply.overran) == ("went on", True)
    assert board.shielded  # to the end of the job: it may end a moment after its `hard`


def test_block_that_catches_its_cut_is_not_chased(do):
    """A block is cut once; a block around it that is left in time is then left as usual."""

    def work(_):
        with cleanup():
            try:
                hang()
            except BaseException:
                signal.raise_signal(signal.SIGALRM)
                return "went on"

    reply = do(work, grace=0.01)
    assert (unpack(reply.parcel, "value"), reply.overran) == ("went on", True)


def test_early_alarm_is_set_again(do):
    """An alarm that rings before the end of a block cuts nothing."""

    def work(_):
        with cleanup():
            signal.raise_signal(signal.SIGALRM)
            assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
        return signal.getitimer(signal.ITIMER_REAL)

    assert unpack(do(work).parcel, "value") == (0.0, 0.0)


OUR_FRAME = SimpleNamespace(f_code=SimpleNamespace(co_filename=jobs.__file__))


def test_alarm_while_a_block_is_entered_or_left_waits(do):
    """An alarm inside our own code, where nobody would swallow the cut, rings again a moment later."""

    def work(_):
        with cleanup() as block:
            block.deadline = 0.0
            current_job().alarm(OUR_FRAME)
            hang()
        return "went on"

    assert do(work).overran


def test_alarm_behind_the_last_block_is_not_set_again(do):
    """An alarm that rings as the last block is left does not ring later, when it would kill."""

    def work(_):
        current_job().alarm(OUR_FRAME)
        return signal.getitimer(signal.ITIMER_REAL)

    assert unpack(do(work).parcel, "value") == (0.0, 0.0)


def test_alarms_of_the_job_itself_are_left_alone(do):
    """A handler of SIGALRM that the job has set is in place again behind a block."""

    def own(*_): ...

    def work(_):
        before = signal.signal(signal.SIGALRM, own)
        with cleanup():
            assert signal.getsignal(signal.SIGALRM) is not own
        return signal.signal(signal.SIGALRM, before) is own

    assert unpack(do(work).parcel, "value") is True


def test_cleanup_in_a_thread_of_the_job_says_so(do):
    """A thread of the job cannot be cut, so it may not open a cleanup block."""
    errors = []

    def thread():
        try:
            cleanup().__enter__()
        except GracelineError as error:
            errors.append(str(error))

    def work(_):
        started = threading.Thread(target=thread)
        started.start()
        started.join()

    do(work)
    assert "main thread of a job" in errors[0]


def test_threads_of_a_job_know_it(do):
    """`current()` works in threads that the job starts."""
    names = []

    def work(_):
        started = threading.Thread(target=lambda: names.append(current().node))
        started.start()
        started.join()

    do(work)
    assert names == ["n"]


def test_closed_board_refuses_a_second_worker(tmp_path, monkeypatch):
    """A worker whose board is taken ends before it does anything."""
    monkeypatch.setattr(os, "setpgid", lambda *_: None)
    with pytest.raises(SystemExit):
        jobs.open_worker(str(tmp_path / "taken"))


def test_values_that_pickle_cannot_write(monkeypatch):
    """Without cloudpickle a closure is refused with what would be right."""
    from graceline.work import parcels

    monkeypatch.setattr(parcels, "_cloudpickle", lambda: None)
    with pytest.raises(GracelineError, match="the function cannot be sent between processes"):
        pack(lambda: None, "the function")


def test_partial_values_and_the_time_to_stop(do, board):
    """A job saves partial values on the board, and sees a drain; it has nothing to wait with."""

    def work(_):
        save_partial({"done": 1})
        before = stopping().is_set()
        board.drain()
        with pytest.raises(GracelineError, match=r"in a worker process ask is_set\(\)"):
            stopping().wait().send(None)
        return before, stopping().is_set()

    assert unpack(do(work).parcel, "value") == (False, True)
    assert unpack(board.partial(1), "partial") == {"done": 1}


def test_an_item_saves_no_partial_value(do):
    """Inside an item of `each()` the finished items are the partial value, in a worker too."""
    reply = do(lambda _: save_partial(1), has_partial=False, node="n[0]")
    assert "an item of each()" in str(unpack(reply.parcel, "error"))


def test_a_header_tells_the_time_of_the_work_and_never_grace(do, board):
    """After its cancel a job has nothing to hand on, in its cleanup block either; before, at most the block's."""
    seen = []

    def work(_):
        seen.append(decode(outgoing_headers()["grpc-timeout"]))
        with cleanup():
            seen.append(decode(outgoing_headers()["grpc-timeout"]))
            board.cancel(1, inf)
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(DeadlineSpentError):
                outgoing_headers()
            seen.append(remaining())

    assert do(work).kind == "cancelled"
    long, block, grace = seen
    assert 100 < long <= 1000
    assert 0 < block <= 100
    assert 0 < grace <= 100
    late = do(lambda _: outgoing_headers(), number=2, remaining=0.0)
    assert isinstance(unpack(late.parcel, "error"), DeadlineSpentError)
    unlimited = do(lambda _: outgoing_headers(), number=3, remaining=inf)
    assert unpack(unlimited.parcel, "value") == {}


ALARM = frozenset({signal.SIGALRM})


@pytest.fixture
def drained():
    """Whatever a test leaves of SIGALRM and SIGTERM is gone behind it."""
    yield
    for number in (signal.SIGALRM, signal.SIGTERM):
        before = signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        signal.signal(number, signal.SIG_DFL if number == signal.SIGALRM else before)


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN, "own"])
def test_each_thing_done_to_alarms_is_undone(do, drained, handler, blocks):
    """A job that has only blocked SIGALRM, or only set its handler, leaves no more than one that did both."""
    rang = []

    def spoil(_):
        own = (lambda *_: rang.append("alarm")) if handler == "own" else handler
        signal.signal(signal.SIGALRM, own)
        if blocks:
            signal.pthread_sigmask(signal.SIG_BLOCK, ALARM)
            if handler == "own":  # by default it would end the process that gets it
                signal.raise_signal(signal.SIGALRM)

    def work(_):
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return signal.getsignal(signal.SIGALRM), masked & ALARM, signal.sigpending() & ALARM, rang

    do(spoil)
    assert unpack(do(work, number=2).parcel, "value") == (signal.SIG_DFL, set(), set(), [])


def test_a_cancel_that_an_earlier_job_held_back_meets_our_handler(do, drained):
    """A pending SIGTERM is let in when the handler of the job that blocked it has gone: it could end the worker."""
    came = []

    def spoil(_):
        signal.signal(signal.SIGTERM, lambda *_: came.append("term"))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        signal.raise_signal(signal.SIGTERM)

    do(spoil)
    assert unpack(do(lambda _: "went on", number=2).parcel, "value") == "went on"
    assert came == []
