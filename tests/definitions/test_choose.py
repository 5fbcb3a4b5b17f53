"""`choose()` makes one node of several ways to do the same work, and says what does not fit."""

import math

import pytest

from graceline import (
    Adaptive,
    Breaker,
    Command,
    DefinitionError,
    DefinitionWarning,
    Node,
    Pipeline,
    Retry,
    Stage,
    choose,
    each,
    parallel,
    sequence,
)
from graceline.definitions import INHERIT

STEADY = Breaker()
TWICE = Retry(attempts=2)
LEARNED = Adaptive(initial=1, floor=0.1, ceiling=5)


async def fast(value):
    return value


async def slow(value):
    return value


def plain(value):
    return value


def test_a_choice_is_a_node():
    """It is called as its alternatives, or as one likes, and has the options of a node."""
    assert choose(fast, slow).name == "fast_or_slow"
    node = choose(fast, slow, name="quote", timeout="2s", critical=False, fallback=0)
    assert (node.name, node.timeout, node.critical, node.runs_on) == ("quote", 2.0, False, "choice")


def test_alternatives_are_functions_commands_or_nodes():
    """Each becomes a node that runs where it would run alone, in the order in which it stands."""
    node = choose(
        fast, plain, Node(plain, name="spawned", runs_on="process"), Command(["date"]), name="n"
    )
    assert [(one.name, one.runs_on) for one in node.alternatives] == [
        ("n.fast", "coroutine"),
        ("n.plain", "thread"),
        ("n.spawned", "process"),
        ("n.date", "command"),
    ]


def test_other_nodes_have_no_alternatives():
    """Only a choice has any."""
    assert Node(fast).alternatives == ()


def test_alternatives_stay_as_they_are():
    """A node may stand in several choices, and for itself: it is never changed."""
    shared = Node(fast, timeout=1)
    one, other = choose(shared, slow, retry=TWICE), choose(slow, shared)
    assert (shared.name, shared.retry) == ("fast", INHERIT)
    assert one.alternatives[0].name == "fast_or_slow.fast"
    assert other.alternatives[1].retry is INHERIT


def test_alternatives_take_over_the_policies_of_the_choice():
    """What an alternative states counts first, and None switches off what the choice states."""
    node = choose(
        fast,
        Node(slow, retry=None, breaker=STEADY, idempotent=True),
        retry=TWICE,
        limit=3,
        idempotent=False,
    )
    first, second = node.alternatives
    assert (first.retry, first.breaker, first.limit.slots) == (TWICE, INHERIT, 3)
    assert (second.retry, second.breaker, second.limit.slots) == (None, STEADY, 3)
    assert (first.idempotent, second.idempotent) == (False, True)


def test_a_choice_stands_where_a_node_may():
    """In stages, sequences, parallel groups, and over a list."""
    assert [part.name for part in sequence(plain, choose(fast, slow))] == ["plain", "fast_or_slow"]
    assert len(parallel(choose(fast, slow), plain)) == 2
    assert each(choose(fast, slow), max_parallel=2).each.max_parallel == 2
    Pipeline("p", [Stage("s", [choose(fast, slow)])])


def test_alternatives_are_clamped_with_a_warning():
    """A limit above that of the choice cannot be used, and the line that wrote it is told so."""
    with pytest.warns(DefinitionWarning, match=r"node 'n.slow': its limit of 3s is above the 2s"):
        choose(fast, Node(slow, timeout=3), name="n", timeout=2)


@pytest.mark.parametrize("number", [0, 1])
def test_there_must_be_two(number):
    """With fewer there is nothing to choose."""
    with pytest.raises(DefinitionError, match=rf"choose\(\): {number} of at least 2 alternatives"):
        choose(*[fast] * number)


