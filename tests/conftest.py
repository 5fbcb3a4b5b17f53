"""For all tests: one that a stray `Cancelled` ended early has not passed."""

import functools
import inspect

import pytest


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
