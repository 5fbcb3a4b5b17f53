"""A run that was cut goes on: what is finished is kept, all else is done with a fresh budget."""

import json
import os
from contextlib import suppress

import pytest
import trio

from graceline import GracelineError
from graceline.bench import Phase, Suite, command, run_suite
from graceline.bench.journal import journal_of
from graceline.dialects.resume import ChangedError, read_run, recording
from graceline.dialects.tools import Tools
from graceline.dialects.yaml import FileError, load, loads

CHAIN = """
id: chain
config: {timeout: 10}
inputs: {topic: {type: string, default: trees}}
steps:
  - {id: a, tool: do, parameters: {name: a, given: "{{ topic }}"}}
  - {id: b, tool: do, parameters: {name: b, given: "{{ a.result }}"}}
  - {id: c, tool: do, parameters: {name: c, given: "{{ b.result }}"}}
outputs: {all: "{{ [a.result, b.result, c.result] }}", id: "{{ execution.id }}"}
"""


async def test_what_is_finished_is_kept(autojump_clock, desk):
    """A run that timed out goes on with what it had; limits begin anew, and the id stays."""
    desk.write(CHAIN)
    desk.takes["c"] = 12
    first = await desk.run()
    assert (first.status, desk.done) == ("timed_out", ["a", "b", "c"])
    began = desk.lines("run_opened")[0]["execution"]
    assert began["id"] == first.run_id
    desk.takes["c"] = 9.5
    result = await desk.resume()
    assert (result.status, result.value) == ("ok", {"all": ["a", "b", "c"], "id": first.run_id})
    assert desk.done == ["a", "b", "c", "c"]
    assert desk.recording.kept == ("a", "b")
    kept = result.node("a")
    assert (kept.status, kept.value, kept.attempts) == ("ok", "a", 1)
    assert [line["event"] for line in desk.lines()] == [
        "run_begun", "run_opened", "step_ended", "step_ended", "step_ended", "run_ended",
        "run_resumed", "step_ended", "run_ended",
    ]  # fmt: skip
    assert read_run(desk.out).finished


async def test_inputs_and_timeout_stay(autojump_clock, desk):
    """The run goes on with the inputs and the limit that it was given; another limit may be stated."""
    desk.write(CHAIN)
    desk.gives["c"] = lambda given: [given, "c"]
    desk.gives["a"] = lambda given: given.upper()
    desk.takes["c"] = 5
    first = await desk.run({"topic": "birds"}, timeout=3)
    assert (first.status, first.limit) == ("timed_out", 3)
    again = await desk.resume()
    assert (again.status, again.limit) == ("timed_out", 3)
    result = await desk.resume(timeout="6s")
    assert (result.status, result.limit) == ("ok", 6)
    assert result.value["all"] == ["BIRDS", "b", ["b", "c"]]
    assert desk.counts() == {"a": 1, "b": 1, "c": 3}


async def test_a_failed_step_gets_another_go(autojump_clock, desk):
    """What failed, and what was never begun, is done; what others of it have is kept."""
    desk.write(CHAIN)
    desk.failing.add("b")
    assert (await desk.run()).status == "failed"
    assert desk.lines("step_ended")[1]["error"] == {"type": "ValueError", "message": "b failed"}
    desk.failing.clear()
    assert (await desk.resume()).status == "ok"
    assert desk.done == ["a", "b", "b", "c"]


async def test_conditions_attempts_and_breakers_of_finished_steps(autojump_clock, desk):
    """A finished step returns its value at once: nothing is asked, tried or counted again."""
    desk.write(
        """
        id: p
        inputs: {go: true}
        steps:
          - id: a
            tool: do
            parameters: {name: a}
            condition: "{{ inputs.go }}"
            timeout: 2
            max_retries: 2
            breaker: {min_calls: 2}
            on_error: continue
          - {id: b, tool: do, parameters: {name: b}, dependencies: a}
        """.replace("go: true", "go: {type: boolean, default: true}")
    )
    desk.failing.add("b")
    await desk.run()
    desk.failing.clear()
    result = await desk.resume()
    assert (result.status, result.node("a").elapsed, desk.done) == ("ok", 0, ["a", "b", "b"])


