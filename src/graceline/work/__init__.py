"""The kinds of work a node can be: one protocol, one file each."""

from graceline.work.base import Bound, WorkContext, WorkRefusedError
from graceline.work.coroutine import bind_coroutine
from graceline.work.thread import ThreadPool

__all__ = ["Bound", "ThreadPool", "WorkContext", "WorkRefusedError", "bind_coroutine"]
