"""The reference: what a modelled run has to do, from the equations alone.

The method
==========

Between two instants nothing happens, and every next instant follows from the equations of the
contract (`fired`, `hard`, `cause` of a tree of levels). So the oracle keeps the levels and the
nodes that are alive, asks each node when it changes next, goes to the earliest of those instants
and applies that one change. A node is in one of five phases, and leaves it at

    body      the end of its latency, or fired(node), or a cancel of the caller's, or its own
              `move_on_after`, whichever is first; at equal instants the cancel wins
    tail      the end of its shielded tail: a swallower that was cancelled
    nested    the end of the run inside it
    cleanup   the end of the block's duration, or the block's cut: min(opened + grace, hard), where
              hard alone decides if the block was opened after the cancel
    backoff   its end, or fired(node), or a cancel of the caller's: a node that is tried again

A node with policies works in a level of its own for each attempt, below that of the node; in all
phases but the last, read fired and hard of that one.

A cancel by a failing sibling needs no search for a fixed point: when its instant is known, it has
come, and nothing before it can depend on it.

There is no scheduler, no task and no cancel scope here, and no line is shared with the package:
statuses and kinds are plain strings. What Trio may do in any order within one instant, the oracle
does in the order given by `order`; `admissible` goes through several orders and yields the set of
right answers. One cancel is the caller's alone: an explicit one, which nothing in the tree knows
of. It is *noticed* where Trio shows it: at a checkpoint, and at both ends of a cleanup block.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING, Any

import attrs

from graceline.testing.accounts import (
    KEEP_INPUT,
    Blamed,
    Holder,
    Level,
    Node,
    PartAccount,
    Run,
    RunAccount,
    Stage,
)
from graceline.testing.phases import Phases

if TYPE_CHECKING:
    from graceline.testing.models import PipelineModel, Scenario, StageModel

__all__ = ["admissible", "play"]

_STOPS_ALL = ("user", "shutdown", "caller")
_BY_CALLER: Blamed = ("caller", "caller", "caller")


def play(scenario: Scenario, order: int = 0) -> dict[str, RunAccount]:
    """The accounts of the run and of the runs inside it, by the name of the pipeline.

    What a node runs in its second attempt is `name#2`, and so on.

    Args:
        scenario: what is run.
        order: chooses what comes first within one instant: 0 the earlier started, 1 the later
            started, other numbers an order of their own: odd ones shuffle what starts together,
            even ones everything.
    """
    return _World(scenario, order).play()


def admissible(scenario: Scenario, orders: int = 60) -> Iterator[dict[str, RunAccount]]:
    """The right answers: one for each of several orders within an instant."""
    yield from (play(scenario, order) for order in range(orders))


class _World(Phases):
    """All that is alive, and the instant."""

    def __init__(self, scenario: Scenario, order: int) -> None:
        super().__init__(scenario)
        cancels = ((scenario.user_cancel_at, "user"), (scenario.drain_at, "shutdown"))
        self.outside = sorted((at, kind) for at, kind in cancels if at is not None)
        self.starts: list[tuple[float, Holder, Run, Any]] = []
        self.accounts: dict[str, RunAccount] = {}
        self.runs: Counter[str] = Counter()
        self.started = self.batch = 0
        self.order, self.random = order, random.Random(order)  # noqa: S311 - no secret

    def play(self) -> dict[str, RunAccount]:
        scenario = self.scenario
        top = scenario.pipeline
        enforced = scenario.mode == "enforce"
        grace = scenario.engine_grace if enforced else inf
        caller = Level("caller", "caller", None, 0.0, None, grace)
        if scenario.caller_deadline is not None:
            caller.deadline = scenario.caller_deadline
        root = self._submit(top, caller, None, scenario.input).level
        while self.alive or self.starts:
            due: list[tuple[float, float, Any]] = [
                (self._next(node), node.rank, node) for node in self.alive
            ]
            due += [(self.now, start[0], start) for start in self.starts]
            at, rank, item = min(due, key=lambda entry: entry[:2])
            if self.outside and self.outside[0][0] <= at:
                self.now, kind = self.outside.pop(0)
                self._cancel(root, kind)
                continue
            self.now, self.batch = at, int(rank)
            if isinstance(item, Node):
                self._step(item)
            else:
                self.starts.remove(item)
                self._start(*item[1:])
        return self.accounts

    def _cancel(self, level: Level, kind: str) -> None:
        if level.cancelled_at == inf:  # the first one wins
            level.cancelled_at, level.cancel_kind = self.now, kind

    def _level(self, kind: str, name: str, parent: Level, model: Any) -> Level:
        level = Level(kind, name, parent, self.now, model, 0.0)
        if self.scenario.mode != "enforce":
            level.deadline, level.grace = inf, inf
        return level

    # -- nodes --------------------------------------------------------------------------------

    def _node_ended(self, node: Node) -> None:
        self.alive.remove(node)
        level, stage, now = node.level, node.stage, self.now
        strict = stage.strict if node.model.strict is None else node.model.strict
        given = node.model.returns
        value: Any = given(node.input) if given else (node.model.name, node.input, node.inner)
        status: str
        blame: Blamed | None
        if node.ending == "error":
            status, blame, value = "failed", ("node", level.name, "failed"), None
        elif node.ending == "expired":
            status, blame, value = "timed_out", ("attempt", level.name, "timeout"), None
        elif node.ending == "cancelled":
            seen = min(node.noticed, now)
            found = level.cause(seen)
            status, blame = found or ("cancelled", _BY_CALLER)
            value = None
            if found is None:
                self._foreign_leaves(level, stage.run, seen)
            elif blame is not None and blame[0] == "caller":
                stage.run.raised = True
        else:
            status, blame, value = self._returned(level, now, value, strict=strict)
        if status in ("ok", "late"):
            stage.run.completed.append(stage.run.label(stage.level.name, level.name))
        account = PartAccount(
            status, blame, level.start, now, value, attempts=node.number, note=node.note,
            tries=node.tries,
            error=node.model.error_text(node.number) if node.ending == "error" else None,
            secondary=node.errors,
        )  # fmt: skip
        stage.alive -= 1
        self._part_ended(stage, stage.run, node.model, node.input, account)

    def _foreign_leaves(self, level: Level, run: Run, seen: float) -> None:
        run.noticed = min(run.noticed, seen)
        run.raised = True
        for above in level.line()[len(run.above.line()) :]:
            above.foreign_at = min(above.foreign_at, seen)
        if run.owner is not None and run.owner.noticed == inf:  # its own budget begins, too
            run.owner.noticed = run.owner.at.foreign_at = seen

    @staticmethod
    def _returned(
        level: Level, at: float, value: Any, *, strict: bool
    ) -> tuple[str, Blamed | None, Any]:
        """Status, blame and value of a level whose last word that counts came at `at`."""
        found = level.cause(at)
        if found is None:
            return "ok", None, value
        return (found[0], found[1], None) if strict else ("late", found[1], value)

    # -- what holds parts ---------------------------------------------------------------------

    def _part_ended(
        self,
        holder: Holder,
        run: Run,
        part: Any,
        given: Any,
        account: PartAccount,
        last: float | None = None,
    ) -> None:
        """Write down how a part ended, and find what it stops and what it lets start.

        `last` is when its own last critical part returned; by default that is now.
        """
        path = part.name if holder is run else f"{holder.level.name}.{part.name}"
        run.parts[path] = account
        if account.status == "skipped":  # by its own condition
            holder.values[part.name] = given
            self._advance(holder, run)
            return
        completed = account.status in ("ok", "late")
        if part.critical:
            holder.last = max(holder.last, self.now if last is None else last)
        run.plain = run.plain and account.status == "ok"
        kind = account.blame[2] if account.blame else ""
        if completed:
            holder.values[part.name] = account.value
        elif part.critical or kind in _STOPS_ALL or run.raised:
            self._fail(holder, account)
        else:
            try:
                holder.values[part.name] = self._substitute(part, given)
            except Exception as error:  # noqa: BLE001 - a fallback that raises is a failure that counts
                blamed = ("stage" if holder is run else "node", part.name, "failed")
                lost = () if account.error is None else (account.error,)
                account = attrs.evolve(
                    account, status="failed", blame=blamed, error=str(error), note=(),
                    secondary=(*lost, *account.secondary),
                )  # fmt: skip
                run.parts[path] = account
                self._fail(holder, account)
            else:
                soft = part.name if holder is run else run.label(holder.level.name, part.name)
                run.degraded.append(soft)
        self._advance(holder, run)

    def _fail(self, holder: Holder, account: PartAccount) -> None:
        if holder.failure is None:
            holder.failure = account
            if holder.fail_fast and not holder.chain:
                self._cancel(holder.level, "sibling_failed")

    @staticmethod
    def _substitute(part: Any, given: Any) -> Any:
        """What the dependents of a part that did not succeed get in its place."""
        if part.fallback is KEEP_INPUT:
            return given
        return part.fallback(given) if callable(part.fallback) else part.fallback

    def _advance(self, holder: Holder, run: Run) -> None:
        for part in holder.ready():
            del holder.waiting[part.name]
            holder.alive += 1
            if holder.chain:
                self._start(holder, run, part)
            else:  # a task of its own: others may come first within this instant
                self.starts.append((self._rank(), holder, run, part))
        if not holder.alive:
            holder.alive = -1  # it ends once
            if holder.chain:
                self._holder_ended(holder, run)
            else:  # a nursery tells its parent in a later turn of the same instant
                self.starts.append((self._rank(), holder, run, None))

    def _rank(self) -> float:
        self.started += 1
        if self.order < 2:
            return -self.started if self.order else self.started
        batch = self.batch + 1 if self.order % 2 else 0
        return batch + self.random.random()

    def _start(self, holder: Holder, run: Run, part: Any) -> None:
        if part is None:
            self._holder_ended(holder, run)
            return
        given = holder.input(part.name)
        kind = "stage" if holder is run else "node"
        level = self._level(kind, part.name, holder.level, part)
        found = level.cause(self.now)
        if run.noticed < level.fired():
            found = ("cancelled", _BY_CALLER)
        decided = self._condition(part, kind, given) if found is None else None
        starts = found is None and decided is None
        if starts and isinstance(holder, Stage) and self.caller_at <= self.now:
            found = ("cancelled", _BY_CALLER)  # seen at the node's first checkpoint
            self._foreign_leaves(level, run, self.now)
        if found is not None:
            decided = PartAccount(*found, self.now, self.now)
        if decided is not None:
            if kind == "stage":
                self._skip(run, part)
            holder.alive -= 1
            self._part_ended(holder, run, part, given, decided)
        elif isinstance(holder, Stage):
            node = Node(part, holder, level, given, self._rank(), ends=self.now)
            self.alive.append(node)
            self._attempt_due(node)
        else:
            self._advance(Stage(part, run, level, given), run)

    def _condition(self, part: Any, kind: str, given: Any) -> PartAccount | None:
        """What becomes of a part whose `when` is false or raises; None if it runs."""
        try:
            if part.when is None or part.when(given):
                return None
        except Exception as error:  # noqa: BLE001 - the part's failure
            blame = (kind, part.name, "failed")
            return PartAccount("failed", blame, self.now, self.now, error=str(error))
        return PartAccount("skipped", None, self.now, self.now)

    def _skip(self, run: Run, stage: StageModel) -> None:
        for node in stage.nodes:
            run.parts.setdefault(f"{stage.name}.{node.name}", PartAccount("skipped"))

    def _holder_ended(self, holder: Holder, run: Run) -> None:
        level = holder.level
        status: str
        if holder.failure is not None:
            status, blame, value = holder.failure.status, holder.failure.blame, None
        else:
            status, blame, value = self._returned(
                level, holder.last, holder.output(), strict=holder.strict
            )
        if isinstance(holder, Stage):
            self._skip(run, holder.model)
            account = PartAccount(status, blame, level.start, self.now, value)
            run.alive -= 1
            self._part_ended(run, run, holder.model, holder.value, account, holder.last)
        else:
            self._run_ended(run, status, blame, value)

    # -- runs ---------------------------------------------------------------------------------

    def _submit(self, model: PipelineModel, above: Level, owner: Node | None, value: Any) -> Run:
        if above.kind == "caller":  # the virtual level has the grace of the pipeline below it
            stated = [grace for grace in (model.reserve, model.grace) if grace is not None]
            above.grace = (stated or [above.parent.grace if above.parent else above.grace])[0]
        level = self._level("pipeline", model.name, above, model)
        run = Run(model, level, above, owner, value)
        self.runs[model.name] += 1
        if self.runs[model.name] > 1:
            run.key = f"{model.name}#{self.runs[model.name]}"
        found = level.cause(self.now)
        if found is None:
            self._advance(run, run)
        else:
            self._run_ended(run, *found, None, unstarted=True)
        return run

    def _run_ended(
        self, run: Run, status: str, blame: Blamed | None, value: Any, *, unstarted: bool = False
    ) -> None:
        if not (run.plain and status == "ok") and not unstarted and self._cancelled(run.above):
            run.raised = True
        for stage in run.model.stages:
            run.parts.setdefault(stage.name, PartAccount("skipped"))
            self._skip(run, stage)
        self.accounts[run.key] = RunAccount(
            status, blame, run.start, self.now, value, tuple(run.completed),
            tuple(sorted(run.degraded)), run.raised, run.parts,
        )  # fmt: skip
        node = run.owner
        if node is None:
            return
        if not run.raised:
            node.inner = (status, value)
            self._work_done(node)
        elif node.absorbs <= self.now and not self._cancelled(node.at):
            self._work_done(node)
        else:
            node.noticed = node.at.foreign_at = run.noticed
            self._unwind(node)
