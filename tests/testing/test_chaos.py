"""Chaos: what it hits, what it leaves alone, and that it is off unless somebody asks for it."""

import logging
import math
from collections import Counter

import attrs
import pytest
import trio

from graceline import (
    DefinitionError,
    GracelineError,
    Node,
    Pipeline,
    Stage,
    Timeouts,
    choose,
    cleanup,
    each,
    open_engine,
    parallel,
    sequence,
)
from graceline.telemetry.events import FaultInjected
from graceline.testing.chaos import ChaosError, chaos
from graceline.testing.clock import virtual_time

FREE = Timeouts(node=None, pipeline=None, grace=1.0)


async def add(value):
    await trio.sleep(1)
    return value + 1


def plain(value):
    return value + 1


ONE = Pipeline("one", [add])
TWO = Pipeline("two", [Stage("s", sequence(Node(add, name="a"), Node(add, name="b")))])


class Faults:
    """A sink that keeps the faults it hears of, and wants nothing else."""

    inline = True

    def __init__(self):
        self.heard = []

    def __call__(self, event):
        if isinstance(event, FaultInjected):
            self.heard.append(event)

    def where(self):
        return [(event.pipeline, event.stage, event.node, event.fault) for event in self.heard]


class Drawn:
    """A latency that is drawn."""

    def sample(self, random):
        return random.choice([1.0, 2.0, 3.0])


class PickyError(Exception):
    """An exception that cannot be made of a message."""

    def __init__(self, *, code):
        super().__init__(f"code {code}")
        self.code = code


# -- engines ----------------------------------------------------------------------------------


@virtual_time
async def test_an_engine_misbehaves_inside_the_block_only():
    """Before and after the block everything runs as it always does, on the plans it had."""
    async with open_engine(timeouts=FREE) as engine:
        assert await engine.execute(ONE, 1) == 2
        with chaos(engine, 1) as monkey:
            assert (await engine.run(ONE, 1)).status == "failed"
        assert await engine.execute(ONE, 1) == 2
        assert (monkey.injected, monkey.calls, dict(monkey.faults)) == (1, 1, {"error": 1})


@virtual_time
async def test_making_chaos_changes_nothing_before_its_block():
    """Without `with` nothing is in force."""
    async with open_engine(timeouts=FREE) as engine:
        monkey = chaos(engine, 1)
        assert await engine.execute(ONE, 1) == 2
        assert monkey.injected == monkey.calls == 0


@virtual_time
async def test_outside_of_a_block_the_body_is_the_bare_function():
    """Chaos that is off costs nothing: what the engine awaits is the function itself."""
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 1):
            assert engine._plans.plan(ONE, stated=False).parts["one"].parts["add"].call is not add
        assert engine._plans.plan(ONE, stated=False).parts["one"].parts["add"].call is add


@virtual_time
async def test_rate_0_hits_nothing_and_counts_the_calls():
    """The share may be nothing at all."""
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 0) as monkey:
            assert await engine.execute(TWO, 1) == 3
        assert (monkey.injected, monkey.calls) == (0, 2)


@virtual_time
async def test_the_share_of_calls_that_are_hit_is_the_rate():
    """Of a thousand calls about a fifth is hit; the seed makes it the same ones each time."""
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 0.2, latency=1, seed=1) as monkey:
            await engine.run(Pipeline("p", [each(add, max_parallel=1000)]), range(1000))
        assert monkey.calls == 1000
        assert 160 <= monkey.injected <= 240


@virtual_time
async def test_latency_comes_before_the_work():
    """A call that is delayed does its work afterwards, and its limit counts both."""
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 1, latency=2.5) as monkey:
            result = await engine.run(ONE, 1)
            assert (result.status, result.value, result.elapsed) == ("ok", 2, 3.5)
            result = await engine.run(ONE, 1, timeout=2)
            assert (result.status, result.elapsed) == ("timed_out", 2)
        assert dict(monkey.faults) == {"latency": 2}


@virtual_time
async def test_a_latency_may_be_a_distribution():
    """What has `sample(random)` gives another latency for each call."""
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 1, latency=Drawn(), seed=3):
            took = {(await engine.run(ONE, 1)).elapsed for _ in range(30)}
        assert took == {2, 3, 4}


@virtual_time
async def test_a_hang_is_cut_by_the_limit_of_its_node():
    """A hung call is an ordinary wait: the limit of the node cuts it, and is blamed."""
    pipeline = Pipeline("p", [Stage("s", [Node(add, timeout=3)])])
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 1, hang=True):
            result = await engine.run(pipeline, 1)
    assert (result.status, result.elapsed, result.blame.name) == ("timed_out", 3, "add")


