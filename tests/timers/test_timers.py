"""Deadlines for plain threads: a clock that the test moves, and a few real threads that wait for events."""

import contextvars
import gc
import logging
import math
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graceline import DeadlineStatus, DefinitionError, GracelineError, Status
from graceline.deadlines import blame_level
from graceline.timers.tree import TimerTree

PATIENCE = 60
"""Real seconds for what another thread brings about; no test comes near it unless it fails."""


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tree(clock):
    with TimerTree(clock=clock, thread=False) as tree:
        yield tree


def in_thread(function, *args):
    """Run a function in a thread of its own, and return what it returned."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert results, "the thread did not end well"
    return results[0]


def timer_threads():
    return [thread for thread in threading.enumerate() if thread.name == "graceline-timers"]


def test_left_in_time_is_ok(tree, clock):
    """A scope that is left before its deadline is ok, blames nobody, and stays so."""
    called = []
    with tree.deadline("request", "2s", on_timeout=called.append) as scope:
        assert (scope.status, scope.remaining(), scope.expired) == ("active", 2.0, False)
        clock.now = 1.5
        assert (scope.remaining(), scope.blame) == (0.5, None)
    clock.now = 5
    assert tree.tick() == 0
    assert (scope.status, scope.blame, scope.expired) == ("ok", None, False)
    assert (scope.remaining(), scope.wait(), called) == (0.0, False, [])


def test_own_deadline(tree, clock):
    """A deadline that passes is a timeout at that instant, blamed on the scope, told once."""
    called = []
    with tree.deadline("request", 2, on_timeout=[called.append, called.append]) as scope:
        clock.now = 2
        assert tree.tick() == 1
        assert tree.tick() == 0
        assert (scope.status, scope.expired, scope.remaining()) == ("timed_out", True, 0.0)
        clock.now = 3
    assert called == [scope, scope]
    blame = scope.blame
    assert (blame.level, blame.name, blame.kind) == ("timer", "request", "timeout")
    assert (blame.limit, blame.source, blame.elapsed) == (2, "call", 2)
    assert "'request' exceeded its limit of 2s" in blame.message


def test_words():
    """The words are those of the engine's outcomes, and `active` is the only other one."""
    assert {*DeadlineStatus} - {*Status} == {"active"}


def test_just_in_time_is_late(tree, clock):
    """Exactly at its deadline a scope has timed out, as in the engine."""
    with tree.deadline("request", 2) as scope:
        clock.now = 2
    assert scope.status == "timed_out"


def test_overrun_is_never_ok(tree, clock):
    """A scope left after its deadline has timed out, even if the timer thread never looked."""
    called = []
    with tree.deadline("request", 2, on_timeout=called.append) as outer:
        with tree.deadline("phase", 1, on_timeout=called.append) as inner:
            clock.now = 3
            assert called == []
            for scope in (outer, inner):
                assert (scope.status, scope.expired, scope.remaining()) == ("timed_out", True, 0)
                assert scope.blame.name == scope.name
        assert called == [inner]
    assert called == [inner, outer]
    assert [(s.status, s.blame.name, s.blame.elapsed) for s in called] == [
        ("timed_out", "phase", 3),
        ("timed_out", "request", 3),
    ]
    assert tree.tick() == 0


def test_an_exception_passes_through(tree, clock):
    """The scope watches the time alone: an exception in time leaves it ok, a late one timed out."""
    with pytest.raises(KeyError), tree.deadline("request", 2) as scope:
        raise KeyError
    assert scope.status == "ok"
    with pytest.raises(KeyError), tree.deadline("request", 2) as scope:
        clock.now += 2
        raise KeyError
    assert scope.status == "timed_out"


