import io
import json
import re
import sqlite3
import sys
import time
from math import inf
from pathlib import Path

import pytest

from graceline.adaptive import Applied, Key, Learners, Settings, SqliteStore
from graceline.cli.history import commands, display
from graceline.testing.traffic import replay

RANK = Key("default", "shop", "search", "rank")
FETCH = Key("default", "shop", "search", "fetch")
WHOLE = Key("default", "feed", "", "", "pipeline")
NIGHT = Key("night", "shop", "search", "fetch")
NOW = 1.8e9


@pytest.fixture
def default(state):
    return state / "graceline" / "history.db"


@pytest.fixture
def filled(default, monkeypatch, tmp_path):
    """A history with a learner that has seen hangs, one that has seen little, and mere durations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "time", lambda: NOW)
    with SqliteStore(default) as store:
        learners = Learners(store)
        replay(learners.learner(RANK, Settings(initial=1.0, ceiling=3.0)), [0.05, 0.06, inf] * 40)
        learners.close()
        store.put(FETCH, [(NOW - 7300, 0.25, False)], {}, [Applied(NOW - 7300, 1.0, "learned")])
        store.put(WHOLE, [(NOW - 90, 0.3, False), (NOW, 0.4, True)], {})
    return default


def documents(path):
    with SqliteStore(path) as store:
        return {key: store.load(key) for key in store.keys()}  # noqa: SIM118 - a store is no mapping


def test_list(filled, call):
    """One line per key, in the order of their names, with what is unknown said as such."""
    code, out, err = call("history", "list")
    assert (code, err) == (0, "")
    head, *rows = [line.split() for line in out.splitlines()]
    assert head == [
        "pipeline.stage.node",
        "level",
        "samples",
        "censored",
        "p50",
        "p95",
        "limit",
        "newest",
    ]
    assert rows[0] == ["feed", "pipeline", "2", "50.0", "%", "300ms", "unknown", "-", "now"]
    assert rows[1] == [
        "shop.search.fetch",
        "node",
        "1",
        "0.0",
        "%",
        "250ms",
        "250ms",
        "1s",
        "2h",
        "ago",
    ]
    assert rows[2][:5] == ["shop.search.rank", "node", "120", "33.3", "%"]
    assert rows[2][6] == "unknown"
    assert rows[2][-1] == "-"


def test_list_of_several_lanes(filled, call):
    """Where there are several lanes, each line says whose it is."""
    with SqliteStore(filled) as store:
        store.put(NIGHT, [(1.0, 0.1, False)], {})
    rows = [line.split() for line in call("history", "list")[1].splitlines()]
    assert rows[0][:2] == ["lane", "pipeline.stage.node"]
    assert [row[0] for row in rows[1:]] == ["default", "default", "default", "night"]


def test_list_on_a_narrow_terminal(filled, call, monkeypatch):
    """At 80 columns a line is a line."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("history", "list")[1].splitlines()
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80


def test_list_where_names_do_not_fit(filled, call, monkeypatch):
    """Where a line has no room each key has some: its whole name, split after dots, and every number."""
    monkeypatch.setenv("COLUMNS", "46")
    with SqliteStore(filled) as store:
        key = Key("night", "a_long_pipeline", "with_long_stages", "and_a_node")
        store.put(key, [(1.0, 0.1, False)], {})
    lines = [line.rstrip() for line in call("history", "list")[1].splitlines()]
    assert lines[-3:] == [
        "a_long_pipeline.with_long_stages.and_a_node",
        "  node, lane night  samples 1  censored 0.0 %",
        "  p50 100ms  p95 100ms  limit -  newest -",
    ]
    assert max(map(len, lines)) <= 46


