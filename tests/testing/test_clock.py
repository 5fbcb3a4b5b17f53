import inspect

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from graceline.testing import run_virtual, virtual_time


async def nap(seconds):
    await trio.sleep(seconds)
    return trio.current_time()


def test_returns_the_value():
    """`run_virtual` gives what the function returns, and its clock starts at zero."""
    assert run_virtual(nap, 3600.0) == 3600.0


def test_a_clock_for_each_call():
    """Every call has a clock of its own."""
    assert [run_virtual(nap, 2.0) for _ in range(3)] == [2.0] * 3


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


async def _raise_in_nurseries(*errors):
    async with trio.open_nursery(), trio.open_nursery() as nursery:
        for error in errors:
            nursery.start_soon(_raise, error)


async def _raise(error):
    raise error


def test_groups_of_one():
    """A lone exception arrives without the groups that nurseries put around it."""
    with pytest.raises(ValueError, match="lone"):
        run_virtual(_raise_in_nurseries, ValueError("lone"))


def test_real_groups():
    """A group of several exceptions arrives as it is."""
    with pytest.raises(ExceptionGroup) as caught:
        run_virtual(_raise_in_nurseries, ValueError("one"), KeyError("two"))
    assert caught.group_contains(ValueError)
    assert caught.group_contains(KeyError)