def test_a_parent_takes_its_children_along(tree, clock):
    """When the outer deadline passes, all below time out with it and blame it, innermost first."""
    called = []
    with ExitStack() as stack:
        scopes = [
            stack.enter_context(tree.deadline(str(level), timeout, on_timeout=called.append))
            for level, timeout in enumerate([1, 5, math.inf, 2])
        ]
        assert [scope.remaining() for scope in scopes] == [1, 1, 1, 1]
        clock.now = 1
        assert tree.tick() == 4
        assert called == scopes[::-1]
        assert {scope.status for scope in scopes} == {"timed_out"}
        assert {scope.blame.name for scope in scopes} == {"0"}
    assert len(called) == 4


def test_the_latest_sibling_comes_first(tree, clock):
    """Among siblings the one that was opened last is told first, with what is below it."""
    order = []
    with tree.deadline("root", 1, on_timeout=lambda _: order.append("root")) as root:
        with ExitStack() as stack:
            for name in ("first", "second"):
                block = tree.deadline(
                    name, 5, parent=root, on_timeout=lambda s: order.append(s.name)
                )
                scope = stack.enter_context(block)
                below = tree.deadline(
                    f"below {name}", 5, parent=scope, on_timeout=lambda s: order.append(s.name)
                )
                stack.enter_context(below)
            clock.now = 1
            tree.tick()
    assert order == ["below second", "second", "below first", "first", "root"]


def test_ties_go_to_the_outermost(tree, clock):
    """Of two limits that pass at the same instant the outer one is to blame."""
    with tree.deadline("outer", 1) as outer, tree.deadline("inner", 1) as inner:
        clock.now = 1
        tree.tick()
        assert (outer.blame.name, inner.blame.name) == ("outer", "outer")


def test_the_earliest_is_to_blame_however_late_anybody_looks(tree, clock):
    """An inner deadline that passed first is blamed, though an outer cancel was noticed before it."""
    with tree.deadline("outer", 5) as outer, tree.deadline("inner", 1) as inner:
        with tree.deadline("below", 3) as below:
            clock.now = 2
            assert outer.cancel("stop")
            assert [(s.status, s.blame.name, s.blame.kind) for s in (outer, inner, below)] == [
                ("cancelled", "outer", "user"),
                ("timed_out", "inner", "timeout"),
                ("timed_out", "inner", "timeout"),
            ]


def test_cancel(tree, clock):
    """A cancel ends the scope and all below it, runs their handlers, and only the first counts."""
    called = []
    with tree.deadline("outer", 5) as outer:
        with tree.deadline("phase", 3, on_timeout=called.append) as phase:
            with tree.deadline("step", 3, on_timeout=called.append) as step:
                clock.now = 1
                assert phase.cancel("not wanted any more")
                assert called == [step, phase]
                assert not phase.cancel("again")
                assert not step.cancel()
        assert (outer.status, outer.remaining()) == ("active", 4)
    assert outer.status == "ok"
    for scope in (phase, step):
        assert (scope.status, scope.blame.name) == ("cancelled", "phase")
        assert (scope.blame.kind, scope.blame.message) == ("user", "not wanted any more")
        assert (scope.blame.limit, scope.blame.elapsed) == (3, 1)
    assert not outer.cancel()
    assert outer.status == "ok"


def test_a_late_cancel_does_not_hide_a_timeout(tree, clock):
    """A cancel after the deadline finds a timeout, whether anybody had noticed that or not."""
    called = []
    with tree.deadline("request", 1, on_timeout=called.append) as scope:
        clock.now = 1
        assert not scope.cancel("too late")
        assert (scope.status, called) == ("timed_out", [scope])


def test_due_on_arrival(tree):
    """A limit of 0 has passed before the block begins: its handler has run by then."""
    called = []
    with tree.deadline("request", 0, on_timeout=called.append) as scope:
        assert (scope.status, called) == ("timed_out", [scope])
        with tree.deadline("below", 5, on_timeout=called.append) as below:
            assert (below.status, below.blame.name, called) == (
                "timed_out", "request", [scope, below],
            )  # fmt: skip
    assert len(called) == 2


