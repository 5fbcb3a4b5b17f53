"""The page that compares says what was measured, and nothing else."""

import json
import shutil

import pytest
from benchmarks.filling import DOCS
from benchmarks.peers.catalogue import peers
from benchmarks.peers.chart import draw
from benchmarks.peers.page import filled, main
from benchmarks.peers.scenarios import PROBES
from benchmarks.peers.study import judged, missed

DOCUMENT = json.loads((DOCS / "peers.json").read_text("utf-8"))
FOUND = DOCUMENT["peers"]
PAGE = (DOCS / "peers.md").read_text("utf-8")


def test_the_page_has_what_was_measured():
    """All figures of the page are those of the JSON beside it: `python -m benchmarks.peers.page`."""
    assert filled(PAGE, DOCUMENT) == PAGE
    assert PAGE.count("<!-- end -->") == 6


def test_a_mark_that_means_nothing_is_refused():
    """A misspelt mark is an error, not a gap in the page."""
    with pytest.raises(KeyError, match="cost"):
        filled("<!-- cost -->\n<!-- end -->", DOCUMENT)


def test_the_chart_is_that_of_the_figures():
    """The chart of the page shows the JSON beside it."""
    assert (DOCS / "peers.svg").read_text("utf-8") == draw(FOUND)


def test_every_peer_is_on_the_page():
    """Nobody is left out, and what is said of a peer can be looked up where it says so itself."""
    assert set(FOUND) == set(peers())
    for found in FOUND.values():
        assert found["absent"] or f"[{found['title']}]({found['about']['docs']})" in PAGE


def test_every_answer_follows_from_its_evidence():
    """Each answer is what its probe makes of what was seen, which is kept."""
    cells = [(name, cell) for found in FOUND.values() for name, cell in found["cells"].items()]
    answered = [(name, cell) for name, cell in cells if cell["seen"] is not None]
    assert answered
    for name, cell in answered:
        assert cell == judged(PROBES[name], cell["seen"])


def test_the_command_writes_the_page_and_its_chart(tmp_path):
    """What stood there before is replaced, as the JSON beside it says."""
    for name in ("peers.json", "peers.md"):
        shutil.copy(DOCS / name, tmp_path)
    assert main([], tmp_path) == 0
    assert (tmp_path / "peers.md").read_text("utf-8") == PAGE
    assert (tmp_path / "peers.svg").read_text("utf-8") == draw(FOUND)


@pytest.mark.parametrize(
    "figures", ["no json", "[]", json.dumps({**DOCUMENT, "peers": {"hand": FOUND["hand"]}}), None]
)
def test_figures_that_fill_no_page_are_an_error(tmp_path, capsys, figures):
    """A damaged file, and one of a single peer, are told in a line, and nothing is written."""
    shutil.copy(DOCS / "peers.md", tmp_path)
    if figures is not None:
        (tmp_path / "peers.json").write_text(figures, "utf-8")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SystemExit, match="2"):
        main([], tmp_path)
    assert "error: " in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_help_writes_nothing(tmp_path, capsys):
    """Who asks what the command does has not asked for it to be done."""
    with pytest.raises(SystemExit, match="0"):
        main(["--help"], tmp_path)
    assert "docs/peers.md" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_page_meets_the_bar():
    """What is published was measured with all of the rounds, and the bar held."""
    assert not DOCUMENT["quick"]
    assert not missed(FOUND)
