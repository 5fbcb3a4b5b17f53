"""The bulkhead against a reference that is two lists, on random histories."""

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from trio.testing import wait_all_tasks_blocked

from graceline.definitions import Bulkhead
from graceline.engine.bulkhead import Slots
from graceline.virtual import run_virtual


class Reference:
    """Who has a slot and who waits, in order."""

    def __init__(self, slots, max_queue):
        self.slots, self.max_queue = slots, max_queue
        self.holders, self.queue = [], []

    def is_full(self):
        full = len(self.holders) == self.slots
        return full and self.max_queue is not None and len(self.queue) >= self.max_queue

    def arrive(self, name):
        (self.queue if len(self.holders) == self.slots else self.holders).append(name)

    def leave(self, name):
        """The end of a call, or of the patience of one that waits."""
        if name in self.queue:
            self.queue.remove(name)
        else:
            self.holders.remove(name)
            if self.queue:
                self.holders.append(self.queue.pop(0))


class BulkheadMachine(RuleBasedStateMachine):
    """Plans arrivals and ends, several in one instant too; then it all happens in virtual time."""

    @initialize(slots=st.integers(1, 3), max_queue=st.none() | st.integers(0, 3))
    def begin(self, slots, max_queue):
        self.policy = Bulkhead(slots=slots, max_queue=max_queue)
        self.plan = []

    @rule(calls=st.integers(1, 4))
    def arrive(self, calls):
        self.plan += [("arrive", 0)] * calls + [("look", 0)]

    @rule(whose=st.lists(st.integers(0, 9), min_size=1, max_size=4), look=st.booleans())
    def leave(self, whose, look):
        """Some of those who are there leave: they have ended, or they are cancelled."""
        self.plan += [("leave", who) for who in whose] + [("look", 0)] * look

    @rule()
    def hedge(self):
        self.plan.append(("try", 0))

    def teardown(self):
        if hasattr(self, "plan"):
            run_virtual(self.carry_out)

    async def carry_out(self):
        slots = Slots(self.policy, "b")
        reference = Reference(self.policy.slots, self.policy.max_queue)
        scopes, holding = {}, set()

        async def call(name):
            with scopes[name]:
                await slots.take()
                holding.add(name)
                try:
                    await trio.sleep_forever()
                finally:
                    holding.discard(name)
                    slots.give_back()

        async with trio.open_nursery() as nursery:
            for number, (what, who) in enumerate([*self.plan, ("look", 0)]):
                there = [*reference.holders, *reference.queue]
                if what == "arrive":
                    await wait_all_tasks_blocked()  # those who left are gone
                    assert slots.is_full() == reference.is_full()
                    if not reference.is_full():
                        scopes[number] = trio.CancelScope()
                        nursery.start_soon(call, number)
                        reference.arrive(number)
                elif what == "leave" and there:
                    name = there[who % len(there)]
                    scopes[name].cancel()
                    reference.leave(name)
                elif what == "try":
                    await wait_all_tasks_blocked()
                    free = len(reference.holders) < reference.slots
                    assert slots.try_take() is free
                    if free:
                        slots.give_back()
                if what == "look":
                    await wait_all_tasks_blocked()
                    shown = slots.health()
                    assert holding == set(reference.holders)
                    assert (shown.active, shown.queued) == (len(holding), len(reference.queue))
            nursery.cancel_scope.cancel()
        assert (slots.health().active, slots.health().queued) == (0, 0)


TestBulkhead = BulkheadMachine.TestCase
TestBulkhead.settings = settings(
    max_examples=100, stateful_step_count=20, derandomize=True, database=None, deadline=None
)


def test_what_the_reference_holds():
    """The model itself gives a free slot to the first in the queue."""
    reference = Reference(1, 1)
    for name in "ab":
        reference.arrive(name)
    assert reference.is_full()
    reference.leave("a")
    assert (reference.holders, reference.queue) == (["b"], [])
    with pytest.raises(ValueError, match="not in list"):
        reference.leave("a")
