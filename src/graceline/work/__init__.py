"""The kinds of work a node can be: one protocol, one file each."""

from graceline.work.base import Bound, WorkContext, WorkRefusedError
from graceline.work.coroutine import bind_coroutine
from graceline.work.workers import Workers

__all__ = ["Bound", "WorkContext", "WorkRefusedError", "Workers", "bind_coroutine"]
