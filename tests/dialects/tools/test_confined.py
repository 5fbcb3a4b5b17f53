"""Whatever links there are, and whatever path is asked for, nothing outside of the root is touched."""

import os
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from graceline.dialects.tools import ToolFailedError
from graceline.dialects.tools.confined import opened_place
from graceline.dialects.tools.filesystem import Filesystem

names = st.sampled_from(["a", "b", "c", "..", ".", "out", "secret", ""])
relative = st.lists(names, min_size=1, max_size=5).map("/".join)
targets = (
    relative
    | st.builds("{{root}}/{}".format, relative)
    | st.builds("{{outside}}/{}".format, relative)
)
places = st.sampled_from(["a", "b", "c", "a/b", "a/c", "b/a", "b/c"])
entries = st.dictionaries(places, st.none() | st.just("") | targets, max_size=6)
actions = st.sampled_from(["read", "write", "append", "list", "exists", "delete"])


def outside(root):
    """Everything beside the root: names, and what is in the files."""
    found = {}
    for folder, _, files in os.walk(root.parent):
        if folder == str(root) or folder.startswith(f"{root}/"):
            continue
        for file in files:
            path = Path(folder, file)
            found[str(path)] = None if path.is_symlink() else path.read_text()
        found[folder] = None
    return found


def build(root, tree):
    """Make directories, files and links below the root; what does not fit is left out."""
    for place, kind in sorted(tree.items()):
        path = root / place
        if os.path.realpath(path.parent) != str(path.parent):
            continue  # it would be made where a link leads
        try:
            if kind is None:
                path.mkdir()
            elif kind == "":
                path.write_text("inside")
            else:
                path.symlink_to(kind.format(root=root, outside=root.parent / "out"))
        except OSError:
            continue


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(entries, relative | targets, actions)
def test_nothing_outside_is_touched(tree, path, action):
    """Reading gives nothing from outside, and writing, appending and deleting changes nothing there."""
    with tempfile.TemporaryDirectory() as folder:
        use(Path(folder).resolve(), tree, path, action)


def use(base, tree, path, action):
    """Use the tool once, in a directory of its own."""
    (base / "out").mkdir()
    (base / "out" / "secret").write_text("secret")
    (base / "secret").write_text("secret")
    root = base / "root"
    root.mkdir()
    build(root, tree)
    before = outside(root)
    path = path.format(root=root, outside=base / "out")
    parameters = {"path": path} | ({"content": "x"} if action in ("write", "append") else {})

    async def main():
        return await Filesystem(root)(action=action, parameters=parameters)

    try:
        answer = trio.run(main)
    except ToolFailedError:
        answer = {}
    assert outside(root) == before
    assert answer.get("content") in (None, "inside")
    assert "secret" not in [entry["name"] for entry in answer.get("entries", ())]


@pytest.mark.parametrize("path", ["a", "new/a", "a/../b"])
def test_every_descriptor_is_closed(tmp_path, path):
    """What a walk has opened is closed behind it, however it ends."""
    before = len(list(Path("/dev/fd").iterdir()))
    try:
        with opened_place(tmp_path, path, make=True) as place:
            assert place.look() is None
    except ToolFailedError:
        assert ".." in path
    assert len(list(Path("/dev/fd").iterdir())) == before
