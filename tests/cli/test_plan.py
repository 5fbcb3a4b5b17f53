import io
import json

import pytest
from rich.console import Console

from graceline.adaptive import Key, SqliteStore
from graceline.cli.plan import _watching

SHOP = """
async def never(value):
    raise AssertionError("a plan calls nothing")

shop = Pipeline(
    "shop",
    [Stage("s", [Node(never, name="find", timeout="60ms")]), Stage("t", [Node(never, name="rank")])],
    timeout="50ms",
)
"""


@pytest.fixture
def history(tmp_path):
    """Write durations by node into a file; negative ones were cut."""

    def put(name="shop.db", lane="default", **durations):
        with SqliteStore(tmp_path / name) as store:
            for node, seconds in durations.items():
                samples = [(float(at), abs(one), one < 0) for at, one in enumerate(seconds)]
                stage = {"find": "s", "rank": "t"}[node]
                store.put(Key(lane, "shop", stage, node, "node"), samples, {})
        return name

    return put


KNOWN = {"find": [0.01, 0.02, 0.03, 0.04] * 5, "rank": [0.015] * 19 + [-0.02]}


@pytest.mark.filterwarnings("ignore::graceline.DefinitionWarning")
def test_a_plan_is_shown(write, history, call):
    """Both sets of limits side by side, who is to blame, each part, the target and the notes."""
    code, out, err = call(
        "plan", f"{write(SHOP)}:shop", "--history", history(**KNOWN), "--runs", "200"
    )
    said = " ".join(out.split())
    assert (code, err) == (0, "")
    assert "shop 200 runs replayed" in said
    assert "these limits recommended answered" in said
    assert "pipeline shop, timeout" in said
    assert "find 20 20ms 40ms 60ms" in said
    assert "rank 20 15ms 15ms 5.0%" in said
    assert "answered: not reached, 9" in said
    assert "% at most, since there are calls without an end: t.rank (5.0%) note" in said
    assert "note t.rank: 5.0% of its calls were cut at up to 20ms" in said


@pytest.mark.filterwarnings("ignore::graceline.DefinitionWarning")
def test_a_plan_as_json(write, history, call):
    """With --json standard output is the document and nothing else; options try other limits."""
    options = ("--history", history(**KNOWN), "--runs", "200", "--target", "90 %", "--json")
    code, out, err = call("plan", write(SHOP), *options, "--timeout", "1s", "--node", "find=25ms")
    plan = json.loads(out)
    assert (code, err) == (0, "")
    assert plan["pipeline"] == "shop"
    assert plan["now"]["limit"] == 1.0
    assert plan["now"]["runs"] == 200
    assert [blame["name"] for blame in plan["now"]["blames"]] == ["find", "shop"]
    assert plan["recommended"]["target"] == 0.9
    assert plan["recommended"]["reached"] is True
    assert call("plan", write(SHOP), *options, "--timeout", "1s", "--node", "find=25ms")[1] == out
    _, other, _ = call("plan", write(SHOP), *options, "--timeout", "1s", "--stage", "s=25ms")
    assert [blame["level"] for blame in json.loads(other)["now"]["blames"]] == ["stage", "pipeline"]


SMALL = """
async def never(value):
    raise AssertionError

shop = Pipeline("shop", [Stage("s", [Node(never, name="find")]), Stage("t", [Node(never, name="rank")])])
"""


def test_what_is_not_recorded_is_named(write, history, call):
    """Nodes without a history are an error that names them, and says how to go on."""
    file = history(find=[0.01])
    code, out, err = call("plan", write(SMALL), "--history", file)
    assert (code, out) == (2, "")
    assert "shop.db: nothing is recorded of t.rank of pipeline 'shop' in lane 'default'." in err
    assert "--assume NAME=20ms" in err


def test_what_is_not_recorded_can_be_assumed(write, history, call):
    """--assume gives a node a duration; what a run without any limit comes to is shown, too."""
    file = history(find=[0.01])
    code, out, _ = call(
        "plan", write(SMALL), "--history", file, "--assume", "rank=20ms", "--runs", "5"
    )
    said = " ".join(out.split())
    assert code == 0
    assert "rank assumed 20ms 20ms" in said
    assert "note assumed, not recorded: t.rank" in said
    assert "target 99.0% of the runs answered: with 30.1ms for the pipeline" in said
    assert "to blame" not in said


@pytest.mark.parametrize("empty", [False, True])
def test_what_is_assumed_of_all_nodes_needs_no_history(write, call, tmp_path, empty):
    """Where every duration is assumed, the file may be missing or empty, and stays so."""
    file = tmp_path / "none.db"
    if empty:
        file.touch()
    assume = ("--assume", "find=10ms", "--assume", "rank=20ms")
    code, out, err = call("plan", write(SMALL), "--history", str(file), "--runs", "5", *assume)
    assert (code, err) == (0, "")
    assert "find assumed 10ms" in " ".join(out.split())
    assert file.exists() == empty
    assert not empty or not file.stat().st_size


