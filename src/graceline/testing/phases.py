"""The phases of a node in the oracle: its attempts, their work and cleanup, and the backoffs.

See `graceline.testing.oracle`, of which this is a part: nothing is shared with the package.
"""

from __future__ import annotations

from collections import defaultdict
from math import inf
from typing import TYPE_CHECKING, Any

from graceline.testing.accounts import Level, Node, TryAccount
from graceline.testing.retrying import Ended, Tokens, next_attempt

if TYPE_CHECKING:
    from graceline.testing.models import NodeModel, PipelineModel, Scenario

__all__ = ["Phases"]


class Phases:
    """The nodes that are alive, and what each of them does next."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.now: float = 0.0
        self.caller_at: float = (
            inf if scenario.caller_cancel_at is None else scenario.caller_cancel_at
        )
        self.alive: list[Node] = []
        self.tokens: defaultdict[str, Tokens] = defaultdict(Tokens)

    def _node_ended(self, node: Node) -> None:
        raise NotImplementedError

    def _rank(self) -> float:
        raise NotImplementedError

    def _submit(self, model: PipelineModel, above: Level, owner: Node | None, value: Any) -> Any:
        raise NotImplementedError

    def _next(self, node: Node) -> float:
        if node.phase == "nested":
            return inf
        if node.phase in ("body", "backoff"):
            at = min(node.ends, node.absorbs, node.at.fired(), self.caller_at)
        elif node.phase == "cleanup":
            at = min(node.ends, node.opened_cut, node.at.hard())
        else:
            at = node.ends
        return max(at, self.now)

    def _cancelled(self, level: Level) -> bool:
        return min(level.fired(), self.caller_at) <= self.now

    def _step(self, node: Node) -> None:
        if node.phase == "cleanup":
            self._notice(node)
            self._clean(node)
        elif node.phase == "tail":
            self._clean(node)
        elif node.phase == "backoff":
            self._attempt_due(node)
        elif self._cancelled(node.at):
            self._unwind(node)
        elif node.absorbs <= self.now or node.model.nested is None:
            self._work_done(node)
        else:
            node.phase = "nested"
            above = node.at
            if node.absorbs < above.fired():
                above = Level("caller", "caller", above, self.now, None, 0.0)
                above.deadline = node.absorbs
            self._submit(node.model.nested, above, node, node.input)

    def _work_done(self, node: Node) -> None:
        node.ending = "value" if node.does.ending in ("value", "swallows") else "error"
        self._clean(node)

    def _unwind(self, node: Node) -> None:
        if node.does.ending == "swallows":
            node.phase, node.ends = "tail", self.now + node.does.tail
            node.inner = "swallowed"
            node.noticed = node.at.foreign_at = inf  # absorbed
        else:
            node.ending = "cancelled"
            self._clean(node)

    def _notice(self, node: Node) -> None:
        if self.caller_at <= self.now < node.at.fired() and node.noticed == inf:
            node.noticed = node.at.foreign_at = self.now

    def _clean(self, node: Node) -> None:
        """Open the next cleanup block, or end the attempt."""
        if node.blocks == len(node.does.cleanups):
            self._attempt_ended(node)
            return
        self._notice(node)
        node.phase = "cleanup"
        node.ends = self.now + node.does.cleanups[node.blocks]
        node.blocks += 1
        before = min(node.at.fired(), node.at.foreign_at) > self.now
        node.opened_cut = self.now + node.at.grace if before else inf

    # -- attempts -----------------------------------------------------------------------------

    def _attempt(self, node: Node) -> None:
        """Begin the next attempt, the only one of a node without policies."""
        node.number += 1
        node.does, node.at = node.model.attempt(node.number), node.level
        if _has_policies(node.model):
            node.at = Level("attempt", node.level.name, node.level, self.now, None, 0.0)
            if node.model.attempt_timeout is not None and self.scenario.mode == "enforce":
                node.at.deadline = self.now + node.model.attempt_timeout
        own = node.model.absorb_after
        node.phase, node.inner, node.blocks, node.retried_inside = "body", None, 0, False
        node.asked, node.ending = False, "value"
        node.ends = self.now + node.does.latency
        node.absorbs = inf if own is None else self.now + own
        node.opened_cut = node.noticed = inf

    def _attempt_ended(self, node: Node) -> None:
        if node.at is node.level:
            self._node_ended(node)
            return
        number, start, own = node.number, node.at.start, ("attempt", node.level.name, "timeout")
        tokens = self.tokens[node.level.name]
        found = node.at.cause(min(node.noticed, self.now))
        if node.ending == "cancelled" and found is not None and found[1] == own:
            node.ending = "expired"
        if node.ending == "cancelled":
            status = "cancelled" if found is None else found[0]
            node.tries += (TryAccount(number, status, start, self.now),)
            self._lost(node)
        elif node.ending == "value":
            status = "ok" if node.at.cause(self.now) is None else "late"
            stop = "ok" if number > 1 else None
            node.tries += (TryAccount(number, status, start, self.now, stop=stop),)
            tokens.success(self.now)
        else:
            expired = node.ending == "expired"
            ended = Ended(
                number=number,
                ending=None if expired else node.does.ending,
                hint=node.does.hint,
                retried_inside=node.retried_inside,
                remaining=node.level.fired() - self.now,
            )
            step = next_attempt(node.model, ended, self.scenario.jitter, tokens, self.now)
            delay, note = (None, step) if isinstance(step, tuple) else (step, (None,))
            node.tries += (
                TryAccount(
                    number, "timed_out" if expired else "failed", start, self.now, delay, note[0]
                ),
            )
            if delay is not None:
                node.errors += ("timeout" if expired else node.model.error_text(node.number),)
                node.phase, node.ends = "backoff", self.now + delay
                node.at, node.absorbs, node.noticed = node.level, inf, inf
                return
            if node.model.retry is not None and node.model.retry.attempts > 1:
                node.note = note
            self._lost(node)
        self._node_ended(node)

    def _attempt_due(self, node: Node) -> None:
        """The time has come for the next attempt; one that needs a slot asks for it first."""
        if self._cancelled(node.level):  # with a slot or without, it does not begin
            node.ending = "cancelled"
            if node.number:
                self.tokens[node.level.name].give_back()
            self._lost(node)
            self._node_ended(node)
        elif node.model.guarded and not node.asked:
            node.asked, node.rank = True, self._rank()  # a turn of its own within the instant
        else:
            self._attempt(node)

    @staticmethod
    def _lost(node: Node) -> None:
        """There is no value; the layers above do not retry what was retried here."""
        retries = node.model.retry is not None and node.model.retry.attempts > 1
        if node.number > 1 or (retries and node.ending != "cancelled"):
            above = node.stage.run.owner
            while above is not None:
                above.retried_inside = True
                above = above.stage.run.owner


def _has_policies(model: NodeModel) -> bool:
    return model.retry is not None or model.attempt_timeout is not None or model.guarded
