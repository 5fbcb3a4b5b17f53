"""The oracle for definitions: what a pipeline has to do, before anything runs.

`reference_run` reads a pipeline, resolves its limits by the contract and hands plain data to the
oracle, which computes the admissible answers. The engine is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any

import attrs

from graceline.definitions import (
    PASS_INPUT,
    Adaptive,
    Node,
    Part,
    Pipeline,
    Retry,
    Stage,
    Timeouts,
    resolve,
    stated_policies,
)
from graceline.errors import DefinitionError
from graceline.testing.accounts import RunAccount
from graceline.testing.behaviours import (
    ModelledFunction,
    Obeys,
    OwnScope,
    Raises,
    SavesPartials,
    SlowCleanup,
    SwallowsOnce,
)
from graceline.testing.models import (
    AttemptModel,
    ModelError,
    NodeModel,
    PipelineModel,
    RetryModel,
    Scenario,
    StageModel,
)
from graceline.testing.oracle import admissible
from graceline.testing.replace import replace_latencies
from graceline.testing.world import Cancels

if TYPE_CHECKING:
    from graceline.testing.replace import Model

__all__ = ["reference_run"]


def reference_run(
    pipeline: Pipeline,
    latencies: Model | None = None,
    cancels: Cancels = Cancels(),  # noqa: B008 - frozen
    *,
    input: Any = None,  # noqa: A002 - the contract's word
    values: Mapping[str, Any] | None = None,
    seed: int = 0,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    orders: int = 60,
) -> tuple[RunAccount, ...]:
    """What a run of the pipeline may come to: one account for each right answer, all different.

    There are several where things happen within one instant, since Trio shuffles their order. But
    a cancel from outside always comes before what else happens at its instant: keep such instants
    apart. Each attempt of a node takes as long as the call of that number does.

    Args:
        pipeline: the definition.
        latencies: what its nodes do, as for `replace_latencies`; None if they are modelled already.
        cancels: what cancels the run from outside.
        input: what nodes without a predecessor get.
        values: with `latencies`, what nodes return, as for `replace_latencies`.
        seed: with `latencies`, decides the random numbers, as for `replace_latencies`.
        timeouts: the engine's defaults.
        orders: how many orders of things within one instant are tried.

    Raises:
        DefinitionError: for nodes that the oracle does not model: bodies of your own, threads,
            `each()`, handlers, learned limits, backoffs, whose jitter is drawn (write `backoff=0`,
            or `retry_after=` for a wait that is known), breakers, bulkheads, hedges, and behaviours
            other than `Obeys`, `Raises`, `SwallowsOnce`, `SlowCleanup`, `OwnScope` and
            `SavesPartials`; and for a pipeline whose parts share its budget.
    """
    modelled = pipeline
    if latencies is not None:
        modelled = replace_latencies(pipeline, latencies, values=values, seed=seed)
    elif values is not None or seed:
        raise DefinitionError("reference_run(): values= and seed= are for latencies=")
    _refuse_sharing(modelled)
    scenario = Scenario(
        _pipeline(modelled, timeouts),
        engine_grace=timeouts.grace,
        user_cancel_at=cancels.user_at,
        caller_cancel_at=cancels.caller_at,
        caller_deadline=cancels.caller_deadline,
        drain_at=cancels.drain_at,
        input=input,
    )
    found: list[RunAccount] = []
    for answer in admissible(scenario, orders):
        account = answer[pipeline.name]
        if account not in found:
            found.append(account)
    return tuple(found)


def _limits(part: Part, default: float, *, stated_above: bool) -> dict[str, Any]:
    """The limits of a part: its own, else the engine's default where nothing above states one."""
    timeout = part.stated_timeout
    if timeout is None and not stated_above:
        timeout = default
    return {
        "timeout": None if timeout == inf else timeout,
        "grace": part.grace,
        "reserve": part.reserve,
        "strict": part.strict,
    }


def _pipeline(pipeline: Pipeline, timeouts: Timeouts) -> PipelineModel:
    _refuse(pipeline)
    if pipeline.budget != "fixed":
        raise DefinitionError(
            f"reference_run(): {pipeline.name!r}: the oracle does not model "
            f"budget={pipeline.budget!r}, only 'fixed'"
        )
    stated = pipeline.stated_timeout is not None
    limits = _limits(pipeline, timeouts.pipeline, stated_above=False)
    if pipeline.strict is None:
        limits["strict"] = timeouts.strict
    fail_fast = timeouts.fail_fast if pipeline.fail_fast is None else pipeline.fail_fast
    stages = tuple(_stage(stage, pipeline, timeouts, stated=stated) for stage in pipeline.stages)
    return PipelineModel(pipeline.name, stages, fail_fast=fail_fast, **limits)