@pytest.mark.parametrize("options", [{"hang": True}, {"latency": 100}])
@virtual_time
async def test_calls_that_wait_obey_a_cancel(options):
    """A cancel reaches a call that hangs or is delayed at once."""
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 1, **options):
            run = engine.start(ONE, 1)
            await trio.sleep(5)
            await engine.cancel(run.run_id, "enough")
            assert trio.current_time() == 5
            assert (await run.wait()).status == "cancelled"


@pytest.mark.parametrize("options", [{"hang": True}, {"latency": 100}])
@virtual_time
async def test_the_end_of_the_block_lets_go_of_calls_that_wait(options):
    """Off means off: what still waits goes on with its work, and what comes later is not hit."""
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 1, **options) as monkey:
            run = engine.start(TWO, 1, timeout=1000)
            await trio.sleep(5)
        result = await run.wait()
    assert (result.status, result.value, result.elapsed) == ("ok", 3, 7)
    assert monkey.injected == monkey.calls == 1


@virtual_time
async def test_runs_in_flight_are_left_alone():
    """A run that was submitted before the block is not hit, whenever its nodes start."""
    async with open_engine(timeouts=FREE) as engine:
        run = engine.start(TWO, 1)
        await trio.sleep(0.5)
        with chaos(engine, 1):
            assert (await engine.run(TWO, 1)).status == "failed"
            assert (await run.wait()).value == 3


@virtual_time
async def test_a_run_inside_a_node_is_hit_like_any_other():
    """Nested runs go through the same engine, so they meet the same faults."""
    async with open_engine(timeouts=FREE) as engine:

        async def outer(value):
            return (await engine.run(ONE, value)).status

        with chaos(engine, 1, nodes="one.*"):
            assert await engine.execute(Pipeline("outer", [outer]), 1) == "failed"


@virtual_time
async def test_blocks_may_overlap():
    """Two chaoses of one engine act together, and each ends by itself, in any order."""
    async with open_engine(timeouts=FREE) as engine:
        first, second = chaos(engine, 1, latency=1), chaos(engine, 1, latency=2)
        with first:
            with second:
                assert (await engine.run(ONE, 1)).elapsed == 4
            assert (await engine.run(ONE, 1)).elapsed == 2
        third, fourth = chaos(engine, 1, latency=1), chaos(engine, 1, latency=2)
        third.__enter__()
        fourth.__enter__()
        third.__exit__(None, None, None)
        assert (await engine.run(ONE, 1)).elapsed == 3
        fourth.__exit__(None, None, None)
        assert (await engine.run(ONE, 1)).elapsed == 1


@virtual_time
async def test_an_exception_ends_the_block_too():
    """However the block is left, chaos is off afterwards."""
    async with open_engine(timeouts=FREE) as engine:
        with pytest.raises(KeyError), chaos(engine, 1):
            raise KeyError
        assert await engine.execute(ONE, 1) == 2


@virtual_time
async def test_a_block_is_had_once():
    """A second block would count on top of the first: it needs a chaos of its own."""
    async with open_engine(timeouts=FREE) as engine:
        monkey = chaos(engine, 1)
        with monkey:
            pass
        with pytest.raises(GracelineError, match=r"call chaos\(\) again"), monkey:
            pass


@virtual_time
async def test_a_node_unwinds_with_its_cleanup():
    """A fault replaces or delays work, and leaves cleanup its grace."""
    closed = []

    async def careful(value):
        try:
            await trio.sleep(5)
        finally:
            with cleanup():
                await trio.sleep(0.5)
                closed.append(trio.current_time())

    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 1, latency=1):
            await engine.run(Pipeline("p", [careful], timeout=2))
    assert closed == [2.5]


# -- which faults, which nodes ----------------------------------------------------------------


@virtual_time
async def test_the_faults_that_are_asked_for_take_turns():
    """Each fault that is enabled comes up, and no other."""
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 1, latency=1, error=OSError, hang=True, seed=1) as monkey:
            for _ in range(60):
                await engine.run(ONE, 1, timeout=10)
        assert set(monkey.faults) == {"latency", "error", "hang"}
        assert all(number >= 10 for number in monkey.faults.values())
        with chaos(engine, 1, latency=1, hang=True, seed=1) as monkey:
            for _ in range(30):
                await engine.run(ONE, 1, timeout=10)
        assert set(monkey.faults) == {"latency", "hang"}


