"""What is a usable function, name or option, and how a bad one is refused."""

import functools

import pytest

from graceline import DefinitionError, Node, Pipeline, Stage
from graceline.definitions import checks


async def work(value):
    return value


class Callable:
    """An object that is called like an async function."""

    async def __call__(self, value):
        return value


class Method:
    """Holds a method that takes an input."""

    def work(self, value):
        return value


def test_a_typo_gets_the_nearest_name():
    """Somebody who mistyped a name reads the one that was probably meant."""
    assert checks.nearest("plann", ["plan", "act"]) == "did you mean 'plan'?"


def test_a_name_that_is_far_off_gets_the_list():
    """Where nothing is near, all valid names are listed."""
    assert checks.nearest("zzz", ["plan", "act"]) == "valid are: 'plan', 'act'"


@pytest.mark.parametrize("value", [None, True, 3])
def test_what_is_no_name_gets_the_list(value):
    """Nothing is near to None: that 'on' is a part of its name is a coincidence."""
    assert checks.nearest(value, ["on", "true", "33"]) == "valid are: 'on', 'true', '33'"


def test_without_any_valid_name_the_hint_says_so():
    """A hint never ends in an empty list."""
    assert checks.nearest("zzz", []) == "there is none to choose from"


@pytest.mark.parametrize("name", ["", "  ", None, 3, b"x"])
def test_a_name_is_a_string_with_something_in_it(name):
    """A name that nobody could read in a log is refused."""
    with pytest.raises(DefinitionError, match=r"^lane=: its name must be a non-empty string"):
        checks.check_name(name, "lane=")


@pytest.mark.parametrize("name", ["n\udcff", "\ud800"])
def test_a_name_can_be_written(name):
    """Half a character would make each scrape of the metrics fail, so it is no name of anything."""
    makers = (lambda: Node(work, name=name), lambda: checks.check_name(name, "lane="))
    for make in makers:
        with pytest.raises(
            DefinitionError, match=r": its name must be text that UTF-8 can write"
        ) as e:
            make()
        assert ascii(name) in str(e.value).encode().decode()


@pytest.mark.parametrize("name", ["x", "größe", "\U0001f680"])
def test_a_good_name_is_given_back(name):
    """A check gives back what it checked."""
    assert checks.check_name(name, "lane=") == name


@pytest.mark.parametrize("value", [0, 1, None, "yes"])
def test_a_flag_is_a_bool(value):
    """Truthiness is not enough for an option that is on or off."""
    with pytest.raises(DefinitionError, match=r"strict= must be True or False"):
        checks.check_flag(value, "strict=")


@pytest.mark.parametrize(
    ("function", "is_async"),
    [
        (work, True),
        (functools.partial(work), True),
        (functools.partial(functools.partial(work)), True),
        (Callable(), True),
        (functools.partial(Callable()), True),
        (Method().work, False),
        (str, False),
        (len, False),
        (lambda value: value, False),
    ],
)
def test_async_is_seen_through_wrappers(function, is_async):
    """Partials and callable objects are as async as what they call."""
    assert checks.check_callable(function, "node") is function
    assert checks.is_async(function) is is_async


def test_a_builtin_without_a_signature_is_trusted():
    """Where Python cannot tell the arguments, the first call will."""
    with pytest.raises(ValueError, match="signature"):
        __import__("inspect").signature(dict)
    assert checks.check_callable(dict, "node") is dict


@pytest.mark.parametrize(
    "function",
    [
        lambda: None,
        lambda first, second: None,
        lambda *, key: None,
        lambda value, *, key: None,
        functools.partial(lambda value: None, 1),
    ],
)
def test_a_function_takes_exactly_one_argument(function):
    """What cannot be called with one input is refused, with its signature."""
    with pytest.raises(DefinitionError, match=r"^here: .*\(.*\) must be callable with exactly one"):
        checks.check_callable(function, "here")


@pytest.mark.parametrize(
    "function", [lambda *values: None, lambda value, more=1: None, lambda value, **more: None]
)
def test_more_arguments_are_fine_if_they_are_optional(function):
    """Only the input is passed; what has a default may stay."""
    assert checks.check_callable(function, "here") is function


def test_a_coroutine_object_is_refused():
    """A function that was called by mistake is recognised, and leaves no 'never awaited' behind."""
    with pytest.raises(DefinitionError, match=r"^here: .*pass the function, without \(\)"):
        checks.check_callable(work(1), "here")


