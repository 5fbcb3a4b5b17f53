import itertools
import math

import pytest
import trio

from graceline import (
    DefinitionError,
    GracelineError,
    Node,
    Pipeline,
    Retry,
    Timeouts,
    open_engine,
)
from graceline.testing import ModelError, run_virtual
from graceline.testing.behaviours import (
    AtDeadline,
    Behaviour,
    ModelledFunction,
    Obeys,
    OwnScope,
    OwnShield,
    Raises,
    RaisesInCleanup,
    SavesPartials,
    SlowCleanup,
    SpawnsNursery,
    SwallowsLoop,
    SwallowsOnce,
    SyncBurst,
    modelled,
)
from graceline.testing.latency import Constant, Trace
from graceline.testing.nested import RunsNested, running_on
from graceline.testing.world import simulate

ALL = [
    Obeys(),
    SwallowsOnce(0.5),
    SwallowsLoop(),
    OwnShield(),
    SyncBurst(0.5),
    Raises(),
    RaisesInCleanup(),
    SlowCleanup(0.5),
    SpawnsNursery(),
    OwnScope(0.5),
    AtDeadline(),
    SavesPartials(0.25),
]


def run(behaviour, latency=2.0, *, timeout=None, cancel_at=None, grace=1.0):
    """One run of one node in virtual time; gives the node's outcome and the run's length."""

    async def play():
        async with open_engine(timeouts=Timeouts(node=None, pipeline=None, grace=grace)) as engine:
            node = Node(modelled(latency, behaviour), name="n", timeout=timeout)
            started = engine.start(Pipeline("p", [node]), "value")
            if cancel_at is not None:
                await trio.sleep(cancel_at)
                started.cancel()
            with running_on(engine):
                result = await started.wait()
            return result.node("n")

    return run_virtual(play)


def seen(outcome):
    return (str(outcome.status), outcome.value, outcome.elapsed)


@pytest.mark.parametrize("behaviour", ALL, ids=repr)
def test_all_are_behaviours(behaviour):
    """Each follows the protocol, compares by value, and has a repr that makes it again."""
    assert isinstance(behaviour, Behaviour)
    assert eval(repr(behaviour)) == behaviour  # noqa: S307 - our own text


UNLIMITED = [
    (Obeys(), ("ok", "value", 2.0)),
    (SwallowsOnce(0.5), ("ok", "value", 2.0)),
    (SwallowsLoop(), ("ok", "value", 2.0)),
    (OwnShield(), ("ok", "value", 2.0)),
    (SyncBurst(0.5), ("ok", "value", 2.5)),
    (Raises(), ("failed", None, 2.0)),
    (RaisesInCleanup(), ("failed", None, 2.0)),
    (SlowCleanup(0.5, 0.25), ("ok", "value", 2.75)),
    (SpawnsNursery(3), ("ok", "value", 2.0)),
    (OwnScope(0.5), ("ok", "value", 0.5)),
    (OwnScope(5), ("ok", "value", 2.0)),
    (AtDeadline(), ("ok", "value", 2.0)),
    (SavesPartials(0.75), ("ok", "value", 2.0)),
]


@pytest.mark.parametrize(("behaviour", "expected"), UNLIMITED, ids=repr)
def test_without_a_limit(behaviour, expected):
    """Where nothing cancels it, a behaviour takes its latency, and what it adds itself."""
    assert seen(run(behaviour)) == expected


LIMITED = [
    (Obeys(), ("timed_out", None, 1.0)),
    (SwallowsOnce(0.5), ("late", "value", 1.5)),
    (SwallowsOnce(), ("late", "value", 1.0)),
    (SwallowsLoop(3), ("timed_out", None, 1.0)),
    (OwnShield(), ("late", "value", 2.0)),
    (SyncBurst(1.5), ("timed_out", None, 1.5)),
    (Raises(), ("timed_out", None, 1.0)),
    (RaisesInCleanup(), ("timed_out", None, 1.0)),
    (SlowCleanup(0.5, 0.25), ("timed_out", None, 1.75)),
    (SlowCleanup(0.75, 0.75), ("timed_out", None, 2.0)),
    (SpawnsNursery(3), ("timed_out", None, 1.0)),
    (OwnScope(0.5), ("ok", "value", 0.5)),
    (OwnScope(1.5), ("timed_out", None, 1.0)),
    (AtDeadline(), ("late", "value", 1.0)),
    (SavesPartials(0.25), ("timed_out", None, 1.0)),
]


