import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from graceline.adaptive import Key, SqliteStore
from graceline.cli import keeping

LEARNING = """
from graceline import Adaptive

@node(timeout=Adaptive(initial=1.0, floor=0.005, ceiling=3.0))
async def rank(given):
    await trio.sleep(0.01)

p = Pipeline("shop", [Stage("search", [rank])])
"""
RANK = Key("default", "shop", "search", "rank")


def known(path):
    with SqliteStore(path) as store:
        return {key: store.load(key) for key in store.keys()}  # noqa: SIM118 - a store is no mapping


@pytest.fixture
def default(state):
    return state / "graceline" / "history.db"


def test_default_place(default):
    """The file lies in the user's directory for state."""
    assert keeping.default_path() == default


def test_runs_learn(write, virtual, call, default):
    """Each run goes on with what the ones before have learned, in the user's own file."""
    target = write(LEARNING)
    limits = []
    for _ in range(12):
        assert call("run", target)[::2] == (0, "")
        limits.append(known(default)[RANK].limits[-1].limit)
    assert len(known(default)[RANK].history) == 12
    assert limits[0] == 1.0
    assert limits[-1] < 0.5


def test_another_file(write, virtual, call, default):
    """--history keeps it in another file."""
    assert call("run", write(LEARNING), "--history", "deep/other.db")[::2] == (0, "")
    assert RANK in known("deep/other.db")
    assert not default.exists()


def test_no_file(write, virtual, call, default):
    """--no-history neither reads nor writes any."""
    assert call("run", write(LEARNING), "--no-history")[::2] == (0, "")
    assert not default.exists()


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_file_that_cannot_be_used(write, virtual, call, default, as_json):
    """It stops no run: standard error says once that nothing is kept, and why."""
    default.parent.mkdir(parents=True)
    default.write_text("this was never a database, and is long enough for its first page" * 20)
    code, out, err = call("run", write(LEARNING), *as_json)
    assert (code, "ok" in out) == (0, True)
    assert len(err.splitlines()) == 1
    assert err.startswith(
        f"graceline: history cannot be kept in {default} (file is not a database; it is "
        "damaged, or of another program)"
    )
    assert err.rstrip().endswith("Name another file, or move this one away, and restart")
    assert default.read_text().startswith("this was never a database")


def test_a_file_that_breaks_later(write, virtual, call, default, monkeypatch):
    """What cannot be written at the end of a run is said as well, and the result is there."""
    from graceline.adaptive import sqlite_file

    def full(*_):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(sqlite_file, "write", full)
    code, out, err = call("run", write(LEARNING))
    assert (code, out.startswith("shop  ok"), err.count("disk is full")) == (0, True, 1)


def test_own_logging(write, virtual, call, default):
    """Where the user's logging writes to standard error, the warning is there once, in its form."""
    default.mkdir(parents=True)
    target = write("import logging\nlogging.basicConfig(format='own: %(message)s')\n" + LEARNING)
    root = logging.getLogger()
    before = list(root.handlers)
    for handler in before:
        root.removeHandler(handler)
    try:
        _, _, err = call("run", target)
    finally:
        for handler in list(root.handlers):
            root.removeHandler(handler)
        for handler in before:
            root.addHandler(handler)
    assert (err.count("history cannot be kept"), err.startswith("own: ")) == (1, True)


def test_a_newer_file(write, call, default):
    """A file of a newer graceline is a mistake of usage: nothing runs, and two ways out are named."""
    SqliteStore(default).close()
    file = sqlite3.connect(default)
    file.execute("PRAGMA user_version = 99")
    file.close()
    code, out, err = call("run", write("raise_if_run = 1\n" + LEARNING))
    assert (code, out) == (2, "")
    assert "has schema 99" in err
    assert "--no-history" in err


def test_both_options(write, call):
    """A file together with --no-history is a mistake."""
    code, _, err = call("run", write(LEARNING), "--history", "x.db", "--no-history")
    assert (code, "leave one out" in err, Path("x.db").exists()) == (2, True, False)


def test_nothing_is_left_behind(write, virtual, call):
    """After a run no handler of the command is left in the logging of the process."""
    logger = logging.getLogger("graceline.adaptive")
    before = list(logger.handlers)
    call("run", write(LEARNING))
    assert logger.handlers == before


def test_what_a_node_raises(write, call, default):
    """A node that ends the program does not keep the file open or lose what was learned before it."""
    source = LEARNING.replace("[rank]", "[rank]), Stage('end', [Node(lambda _: exit(7), name='n')]")
    assert call("run", write(source))[0] == 7
    assert len(known(default)[RANK].history) == 1


def test_in_a_process_of_its_own(write, default):
    """The command by itself keeps what it learned, and says nothing of it."""
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "graceline", "run", write(LEARNING)],
        capture_output=True, check=False, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert RANK in known(default)