def _generate(value):
    yield value


async def _generate_async(value):
    yield value


@pytest.mark.parametrize(
    "function", [_generate, _generate_async, functools.partial(_generate_async)]
)
def test_a_generator_is_refused(function):
    """A node gives one value, so a generator is told to give a list."""
    with pytest.raises(DefinitionError, match="is a generator; return one value"):
        checks.check_callable(function, "here")


@pytest.mark.parametrize("function", [3, "name", None, [work]])
def test_what_cannot_be_called_is_refused(function):
    """Anything but a function is refused with what it is."""
    with pytest.raises(DefinitionError, match="is not a function"):
        checks.check_callable(function, "here")


def _two(first, second, third):
    return first


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Node(work), "node 'work'"),
        (Stage("s", [work]), "stage 's'"),
        (Pipeline("p", [work]), "pipeline 'p'"),
        ({"a": [Node(work)]}, "{'a': [node 'work']}"),
        (work, "function work"),
        (len, "function len"),
        (functools.partial(functools.partial(_two, 1), 2), "function _two"),
        ("x" * 1000, f"'{'x' * 27}...{'x' * 28}'"),
        (3, "3"),
    ],
)
def test_a_value_in_a_message_is_short(value, said):
    """Parts and functions go by their names, and everything else is cut."""
    assert checks.brief(value) == said


def test_any_value_in_a_message_is_short():
    """However deep or long a value is, a message stays a line or two."""
    deep = [[[[[[1] * 9] * 9] * 9] * 9] * 9]
    assert len(checks.brief(deep)) < 1000
    huge = [Pipeline(f"p{i}", [Stage("s", [work])]) for i in range(1000)]
    assert len(checks.brief([huge, dict.fromkeys(range(99), huge)])) < 1000


def test_a_partial_goes_by_its_function():
    """A partial that does not fit is called as the function inside it."""
    with pytest.raises(
        DefinitionError, match=r"^here: _two\(second, third\) must be callable with"
    ):
        checks.check_callable(functools.partial(_two, 1), "here")


def test_metadata_is_a_frozen_copy():
    """What the caller does to the mapping later does not reach the definition."""
    given = {"team": "search"}
    kept = checks.frozen_metadata(given, "here")
    given["team"] = "other"
    assert kept == {"team": "search"}
    with pytest.raises(TypeError):
        kept["team"] = "third"


def test_no_metadata_is_an_empty_mapping():
    """Nobody has to check metadata for None."""
    assert checks.frozen_metadata(None, "here") == {}


def test_metadata_is_a_mapping():
    """Anything else is refused with what it is."""
    with pytest.raises(DefinitionError, match=r"here: metadata= must be a mapping, not \[1\]"):
        checks.frozen_metadata([1], "here")


@pytest.mark.parametrize("timeout", [-1, "soon", True])
def test_the_timeout_in_metadata_is_checked_like_any_other(timeout):
    """The one key with a meaning is refused where it is written down, and not at run time."""
    with pytest.raises(DefinitionError, match=r"here, metadata\['timeout'\]"):
        checks.frozen_metadata({"timeout": timeout}, "here")


@pytest.mark.parametrize("several", [[work, len], (work, len), iter([work, len])])
def test_several_handlers_stay_in_order(several):
    """Any iterable of handlers becomes a tuple of the same order."""
    assert checks.as_callables(several, "here") == (work, len)


def test_one_handler_needs_no_list():
    """A single function is a tuple of one, and None is a tuple of none."""
    assert checks.as_callables(work, "here") == (work,)
    assert checks.as_callables(None, "here") == ()


@pytest.mark.parametrize("handlers", [3, [work, 3], "name"])
def test_a_handler_is_a_function(handlers):
    """A handler is checked as strictly as a node."""
    with pytest.raises(DefinitionError, match=r"^here: .* is not a function"):
        checks.as_callables(handlers, "here")


def test_a_handler_takes_the_outcome():
    """The message says what the one argument is."""
    with pytest.raises(DefinitionError, match="exactly one argument, the outcome"):
        checks.as_callables(lambda: None, "here")


def test_a_handler_that_was_called_by_mistake_is_refused():
    """A coroutine object is no handler, and is closed."""
    with pytest.raises(DefinitionError, match="coroutine object"):
        checks.as_callables(work(1), "here")