async def test_a_late_step_stays_late_for_templates(autojump_clock, desk):
    """Templates see the status and the result of a finished step as they saw it before."""
    desk.write(
        """
        id: p
        steps:
          - {id: a, command: [echo, hello]}
          - {id: b, tool: do, parameters: {name: b}}
          - {id: c, tool: do, parameters: {name: c}, dependencies: [a, b]}
        outputs: {said: "{{ a.result.stdout }}", status: "{{ b.status }}", argv: "{{ a.result.argv }}"}
        """
    )
    desk.failing.add("c")
    await desk.run()
    path = journal_of(desk.out)
    text = path.read_text()
    line = next(line for line in text.splitlines() if '"step":"b"' in line)
    path.write_text(text.replace(line, line.replace('"status":"ok"', '"status":"late"')))
    desk.failing.clear()
    result = await desk.resume()
    assert result.value == {"said": "hello\n", "status": "late", "argv": ["echo", "hello"]}
    assert result.node("a").value.stdout == "hello\n"


ITEMS = """
id: items
steps:
  - id: list
    tool: do
    parameters: {name: list}
  - id: each
    for_each: "{{ list.result }}"
    max_parallel: 2
    max_retries: 1
    tool: do
    parameters: {name: "{{ item }}"}
outputs: {all: "{{ each.result }}"}
"""


async def test_items_are_kept(autojump_clock, desk):
    """Of a list that was not finished, the items that were are not done again."""
    desk.write(ITEMS)
    desk.gives["list"] = list("abcdef")
    desk.failing.add("e")
    assert (await desk.run()).status == "failed"
    done = [line["item"] for line in desk.lines("item_ended")]
    assert set("abcd") <= set(done) < set("abcdef")
    desk.failing.clear()
    desk.done.clear()
    result = await desk.resume()
    assert result.value == {"all": list("abcdef")}
    assert desk.recording.items == {"each": len(done)}
    assert sorted(desk.done) == sorted(set("abcdef") - set(done))


async def test_items_of_programs_and_threads_are_kept(desk):
    """An item may be a program, or a function in a thread."""
    desk.write(
        """
        id: items
        steps:
          - id: programs
            for_each: [1, 2, 3]
            max_parallel: 1
            command: [sh, -c, "echo {{ item }} >> {{ inputs.ledger }}; echo {{ item }}; test -e {{ inputs.ledger }}.ok -o {{ item }} != 3"]
          - id: plain
            max_parallel: 1
            for_each: "{{ programs.result | map(attribute='stdout') | list }}"
            tool: do_plain
            parameters: {name: "{{ item }}"}
        inputs: {ledger: {type: string}}
        """
    )
    ledger = desk.out.parent / "ledger"
    assert (await desk.run({"ledger": str(ledger)})).status == "failed"
    (desk.out.parent / "ledger.ok").touch()
    desk.failing.add("2\n")
    assert (await desk.resume()).status == "failed"
    desk.failing.clear()
    result = await desk.resume()
    assert (result.status, result.value) == ("ok", ["1\n", "2\n", "3\n"])
    assert ledger.read_text() == "1\n2\n3\n3\n"
    assert desk.counts()["1\n"] == 1
    assert result.node("programs").value[0].stdout == "1\n"


async def test_a_list_again(autojump_clock, desk):
    """The items of a step that is done again are done again."""
    desk.write(ITEMS)
    desk.gives["list"] = [1, 2, 3, 4]
    desk.takes["4"] = 3
    desk.failing.add("4")
    await desk.run()
    desk.gives["list"] = [True, 2, 3.0, 4]
    desk.failing.clear()
    desk.done.clear()
    await desk.resume(again=["list"])
    assert sorted(desk.done) == ["2", "3.0", "4", "True", "list"]  # `each` depends on `list`