@pytest.mark.parametrize(("behaviour", "expected"), LIMITED, ids=repr)
def test_cut_by_a_limit(behaviour, expected):
    """Cut after a second, a behaviour does what its name says."""
    assert seen(run(behaviour, timeout=1)) == expected


def test_at_the_deadline_obeys_other_cancels():
    """What returns at its deadline ends at once if somebody cancels it before."""
    assert seen(run(AtDeadline(), timeout=1, cancel_at=0.5)) == ("cancelled", None, 0.5)


def test_at_the_deadline_is_exact():
    """It returns in the instant of the deadline, whatever its latency: late by nothing."""
    outcome = run(AtDeadline(), latency=0.25, timeout=1)
    assert (outcome.status, outcome.overrun, outcome.elapsed) == ("late", 0.0, 1.0)


def test_partials():
    """The last partial value says how many distances had passed when it was cut."""
    assert run(SavesPartials(0.375), timeout=1).partial == 2
    assert run(SavesPartials(0.375)).partial is None


def test_raises_inside_a_cancel():
    """What a cleanup raises while it is cancelled goes along with the timeout."""
    outcome = run(RaisesInCleanup("broken"), timeout=1)
    assert [str(error) for error in outcome.secondary] == ["broken"]


def test_a_loop_swallows_as_often_as_it_says():
    """The cancels of that many checkpoints are swallowed, and the next one passes."""

    async def steps(behaviour):
        class Counts(trio.abc.Instrument):
            steps = 0

            def before_task_step(self, task):
                self.steps += task.name == "counted"

        counts = Counts()
        trio.lowlevel.add_instrument(counts)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(behaviour.run, math.inf, None, name="counted")
            nursery.cancel_scope.cancel()
        return counts.steps

    plain = run_virtual(steps, Obeys())
    assert [run_virtual(steps, SwallowsLoop(n)) - plain for n in (1, 2, 5)] == [1, 2, 5]


def test_a_burst_has_no_checkpoint():
    """A burst moves the clock while nobody else gets a turn."""

    async def play():
        told = []

        async def other():
            await trio.sleep(0.25)
            told.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await trio.testing.wait_all_tasks_blocked()
            await SyncBurst(1).run(0.5, None)
        return told

    assert run_virtual(play) == [1.0]


def test_a_burst_needs_virtual_time():
    """On the real clock a burst is an error that says what to use."""
    with pytest.raises(GracelineError, match=r"SyncBurst\(burst=1.0\) works in virtual time"):
        trio.run(SyncBurst(1).run, 0.0, None)


# -- modelled functions ----------------------------------------------------------------------------


def test_a_modelled_function():
    """It is an async function of one value, which it returns, and it shows what it is made of."""
    function = modelled("250ms", Raises("no"), seed=3, name="fetch")
    assert (function.latency, function.behaviour, function.seed) == (
        Constant(0.25),
        Raises("no"),
        3,
    )
    assert function.__name__ == "fetch"
    assert Node(function).name == "fetch"
    assert Node(function).runs_on == "coroutine"
    assert modelled(1).__name__ == "modelled"
    assert run_virtual(modelled(1), "value") == "value"


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (modelled(0.25), "modelled(0.25)"),
        (modelled(Trace([1])), "modelled(Trace(durations=(1.0,)))"),
        (
            modelled(1, Raises(), seed=2, name="n"),
            "modelled(1.0, Raises(message='modelled'), seed=2, name='n')",
        ),
    ],
)
def test_repr(function, text):
    """The repr is the call that makes it, without what is as by default."""
    assert repr(function) == text
    assert repr(eval(text)) == text  # noqa: S307 - our own text


def lengths(function, calls=8):
    async def play():
        ends = [0.0]
        for _ in range(calls):
            await function(None)
            ends.append(trio.current_time())
        return [after - before for before, after in itertools.pairwise(ends)]

    return run_virtual(play)


SPREAD = Trace([2.0**-n for n in range(8)])


def test_replays():
    """Calls differ from each other, and each virtual world replays them, the same function too."""
    function = modelled(SPREAD, seed=1, name="n")
    first = lengths(function)
    assert len(set(first)) > 2
    assert lengths(function) == first == lengths(modelled(SPREAD, seed=1, name="n"))
    assert [function.sample(call) for call in range(8)] == first
    assert function.first() == first[0]