def test_opened_below_an_overdue_parent(tree, clock):
    """A scope below one whose deadline passed unnoticed has timed out from the start."""
    with tree.deadline("outer", 1) as outer:
        clock.now = 2
        with tree.deadline("inner", 5) as inner:
            assert (inner.status, inner.blame.name) == ("timed_out", "outer")
        assert tree.tick() == 1
    assert outer.blame.name == "outer"


def test_children_in_other_threads_end_with_the_parent(tree, clock):
    """Leaving a scope in time cancels what is still open below it in other threads."""
    called = []
    go, opened = threading.Event(), threading.Event()

    def work(parent):
        with tree.deadline("child", 9, parent=parent, on_timeout=called.append) as child:
            with tree.deadline("grandchild", 9, on_timeout=called.append) as grandchild:
                assert grandchild.parent == child
                opened.set()
                go.wait(PATIENCE)
        scopes.extend([child, grandchild])

    scopes = []
    with tree.deadline("parent", 5) as parent:
        thread = threading.Thread(target=work, args=(parent,))
        thread.start()
        assert opened.wait(PATIENCE)
        clock.now = 1
    assert (parent.status, [s.name for s in called]) == ("ok", ["grandchild", "child"])
    go.set()
    thread.join(PATIENCE)
    for scope in scopes:
        assert (scope.status, scope.blame.name, scope.blame.kind) == (
            "cancelled", "parent", "caller",
        )  # fmt: skip
        assert "was left" in scope.blame.message


def test_a_scope_that_left_early_keeps_its_word(tree, clock):
    """A child opened in another thread after its parent was left is cancelled from the start."""
    with tree.deadline("parent", 2) as parent:
        clock.now = 1
    clock.now = 3

    def work():
        with tree.deadline("child", 9, parent=parent) as child:
            return child.status, child.blame.name, child.blame.kind

    assert in_thread(work) == ("cancelled", "parent", "caller")
    assert parent.status == "ok"


def test_below_a_cancelled_parent(tree):
    """A child of a scope that was cancelled is cancelled from the start, with the same blame."""
    with tree.deadline("parent", 5) as parent:
        parent.cancel("enough")
        with tree.deadline("child", 5) as child:
            assert (child.status, child.blame.message) == ("cancelled", "enough")


def test_closing_the_tree(clock):
    """Closing cancels what is open, refuses what is new, and may be repeated."""
    called = []
    tree = TimerTree(clock=clock, thread=False)
    with tree.deadline("one", 5, on_timeout=called.append) as one:
        with tree.deadline("two", 5, on_timeout=called.append) as two:
            tree.close()
            assert called == [two, one]
    tree.close()
    assert (one.status, one.blame.kind) == ("cancelled", "shutdown")
    assert (two.status, two.blame.name) == ("cancelled", "one")
    with pytest.raises(GracelineError, match="the tree is closed"), tree.deadline("late", 1):
        pass


def test_names_may_be_reused(tree, clock):
    """Names need not be unique, neither one after the other nor within each other."""
    with tree.deadline("same", 3) as one, tree.deadline("same", 1) as two:
        clock.now = 1
        tree.tick()
        assert (one.status, two.status) == ("active", "timed_out")
        assert one != two
    with tree.deadline("same", 1) as again:
        pass
    assert (again.status, two.status) == ("ok", "timed_out")
    assert (repr(again), again.parent) == ("<TimerScope 'same' ok>", None)


def test_a_block_is_entered_once(tree):
    """The same block cannot be entered twice, and says so."""
    block = tree.deadline("once", 1)
    with block, pytest.raises(GracelineError, match="entered twice"), block:
        pass


