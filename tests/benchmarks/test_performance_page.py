"""The page about performance says what was measured, and nothing else."""

import json
import re
import shutil

import attrs
import pytest
from benchmarks.filling import DOCS, fill
from benchmarks.page import JSON, PAGE, charts, filled, main
from benchmarks.report import read

REPORT = read(JSON)
TEXT = PAGE.read_text("utf-8")


def test_the_page_has_what_was_measured():
    """All figures of the page are those of the JSON beside it: `python -m benchmarks.page`."""
    assert filled(TEXT, REPORT) == TEXT


def test_the_charts_are_those_of_the_figures():
    """Each chart shows the JSON beside it, and is on the page."""
    for name, drawn in charts(REPORT).items():
        assert (DOCS / name).read_text("utf-8") == drawn
        assert f"({name})" in TEXT


def test_every_bar_is_on_the_page():
    """No promise is left out, and what is missed is said; virtual time has a page of its own."""
    for row in REPORT.rows:
        if row.verdict and not row.exact:
            assert row.what in TEXT
    missed = [row for row in REPORT.rows if row.verdict == "MISSED"]
    assert TEXT.count("**no**") == len([row for row in missed if not row.exact])


def test_what_is_published_was_measured_in_full():
    """The figures are no quick look, and no group is missing that did not finish."""
    assert not REPORT.about.quick
    assert REPORT.unfinished == {}


def test_no_two_rows_are_the_same():
    """Each row can be found again in another report."""
    keys = [row.key for row in REPORT.rows]
    assert len(set(keys)) == len(keys)


def test_a_new_group_is_on_the_page():
    """A group that the text knows nothing of stands at its end."""
    row = attrs.evolve(REPORT.rows[0], group="new", what="a new question")
    text = filled(TEXT, attrs.evolve(REPORT, rows=(*REPORT.rows, row)))
    assert re.search(r"## And the rest\n\n.*\| a new question ", text, re.DOTALL)


def test_a_group_that_is_not_in_the_figures_is_refused():
    """A misspelt group is an error, not a table without rows; one that did not finish is a gap."""
    with pytest.raises(ValueError, match="no rows of sequense"):
        filled("<!-- rows: sequense -->\n<!-- end -->", REPORT)
    gone = attrs.evolve(REPORT, unfinished={"sequense": "it hung"})
    assert "| what | engine |" in filled("<!-- rows: sequense -->\n<!-- end -->", gone)


def test_the_command_writes_the_page_and_its_charts(tmp_path):
    """What stood there before is replaced, as the JSON beside it says."""
    for path in (JSON, PAGE):
        shutil.copy(path, tmp_path)
    assert main([], tmp_path) == 0
    assert (tmp_path / PAGE.name).read_text("utf-8") == TEXT
    assert set(charts(REPORT)) < {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("figures", ["no json", "[]", "one group", None])
def test_figures_that_fill_no_page_are_an_error(tmp_path, capsys, figures):
    """A damaged file, and one of a single group, are told in a line, and nothing is written."""
    shutil.copy(PAGE, tmp_path)
    if figures == "one group":
        document = json.loads(JSON.read_text("utf-8"))
        document["rows"] = document["rows"][:1]
        figures = json.dumps(document)
    if figures is not None:
        (tmp_path / JSON.name).write_text(figures, "utf-8")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SystemExit, match="2"):
        main([], tmp_path)
    assert "error: " in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_help_writes_nothing(tmp_path, capsys):
    """Who asks what the command does has not asked for it to be done."""
    with pytest.raises(SystemExit, match="0"):
        main(["--help"], tmp_path)
    assert PAGE.name in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_marks_hand_their_words_to_their_block():
    """A mark stays as it was, and what was between it and its end is replaced."""
    page = "<!-- of: a b -->\nold\n<!-- end -->\n<!-- it -->\n<!-- end -->"
    assert fill(page, {"of": "+".join, "it": "c"}) == (
        "<!-- of: a b -->\na+b\n<!-- end -->\n<!-- it -->\nc\n<!-- end -->"
    )
