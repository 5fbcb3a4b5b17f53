"""What the threads of `filesystem` leave behind when their step is cancelled, and which modes files get."""

import os
import stat
import threading

import pytest
import trio

from graceline import Node, Pipeline, Timeouts, open_engine
from graceline.dialects.tools.filesystem import Filesystem


@pytest.mark.parametrize(
    ("action", "parameters", "held"),
    [("append", {"content": " late"}, "fstat"), ("delete", {}, "stat")],
)
async def test_a_step_that_was_cut_changes_nothing(tmp_path, monkeypatch, action, parameters, held):
    """A thread whose step is cancelled while the disk is slow neither appends nor deletes later."""
    (tmp_path / "a.txt").write_text("text")
    reached, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    main = threading.get_ident()
    tool = Filesystem(tmp_path)
    real, work = getattr(os, held), getattr(tool, f"_{action}")

    def slow(*args, **options):
        found = real(*args, **options)
        if threading.get_ident() != main and not reached.is_set() and stat.S_ISREG(found.st_mode):
            reached.set()
            go_on.wait(60)
        return found

    def noted(*args):
        try:
            return work(*args)
        finally:
            ended.set()

    monkeypatch.setattr(os, held, slow)
    monkeypatch.setattr(tool, f"_{action}", noted)
    async with open_engine(timeouts=Timeouts(node=None, pipeline=None)) as engine:

        async def step(_):
            return await tool(action=action, parameters={"path": "a.txt", **parameters})

        run = engine.start(Pipeline("p", [Node(step, name="n")]))
        assert await trio.to_thread.run_sync(reached.wait, 60)
        run.cancel("enough")
        assert (await run.wait()).status == "cancelled"
        go_on.set()
        assert await trio.to_thread.run_sync(ended.wait, 60)
    assert (tmp_path / "a.txt").read_text() == "text"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o600])
async def test_a_file_keeps_its_mode(tmp_path, mode):
    """What is written anew may be read and written by whom it could before, whatever the umask says."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(mode)
    before = os.umask(0o077)
    try:
        await Filesystem(tmp_path)(action="write", parameters={"path": "a.txt", "content": "new"})
    finally:
        os.umask(before)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", mode)