async def _handler(scope):
    pass


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("", 1), {}, "non-empty string"),
        ((3, 1), {}, "non-empty string"),
        (("a", -1), {}, "deadline 'a': -1 is negative"),
        (("a", "2"), {}, "has no unit"),
        (("a", None), {}, "not a duration"),
        (("a", math.nan), {}, "NaN"),
        (("a", 1), {"on_timeout": "no"}, "on_timeout=: 'n' is not a function"),
        (("a", 1), {"on_timeout": lambda: None}, "exactly one argument"),
        (("a", 1), {"on_timeout": _handler}, "is async"),
        (("a", 1), {"parent": "b"}, "parent= must be an open scope of the same tree"),
    ],
)
def test_bad_definitions(tree, arguments, options, message):
    """A wrong argument is refused before the block is entered, with what would be right."""
    with pytest.raises(DefinitionError, match=message):
        tree.deadline(*arguments, **options)


def test_bad_options(tree):
    """A wrong clock, switch, reason or waiting time is refused, and so is another tree's scope."""
    with pytest.raises(DefinitionError, match="clock="):
        TimerTree(clock=3)
    with pytest.raises(DefinitionError, match="thread="):
        TimerTree(thread=1)
    with tree.deadline("a", 1) as scope:
        with pytest.raises(DefinitionError, match="reason"):
            scope.cancel(3)
        with pytest.raises(DefinitionError, match=r"wait\(timeout=\)"):
            scope.wait("soon")
        with TimerTree() as other, pytest.raises(DefinitionError, match="same tree"):
            other.deadline("b", 1, parent=scope)


def test_a_handler_that_raises(tree, clock, caplog):
    """What a handler raises is logged and kept; the other handlers run, and the status stands."""
    called = []

    def bad(scope):
        raise OSError("already gone")

    with tree.deadline("outer", 1, on_timeout=called.append) as outer:
        with tree.deadline("inner", 1, on_timeout=[bad, called.append]) as inner:
            clock.now = 1
            with caplog.at_level(logging.ERROR, "graceline.timers"):
                tree.tick()
    assert called == [inner, outer]
    assert ([str(error) for error in inner.secondary], outer.secondary) == (["already gone"], ())
    assert "'inner'" in caplog.text
    assert "raised OSError at" in caplog.text
    assert "already gone" not in caplog.text  # what it says may be somebody's data
    assert inner.status == "timed_out"


def test_an_interrupt_in_a_handler_reaches_its_thread(tree):
    """`KeyboardInterrupt` is raised where the handlers ran, after the last one of them."""
    called = []

    def interrupted(scope):
        raise KeyboardInterrupt

    with tree.deadline("outer", 9, on_timeout=called.append) as outer:
        with tree.deadline("inner", 9, on_timeout=interrupted) as inner:
            with pytest.raises(KeyboardInterrupt):
                outer.cancel()
    assert (called, len(inner.secondary)) == ([outer], 1)


@pytest.mark.parametrize("trigger", ["tick", "leave", "cancel", "open", "close"])
def test_no_lock_is_held_while_handlers_run(clock, trigger):
    """A handler, and a thread that it waits for, may do anything with the tree, whatever cut it."""
    tree = TimerTree(clock=clock, thread=False)
    seen = []

    def everything(scope):
        scope.cancel()
        tree.tick()
        if trigger != "close":
            with tree.deadline("another", 1, on_timeout=lambda _: None) as another:
                another.cancel()
            with tree.deadline("below", 1, parent=scope) as below:
                seen.append(below.expired)
        return scope.wait(), scope.blame.kind, tree.current()

    def handler(scope):
        everything(scope)
        in_thread(everything, scope)
        seen.append(scope.name)

    with tree.deadline("a", 0 if trigger == "open" else 1, on_timeout=handler) as scope:
        if trigger in ("tick", "leave"):
            clock.now = 1
        if trigger in ("tick", "cancel", "close"):
            getattr(scope if trigger == "cancel" else tree, trigger)()
    assert seen == (["a"] if trigger == "close" else [True, True, "a"])