@pytest.mark.parametrize(
    ("nodes", "hit"),
    [
        (None, ["a", "b"]),
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ("s.b", ["b"]),
        ("two.s.b", ["b"]),
        ("two.*", ["a", "b"]),
        ("[ax]", ["a"]),
        (("elsewhere.*", "b"), ["b"]),
    ],
)
@virtual_time
async def test_only_chosen_nodes_are_hit(nodes, hit):
    """Nodes are chosen by name, by stage and name, by pipeline, stage and name, or by pattern."""
    faults = Faults()
    async with open_engine(timeouts=FREE, sinks=[faults]) as engine:
        with chaos(engine, 1, latency=1, nodes=nodes):
            await engine.run(TWO, 1)
    assert [event.node for event in faults.heard] == hit


@virtual_time
async def test_a_name_is_taken_as_it_is_before_it_is_a_pattern():
    """A node whose name looks like a pattern can be named."""
    pipeline = Pipeline("p", [Node(add, name="a[0]")])
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 1, nodes="a[0]") as monkey:
            await engine.run(pipeline, 1)
        assert monkey.injected == 1


@virtual_time
async def test_every_item_is_a_call():
    """In a node that runs over a list each item may be hit."""
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 1, latency=1) as monkey:
            result = await engine.run(Pipeline("p", [each(add, max_parallel=1)]), [1, 2, 3])
    assert (result.value, result.elapsed, monkey.injected) == ([2, 3, 4], 6, 3)


@virtual_time
async def test_the_default_error_is_a_chaos_error():
    """Where no fault is named, a `ChaosError` takes the place of the work."""
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 1):
            result = await engine.run(ONE, 1)
    assert isinstance(result.error, ChaosError)
    assert "chaos" in str(result.error)


@virtual_time
async def test_a_class_of_errors_is_made_anew_for_each_call():
    """Each call raises an exception of its own, with a message that says where it comes from."""
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 1, error=ConnectionError):
            first, second = [(await engine.run(ONE, 1)).error for _ in range(2)]
    assert type(first) is ConnectionError
    assert "chaos" in str(first)
    assert first is not second


@pytest.mark.parametrize(
    "error",
    [PickyError(code=5), FileNotFoundError(2, "gone"), ExceptionGroup("two", [KeyError(1)])],
)
@virtual_time
async def test_of_an_exception_each_call_raises_a_copy(error):
    """The copy says the same; nothing of one call sticks to the next."""
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 1, error=error):
            first, second = [(await engine.run(ONE, 1)).error for _ in range(2)]
    assert type(first) is type(second) is type(error)
    assert str(first) == str(error)
    assert vars(first) == vars(error)
    assert len({id(first), id(second), id(error)}) == 3
    assert error.__traceback__ is None


# -- telemetry --------------------------------------------------------------------------------


@virtual_time
async def test_every_sink_hears_of_every_fault(caplog):
    """Faults are events of their run, also for sinks that want no trace, and log records."""
    faults = Faults()
    async with open_engine(timeouts=FREE, sinks=[faults], lane="blue") as engine:
        with chaos(engine, 1, latency=1, nodes="b"):
            await engine.run(TWO, 1, run_id="r1")
    assert faults.where() == [("two", "s", "b", "latency")]
    (event,) = faults.heard
    assert (event.run_id, event.lane, event.at) == ("r1", "blue", 1)
    (record,) = [r for r in caplog.records if getattr(r, "event_type", "") == "fault_injected"]
    assert (record.levelno, record.node, record.fault) == (logging.WARNING, "b", "latency")


@virtual_time
async def test_the_log_says_when_chaos_begins_and_ends(caplog):
    """Whoever reads the log of a service knows why it misbehaved, and how to have it again."""
    async with open_engine(timeouts=FREE, lane="blue") as engine:
        with chaos(engine, 1, seed=7):
            await engine.run(ONE, 1)
    said = [r.getMessage() for r in caplog.records if r.name == "graceline.chaos"]
    assert said == [
        "chaos begins in lane 'blue': rate 1, error, seed 7",
        "chaos ends in lane 'blue': 1 of 1 calls were hit",
    ]


# -- seeds ------------------------------------------------------------------------------------


async def _hits(make, seed):
    faults = Faults()
    pipeline = Pipeline("p", parallel(*(Node(add, name=f"n{i}") for i in range(8))))
    async with open_engine(timeouts=FREE, sinks=[faults]) as engine:
        await make(engine, pipeline, seed)
    return Counter(faults.where())


