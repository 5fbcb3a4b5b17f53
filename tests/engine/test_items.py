"""A node that runs over a list: one level per item, in order, within the node's own limit."""

import pytest
import trio
import trio.testing

from graceline import (
    Breaker,
    CircuitOpenError,
    GracelineError,
    Node,
    Pipeline,
    cleanup,
    each,
    save_partial,
)


async def forever(_):
    await trio.sleep_forever()


async def add(value):
    await trio.lowlevel.checkpoint()
    return value + 1


def gives(value, after=0.0):
    async def give(_):
        await trio.sleep(after)
        return value

    return give


async def test_stray_item_cancel_is_a_timeout(autojump_clock, engine):
    """The same holds for an item: its own limit is blamed, and no `Cancelled` escapes."""

    async def slow(_):
        with trio.move_on_after(1):
            try:
                await trio.sleep_forever()
            finally:
                with cleanup():
                    await trio.sleep(2)

    result = await engine.run(Pipeline("p", [each(slow, item_timeout=2)], grace=5), [1])
    assert (result.status, result.blame.level) == ("timed_out", "item")


async def test_a_list_made_of_the_input(autojump_clock, engine):
    """With `items=` the list is what a function makes of the input; if it fails, so does the node."""
    node = each(add, items=lambda value: value["rows"])
    result = await engine.run(Pipeline("p", [node]), {"rows": [1, 2]})
    assert result.value == [2, 3]
    result = await engine.run(Pipeline("p", [node]), {"rows": "12"})
    assert "what items= gives is of type str" in str(result.node("add").error)
    result = await engine.run(Pipeline("p", [node]), {})
    assert (result.status, type(result.node("add").error)) == ("failed", KeyError)


async def test_item_limit_blames_the_item(autojump_clock, engine):
    """An item that exceeds `item_timeout` is blamed by its index; finished items are kept."""

    async def work(seconds):
        await trio.sleep(seconds)
        return seconds

    node = each(work, item_timeout=2, max_parallel=2)
    result = await engine.run(Pipeline("p", [node]), [1, 1.5, 9, 0.5])
    assert (result.status, result.blame.level, result.blame.name) == (
        "timed_out",
        "item",
        "work[2]",
    )
    assert result.partial["work"] == [1, 1.5, 0.5]


async def test_items_and_their_node_share_one_grace_after_a_callers_cancel(
    autojump_clock, engine, cancelled_after
):
    """What an item noticed of the caller's cancel counts for the node and its handlers."""

    async def work(_):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.5)

    scope = await cancelled_after(
        1, engine.run, Pipeline("p", [each(work, on_cleanup=forever)]), [1, 2]
    )
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(2)


async def test_item_limit_of_zero_starts_nothing(autojump_clock, engine):
    """`item_timeout=0` is expired before the item's function is called."""
    started = []

    async def work(item):
        started.append(item)

    result = await engine.run(Pipeline("p", [each(work, item_timeout=0)]), [1, 2])
    assert (result.status, result.blame.level, started) == ("timed_out", "item", [])


async def test_each_keeps_the_order_and_bounds_the_parallelism(autojump_clock, engine):
    """`each` gives results in the order of items, with at most `max_parallel` at once."""
    alive = 0
    peak = []

    async def work(item):
        nonlocal alive
        alive += 1
        peak.append(alive)
        await trio.sleep(10 - item)
        alive -= 1
        return item * 2

    result = await engine.run(Pipeline("p", [each(work, max_parallel=3)]), range(7))
    assert result.value == [0, 2, 4, 6, 8, 10, 12]
    assert max(peak) == 3


async def test_each_over_nothing(autojump_clock, engine):
    """An empty list gives an empty list."""
    assert (await engine.run(Pipeline("p", [each(add)]), [])).value == []


@pytest.mark.parametrize("value", [5, "text", {"a": 1}, None])
async def test_each_needs_a_list(autojump_clock, engine, value):
    """An input that is no list of items is a failure that says what came instead."""
    result = await engine.run(Pipeline("p", [each(add)]), value)
    assert result.status == "failed"
    assert type(value).__name__ in str(result.error)


async def test_each_is_cut_as_a_whole(autojump_clock, engine):
    """The node's own limit bounds the loop; what was finished is its partial value."""
    node = each(gives("x", after=1), max_parallel=1, timeout=2.5)
    result = await engine.run(Pipeline("p", [node]), range(5))
    assert (result.blame.level, result.partial["give"]) == ("node", ["x", "x"])


async def test_failing_item_fails_the_node(autojump_clock, engine):
    """The first item that raises ends the loop; the error is the node's."""

    async def work(item):
        await trio.sleep(item)
        if item == 2:
            raise ValueError("two")
        return item

    result = await engine.run(Pipeline("p", [each(work)]), [1, 2, 3])
    assert (result.status, str(result.error)) == ("failed", "two")
    assert result.partial["work"] == [1]


