"""Fixtures of the engine's tests: an engine under virtual time, where nothing is limited by default."""

import math

import pytest

from graceline import Timeouts, open_engine

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=1.0)


@pytest.fixture
async def engine(autojump_clock):
    async with open_engine(timeouts=NO_LIMITS, max_concurrent_pipelines=math.inf) as engine:
        yield engine
