import io
import json
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from graceline import StoreFileError, StoreVersionError
from graceline.adaptive import (
    Applied,
    DurationHistory,
    Key,
    Learner,
    MemoryStore,
    Record,
    SqliteReader,
    SqliteStore,
    export_records,
    import_records,
    sqlite_file,
)

KEY = Key("lane", "p", "s", "n")
OTHER = Key(node="other")
THOROUGH = os.environ.get("GRACELINE_PROFILE") == "thorough"


def kills():
    """Flushed lines before each kill, and seconds after the last of them: anywhere in a batch."""
    rng = random.Random(9)  # noqa: S311 - moments
    for _ in range(50 if THOROUGH else 5):
        yield rng.choice([1, 2, 7, 30, 120]), rng.uniform(0.0, 0.01) if THOROUGH else 0.0


def samples(*durations, start=1.0, censored=False):
    return [(start + at, duration, censored) for at, duration in enumerate(durations)]


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    """An empty store with a window of 4 samples."""
    made = MemoryStore(4) if request.param == "memory" else SqliteStore(tmp_path / "h.db", window=4)
    yield made
    if isinstance(made, SqliteStore):
        made.close()


def test_what_is_put_can_be_loaded(store):
    """A key's record has the samples and the last state that were put for it; other keys have none."""
    store.put(KEY, samples(0.1, 0.2), {"margin": 0.5})
    store.put(KEY, samples(0.3, start=9.0, censored=True), {"margin": 0.25})
    record = store.load(KEY)
    assert record.history.samples() == [(1.0, 0.1, False), (2.0, 0.2, False), (9.0, 0.3, True)]
    assert record.state == {"margin": 0.25}
    assert store.load(OTHER) is None
    assert store.keys() == [KEY]


def test_a_record_holds_the_newest_samples(store):
    """However many are put in whatever order, the newest of the window stay, and equal ones count once."""
    store.put(KEY, samples(5.0, 6.0, 7.0, start=10.0), {})
    store.put(KEY, samples(1.0, 2.0, 3.0), {})
    store.put(KEY, samples(5.0, 6.0, 7.0, start=10.0), {})
    assert [at for at, _, _ in store.load(KEY).history.samples()] == [3.0, 10.0, 11.0, 12.0]


def test_samples_without_a_state_keep_the_state(store):
    """Samples of another replica do not take away what the learner here knows."""
    store.put(KEY, samples(0.1), {"margin": 0.5})
    store.put(KEY, samples(0.2, start=5.0), {})
    assert store.load(KEY).state == {"margin": 0.5}


def test_the_newest_limits_are_kept(store):
    """The limits that were applied are kept beside the samples, the newest of the window, each once."""
    limits = [Applied(float(at), 0.1 * at, "learned") for at in range(1, 7)]
    store.put(KEY, samples(0.1), {}, limits[2:])
    store.put(KEY, samples(0.1), {}, [*limits[:4], Applied(6.5, 3.0, "probe")])
    assert store.load(KEY).limits == (*limits[3:], Applied(6.5, 3.0, "probe"))


def test_a_forgotten_key_is_gone(store):
    """What is forgotten is gone, may come again, and forgetting the unknown is fine."""
    store.put(KEY, samples(0.1), {"margin": 0.5})
    store.forget(KEY)
    store.forget(OTHER)
    assert store.load(KEY) is None
    assert store.keys() == []
    store.put(KEY, samples(0.2), {})
    assert store.load(KEY) == Record(DurationHistory.of(samples(0.2), 4), {})


def test_json_lines_carry_everything(store):
    """Exported and imported elsewhere, every record is the same; imported twice as well."""
    limits = [Applied(1.0, 0.3, "learned"), Applied(2.0, 3.0, "alarm")]
    store.put(KEY, samples(0.1, 0.2), {"margin": 0.5, "warm": True}, limits)
    store.put(OTHER, samples(0.3, censored=True), {})
    file = io.StringIO()
    assert export_records(store, file) == 2
    copy = MemoryStore(4)
    for _ in range(2):
        assert import_records(copy, [*file.getvalue().splitlines(), ""]) == 2
    assert {key: copy.load(key) for key in copy.keys()} == {  # noqa: SIM118
        key: store.load(key)
        for key in store.keys()  # noqa: SIM118
    }