async def test_another_list(autojump_clock, desk):
    """An item is kept for its place and its value; `1` is neither `true` nor `1.0`."""
    desk.write(ITEMS)
    desk.gives["list"] = [1, 2, 3, 4]
    desk.failing.add("4")
    await desk.run()
    # As if the list were made anew by each run: its own line never came to the disk.
    path = journal_of(desk.out)
    lines = [
        line for line in path.read_text().splitlines(keepends=True) if '"step":"list"' not in line
    ]
    path.write_text("".join(lines))
    desk.gives["list"] = [True, 2, 3.0, 4]
    desk.failing.clear()
    desk.done.clear()
    result = await desk.resume()
    assert result.value == {"all": ["True", "2", "3.0", "4"]}
    assert sorted(desk.done) == ["3.0", "4", "True", "list"]


CLEANUP = """
id: cleaning
steps:
  - id: a
    tool: do
    parameters: {name: a}
    cleanup: {tool: do, parameters: {name: "clean a {{ a.result }}"}}
  - {id: b, tool: do, parameters: {name: b}, dependencies: a}
"""


async def test_cleanup_is_not_repeated(autojump_clock, desk):
    """What was cleaned up stays so; the cleanup of a step that is done again is its own."""
    desk.write(CLEANUP)
    desk.failing.add("b")
    await desk.run()
    desk.failing.clear()
    await desk.resume()
    assert desk.done == ["a", "clean a a", "b", "b"]


async def test_cleanup_that_was_cut_is_run_again(autojump_clock, desk):
    """A cleanup that had not ended is run for a finished step, whose work is not done again."""
    desk.write(CLEANUP)
    desk.takes["clean a a"] = 99
    result = await desk.run()
    assert result.status == "ok"
    assert desk.lines("cleanup_ended") == []
    desk.cut(3)
    desk.takes.clear()
    await desk.resume()
    assert desk.done == ["a", "clean a a", "b", "clean a a", "b"]
    assert [line["step"] for line in desk.lines("cleanup_ended")] == ["a"]


async def test_cleanup_belongs_to_one_go(autojump_clock, desk):
    """The cleanup of a go that failed does not stand for that of the next one."""
    desk.write(CLEANUP)
    desk.failing.add("a")
    await desk.run()
    desk.failing.clear()
    await desk.resume()
    lines = desk.lines()
    cleaned = [number for number, line in enumerate(lines) if line["event"] == "cleanup_ended"]
    assert len(cleaned) == 2
    desk.cut(cleaned[1])
    desk.done.clear()
    await desk.resume()
    assert desk.done == ["clean a a", "b"]


async def test_cleanup_that_failed_has_ended(autojump_clock, desk):
    """A cleanup that came to its end is over, even if it failed; the journal has its error."""
    desk.write(CLEANUP)
    desk.failing |= {"b", "clean a a"}
    await desk.run()
    (line,) = desk.lines("cleanup_ended")
    assert line["error"]["message"] == "clean a a failed"
    await desk.resume()
    assert desk.counts()["clean a a"] == 1


async def test_a_value_that_cannot_be_kept(autojump_clock, desk):
    """It fails no run; to go on one has to say that the step may be done a second time."""
    desk.write(CHAIN)
    desk.gives["a"] = {1, 2}
    desk.failing.add("b")
    with recording(desk.load(), desk.out) as run:
        assert (await desk.finish(run)).status == "failed"
    assert run.unkept == {"a": "it is of type set"}
    with pytest.raises(GracelineError) as caught:
        await desk.resume()
    assert str(caught.value).splitlines() == [
        "step 'a' is finished, but its value could not be kept: it is of type set",
        "to do that a second time, say so: --again a",
    ]
    desk.failing.clear()
    assert (await desk.resume(again="a")).status == "ok"
    assert desk.done == ["a", "b", "a", "b", "c"]


