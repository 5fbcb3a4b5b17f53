import asyncio
import contextvars
import signal
import subprocess
import sys
import threading
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import trio

from graceline import DefinitionError, GracelineError, Node, Pipeline, cleanup

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "asyncio_host.py"
SPEC = spec_from_file_location("asyncio_host", EXAMPLE)
MODULE = module_from_spec(SPEC)
SPEC.loader.exec_module(MODULE)
graceline_host = MODULE.graceline_host


def run(main):
    """Run an asyncio program, a minute at most; its guest has ended when it has."""
    try:
        return asyncio.run(asyncio.wait_for(main(), 60))
    finally:
        with pytest.raises(RuntimeError):
            trio.lowlevel.current_trio_token()
        assert asyncio.run(asyncio.sleep(0, "no stray cancel")) == "no stray cancel"


def pipeline(function, **limits):
    return Pipeline("p", [Node(function, name="n")], **({"timeout": 60, "grace": 30} | limits))


class Slow:
    """A node that waits until it is released or cancelled, and cleans up."""

    def __init__(self):
        self.started, self.cleaning = asyncio.Event(), asyncio.Event()
        self.release, self.clean = trio.Event(), trio.Event()
        self.clean.set()
        self.cleaned = 0

    async def __call__(self, value):
        self.started.set()
        try:
            await self.release.wait()
        finally:
            with cleanup():
                self.cleaning.set()
                await self.clean.wait()
                self.cleaned += 1
        return value


def test_program():
    """The file is a program: it prints what its pipelines came to, and ends."""
    done = subprocess.run(  # noqa: S603 - our own example
        [sys.executable, "-W", "error", EXAMPLE],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok 4\nok 2\n", "")


def test_result():
    """An asyncio task awaits a pipeline's result: of Trio nodes and of threads, good and bad."""
    tenant = contextvars.ContextVar("tenant")

    async def under_trio(value):
        await trio.lowlevel.checkpoint()
        return value, tenant.get(), threading.get_ident()

    def raises(value):
        raise ValueError(value)

    async def main():
        tenant.set("ada")
        async with graceline_host() as host:
            good = await host.run(pipeline(under_trio), 1)
            bad = await host.run(pipeline(raises), "no")
            late = await host.run(pipeline(Slow()), timeout=0.01)
            with pytest.raises(DefinitionError, match="unknown"):
                await host.run("unknown")
        return good, bad, late

    good, bad, late = run(main)
    assert (good.status, good.value) == ("ok", (1, "ada", threading.get_ident()))
    assert (bad.status, str(bad.error)) == ("failed", "no")
    assert (late.status, late.blame.source) == ("timed_out", "call")


def test_several_at_once():
    """Runs of several asyncio tasks are interleaved: each waits for all others to have started."""
    started, all_started = [], trio.Event()

    async def meet(value):
        started.append(value)
        if len(started) == 8:
            all_started.set()
        await all_started.wait()
        return value

    async def main():
        async with graceline_host() as host:
            return await asyncio.gather(*(host.run(pipeline(meet), i) for i in range(8)))

    assert [result.value for result in run(main)] == list(range(8))


def test_cancelled_task():
    """A cancelled asyncio task cancels its run, and ends when the run's cleanup has."""
    slow = Slow()
    slow.clean = trio.Event()

    async def main():
        async with graceline_host() as host:
            task = asyncio.create_task(host.run(pipeline(slow)))
            await slow.started.wait()
            (live,) = host.engine.runs()
            task.cancel()
            await slow.cleaning.wait()
            assert not task.done()
            slow.clean.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (slow.cleaned, live.result.status) == (1, "cancelled")
            assert live.result.blame.message == "its asyncio task was cancelled"
            # The host goes on.
            slow.release.set()
            assert (await host.run(pipeline(slow), 2)).value == 2

    run(main)


def test_second_cancel():
    """A second cancel ends the waiting at once; leaving the block waits for the cleanup."""
    slow = Slow()
    slow.clean = trio.Event()

    async def main():
        async with graceline_host() as host:
            task = asyncio.create_task(host.run(pipeline(slow)))
            await slow.started.wait()
            task.cancel()
            await slow.cleaning.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert slow.cleaned == 0
            slow.clean.set()
        assert slow.cleaned == 1

    run(main)


def test_leaving_waits():
    """Leaving the block normally waits for runs of other tasks, and takes no new ones."""
    slow = Slow()

    async def main():
        async with graceline_host() as host:
            task = asyncio.create_task(host.run(pipeline(slow), "value"))
            await slow.started.wait()
            asyncio.get_running_loop().call_soon(slow.release.set)
        with pytest.raises(GracelineError, match="was left"):
            await host.run(pipeline(slow))
        return await task

    assert run(main).value == "value"


def test_error_of_the_block():
    """An exception in the block cancels the runs as shutdown, with cleanup, and is raised as it is."""
    slow = Slow()
    task = None

    async def main():
        nonlocal task
        with pytest.raises(ZeroDivisionError):
            async with graceline_host() as host:
                task = asyncio.create_task(host.run(pipeline(slow)))
                await slow.started.wait()
                1 / 0  # noqa: B018
        return await task

    result = run(main)
    assert (result.status, result.blame.kind, slow.cleaned) == ("cancelled", "shutdown", 1)


def test_cancel_while_leaving():
    """A cancel that comes while the block waits for its runs cancels them, and waits on."""
    slow = Slow()

    async def program():
        async with graceline_host() as host:
            asyncio.create_task(host.run(pipeline(slow)))  # noqa: RUF006
            await slow.started.wait()
            asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)

    async def main():
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(program())
        assert slow.cleaned == 1

    run(main)