async def _by_engine(engine, pipeline, seed):
    with chaos(engine, 0.5, latency=Drawn(), hang=True, seed=seed):
        for _ in range(5):
            await engine.run(pipeline, 1, timeout=20)


async def _by_pipeline(engine, pipeline, seed):
    pipeline = chaos(pipeline, 0.5, latency=Drawn(), hang=True, seed=seed)
    for _ in range(5):
        await engine.run(pipeline, 1, timeout=20)


@pytest.mark.parametrize("make", [_by_engine, _by_pipeline])
@virtual_time
async def test_a_seed_gives_the_same_faults_again(make):
    """The same seed hits the same calls, in whatever order the tasks run; another hits others."""
    first = await _hits(make, "monday")
    assert first == await _hits(make, "monday")
    assert first != await _hits(make, "tuesday")


@virtual_time
async def test_a_drawn_seed_can_be_given_again():
    """Without a seed each chaos is another one, and says which."""
    async with open_engine(timeouts=FREE) as engine:
        one, other = chaos(engine, 0.5), chaos(engine, 0.5)
        assert one.seed != other.seed
        assert chaos(engine, 0.5, seed=one.seed).seed == one.seed
        assert f"seed {one.seed}" in repr(one)


# -- pipelines --------------------------------------------------------------------------------


@virtual_time
async def test_of_a_pipeline_a_copy_misbehaves():
    """The copy is hit wherever it runs and is told in the events; the original is as it was."""
    faults = Faults()
    spoilt = chaos(TWO, 1, latency=2, nodes="s.a")
    for _ in range(2):
        async with open_engine(timeouts=FREE, sinks=[faults]) as engine:
            assert (await engine.run(TWO, 1)).elapsed == 2
            result = await engine.run(spoilt, 1)
            assert (result.value, result.elapsed) == (3, 4)
    assert faults.where() == [("two", "s", "a", "latency")] * 2


@virtual_time
async def test_a_hung_pipeline_is_cut_by_its_limit():
    """Without a block it is a limit or a cancel that ends a hang."""
    async with open_engine(timeouts=FREE) as engine:
        result = await engine.run(chaos(ONE, 1, hang=True), 1, timeout=3)
    assert (result.status, result.elapsed) == ("timed_out", 3)


def test_everything_but_the_bodies_stays():
    """Limits, graph, conditions, fallbacks, handlers and metadata are those of the original."""

    async def other(value):
        return value

    def handler(outcome):
        pass

    pipeline = Pipeline(
        "p",
        [
            Stage(
                "s",
                [
                    Node(add, name="a", timeout=1, when=bool, metadata={"k": 1}),
                    each(other, name="b", after="a", critical=False, fallback=0, max_parallel=2),
                    Node(plain, after="b", on_cleanup=handler),
                ],
                timeout=5,
                reserve=1,
            )
        ],
        timeout=9,
        strict=True,
    )
    spoilt = chaos(pipeline, 0.5)

    def facts(part):
        kept = {field.name for field in attrs.fields(type(part))} - {"stages", "nodes", "function"}
        return {name: getattr(part, name) for name in kept}

    pairs = [(pipeline, spoilt), *zip(pipeline.stages, spoilt.stages, strict=True)]
    pairs += zip(pipeline.stages[0].nodes, spoilt.stages[0].nodes, strict=True)
    assert len(pairs) == 5
    for before, after in pairs:
        assert before is not after
        assert facts(before) == facts(after)


@pytest.mark.filterwarnings("error")
def test_a_definition_is_not_warned_of_twice():
    """A clamped limit was reported where it was written down, and is no news."""
    with pytest.warns(match="clamps"):
        pipeline = Pipeline("p", [Stage("s", [Node(add, timeout=9)])], timeout=1)
    chaos(pipeline, 0.5)


@virtual_time
async def test_chaos_adds_up():
    """A copy of a copy, and a copy in an engine with chaos, meet the faults of both."""
    twice = chaos(chaos(ONE, 1, latency=1), 1, latency=2)
    async with open_engine(timeouts=FREE) as engine:
        assert (await engine.run(twice, 1)).elapsed == 4
        with chaos(engine, 1, latency=10):
            assert (await engine.run(twice, 1)).elapsed == 14


async def test_a_body_can_be_called_without_an_engine():
    """The bodies of a copy misbehave in their own unit tests too; there is nobody to tell."""
    (node,) = chaos(ONE, 1).stages[0].nodes
    assert node.function.__name__ == "add"
    with pytest.raises(ChaosError):
        await node(1)


