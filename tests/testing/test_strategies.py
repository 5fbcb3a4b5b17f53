import inspect
import logging
import math

import attrs
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from graceline import DefinitionError, Node, Pipeline, Stage, Timeouts
from graceline.deadlines.level import Level
from graceline.testing.behaviours import Behaviour, Obeys, Raises, SavesPartials, SwallowsOnce
from graceline.testing.invariants import check_invariants
from graceline.testing.latency import Bimodal, Constant, Latency, Lognormal, Pareto, Trace
from graceline.testing.load import Load, simulate_load
from graceline.testing.models import Scenario
from graceline.testing.nested import RunsNested
from graceline.testing.strategies import (
    behaviours,
    cancellations,
    cooperative_pipelines,
    latencies,
    loads,
    nodes,
    pipelines,
    scenarios,
    stages,
    timeouts,
)
from graceline.testing.world import Cancels, simulate

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=0.25)


def profile(examples, *phases):
    return settings(
        max_examples=examples,
        derandomize=True,
        print_blob=False,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=phases or (Phase.generate, Phase.shrink),
    )


@pytest.fixture(autouse=True, scope="module")
def quiet():
    logger = logging.getLogger("graceline")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(before)


def all_pipelines(pipeline):
    """A pipeline and those that run inside its nodes."""
    yield pipeline
    for stage in pipeline.stages:
        for node in stage.nodes:
            if isinstance(node.function.behaviour, RunsNested):
                yield from all_pipelines(node.function.behaviour.what)


def all_nodes(pipeline):
    return [node for p in all_pipelines(pipeline) for stage in p.stages for node in stage.nodes]


def numbers(thing):
    """Every duration in a definition, a model, a behaviour or a load."""
    if isinstance(thing, float):
        yield 0.0 if thing == math.inf else thing
    elif isinstance(thing, list | tuple):
        for entry in thing:
            yield from numbers(entry)
    elif attrs.has(type(thing)) and not inspect.isclass(thing):
        for field in attrs.fields(type(thing)):
            if field.name not in ("slow_share", "sigma", "alpha", "graph", "_calls"):
                yield from numbers(getattr(thing, field.name))


def is_round(seconds):
    return (seconds * 8).is_integer()