def test_breakdown():
    """A node that raises what is for the program ends the block, which was waiting, and is raised."""

    async def quits(value):
        raise SystemExit(3)

    async def program():
        async with graceline_host() as host:
            side = asyncio.create_task(host.run(pipeline(quits)))
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                with pytest.raises(asyncio.CancelledError):
                    await side

    async def main():
        with pytest.raises(BaseExceptionGroup) as raised:
            await program()
        assert raised.group_contains(SystemExit)
        assert raised.value.split(SystemExit)[1] is None
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)

    run(main)


def test_two_errors():
    """An error of the block and one of the guest are both raised."""

    async def quits(value):
        raise SystemExit(3)

    async def main():
        with pytest.raises(BaseExceptionGroup) as raised:
            async with graceline_host() as host:
                try:
                    await host.run(pipeline(quits))
                finally:
                    1 / 0  # noqa: B018
        assert raised.group_contains(SystemExit)
        assert raised.group_contains(ZeroDivisionError)

    run(main)


def test_bad_options():
    """Options are those of `open_engine`; a mistake in them is raised where the block begins."""

    async def main():
        with pytest.raises(DefinitionError, match="max_threads"):
            async with graceline_host(max_threads=0):
                pytest.fail("it began")
        async with graceline_host(lane="web") as host:
            return host.engine.lane

    assert run(main) == "web"


def test_cancelled_while_opening():
    """A cancel that comes before the guest has begun ends it all the same."""

    async def program():
        async with graceline_host():
            pytest.fail("it began")

    async def main():
        task = asyncio.create_task(program())
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)


def test_interrupt():
    """Ctrl-C cancels the runs with their cleanup, and is raised by `asyncio.run`."""
    slow = None

    async def main():
        nonlocal slow
        slow = Slow()
        async with graceline_host() as host:
            task = asyncio.create_task(host.run(pipeline(slow)))
            await slow.started.wait()
            signal.raise_signal(signal.SIGINT)
            await task

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio minds no other
    try:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(main())
    finally:
        signal.signal(signal.SIGINT, before)
    assert slow.cleaned == 1