# -- threads ----------------------------------------------------------------------------------


THREADS = Pipeline("threads", [plain])


@pytest.mark.parametrize("spoil", ["pipeline", "engine", "both"])
async def test_faults_of_a_thread_come_before_the_thread(spoil):
    """A plain function is hit in the event loop: a limit cuts a hang, and no thread is left."""
    pipeline = THREADS if spoil == "engine" else chaos(THREADS, 1, hang=True)
    async with open_engine(timeouts=FREE) as engine:
        with chaos(engine, 0 if spoil == "pipeline" else 1, hang=True):
            result = await engine.run(pipeline, 1, timeout=0.02)
        assert result.status == "timed_out"
        assert engine.abandoned_threads == 0


async def test_after_a_latency_the_thread_does_its_work():
    """What is only delayed runs in a worker thread as before, through every layer of chaos."""
    faults = Faults()
    twice = chaos(chaos(THREADS, 1, latency=0.001), 1, latency=0.001)
    async with open_engine(timeouts=FREE, sinks=[faults]) as engine:
        with chaos(engine, 1, latency=0.001):
            assert await engine.execute(twice, 1) == 2
    assert faults.where() == [("threads", "threads", "plain", "latency")] * 3


def test_a_plain_function_can_be_called_without_an_engine():
    """Without an event loop there is nothing to wait in: the work is done."""
    (node,) = chaos(THREADS, 1).stages[0].nodes
    assert node(1) == 2


# -- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan, math.inf, True, "5%", None])
def test_a_rate_is_a_share(rate):
    """Percentages, negative shares and the like are refused."""
    with pytest.raises(DefinitionError, match="from 0 to 1"):
        chaos(ONE, rate)


@pytest.mark.parametrize("target", [None, "one", add, Node(add), Stage("s", [add])])
def test_only_engines_and_pipelines_misbehave(target):
    """Anything else is refused by its name."""
    with pytest.raises(DefinitionError, match="an open engine or a Pipeline"):
        chaos(target, 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"error": "boom"}, "an Exception or a class"),
        ({"error": KeyboardInterrupt}, "an Exception or a class"),
        ({"error": KeyboardInterrupt()}, "an Exception or a class"),
        ({"error": trio.Cancelled}, "an Exception or a class"),
        ({"error": int}, "an Exception or a class"),
        ({"error": PickyError}, "PickyError cannot be made from a message alone"),
        ({"hang": 1}, "True or False"),
        ({"hang": 5.0}, "True or False"),
        ({"latency": "fast"}, "."),
        ({"latency": -1}, "."),
        ({"seed": 1.5}, "whole number or a string"),
        ({"seed": True}, "whole number or a string"),
        ({"nodes": []}, "names no node"),
        ({"nodes": 5}, "names of nodes"),
        ({"nodes": [add]}, "names of nodes"),
        ({"nodes": " "}, "names of nodes"),
        ({"nodes": "ad"}, "did you mean 'add'"),
        ({"nodes": ["add", "z*"]}, "'z\\*'"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    """What cannot work is said at once, with what would be right."""
    with pytest.raises(DefinitionError, match=message):
        chaos(ONE, 0.5, **options)


# -- choices ----------------------------------------------------------------------------------


@virtual_time
async def test_an_alternative_is_hit_by_its_name():
    """Chaos for one alternative shows whether the next one stands in; `pick` would hit both."""
    pick = choose(Node(add, name="a"), Node(add, name="b"), name="pick")
    pipeline = Pipeline("p", [Stage("s", [pick])])
    heard = Faults()
    async with open_engine(timeouts=FREE, sinks=[heard]) as engine:
        with chaos(engine, 1, nodes="pick.a") as monkey:
            node = (await engine.run(pipeline, 1)).node("pick")
            assert (node.value, node.alternative, monkey.injected) == (2, "b", 1)
        with chaos(engine, 1, nodes="s.pick"):
            assert (await engine.run(pipeline, 1)).status == "failed"
    assert [event.node for event in heard.heard] == ["pick.a", "pick.b", "pick.a"]


def test_the_names_of_alternatives_are_known():
    """A pipeline's chaos takes them, and knows when there is no such alternative."""
    pipeline = Pipeline("p", [choose(add, plain, name="pick")])
    assert chaos(pipeline, 1, nodes=["pick.add", "pick"])
    with pytest.raises(DefinitionError, match=r"did you mean 'pick\.add'"):
        chaos(pipeline, 1, nodes="pick.ad")