async def test_save_partial_in_an_item_is_refused(autojump_clock, engine):
    """In an item of `each` finished items are the partial value, and `save_partial` says so."""

    async def work(_):
        save_partial(1)

    result = await engine.run(Pipeline("p", [each(work)]), [1])
    assert isinstance(result.error, GracelineError)


async def test_finished_items_are_partial_in_the_order_of_items(autojump_clock, engine):
    """The partial value of a cut loop keeps the order of items, not that of finishing."""

    async def work(seconds):
        await trio.sleep(seconds)
        return seconds

    result = await engine.run(Pipeline("p", [each(work, timeout=5)]), [3, 9, 1, 2])
    assert result.partial["work"] == [3, 1, 2]


async def test_no_item_starts_after_one_has_failed(autojump_clock, engine):
    """Once an item has failed, no worker takes another one."""
    started = []

    async def work(item):
        started.append(item)
        if item == 0:
            raise ValueError
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        return item

    result = await engine.run(Pipeline("p", [each(work, max_parallel=2)]), range(10))
    assert result.status == "failed"
    assert sorted(started) in ([0], [0, 1])


async def test_burst_of_an_item_past_the_limit_starts_no_other(autojump_clock, engine):
    """An item that blocks past the node's limit is the last one."""
    started = []

    async def burst(item):
        started.append(item)
        autojump_clock.jump(2)

    node = each(burst, max_parallel=1, timeout=1)
    result = await engine.run(Pipeline("p", [node]), [1, 2, 3])
    assert (result.status, result.blame.level, started) == ("timed_out", "node", [1])


@pytest.mark.parametrize("option", ["timeout", "item_timeout"])
async def test_an_error_while_an_item_unwinds_is_attached(autojump_clock, engine, option):
    """What an item raises while it unwinds from its own limit is attached, as for the node's limit."""

    async def breaks(_):
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while unwinding")

    result = await engine.run(Pipeline("p", [each(breaks, **{option: 0.1})]), [1])
    assert result.status == "timed_out"
    (attached,) = result.node("breaks").secondary
    assert attached.exceptions[0].args == ("while unwinding",) if option == "timeout" else attached


async def test_items_that_fail_together_are_all_kept(autojump_clock, engine):
    """The first failure is the node's; those of other items, and of their unwinding, are beside it."""

    async def work(item):
        try:
            await trio.sleep(1 if item == "bad" else 60)
        except trio.Cancelled:
            raise RuntimeError(f"unwinding {item}") from None
        raise ValueError(item)

    node = each(work, max_parallel=3)
    result = await engine.run(Pipeline("p", [node]), ["bad", "a", "b"])
    outcome = result.node("work")
    assert result.status == "failed"
    messages = {str(error) for error in (outcome.error, *outcome.secondary)}
    assert messages == {"bad", "unwinding a", "unwinding b"}


@pytest.mark.parametrize("other", ["deaf", "slow to clean up"])
async def test_a_failure_is_kept_if_the_node_is_cut_meanwhile(autojump_clock, engine, other):
    """What an item raised is not lost because another one outlasts the node's limit."""

    async def work(item):
        if item == "bad":
            await trio.sleep(0.5)
            raise ValueError("bad")
        try:
            if item != "deaf":
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    node = each(work, max_parallel=2, timeout=1)
    outcome = (await engine.run(Pipeline("p", [node]), ["bad", other])).node("work")
    assert "bad" in {str(error) for error in (outcome.error, *outcome.secondary)}


async def test_a_node_that_has_begun_is_not_refused(autojump_clock, engine):
    """A breaker that opens in the middle of a list fails the node, whose handlers run."""
    told = []

    async def work(item):
        if item == 3:
            raise ValueError(item)
        return item

    breaker = Breaker(consecutive=1, name="shared")
    other = Pipeline("other", [Node(work, breaker=breaker)])

    async def trips(item):
        if item == 2:
            await engine.run(other, 3)
        return item

    node = each(
        trips, name="work", max_parallel=1, breaker=breaker,
        on_cleanup=lambda outcome: told.append(str(outcome.status)),
    )  # fmt: skip
    pipeline = Pipeline("p", [node])
    outcome = (await engine.run(pipeline, [1, 2, 3])).node("work")
    assert (outcome.status, outcome.partial, told) == ("failed", [1, 2], ["failed"])
    assert isinstance(outcome.error, CircuitOpenError)
    outcome = (await engine.run(pipeline, [1])).node("work")
    assert (outcome.status, outcome.attempts, told) == ("rejected", 0, ["failed"])