async def test_an_item_that_cannot_be_kept(autojump_clock, desk):
    """A finished item without its value is not silently done again."""
    desk.write(ITEMS)
    desk.gives |= {"list": ["x", "y"], "x": object()}
    desk.failing.add("y")
    await desk.run()
    with pytest.raises(GracelineError, match=r"step 'each' .*: item 0: it is of type object"):
        await desk.resume()
    desk.gives["x"] = "x"
    desk.failing.clear()
    assert (await desk.resume(again=["each"])).value == {"all": ["x", "y"]}


async def test_steps_again(autojump_clock, desk):
    """A finished step can be done again, with all that depends on it, and nothing else."""
    desk.write(CHAIN + "# a comment\n")
    await desk.run()
    result = await desk.resume(again=["b"])
    assert (result.status, desk.done) == ("ok", ["a", "b", "c", "b", "c"])
    assert desk.recording.again == ("b", "c")
    with pytest.raises(GracelineError, match="--again d: there is no step 'd'"):
        await desk.resume(again=["d"])


async def test_what_is_to_be_done_again_stays_so(autojump_clock, desk):
    """A step that was to be done again, and was not, has lost its old value; so have its dependents."""
    desk.write(CHAIN)
    await desk.run()
    desk.failing.add("b")
    assert (await desk.resume(again=["b"])).status == "failed"
    desk.failing.clear()
    assert (await desk.resume()).status == "ok"
    assert desk.recording.kept == ("a",)
    assert desk.done == ["a", "b", "c", "b", "b", "c"]


CHANGES = {
    "{name: b,": ("{name: bb,", "step 'b', parameters", ["b", "c"]),
    "b, tool: do,": ("b, tool: do_too,", "step 'b', tool", ["b", "c"]),
    "id: a, tool": ("id: a, dependencies: [], condition: true, tool", "step 'a', condition", ["a", "b", "c"]),
    "default: trees": ("default: birds", "input 'topic', default", ["a", "b", "c"]),
    "{all:": ("{more: 1, all:", "outputs", []),
    "steps:\n": ("steps:\n  - {id: new, tool: do, parameters: {name: new}}\n", "step 'new' is new", []),
}  # fmt: skip


@pytest.mark.parametrize("old", CHANGES)
async def test_what_is_done_has_changed(autojump_clock, desk, old):
    """It is refused, with what and where; by force what has changed is done again, and what needs it."""
    new, what, lost = CHANGES[old]
    desk.write(CHAIN)
    desk.failing.add("c")
    await desk.run()
    desk.done.clear()
    desk.failing.clear()
    desk.write(CHAIN.replace(old, new))
    with pytest.raises(ChangedError) as caught:
        await desk.resume()
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{desk.path} is not what it was when the run began:"
    place, _, said = lines[1].rpartition(": ")
    assert said == what
    line, column = map(int, place.removeprefix(f"{desk.path}:").split(":"))
    assert desk.path.read_text().splitlines()[line - 1][column - 1 :]
    assert caught.value.again == tuple(name for name in lost if name != "c")
    assert desk.done == []
    result = await desk.resume(force=True)
    assert result.status == "ok"
    done = {"bb": "b"}
    finished = [done.get(name, name) for name in desk.done if name != "new"]
    assert finished == sorted({*lost, "c"})
    # It goes on from the file as it is now.
    desk.done.clear()
    assert (await desk.resume()).status == "ok"
    assert desk.done == []


async def test_limits_and_policies_may_change(autojump_clock, desk):
    """More time, more retries, a comment: the run goes on, and says what is different."""
    desk.write(CHAIN)
    desk.takes["c"] = 11
    await desk.run()
    desk.write(
        "# more time\n"
        + CHAIN.replace("timeout: 10", "timeout: 30").replace("id: c,", "id: c, max_retries: 1,")
    )
    assert (await desk.resume()).status == "ok"
    assert [str(change).partition(": ")[2] for change in desk.recording.changes] == [
        "config, timeout",
        "step 'c', max_retries",
    ]
    assert all(change.harmless for change in desk.recording.changes)
    assert desk.counts() == {"a": 1, "b": 1, "c": 2}


