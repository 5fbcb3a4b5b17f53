"""For all tests: one that a stray `Cancelled` ended early has not passed; and none is timed."""

import functools
import inspect

import pytest
from hypothesis import HealthCheck, settings

# How fast an example runs says something of the machine; in all else, what Hypothesis would do here.
settings.register_profile("unhurried", deadline=None, suppress_health_check=(HealthCheck.too_slow,))
settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item):
    """Fail an async test that did not run to its end: pytest-trio absorbs a `Cancelled` silently."""
    function = getattr(item, "obj", None)
    if not inspect.iscoroutinefunction(function):
        return (yield)
    ended = []

    @functools.wraps(function)
    async def run_to_the_end(**fixtures):
        await function(**fixtures)
        ended.append(True)

    item.obj = run_to_the_end
    outcome = yield
    if not ended:
        pytest.fail("a Cancelled escaped from the test, which therefore did not end")
    return outcome
