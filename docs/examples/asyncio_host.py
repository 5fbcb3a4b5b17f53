"""graceline in an asyncio program: Trio runs as a guest in asyncio's event loop and its thread.

    async with graceline_host() as host:
        result = await host.run(pipeline, "what is this?")

Both loops take turns in one thread, so the functions of Trio that do not wait, such as
`engine.start`, may be called from asyncio's tasks. What waits is bridged: a Trio task follows each
run and settles an asyncio future. The guest has ended when the block has, however it is left.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import trio

from graceline import Engine, GracelineError, Node, Pipeline, PipelineResult, Run, open_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from outcome import Outcome


class Host:
    """An engine for the tasks of an asyncio program; made by `graceline_host`."""

    def __init__(self, engine: Engine, leave: trio.Event) -> None:
        self.engine = engine
        self._leave = leave

    async def run(
        self,
        pipeline: Pipeline | str,
        input: Any = None,  # noqa: A002 - the word of `engine.run`
        **options: Any,
    ) -> PipelineResult:
        """Run a pipeline and return its result; arguments and errors as for `engine.start`.

        If the asyncio task is cancelled, so is the run, and its cleanup is waited for. A second
        cancel ends the waiting; the block of `graceline_host` still waits.
        """
        if self._leave.is_set():
            raise GracelineError("the block of graceline_host was left: run inside of it")
        run = self.engine.start(pipeline, input, **options)
        ended: asyncio.Future[PipelineResult] = asyncio.get_running_loop().create_future()
        trio.lowlevel.spawn_system_task(_follow, run, ended)
        try:
            await asyncio.wait([ended])  # unlike `await ended`, a cancel leaves the future alone
        except asyncio.CancelledError:
            run.cancel("its asyncio task was cancelled")
            await asyncio.wait([ended])
            raise
        return ended.result()


async def _follow(run: Run, ended: asyncio.Future[PipelineResult]) -> None:
    """Settle asyncio's future when a run of Trio has ended."""
    try:
        with contextlib.suppress(GracelineError):  # torn down: the block raises what did it
            ended.set_result(await run.wait())
    finally:
        ended.cancel()  # does nothing if there is a result


@contextlib.asynccontextmanager
async def graceline_host(**options: Any) -> AsyncIterator[Host]:
    """Run a Trio loop with an engine as a guest of the asyncio loop: `async with ... as host`.

    Leaving the block normally waits for what runs; an exception cancels the runs, with their grace,
    and so does a cancel while it waits. If the guest breaks down, the block is cancelled and raises
    why.

    Args:
        options: those of `open_engine`.
    """
    loop, block, leave = asyncio.get_running_loop(), asyncio.current_task(), trio.Event()
    assert block is not None  # noqa: S101 - a running loop runs a task
    opened: asyncio.Future[Host] = loop.create_future()
    ended: asyncio.Future[Outcome[None]] = loop.create_future()
    cancelled_here = False

    async def guest() -> None:
        async with open_engine(**options) as engine:
            opened.set_result(Host(engine, leave))
            await leave.wait()

    def done(outcome: Outcome[None]) -> None:
        nonlocal cancelled_here
        ended.set_result(outcome)
        if opened.done() and not leave.is_set():
            cancelled_here = block.cancel()

    trio.lowlevel.start_guest_run(
        guest,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        run_sync_soon_not_threadsafe=loop.call_soon,
        done_callback=done,
        host_uses_signal_set_wakeup_fd=True,
    )
    failure: BaseException | None = None
    try:
        begun: list[asyncio.Future[Any]] = [opened, ended]
        await asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)
        if opened.done():
            yield opened.result()
    except BaseException as error:  # noqa: BLE001 - raised below: first the guest has to end
        failure = error
    leave.set()
    while not ended.done():
        if failure is not None and opened.done():
            opened.result().engine.cancel_all("the block of graceline_host was left by an error")
        try:
            await asyncio.wait([ended])
        except asyncio.CancelledError as error:
            failure = failure or error
    if cancelled_here:
        block.uncancel()
    try:
        ended.result().unwrap()
    except BaseException as error:
        if failure is None or isinstance(failure, asyncio.CancelledError):
            raise
        raise BaseExceptionGroup("the block and its guest", [failure, error]) from None
    if failure is not None:
        raise failure


async def count(text: str) -> int:
    await trio.sleep(0.01)
    return len(text.split())


async def main() -> None:
    counting = Pipeline("counting", [Node(count)], timeout="250ms", grace="100ms")
    texts = ["how long is this", "and this?"]
    async with graceline_host() as host:
        for result in await asyncio.gather(*(host.run(counting, text) for text in texts)):
            print(result.status, result.value)


if __name__ == "__main__":
    asyncio.run(main())
