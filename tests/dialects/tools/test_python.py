"""The tool `python`: registered functions by their names."""

import threading

import pytest
import trio

from graceline import Node, Pipeline, Timeouts, open_engine, remaining
from graceline.dialects.tools import ToolFailedError, ToolRefusedError, Tools


@pytest.fixture
def tools():
    """A registry with a plain and an async function."""
    tools = Tools.default()

    @tools.tool("where")
    def where(prefix="in "):
        return prefix + threading.current_thread().name

    @tools.tool("twice")
    async def twice(number):
        await trio.lowlevel.checkpoint()
        return 2 * number

    @tools.tool("fails")
    def fails():
        return {"success": False, "error": "no luck"}

    return tools


async def call(tools, action=None, **parameters):
    return await tools.find("python")(action=action, parameters=parameters)


async def test_a_plain_function_runs_in_a_thread(tools):
    """It may block: the event loop goes on."""
    main = threading.current_thread().name
    found = await call(tools, function="where", arguments={"prefix": "at "})
    assert found.startswith("at ")
    assert main not in found
    assert await call(tools, "run", function="where") != "in " + main


async def test_an_async_function_runs_in_the_task(tools):
    """It is awaited where the step is."""
    assert await call(tools, "call", function="twice", arguments={"number": 2}) == 4


async def test_a_result_that_failed_fails(tools):
    """`success: False` is an error here as everywhere."""
    with pytest.raises(ToolFailedError, match="no luck"):
        await call(tools, function="fails")


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"function": "wher"}, "python: no function 'wher' is registered; did you mean 'where'?"),
        ({"function": "http"}, "python: no function 'http' is registered"),
        ({"function": 3}, "python, function= takes a text, not 3"),
        ({"function": "where", "arguments": [1]}, r"python: arguments= is a mapping, not \[1\]"),
        ({}, "it needs the parameter 'function'"),
    ],
)
async def test_wrong_calls_are_refused(tools, parameters, said):
    """Only what was registered can be called, by its name, with arguments by theirs."""
    with pytest.raises(ToolRefusedError, match=said):
        await call(tools, **parameters)


async def test_a_thread_knows_its_step(tools):
    """What the functions inside ask of the engine works there."""
    tools.add("left", remaining)
    async with open_engine(timeouts=Timeouts(node=None, pipeline=None)) as engine:

        async def step(_):
            return await call(tools, function="left")

        result = await engine.run(Pipeline("p", [Node(step, name="n", timeout=500)]))
    assert 0 < result.value <= 500


async def test_a_thread_is_left_when_its_step_is_cut(tools):
    """A function that hangs holds up nobody."""
    started, go_on = threading.Event(), threading.Event()
    tools.add("hang", lambda: started.set() or go_on.wait(60))
    async with open_engine(timeouts=Timeouts(node=None, pipeline=None)) as engine:

        async def step(_):
            return await call(tools, function="hang")

        run = engine.start(Pipeline("p", [Node(step, name="n")]))
        await trio.to_thread.run_sync(started.wait, 60)
        run.cancel("enough")
        result = await run.wait()
        go_on.set()
    assert result.status == "cancelled"