def test_a_run_without_an_end_is_nobodys_fault(write, history, call):
    """Runs that would never end are counted, blame nobody, and have no percentiles."""
    code, out, _ = call(
        "plan", write(SMALL), "--history", history(find=[-0.01]), "--assume", "rank=20ms",
        "--runs", "5",
    )  # fmt: skip
    said = " ".join(out.split())
    assert code == 0
    assert "never_ends 100.0% 100.0%" in said
    assert "to blame" not in said
    assert "time p50 - -" in said
    assert "not reached, 0.0% at most, since there are calls without an end: s.find" in said
    assert "(100.0%); the limits stay as they are" in said


def test_the_lane_can_be_chosen(write, history, call, monkeypatch):
    """The lane is an option, and by default that of the environment, as for an engine."""
    file = history(lane="tenant", find=[0.01], rank=[0.01])
    assert call("plan", write(SMALL), "--history", file, "--runs", "5")[0] == 2
    assert call("plan", write(SMALL), "--history", file, "--runs", "5", "--lane", "tenant")[0] == 0
    monkeypatch.setenv("GRACELINE_LANE", "tenant")
    assert call("plan", write(SMALL), "--history", file, "--runs", "5")[0] == 0


RUN = """
@node
async def step(value):
    await trio.sleep(0)

p = Pipeline("p", [step])
"""


def test_what_run_recorded_is_planned(write, call):
    """Without --history the durations are those that `graceline run` kept."""
    code, _, err = call("plan", write(RUN))
    assert code == 2
    assert "no history yet: " in err
    assert call("run", "jobs.py")[0] == 0
    code, out, _ = call("plan", "jobs.py", "--runs", "5")
    assert code == 0
    assert "step 1 " in " ".join(out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--history", "none.db"), "no history yet: none.db does not exist"),
        (("--history", "jobs.py"), "jobs.py cannot be used as a history"),
        (("--node", "find"), "--node find: write NAME=50ms"),
        (("--node", "=5ms"), "--node =5ms: write NAME=50ms"),
        (("--stage", "s=5"), "--stage s=5: a number needs its unit; write s=5s or s=5ms"),
        (("--assume", "find=-2"), "--assume find=-2: a number needs its unit; write find=2s or"),
        (("--stage", "s=often"), "--stage s: 'often' is not a duration"),
        (("--stage", "x=5ms"), "--stage: no stage is called 'x'"),
        (("--node", "x=5ms"), "--node: no node is called 'x'"),
        (("--assume", "x=5ms"), "--assume: no node is called 'x'"),
        (("--assume", "a=5ms", "--assume", "a=6ms"), "--assume a=6ms: 'a' is given twice"),
        (("--target", "99"), "--target 99: write a share such as 99% or 0.99, at most 100%"),
        (("--target", "0%"), "--target 0%: write a share"),
        (("--target", "much"), "--target much: write a share"),
        (("--target", "9%9"), "--target 9%9: write a share"),
        (("--timeout", "5"), "--timeout 5: a number needs its unit"),
        (("--runs", "0"), "--runs 0: at least 1 is replayed"),
        (("another",), "too many words: 'another'; plan takes one TARGET"),
    ],
)
def test_mistakes_in_the_command_line(write, history, call, words, message):
    """A mistake is named, the exit code is 2, and nothing is replayed."""
    file = history(find=[0.01], rank=[0.01])
    history_option = () if "--history" in words else ("--history", file)
    code, out, err = call("plan", write(SMALL), *history_option, *words)
    assert (code, out) == (2, "")
    assert message in err


def test_a_history_of_a_newer_version_is_refused(write, history, call, monkeypatch):
    """A file that a newer graceline wrote is refused in its words."""
    file = history(find=[0.01])
    monkeypatch.setattr("graceline.adaptive.sqlite_file.SCHEMA", 0)
    code, _, err = call("plan", write(SMALL), "--history", file)
    assert code == 2
    assert "shop.db has schema 1; this version of graceline knows 0" in err


def test_a_module_that_raises_is_told(write, history, call):
    """What the file raises while it is imported is shown with its place."""
    code, _, err = call("plan", write("1 / 0"), "--history", history(find=[0.01]))
    assert code == 2
    assert "ZeroDivisionError" in err


def test_an_interrupt_ends_the_command(write, history, call, monkeypatch):
    """Ctrl-C while runs are replayed ends the command with 130."""

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("graceline.planning.make_plan", interrupted)
    code, out, err = call("plan", write(SMALL), "--history", history(find=[0.01]))
    assert (code, out, err) == (130, "", "graceline: interrupted\n")


def test_progress_is_shown_on_a_terminal_only():
    """A terminal sees what is replayed and how far it is; elsewhere nothing is written."""
    screen = Console(file=io.StringIO(), force_terminal=True, width=80)
    with _watching(screen) as watch:
        watch("as it is", 0, 10)
        watch("as it is", 5, 10)
    assert "as it is" in screen.file.getvalue()
    assert "50%" in screen.file.getvalue()
    quiet = Console(file=io.StringIO())
    with _watching(quiet) as watch:
        watch("as it is", 0, 10)
    assert quiet.file.getvalue() == ""