def test_a_handler_may_close_the_tree(clock):
    """A handler in the timer thread may close the tree, which cancels the rest."""
    closed = threading.Event()

    def close(scope):
        tree.close()
        closed.set()

    tree = TimerTree()
    with tree.deadline("patient", 900) as patient:
        with tree.deadline("hasty", 0.001, parent=patient, on_timeout=close):
            assert closed.wait(PATIENCE)
    assert (patient.status, patient.blame.kind) == ("cancelled", "shutdown")
    tree.close()
    assert timer_threads() == []


VARIABLE = contextvars.ContextVar("variable", default="unset")


def test_handlers_see_the_context_of_the_opener(tree):
    """A handler sees the opener's context variables in any thread, and no scope around it."""
    seen = []

    def handler(scope):
        with tree.deadline("own", 1) as own:
            seen.append((VARIABLE.get(), own.parent, own.status))

    token = VARIABLE.set("request 7")
    with tree.deadline("outer", 5), tree.deadline("inner", 5, on_timeout=handler) as inner:
        VARIABLE.reset(token)
        in_thread(inner.cancel)
    assert seen == [("request 7", None, "active")]


def test_the_parent_is_the_innermost_scope_of_the_thread(tree, clock):
    """By default a scope belongs to the innermost open one of its own tree and thread."""
    assert tree.current() is None
    with TimerTree(clock=clock, thread=False) as other:
        with tree.deadline("a", 5) as a, other.deadline("b", 5) as b:
            assert (a.parent, b.parent) == (None, None)
            with tree.deadline("c", 5) as c:
                assert (c.parent, tree.current(), other.current()) == (a, c, b)
            assert tree.current() == a
            assert in_thread(tree.current) is None
    assert tree.current() is None


def test_left_in_another_context(tree):
    """A generator that is closed elsewhere leaves its scope well, and no new scope gets below it."""

    def generator():
        with tree.deadline("generator", 5) as scope:
            yield scope

    steps = generator()
    scope = next(steps)
    assert tree.current() == scope
    in_thread(steps.close)
    assert (scope.status, tree.current()) == ("ok", None)
    with tree.deadline("next", 5) as after:
        assert (after.parent, after.status) == (None, "active")


def test_a_look_that_is_overtaken(tree, clock):
    """A thread that leaves in time while another one looks too late is believed: the scope is ok."""
    block = tree.deadline("request", 2)
    scope = block.__enter__()

    class Overtaken:
        def __call__(self):
            tree._timers.clock = clock
            block.__exit__(None, None, None)
            clock.now = 3
            return clock.now

    tree._timers.clock = Overtaken()
    assert scope.status == "ok"


def test_a_finalizer_in_the_middle_of_a_cut(tree):
    """A scope that a finalizer leaves while its parent is being cut is settled and told once."""
    told = []
    with tree.deadline("parent", 9) as parent:
        first = tree.deadline("first", 9, parent=parent, on_timeout=told.append)
        second = tree.deadline("second", 9, parent=parent, on_timeout=told.append)
        with first as one:
            two = second.__enter__()

            class Event:
                def set(self):
                    second.__exit__(None, None, None)

            one._timer.event = Event()
            parent.cancel()
    assert (one.status, two.status, told) == ("cancelled", "ok", [one])


def test_waiting_with_a_clock_of_ones_own(tree, clock):
    """Without a timer thread a waiting thread is let go by the tick that cuts its scope."""
    with tree.deadline("request", 0.001) as scope:
        assert not scope.wait(0.002)
        results = []
        waiter = threading.Thread(target=lambda: results.append(scope.wait()))
        waiter.start()
        clock.now = 1
        assert tree.tick() == 1
        waiter.join(PATIENCE)
    assert results == [True]