def test_list_as_json(filled, call):
    """With --json it is an array with the whole of each key; what is unknown is null."""
    code, out, _ = call("history", "list", "--json")
    rows = {row["node"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["fetch"] == {
        "lane": "default", "pipeline": "shop", "stage": "search", "node": "fetch", "level": "node",
        "samples": 1, "censored": 0, "censored_share": 0.0, "p50": 0.25, "p95": 0.25, "limit": 1.0,
        "newest": "2027-01-15T05:58:20+00:00",
    }  # fmt: skip
    assert (rows["rank"]["p95"], rows["rank"]["newest"], rows["rank"]["censored"]) == (
        None,
        None,
        40,
    )
    assert rows["rank"]["censored_share"] == pytest.approx(1 / 3)


def test_nothing_yet(call, default):
    """A file that is missing or empty is no mistake: it is said, and no file is made."""
    code, out, err = call("history", "list")
    assert (code, out, err) == (0, f"no history yet: {default} does not exist\n", "")
    assert not default.parent.exists()
    assert json.loads(call("history", "list", "--json")[1]) == []
    SqliteStore(default).close()
    assert call("history", "list")[:2] == (0, f"no history yet: {default} is empty\n")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "now"), (0.4, "now"), (59, "59s"), (61, "1m"), (7200, "2h"), (3e5, "3d")],
)
def test_age(seconds, said):
    """An age is told in its largest unit; a clock that was set back is now."""
    assert display.age(seconds) == (said if said == "now" else f"{said} ago")


def test_show(filled, call):
    """One part is drawn with its probes, and its numbers stand below."""
    code, out, err = call("history", "show", "rank")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "shop.search.rank  node, lane default"
    assert "◆" in out
    assert "◆ probe" in out
    assert re.search(r"^samples +120$", out, re.MULTILINE)
    assert re.search(r"^censored +40 \(33.3 %\)", out, re.MULTILINE)
    assert re.search(r"^duration +p50 60ms, p95 unknown, p99 unknown", out, re.MULTILINE)
    assert re.search(r"^limit +\d+ms; from \d+ms to 1s", out, re.MULTILINE)
    assert re.search(r"^probes +\d+: \d+ finished, [1-9]\d* did not$", out, re.MULTILINE)
    assert max(map(len, lines)) <= 100


def test_show_without_a_limit(filled, call):
    """Durations whose limit is not learned are shown all the same."""
    out = call("history", "show", "feed")[1]
    assert "limit     none is known here" in out
    assert "probe" not in out
    assert "samples   2, the newest of 2027-01-15 08:00 UTC" in out


def test_show_narrowed(filled, call):
    """A lane chooses between two of one name."""
    with SqliteStore(filled) as store:
        store.put(NIGHT, [(1.0, 0.1, False)], {})
    assert call("history", "show", "fetch")[0] == 2
    assert "lane night" in call("history", "show", "fetch", "--lane", "night")[1]


def test_pictures(filled, call):
    """--svg and --html write files that say what is on the screen, and tell their names."""
    code, out, err = call("history", "show", "rank", "--svg", "a.svg", "--html", "a.html")
    assert (code, err) == (0, "graceline: wrote a.svg\ngraceline: wrote a.html\n")
    assert "samples   120" in out
    assert "<title>shop.search.rank" in Path("a.html").read_text()
    assert "<svg" in Path("a.svg").read_text()


def test_pictures_without_matplotlib(filled, call, monkeypatch):
    """Without matplotlib the command says what to install."""
    monkeypatch.setattr(commands.importlib.util, "find_spec", lambda name: None)
    code, _, err = call("history", "show", "rank", "--svg", "a.svg")
    assert (code, "pip install 'graceline[cli]'" in err, Path("a.svg").exists()) == (2, True, False)


def test_no_picture_no_matplotlib(filled):
    """Who asks for no picture does not pay for matplotlib."""
    import subprocess

    script = (
        "import sys; from graceline.cli import main; code = main(['history', 'show', 'feed']); "
        "print('matplotlib' in sys.modules); sys.exit(code)"
    )
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-c", script], capture_output=True, check=True, text=True, timeout=60
    )
    assert done.stdout.endswith("False\n")


def test_round_trip(filled, call):
    """What is exported and imported elsewhere is exactly the same, through files and through pipes."""
    code, out, err = call("history", "export")
    assert (code, err) == (0, "")
    assert call("history", "export", "all.jsonl")[:2] == (0, "")
    assert Path("all.jsonl").read_text() == out
    assert call("history", "import", "all.jsonl", "--history", "b.db")[1] == "imported 3 keys\n"
    assert documents("b.db") == documents(filled)
    assert call("history", "export", "-", "--history", "b.db")[1] == out
    call("history", "import", "all.jsonl", "--history", "b.db")
    assert call("history", "export", "--history", "b.db")[1] == out


def test_import_from_standard_input(filled, call, monkeypatch):
    """A dash reads standard input."""
    lines = call("history", "export")[1]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    assert call("history", "import", "-", "--history", "b.db")[0] == 0
    assert documents("b.db") == documents(filled)