def test_names_must_differ():
    """Health, events and outcomes name an alternative, so each needs a name of its own."""
    with pytest.raises(DefinitionError, match=r"choose\(\): 'fast' is used twice; give one"):
        choose(fast, Node(fast, timeout=1))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (choose(fast, slow, name="c"), Node(fast, name="c.slow")),
        (
            choose(fast, Node(slow, name="c.slow"), name="b"),
            choose(fast, slow, name="b.c"),
        ),
    ],
)
def test_no_part_is_named_like_an_alternative(first, second):
    """They would share their metrics and events; in two stages there is room for both."""
    with pytest.raises(
        DefinitionError,
        match=r"^stage 's', its alternatives included: '(b\.)?c\.slow' is used twice;",
    ):
        Stage("s", [first, second])
    Pipeline("p", [Stage("s", [first]), Stage("t", [second])])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("after", "other"),
        ("when", bool),
        ("critical", False),
        ("on_cleanup", print),
        ("strict", True),
        ("slo", 1),
    ],
)
def test_what_belongs_to_the_choice_as_a_whole(option, value):
    """The place of a node in its graph and its outcome are no affair of one alternative."""
    with pytest.raises(
        DefinitionError, match=rf"alternative 'slow' states {option}=, .* choose\(\.\.\., {option}="
    ):
        choose(fast, Node(slow, **{option: value}))


def test_a_fallback_belongs_to_the_choice():
    """The alternatives are what comes before it."""
    with pytest.raises(DefinitionError, match="alternative 'slow' states critical="):
        choose(fast, Node(slow, critical=False, fallback=1))


def test_a_loop_goes_around_the_choice():
    """An alternative is tried with one input; the message shows how to have both."""
    with pytest.raises(DefinitionError, match=r"'slow' runs over a list; write each\(choose"):
        choose(fast, each(slow))


def test_a_choice_in_a_choice():
    """There is one order of all alternatives, so they stand in one choice."""
    with pytest.raises(DefinitionError, match="alternative 'a_or_b' is a choice itself"):
        choose(fast, choose(Node(fast, name="a"), Node(fast, name="b")))


@pytest.mark.parametrize("options", [{"timeout": 0}, {"metadata": {"timeout": "0s"}}])
def test_an_alternative_needs_time(options):
    """One whose limit is 0 would never start."""
    with pytest.raises(DefinitionError, match=r"alternative 'slow', timeout= must be above 0"):
        choose(fast, Node(slow, **options))


def test_what_runs_where_is_said_of_each():
    """`runs_on=` is for the alternatives; and an option that nobody has is refused."""
    with pytest.raises(DefinitionError, match="runs_on= is for the alternatives"):
        choose(plain, fast, runs_on="process")
    with pytest.raises(DefinitionError, match="did you mean 'timeout'"):
        choose(plain, fast, timeuot=1)
    with pytest.raises(DefinitionError, match="a choice runs on 'choice'"):
        Node(choose(plain, fast).function, runs_on="thread")


@pytest.mark.parametrize("parts", [([fast, slow],), ((fast, slow),), (fast, [slow])])
def test_alternatives_are_no_list(parts):
    """Whoever gives a list, as to a stage, is shown how it is written."""
    with pytest.raises(DefinitionError, match=r"one by one: write choose\(first, second\), not"):
        choose(*parts)


@pytest.mark.parametrize("part", [Stage("s", [slow]), 5, None])
def test_what_is_no_alternative(part):
    """Stages and the like are refused."""
    with pytest.raises(DefinitionError, match=r"choose\(\): "):
        choose(fast, part)


def test_a_choice_cannot_be_called():
    """For unit tests one calls the functions of the alternatives."""
    with pytest.raises(DefinitionError, match="a choice is no function; run a pipeline"):
        choose(fast, slow)(1)


def test_what_learns_with_a_retry_is_the_attempt():
    """As for any node, also where the retry comes from the choice or from above."""
    learned = Node(slow, timeout=LEARNED)
    Pipeline("p", [choose(fast, learned)])
    for options in ({"retry": TWICE}, {}):
        above = {} if options else {"retry": TWICE}
        with pytest.raises(DefinitionError, match=r"'fast_or_slow.slow': with retry="):
            Pipeline("p", [choose(fast, learned, **options)], **above)


def test_an_alternative_may_be_unlimited():
    """`inf` is a limit like any other."""
    assert choose(fast, Node(slow, timeout=math.inf)).alternatives[1].timeout == math.inf
