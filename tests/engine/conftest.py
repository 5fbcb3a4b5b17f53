"""Fixtures of the engine's tests: an engine under virtual time, and a caller that is cancelled."""

import logging
import math
from contextlib import contextmanager

import pytest
import trio

from graceline import Timeouts, open_engine

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=1.0)


@pytest.fixture
async def engine(autojump_clock):
    """An engine where nothing is limited by default, and any number of runs is active."""
    async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=math.inf) as engine:
        yield engine


@pytest.fixture
def cancelled_after():
    """Call something under a scope that is cancelled explicitly after some seconds; gives the scope."""

    async def call(seconds, function, *args):
        async def cancel():
            await trio.sleep(seconds)
            scope.cancel()

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel)
                await function(*args)
                nursery.cancel_scope.cancel()
        return scope

    return call


@pytest.fixture
def unheard():
    """A block in which no handler takes what the library logs; pytest has some of its own."""

    @contextmanager
    def block():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(logging.getLogger(), "handlers", [])
            yield

    return block
