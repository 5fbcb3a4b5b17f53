import threading
from itertools import count

import pytest
import trio
from trio.testing import MockClock

from graceline import (
    DefinitionError,
    Node,
    Pipeline,
    Stage,
    Timeouts,
    choose,
    cleanup,
    each,
    parallel,
    remaining,
    save_partial,
)
from graceline.definitions import Retry
from graceline.testing.breach import InvariantError
from graceline.testing.comparisons import (
    check_clocks_agree,
    check_limits_do_not_matter,
    check_modes_agree,
    check_replay,
)
from graceline.testing.world import Cancels, simulate

NONE = Timeouts.none()
COMPARISONS = [
    check_limits_do_not_matter,
    check_clocks_agree,
    check_replay,
    check_modes_agree,
]


def works(seconds, name="work", **limits):
    async def body(value):
        await trio.sleep(seconds)
        return value

    return Node(body, name=name, **limits)


def of(*nodes, **limits):
    return Pipeline("p", [Stage("s", nodes)], **limits)


async def asks_for_the_time(value):
    await trio.sleep(0.01)
    return remaining() > 1


def counts():
    """A node that returns another number each time."""
    numbers = count()

    async def body(value):
        await trio.sleep(0.01)
        return next(numbers)

    return Node(body, name="counts")


# -- I7 ---------------------------------------------------------------------------------------


def test_raised_limits_change_nothing():
    """I7 holds for runs in which no limit fires, on every level, for items, and for the defaults."""
    items = each(works(0.02, "item"), timeout=1, item_timeout=0.5)
    pipeline = Pipeline(
        "p",
        [
            Stage("s", [works(0.01, timeout=0.2)], timeout=0.3),
            Stage("t", [items]),
        ],
        timeout=4,
    )
    assert check_limits_do_not_matter(pipeline, [1, 2]) is True
    assert check_limits_do_not_matter(of(works(0.01)), "in") is True


def test_raised_limits_may_outgrow_their_parents():
    """Neither a clamped limit nor limits that no longer fit stop the comparison."""
    tight = of(works(0.01, timeout=0.2), timeout=0.2, sum_must_fit=True)
    assert check_limits_do_not_matter(tight) is True


@pytest.mark.parametrize(
    "pipeline",
    [
        of(works(9, timeout=0.1)),
        of(works(9, timeout=0.1, critical=False)),
        of(works(9)),
    ],
)
def test_a_limit_that_fires_says_nothing_about_others(pipeline):
    """Where a limit fired, soft and default ones included, I7 has nothing to check and says so."""
    assert check_limits_do_not_matter(pipeline) is False


def test_a_limit_that_passes_during_cleanup_has_fired():
    """A handler that runs over the limit may be cut by it, so that the limit matters."""

    async def handler(outcome):
        await trio.sleep(0.5)

    assert check_limits_do_not_matter(of(works(0.1, timeout=0.2, on_cleanup=handler))) is False


def test_cancels_are_no_limits():
    """A run that a user cancels is the same with raised limits; a caller's deadline is a limit."""
    pipeline = of(works(9, timeout=20, grace=1), timeout=30)
    assert check_limits_do_not_matter(pipeline, cancels=Cancels(user_at=1)) is True
    assert check_limits_do_not_matter(pipeline, cancels=Cancels(caller_at=1)) is True
    assert check_limits_do_not_matter(pipeline, cancels=Cancels(caller_deadline=1)) is False


def test_a_node_that_asks_for_the_time_is_found():
    """Such a node is not what I7 promises, and the message says which limit matters to it."""
    pipeline = of(Node(asks_for_the_time, name="asks", timeout=0.5), timeout=60)
    with pytest.raises(InvariantError) as caught:
        check_limits_do_not_matter(pipeline)
    assert caught.value.invariant == "I7"
    text = str(caught.value)
    assert "value of the run: False as defined, True with node 'asks' of stage 's'" in text
    assert "raised 10 times" in text
    assert text.count("█ work") + text.count("▏") >= 2


@pytest.mark.parametrize("factor", [1, 0.5, float("nan")])
def test_limits_are_raised(factor):
    """A factor that does not raise is refused."""
    with pytest.raises(DefinitionError, match="factor="):
        check_limits_do_not_matter(of(works(0.1)), factor=factor)


@pytest.mark.parametrize("options", [{"retry": Retry()}, {"attempt_timeout": 1}])
def test_attempts_ask_for_the_time(options):
    """A pipeline whose attempts depend on the time that is left is refused, not compared in part."""
    message = f"node 'work' of stage 's' states {next(iter(options))}="
    with pytest.raises(DefinitionError, match=message):
        check_limits_do_not_matter(of(works(0.1, **options)))
    assert check_limits_do_not_matter(of(works(0.1, limit=1)))


def test_a_choice_asks_for_the_time():
    """Which alternative comes next depends on limits, so a choice is refused by name as well."""
    pipeline = of(choose(works(0.1), Node(abs, name="other"), name="pick"))
    with pytest.raises(DefinitionError, match=r"node 'pick' of stage 's' is a choice"):
        check_limits_do_not_matter(pipeline)


def test_a_choice_is_replayed():
    """Each simulation starts with healthy alternatives, so the same run comes out again."""

    async def fails(_):
        raise ValueError

    def pipeline():
        return of(choose(Node(fails, name="a"), works(0.1), name="pick"))

    check_replay(pipeline)
    assert simulate(pipeline()).result.node("pick").attempts == 2


