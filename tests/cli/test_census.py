import ast
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio

from graceline import PipelineResult, Status, open_engine
from graceline.cli.loading import load_pipeline
from graceline.telemetry import events

ROOT = Path(__file__).parents[2]
CENSUS = ROOT / "docs" / "examples" / "census.py"
COMMAND = Path(sys.executable).with_name("graceline")


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline(str(CENSUS))


@pytest.fixture(scope="module")
def census(pipeline):
    return next(
        module
        for module in list(sys.modules.values())
        if getattr(module, "census", None) is pipeline
    )


def command(*argv):
    return subprocess.run(  # noqa: S603 - our own command
        [COMMAND, "run", f"{CENSUS}:census", *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def check_shards(census, result):
    """Each shard's partial value is what a fresh count of the same files gives."""
    discovered = result.node("discover").value
    if discovered is None:
        return 0
    names, top = discovered["names"], discovered["top"]
    total = 0
    for shard in range(census.SHARDS):
        partial = result.partial.get(f"shard-{shard}") or result.node(f"shard-{shard}").value
        if partial is None:
            continue
        expected = census.Tally()
        for name in names[shard :: census.SHARDS][: partial["files"]]:
            expected = expected.plus(census.count(Path(discovered["root"], name), name), top)
        assert json.loads(json.dumps(census.attrs.asdict(expected))) == partial
        total += partial["files"]
    return total


def test_default(census):
    """With its own limits the census of the whole standard library succeeds, crosscheck included."""
    done = command("--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = PipelineResult.from_dict(json.loads(done.stdout))
    assert (result.status, result.degraded) == (Status.OK, ())
    value = result.value
    assert value["files"] == len(result.node("discover").value["names"]) > 300
    assert value["crosscheck"] == {"modules": 10, "differences": {}}
    tallies = [result.node(f"shard-{shard}").value for shard in range(census.SHARDS)]
    assert all(value[key] == sum(tally[key] for tally in tallies) for key in ("lines", "functions"))


def test_short_limit(census):
    """Cut after 300 ms, it gives a correct partial census, exit code 1, and the level to blame."""
    done = command("--timeout", "300ms", "--json")
    assert done.returncode == 1
    result = PipelineResult.from_dict(json.loads(done.stdout))
    assert result.status is Status.TIMED_OUT
    assert (result.blame.level, result.blame.name, result.blame.source) == (
        "pipeline",
        "census",
        "call",
    )
    check_shards(census, result)


def test_short_limit_for_people():
    """On screen, the same run names the level to blame."""
    done = command("--timeout", "300ms")
    assert (done.returncode, done.stderr) == (1, "")
    assert (
        "to blame  pipeline 'census' exceeded its limit of 300ms, given with the call"
        in done.stdout
    )


def test_cut_in_the_middle(census, pipeline):
    """A census that is cut while the shards count keeps what they counted, and no thread is left."""
    ended = trio.Event()

    class Watch:
        inline = True

        def wants_trace(self):
            return False

        def __call__(self, event):
            if isinstance(event, events.ThreadEnded) and event.abandoned == 0:
                ended.set()

    real, counted = census.count, threading.Semaphore(0)

    def count(path, name):
        counted.release()
        return real(path, name)

    async def main():
        async with open_engine(sinks=[Watch()]) as engine:
            run = engine.start(pipeline, {"top": 3})
            await trio.to_thread.run_sync(lambda: [counted.acquire() for _ in range(20)])
            run.cancel("enough")
            result = await run.wait()
            while engine.abandoned_threads:
                await ended.wait()
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(census, "count", count)
        result = trio.run(main)
    assert result.status is Status.CANCELLED
    assert (
        check_shards(census, PipelineResult.from_dict(result.to_dict())) >= 20 - 2 * census.SHARDS
    )


def test_slow_crosscheck(census, pipeline):
    """A crosscheck that is too slow leaves the census as it is, and the run degraded."""
    stage = census.attrs.evolve(pipeline.stages[-1], timeout=0)
    quick = census.attrs.evolve(pipeline, stages=(*pipeline.stages[:-1], stage))

    async def main():
        async with open_engine() as engine:
            return await engine.run(quick, {"limit": 12})

    result = trio.run(main)
    assert (result.status, result.degraded, result.error) == (Status.OK, ("crosscheck",), None)
    assert result.value["files"] == 12
    assert "crosscheck" not in result.value


@pytest.mark.parametrize(
    "given", [{"limt": 3}, {"limit": 0}, {"limit": True}, {"top": "five"}, {"limit": 1.5}]
)
def test_options(pipeline, given):
    """An option that it does not have, or with a bad value, fails the census and says why."""

    async def main():
        async with open_engine() as engine:
            return await engine.run(pipeline, given)

    result = trio.run(main)
    assert result.status is Status.FAILED
    assert next(iter(given)) in str(result.error)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(): pass", {"m.f": 1}),
        ("def f(a):\n if a: pass\n elif a: pass", {"m.f": 3}),
        ("def f(a): return [b for b in a if b and a or b]", {"m.f": 4}),
        ("def f(a): return a if a else 1", {"m.f": 2}),
        ("class C:\n async def f(a):\n  async for b in a: assert b", {"m.C.f": 3}),
        ("def f(a):\n def g():\n  while a: pass\n for b in a: pass", {"m.f": 2, "m.f.g": 2}),
        ("def f(a):\n try: pass\n except A: pass\n except B: pass", {"m.f": 3}),
        ("def f(a):\n match a:\n  case 1: pass\n  case 2: pass", {"m.f": 3}),
        ("if a: pass", {}),
    ],
)
def test_complexity(census, source, expected):
    """The complexity of a function is one, and one for each branch that is its own."""
    functions = []
    census._walk(ast.parse(source), "m", functions)
    assert {function.name: function.complexity for function in functions} == expected


def test_unreadable(census, tmp_path):
    """A file that is no Python is counted as unreadable, and does not fail the census."""
    (tmp_path / "bad.py").write_bytes(b"def (")
    (tmp_path / "null.py").write_bytes(b"\0")
    for name in ("bad.py", "null.py", "missing.py"):
        assert census.count(tmp_path / name, name) == census.Tally(files=1, unreadable=1)
