"""The tool `terminal`: programs in steps; real processes, and no assertion on speed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from graceline import (
    Command,
    CommandFailedError,
    GracelineError,
    Node,
    Pipeline,
    Timeouts,
    open_engine,
)
from graceline.dialects.tools import ToolRefusedError
from graceline.dialects.tools.terminal import Terminal
from graceline.telemetry.events import SignalSent

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=30)
PATIENCE = 60
"""Seconds after which a wait has failed; never a measure of speed."""


@pytest.fixture
async def engine():
    """An engine where nothing is limited by default."""
    async with open_engine(timeouts=NO_LIMITS) as engine:
        yield engine


def step(tool, action=None, **parameters):
    """A pipeline of one step that uses the tool."""

    async def work(_):
        return await tool(action=action, parameters=parameters)

    return Pipeline("p", [Node(work, name="n")])


async def outcome(engine, tool, action=None, **parameters):
    result = await engine.run(step(tool, action, **parameters))
    return result.node("n")


async def test_a_program_is_run(engine, tmp_path):
    """The value is that of a command: output, exit code; it starts in the root."""
    (tmp_path / "here").mkdir()
    tool = Terminal(tmp_path)
    done = await outcome(engine, tool, "run", command=["pwd"])
    assert (done.value.stdout, done.value.exit_code) == (f"{tmp_path}\n", 0)
    done = await outcome(
        engine, tool, "execute", command="pwd; echo $A; cat", cwd="here", env={"A": "b"}, stdin="c"
    )
    assert done.value.stdout == f"{tmp_path}/here\nb\nc"


async def test_an_exit_code_is_a_failure(engine, tmp_path):
    """As of a command: any code but 0 fails, or any that is not listed."""
    tool = Terminal(tmp_path)
    failed = await outcome(engine, tool, command="echo why >&2; exit 3")
    assert failed.status == "failed"
    assert isinstance(failed.error, CommandFailedError)
    assert "exited with code 3; its last words: 'why'" in str(failed.error)
    assert failed.partial.stderr == "why\n"
    fine = await outcome(engine, tool, command="exit 3", ok_codes=[0, 3])
    assert fine.value.exit_code == 3


async def test_output_is_bounded(engine, tmp_path):
    """What a program writes too much of is dropped from its middle."""
    done = await outcome(engine, Terminal(tmp_path), command="yes | head -c 100000", max_output=100)
    assert len(done.value.stdout) == 100
    assert done.value.stdout_dropped == 99_900


async def test_a_program_ends_with_its_step(engine, tmp_path):
    """At the cancel of the step its whole group gets SIGTERM, and then SIGKILL: nothing is left."""
    script = (
        "trap '' TERM; (trap '' TERM; echo $$ > pid; sleep 1000) & while :; do sleep 0.01; done"
    )
    pipeline = step(Terminal(tmp_path), command=script)
    run = engine.start(pipeline)
    signals = []
    file = tmp_path / "pid"
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            events = run.events()

            async def note():
                async for event in events:
                    if isinstance(event, SignalSent):
                        signals.append(event.signal)
                        if event.signal == 15:
                            run.cancel("at once", force_after=0)

            nursery.start_soon(note)
            while not (file.exists() and file.read_text().endswith("\n")):
                await trio.sleep(0.005)
            pid = int(file.read_text())
            run.cancel("enough")
            result = await run.wait()
    assert result.status == "cancelled"
    assert signals == [15, 9]
    with pytest.raises(ProcessLookupError):
        os.killpg(os.getpgid(pid), 0)


KILLED = """
import trio
from graceline import Node, Pipeline, Timeouts, open_engine
from graceline.dialects.tools.terminal import Terminal

async def step(_):
    await Terminal()(parameters={"command": "echo $$; exec sleep 1000 >&2"})

async def main():
    async with open_engine(timeouts=Timeouts(node=None, pipeline=None)) as engine:
        run = engine.start(Pipeline("p", [Node(step, name="n")]))
        async for event in run.events(output=True):
            if hasattr(event, "text"):
                print(event.text, end="", flush=True)

trio.run(main)
"""


async def test_a_program_does_not_outlive_a_killed_process():
    """After `kill -9` of the process with the engine, the program of its step is gone."""
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", KILLED], stdout=subprocess.PIPE
        )
        said = b""
        while not said.endswith(b"\n"):
            said += await process.stdout.receive_some(100)
        process.kill()
        await process.wait()
        await process.stdout.aclose()
        while is_running(int(said)):
            await trio.sleep(0.005)


def is_running(pid):
    """Whether a process is there and is no zombie, which waits for nobody but its new parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_programs_share_the_guard_of_their_engine(tmp_path):
    """One process watches over all of them, those of commands included, and ends with the engine."""
    before = children()
    async with open_engine(timeouts=NO_LIMITS) as engine:
        await outcome(engine, Terminal(tmp_path), command=["true"])
        guards = children() - before
        assert len(guards) == 1
        await outcome(engine, Terminal(tmp_path), command=["false"])
        await engine.run(Pipeline("p", [Command("true")]))
        assert children() - before == guards
    assert children() <= before


def children():
    found = set()
    for task in os.listdir("/proc/self/task"):  # noqa: PTH208
        with open(f"/proc/self/task/{task}/children") as file:  # noqa: PTH123
            found |= set(file.read().split())
    return found


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"command": []}, "argv= names no program"),
        ({"command": ["a", 3]}, "takes strings and paths, and 3 is neither"),
        ({"command": "x", "env": {"a": 3}}, "env="),
        ({"command": "x", "cwd": 3}, "terminal: "),
        ({"command": "x", "ok_codes": 3}, "terminal: "),
        ({"command": "x", "timeout": 3}, "no parameter 'timeout'"),
        ({}, "it needs the parameter 'command'"),
    ],
)
async def test_wrong_parameters_are_refused(engine, tmp_path, parameters, said):
    """What no command takes is refused before anything is started."""
    failed = await outcome(engine, Terminal(tmp_path), **parameters)
    assert isinstance(failed.error, ToolRefusedError)
    assert re.search(re.escape(said), str(failed.error))


async def test_it_works_only_in_a_step(tmp_path):
    """Outside of a run nothing would end the program."""
    with pytest.raises(GracelineError):
        await Terminal(tmp_path)(parameters={"command": ["true"]})
