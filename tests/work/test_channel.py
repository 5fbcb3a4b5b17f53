"""The board, with both sides in one process."""

import errno
import os
import tempfile
from math import inf
from pathlib import Path

import pytest

from graceline.work import channel
from graceline.work.channel import Board


@pytest.fixture
def sides():
    """The board as the engine has it, and as the worker has it."""
    engine = Board.create()
    worker = Board.open(engine.path)
    engine.seal()
    yield engine, worker
    engine.close()
    worker.close()


def test_only_the_latest_partial_value_counts(sides):
    """A partial value replaces the earlier one of its job, whatever their lengths."""
    engine, worker = sides
    assert engine.partial(1) is None
    for size in (10, 3, 100_000, 0, 5_000, 100_000, 7):
        data = os.urandom(size)
        worker.save(1, data)
        assert engine.partial(1) == data


def test_partial_value_of_another_job_is_stale(sides):
    """What an earlier job saved is not taken for the next one's."""
    engine, worker = sides
    worker.save(1, b"first")
    assert engine.partial(2) is None
    worker.save(2, b"second")
    assert (engine.partial(1), engine.partial(2)) == (None, b"second")


@pytest.mark.parametrize("steps", range(6))
def test_worker_killed_in_the_middle_of_a_write_leaves_the_older_value(sides, steps, monkeypatch):
    """Wherever a write ends, the engine reads one of the two values whole."""
    engine, worker = sides

    class Ended(BaseException):
        """Stands for a SIGKILL."""

    class Words:
        """Words of which only so many more are written."""

        def __init__(self, words):
            self.words, self.left = words, steps

        def __getitem__(self, index):
            return self.words[index]

        def __setitem__(self, index, value):
            if not self.left:
                raise Ended
            self.left -= 1
            self.words[index] = value

    worker.save(1, b"older")
    words = worker._words
    worker._words = Words(words)
    try:
        worker.save(1, b"newer value")
    except Ended:
        assert steps < 4
    worker._words = words
    assert engine.partial(1) == (b"older" if steps < 4 else b"newer value")


def test_write_that_fails_leaves_the_older_value(sides, monkeypatch):
    """Without room on the disk the older value stays, and the job is told."""
    engine, worker = sides
    worker.save(1, b"older")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space left"):
            worker.save(1, b"newer")
    assert engine.partial(1) == b"older"


def test_room_of_large_values_is_given_back(sides):
    """A trimmed board holds no large value any more, and takes new ones."""
    engine, worker = sides
    worker.save(1, bytes(2_000_000))
    engine.trim()
    assert os.fstat(engine._file).st_size < 10_000
    worker.save(2, b"small")
    engine.trim()
    assert engine.partial(2) == b"small"


def test_cancel_is_for_one_job(sides):
    """The worker learns which job is cancelled, and when its cleanup is cut."""
    engine, worker = sides
    engine.cancel(3, inf)
    assert (worker.cancelled(3), worker.cancelled(4), worker.cut) == (True, False, inf)
    engine.cancel(4, 1000.0)
    assert (worker.cancelled(3), worker.cancelled(4)) == (False, True)
    assert worker.cut < inf


def test_what_else_is_on_the_board(sides):
    """Drain, the job that has begun, and open cleanup blocks are seen on the other side."""
    engine, worker = sides
    assert (worker.draining, engine.begun(1), engine.shielded) == (False, False, False)
    engine.drain()
    worker.begin(1)
    worker.shield(1)
    assert (worker.draining, engine.begun(1), engine.shielded) == (True, True, True)
    worker.begin(2)
    assert (engine.begun(1), engine.shielded) == (False, False)


def test_board_is_for_one_worker():
    """Once its name is taken away nobody can open a board any more."""
    board = Board.create()
    board.seal()
    with pytest.raises(FileNotFoundError):
        Board.open(board.path)
    board.close()


@pytest.fixture
def boards(tmp_path, monkeypatch):
    """The directory of the boards, empty."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_full_disk_is_an_error_at_once(boards, monkeypatch):
    """Without room for its first page no board is made, and neither file nor descriptor is left."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(os, "pwrite", full)
    before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(OSError, match="No space left") as caught:
        Board.create()
    assert str(boards) in str(caught.value)
    assert len(list(Path("/dev/fd").iterdir())) == before
    assert list(boards.iterdir()) == []


@pytest.mark.parametrize("missing", [True, False])
def test_first_page_is_written_where_it_cannot_be_allocated(missing, monkeypatch):
    """Where the system or the file system cannot allocate, the first page is written."""

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if missing:
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    board = Board.create()
    state = os.fstat(board._file)
    assert (state.st_size, state.st_blocks * 512) == (4096, 4096)
    board.close()


def test_board_has_no_name_where_a_descriptor_can_be_opened(boards):
    """From its start a board leaves nothing behind if its process is killed."""
    board = Board.create()
    assert list(boards.iterdir()) == []
    worker = Board.open(board.path)
    board.drain()
    assert worker.draining
    worker.close()
    board.close()


@pytest.mark.parametrize("why", ["another user", "no /proc"])
def test_board_has_a_name_elsewhere(why, boards, monkeypatch, tmp_path):
    """Where a worker cannot open the engine's descriptor the board has a name until it is sealed."""
    if why == "another user":
        monkeypatch.setattr(os, "geteuid", lambda: -1)
    else:
        monkeypatch.setattr(channel, "_DESCRIPTORS", str(tmp_path / "none" / "proc/"))
    board = Board.create()
    assert [str(file) for file in boards.iterdir()] == [board.path]
    worker = Board.open(board.path)
    board.seal()
    assert list(boards.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        Board.open(board.path)
    worker.close()
    board.close()
