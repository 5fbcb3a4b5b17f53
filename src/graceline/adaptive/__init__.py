"""Limits that learn from the durations of calls, and the stores that keep what they learned.

Start with the essay in `graceline.adaptive.learner`. What handles files, its user imports.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from graceline.adaptive.history import DurationHistory, Sample
from graceline.adaptive.learner import Learner
from graceline.adaptive.lease import Lease
from graceline.adaptive.outlook import Outlook, Outlooks
from graceline.adaptive.recorder import Recorder
from graceline.adaptive.registry import Learners
from graceline.adaptive.settings import Settings
from graceline.adaptive.stores import (
    Applied,
    Key,
    MemoryStore,
    Record,
    Records,
    Store,
)

if TYPE_CHECKING:
    from graceline.adaptive.exporting import export_records, import_records
    from graceline.adaptive.sqlite import SqliteStore
    from graceline.adaptive.sqlite_reader import SqliteReader

__all__ = [
    "Applied",
    "DurationHistory",
    "Key",
    "Learner",
    "Learners",
    "Lease",
    "MemoryStore",
    "Outlook",
    "Outlooks",
    "Record",
    "Recorder",
    "Records",
    "Sample",
    "Settings",
    "SqliteReader",
    "SqliteStore",
    "Store",
    "export_records",
    "import_records",
]

if not TYPE_CHECKING:  # whose readers would take any name for one of ours
    _FILES = {
        "SqliteReader": "sqlite_reader",
        "SqliteStore": "sqlite",
        "export_records": "exporting",
        "import_records": "exporting",
    }

    def __getattr__(name: str) -> object:
        if name not in _FILES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_FILES})