@pytest.mark.parametrize("broken", [b'{"a', b"\xff\xfe", b"[]", b"\n\n{}"])
def test_a_broken_file(filled, call, broken):
    """A broken line is named, and nothing is changed by those before it."""
    before = documents(filled)
    good = call("history", "export")[1].replace('"rank"', '"new"').encode()
    Path("bad.jsonl").write_bytes(good + broken)
    code, out, err = call("history", "import", "bad.jsonl")
    number = 4 + broken.count(b"\n")
    assert (code, out) == (2, "")
    assert err.startswith(f"graceline: bad.jsonl: line {number} is no exported history: ")
    assert err.endswith("; nothing was changed\n")
    assert documents(filled) == before


def test_forget(filled, call):
    """What is forgotten is told, and the others stay."""
    code, out, err = call("history", "forget", "fetch")
    assert (code, err) == (0, "")
    assert out == "forgot shop.search.fetch (lane default, level node): 1 sample\n"
    assert set(documents(filled)) == {RANK, WHOLE}


def test_forget_everything(filled, call):
    """--all forgets all, each told; afterwards there is nothing."""
    out = call("history", "forget", "--all")[1]
    assert len(out.splitlines()) == 3
    assert documents(filled) == {}
    assert call("history", "forget", "--all")[:2] == (0, "there was nothing to forget\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["show", "rnak"], "did you mean 'rank'"),
        (["show", "shop"], "names several: .*more of its name"),
        (["show"], "(?i)KEY"),
        (["show", "rank", "x"], r"too many words: 'x'; history show takes one KEY\n.*history show"),
        (["show", "rank", "--svg", "no/a.svg"], "no/a.svg cannot be written: No such file"),
        (["show", "rank", "--history", "none.db"], "no history yet: none.db does not exist"),
        (["list", "x"], "too many words: 'x'; history list takes no word"),
        (["list", "--history", "."], r"\. cannot be used as a history"),
        (["list", "--history", "text"], "text cannot be used as a history: file is not a database"),
        (["list", "--history", "newer.db"], "newer.db has schema 99"),
        (["list", "--history", "foreign.db"], "foreign.db is a database of another program"),
        (["import", "none", "--history", "foreign.db"], "none cannot be read"),
        (["import", "text", "--history", "foreign.db"], "it is a database of another program"),
        (["forget", "--all", "--history", "foreign.db"], "foreign.db is a database of another"),
        (["forget", "--all", "--history", "nope/x.db"], "no history yet: nope/x.db does not exist"),
        (["export", "--history", "none.db"], "no history yet: none.db does not exist"),
        (["export", "no/x.jsonl"], "no/x.jsonl cannot be written"),
        (["import", "none"], "none cannot be read: No such file"),
        (["forget"], "name one KEY to forget, or give --all"),
        (["forget", "rank", "--all"], "name one KEY to forget, or give --all"),
        (["forget", "--all", "--lane", "default"], "--lane and --level go with a KEY"),
        (["forget", "shop"], "names several"),
    ],
)  # fmt: skip
def test_usage(filled, call, argv, message):
    """A mistake is a message on standard error and exit code 2, and nothing is changed."""
    before = documents(filled)
    Path("text").write_text("this is no database, but long enough for its first page" * 20)
    SqliteStore("newer.db").close()
    file = sqlite3.connect("newer.db")
    file.execute("PRAGMA user_version = 99")
    file.close()
    foreign = sqlite3.connect("foreign.db")
    foreign.execute("CREATE TABLE keys (name TEXT)")
    foreign.close()
    content = Path("foreign.db").read_bytes()
    code, _, err = call("history", *argv)
    assert code == 2
    assert re.search(message, err, re.DOTALL)
    assert "Traceback" not in err
    assert documents(filled) == before
    assert not Path("none.db").exists()
    assert not Path("nope").exists()
    assert Path("foreign.db").read_bytes() == content


def test_a_file_that_breaks_meanwhile(filled, call, monkeypatch):
    """A change that could not be written is no success."""
    from graceline.adaptive import sqlite_file

    def full(*_):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(sqlite_file, "write", full)
    code, out, err = call("history", "forget", "fetch")
    assert (code, out) == (2, "")
    assert "disk is full" in err
    assert "could not be read and written to the end" in err
