"""The live view: the waterfall of a run, redrawn on a terminal while the run goes on."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import trio
from rich.live import Live

from graceline.timelines.waterfall import Waterfall

if TYPE_CHECKING:
    from rich.console import Console

    from graceline.telemetry.timeline import Timeline

__all__ = ["show_live"]

_FRAME = 0.125
_REST = 20  # times as long as the last frame took: drawing takes a twentieth of the loop at most


async def show_live(screen: Console, timeline: Timeline) -> None:
    """Show a run until cancelled, and leave nothing of it on the screen.

    A run of less than a frame is not shown. What the nodes print goes above the picture. A terminal
    that cannot move its cursor (`TERM=dumb`) shows nothing.

    Args:
        screen: a terminal.
        timeline: the events of the run.
    """
    await trio.sleep(_FRAME)  # a short run is not held up by its picture
    with Live(
        console=screen,
        auto_refresh=False,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
        vertical_overflow="crop",
    ) as live:
        try:
            while True:
                begun = time.thread_time()  # the time that other threads take is no cost of ours
                live.update(_frame(screen, timeline, trio.current_time()), refresh=True)
                await trio.sleep(max(_FRAME, _REST * (time.thread_time() - begun)))
        finally:
            sys.stdout.flush()  # the start of a line was kept back until now
            sys.stderr.flush()


def _frame(screen: Console, timeline: Timeline, at: float) -> Waterfall:
    # The last line of the terminal stays free: it would scroll.
    return Waterfall(timeline, now=timeline.elapsed(at), height=screen.height - 1)