def _stage(stage: Stage, pipeline: Pipeline, timeouts: Timeouts, *, stated: bool) -> StageModel:
    _refuse(stage)
    limits = _limits(stage, timeouts.stage, stated_above=stated)
    stated = stated or stage.stated_timeout is not None
    return StageModel(
        stage.name,
        tuple(_node(node, (stage, pipeline), timeouts, stated=stated) for node in stage.nodes),
        after=stage.after,
        fail_fast=stage.fail_fast,
        **_step(stage),
        **limits,
    )


def _node(
    node: Node, above: tuple[Stage, Pipeline], timeouts: Timeouts, *, stated: bool
) -> NodeModel:
    _refuse(node)
    where = f"reference_run(): node {node.name!r}"
    function = node.function
    if node.alternatives:
        raise DefinitionError(
            f"{where}: the oracle does not model choose(); it knows one body per node"
        )
    if not isinstance(function, ModelledFunction):
        raise DefinitionError(
            f"{where}: its body is not modelled; give latencies=, or use replace_latencies()"
        )
    if node.each is not None:
        raise DefinitionError(f"{where}: the oracle does not model each()")
    retry: Retry | None = resolve("retry", node, *above)
    attempts = 1 if retry is None else retry.attempts
    first, *later = (
        AttemptModel(function.sample(number), **_behaviour(function, number, retry, where))
        for number in range(attempts)
    )
    return NodeModel(
        node.name,
        **attrs.asdict(first),
        later=tuple(later),
        text=getattr(function.behaviour, "message", None),
        retry=None if retry is None else _retry(retry, function, where),
        attempt_timeout=_attempt_timeout(resolve("attempt_timeout", node, *above)),
        idempotent=node.idempotent,
        after=node.after or (),
        absorb_after=getattr(function.behaviour, "after", None),
        returns=function.returns or _same,
        **_step(node),
        **_limits(node, timeouts.node, stated_above=stated),
    )


def _same(value: Any) -> Any:
    return value


def _step(part: Node | Stage) -> dict[str, Any]:
    options: dict[str, Any] = {"critical": part.critical, "when": part.when}
    if part.fallback is not PASS_INPUT:
        options["fallback"] = part.fallback
    return options


def _refuse_sharing(pipeline: Pipeline) -> None:
    owners: dict[int, str] = {}
    for stage in pipeline.stages:
        for node in stage.nodes:
            if id(node.function) in owners:
                raise DefinitionError(
                    f"reference_run(): nodes {owners[id(node.function)]!r} and {node.name!r} share "
                    "one modelled function, whose second call takes another time; give each its own"
                )
            owners[id(node.function)] = node.name


def _refuse(part: Part) -> None:
    if part.on_cleanup:
        raise DefinitionError(f"reference_run(): {part.name!r}: the oracle does not model handlers")
    if isinstance(part.timeout, Adaptive):
        raise DefinitionError(
            f"reference_run(): {part.name!r}: the oracle does not model learned limits"
        )
    for field in stated_policies(part):
        if field not in ("retry", "attempt_timeout"):
            raise DefinitionError(
                f"reference_run(): {part.name!r}: the oracle does not model {field}=, whose answer "
                "depends on other runs"
            )
    if isinstance(part.attempt_timeout, Adaptive):
        raise DefinitionError(
            f"reference_run(): {part.name!r}: the oracle does not model learned limits, such as "
            "its attempt_timeout="
        )


def _retry(retry: Retry, function: ModelledFunction, where: str) -> RetryModel:
    if retry.backoff and retry.attempts > 1:
        raise DefinitionError(
            f"{where}: the oracle does not model backoffs, whose jitter is drawn; write backoff=0, "
            "or retry_after= for a wait that is known"
        )
    error, on = _error(function), retry.on
    return RetryModel(
        retry.attempts,
        min_attempt=retry.min_attempt,
        nested=retry.nested,
        on=isinstance(error, on) if isinstance(on, tuple) else bool(on(error)),
    )


def _attempt_timeout(seconds: float | None) -> float | None:
    return None if seconds == inf else seconds


def _error(function: ModelledFunction) -> ModelError:
    return ModelError(getattr(function.behaviour, "message", ""))


def _hint(function: ModelledFunction, retry: Retry | None) -> float | None:
    """The wait that the policy reads off the error."""
    asked = None if retry is None else retry.retry_after
    return None if asked is None else asked(_error(function))


def _behaviour(
    function: ModelledFunction, number: int, retry: Retry | None, where: str
) -> dict[str, Any]:
    """What a call does, by its number from 0."""
    match function.behaviour:
        case Raises(attempts=attempts) if attempts is None or number < attempts:
            return {"ending": "raises", "hint": _hint(function, retry)}
        case Obeys() | SavesPartials() | OwnScope() | Raises():
            return {}
        case SwallowsOnce(tail=tail):
            return {"ending": "swallows", "tail": tail}
        case SlowCleanup(seconds=seconds):
            return {"cleanups": seconds}
        case other:
            raise DefinitionError(f"{where}: the oracle does not model {other!r}")
