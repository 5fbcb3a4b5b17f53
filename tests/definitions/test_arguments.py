"""What a definition does not take is refused like a wrong value: with what would be right."""

import inspect

import attrs
import pytest

from graceline import Command, DefinitionError, Node, Pipeline, Stage, Timeouts, open_engine
from graceline.definitions import Adaptive, Breaker, Bulkhead, Hedge, Retry
from graceline.definitions.arguments import explained


async def work(value):
    return value


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Retry(max_attempts=3), r"Retry\(\): max_attempts= .* did you mean 'attempts'\?"),
        (lambda: Breaker(failure_threshold=5), r"Breaker\(\): .* did you mean 'failure_rate'\?"),
        (lambda: Hedge(max_extras=1), r"Hedge\(\): .* did you mean 'max_extra'\?"),
        (lambda: Bulkhead(5, max_queu=1), r"Bulkhead\(\): .* did you mean 'max_queue'\?"),
        (lambda: Adaptive(initials=1), r"Adaptive\(\): .* did you mean 'initial'\?"),
        (lambda: Timeouts(pipelin=1), r"Timeouts\(\): .* did you mean 'pipeline'\?"),
        (lambda: Command(["ls"], ok_code=1), r"Command\(\): .* did you mean 'ok_codes'\?"),
        (lambda: Node(work, retries=3), r"Node\(\): retries= .* did you mean 'retry'\?"),
        (lambda: Stage("s", [work], retrry=3), r"Stage\(\): retrry= .* did you mean 'retry'\?"),
        (lambda: Pipeline("p", [work], timeot=3), r"Pipeline\(\): .* did you mean 'timeout'\?"),
        (lambda: open_engine(retrys=3), r"open_engine\(\): retrys= .* did you mean 'retry'\?"),
        (lambda: attrs.evolve(Node(work), timeot=1), r"Node\(\): .* did you mean 'timeout'\?"),
    ],
)
def test_an_unknown_option_gets_the_nearest(make, message):
    """Whoever misremembers an option reads the one that was probably meant."""
    with pytest.raises(DefinitionError, match=rf"^{message}$"):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Retry(3), r"Retry\(\): 3 needs a name; write Retry\(attempts=3\)"),
        (
            lambda: Breaker(0.5),
            r"Breaker\(\): 0\.5 needs a name; write Breaker\(failure_rate=0\.5\)",
        ),
        (lambda: Hedge(0.1), r"Hedge\(\): 0\.1 needs a name; write Hedge\(delay=0\.1\)"),
        (lambda: Bulkhead(5, 7), r"Bulkhead\(\): only slots can be given without a name, and 7 is"),
        (
            lambda: Node(work, 5),
            r"Node\(\): only function can be given without a name, and 5 is one",
        ),
        (lambda: Pipeline("p", work, work), r"Pipeline\(\): only name and stages .* function work"),
    ],
)
def test_a_value_without_a_name_is_shown_its_name(make, message):
    """Options are written by name, and the message shows how."""
    with pytest.raises(DefinitionError, match=rf"^{message}"):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Bulkhead, r"Bulkhead\(\): slots= is missing"),
        (lambda: Adaptive(ceiling=1), r"Adaptive\(\): initial= is missing"),
        (lambda: Node(name="x"), r"Node\(\): function= is missing"),
        (lambda: Stage(nodes=[work]), r"Stage\(\): name= is missing"),
        (lambda: Node(work, function=work), r"Node\(\): function is given twice"),
    ],
)
def test_what_is_missing_or_given_twice_is_named(make, message):
    """Neither ends in the words of a Python call."""
    with pytest.raises(DefinitionError, match=rf"^{message}"):
        make()


def test_a_bulkhead_is_its_slots():
    """They are what it is about, and need no name."""
    assert Bulkhead(5) == Bulkhead(slots=5)


def test_a_signature_stays_readable():
    """`help()`, editors and documentation show the options as they are written down."""
    assert list(inspect.signature(Bulkhead).parameters) == ["slots", "max_queue", "name"]
    assert Bulkhead.__init__.__qualname__ == "Bulkhead.__init__"


def test_a_function_is_explained_too():
    """Its own value and signature stay; what it raises itself is left alone."""

    @explained
    def divide(number, *, by=1):
        return number / by

    assert divide(6, by=2) == 3
    assert list(inspect.signature(divide).parameters) == ["number", "by"]
    with pytest.raises(DefinitionError, match=r"^divide\(\): bye= is unknown; did you mean 'by'\?"):
        divide(6, bye=2)
    with pytest.raises(TypeError, match="unsupported operand"):
        divide("6")