# -- what comes out --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "kind"),
    [
        (timeouts(), Timeouts),
        (latencies(), Latency),
        (behaviours(), Behaviour),
        (nodes(), Node),
        (stages(), Stage),
        (pipelines(), Pipeline),
        (cooperative_pipelines(), Pipeline),
        (cancellations(), Cancels),
        (loads(), Load),
        (scenarios(), Scenario),
        (scenarios(attempts=True), Scenario),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_kinds(strategy, kind):
    """Each strategy gives what it is named after, and all of its durations are round."""

    @profile(40, Phase.generate)
    @given(strategy)
    def check(drawn):
        assert isinstance(drawn, kind)
        if kind is not Scenario:
            assert all(map(is_round, numbers(drawn)))

    check()


def finds(strategy, wanted, examples=600):
    """Whether a strategy gives something of that sort soon."""
    try:
        return find(strategy, wanted, settings=profile(examples, Phase.generate)) is not None
    except NoSuchExample:
        return False


FEATURES = {
    "a sequence": lambda p: any(len(s.graph.segments[0]) > 2 for s in p.stages),
    "a parallel": lambda p: any(len(s.graph.segments) == len(s.nodes) == 3 for s in p.stages),
    "a graph": lambda p: any(len(n.after or ()) > 1 for n in all_nodes(p)),
    "parallel stages": lambda p: sum(s.after == () for s in p.stages) > 1,
    "a graph of stages": lambda p: any(len(s.after or ()) > 1 for s in p.stages),
    "each": lambda p: any(n.each for n in all_nodes(p)),
    "a limit of an item": lambda p: any(n.each and n.each.item_timeout for n in all_nodes(p)),
    "a nested run": lambda p: len(list(all_pipelines(p))) > 1,
    "equal limits of all levels": lambda p: any(
        p.stated_timeout and p.stated_timeout == s.stated_timeout == n.stated_timeout
        for s in p.stages
        for n in s.nodes
    ),
    "an expired limit": lambda p: p.stated_timeout == 0,
    "a soft node": lambda p: any(not n.critical for n in all_nodes(p)),
    "a soft stage": lambda p: any(not s.critical for s in p.stages),
    "a fallback": lambda p: any(n.fallback == [] for n in all_nodes(p)),
    "no fail-fast": lambda p: p.fail_fast is False,
    "no fail-fast in a stage": lambda p: any(s.fail_fast is False for s in p.stages),
    "strict": lambda p: p.strict and any(n.strict for n in all_nodes(p)),
    "a grace": lambda p: p.grace is not None,
    "a reserve": lambda p: any(n.reserve for n in all_nodes(p)),
    "a reserve of the whole": lambda p: p.reserve is not None,
    "a condition": lambda p: any(n.when for n in all_nodes(p)),
}


@pytest.mark.parametrize("wanted", FEATURES.values(), ids=FEATURES)
def test_pipelines_have_it_all(wanted):
    """Each thing that a definition may say occurs within six hundred pipelines."""
    assert finds(pipelines(), wanted)


def test_depth_and_loops():
    """`depth=0` has no nested runs, `depth=2` two levels of them, `loops=False` no `each()`."""
    deep = lambda p: any(len(list(all_pipelines(q))) > 1 for q in list(all_pipelines(p))[1:])
    assert finds(pipelines(depth=2), deep)
    assert not finds(pipelines(depth=1), deep, 100)
    assert not finds(pipelines(depth=0), FEATURES["a nested run"], 100)
    assert not finds(pipelines(loops=False), FEATURES["each"], 100)


@profile(60, Phase.generate)
@given(pipelines(behaviour=st.just(Raises()), latency=st.just(Constant(3.0)), depth=0))
def test_strategies_of_ones_own(pipeline):
    """Behaviours and latencies come from the strategies that are given, each name occurs once."""
    functions = [node.function for node in all_nodes(pipeline)]
    assert {function.behaviour for function in functions} == {Raises()}
    assert {function.latency for function in functions} == {Constant(3.0)}
    assert len({function.name for function in functions}) == len(functions)


@pytest.mark.parametrize(
    "wanted",
    [
        lambda c: c == Cancels(),
        lambda c: c.user_at == 0,
        lambda c: c.caller_at and c.user_at,
        lambda c: c.caller_deadline,
        lambda c: c.drain_at,
    ],
)
def test_cancels(wanted):
    """Cancels come from everywhere, also at once, also at the start, and sometimes not at all."""
    assert finds(cancellations(), wanted)


def test_cancels_from_inside_only():
    """Callers and drains can be left out."""
    assert not finds(cancellations(caller=False), lambda c: c.caller_gone_at is not None, 200)
    assert not finds(cancellations(drain=False), lambda c: c.drain_at is not None, 200)


@pytest.mark.parametrize("kind", [Constant, Bimodal, Trace, Lognormal, Pareto])
def test_latencies(kind):
    """All models occur; those whose samples are not round only where they are asked for."""
    wanted = lambda model: isinstance(model, kind)
    assert finds(latencies(smooth=True), wanted)
    assert finds(latencies(), wanted, 200) == (kind in (Constant, Bimodal, Trace))


@profile(60, Phase.generate)
@given(behaviours(only=(Raises, SwallowsOnce)))
def test_only_some_behaviours(behaviour):
    """`only=` leaves nothing else."""
    assert isinstance(behaviour, Raises | SwallowsOnce)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: behaviours(only=()), "at least one of Obeys, Raises"),
        (lambda: behaviours(only=(RunsNested,)), "RunsNested.* is none of Obeys, Raises"),
        (lambda: behaviours(only=(Obeys(),)), r"Obeys\(\) is none of"),
        (lambda: loads(most=0), "at least 1, not 0"),
    ],
)
def test_bad_input(make, match):
    """A bad argument is refused at once, not when the first example is drawn."""
    with pytest.raises(DefinitionError, match=match):
        make()


# -- what runs -------------------------------------------------------------------------------------


@profile(60, Phase.generate)
@given(pipelines(), cancellations(), timeouts())
def test_pipelines_run(pipeline, cancels, defaults):
    """What is drawn runs to an end, and no body fails but by what is modelled."""
    recording = simulate(pipeline, [1, 2], cancels=cancels, timeouts=defaults)
    assert recording.raised or recording.result is not None
    for stage in () if recording.result is None else recording.result.stages.values():
        for outcome in stage.nodes.values():
            ours = ("graceline.testing.models", "graceline.errors")
            assert outcome.error is None or type(outcome.error).__module__ in ours


@profile(60, Phase.generate)
@given(cooperative_pipelines(), cancellations(caller=False), timeouts())
def test_cooperative_pipelines_keep_all_promises(pipeline, cancels, defaults):
    """Runs of pipelines that obey their cancels keep every invariant."""
    recording = simulate(pipeline, [1, 2], cancels=cancels, timeouts=defaults)
    check_invariants(recording.result, recording.timeline)


