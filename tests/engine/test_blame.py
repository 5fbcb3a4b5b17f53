"""Semantics 3: whose deadline was it? Causes, foreign cancels, errors in a cancel."""

import ast
import pathlib

import pytest
import trio
import trio.testing

import graceline
from graceline import (
    Node,
    Pipeline,
    Stage,
    cleanup,
    each,
    parallel,
    sequence,
)


async def forever(_):
    await trio.sleep_forever()


async def fail(_):
    raise ValueError("broken")


def gives(value, after=0.0):
    async def give(_):
        await trio.sleep(after)
        return value

    return give


async def test_outer_limit_that_passes_during_the_grace_takes_no_blame(autojump_clock, engine):
    """A node limit that fired first is blamed, although the pipeline's passes during its grace."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(1)

    node = Node(work, timeout=1, grace=5)
    result = await engine.run(Pipeline("p", [node], timeout=1.5, grace=5))
    assert (result.blame.level, result.elapsed) == ("node", pytest.approx(2))


async def test_user_cancel_is_never_a_timeout(autojump_clock, engine):
    """A cancel through the engine gives `cancelled`, its reason in the blame, and keeps what is done."""
    run = engine.start(Pipeline("p", sequence(Node(trio.sleep, name="a"), forever)), 1)
    await trio.sleep(2)
    assert await engine.cancel(run.run_id, "not needed")
    blame = run.result.blame
    assert (run.result.status, blame.kind, blame.message) == ("cancelled", "user", "not needed")
    assert run.result.completed == ("a",)


async def test_cancel_is_idempotent(autojump_clock, engine):
    """Cancelling twice keeps the first reason; an unknown id is no error."""
    run = engine.start(Pipeline("p", [forever]))
    await trio.sleep(1)
    assert await engine.cancel(run.run_id, "one", wait=False)
    assert await engine.cancel(run.run_id, "two")
    assert run.result.blame.message == "one"
    assert not await engine.cancel(run.run_id, "three")
    assert not run.cancel("four")


async def test_cancel_after_the_limit_is_still_a_timeout(autojump_clock, engine):
    """A cancel during the grace of a timeout does not change whose limit it was."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(1)

    run = engine.start(Pipeline("p", [work], timeout=1, grace=5))
    await trio.sleep(1.5)
    run.cancel("too late")
    result = await run.wait()
    assert (result.status, result.blame.kind) == ("timed_out", "timeout")


async def test_a_run_may_cancel_itself(autojump_clock, engine):
    """A node that cancels its own run is cancelled at its next checkpoint, without a deadlock."""

    async def suicide(_):
        await engine.cancel("me", "enough")
        await trio.sleep_forever()

    result = await engine.run(Pipeline("p", [suicide]), run_id="me")
    assert (result.status, result.blame.message) == ("cancelled", "enough")


async def test_own_timeout_error_is_a_failure(autojump_clock, engine):
    """A node's own `TooSlowError` or `TimeoutError` is `failed`, not a deadline of ours."""

    async def slow(_):
        with trio.fail_after(1):
            await trio.sleep_forever()

    async def plain(_):
        raise TimeoutError("the database")

    for function, kind in ((slow, trio.TooSlowError), (plain, TimeoutError)):
        result = await engine.run(Pipeline("p", [Node(function, timeout=9)], timeout=10))
        assert (result.status, result.blame.kind) == ("failed", "failed")
        assert isinstance(result.error, kind)


async def test_own_fail_after_that_leaves_after_our_limit_is_a_failure(autojump_clock, engine):
    """The error of the user's own limit, which expired before ours, is a failure at any instant."""

    async def slow(_):
        try:
            with trio.fail_after(1):
                try:
                    await trio.sleep_forever()
                finally:
                    with cleanup():
                        await trio.sleep(0.5)
        finally:
            autojump_clock.jump(2)

    result = await engine.run(Pipeline("p", [Node(slow, timeout=2, grace=5)]))
    assert result.status == "failed"
    assert isinstance(result.error, trio.TooSlowError)


async def test_our_limit_that_passes_while_the_users_own_unwinds_is_a_timeout(
    autojump_clock, engine
):
    """When our limit passes during the cleanup of the user's own scope, Trio hands us the cancel."""

    async def slow(_):
        with trio.move_on_after(1):
            try:
                await trio.sleep_forever()
            finally:
                with cleanup():
                    await trio.sleep(2)

    result = await engine.run(Pipeline("p", [Node(slow, timeout=2, grace=5)]))
    assert (result.status, result.blame.level) == ("timed_out", "node")


