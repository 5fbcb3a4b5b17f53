import inspect

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from graceline.testing import virtual_time


async def nap(seconds):
    await trio.sleep(seconds)
    return trio.current_time()


@virtual_time
async def test_decorated():
    """A decorated async test runs in virtual time."""
    assert await nap(86400.0) == 86400.0


@virtual_time
async def test_fixtures_are_found(tmp_path):
    """A decorated test keeps its signature, so that pytest finds its fixtures."""
    assert tmp_path.is_dir()
    assert trio.current_time() == 0.0


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 1000))
@virtual_time
async def test_below_given(seconds):
    """Below `@given` each example has a fresh clock."""
    assert trio.current_time() == 0.0
    assert await nap(seconds) == seconds


@virtual_time
@settings(max_examples=20, deadline=None)
@given(st.integers(1, 1000))
async def test_above_given(seconds):
    """Above `@given` each example has a fresh clock, too."""
    assert trio.current_time() == 0.0
    assert await nap(seconds) == seconds


def test_plain_function():
    """What the decorator makes is a plain function of the same name and signature."""
    assert not inspect.iscoroutinefunction(test_decorated)
    assert test_fixtures_are_found.__name__ == "test_fixtures_are_found"
    assert list(inspect.signature(test_fixtures_are_found).parameters) == ["tmp_path"]