@profile(40, Phase.generate)
@given(loads())
def test_loads_run(load):
    """A load gives one result for each arrival, and leaves the engine whole."""
    runs = simulate_load(load, [1, 2], timeouts=NO_LIMITS)
    assert [run.pipeline for run in runs] == [arrival[1] for arrival in load.arrivals]
    assert all(run.result is not None for run in runs)


def test_loads_are_heavy():
    """Some loads queue runs, some overfill the queue, and some are cancelled in it."""

    def statuses(load):
        return [str(run.result.status) for run in simulate_load(load, [1], timeouts=NO_LIMITS)]

    def queued(load):
        return any(run.result.queued for run in simulate_load(load, [1], timeouts=NO_LIMITS))

    assert finds(loads(), queued, 100)
    assert finds(loads(), lambda load: "rejected" in statuses(load), 100)
    assert finds(loads(), lambda load: "cancelled" in statuses(load), 100)


# -- how it shrinks --------------------------------------------------------------------------------


def facts(pipeline):
    """What a run came to, without its bug or with it."""
    result = simulate(pipeline, [1], timeouts=NO_LIMITS).result
    blame = result.blame and (result.blame.level, result.blame.name)
    return (str(result.status), blame, result.elapsed, result.degraded)


def innermost_of_equals(self, at):
    """Bug 1: of two equal limits the inner one is blamed."""
    level, found = self, None
    while level is not None:
        if level.own() <= at and (found is None or level.own() < found.own()):
            found = level
        level = level.parent
    return found


def grace_for_each_block(self, now):
    """Bug 2: every cleanup block gets a grace of its own."""
    return now + self.grace


def hard_without_parent(self):
    """Bug 3: a level's cleanup is not cut where that of the level above is."""
    return min(min(self.fired(), self.foreign_at) + self.grace, self.forced_at)


BUGS = {
    "innermost": ("cause", innermost_of_equals, pipelines(depth=0), 3, 2),
    "stacked graces": ("cleanup_ends", grace_for_each_block, pipelines(depth=0), 3, 2),
    "unbounded child": ("hard", hard_without_parent, pipelines(depth=0), 3, 3),
}


@pytest.mark.parametrize(
    ("method", "bug", "drawn", "most_nodes", "most_limits"), BUGS.values(), ids=BUGS
)
def test_planted_bugs_shrink(method, bug, drawn, most_nodes, most_limits):
    """The failing example of a planted bug ends with at most three nodes, few limits and small round numbers."""

    def shows_it(pipeline):
        healthy = facts(pipeline)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Level, method, bug)
            return facts(pipeline) != healthy

    smallest = find(drawn, shows_it, settings=profile(1000))
    assert len(all_nodes(smallest)) <= most_nodes
    steps = [*smallest.stages, *all_nodes(smallest)]
    parts = [smallest, *steps]
    stated = [
        value
        for part in parts
        for value in (part.timeout, part.grace, part.reserve)
        if value is not None
    ]
    assert len(stated) <= most_limits
    assert all(is_round(seconds) and seconds <= 2 for seconds in numbers(smallest))
    assert {part.strict for part in parts} == {None}
    assert all(step.critical for step in steps)
    assert not any(node.each or node.when for node in all_nodes(smallest))


def test_degraded_is_forgotten():
    """A bug outside of the engine shrinks as well: two nodes, one of them soft, and no limits."""

    def forgetful(pipeline):
        """Runs a pipeline, and forgets what was degraded behind another node."""
        result = simulate(pipeline, [1], timeouts=NO_LIMITS).result
        first = pipeline.stages[0].nodes[0].name
        return result, tuple(name for name in result.degraded if name == first)

    def shows_it(pipeline):
        result, told = forgetful(pipeline)
        return told != result.degraded

    smallest = find(
        pipelines(behaviour=behaviours(only=(Obeys, Raises, SavesPartials))),
        shows_it,
        settings=profile(1000),
    )
    assert len(all_nodes(smallest)) <= 2
    assert [n.critical for n in all_nodes(smallest)].count(False) <= 1
    assert all(is_round(seconds) and seconds <= 1 for seconds in numbers(smallest))


def test_reports_can_be_read():
    """A falsifying example is shown as the calls that make it, with nothing that is not stated."""

    @profile(200)
    @given(pipelines(depth=0))
    def fails(pipeline):
        assert simulate(pipeline, [1], timeouts=NO_LIMITS).result.status != "failed"

    with pytest.raises(AssertionError) as caught:
        fails()
    shown = "".join("\n".join(caught.value.__notes__).split())
    assert "Pipeline('p1',[Stage('s2',[Node(modelled(Constant(0.125" in shown
    assert "Raises(" in shown
    assert "None" not in shown
    assert len(shown) < 300