STEPS = st.lists(
    st.tuples(st.sampled_from(["open", "open", "leave", "cancel", "tick", "move"]),
              st.integers(0, 6), st.integers(0, 4)),
    max_size=25,
)  # fmt: skip


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_the_blame_is_that_of_the_equations(steps):
    """Whatever is opened, left, cancelled or noticed late: `Level.cause` gives the same blame."""
    clock, called = Clock(), []
    tree = TimerTree(clock=clock, thread=False)
    blocks, scopes, checked = [], [], set()
    for action, which, amount in steps:
        if action == "open":
            parent = scopes[which % len(scopes)] if scopes else None
            name = str(len(scopes))
            block = tree.deadline(name, amount * 2, parent=parent, on_timeout=called.append)
            late = parent is not None and parent._timer.status != "active"
            blocks.append(block)
            scopes.append(block.__enter__())
            if late:  # what the parent came to was said before; a tie cannot change it any more
                checked.add(scopes[-1])
                blame = parent.blame or blame_level(parent._timer, parent._timer.ended_at)
                assert (scopes[-1].blame.name, scopes[-1].blame.kind) == (blame.name, blame.kind)
        elif action == "leave" and blocks:
            blocks.pop(which % len(blocks)).__exit__(None, None, None)
        elif action == "cancel" and scopes:
            scopes[which % len(scopes)].cancel()
        elif action == "tick":
            tree.tick()
        elif action == "move":
            clock.now += amount
        for scope in scopes:
            level = scope._timer
            if scope in checked or level.status == "active":
                continue
            checked.add(scope)
            cause = level.cause(clock.now)
            if scope.status == "ok":
                assert min(level.deadline, level.bound.deadline) > clock.now
                continue
            assert scope.blame == blame_level(cause, clock.now)
            assert (scope.status == "timed_out") == (scope.blame.kind == "timeout")
            assert called.count(scope) == 1
        for scope in scopes:
            if scope.parent is not None and scope.parent._timer.status != "active":
                assert scope._timer.status != "active"
    tree.close()
    assert sorted(map(id, {scope._timer for scope in called})) == sorted(
        id(scope._timer) for scope in scopes if scope.status != "ok"
    )
    assert not tree._timers.roots
    assert tree._timers.alarm.earliest() == math.inf


def test_closed_scopes_leave_the_heap(tree):
    """However many scopes come and go, the heap holds the open ones and a bounded rest."""
    with tree.deadline("outer", 900) as outer:
        for _ in range(5000):
            with tree.deadline("inner", 10):
                pass
        assert len(tree._timers.alarm._heap) <= 1002
        assert tree._timers.alarm._live == 1
        assert not outer._timer.children
    assert not tree._timers.roots


def test_closed_scopes_are_forgotten(tree):
    """Nothing in the tree keeps what the handler of a scope held, once its entry is gone."""

    class Resource:
        def close(self, scope):
            pass

    resource = Resource()
    gone = weakref.ref(resource)
    with tree.deadline("a", 10, on_timeout=resource.close) as scope:
        pass
    assert tree._timers.alarm.earliest() == math.inf
    del resource, scope
    gc.collect()
    assert gone() is None


def test_ten_thousand_nested_scopes_and_one_thread():
    """10,000 scopes within each other in 20 threads need one timer thread, and all end with the root."""
    threads, depth = 20, 500
    opened, cut, told = threading.Barrier(threads + 1), threading.Event(), []
    statuses = []

    def work(root):
        with ExitStack() as stack:
            scopes = [
                stack.enter_context(
                    tree.deadline("t", 900 - level, on_timeout=told.append, parent=top)
                )
                for level, top in enumerate([root] + [None] * (depth - 1))
            ]
            opened.wait(PATIENCE)
            assert scopes[-1].wait(PATIENCE)
            assert cut.wait(PATIENCE)
        statuses.extend((scope.status, scope.blame.name) for scope in scopes)

    with TimerTree() as tree:
        with tree.deadline("root", 1000) as root:
            workers = [threading.Thread(target=work, args=(root,)) for _ in range(threads)]
            for worker in workers:
                worker.start()
            opened.wait(PATIENCE)
            assert len(timer_threads()) == 1
            assert threading.active_count() >= threads + 2
            root.cancel("enough")
            cut.set()
            for worker in workers:
                worker.join(PATIENCE)
    assert statuses == [("cancelled", "root")] * (threads * depth)
    assert len(set(told)) == len(told) == threads * depth
    assert timer_threads() == []


