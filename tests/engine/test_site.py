"""The site of work: what a tool finds of the engine whose step it works for."""

import pytest

from graceline import GracelineError, Node, Pipeline, open_engine, parallel
from graceline.engine.site import current_guard


async def test_the_guard_is_that_of_the_engine(autojump_clock):
    """All steps of an engine find the same one, those of another engine find another."""

    async def find(_):
        return current_guard()

    pipeline = Pipeline("p", parallel(Node(find, name="a"), Node(find, name="b")))
    async with open_engine() as engine, open_engine() as other:
        found = (await engine.run(pipeline)).value
        assert found["a"] is found["b"]
        assert (await other.run(pipeline)).value["a"] is not found["a"]
    with pytest.raises(GracelineError):
        current_guard()
