import pytest
import trio

from graceline.virtual import order_within_an_instant, run_virtual


async def nap(seconds):
    await trio.sleep(seconds)
    return trio.current_time()


def test_returns_the_value():
    """`run_virtual` gives what the function returns, and its clock starts at zero."""
    assert run_virtual(nap, 3600.0) == 3600.0


def test_a_clock_for_each_call():
    """Every call has a clock of its own."""
    assert [run_virtual(nap, 2.0) for _ in range(3)] == [2.0] * 3


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


async def _order():
    seen = []

    async def note(number):
        await trio.sleep(1.0)
        seen.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(note, number)
    return tuple(seen)


def test_the_seed_decides_the_order():
    """What is ready at one instant is taken in an order that follows from the seed."""

    def orders(seed):
        with order_within_an_instant(seed):
            return [run_virtual(_order) for _ in range(3)]

    assert orders(1) == orders(1) != orders(2)