def test_an_import_merges(store):
    """Imported samples join those that are there; the state that comes with the newer sample wins."""
    store.put(KEY, samples(0.1, 0.2), {"margin": 0.5})
    other = MemoryStore(4)
    other.put(KEY, samples(0.3, start=1.5), {"margin": 0.25})
    file = io.StringIO()
    export_records(other, file)
    import_records(store, file.getvalue().splitlines())
    record = store.load(KEY)
    assert [duration for _, duration, _ in record.history.samples()] == [0.1, 0.3, 0.2]
    assert record.state == {"margin": 0.5}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2 is no exported history: Expecting .*, at column 2$"),
        ('{"a": 1}', "line 2 is no exported history: it has no 'format'"),
        ("[]", "line 2 is no exported history"),
        ('{"format": 1}', "line 2 is no exported history"),
        (
            '{"format": 1, "state": {"margin": "x"}, "history": {"window": 1, "samples": []}}',
            "'x' is no number",
        ),
        (
            (
                '{"format": 1, "state": {}, "history": {"window": 1, "samples": []}, '
                '"limits": [[1.0, 0.5, "guess"]]}'
            ),
            "'guess' is not what a limit was; one of learned, probe, alarm",
        ),
        (
            '{"format": 1, "state": {"margin": NaN}, "history": {"window": 1, "samples": []}}',
            "line 2 .* nan is not finite",
        ),
        (
            (
                '{"format": 1, "state": {}, "history": {"window": 1, "samples": []}, '
                '"limits": [[1.0, Infinity, "learned"]]}'
            ),
            "line 2 .* inf is not finite",
        ),
        (
            '{"format": 1, "state": {}, "history": {"window": Infinity, "samples": []}}',
            "line 2 is no exported history",
        ),
        ("[" * 100_000, "line 2 is no exported history"),
        (
            '{"format": 2, "state": {}, "history": {"window": 1, "samples": []}}',
            "line 2 has format 2; this version of graceline reads 1",
        ),
    ],
)
def test_a_broken_import_changes_nothing(store, line, says):
    """A file with a line that is none of ours is refused by the number of that line, as a whole."""
    good = json.dumps({"format": 1, "state": {}, "history": {"window": 1, "samples": [[1, 1, 0]]}})
    with pytest.raises(ValueError, match=says):
        import_records(store, [good, line])
    assert store.keys() == []


def test_merging_records_needs_no_order():
    """Merged records have both histories and one state, whichever comes first."""
    one = Record(DurationHistory.of(samples(0.1)), {"margin": 0.1})
    two = Record(DurationHistory.of(samples(0.2, start=7.0)), {"margin": 0.2})
    assert one.merge(two) == two.merge(one)
    assert one.merge(two).state == {"margin": 0.2}
    assert one.merge(Record(two.history)).state == {"margin": 0.1}


# -- the file --------------------------------------------------------------------------------------


def test_a_file_outlives_its_store(tmp_path):
    """What a closed store was given is there when the file is opened again."""
    path = tmp_path / "deep" / "down" / "h.db"
    first = SqliteStore(path)
    first.put(KEY, samples(0.1, 0.2), {"margin": 0.5, "warm": True})
    first.close()
    first.close()
    second = SqliteStore(path)
    assert second.load(KEY) == Record(
        DurationHistory.of(samples(0.1, 0.2)), {"margin": 0.5, "warm": True}
    )
    second.close()
    with pytest.raises(RuntimeError, match="is closed"):
        second.put(KEY, [], {})