async def test_steps_that_are_gone(autojump_clock, desk):
    """A step that was taken out is told; by force its value is forgotten."""
    desk.write(CHAIN)
    desk.failing.add("b")
    await desk.run()
    without = """
    id: chain
    config: {timeout: 10}
    inputs: {topic: {type: string, default: trees}}
    steps:
      - {id: b, tool: do, parameters: {name: b, given: "{{ inputs.topic }}"}}
    """
    desk.write(without)
    with pytest.raises(ChangedError, match="step 'a' is gone"):
        await desk.resume()
    desk.failing.clear()
    result = await desk.resume(force=True)
    assert (result.status, result.value, desk.recording.kept) == ("ok", "b", ())
    desk.write(CHAIN)
    await desk.resume(force=True)
    assert desk.done == ["a", "b", "b", "a", "b", "c"]


async def test_the_file_is_gone_or_wrong(autojump_clock, desk):
    """A file that cannot be read any more is an error as any other, and nothing is written."""
    desk.write(CHAIN)
    desk.failing.add("b")
    await desk.run()
    before = journal_of(desk.out).read_bytes()
    desk.path.unlink()
    with pytest.raises(FileError, match=r"f\.yaml: cannot be read: No such file"):
        await desk.resume()
    desk.write("id: x")
    with pytest.raises(FileError, match="has nothing to do"):
        await desk.resume()
    assert journal_of(desk.out).read_bytes() == before


async def test_a_torn_line(autojump_clock, desk):
    """The end of a line that was being written is left out, and the next line stands for itself."""
    desk.write(CHAIN)
    await desk.run()
    desk.cut(3, torn=25)
    result = await desk.resume()
    assert result.value["all"] == ["a", "b", "c"]
    assert desk.done == ["a", "b", "c", "b", "c"]
    raw = journal_of(desk.out).read_bytes().splitlines()
    assert raw[3].startswith(b'{"event":"step_ended"')
    assert json.loads(raw[4])["event"] == "run_resumed"


async def test_journals_that_cannot_be_resumed(autojump_clock, desk, tmp_path):
    """None, one of a suite, of a newer version, or without its beginning: each is said to be that."""
    desk.write(CHAIN)
    with pytest.raises(GracelineError, match=r"out holds no journal; `graceline run FILE\.yaml"):
        await desk.resume()
    await run_suite(Suite("s", Phase("p", command("true"))), out=tmp_path / "suite")
    with pytest.raises(GracelineError, match=r"the journal of a suite.*graceline report"):
        read_run(tmp_path / "suite")
    with pytest.raises(GracelineError, match="name another directory"):
        await desk_run_into(desk, tmp_path / "suite")
    await desk.run()
    path = journal_of(desk.out)
    text = path.read_text()
    path.write_text(
        text.replace('"format":1', '"format":2').replace('"graceline":"', '"graceline":"9.', 1)
    )
    with pytest.raises(GracelineError, match=r"was written by graceline '9\..*cannot read"):
        await desk.resume()
    path.write_text(text[40:])
    with pytest.raises(GracelineError, match="it lacks 'run_begun'; run the file again"):
        await desk.resume()
    path.write_text(text[:40])
    with pytest.raises(GracelineError, match="its run ended before it had begun"):
        await desk.resume()
    await desk.run(force=True)
    assert len(desk.lines("run_begun")) == 1


async def desk_run_into(desk, folder):
    with recording(desk.load(), folder) as run:
        await desk.finish(run)


async def test_a_journal_is_not_replaced_by_accident(autojump_clock, desk):
    """A directory with a journal is refused, and says how to go on with it."""
    desk.write(CHAIN)
    desk.failing.add("b")
    await desk.run()
    with pytest.raises(GracelineError, match=r"`graceline resume .*out` goes on with it, --force"):
        await desk.run()
    desk.failing.clear()
    await desk.resume()
    with pytest.raises(GracelineError, match=r"`graceline resume .*out` shows it"):
        await desk.run()
    assert desk.done == ["a", "b", "b", "c"]


