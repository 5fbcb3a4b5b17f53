"""What templates see of steps that ended badly, and how plain functions clean up."""

import threading

import pytest
import trio

from graceline import open_engine
from graceline.dialects.tools import ToolFailedError
from graceline.dialects.yaml import loads

ENDED = """
id: p
steps:
  - {{id: a, {body}, on_error: {policy}}}
  - {{id: b, tool: note, dependencies: a}}
outputs: {{a: "{{{{ a.status }}}}", why: "{{{{ a.error }}}}", b: "{{{{ b.status }}}}"}}
"""


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ("tool: work, parameters: {seconds: 9}, total_timeout: 2", "timed_out", "2s"),
        ("tool: silent", "failed", "ZeroDivisionError"),
        ("tool: work, parameters: {fail: 1}", "failed", "failed 1 times"),
    ],
    ids=["timeout", "no-text", "text"],
)
async def test_a_step_that_ended_badly(autojump_clock, run, tools, body, status, why):
    """Whatever it was, its error is a text, and what depends on it is skipped for `skip`."""

    @tools.add
    async def silent():
        raise ZeroDivisionError

    value = (await run(ENDED.format(body=body, policy="continue"))).value
    assert (value["a"], value["b"]) == (status, "ok")
    assert why in value["why"]
    tools.calls.clear()
    value = (await run(ENDED.format(body=body, policy="skip"))).value
    assert (value["a"], value["b"]) == (status, "skipped")
    assert why in value["why"]


@pytest.fixture
async def real_engine():
    async with open_engine() as engine:
        yield engine


async def test_a_program_that_ended_badly(real_engine, tools):
    """Its exit code is the error."""
    file = loads(ENDED.format(body="command: [sh, -c, 'exit 3']", policy="skip"), tools=tools)
    value = (await real_engine.run(file.pipeline())).value
    assert (value["a"], value["b"]) == ("failed", "skipped")
    assert "3" in value["why"]


async def test_a_plain_cleanup_that_says_that_it_failed(real_engine, tools):
    """An answer without success is an error of the cleanup, also from a plain function."""

    @tools.add
    def clean():
        return {"success": False, "error": "the disk is full"}

    text = "id: p\nsteps: [{id: a, tool: note, cleanup: {tool: clean}}]"
    result = await real_engine.run(loads(text, tools=tools).pipeline())
    (error,) = result.node("a").secondary
    assert isinstance(error, ToolFailedError)
    assert str(error) == "the disk is full"


async def test_a_plain_cleanup_that_does_not_end_is_left(real_engine, tools):
    """When its grace period is over the run ends, whatever the thread still does."""
    go_on, ended = threading.Event(), threading.Event()

    @tools.add
    def clean():
        go_on.wait(30)
        ended.set()

    text = "id: p\nsteps: [{id: a, tool: note, grace: 0.1, cleanup: {tool: clean}}]"
    try:
        result = await real_engine.run(loads(text, tools=tools).pipeline())
        assert result.status == "ok"
        assert not ended.is_set()
    finally:
        go_on.set()
    assert await trio.to_thread.run_sync(ended.wait, 60)
