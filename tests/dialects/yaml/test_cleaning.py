"""Cleanup of a step is run whatever became of it, and its own failure is kept beside that."""

import sys
import threading
import time
from pathlib import Path

import pytest
import trio

from graceline import CommandFailedError, open_engine
from graceline.dialects.yaml import loads


@pytest.mark.keys("step.cleanup", "cleanup.tool", "cleanup.action", "cleanup.parameters")
@pytest.mark.parametrize(("fail", "status"), [(0, "ok"), (1, "failed")])
async def test_a_tool_cleans_up(autojump_clock, run, tools, fail, status):
    """It sees what became of the step, and is called before anything that depends on it."""
    result = await run(
        f"""
        id: p
        steps:
          - id: a
            tool: work
            parameters: {{fail: {fail}}}
            on_error: continue
            cleanup: {{tool: note, action: end, parameters: {{x: "{{{{ a.status }}}}"}}}}
          - {{id: b, tool: note, action: after, dependencies: a}}
        """
    )
    assert [call for call in tools.calls if call[0] in ("end", "after")] == [
        ("end", {"x": status}),
        ("after", {}),
    ]
    assert result.node("a").secondary == ()


async def test_cleanup_of_a_timeout(autojump_clock, run, tools):
    """A step that was cut is cleaned up after, within its grace period."""
    result = await run(
        """
        id: p
        steps:
          - id: a
            tool: work
            parameters: {seconds: 9}
            total_timeout: 2
            grace: 3
            cleanup: {tool: work, parameters: {seconds: 60}}
        """
    )
    assert (result.status, result.elapsed) == ("timed_out", 5)


async def test_a_step_that_was_skipped_is_not_cleaned_up(autojump_clock, run, tools):
    """What never began has left nothing."""
    await run("id: p\nsteps: [{id: a, tool: note, condition: false, cleanup: {tool: note}}]")
    assert tools.calls == []


@pytest.fixture
async def real_engine():
    async with open_engine() as engine:
        yield engine


@pytest.mark.keys("cleanup.command", "cleanup.env", "cleanup.cwd")
async def test_a_program_cleans_up(real_engine, tmp_path):
    """A program may do it; if it fails, that is a secondary error of its step."""
    (tmp_path / "in").mkdir()
    text = """
id: p
steps:
  - id: a
    command: ["true"]
    cleanup: {command: 'echo "$A {{ a.result.exit_code }}" > out', env: {A: b}, cwd: in}
  - id: b
    command: ["true"]
    cleanup: {command: [sh, -c, "echo no >&2; exit 3"]}
  - id: c
    command: ["true"]
    cleanup: {command: [./none]}
"""
    result = await real_engine.run(loads(text, root=tmp_path).pipeline())
    assert result.status == "ok"
    assert (tmp_path / "in" / "out").read_text() == "b 0\n"
    (error,) = result.node("b").secondary
    assert isinstance(error, CommandFailedError)
    assert str(error) == "command 'sh' exited with code 3; its last words: 'no'"
    assert error.output.stderr == "no\n"
    assert "there is no program" in str(result.node("c").secondary[0])


async def test_a_program_that_does_not_end_is_killed(real_engine, tmp_path):
    """Its group is, when the grace period is over."""
    text = """
id: p
steps: [{id: a, command: ["true"], grace: 0.2, cleanup: {command: "sleep 60 & echo $! > pid; wait"}}]
"""
    start = time.monotonic()
    result = await real_engine.run(loads(text, root=tmp_path).pipeline())
    assert result.status == "ok"
    assert time.monotonic() - start < 30
    pid = int((tmp_path / "pid").read_text())
    with trio.fail_after(10):
        while alive(pid):
            await trio.sleep(0.01)


async def test_the_output_of_cleanup_is_bounded(real_engine, tmp_path):
    """A program that writes without end fills no memory: the middle is left out, as of a step's."""
    text = """
id: p
steps: [{id: a, command: ["true"], cleanup: {command: "yes | head -c 3000000 >&2; exit 3"}}]
"""
    result = await real_engine.run(loads(text, root=tmp_path).pipeline())
    (error,) = result.node("a").secondary
    assert len(error.output.stderr) == 1 << 20
    assert error.output.stderr_dropped == 3_000_000 - (1 << 20)


async def test_cleanup_leaves_nothing_behind(real_engine, tmp_path):
    """What the program leaves in the background ends with it, and its step keeps its own output."""
    text = """
id: p
steps:
  - id: a
    command: [echo, own]
    cleanup: {command: "echo other; sleep 60 & echo $! > pid"}
"""
    result = await real_engine.run(loads(text, root=tmp_path).pipeline())
    assert result.node("a").secondary == ()
    assert result.node("a").value.stdout == "own\n"
    assert not alive(int((tmp_path / "pid").read_text()))


KILLED = """
import trio
from graceline import open_engine
from graceline.dialects.yaml import loads

TEXT = '''
id: p
steps:
  - {id: a, command: ["true"], grace: 10m, cleanup: {command: "echo $$ > new; mv new pid; exec sleep 600"}}
'''

async def main():
    async with open_engine() as engine:
        await engine.run(loads(TEXT).pipeline())

trio.run(main)
"""


async def test_the_program_of_cleanup_does_not_outlive_a_killed_process(tmp_path):
    """After `kill -9` of the process with the engine in the middle of cleanup, it is gone."""
    file = tmp_path / "pid"
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process([sys.executable, "-c", KILLED], cwd=tmp_path)
        while not file.exists():
            await trio.sleep(0.005)
        pid = int(file.read_text())
        assert alive(pid)
        process.kill()
        await process.wait()
        while alive(pid):
            await trio.sleep(0.005)


def alive(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8")
        return stat.rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def test_a_plain_function_cleans_up(real_engine, tools):
    """It runs in a thread."""
    seen = []

    @tools.add
    def clean(text):
        seen.append((text, threading.current_thread() is threading.main_thread()))

    text = "id: p\nsteps: [{id: a, tool: note, cleanup: {tool: clean, parameters: {text: '{{ a.status }}'}}}]"
    await real_engine.run(loads(text, tools=tools).pipeline())
    assert seen == [("ok", False)]
