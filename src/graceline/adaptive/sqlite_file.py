"""The file of a `SqliteStore`: its schema, and the statements that read and write it.

Several processes may share one file: writers take turns (WAL, a busy timeout), samples are a set,
so it does not matter who comes first. The file says that it is ours; one that does not is never
written, not even to find that out.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs

from graceline.adaptive.history import DurationHistory, Sample
from graceline.adaptive.stores import Applied, Key, Record
from graceline.errors import StoreFileError, StoreVersionError
from graceline.values import frozen

__all__ = [
    "APPLICATION",
    "SCHEMA",
    "Change",
    "diagnose",
    "open_copy",
    "open_file",
    "read_keys",
    "read_record",
    "write",
]

APPLICATION = int.from_bytes(b"grac")
"""Whose file it is, kept as SQLite's `application_id`."""

SCHEMA = 1
"""The version of the schema, kept as SQLite's `user_version`."""

_BUSY = 5.0
"""Seconds to wait for another writer."""

_TABLES = (
    """CREATE TABLE IF NOT EXISTS keys (
        id INTEGER PRIMARY KEY, lane TEXT NOT NULL, pipeline TEXT NOT NULL, stage TEXT NOT NULL,
        node TEXT NOT NULL, level TEXT NOT NULL, state TEXT NOT NULL DEFAULT '{}',
        UNIQUE (lane, pipeline, stage, node, level))""",
    """CREATE TABLE IF NOT EXISTS samples (
        key INTEGER NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
        at REAL NOT NULL, duration REAL NOT NULL, censored INTEGER NOT NULL,
        PRIMARY KEY (key, at, duration, censored)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS limits (
        key INTEGER NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
        at REAL NOT NULL, seconds REAL NOT NULL, why TEXT NOT NULL,
        PRIMARY KEY (key, at, seconds, why)) WITHOUT ROWID""",
)
_COLUMNS = "lane = ? AND pipeline = ? AND stage = ? AND node = ? AND level = ?"


@frozen
class Change:
    """New samples of a key and the state after them; without samples (None) the key is forgotten.

    Attributes:
        key: whose they are.
        samples: those that are new.
        state: the learner's; empty leaves what is there.
        limits: those that were applied to the samples.
    """

    key: Key
    samples: Sequence[Sample] | None
    state: Mapping[str, float] = attrs.field(factory=dict)
    limits: Sequence[Applied] = ()


