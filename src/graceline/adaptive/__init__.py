"""Limits that learn from the durations of calls, and the stores that keep what they learned.

Start with the essay in `graceline.adaptive.learner`.
"""

from graceline.adaptive.history import DurationHistory, Sample
from graceline.adaptive.learner import Learner
from graceline.adaptive.lease import Lease
from graceline.adaptive.outlook import Outlook, Outlooks
from graceline.adaptive.recorder import Recorder
from graceline.adaptive.registry import Learners
from graceline.adaptive.settings import Settings
from graceline.adaptive.sqlite import SqliteStore
from graceline.adaptive.sqlite_reader import SqliteReader
from graceline.adaptive.stores import (
    Applied,
    Key,
    MemoryStore,
    Record,
    Records,
    Store,
    export_records,
    import_records,
)

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
