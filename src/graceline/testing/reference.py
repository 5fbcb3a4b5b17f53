"""The oracle for definitions: what a pipeline has to do, before anything runs.

`reference_run` reads a pipeline, resolves its limits by the contract and hands plain data to the
oracle, which computes the admissible answers. The engine is not asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from graceline.definitions import (
    PASS_INPUT,
    Adaptive,
    Node,
    Part,
    Pipeline,
    Stage,
    Timeouts,
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
from graceline.testing.models import NodeModel, PipelineModel, Scenario, StageModel
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
    apart. Each node takes as long as its first call does.

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
            `each()`, handlers, learned limits, policies such as `retry=`, and behaviours other than
            `Obeys`, `Raises`, `SwallowsOnce`, `SlowCleanup`, `OwnScope` and `SavesPartials`; and
            for a pipeline whose parts share its budget.
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
    stages = tuple(_stage(stage, timeouts, stated=stated) for stage in pipeline.stages)
    return PipelineModel(pipeline.name, stages, fail_fast=fail_fast, **limits)


def _stage(stage: Stage, timeouts: Timeouts, *, stated: bool) -> StageModel:
    _refuse(stage)
    limits = _limits(stage, timeouts.stage, stated_above=stated)
    stated = stated or stage.stated_timeout is not None
    return StageModel(
        stage.name,
        tuple(_node(node, timeouts, stated=stated) for node in stage.nodes),
        after=stage.after,
        fail_fast=stage.fail_fast,
        **_step(stage),
        **limits,
    )


def _node(node: Node, timeouts: Timeouts, *, stated: bool) -> NodeModel:
    _refuse(node)
    where = f"reference_run(): node {node.name!r}"
    function = node.function
    if not isinstance(function, ModelledFunction):
        raise DefinitionError(
            f"{where}: its body is not modelled; give latencies=, or use replace_latencies()"
        )
    if node.each is not None:
        raise DefinitionError(f"{where}: the oracle does not model each()")
    return NodeModel(
        node.name,
        function.first(),
        after=node.after or (),
        returns=function.returns or _same,
        **_behaviour(function, where),
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
        raise DefinitionError(
            f"reference_run(): {part.name!r}: the oracle does not model {field}=; it knows one "
            "attempt per node, which nothing refuses"
        )


def _behaviour(function: ModelledFunction, where: str) -> dict[str, Any]:
    match function.behaviour:
        case Obeys() | SavesPartials():
            return {}
        case Raises():
            return {"ending": "raises"}
        case SwallowsOnce(tail=tail):
            return {"ending": "swallows", "tail": tail}
        case SlowCleanup(seconds=seconds):
            return {"cleanups": seconds}
        case OwnScope(after=after):
            return {"absorb_after": after}
        case other:
            raise DefinitionError(f"{where}: the oracle does not model {other!r}")
