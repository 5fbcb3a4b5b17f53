import json

import pytest
import trio

from graceline import GracelineError, Node
from graceline.bench import Phase, Suite, read_story, run_suite, write_report
from graceline.bench.journal import journal_of
from graceline.testing import virtual_time


async def fine(value):
    await trio.sleep(1)
    return "value"


async def lines_of(tmp_path):
    suite = Suite("s", [Phase("a", [Node(fine, name="x"), Node(fine, name="y")]), Phase("b", fine)])
    await run_suite(suite, out=tmp_path)
    return journal_of(tmp_path).read_text().splitlines(keepends=True)


def place(lines, *words):
    return next(n for n, line in enumerate(lines) if all(word in line for word in words))


@virtual_time
async def test_between_outcome_and_event(tmp_path):
    """A kill right after the outcome of a command was written does not lose that it ended."""
    lines = await lines_of(tmp_path)
    end = place(lines, "command_ended", '"command":"y"')
    journal_of(tmp_path).write_text("".join(lines[: end + 1]))
    story = read_story(tmp_path)
    told = {(t.phase, t.row.name): t for t in story.told()}
    assert {key: t.status for key, t in told.items()} == {
        ("a", "a"): "running", ("a", "x"): "ok", ("a", "y"): "ok",
        ("b", "b"): "not_started", ("b", "fine"): "not_started",
    }  # fmt: skip
    assert (told["a", "y"].row.started, told["a", "y"].row.ended) == (1, 2)
    assert told["a", "y"].outcome.value == "value"
    assert story.last == 2


@virtual_time
async def test_lines_of_a_later_version(tmp_path):
    """Lines of a kind that this version does not know are passed over."""
    lines = await lines_of(tmp_path)
    lines.insert(3, '{"event":"of_the_future","what":1}\n')
    journal_of(tmp_path).write_text("".join(lines))
    assert read_story(tmp_path).status == "ok"


@virtual_time
async def test_another_form(tmp_path):
    """A journal in another form is refused, and not misread."""
    lines = await lines_of(tmp_path)
    lines[0] = lines[0].replace('"format":1', '"format":2')
    journal_of(tmp_path).write_text("".join(lines))
    with pytest.raises(GracelineError, match="no journal of a suite in the form 1"):
        read_story(tmp_path)


@virtual_time
async def test_the_report_of_an_unfinished_run(tmp_path):
    """Without a result the report has the same form, with null for what has not ended."""
    lines = await lines_of(tmp_path)
    whole = json.loads((tmp_path / "report.json").read_text())
    end = place(lines, "node_started", '"node":"y"')
    journal_of(tmp_path).write_text("".join(lines[: end + 1]))
    write_report(tmp_path)
    document = json.loads((tmp_path / "report.json").read_text())
    assert document.keys() == whole.keys()
    assert document["result"].keys() == whole["result"].keys()
    stages, same = document["result"]["stages"], whole["result"]["stages"]
    assert stages["a"].keys() == same["a"].keys()
    assert (stages["a"]["status"], stages["b"]["started"]) == (None, None)
    assert stages["a"]["nodes"]["x"] == same["a"]["nodes"]["x"]
    assert (stages["a"]["nodes"]["y"], stages["b"]["nodes"]) == (None, {"fine": None})
    assert (document["state"], document["ended"]) == ("interrupted", None)


@virtual_time
async def test_a_report_is_whole_or_the_old_one(tmp_path, monkeypatch):
    """If a report cannot be replaced, the old one stays as it was, and nothing lies beside it."""
    from pathlib import Path

    lines = await lines_of(tmp_path)
    journal_of(tmp_path).write_text("".join(lines[:5]))  # the next report would be another one
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}

    def refuse(*_):
        raise OSError("read-only")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="read-only"):
        write_report(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before