async def test_error_after_a_sync_burst_is_a_failure(autojump_clock, engine):
    """An error past the deadline with no `Cancelled` in sight is `failed`."""

    async def burst(_):
        autojump_clock.jump(5)
        raise ValueError

    result = await engine.run(Pipeline("p", [Node(burst, timeout=1)]))
    assert result.status == "failed"


async def test_group_with_a_cancel_keeps_its_error_as_secondary(autojump_clock, engine):
    """A child task that raises while our cancel unwinds leaves the node timed out."""

    async def work(_):
        async def child():
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("child")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(trio.sleep_forever)

    result = await engine.run(Pipeline("p", [Node(work, timeout=1)]))
    assert result.status == "timed_out"
    assert len(result.node("work").secondary) == 1


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_program_exceptions_are_never_results(autojump_clock, engine, kind):
    """`KeyboardInterrupt` and `SystemExit` come bare out of a sequence, and the engine stays usable."""

    async def stop(_):
        raise kind

    with pytest.raises(kind):
        await engine.run(Pipeline("p", [stop]))
    assert engine.runs() == ()
    assert (await engine.run(Pipeline("p", [trio.sleep]), 1)).status == "ok"


async def test_program_exceptions_come_in_a_group_out_of_branches(autojump_clock, engine):
    """Out of a parallel stage they come in a group, as from any nursery; the siblings are cancelled."""

    async def stop(_):
        raise KeyboardInterrupt

    with pytest.RaisesGroup(KeyboardInterrupt):
        await engine.run(Pipeline("p", parallel(stop, forever)))
    assert engine.runs() == ()


async def test_sibling_failure_is_blamed_on_the_sibling(autojump_clock, engine):
    """Siblings of a failed node are `cancelled`, with a blame that names who failed."""

    async def fail(_):
        await trio.sleep(1)
        raise ValueError

    result = await engine.run(Pipeline("p", parallel(fail, forever)))
    blame = result.node("forever").blame
    assert (result.status, result.blame.name) == ("failed", "fail")
    assert (blame.kind, blame.by) == ("sibling_failed", "node 'fail'")


async def test_siblings_are_cancelled_after_the_failing_parts_cleanup(autojump_clock, engine):
    """As in a nursery, siblings go on until the failing part has cleaned up."""

    async def fail(_):
        try:
            raise ValueError
        finally:
            with cleanup():
                await trio.sleep(0.5)

    async def sibling(_):
        await trio.sleep(0.4)
        return "in time"

    result = await engine.run(Pipeline("p", parallel(fail, sibling)))
    assert result.node("sibling").value == "in time"


async def test_failing_stage_cancels_its_sibling_stages(autojump_clock, engine):
    """Among parallel stages, a failed stage cancels the others, nodes included."""

    async def fail(_):
        await trio.sleep(1)
        raise ValueError

    stages = parallel(Stage("a", [fail]), Stage("b", [forever]))
    result = await engine.run(Pipeline("p", stages))
    assert result.stages["b"].status == "cancelled"
    assert result.node("forever").blame.by == "stage 'a'"