def open_file(path: Path) -> sqlite3.Connection:
    """Open a file for any one thread at a time, and make its tables where there are none.

    Raises:
        StoreFileError: if it is of another program; it is left as it is.
        StoreVersionError: if the file is of a newer schema.
        sqlite3.Error: if it cannot be read or written.
        OSError: if its directory cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        with contextlib.closing(_look_into(path)) as looking:
            _check_ours(looking, path)
    connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    try:
        # First, and not in the log of what is to be written: whoever looks next sees whose it is.
        if _number(connection, "application_id") != APPLICATION:
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")
        _make_tables(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def open_copy(path: Path) -> sqlite3.Connection:
    """A copy in memory of what a file holds now; waits for no writer, and writes nothing.

    Raises:
        StoreFileError: if it is of another program.
        StoreVersionError: if it is of a newer schema.
        sqlite3.Error: if it is not there, or cannot be read.
    """
    before = _stamp(path)
    copy = _copied(path)
    # Without a log there are no locks either: somebody who began to write is seen afterwards.
    if _stamp(path) != before:
        copy.close()
        copy = _copied(path)
    return copy


def _copied(path: Path) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        with contextlib.closing(_look_into(path)) as looking:
            _check_ours(looking, path)
            looking.backup(copy)
        _make_tables(copy)
    except BaseException:
        copy.close()
        raise
    return copy


def _stamp(path: Path) -> tuple[int, int, bool]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0, False)
    return (found.st_mtime_ns, found.st_size, _beside(path, "-wal").exists())


def _beside(path: Path, suffix: str) -> Path:
    return Path(f"{path.resolve()}{suffix}")


def _look_into(path: Path) -> sqlite3.Connection:
    """Open a file for nothing but reading; files beside it appear only where a log is there."""
    mode = "mode=ro"
    if _beside(path, "-journal").exists():
        mode = "mode=rw"  # somebody was killed while he wrote: only a writer may roll it back
    elif not _beside(path, "-wal").exists():
        mode += "&immutable=1"
    uri = f"{path.resolve().as_uri()}?{mode}"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY, isolation_level=None)


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what is neither ours nor empty."""
    owner, version = _number(connection, "application_id"), _number(connection, "user_version")
    if owner != APPLICATION:
        (entries,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if owner or version or entries:
            raise StoreFileError(f"{path} is a database of another program, no history")
    elif version > SCHEMA:
        raise StoreVersionError(
            f"{path} has schema {version}; this version of graceline knows {SCHEMA}. Upgrade "
            "graceline, or use another file"
        )


def _make_tables(connection: sqlite3.Connection) -> None:
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


_WRONG = {
    sqlite3.SQLITE_NOTADB: "{error}; it is damaged, or of another program",
    sqlite3.SQLITE_CORRUPT: "it is damaged: {error}",
    sqlite3.SQLITE_BUSY: "another process has been writing for long: {error}",
}
_OTHER_FILE = "Name another file, or move this one away, and restart"
_REMEDIES = {
    sqlite3.SQLITE_NOTADB: _OTHER_FILE,
    sqlite3.SQLITE_CORRUPT: _OTHER_FILE,
    sqlite3.SQLITE_FULL: "Make room and restart",
    sqlite3.SQLITE_READONLY: "Make the file writable and restart",
    sqlite3.SQLITE_CANTOPEN: "Make the file and its directory writable and restart",
}


def diagnose(path: Path, error: Exception) -> tuple[str, str]:
    """What is wrong with a file that made an error, and what to do; both without a full stop."""
    if isinstance(error, StoreFileError):
        return str(error).removeprefix(f"{path} ").replace("is a", "it is a", 1), _OTHER_FILE
    if path.is_dir():
        return "it is a directory", "Name a file in it, and restart"
    if isinstance(error, OSError):
        return error.strerror or str(error), "Make its directory writable and restart"
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest of the number says more
    said = _WRONG.get(code, "{error}").format(error=error)
    return said, _REMEDIES.get(code, "Restart once that is mended")


def _values(key: Key) -> tuple[str, ...]:
    return (key.lane, key.pipeline, key.stage, key.node, key.level)


def write(connection: sqlite3.Connection, batch: Iterable[Change], window: int) -> None:
    """Write a batch in one transaction: all of it or nothing.

    Raises:
        sqlite3.Error: if it cannot be written.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        for change in batch:
            if change.samples is None:
                connection.execute(f"DELETE FROM keys WHERE {_COLUMNS}", _values(change.key))  # noqa: S608 - our own words
            else:
                _write_key(connection, change, change.samples, window)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _write_key(
    connection: sqlite3.Connection, change: Change, samples: Iterable[Sample], window: int
) -> None:
    values = _values(change.key)
    connection.execute(
        "INSERT OR IGNORE INTO keys (lane, pipeline, stage, node, level) VALUES (?, ?, ?, ?, ?)",
        values,
    )
    row = connection.execute(f"SELECT id FROM keys WHERE {_COLUMNS}", values).fetchone()  # noqa: S608
    number = int(row[0])
    if change.state:
        connection.execute(
            "UPDATE keys SET state = ? WHERE id = ?", (json.dumps(dict(change.state)), number)
        )
    connection.executemany(
        "INSERT OR IGNORE INTO samples VALUES (?, ?, ?, ?)",
        [(number, at, duration, int(censored)) for at, duration, censored in samples],
    )
    connection.executemany(
        "INSERT OR IGNORE INTO limits VALUES (?, ?, ?, ?)",
        [(number, *limit) for limit in change.limits],
    )
    for table, columns in (("samples", "at, duration, censored"), ("limits", "at, seconds, why")):
        newest_first = ", ".join(f"{column} DESC" for column in columns.split(", "))
        connection.execute(
            f"""DELETE FROM {table} WHERE key = ?1 AND ({columns}) < (
                SELECT {columns} FROM {table} WHERE key = ?1
                ORDER BY {newest_first} LIMIT 1 OFFSET ?2)""",  # noqa: S608
            (number, window - 1),
        )


def read_record(connection: sqlite3.Connection, key: Key, window: int) -> Record | None:
    """What the file knows for a key; None if nothing.

    Raises:
        sqlite3.Error: if it cannot be read.
    """
    found = connection.execute(
        f"SELECT id, state FROM keys WHERE {_COLUMNS}",  # noqa: S608
        _values(key),
    ).fetchone()
    if found is None:
        return None
    rows = connection.execute(
        "SELECT at, duration, censored FROM samples WHERE key = ?", (found[0],)
    ).fetchall()
    samples = [(at, duration, bool(censored)) for at, duration, censored in rows]
    limits = connection.execute(
        "SELECT at, seconds, why FROM limits WHERE key = ? ORDER BY at, seconds, why", (found[0],)
    ).fetchall()
    return Record(
        DurationHistory.of(samples, window),
        json.loads(found[1]),
        tuple(Applied(*limit) for limit in limits),
    )


def read_keys(connection: sqlite3.Connection) -> list[Key]:
    """All keys of the file.

    Raises:
        sqlite3.Error: if it cannot be read.
    """
    rows = connection.execute("SELECT lane, pipeline, stage, node, level FROM keys ORDER BY id")
    return [Key(*row) for row in rows.fetchall()]
