"""graceline: a Trio structured-concurrency engine for pipelines that must answer in time.

What defines pipelines, and what comes out of them, is imported at once; the engine and what it
needs, with the first name of theirs that is used: half the time of the import.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from graceline.deadlines import Blame, DeadlineStatus, Kind, Source, Status
from graceline.definitions import (
    Adaptive,
    Breaker,
    Bulkhead,
    Command,
    Hedge,
    Node,
    Pipeline,
    Retry,
    Stage,
    Timeouts,
    choose,
    each,
    node,
    parallel,
    sequence,
)
from graceline.durations import format_duration, parse_duration
from graceline.errors import (
    AttemptTimeoutError,
    CircuitOpenError,
    CommandFailedError,
    DeadlineExceededError,
    DeadlineSpentError,
    DefinitionError,
    DefinitionWarning,
    GracelineError,
    NodeFailedError,
    NodeTimeoutError,
    OverloadedError,
    PipelineCancelledError,
    PipelineTimeoutError,
    RecordedError,
    StageTimeoutError,
    StoreFileError,
    StoreVersionError,
    WorkerDiedError,
)
from graceline.results import CommandOutput, NodeOutcome, PipelineResult, StageOutcome

if TYPE_CHECKING:
    from graceline.engine import (
        AbandonedThread,
        AdmissionHealth,
        AdmissionMode,
        Blocked,
        BlockingEngine,
        BulkheadHealth,
        Cleanup,
        Current,
        DeadlineScope,
        Engine,
        Health,
        Mode,
        Portal,
        PortalRun,
        Run,
        RunHealth,
        StopSignal,
        Stuck,
        Watchdog,
        cleanup,
        current,
        incoming_budget,
        open_engine,
        outgoing_headers,
        remaining,
        save_partial,
        stopping,
    )
    from graceline.resilience import AlternativeSnapshot, BreakerSnapshot, BreakerState, Malformed
    from graceline.telemetry.prometheus import Metrics
    from graceline.timelines import RunTimeline
    from graceline.timers import TimerScope, TimerTree

__all__ = [
    "AbandonedThread",
    "Adaptive",
    "AdmissionHealth",
    "AdmissionMode",
    "AlternativeSnapshot",
    "AttemptTimeoutError",
    "Blame",
    "Blocked",
    "BlockingEngine",
    "Breaker",
    "BreakerSnapshot",
    "BreakerState",
    "Bulkhead",
    "BulkheadHealth",
    "CircuitOpenError",
    "Cleanup",
    "Command",
    "CommandFailedError",
    "CommandOutput",
    "Current",
    "DeadlineExceededError",
    "DeadlineScope",
    "DeadlineSpentError",
    "DeadlineStatus",
    "DefinitionError",
    "DefinitionWarning",
    "Engine",
    "GracelineError",
    "Health",
    "Hedge",
    "Kind",
    "Malformed",
    "Metrics",
    "Mode",
    "Node",
    "NodeFailedError",
    "NodeOutcome",
    "NodeTimeoutError",
    "OverloadedError",
    "Pipeline",
    "PipelineCancelledError",
    "PipelineResult",
    "PipelineTimeoutError",
    "Portal",
    "PortalRun",
    "RecordedError",
    "Retry",
    "Run",
    "RunHealth",
    "RunTimeline",
    "Source",
    "Stage",
    "StageOutcome",
    "StageTimeoutError",
    "Status",
    "StopSignal",
    "StoreFileError",
    "StoreVersionError",
    "Stuck",
    "Timeouts",
    "TimerScope",
    "TimerTree",
    "Watchdog",
    "WorkerDiedError",
    "choose",
    "cleanup",
    "current",
    "each",
    "format_duration",
    "incoming_budget",
    "node",
    "open_engine",
    "outgoing_headers",
    "parallel",
    "parse_duration",
    "remaining",
    "save_partial",
    "sequence",
    "stopping",
]

if not TYPE_CHECKING:  # whose readers would take any name for one of ours
    _ROOMS = {
        "AlternativeSnapshot": "resilience",
        "BreakerSnapshot": "resilience",
        "BreakerState": "resilience",
        "Malformed": "resilience",
        "Metrics": "telemetry.prometheus",
        "RunTimeline": "timelines",
        "TimerScope": "timers",
        "TimerTree": "timers",
    }

    _PACKAGES = {
        "adaptive", "engine", "resilience", "saying", "telemetry", "timelines", "timers", "work",
    }  # fmt: skip

    def __getattr__(name: str) -> object:
        if name in _PACKAGES:  # `graceline.telemetry` needs no import of its own
            return import_module(f"{__name__}.{name}")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        room = import_module(f"{__name__}.{_ROOMS.get(name, 'engine')}")
        found = globals()[name] = getattr(room, name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_PACKAGES})