async def test_the_end_of_a_node_is_read_with_no_checkpoint_between(autojump_clock, engine):
    """A node that returned in time is ok, although the limit passes before anybody else has a turn."""
    returned = trio.Event()

    async def work(_):
        returned.set()
        return "in time"

    async def jump():
        await returned.wait()
        autojump_clock.jump(5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(jump)
        await trio.testing.wait_all_tasks_blocked()
        told = []
        result = await engine.run(Pipeline("p", [Node(work, timeout=1, on_cleanup=told.append)]))
    assert (result.status, told[0].elapsed) == ("ok", 0)


def test_the_engine_asks_trio_for_no_timeout():
    """`fail_after` and `TooSlowError` cannot say whose limit it was: the engine never uses them."""
    root = pathlib.Path(graceline.__file__).parent
    for module in [
        *root.glob("engine/*.py"),
        *root.glob("work/*.py"),
        *root.glob("deadlines/*.py"),
    ]:
        names = {
            getattr(node, "attr", getattr(node, "id", None))
            for node in ast.walk(ast.parse(module.read_text("utf-8")))
        }
        assert not names & {"fail_after", "fail_at", "TooSlowError", "cancelled_caught"} - (
            {"cancelled_caught"} if module.name == "cleanup.py" else set()
        ), module.name


@pytest.mark.parametrize("level", ["node", "stage", "pipeline"])
@pytest.mark.parametrize("source", ["timeout", "metadata"])
async def test_a_blame_says_where_its_limit_was_stated(autojump_clock, engine, level, source):
    """The source of a limit is the level that states it, or `metadata` on any level."""
    stated = {"timeout": 2} if source == "timeout" else {"metadata": {"timeout": 2}}
    options = {"node": {}, "stage": {}, "pipeline": {}, level: stated}
    stage = Stage("s", [Node(forever, **options["node"])], **options["stage"])
    result = await engine.run(Pipeline("p", [stage], **options["pipeline"]))
    blame = result.blame
    assert blame.source == (level if source == "timeout" else "metadata")
    assert (blame.level, blame.limit, blame.elapsed) == (level, 2, pytest.approx(2))


async def test_the_blame_of_a_run_is_that_of_the_outcome_that_ended_it(autojump_clock, engine):
    """What passes or fails after the part that ended the run does not take over its blame."""

    async def fail_while_unwinding(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(1)
            raise ValueError

    nodes = parallel(Node(forever, timeout=1), fail_while_unwinding)
    result = await engine.run(Pipeline("p", nodes, timeout=1.5, grace=9))
    assert (result.blame.name, result.blame) == ("forever", result.node("forever").blame)
    assert result.node("fail_while_unwinding").blame.kind == "sibling_failed"
    assert result.elapsed == pytest.approx(2)


@pytest.mark.parametrize("ends", ["limit", "user", "sibling"])
@pytest.mark.parametrize("how", ["raise", "raise from", "group", "leaf"])
async def test_an_error_while_our_cancel_unwinds_is_attached(autojump_clock, engine, ends, how):
    """Whatever of ours cut a node, an error on its way out is secondary, however it was raised."""

    async def work(_):
        error = ValueError("on the way out")
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            if how == "leaf":
                with pytest.raises(ValueError):
                    raise error  # noqa: B904 - it gets its context here
            if how == "raise":
                raise error  # noqa: B904 - without a cause, the context alone tells
            seen = cancelled
            if how == "group":
                raise BaseExceptionGroup("both", [error, cancelled]) from None
        if how == "raise from":
            raise error from seen
        raise ExceptionGroup("leaf", [error])

    async def sibling(_):
        await trio.sleep(1)
        if ends == "sibling":
            raise KeyError

    limit = 1 if ends == "limit" else None
    run = engine.start(Pipeline("p", parallel(Node(work, timeout=limit), sibling)))
    await trio.sleep(0.5)
    if ends == "user":
        run.cancel("stop")
    outcome = (await run.wait()).node("work")
    assert outcome.status == ("timed_out" if ends == "limit" else "cancelled")
    (error,) = outcome.secondary
    error = error.exceptions[0] if how in ("group", "leaf") else error
    assert (str(error), outcome.error) == ("on the way out", None)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize(
    "place", ["node", "unwinding", "group", "handler", "when", "fallback", "item"]
)
async def test_program_exceptions_are_no_result_wherever_they_come_from(
    autojump_clock, engine, kind, place
):
    """What is for the program leaves the run from any place, and the engine stays usable."""

    def stop(_):
        raise kind

    async def work(_):
        if place == "unwinding":
            try:
                await trio.sleep_forever()
            finally:
                raise kind
        if place == "group":
            raise BaseExceptionGroup("group", [ValueError(), kind()])
        if place in ("node", "item"):
            raise kind
        if place == "fallback":
            raise ValueError

    options = {
        "handler": {"on_cleanup": stop},
        "when": {"when": stop},
        "fallback": {"critical": False, "fallback": stop},
    }.get(place, {})
    node = each(work) if place == "item" else Node(work, timeout=1, **options)
    with pytest.raises(BaseException) as caught:
        await engine.run(Pipeline("p", [node]), [1])
    error = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[-1]
    assert isinstance(error, kind)
    assert engine.runs() == ()
    assert (await engine.run(Pipeline("p", [trio.sleep]), 1)).status == "ok"
