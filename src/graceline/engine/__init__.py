"""The engine: waiting, and nothing else. `deadlines`, `resilience` and `adaptive` decide.

`opening` makes a `core` with a `register` of runs, which threads reach by `portal` and `blocking`.
`compiling` makes a `plan` of a definition with the engine's `resources`, `compiling_policies` its
`policies` with `protections`; `catalogue` keeps it. A run has a `state`, with `levels` in it:
`admission` lets it in, if `foresight` has no objection, and `runner` carries it out by `running`,
`graphs`, `items` and `choosing`, each task with a `strand`. Around a node's work are `attempts`,
made of `copies`: `hedging` sends two. `settling` makes `outcomes` of `endings`, of which `telling`
makes events. What a node uses is in `context`, `cleanup`, `header` and `scopes`; what people see,
in `handle`, `health` and `watchdog`, and what a collector sees in `metering`. `functions` are named
by files.
"""

from graceline.engine.admission import AdmissionHealth, AdmissionMode
from graceline.engine.blocking import BlockingEngine
from graceline.engine.bulkhead import BulkheadHealth
from graceline.engine.cleanup import Cleanup, cleanup
from graceline.engine.context import (
    Current,
    StopSignal,
    current,
    remaining,
    save_partial,
    stopping,
)
from graceline.engine.core import Engine, Mode
from graceline.engine.handle import Run
from graceline.engine.header import incoming_budget, outgoing_headers
from graceline.engine.health import AbandonedThread, Health, RunHealth
from graceline.engine.opening import open_engine
from graceline.engine.portal import Portal, PortalRun
from graceline.engine.scopes import DeadlineScope
from graceline.engine.watchdog import Blocked, Stuck, Watchdog

__all__ = [
    "AbandonedThread",
    "AdmissionHealth",
    "AdmissionMode",
    "Blocked",
    "BlockingEngine",
    "BulkheadHealth",
    "Cleanup",
    "Current",
    "DeadlineScope",
    "Engine",
    "Health",
    "Mode",
    "Portal",
    "PortalRun",
    "Run",
    "RunHealth",
    "StopSignal",
    "Stuck",
    "Watchdog",
    "cleanup",
    "current",
    "incoming_budget",
    "open_engine",
    "outgoing_headers",
    "remaining",
    "save_partial",
    "stopping",
]