def test_ten_thousand_deadlines_in_one_look(tree, clock):
    """10,000 nested scopes that are all overdue fire in the order of their deadlines, each once."""
    told = []
    with ExitStack() as stack:
        for level in range(10_000):
            block = tree.deadline(str(level), 20_000 - level, on_timeout=told.append)
            stack.enter_context(block)
        clock.now = 20_000
        assert tree.tick() == 10_000
    assert [scope.name for scope in told] == [str(level) for level in reversed(range(10_000))]
    assert all(scope.blame.name == scope.name for scope in told)


def test_the_thread_fires_by_itself():
    """A real deadline ends a real wait, and its handler has run in the timer thread."""
    ran_in = []
    told = threading.Event()

    def handler(scope):
        ran_in.append(threading.current_thread().name)
        told.set()

    with TimerTree() as tree:
        assert timer_threads() == []
        with tree.deadline("request", 0.01, on_timeout=handler) as scope:
            assert scope.wait(PATIENCE)
            assert told.wait(PATIENCE)
        assert (scope.status, ran_in) == ("timed_out", ["graceline-timers"])


def test_an_earlier_deadline_wakes_the_thread():
    """The thread that sleeps for a far deadline is woken for a nearer one."""
    told = threading.Event()
    with TimerTree() as tree, tree.deadline("far", 900) as far:
        assert not far.wait(0.001)
        with tree.deadline("near", 0.01, on_timeout=lambda _: told.set()):
            assert told.wait(PATIENCE)
        assert far.status == "active"


def test_the_thread_does_not_poll(tree, clock, monkeypatch):
    """The thread sleeps in one piece until the earliest deadline, be it that of a scope just left."""
    alarm, naps = tree._timers.alarm, []

    def sleep(seconds):
        naps.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(alarm.lock, "wait", sleep)
    with tree.deadline("outer", 600) as outer:
        with tree.deadline("inner", 500):
            pass
        with tree.deadline("later", 550):
            pass
        assert alarm._sleep()
        assert (naps, tree.tick()) == ([500], 0)
        assert alarm._sleep()
        assert (naps, tree.tick(), outer.status) == ([500, 100], 1, "timed_out")
        monkeypatch.setattr(
            alarm.lock, "wait", lambda seconds: alarm.stop() or naps.append(seconds)
        )
        assert not alarm._sleep()
        assert naps[2:] == [None]


def test_only_an_earlier_deadline_wakes_the_thread(tree, monkeypatch):
    """A thread that sleeps is woken by what is earlier, once, and by nothing else."""
    alarm, woken = tree._timers.alarm, []
    monkeypatch.setattr(alarm.lock, "notify_all", lambda: woken.append(1))
    alarm._sleeps_until = 600
    for timeout, count in [(900, 0), (600, 0), (500, 1), (550, 1), (400, 2)]:
        with tree.deadline("a", timeout):
            assert len(woken) == count


def test_a_handler_that_hangs_does_not_hide_other_deadlines():
    """While a handler blocks the timer thread, other scopes still expire by the clock."""
    release, hung = threading.Event(), threading.Event()

    def hang(scope):
        hung.set()
        release.wait(PATIENCE)

    with TimerTree() as tree:
        with tree.deadline("hangs", 0.001, on_timeout=hang):
            assert hung.wait(PATIENCE)
        with tree.deadline("other", 0.01) as other:
            assert other.wait()
            assert other.remaining() == 0
        assert other.status == "timed_out"
        release.set()


def test_nothing_that_a_handler_raises_ends_the_thread():
    """Even a `SystemExit` in a handler is kept, and the timer thread serves the next deadline."""

    def bad(scope):
        raise SystemExit(3)

    told = threading.Event()
    with TimerTree() as tree:
        with tree.deadline("bad", 0.001, on_timeout=[bad, lambda _: told.set()]) as scope:
            assert told.wait(PATIENCE)
        assert [type(error) for error in scope.secondary] == [SystemExit]
        told.clear()
        with tree.deadline("good", 0.001, on_timeout=lambda _: told.set()):
            assert told.wait(PATIENCE)