async def test_only_the_user_reads_a_journal(autojump_clock, desk):
    """It holds inputs and values; one that was open to others is not, once it is written to again."""
    desk.write(CHAIN)
    desk.failing.add("b")
    path = journal_of(desk.out)
    before = os.umask(0)
    try:
        await desk.run()
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o644)
        await desk.resume()
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o666)
        await desk.run(force=True)
        assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


async def test_a_journal_that_stays_open_to_others(desk, monkeypatch):
    """Nothing is written where others may read it."""
    desk.write(CHAIN)
    desk.out.mkdir()
    journal_of(desk.out).touch()
    journal_of(desk.out).chmod(0o644)

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(GracelineError, match=r"others may read its journal.*another directory"):
        await desk.run(force=True)
    assert journal_of(desk.out).read_bytes() == b""


async def test_a_journal_in_use(desk):
    """Nobody goes on with a run that goes on."""
    desk.write(CHAIN)
    with recording(desk.load(), desk.out):
        with pytest.raises(GracelineError, match="another run is writing to its journal"):
            await desk.resume()
        with pytest.raises(GracelineError, match="another run is writing to its journal"):
            await desk.run(force=True)


async def test_a_full_disk_ends_the_run(autojump_clock, desk, monkeypatch):
    """A line that cannot be written cancels the run; afterwards it can be resumed."""
    desk.write(CHAIN)
    write = os.write

    def full(file, data):
        if b'"step":"b"' in data:
            raise OSError(28, "No space left on device")
        return write(file, data)

    results = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with (
            pytest.raises(GracelineError, match="could not be written: No space left"),
            recording(desk.load(), desk.out) as run,
        ):
            try:
                await desk.finish(run)
            finally:
                results.append(desk.done[:])
    assert desk.done == ["a", "b"]
    assert [line["event"] for line in desk.lines()] == ["run_begun", "run_opened", "step_ended"]
    await desk.resume()
    assert desk.done == ["a", "b", "b", "c"]


async def test_a_disk_that_is_full_from_the_start(desk, monkeypatch):
    """Nothing is run that could not be written down."""
    desk.write(CHAIN)
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(GracelineError, match="could not be written: No space"):
        await desk.run()
    assert desk.done == []


async def test_a_run_that_is_torn_down(autojump_clock, desk):
    """An exception that ends the program is in the journal, and the run can be resumed."""
    desk.write(CHAIN)
    desk.takes["b"] = 5

    def leave(given):
        raise SystemExit(3)

    desk.gives["a"] = leave
    with suppress(SystemExit, BaseExceptionGroup):
        await desk.run()
    (line,) = desk.lines("run_ended")
    assert (line["status"], line["reason"]) == (None, "SystemExit")
    desk.gives.clear()
    assert (await desk.resume()).status == "ok"


async def test_degraded_steps_get_another_go(autojump_clock, desk):
    """A run that is ok without one of its parts is not finished: that part is tried again."""
    desk.write(
        """
        id: p
        steps:
          - {id: a, tool: do, parameters: {name: a}, on_error: continue}
          - {id: b, tool: do, parameters: {name: b}, dependencies: a}
        outputs: {a: "{{ a.status }}"}
        """
    )
    desk.failing.add("a")
    assert (await desk.run()).value == {"a": "failed"}
    assert not read_run(desk.out).finished
    desk.failing.clear()
    assert (await desk.resume()).value == {"a": "ok"}
    assert desk.done == ["a", "b", "a"]


async def test_inputs_that_cannot_be_kept(desk):
    """A run whose inputs could not be given to it again is not begun."""
    desk.write("id: p\ninputs: {x: {type: any}}\nsteps: [{id: a, tool: do, parameters: {name: a}}]")
    with pytest.raises(
        GracelineError, match="inputs cannot be kept in a journal: x is of type set"
    ):
        await desk.run({"x": {1}})
    assert not desk.out.exists()
    with pytest.raises(FileError, match="there is no input 'y'"):
        await desk.run({"y": 1})
    assert not desk.out.exists()