def test_the_jitter_of_backoffs_is_replayed():
    """The same seed gives the same backoffs, and another one others."""

    def flaky():
        errors = [ValueError(), ValueError()]

        async def work(_):
            if errors:
                raise errors.pop()

        return of(Node(work, name="n", retry=Retry(backoff=1)))

    check_replay(flaky)
    ends = {simulate(flaky(), seed=seed, timeouts=NONE).returned_at for seed in range(3)}
    assert len(ends) == 3


def test_the_limit_of_an_item_is_raised_too():
    """A limit on items alone is a limit like others."""
    pipeline = of(each(Node(asks_for_the_time, name="asks"), item_timeout=0.5))
    with pytest.raises(InvariantError, match=r"value of the run: \[False\] as defined, \[True\]"):
        check_limits_do_not_matter(pipeline, [1], timeouts=NONE)


# -- I9 ---------------------------------------------------------------------------------------


def test_the_clocks_agree():
    """I9 holds for a run with ok, soft and skipped parts whose instants lie apart."""
    pipeline = Pipeline(
        "p",
        [
            Stage("s", [works(0.001, "quick", timeout=5), works(5, "slow", timeout=0.2)]),
            Stage("t", [works(0.001, "never")]),
        ],
    )
    check_clocks_agree(pipeline, timeouts=NONE)


def test_a_node_that_knows_its_clock_is_found():
    """What differs is told by its name, with a picture of both runs."""

    async def knows(value):
        if not isinstance(trio.lowlevel.current_clock(), MockClock):
            raise ValueError("real")

    with pytest.raises(InvariantError, match="status of the run: 'ok' in virtual time, 'failed'"):
        check_clocks_agree(of(Node(knows, name="knows")))


def test_nobody_waits_for_long():
    """A run that takes longer than one is patient is refused before it starts in real time."""
    with pytest.raises(DefinitionError, match="the run takes 1m, longer than patience=10"):
        check_clocks_agree(of(works(60)), timeouts=NONE)


# -- I10 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["enforce", "observe", "off"])
def test_runs_can_be_replayed(mode):
    """I10 holds in every mode, also where several things happen at the same instant."""
    pipeline = of(parallel(*(works(0.2, f"n{n}", timeout=0.2) for n in range(4))))
    for seed in range(4):
        check_replay(pipeline, mode=mode, seed=seed, cancels=Cancels(user_at=0.2))


def test_a_node_that_keeps_something_is_found():
    """A counter makes two runs differ; built anew for each run, it does not."""
    with pytest.raises(InvariantError, match="value of the run: 0 the first time, 1 the second"):
        check_replay(of(counts()))
    check_replay(lambda: of(counts()))


def test_instants_are_compared():
    """A run that takes longer the second time is no replay."""
    latencies = iter([0.01, 0.02])

    async def drifts(value):
        await trio.sleep(next(latencies))

    with pytest.raises(InvariantError, match=r"end of the run: 0\.01 the first time, 0\.02"):
        check_replay(of(Node(drifts, name="drifts")))


def test_values_that_cannot_be_compared_are_shown():
    """A value whose equality raises is compared by what it shows."""

    class Odd:
        def __eq__(self, other):
            raise TypeError("no")

        __hash__ = None

        def __repr__(self):
            return "odd"

    async def odd(value):
        return Odd()

    check_replay(of(Node(odd, name="odd")))


# -- I12 --------------------------------------------------------------------------------------


def test_the_modes_agree():
    """I12 holds for runs that would time out, that fail, and that are cancelled."""

    async def fails(value):
        save_partial(1)
        await trio.sleep(0.1)
        with cleanup():
            raise ValueError("no")

    check_modes_agree(of(works(9, timeout=1)), "in")
    check_modes_agree(of(Node(fails, name="fails"), works(9, timeout=1)))
    check_modes_agree(of(works(9)), cancels=Cancels(user_at=1))
    check_modes_agree(of(works(9)), cancels=Cancels(caller_at=1))


def test_a_value_that_depends_on_the_mode_is_found():
    """What differs between `observe` and `off` is told with both values."""
    with pytest.raises(InvariantError, match="value of the run: 0 in `observe`, 1 in `off`"):
        check_modes_agree(of(counts()))


# -- all of them ------------------------------------------------------------------------------


@pytest.mark.parametrize("check", COMPARISONS)
def test_what_builds_no_pipeline_is_refused(check):
    """Each takes a pipeline, or a function that builds one."""
    check(lambda: of(works(0.001)))
    with pytest.raises(DefinitionError, match="which is not a Pipeline"):
        check(lambda: 3)


@pytest.mark.parametrize("check", COMPARISONS)
@pytest.mark.parametrize("cancels", [Cancels(caller_deadline=0), Cancels(caller_at=0)])
def test_runs_without_a_result_are_compared_too(check, cancels):
    """Where the caller was gone before the submission, there is still something to agree on."""
    assert check(of(works(0.2)), cancels=cancels) is not True or cancels.caller_at == 0


@pytest.mark.parametrize("check", COMPARISONS)
def test_each_run_has_a_pipeline_of_its_own(check):
    """A function that builds the pipeline is called once per run, at least twice."""
    built = []

    def build():
        built.append(threading.get_ident())
        return of(works(0.001))

    check(build)
    assert len(built) >= 2


@pytest.mark.parametrize("budget", ["remaining", "reserve"])
@pytest.mark.parametrize("check", COMPARISONS)
def test_a_shared_budget_is_compared_as_such(check, budget):
    """Every run has the budget of the definition: a soft limit stays soft when others are raised."""
    pipeline = Pipeline("p", [Stage("s", [works(0.15, timeout=0.05)])], timeout=0.3, budget=budget)
    assert check(pipeline, timeouts=NONE) in (True, None)