def test_seeds_and_names_differ():
    """Another seed or another name gives other latencies."""
    first = lengths(modelled(SPREAD, seed=1, name="n"))
    assert lengths(modelled(SPREAD, seed=2, name="n")) != first
    assert lengths(modelled(SPREAD, seed=1, name="m")) != first


# -- runs inside nodes -----------------------------------------------------------------------------


def nest(inner, told=True):
    async def play():
        async with open_engine(timeouts=Timeouts.none()) as engine:
            pipeline = Pipeline("outer", [Node(modelled(1, RunsNested(inner)), name="n")])
            if not told:
                return await engine.run(pipeline, "value")
            with running_on(engine):
                return await engine.run(pipeline, "value")

    return run_virtual(play)


def test_a_nested_run():
    """After its latency the node runs the pipeline on the same engine, and returns its value."""
    inner = Pipeline("inner", [Node(modelled(0.5), name="m")])
    result = nest(inner)
    assert (result.status, result.value, result.elapsed) == ("ok", "value", 1.5)


def test_a_nested_run_that_fails():
    """What the nested run came to is an error of the node."""
    inner = Pipeline("inner", [Node(modelled(5), name="m", timeout=0.5)])
    outcome = nest(inner).node("n")
    assert (outcome.status, outcome.elapsed) == ("failed", 1.5)
    assert "'m' exceeded its limit" in str(outcome.error)


def test_a_nested_function():
    """An async function of the input will do, and needs to know no engine."""

    async def twice(value):
        await trio.sleep(0.5)
        return value * 2

    result = nest(twice, told=False)
    assert (result.value, result.elapsed) == ("valuevalue", 1.5)


def test_an_unknown_engine():
    """Where nobody said which engine this is, the node fails with a message that says how to."""
    inner = Pipeline("inner", [Node(modelled(0.5), name="m")])
    error = nest(inner, told=False).node("n").error
    assert isinstance(error, GracelineError)
    assert "pipeline 'inner'" in str(error)
    assert "with running_on(engine)" in str(error)


def test_running_on_ends():
    """After the block the engine is not known any more."""

    async def play():
        async with open_engine() as engine:
            with running_on(engine):
                pass
            with pytest.raises(GracelineError, match="engine is not known"):
                await RunsNested(Pipeline("p", [modelled(1)])).run(0, None)

    run_virtual(play)


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: SwallowsOnce(-1), r"SwallowsOnce\(tail=\).*negative"),
        (lambda: SwallowsLoop(0), r"SwallowsLoop\(checkpoints=\).*at least 1, not 0"),
        (lambda: SwallowsLoop(True), r"SwallowsLoop\(checkpoints=\).*not True"),
        (lambda: SyncBurst("1"), r"SyncBurst\(burst=\).*no unit"),
        (SlowCleanup, "at least one block"),
        (lambda: SlowCleanup(1, -1), r"SlowCleanup\(\).*negative"),
        (lambda: SpawnsNursery(1.5), r"SpawnsNursery\(tasks=\).*not 1.5"),
        (lambda: OwnScope(math.nan), r"OwnScope\(after=\).*NaN"),
        (lambda: SavesPartials(0), r"SavesPartials\(every=\) must be above 0"),
        (lambda: RunsNested(lambda value: value), r"RunsNested\(\) takes a pipeline or an async"),
        (lambda: RunsNested(3), r"RunsNested\(\): 3 is not a function"),
        (lambda: modelled(1, Obeys), "no behaviour"),
        (lambda: modelled(1, None), "None is no behaviour"),
        (lambda: modelled(None), "latency: None is neither"),
    ],
)
def test_bad_input(make, match):
    """A bad argument is refused by its name, when it is written down."""
    with pytest.raises(DefinitionError, match=match):
        make()


def test_model_errors_are_recognised():
    """`Raises` raises the error that the models of the oracle raise."""
    with pytest.raises(ModelError, match=r"^boom$"):
        run_virtual(ModelledFunction(0, Raises("boom")), None)


def test_raises_in_its_first_attempts():
    """`Raises(attempts=)` raises in that many attempts and then works; its repr says so."""
    behaviour = Raises(attempts=2)
    node = Node(modelled(0.5, behaviour), name="n", retry=Retry(attempts=3, backoff=0))
    result = simulate(Pipeline("p", [node], timeout=9), 7).result
    assert (result.value, result.node("n").attempts, result.elapsed) == (7, 3, 1.5)
    assert repr(behaviour) == "Raises(message='modelled', attempts=2)"
    with pytest.raises(DefinitionError, match="whole number of at least 1"):
        Raises(attempts=0)
