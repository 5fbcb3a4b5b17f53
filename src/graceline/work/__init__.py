"""The kinds of work a node can be: one protocol, and who keeps it for each.

`coroutine` and `thread` stand alone. Worker processes: `process` is the pool, in the engine's
process; `job` is what happens in the worker; `channel` and `parcels` lie between them. Child
programs: `program` decides, `child` is one that runs, `output` is what it has written; `groups`
signals them. `guard`, with its own program `guardian`, ends both if the engine's process is killed.
"""

from graceline.work.base import Bound, WorkRefusedError
from graceline.work.coroutine import bind_coroutine
from graceline.work.workers import Workers

__all__ = ["Bound", "WorkRefusedError", "Workers", "bind_coroutine"]
