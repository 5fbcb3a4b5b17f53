"""The tool `filesystem`, and that it stays below its root."""

import errno
import os
import threading
from pathlib import Path

import pytest
import trio

from graceline import Node, Pipeline, Timeouts, open_engine
from graceline.dialects.tools import ToolFailedError, ToolRefusedError
from graceline.dialects.tools.confined import opened_place
from graceline.dialects.tools.filesystem import Filesystem


@pytest.fixture
def root(tmp_path):
    """The root, beside which lies what nobody may reach."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.txt").write_text("text ß")
    (root / "dir").mkdir()
    (root / "dir" / "b.txt").write_text("b")
    return root


@pytest.fixture
def call(root):
    """Calls the tool with an action and its parameters."""
    tool = Filesystem(root, max_read=1000)

    async def call(action, **parameters):
        return await tool(action=action, parameters=parameters)

    return call


async def test_read(call):
    """The text of a file, and how long it is."""
    assert await call("read", path="a.txt") == {
        "success": True, "path": "a.txt", "content": "text ß", "size": 7,
    }  # fmt: skip
    assert (await call("read", path="./dir//b.txt"))["content"] == "b"


async def test_write(call, root):
    """A file is written with the directories on its way, and nothing is left beside it."""
    await call("write", path="new/deep/c.txt", content="ß")
    assert (root / "new" / "deep" / "c.txt").read_bytes() == "ß".encode()
    assert os.listdir(root / "new" / "deep") == ["c.txt"]


async def test_write_replaces_and_keeps_the_mode(call, root):
    """What a file may be used for stays, and a hard link elsewhere keeps the old text."""
    (root / "a.txt").chmod(0o640)
    os.link(root / "a.txt", root / "old")
    await call("write", path="a.txt", content="new")
    assert (root / "a.txt").read_text() == "new"
    assert (root / "a.txt").stat().st_mode & 0o777 == 0o640
    assert (root / "old").read_text() == "text ß"


async def test_a_name_may_be_as_long_as_names_can_be(call, root):
    """The name of the file beside it does not depend on that of the file."""
    await call("write", path="n" * 255, content="x")
    assert (root / ("n" * 255)).read_text() == "x"


async def test_append(call, root):
    """Text is added at the end; a missing file is made."""
    assert (await call("append", path="a.txt", content="!"))["size"] == 8
    assert (await call("append", path="log/x", content="1"))["size"] == 1
    assert (root / "a.txt").read_text() == "text ß!"


async def test_list(call, root):
    """The entries of a directory, sorted, with their types and sizes; the root needs no path."""
    (root / "link").symlink_to("a.txt")
    os.mkfifo(root / "pipe")
    listed = await call("list")
    assert [(entry["name"], entry["type"], entry["size"]) for entry in listed["entries"]] == [
        ("a.txt", "file", 7), ("dir", "directory", None), ("link", "link", None), ("pipe", "device", None),
    ]  # fmt: skip
    assert [entry["name"] for entry in (await call("list", path="dir"))["entries"]] == ["b.txt"]


async def test_exists(call, root):
    """Files, directories, nothing, and what a dead link leads to."""
    (root / "dead").symlink_to("nowhere/at/all")
    asked = ["a.txt", "dir", ".", "nope", "nope/deep", "a.txt/deep", "dead"]
    found = [(await call("exists", path=path)) for path in asked]
    assert [answer["type"] for answer in found] == ["file", "directory", "directory", *[None] * 4]
    assert [answer["exists"] for answer in found] == [True] * 3 + [False] * 4


async def test_delete(call, root):
    """Files, empty directories, and links themselves: what they lead to stays."""
    (root / "link").symlink_to("a.txt")
    (root / "away").symlink_to("../secret")
    for path in ("link", "away", "dir/b.txt", "dir"):
        await call("delete", path=path)
    assert os.listdir(root) == ["a.txt"]
    assert (root.parent / "secret").exists()


@pytest.mark.parametrize("action", ["read", "write", "append", "list", "exists", "delete"])
@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "dir/../../secret",
        "..",
        "dir/..",
        "/etc/passwd",
        "",
        3,
        None,
        "a\0b",
        "x/" * 200,
    ],
)
async def test_no_path_leaves_the_root(call, root, action, path):
    """`..`, absolute paths and what is no path are refused before anything is looked at."""
    more = {"content": "x"} if action in ("write", "append") else {}
    before = sorted(os.listdir(root)), (root.parent / "secret").read_text()
    with pytest.raises(ToolRefusedError):
        await call(action, path=path, **more)
    assert (sorted(os.listdir(root)), (root.parent / "secret").read_text()) == before


LINKS = {
    "to a file": ("link", "../secret", "link"),
    "to a directory": ("link", "../outside", "link/file"),
    "absolute": ("link", "{outside}", "link/file"),
    "absolute file": ("link", "{outside}/file", "link"),
    "in the middle": ("dir/link", "../../outside", "dir/link/file"),
    "by a detour": ("dir/link", "../dir/../../outside/file", "dir/link"),
    "that is a prefix": ("link", "{root}2/file", "link"),
    "to the top": ("link", "/", "link/etc/passwd"),
}


@pytest.mark.parametrize("action", ["read", "write", "append", "exists"])
@pytest.mark.parametrize(("link", "target", "path"), LINKS.values(), ids=LINKS)
async def test_no_link_leaves_the_root(call, root, action, link, target, path):
    """A link out of the root is refused, wherever it stands and however it is written."""
    target = target.format(outside=root.parent / "outside", root=root)
    (root / link).symlink_to(target)
    more = {"content": "x"} if action in ("write", "append") else {}
    with pytest.raises(ToolRefusedError, match="leads out of the root through a link"):
        await call(action, path=path, **more)
    assert (root.parent / "outside" / "file").read_text() == "secret"
    assert (root.parent / "secret").read_text() == "secret"


async def test_links_within_the_root_are_followed(call, root):
    """Relative and absolute ones, of files and directories, also by way of `..` inside."""
    (root / "dir" / "up").symlink_to("../a.txt")
    (root / "whole").symlink_to(root / "dir")
    (root / "all").symlink_to(root)
    (root / "here").symlink_to("dir/..")
    for path in ("dir/up", "whole/up", "all/a.txt", "here/a.txt", "here/all/whole/up"):
        assert (await call("read", path=path))["content"] == "text ß"
    await call("write", path="dir/up", content="new")
    assert (root / "dir" / "up").is_symlink()
    assert (root / "a.txt").read_text() == "new"
    assert len((await call("list", path="here"))["entries"]) == 5


async def test_links_in_a_circle_end(call, root):
    """A link to itself is an error, and not an endless walk."""
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    (root / "deep").symlink_to("dir/../deep/x")
    for path in ("one", "deep"):
        with pytest.raises(ToolFailedError, match="too many links"):
            await call("read", path=path)


async def test_a_race_cannot_lead_out(root):
    """While somebody swaps a directory for a link out of the root, nobody ever reads what is there."""
    (root / "swap").mkdir()
    (root / "swap" / "file").write_text("inside")
    ended = threading.Event()

    def swap():
        while not ended.is_set():
            os.rename(root / "swap", root / "kept")
            os.symlink(root.parent / "outside", root / "swap")
            os.unlink(root / "swap")
            os.rename(root / "kept", root / "swap")

    tool = Filesystem(root)
    thread = threading.Thread(target=swap)
    thread.start()
    found = set()
    try:
        for _ in range(500):
            try:
                answer = await tool(action="read", parameters={"path": "swap/file"})
                found.add(answer["content"])
            except ToolFailedError:
                found.add("refused")
    finally:
        ended.set()
        thread.join()
    assert found <= {"inside", "refused"}


def test_a_directory_that_became_a_link_is_not_entered(root, monkeypatch):
    """The descriptor counts: a link put in place after the look at it fails to open."""
    real = os.readlink

    def late(name, *, dir_fd):
        try:
            return real(name, dir_fd=dir_fd)
        except OSError:
            if name == "dir":
                os.rename(root / "dir", root / "kept")
                os.symlink(root.parent / "outside", root / "dir")
            raise

    monkeypatch.setattr(os, "readlink", late)
    with pytest.raises(ToolFailedError), opened_place(root, "dir/file"):
        pass


async def test_a_file_that_became_a_link_is_not_opened(call, root, monkeypatch):
    """As for directories: what is opened is never a link."""
    real = os.readlink

    def late(name, *, dir_fd):
        try:
            return real(name, dir_fd=dir_fd)
        except OSError:
            if name == "a.txt":
                os.unlink(root / "a.txt")
                os.symlink(root.parent / "secret", root / "a.txt")
            raise

    monkeypatch.setattr(os, "readlink", late)
    with pytest.raises(ToolFailedError, match="became a link in the meantime"):
        await call("read", path="a.txt")


async def test_what_goes_wrong_is_said(call, root):
    """Each error names the path as the file says it, and why."""
    (root / "big").write_text("x" * 1001)
    (root / "binary").write_bytes(b"ab\xff")
    os.mkfifo(root / "pipe")
    wrong = [
        ("read", {"path": "nope"}, "'nope': No such file"),
        ("read", {"path": "nope/x"}, "'nope/x': No such file"),
        ("read", {"path": "a.txt/x"}, "'a.txt/x': Not a directory"),
        ("read", {"path": "dir"}, "'dir' is a directory, not a file"),
        ("read", {"path": "pipe"}, "'pipe' is a device, not a file"),
        ("read", {"path": "big"}, "'big' has more than 1000 bytes"),
        ("read", {"path": "binary"}, "'binary' is not UTF-8 text: invalid start byte at byte 2"),
        ("write", {"path": "dir", "content": ""}, "'dir' is a directory, not a file"),
        ("write", {"path": "pipe", "content": ""}, "'pipe' is a device"),
        ("write", {"path": "a.txt/x", "content": ""}, "'a.txt/x': Not a directory"),
        ("append", {"path": "pipe", "content": ""}, "'pipe'"),
        ("append", {"path": "dir", "content": ""}, "'dir': Is a directory"),
        ("read", {"path": "n" * 300}, "File name too long"),
        ("list", {"path": "a.txt"}, "'a.txt': Not a directory"),
        ("delete", {"path": "nope"}, "'nope': No such file"),
        ("delete", {"path": "dir"}, "'dir': Directory not empty"),
        ("delete", {"path": "."}, "its root is not deleted"),
    ]  # fmt: skip
    for action, parameters, said in wrong:
        with pytest.raises(ToolFailedError, match=said):
            await call(action, **parameters)


async def test_wrong_calls_are_refused(call):
    """An unknown action or parameter names the nearest; content is text."""
    wrong = [
        ("raed", {"path": "a"}, "no action 'raed'; did you mean 'read'"),
        (None, {"path": "a"}, "filesystem needs an action: read, write"),
        ("read", {"pth": "a"}, "filesystem, read: no parameter 'pth'; did you mean 'path'"),
        ("read", {}, "filesystem, read: it needs the parameter 'path'"),
        ("write", {"path": "a", "content": {"a": 1}}, "the filter tojson makes one"),
        ("write", {"path": "a", "content": "\ud800"}, "cannot be encoded"),
    ]  # fmt: skip
    for action, parameters, said in wrong:
        with pytest.raises(ToolRefusedError, match=said) as caught:
            await call(action, **parameters)
        assert caught.value.retryable is False


async def test_a_missing_root_is_named(tmp_path):
    """The root has to be there when the tool is used."""
    with pytest.raises(ToolFailedError, match=r"its root .*/nope': No such file"):
        await Filesystem(tmp_path / "nope")(action="list", parameters={})


async def test_no_descriptor_is_left_open(call):
    """After errors and successes as many files are open as before."""
    await call("read", path="a.txt")
    before = len(os.listdir("/dev/fd"))
    for action, path in [
        ("read", "dir/b.txt"),
        ("read", "dir"),
        ("list", "dir"),
        ("delete", "x/y"),
    ]:
        try:
            await call(action, path=path)
        except ToolFailedError:
            pass
    assert len(os.listdir("/dev/fd")) == before


async def test_a_path_object_is_a_path(call):
    """Tools may be called by Python code too."""
    assert (await call("exists", path=Path("a.txt")))["exists"] is True


async def test_links_cannot_lead_endlessly_deep(call, root, monkeypatch):
    """However deep links lead, the descriptors on the way are bounded."""
    (root / "x" / "x" / "x").mkdir(parents=True)
    (root / "link").symlink_to("x/x/x/file")
    monkeypatch.setattr("graceline.dialects.tools.confined._MAX_NAMES", 1)
    with pytest.raises(ToolFailedError, match="'link' leads too deep"):
        await call("read", path="link")


async def test_a_directory_may_be_made_by_two_at_once(call, root, monkeypatch):
    """Whoever is second finds it there; a directory that cannot be made is an error."""
    real = os.mkdir

    def twice(name, *, dir_fd):
        real(name, dir_fd=dir_fd)
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", twice)
    await call("write", path="new/file", content="x")
    assert (root / "new" / "file").read_text() == "x"

    def full(name, *, dir_fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(ToolFailedError, match="'other/file': No space left on device"):
        await call("write", path="other/file", content="x")


async def test_a_write_that_fails_leaves_nothing(call, root, monkeypatch):
    """Neither half a file nor what it was written to."""

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ToolFailedError, match=r"'a.txt': No space left on device"):
        await call("write", path="a.txt", content="x")
    assert (root / "a.txt").read_text() == "text ß"
    assert sorted(os.listdir(root)) == ["a.txt", "dir"]


async def test_what_vanishes_is_not_listed(call, monkeypatch):
    """An entry that is deleted while its directory is listed is left out."""
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda where: [*real(where), "ghost"])
    assert [entry["name"] for entry in (await call("list"))["entries"]] == ["a.txt", "dir"]


async def test_many_entries_are_not_listed(call, root, monkeypatch):
    """A directory of more entries than fit is an error, and not a page of them."""
    monkeypatch.setattr("graceline.dialects.tools.filesystem._MAX_ENTRIES", 1)
    with pytest.raises(ToolFailedError, match=r"'.' has 2 entries, and 1 at the most are listed"):
        await call("list")


async def test_a_step_that_was_cut_writes_nothing(root, monkeypatch):
    """A write whose step is cancelled while the disk is slow is not put in its place later."""
    reached, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    real = os.fsync

    def slow(descriptor):
        reached.set()
        go_on.wait(60)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    tool = Filesystem(root)
    unlink = os.unlink

    def noted(*args, **options):
        unlink(*args, **options)
        ended.set()

    monkeypatch.setattr(os, "unlink", noted)
    async with open_engine(timeouts=Timeouts(node=None, pipeline=None)) as engine:

        async def step(_):
            return await tool(action="write", parameters={"path": "a.txt", "content": "late"})

        run = engine.start(Pipeline("p", [Node(step, name="n")]))
        await trio.to_thread.run_sync(reached.wait, 60)
        run.cancel("enough")
        result = await run.wait()
        assert result.status == "cancelled"
        go_on.set()
        await trio.to_thread.run_sync(ended.wait, 60)
    assert (root / "a.txt").read_text() == "text ß"
    assert sorted(os.listdir(root)) == ["a.txt", "dir"]