async def test_what_has_no_file(tmp_path):
    """A text without a file could not be read again, and a suite has a journal of its own."""
    text = "id: p\nsteps: [{id: a, command: 'true'}]"
    with (
        pytest.raises(GracelineError, match="<text> is no file"),
        recording(loads(text, tools=Tools.default()), tmp_path / "out"),
    ):
        pass
    path = tmp_path / "s.yaml"
    path.write_text("id: s\nphases: [{name: p, commands: [{command: 'true'}]}]")
    with pytest.raises(GracelineError, match="graceline bench"), recording(load(path), tmp_path):
        pass


async def test_from_another_directory(desk, tmp_path, monkeypatch):
    """Programs run where they ran before, wherever the run is resumed."""
    desk.write(
        """
        id: p
        steps:
          - {id: a, command: [pwd]}
          - {id: b, command: [sh, -c, "pwd; test -e ok"], dependencies: a}
        outputs: {where: "{{ [a.result.stdout, b.result.stdout] }}"}
        """
    )
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    await desk.run()
    (tmp_path / "here" / "ok").touch()
    monkeypatch.chdir("/")
    result = await desk.resume()
    assert result.value == {"where": [f"{tmp_path}/here\n"] * 2}


async def test_a_cancel_from_outside(desk, autojump_clock):
    """A run whose caller goes away leaves what it has finished."""
    desk.write(CHAIN)
    with trio.move_on_after(1.5):
        await desk.run()
    assert [line["event"] for line in desk.lines()][-1] == "run_ended"
    assert (await desk.resume()).status == "ok"
    assert desk.counts() == {"a": 1, "b": 2, "c": 1}


async def test_an_end_is_told_once(autojump_clock, desk):
    """What the block raises behind the end of its run does not end the run a second time."""
    desk.write(CHAIN)
    with suppress(KeyError), recording(desk.load(), desk.out) as run:
        await desk.finish(run)
        raise KeyError
    assert [line["status"] for line in desk.lines("run_ended")] == ["ok"]


async def test_items_of_a_finished_step_are_not_told(autojump_clock, desk):
    """What a finished step has gives its value; its items are of no interest any more."""
    desk.write(ITEMS)
    desk.gives["list"] = [1, 2]
    await desk.run()
    await desk.resume()
    assert (desk.recording.kept, desk.recording.items) == (("list", "each"), {})


async def test_what_is_gone_is_not_asked_for(autojump_clock, desk):
    """By force a run goes on without an input, and without a step whose value was not kept."""
    text = """
    id: p
    inputs: {topic: {type: string}}
    steps:
      - {id: a, tool: do, parameters: {name: a, given: "{{ topic }}"}}
      - {id: b, tool: do, parameters: {name: b}}
    """
    desk.write(text)
    desk.gives["a"] = object()
    desk.failing.add("b")
    await desk.run({"topic": "x"})
    desk.failing.clear()
    desk.write("id: p\nsteps: [{id: b, tool: do, parameters: {name: b}}]")
    assert (await desk.resume(force=True)).value == "b"


@pytest.mark.parametrize("outputs", ["", "outputs: {b: '{{ b.result }}'}\n"])
async def test_a_file_called_outputs(autojump_clock, desk, outputs):
    """The id of a file with stages does not decide which of its stages are written down."""
    steps = "[{id: a, tool: do, parameters: {name: a}}]"
    others = "[{id: b, tool: do, parameters: {name: b, given: '{{ a.result }}'}}]"
    desk.write(
        f"{outputs}id: outputs\nstages: [{{id: s, steps: {steps}}}, {{id: t, steps: {others}}}]"
    )
    desk.failing.add("b")
    assert (await desk.run()).status == "failed"
    desk.failing.clear()
    assert (await desk.resume()).status == "ok"
    assert desk.done == ["a", "b", "b"]
