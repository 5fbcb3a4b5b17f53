"""The exception tree: what can be caught as what, and what each error carries."""

import pytest

import graceline
from graceline import errors


class Result:
    """Stands for a pipeline's result where only the completed names matter."""

    completed = ("fetch", "rank")


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_one_root(name):
    """`except GracelineError` catches all that is raised on purpose; a warning is no error."""
    kind = getattr(errors, name)
    root = UserWarning if issubclass(kind, Warning) else errors.GracelineError
    assert issubclass(kind, root)
    assert getattr(graceline, name) is kind


def test_a_bad_definition_is_a_value_error():
    """Whoever knows only the builtin exceptions catches a bad definition too."""
    assert issubclass(errors.DefinitionError, ValueError)


@pytest.mark.parametrize(
    "kind",
    [
        errors.AttemptTimeoutError,
        errors.NodeTimeoutError,
        errors.StageTimeoutError,
        errors.PipelineTimeoutError,
    ],
)
def test_a_timeout_is_a_timeout_error_and_tells_what_happened(kind):
    """A passed limit is caught as `TimeoutError`, with level, limit, source and completed names."""
    result = Result()
    error = kind("too slow", name="rank", limit=0.2, source="node", result=result)
    assert isinstance(error, TimeoutError)
    assert isinstance(error, errors.DeadlineExceededError)
    assert str(error) == "too slow"
    assert (error.name, error.limit, error.source) == ("rank", 0.2, "node")
    assert error.completed == ("fetch", "rank")
    assert error.result is result


def test_a_cancelled_run_tells_who_and_why():
    """The kind says who cancelled and the reason is what was given."""
    error = errors.PipelineCancelledError("enough", name="p", kind="user", result=None)
    assert (str(error), error.reason, error.kind, error.name) == ("enough", "enough", "user", "p")


def test_a_failed_node_carries_its_name():
    """A failure names the node; the node's own exception is the cause."""
    error = errors.NodeFailedError("broke", name="rank", result=None)
    assert (str(error), error.name, error.result) == ("broke", "rank", None)


def test_an_overload_says_why_and_when_to_come_back():
    """A refusal names what was refused, the reason, and a time if one is known."""
    error = errors.OverloadedError("queue full", name="p", result=None, retry_after=2.0)
    assert str(error) == "'p' was refused: queue full"
    assert (error.reason, error.retry_after) == ("queue full", 2.0)
    assert errors.OverloadedError("draining", name="p", result=None).retry_after is None


def test_an_open_breaker_says_which_when_and_why_without_what():
    """Name, time and the class of the error; not its text, which may hold what nobody may log."""
    cause = ValueError("secret")
    error = errors.CircuitOpenError(8.25, "db", cause)
    assert str(error) == "breaker 'db' is open; try again in 8.25 s, last error: ValueError"
    assert (error.retry_after, error.breaker, error.last_error) == (8.25, "db", cause)
    assert errors.CircuitOpenError.retryable is False
    slow = errors.CircuitOpenError(8.25, "db")
    assert str(slow) == "breaker 'db' is open; try again in 8.25 s, after timeouts or slow calls"
    forced = errors.CircuitOpenError(None, "db")
    assert (str(forced), forced.retry_after, forced.last_error) == (
        "breaker 'db' is open by mode='forced_open'",
        None,
        None,
    )


@pytest.mark.parametrize(("text", "shown"), [("no key", "KeyError: no key"), ("", "KeyError")])
def test_a_recorded_error_reads_like_the_original(text, shown):
    """What was read back from a document shows the class and the text, if there was one."""
    error = errors.RecordedError("KeyError", text)
    assert str(error) == shown
    assert (error.type_name, error.message) == ("KeyError", text)


@pytest.mark.parametrize("name", errors.__all__)
def test_who_refused_or_gave_up_is_not_asked_again(name):
    """Refusals, cancels and mistakes say that trying again is of no use; no other error does."""
    never = {
        "CircuitOpenError", "DeadlineSpentError", "DefinitionError", "OverloadedError",
        "PipelineCancelledError",
    }  # fmt: skip
    assert (getattr(getattr(errors, name), "retryable", None) is False) is (name in never)