def test_stores_share_a_file(tmp_path):
    """Two stores on one file, each with threads that write, lose nothing and see what the other wrote."""
    stores = [SqliteStore(tmp_path / "h.db") for _ in range(2)]

    def write(store, number):
        for at in range(20):
            store.put(KEY, [(100.0 * number + at, 0.1, False)], {"margin": 0.5})

    threads = [
        threading.Thread(target=write, args=(store, number))
        for number, store in enumerate(stores * 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.flush()
    assert [len(store.load(KEY).history) for store in stores] == [80, 80]
    for store in stores:
        store.close()


def test_a_newer_schema_is_refused(tmp_path):
    """A file of a newer graceline is left alone, with a message that says what to do."""
    path = tmp_path / "h.db"
    SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {sqlite_file.SCHEMA + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreVersionError, match=r"has schema 2; .* knows 1\. Upgrade graceline"):
        SqliteStore(path)
    with pytest.raises(StoreVersionError, match="has schema 2"):
        SqliteReader(path)
    assert path.read_bytes() == before


FOREIGN = {
    "tables": ["CREATE TABLE keys (name TEXT)"],
    "wal": ["PRAGMA journal_mode = WAL", "CREATE TABLE other (name TEXT)"],
    "version": ["PRAGMA user_version = 7"],
    "owner": ["PRAGMA application_id = 7"],
}


@pytest.mark.parametrize("made_by", FOREIGN)
def test_a_database_of_another_program(tmp_path, caplog, made_by):
    """It is left as it is, byte by byte: who reads is refused, and a store goes on in memory."""
    path = tmp_path / "shop.db"
    other = sqlite3.connect(path, isolation_level=None)
    for statement in FOREIGN[made_by]:
        other.execute(statement)
    other.close()
    before = path.read_bytes()
    says = "is a database of another program, no history"
    with pytest.raises(StoreFileError, match=f"{path} {says}"):
        SqliteReader(path)
    with pytest.raises(StoreFileError, match=f"it {says}"):
        SqliteStore(path, strict=True)
    check_works_in_memory(SqliteStore(path), caplog)
    (warning,) = warnings_of(caplog)
    assert f"(it {says})" in warning.getMessage()
    assert "writable" not in warning.getMessage()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_empty_file_is_taken(tmp_path, caplog):
    """A file of no bytes belongs to nobody yet: it reads as empty, and a store may have it."""
    path = tmp_path / "h.db"
    path.touch()
    with SqliteReader(path) as reader:
        assert reader.keys() == []
    assert path.read_bytes() == b""
    with SqliteStore(path) as store:
        store.put(KEY, samples(0.1), {})
    with SqliteReader(path) as reader:
        assert reader.keys() == [KEY]
    assert warnings_of(caplog) == []


def test_reading_writes_nothing(tmp_path):
    """A reader sees all that was written, in a directory as it is, and leaves nothing beside it."""
    path = tmp_path / "h.db"
    with SqliteStore(path) as store:
        store.put(KEY, samples(0.1, 0.2), {"margin": 0.5}, [Applied(1.0, 0.3, "probe")])
        kept = store.load(KEY)
    before = path.read_bytes()
    path.chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        with SqliteReader(path) as reader:
            assert reader.keys() == [KEY]
            assert reader.load(KEY) == kept
            assert reader.load(OTHER) is None
            assert list(tmp_path.iterdir()) == [path]
    finally:
        tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_reading_waits_for_no_writer(tmp_path, monkeypatch):
    """While another process writes, a reader sees what was there before, at once."""
    monkeypatch.setattr(sqlite_file, "_BUSY", 0.0)
    path = tmp_path / "h.db"
    with SqliteStore(path) as store:
        store.put(KEY, samples(0.1), {})
        store.flush()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        other.execute("DELETE FROM keys")
        with SqliteReader(path) as reader:
            assert reader.load(KEY).history.samples() == samples(0.1)
        other.execute("ROLLBACK")
        other.close()


def test_somebody_begins_to_write_while_it_is_read(tmp_path, monkeypatch):
    """A file that changed under the reader is read again, so it never gives half of a change."""
    path = tmp_path / "h.db"
    SqliteStore(path).close()
    real, copied = sqlite_file._copied, []

    def copy(path):
        copied.append(real(path))
        if len(copied) == 1:
            with SqliteStore(path) as store:
                store.put(KEY, samples(0.1), {})
        return copied[-1]

    monkeypatch.setattr(sqlite_file, "_copied", copy)
    with SqliteReader(path) as reader:
        assert reader.keys() == [KEY]
    assert len(copied) == 2


def test_what_cannot_be_read(tmp_path):
    """A reader of nothing, of a directory or of what is no database says so, and makes nothing."""
    (tmp_path / "text").write_text("this is no database, but long enough for its first page" * 20)
    for name, says in (("a/b.db", "unable to open"), ("text", "is not a database"), ("", "direct")):
        with pytest.raises(StoreFileError, match=f"cannot be used as a history: .*{says}"):
            SqliteReader(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_a_damaged_file(tmp_path, caplog):
    """A file of which a part is missing is said to be damaged, not to lack permissions."""
    path = tmp_path / "h.db"
    with SqliteStore(path) as store:
        for number in range(500):
            store.put(Key(node=str(number)), samples(0.1), {})
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(StoreFileError, match="it is damaged"):
        SqliteReader(path)
    with SqliteStore(path) as store:
        store.keys()
    (warning,) = warnings_of(caplog)
    assert "it is damaged" in warning.getMessage()
    assert "move this one away" in warning.getMessage()


def warnings_of(caplog):
    return [record for record in caplog.records if record.levelno == logging.WARNING]


def check_works_in_memory(store, caplog, *, known=None):
    """It says so once, and goes on as a store in memory."""
    for at in (1.0, 2.0):
        store.put(OTHER, [(at, 0.5, False)], {"margin": at})
        store.flush()
    assert store.load(OTHER) == Record(
        DurationHistory.of([(1.0, 0.5, False), (2.0, 0.5, False)]), {"margin": 2.0}
    )
    assert store.load(KEY) == known
    assert store.keys() == [*([KEY] if known else []), OTHER]
    store.forget(KEY)
    store.forget(OTHER)
    assert store.load(KEY) is None
    assert store.keys() == []
    assert store.degraded
    assert "in memory only" in repr(store)
    (warning,) = warnings_of(caplog)
    assert str(store.path) in warning.getMessage()
    assert "in memory only" in warning.getMessage()
    store.close()


def test_a_file_that_is_no_database(tmp_path, caplog):
    """A file that is something else is left alone: one warning, and everything goes on in memory."""
    path = tmp_path / "h.db"
    path.write_text("these are no histories\n" * 100)
    check_works_in_memory(SqliteStore(path), caplog)
    assert path.read_text() == "these are no histories\n" * 100


def test_a_place_where_no_file_can_be(tmp_path, caplog):
    """A path through a file, or to a directory: one warning, and everything goes on in memory."""
    (tmp_path / "file").write_text("")
    check_works_in_memory(SqliteStore(tmp_path / "file" / "h.db"), caplog)
    caplog.clear()
    check_works_in_memory(SqliteStore(tmp_path), caplog)


def test_a_full_disk(tmp_path, caplog):
    """When the disk is full, the batch that did not fit is kept in memory, what was written stays, and all goes on."""
    store = SqliteStore(tmp_path / "h.db")
    store.put(KEY, samples(0.1), {})
    store.flush()
    store._file.execute("PRAGMA max_page_count = 1")
    many = [Key(node="x" * 2000 + str(number)) for number in range(20)]
    for key in many:
        store.put(key, samples(0.2), {})
    store.flush()
    assert "full" in warnings_of(caplog)[0].getMessage()
    assert all(store.load(key) is not None for key in many)
    for key in many:
        store.forget(key)
    check_works_in_memory(store, caplog, known=Record(DurationHistory.of(samples(0.1)), {}))


def test_a_file_that_became_read_only(tmp_path, caplog):
    """A file that must not be written any more is still read, and new samples join in memory."""
    store = SqliteStore(tmp_path / "h.db")
    store.put(KEY, samples(0.1), {"margin": 0.5})
    store.flush()
    store._file.execute("PRAGMA query_only = ON")
    store.put(KEY, samples(0.2, start=5.0), {})
    store.flush()
    known = Record(DurationHistory.of([*samples(0.1), *samples(0.2, start=5.0)]), {"margin": 0.5})
    check_works_in_memory(store, caplog, known=known)
    again = SqliteStore(tmp_path / "h.db")
    assert len(again.load(KEY).history) == 1
    again.close()


@pytest.fixture
def read_only():
    """A directory with a file of histories, neither of which this process may write."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "h.db"
        with SqliteStore(path) as store:
            store.put(KEY, samples(0.1), {"margin": 0.5})
        path.chmod(0o444)
        path.parent.chmod(0o555)
        user = os.geteuid()
        if user == 0:  # root may write anything
            os.seteuid(65534)
        try:
            yield path
        finally:
            os.seteuid(user)
            path.parent.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="files have no owners here")
def test_a_file_that_may_not_be_written_when_it_is_opened(read_only, caplog):
    """A file that is read-only from the start is left as it is: one warning, and everything new is in memory."""
    before = read_only.read_bytes()
    store = SqliteStore(read_only)
    assert store.degraded
    for _ in range(2):
        store.put(OTHER, samples(0.2), {})
    assert store.load(OTHER).history.samples() == samples(0.2)
    store.close()
    (warning,) = warnings_of(caplog)
    assert "Make the file writable" in warning.getMessage()
    assert read_only.read_bytes() == before


def test_a_file_that_breaks_later(tmp_path, caplog):
    """A record that turns out to be broken when it is read is missing: one warning, and all goes on in memory."""
    store = SqliteStore(tmp_path / "h.db")
    store.put(KEY, samples(0.1), {})
    store.flush()
    store._file.execute("UPDATE keys SET state = 'no json'")
    for _ in range(2):
        assert store.load(KEY) is None
    store.put(KEY, samples(0.2), {})
    assert store.load(KEY).history.samples() == samples(0.2)
    assert len(warnings_of(caplog)) == 1
    store.close()


def held_writer(monkeypatch, failure=None):
    """The writer of stores waits in its first batch until it is let go; then it fails, or writes."""
    begun, go = threading.Event(), threading.Event()
    real = sqlite_file.write

    def write(connection, batch, window):
        begun.set()
        go.wait()
        if failure is not None:
            raise failure
        real(connection, batch, window)

    monkeypatch.setattr(sqlite_file, "write", write)
    return begun, go


def test_a_flush_waits_for_the_batch_that_is_being_written(tmp_path, monkeypatch):
    """What the writer has taken and not yet written is not on the disk: a flush waits for it."""
    begun, go = held_writer(monkeypatch)
    store = SqliteStore(tmp_path / "h.db")
    store.put(KEY, samples(0.1), {})
    begun.wait()
    done = []
    real = store._changed.wait_for

    def wait_for(predicate):
        done.append(predicate())
        go.set()
        return real(predicate)

    monkeypatch.setattr(store._changed, "wait_for", wait_for)
    store.flush()
    assert done[0] is False
    store.close()


def test_what_waits_while_a_batch_fails_is_not_lost(tmp_path, caplog, monkeypatch):
    """Whatever was put while a batch was being written that failed is in memory with that batch."""
    failure = sqlite3.OperationalError("database or disk is full")
    failure.sqlite_errorcode = sqlite3.SQLITE_FULL
    begun, go = held_writer(monkeypatch, failure)
    store = SqliteStore(tmp_path / "h.db")
    store.put(KEY, samples(0.1), {})
    begun.wait()
    store.put(KEY, samples(0.2, start=5.0), {"margin": 0.5})
    store.put(OTHER, samples(0.3), {})
    go.set()
    kept = [*samples(0.1), *samples(0.2, start=5.0)]
    assert store.load(KEY) == Record(DurationHistory.of(kept), {"margin": 0.5})
    assert store.load(OTHER).history.samples() == samples(0.3)
    assert len(warnings_of(caplog)) == 1
    store.close()


def test_the_file_keeps_no_more_than_the_window(tmp_path):
    """Samples and limits beyond the window leave the file, which therefore does not grow for ever."""
    path = tmp_path / "h.db"
    with SqliteStore(path, window=4) as store:
        for at in range(20):
            store.put(KEY, [(float(at), 0.1, False)], {}, [Applied(float(at), 0.3, "learned")])
            store.put(OTHER, samples(0.1), {})
    connection = sqlite3.connect(path)
    for table in ("samples", "limits"):
        rows = connection.execute(f"SELECT key, at FROM {table} ORDER BY key, at").fetchall()  # noqa: S608
        assert rows[:4] == [(1, 16.0), (1, 17.0), (1, 18.0), (1, 19.0)]
        assert rows[4:] == ([(2, 1.0)] if table == "samples" else [])
    connection.close()


def test_another_writer_is_waited_for(tmp_path, caplog, monkeypatch):
    """A file that another process is writing is tried again before it is given up."""
    monkeypatch.setattr(sqlite_file, "_BUSY", 0.0)
    path = tmp_path / "h.db"
    store = SqliteStore(path)
    tries = []
    real = sqlite_file.write

    def write(connection, batch, window):
        tries.append(None)
        if len(tries) == 3:
            other.execute("ROLLBACK")
        real(connection, batch, window)

    monkeypatch.setattr(sqlite_file, "write", write)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    store.put(KEY, samples(0.1), {})
    store.flush()
    assert len(tries) == 3
    assert not store.degraded
    assert warnings_of(caplog) == []
    other.execute("BEGIN IMMEDIATE")
    store.put(KEY, samples(0.2), {})
    store.flush()
    assert "locked" in warnings_of(caplog)[0].getMessage()
    other.close()
    store.close()


WRITER = """
import sys
from graceline.adaptive import Key, Learners, Settings, SqliteStore
number = int(sys.argv[2])
with SqliteStore(sys.argv[1]) as store:
    learners = Learners(store, batch=4)
    learners.preload()
    print("ready", flush=True)
    sys.stdin.readline()
    for call in range(20):
        lease = learners.issue(Key(node="shared"), Settings())
        lease.completed(0.05, 100.0 * call + number)
    learners.recorder(Key(node=str(number))).add(0.05)
    learners.close()
    print(store.degraded, flush=True)
"""


def test_processes_that_live_at_once_share_a_file(tmp_path):
    """Several processes that learn at once from one file lose no sample of a key that they share."""
    path = tmp_path / "h.db"
    command = [sys.executable, "-c", WRITER, str(path)]
    children = [
        subprocess.Popen(  # noqa: S603
            [*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(3)
    ]
    assert [child.stdout.readline() for child in children] == ["ready\n"] * 3
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        said, _ = child.communicate()
        assert (child.returncode, said) == (0, "False\n")
    with SqliteStore(path) as store:
        record = store.load(Key(node="shared"))
        assert {key.node for key in store.keys()} == {"shared", "0", "1", "2"}  # noqa: SIM118
    stamps = sorted(100.0 * call + number for call in range(20) for number in range(3))
    assert [at for at, _, _ in record.history.samples()] == stamps
    assert [limit.at for limit in record.limits] == stamps
    assert record.state.keys() == Learner().state().keys()


# -- kill -9 ---------------------------------------------------------------------------------------

CHILD = """
import sys
from graceline.adaptive import Key, SqliteStore
store = SqliteStore(sys.argv[1])
first = int(sys.argv[2])
for at in range(first, first + 1_000_000):
    store.put(Key(node="n"), [(float(at), 0.1, False)], {"margin": float(at)})
    if at % 10 == 9:
        store.flush()
        print(at, flush=True)
"""


def test_a_kill_never_corrupts(tmp_path):
    """Killed with SIGKILL at any moment, a process leaves a sound file with all that was flushed, state and samples alike."""
    path = tmp_path / "h.db"
    start = 0
    for lines, seconds in kills():
        command = [sys.executable, "-c", CHILD, str(path), str(start)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603
            for _ in range(lines):
                flushed = int(child.stdout.readline())
            time.sleep(seconds)
            child.send_signal(signal.SIGKILL)
            # What it wrote between the last line that was read and the kill counts as well.
            flushed = max([flushed, *(int(line) for line in child.stdout if line.endswith("\n"))])
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        store = SqliteStore(path)
        record = store.load(Key(node="n"))
        store.close()
        stamps = [at for at, _, _ in record.history.samples()]
        newest = int(stamps[-1])
        assert newest >= flushed
        assert record.state == {"margin": float(newest)}
        assert stamps == [float(at) for at in range(max(0, newest - 255), newest + 1)]
        start = newest + 1


@pytest.mark.parametrize("make", [MemoryStore, lambda window: SqliteStore("h.db", window=window)])
def test_a_store_keeps_at_least_one_sample(make):
    """A window without room is refused at once, and no file is made."""
    with pytest.raises(ValueError, match="window: 0 samples are too few; write at least 1"):
        make(0)


ODD = Key(node="a\udc80")
"""A name that is not UTF-8, as `os.fsdecode` makes it."""


def test_what_cannot_be_written_does_not_end_the_writer(tmp_path, caplog):
    """A name that no file can hold degrades the store as a full disk does; nobody waits for ever."""
    with SqliteStore(tmp_path / "h.db") as store:
        store.put(KEY, samples(0.1), {})
        store.flush()
        store.put(ODD, samples(0.2), {})
        store.flush()
        store.put(OTHER, samples(0.3), {})
        assert [len(store.load(key).history) for key in (KEY, ODD, OTHER)] == [1, 1, 1]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_store_does_not_cross_a_fork(tmp_path):
    """In the child of a fork a store says so at once, instead of waiting for a thread that is not there."""
    store = SqliteStore(tmp_path / "h.db")
    store.put(KEY, samples(0.1), {})
    store.flush()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        said = []
        for use in (lambda: store.put(KEY, samples(0.2), {}), store.flush, store.keys):
            try:
                use()
            except RuntimeError as error:
                said.append("opened before a fork" in str(error))
        store.close()
        os.write(write, bytes(said))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 9) == bytes([True] * 3)
    store.close()
    os.close(read)
    os.close(write)
