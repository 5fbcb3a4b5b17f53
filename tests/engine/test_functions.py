"""Functions by name: what is registered on an engine, for files to use."""

import pytest
import trio

from graceline import BlockingEngine, DefinitionError, Node, Pipeline, open_engine
from graceline.engine.surrounded import Surrounded


async def test_a_function_is_known_by_its_name_and_stays_as_it_is(autojump_clock):
    """`engine.tools` has it, nobody else's engine does, and the mapping is only to look at."""
    async with open_engine() as engine, open_engine() as other:

        @engine.tool("shout")
        def shout(text):
            return text.upper()

        assert shout("a") == "A"
        assert dict(engine.tools) == {"shout": shout}
        assert dict(other.tools) == {}
        with pytest.raises(TypeError):
            engine.tools["x"] = shout


def test_a_blocking_engine_knows_functions_as_well():
    """In any thread, while it is open."""
    with BlockingEngine() as engine:
        assert engine.tool("size")(len) is len
        assert dict(engine.tools) == {"size": len}


@pytest.mark.parametrize(
    ("name", "function", "error"),
    [
        ("taken", str, "tool 'taken' is registered already; take another name"),
        ("taken", len, "tool 'taken' is registered already"),
        ("x", 3, "tool 'x': 3 is not a function"),
        ("", len, r"its name must be a non-empty string, not ''; write @engine.tool\(\"name\"\)"),
        ("\ud800", len, "text that UTF-8 can write"),
    ],
    ids=["taken", "the-same", "no-function", "no-name", "surrogate"],
)
async def test_what_cannot_be_registered_is_refused(name, function, error):
    """A name is text, free, and of something that can be called."""
    async with open_engine() as engine:
        engine.tool("taken")(len)
        with pytest.raises(DefinitionError, match=error):
            engine.tool(name)(function)
        assert dict(engine.tools) == {"taken": len}


async def test_a_forgotten_name_is_told():
    """`@engine.tool` without parentheses gets the function for a name."""
    async with open_engine() as engine:
        with pytest.raises(DefinitionError, match=r"write @engine.tool\(\"name\"\)"):

            @engine.tool
            def shout(text):
                return text.upper()


@pytest.mark.parametrize("runs_on", ["coroutine", "thread"])
async def test_a_body_may_have_something_done_around_it(runs_on):
    """What surrounds the work of a node is done in the event loop, wherever the work runs."""
    seen = []

    class Body(Surrounded):
        def around(self, work):
            async def counted(value):
                seen.append(trio.lowlevel.in_trio_task())
                return await work(value)

            return counted

    class Awaited(Body):
        async def __call__(self, value):
            return value + 1

    class Called(Body):
        def __call__(self, value):
            seen.append(trio.lowlevel.in_trio_task())
            return value + 1

    body = Awaited() if runs_on == "coroutine" else Called()
    async with open_engine() as engine:
        assert await engine.execute(Pipeline("p", [Node(body, name="body")]), 1) == 2
    assert seen == ([True] if runs_on == "coroutine" else [True, False])
