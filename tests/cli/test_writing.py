"""Files that the command writes: whole ones, in the place of what was there."""

import os
from pathlib import Path

from graceline.cli.writing import write_file


def test_what_was_read_before_stays(tmp_path):
    """The old file is replaced and not written into: who holds it still has the old text."""
    path, held = tmp_path / "result.json", tmp_path / "held"
    path.write_text("the old text, which is longer")
    os.link(path, held)
    with path.open() as reader:
        write_file(path, "new")
        assert reader.read() == "the old text, which is longer"
    assert (path.read_text(), held.read_text()) == ("new", "the old text, which is longer")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["held", "result.json"]


def test_a_run_replaces_its_result(put, call):
    """`--output` gives a new file in the place of the old one."""
    flow = put("p.yaml", "id: p\nsteps: [{id: a, command: ['true']}]\n")
    Path("result.json").write_text("old")
    os.link("result.json", "held")
    assert call("run", flow, "--output", "result.json")[0] == 0
    assert Path("held").read_text() == "old"
    assert '"status": "ok"' in Path("result.json").read_text()
