"""The breaker against a reference that recounts everything from a list, on random histories."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from graceline.definitions import Breaker
from graceline.resilience import CircuitBreaker, Counted, Permit

QUICK, SLOW, EDGE = 0.1, 0.9, 0.5
TENTHS = st.sampled_from([0.2, 0.3, 0.5, 0.7, 1.0])

POLICIES = st.builds(
    Breaker,
    failure_rate=TENTHS,
    min_calls=st.integers(1, 5),
    window=st.just(10.0),
    consecutive=st.none() | st.integers(1, 4),
    slow_rate=TENTHS,
    slow_after=st.just(EDGE),
    open_for=st.sampled_from([2.0, 5.0]),
    max_open_for=st.just(12.0),
    probes=st.integers(1, 3),
    probe_max=st.sampled_from([1.0, 4.0, 50.0]),
    mode=st.sampled_from(["on", "on", "on", "metrics_only", "off", "forced_open"]),
)


class Reference:
    """The same promises, without any cleverness: each period is an object, each call is kept."""

    def __init__(self, policy, random):
        self.policy, self.random = policy, random
        self.trips = 0  # since it was last closed
        self.period = {"state": "closed", "calls": []}

    def begin(self, state, now):
        if state == "closed":
            self.trips = 0
        if state == "open":
            span = min(self.policy.open_for * 2**self.trips, self.policy.max_open_for)
            self.trips += 1
            self.until = now + span * (1.0 + 0.2 * (2.0 * self.random() - 1.0))
        self.period = {"state": state, "calls": self.period["calls"], "probes": [], "good": 0}
        if state == "closed":
            self.period["calls"] = []

    def admit(self, now):
        """A ticket, or None for a refusal."""
        mode = self.policy.mode
        if mode == "forced_open":
            return None
        if mode == "off":
            return {"period": None}
        if self.period["state"] == "open" and now >= self.until:
            self.begin("half_open", now)
        ticket = {"period": self.period, "since": now, "done": False}
        if self.period["state"] == "closed":
            return ticket
        taken = len(self.busy(now)) + self.period["good"]
        if self.period["state"] == "half_open" and taken < self.policy.probes:
            self.period["probes"].append(ticket)
            return ticket
        return {"period": None} if mode == "metrics_only" else None

    def busy(self, now):
        """When the slots of the probes under way are free at the latest."""
        ends = [p["since"] + self.policy.probe_max for p in self.period["probes"] if not p["done"]]
        return [end for end in ends if now < end]

    def free_at(self, now):
        """When one that refuses lets the next call through."""
        return self.until if self.period["state"] == "open" else min(self.busy(now))

    def settle(self, ticket, now, counted, elapsed):
        ticket["done"] = True
        if ticket["period"] is not self.period:
            return
        failed = counted in ("error", "own timeout")
        if self.period["state"] == "half_open":
            if failed:
                self.begin("open", now)
            elif counted == "ok":
                self.period["good"] += 1
                if self.period["good"] == self.policy.probes:
                    self.begin("closed", now)
            return
        slow = counted == "own timeout" or (
            counted in ("ok", "ancestor's timeout") and elapsed > self.policy.slow_after
        )
        if counted == "ok" or failed or slow:
            self.period["calls"].append((now, counted == "ok", failed, slow))
            if self.opens(now):
                self.begin("open", now)

    def recent(self, now):
        width = self.policy.window / 10
        return [c for c in self.period["calls"] if now // width - c[0] // width < 10]

    def in_a_row(self):
        row = 0
        for _, succeeded, failed, _ in reversed(self.period["calls"]):
            if succeeded:
                break
            row += failed
        return row

    def opens(self, now):
        policy, recent = self.policy, self.recent(now)
        calls = [c for c in recent if c[1] or c[2]]
        failures = [c for c in calls if c[2]]
        slow = [c for c in recent if c[3]]
        return (
            (policy.consecutive is not None and self.in_a_row() >= policy.consecutive)
            or (
                len(calls) >= policy.min_calls and len(failures) / len(calls) >= policy.failure_rate
            )
            or (len(recent) >= policy.min_calls and len(slow) / len(recent) >= policy.slow_rate)
        )


class Passing:
    """A call that was let through without a permit, as the engine does it on its hot path."""

    def __init__(self, breaker, generation):
        self.breaker, self.generation = breaker, generation

    def settle(self, now, counted, elapsed):
        if counted is Counted.OK:
            self.breaker.count_ok(self.generation, now, elapsed)
        else:
            Permit(self.breaker, self.generation).settle(now, counted, elapsed)


class BreakerMachine(RuleBasedStateMachine):
    """Calls begin and end in any order, while time goes on."""

    tickets = Bundle("tickets")

    @initialize(policy=POLICIES, seed=st.integers(0, 5))
    def begin(self, policy, seed):
        self.policy = policy
        self.now = 0.0
        self.told = []
        self.breaker = CircuitBreaker(
            policy, "b", lambda: seed / 5, lambda old, new, now: self.told.append((old, new, now))
        )
        self.reference = Reference(policy, lambda: seed / 5)
        self.state = self.breaker.state

    @rule(seconds=st.sampled_from([0.25, 1.0, 2.0, 5.0, 15.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def wait_until_it_probes(self):
        """Half open is where the mistakes are; nobody gets there by chance."""
        if self.reference.period["state"] == "open":
            self.now = max(self.now, self.reference.until)

    @precondition(lambda self: self.reference.period["state"] == "half_open")
    @rule(target=tickets, seconds=st.sampled_from([0.25, 0.5]))
    def probe_one_after_the_other(self, seconds):
        """Their slots are not free at the same instant."""
        started = []
        for _ in range(self.policy.probes + 1):
            started += self.start(1)
            self.now += seconds
        return started

    @rule(target=tickets, calls=st.integers(1, 4))
    def start(self, calls):
        started = []
        for _ in range(calls):
            passing = self.breaker.passing
            if passing is not None:
                started.append((Passing(self.breaker, passing), self.reference.admit(self.now)))
                continue
            answer = self.breaker.admit(self.now)
            ticket = self.reference.admit(self.now)
            assert isinstance(answer, Permit) is (ticket is not None)
            if ticket is not None:
                started.append((answer, ticket))
            elif self.policy.mode == "on":
                assert answer.retry_after == pytest.approx(
                    self.reference.free_at(self.now) - self.now
                )
        return started

    @rule(
        started=consumes(tickets),
        counted=st.sampled_from(Counted),
        elapsed=st.sampled_from([QUICK, EDGE, SLOW]),
    )
    def end(self, started, counted, elapsed):
        for permit, ticket in started:
            permit.settle(self.now, counted, elapsed)
            self.reference.settle(ticket, self.now, str(counted), elapsed)

    @rule(counteds=st.lists(st.sampled_from(Counted), min_size=1, max_size=6))
    def calls(self, counteds):
        """One call after the other, so that trips are common."""
        for counted in counteds:
            for permit, ticket in self.start(1):
                self.end([(permit, ticket)], counted, QUICK)

    @invariant()
    def they_agree(self):
        shown = self.breaker.snapshot(self.now)
        assert self.breaker.snapshot(self.now) == shown, "a snapshot changes nothing"
        if self.policy.mode == "forced_open":
            assert (shown.state, shown.calls) == ("open", 0)
            return
        reference = self.reference
        recent = reference.recent(self.now)
        assert shown.state == reference.period["state"]
        assert (shown.calls, shown.failures, shown.slow) == (
            sum(call[1] or call[2] for call in recent),
            sum(call[2] for call in recent),
            sum(call[3] for call in recent),
        )
        assert shown.failures_in_a_row == reference.in_a_row()
        if shown.state == "open":
            assert abs(shown.retry_after - max(0.0, reference.until - self.now)) < 1e-9

    @invariant()
    def transitions_are_those_of_a_breaker(self):
        for old, new, now in self.told:
            assert old == self.state
            assert (old, new) in {
                ("closed", "open"),
                ("open", "half_open"),
                ("half_open", "open"),
                ("half_open", "closed"),
            }
            assert now == self.now
            self.state = new
        self.told.clear()
        assert self.policy.mode == "forced_open" or self.breaker.state == self.state


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(
    max_examples=100, stateful_step_count=30, derandomize=True, database=None, deadline=None
)