def test_wait_ends_when_the_scope_is_left():
    """A thread that waits for a scope without a limit is let go when another thread leaves it."""
    with TimerTree() as tree:
        with tree.deadline("request", math.inf) as scope:
            results = []
            waiter = threading.Thread(target=lambda: results.append(scope.wait()))
            waiter.start()
            while scope._timer.event is None:
                time.sleep(0)
        waiter.join(PATIENCE)
        assert results == [False]
        assert timer_threads() == []


def test_leaving_and_firing_at_once_tells_once():
    """When a scope is left at the very moment it fires, its handler runs once, and only if it fired."""
    told = []
    with TimerTree() as tree:
        scopes = []
        for _ in range(300):
            with tree.deadline("race", 0.0002, on_timeout=told.append) as scope:
                while scope.remaining() > 0:
                    pass
            scopes.append(scope)
    assert {scope.status for scope in scopes} == {"timed_out"}
    assert len(told) == 300
    assert set(told) == set(scopes)


def test_a_tree_after_the_end_of_the_program():
    """When the interpreter has stopped the thread, late scopes still go by the clock."""
    with TimerTree() as tree:
        with tree.deadline("before", 900):
            pass
        tree._timers.alarm._stop_at_exit()
        assert timer_threads() == []
        with tree.deadline("after", 0.001) as scope:
            assert scope.wait()
    assert (scope.status, timer_threads()) == ("timed_out", [])


def run_script(source):
    script = textwrap.dedent(source)
    done = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-W", "error", "-c", script],
        timeout=PATIENCE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_end_of_the_interpreter():
    """A tree that nobody closed, with open scopes and a hung handler, lets the interpreter end."""
    out = run_script("""
        import threading
        from graceline.timers.tree import TimerTree

        tree = TimerTree()
        hung = threading.Event()

        def hang(scope):
            hung.set()
            threading.Event().wait()

        def generator():
            with tree.deadline("open", 900) as scope:
                yield scope

        held = generator()
        next(held)
        with tree.deadline("hangs", 0.001, on_timeout=hang):
            assert hung.wait(60)
        print("end of the program")
    """)
    assert out == "end of the program\n"


def test_the_thread_ends_before_the_interpreter_does():
    """At the end of the program the thread is stopped in good order, and holds no lock."""
    out = run_script("""
        import atexit, threading
        from graceline.timers.tree import TimerTree

        atexit.register(lambda: print([t.name for t in threading.enumerate()]))
        tree = TimerTree()
        with tree.deadline("request", 900):
            print(threading.active_count())
    """)
    assert out == "2\n['MainThread']\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_gets_a_thread_of_its_own():
    """After a fork the child's deadlines fire, although threads do not survive a fork."""
    out = run_script("""
        import os, threading, warnings
        from graceline.timers.tree import TimerTree

        tree = TimerTree()
        with tree.deadline("before", 900):
            pass
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of any fork
        child = os.fork()
        told = threading.Event()
        with tree.deadline("after", 0.001, on_timeout=lambda _: told.set()):
            assert told.wait(60)
        if child:
            assert os.waitpid(child, 0)[1] == 0
            print("both fired")
    """)
    assert out == "both fired\n"


def test_equal_deadlines_blame_the_outermost_before_anybody_looks():
    """Of two scopes with one deadline the outer one is to blame, also while no thread has noticed."""
    now = [0.0]
    tree = TimerTree(clock=lambda: now[0], thread=False)
    with tree.deadline("outer", 5) as outer, tree.deadline("inner", 5) as inner:
        now[0] = 5.0
        assert (inner.blame.name, outer.blame.name) == ("outer", "outer")
    assert inner.blame.name == "outer"
