import json
import os
from pathlib import Path

import pytest

from graceline import GracelineError
from graceline.bench.journal import Journal, in_use, journal_of, read_lines


def test_a_line_is_on_the_disk_at_once(tmp_path, monkeypatch):
    """Each entry is one write of one line, and an fsync follows before anything else."""
    calls = []
    journal = Journal(tmp_path)
    write, fsync = os.write, os.fsync
    monkeypatch.setattr(os, "write", lambda file, data: calls.append(data) or write(file, data))
    monkeypatch.setattr(os, "fsync", lambda file: calls.append("sync") or fsync(file))
    journal.write({"a": "ü\n"})
    journal.write({"b": 2})
    assert calls == [b'{"a":"\\u00fc\\n"}\n', "sync", b'{"b":2}\n', "sync"]
    assert list(read_lines(tmp_path)) == [{"a": "ü\n"}, {"b": 2}]
    journal.close()


def test_the_directory_is_synced(tmp_path, monkeypatch):
    """A power cut does not lose the name of the journal, nor that of its directory."""
    synced, fsync = [], os.fsync
    monkeypatch.setattr(
        os,
        "fsync",
        lambda file: synced.append(Path(f"/proc/self/fd/{file}").readlink()) or fsync(file),
    )
    Journal(tmp_path / "out").close()
    assert synced == [tmp_path / "out", tmp_path]


def test_a_journal_is_not_replaced_by_accident(tmp_path):
    """A directory with results is refused, unless one says that they may go."""
    journal = Journal(tmp_path / "out")
    journal.write({"a": 1})
    journal.close()
    with pytest.raises(GracelineError, match=r"holds the results of an earlier run.*--force"):
        Journal(tmp_path / "out")
    assert list(read_lines(tmp_path / "out")) == [{"a": 1}]
    Journal(tmp_path / "out", force=True).close()
    assert list(read_lines(tmp_path / "out")) == []


def test_two_runs_do_not_share_a_journal(tmp_path):
    """A journal that a run is writing to is not replaced, by force neither."""
    journal = Journal(tmp_path)
    journal.write({"a": 1})
    assert in_use(tmp_path)
    with pytest.raises(GracelineError, match="another run is writing"):
        Journal(tmp_path, force=True)
    journal.write({"b": 2})
    journal.close()
    assert not in_use(tmp_path)
    assert list(read_lines(tmp_path)) == [{"a": 1}, {"b": 2}]


def test_places_that_do_not_work(tmp_path):
    """A file in place of a directory, and a directory without a journal, are said to be so."""
    (tmp_path / "file").write_text("")
    with pytest.raises(GracelineError, match="file: it is no directory"):
        Journal(tmp_path / "file")
    with pytest.raises(GracelineError, match="cannot be written to: Not a directory"):
        Journal(tmp_path / "file" / "below")
    with pytest.raises(GracelineError, match="holds no journal"):
        next(read_lines(tmp_path))
    assert not in_use(tmp_path)


def test_a_torn_line_spoils_no_other(tmp_path, monkeypatch):
    """Where the disk took half a line only, that is an error, and the next line stands for itself."""
    journal = Journal(tmp_path)
    journal.write({"a": 1})
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[:4]))
        with pytest.raises(OSError, match="a part of a line"):
            journal.write({"torn": 1})
    journal.write({"b": 2})
    journal.close()
    assert list(read_lines(tmp_path)) == [{"a": 1}, {"b": 2}]
    with journal_of(tmp_path).open("a") as file:
        file.write('{"event": "node_st')
    assert list(read_lines(tmp_path)) == [{"a": 1}, {"b": 2}]


def test_a_journal_goes_on(tmp_path):
    """Lines are appended behind those that are there; a torn end stays apart from them."""
    with pytest.raises(GracelineError, match="cannot be written to: No such file"):
        Journal(tmp_path / "none", append=True)
    assert not (tmp_path / "none").exists()
    for number in range(2):
        journal = Journal(tmp_path, append=number > 0)
        with pytest.raises(GracelineError, match="another run is writing"):
            Journal(tmp_path, append=True)
        journal.write({"number": number})
        journal.close()
        with journal_of(tmp_path).open("a") as file:
            file.write('{"event": "torn')
    journal = Journal(tmp_path, append=True)
    journal.write({"number": 2})
    journal.close()
    assert list(read_lines(tmp_path)) == [{"number": 0}, {"number": 1}, {"number": 2}]
    assert journal_of(tmp_path).read_bytes().count(b"\n") == 5


def test_lines_are_json(tmp_path):
    """What JSON does not know is refused, and is not written as something that nobody can read."""
    journal = Journal(tmp_path)
    with pytest.raises(ValueError, match="JSON compliant"):
        journal.write({"a": float("inf")})
    journal.write({"lost": "\ud800"})
    journal.close()
    assert [json.dumps(line) for line in read_lines(tmp_path)] == ['{"lost": "\\ud800"}']


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    """Where there are no locks, the journal is written without."""
    import fcntl

    def refuse(*_):
        raise OSError("no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    Journal(tmp_path).close()
    assert not in_use(tmp_path)
