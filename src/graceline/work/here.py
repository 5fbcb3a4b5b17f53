"""What this process is: in a worker process, its board and the job that it is working on.

The engine's process asks too, for `remaining()` and the like, so this imports nothing that only a
worker needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graceline.work.channel import Board
    from graceline.work.job import Job

__all__ = ["Here", "current_job"]


class Here:
    """This process, if it is a worker."""

    board: Board | None = None
    job: Job | None = None


def current_job() -> Job | None:
    """The job that this process is working on; None outside of one."""
    return Here.job
