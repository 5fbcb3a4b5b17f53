"""The waterfall as HTML, seen by a browser: what it shows, keys, and what it tells a reader."""

import re
from itertools import combinations, pairwise

import attrs
import pytest

from graceline import Pipeline, Stage, Status
from graceline.timelines.look import DARK, LIGHT

ROWS = """[...document.querySelectorAll("tbody tr")].map((row) => {
  const box = (e) => { const r = e.getBoundingClientRect(); return [r.left, r.right, r.width]; };
  const track = row.querySelector(".track");
  return {
    name: row.querySelector("th > span")?.textContent,
    level: row.getAttribute("aria-level"),
    shown: row.offsetParent !== null,
    status: row.querySelector(".status")?.innerText ?? "",
    track: track && box(track),
    work: [...row.querySelectorAll(".bar:not(.grace)")].map(box),
    grace: [...row.querySelectorAll(".bar.grace")].map(box),
    limit: [...row.querySelectorAll(".limit")].map(box),
  };
})"""
FOCUS = "document.activeElement.querySelector?.('th > span')?.textContent ?? ''"


def test_rows_stand_in_the_order_of_definition(show, cut):
    """Every stage comes before its nodes, and a stage with one node of its own name is one line."""
    rows = show(cut[1].timeline.to_html()).look(ROWS)
    assert [(row["level"], row["name"]) for row in rows] == [
        ("1", "auth"), ("1", "retrieve"), ("2", "vectors"), ("2", "keywords"), ("2", "history"),
        ("1", "generate"), ("2", "draft"), ("1", "audit"), ("2", "log"),
    ]  # fmt: skip


def test_bars_lie_where_things_happened(show, cut):
    """Work, unwinding and limits have the places on the axis that their seconds have."""
    timeline = cut[1].timeline
    rows = {row["name"]: row for row in show(timeline.to_html()).look(ROWS)}
    end = timeline.pipeline.ended
    seen = 0
    for part in timeline.rows():
        if part.started is None or part.name not in rows:
            continue
        row = rows[part.name]
        left, _, width = row["track"]
        [work] = row["work"]
        places = [(work[0], part.started), (work[1], part.worked_until)]
        places += [(grace[1], part.ended) for grace in row["grace"]]
        places += [(limit[0], part.limit_at) for limit in row["limit"]]
        assert len(row["grace"]) == (part.grace_used > 0)
        for place, instant in places:
            assert place == pytest.approx(left + width * instant / end, abs=3.5), part
            seen += 1
    assert seen >= 15


def test_what_is_to_blame_is_marked_without_colour(show, cut):
    """The blamed part says so in words, and no other one does; a degraded part says that."""
    page = show(cut[1].timeline.to_html())
    rows = {row["name"]: row["status"] for row in page.look(ROWS)}
    assert rows["generate"] == "◷ timed out\n◄ to blame"
    assert rows["keywords"] == "◷ timed out\ndegraded, partial value"
    assert [name for name, said in rows.items() if "to blame" in said] == ["generate"]
    assert "stage 'generate' exceeded its limit" in page.look("document.body.innerText")


def test_attempts_and_backoffs(show, tried):
    """A node that was tried again shows each attempt, the pauses between, and its hedge."""
    page = show(tried[0].to_html())
    names = [row["name"] for row in page.look(ROWS)]
    assert names == ["load", "flaky", "attempt 1", "attempt 2", "attempt 3", "hedged", "attempt 1",
                     "hedge 1"]  # fmt: skip
    assert page.look("document.querySelectorAll('tbody .bar.backoff').length") == 2
    failed = "document.querySelectorAll('tr.node .bar.is-failed').length"
    assert page.look(failed) == 2


def test_keys_move_and_fold(show, thousand):
    """Tab leads into the rows, arrows go from row to row, and to the right and left they unfold."""
    page = show(thousand[1].timeline.to_html())
    shown = "[...document.querySelectorAll('tbody tr')].filter((r) => r.offsetParent).length"
    before = page.look(shown)
    assert before < 30
    page.press("Tab")
    assert page.look(FOCUS) == "stage 0"
    assert page.look("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("ArrowRight")
    assert page.look("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert page.look(shown) == before + 250
    page.press("ArrowDown")
    page.press("ArrowDown")
    assert page.look(FOCUS) == "job 0-001"
    page.press("ArrowUp")
    assert page.look(FOCUS) == "job 0-000"
    page.press("ArrowLeft")
    assert page.look(FOCUS) == "stage 0"
    page.press("ArrowLeft")
    assert page.look(shown) == before
    page.press("End")
    last = page.look(FOCUS)
    assert last.startswith(("stage 3", "job 3"))
    page.press("Home")
    page.press("Enter")
    assert page.look(shown) == before + 250


def test_to_the_left_of_a_node_is_its_stage(show, thousand):
    """From any node of a stage, however far down, ArrowLeft leads to the line of the stage."""
    page = show(thousand[1].timeline.to_html())
    for key in ("Tab", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowDown"):
        page.press(key)
    assert page.look(FOCUS) == "job 0-002"
    page.press("ArrowLeft")
    assert page.look(FOCUS) == "stage 0"


def test_tab_leaves_and_comes_back_to_one_row(show, thousand):
    """Exactly one row can be reached by Tab: the one that was left."""
    page = show(thousand[1].timeline.to_html())
    stops = "[...document.querySelectorAll('tbody tr')].filter((r) => r.tabIndex === 0)"
    names = f"{stops}.map((row) => row.querySelector('th > span').textContent)"
    assert page.look(names) == ["stage 0"]
    page.press("Tab")
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "End", "Home", "ArrowDown"):
        page.press(key)
    assert page.look(names) == ["stage 1"] == [page.look(FOCUS)]


@pytest.mark.parametrize("held", ["Alt", "Control", "Meta"])
def test_what_is_held_makes_it_a_key_of_the_browser(show, thousand, held):
    """With Alt, Ctrl or Meta no key moves or folds anything."""
    page = show(thousand[1].timeline.to_html())
    page.press("Tab")
    page.look("addEventListener('keydown', (e) => { e.preventDefault(); })")  # of the browser, too
    folded = "document.querySelectorAll('tbody.folded').length"
    before = page.look(folded)
    for key in ("ArrowDown", "ArrowRight", "End", "Enter"):
        page.press(key, held)
        assert (page.look(FOCUS), page.look(folded)) == ("stage 0", before), key


@pytest.mark.parametrize("key", ["Enter", " "])
def test_a_key_on_the_button_folds_once(show, thousand, key):
    """Its own click is all that happens; with the row's key as well nothing would seem to."""
    page = show(thousand[1].timeline.to_html())
    page.look("document.querySelector('tbody button').focus()")
    state = "document.querySelector('tbody button').getAttribute('aria-expanded')"
    assert page.look(state) == "false"
    page.press(key)
    assert page.look(state) == "true"
    page.press(key)
    assert page.look(state) == "false"


def test_two_waterfalls_in_a_notebook_fold_once(show, thousand):
    """The script of the second one leaves the first one alone: a click folds, and stays."""
    one = thousand[1]._repr_html_()
    page = show(f"<!doctype html><body>{one}{one}")
    state = "[...document.querySelectorAll('tbody button')].map((b) => b.ariaExpanded)"
    page.click("button")
    assert page.look(state) == ["true", *["false"] * 7]


def test_a_click_folds(show, thousand):
    """The button of a stage unfolds it and folds it again, and says which it is."""
    page = show(thousand[1].timeline.to_html())
    state = "document.querySelector('button').getAttribute('aria-expanded')"
    assert page.look(state) == "false"
    page.click("button")
    assert page.look(state) == "true"
    page.click("button")
    assert page.look(state) == "false"


def test_a_thousand_nodes_stay_readable(show, thousand):
    """Stages say how many of their nodes ended in which way; those that did not succeed are shown."""
    timeline = thousand[1].timeline
    html = timeline.to_html()
    assert len(html.encode()) < 1_000_000
    rows = show(html).look(ROWS)
    assert len(rows) == 1004
    bad = [row.name for row in timeline.rows() if row.level == "node" and row.status != "ok"]
    assert len(bad) == 3
    assert [row["name"] for row in rows if row["shown"]] == [
        "stage 0", "stage 1", "job 1-007", "stage 2", "job 2-007", "job 2-008", "stage 3",
    ]  # fmt: skip
    assert "250 nodes: 248 ok, 2 timed out" in html


def test_without_scripts_everything_is_there(show, thousand):
    """Where no script may run, all rows are shown, and no button that does nothing."""
    page = show(thousand[1].timeline.to_html(), script=False)
    assert page.look("[...document.querySelectorAll('tbody tr')].every((r) => r.offsetParent)")
    assert page.look("document.querySelector('button').offsetParent") is None


def test_what_a_screen_reader_gets(show, cut):
    """A treegrid with row headers, and a bar that says name, status, times, limit and blame."""
    found = show(cut[1].timeline.to_html()).accessible()
    roles = [role for role, _, _ in found]
    assert roles.count("treegrid") == 1
    names = {role: [name for found_role, name, _ in found if found_role == role] for role in roles}
    assert names["treegrid"] == ["answer, timed out: stages and nodes over time"]
    assert names["rowheader"][:3] == ["auth", "retrieve", "vectors"]
    assert names["columnheader"] == ["part", "time", "status", "took"]
    images = [name for role in ("image", "img") for name in names.get(role, [])]
    assert (
        "generate: timed out, from 270ms to 1.02s, took 750ms, limit at 870ms, unwinding for 150ms, "
        "to blame"
    ) in images
    assert "log: skipped, never started" in images


def test_a_screen_reader_hears_what_is_folded(show, thousand):
    """The row of a stage that can be folded, and its button, say whether it is."""
    page = show(thousand[1].timeline.to_html())
    found = page.accessible()
    buttons = [(name, more) for role, name, more in found if role == "button"]
    assert buttons[0][0] == "nodes of stage 0"
    assert buttons[0][1]["expanded"] is False
    rows = [more for role, _, more in found if role == "row" and "expanded" in more]
    assert [more["expanded"] for more in rows] == [False] * 4
    assert rows[0]["level"] == 1


@pytest.mark.parametrize(("scheme", "palette"), [("light", LIGHT), ("dark", DARK)])
def test_light_and_dark(show, cut, scheme, palette):
    """The page has the colours of the scheme that its reader prefers."""
    page = show(cut[1].timeline.to_html(), scheme=scheme)
    for selector, field, name in (
        (".graceline", "backgroundColor", "page"),
        ("table", "backgroundColor", "card"),
        ("h2", "color", "ink"),
        ("tr.is-timed_out .status", "color", "timed_out"),
    ):
        seen = page.look(f"getComputedStyle(document.querySelector('{selector}')).{field}")
        wanted = [int(palette[name][at : at + 2], 16) for at in (1, 3, 5)]
        assert [int(part) for part in re.findall(r"\d+", seen)] == wanted, selector


def test_a_page_without_a_doctype_can_be_read(show, cut):
    """In a page whose tables take no colours from around them, names have the ink of the scheme."""
    page = show(f"<html><body>{cut[1]._repr_html_()}", scheme="dark")
    assert page.look("document.compatMode") == "BackCompat"
    colours = {
        page.look(f"getComputedStyle(document.querySelector('{selector}')).color")
        for selector in ("h2", "tr.node th", "td.time")
    }
    assert len(colours) == 1


@pytest.mark.parametrize("width", [320, 480, 1200])
@pytest.mark.parametrize("run", ["cut", "odd", "thousand"])
def test_nothing_sticks_out(show, request, run, width):
    """At any usual width nothing has to be scrolled sideways."""
    page = show(request.getfixturevalue(run)[1].timeline.to_html(), width=width)
    assert page.look("document.documentElement.scrollWidth") <= width


def test_names_are_only_names(show, odd, odd_names):
    """Whatever a name contains, it is shown, and nothing of it is run, turned or hidden."""
    html = odd[1].timeline.to_html()
    page = show(html)
    assert page.look("document.querySelectorAll('script').length") == 1
    assert page.look("document.title").startswith("</title> \\u202e & co")
    names = [row["name"] for row in page.look(ROWS) if row["level"] == "1"]
    assert len(names) == len(odd_names)
    assert names[0] == odd_names[0]
    assert names[1] == "turned \\u202e exe.gnp"
    assert names[3] == "\\x00 \\x07\\n \\x1b[31m"
    assert names[4:] == list(odd_names[4:])


def test_two_runs_have_one_scale(show, observe, sleeper):
    """Side by side, a second is as long in one run as in the other, and the two say their names."""
    one, other = (
        observe(Pipeline("p", Stage("s", [sleeper("n", seconds)])))[1].timeline
        for seconds in (1, 4)
    )
    page = show(one.beside(other, names=("before", "after")).to_html(), width=1400)
    short, long = [row for row in page.look(ROWS) if row["name"] == "n"]
    assert long["work"][0][2] == pytest.approx(4 * short["work"][0][2], rel=0.02)
    assert long["track"][0] > short["track"][1]
    assert page.look("[...document.querySelectorAll('.which')].map((e) => e.textContent)") == [
        "before", "after",
    ]  # fmt: skip


LABELS = """[...document.querySelectorAll(".axis .track")].map((track) =>
  [...track.children].filter((e) => e.offsetParent).map((e) => {
    const r = e.getBoundingClientRect(); return [r.left, r.right];
  }))"""


@pytest.mark.parametrize("width", [660, 901, 1100, 1280, 1601])
@pytest.mark.parametrize("end", [1, 1.08, 6])
def test_the_axis_can_be_read(show, made, width, end):
    """At any width the words of the axis keep apart, and the bars have two fifths of the room."""
    row = attrs.evolve(made().rows()[0], started=0.0, worked_until=end, ended=end)
    run = made(rows=(row, attrs.evolve(row, level="node", name="n")), took=end)
    for page in (show(run.to_html(), width=width), show(run.beside(run).to_html(), width=width)):
        for words in page.look(LABELS):
            assert len(words) >= 2
            assert all(one[1] + 3 < other[0] for one, other in pairwise(words)), words
        for row in page.look(ROWS):
            card = page.look("document.querySelector('table').getBoundingClientRect().width")
            assert row["track"][2] > 0.4 * card


def test_a_notebook_gets_a_fragment(show, cut):
    """In another page, as below a cell of a notebook, the waterfall changes nothing around it."""
    around = "<p id='it' class='status time bar limit'>text</p><table><tr><td>1</td></tr></table>"
    fields = "color", "fontSize", "position", "display", "borderLeftWidth", "textAlign", "height"
    styles = f"""["#it", "td"].map((of) => {{
      const style = getComputedStyle(document.querySelector(of));
      return {list(fields)}.map((field) => style[field]);
    }})"""
    page = show(f"<!doctype html><body>{around}")
    both = show(f"<!doctype html><body>{around}{cut[1]._repr_html_()}{cut[0]._repr_html_()}")
    assert both.look(styles) == page.look(styles)
    assert both.look("document.querySelectorAll('.graceline.js').length") == 2


def test_the_picture_is_drawn(show, cut):
    """A browser draws the SVG: its bars stand in the order of time, with their text alternatives."""
    page = show(cut[1].timeline.to_svg(), name="it.svg")
    bars = page.look(
        """[...document.querySelectorAll("g[role=img]")].map((row) => {
          const bar = row.querySelector("rect[rx]");
          return [row.getAttribute("aria-label"), bar && bar.getBoundingClientRect().left];
        })"""
    )
    lefts = {label.split(":")[0]: left for label, left in bars if left is not None}
    assert list(lefts) == [
        "auth",
        "retrieve",
        "vectors",
        "keywords",
        "history",
        "generate",
        "draft",
    ]
    assert lefts["auth"] < lefts["vectors"] == lefts["history"] < lefts["draft"]
    images = [name for role, name, _ in page.accessible() if role in ("image", "img")]
    assert any(name.startswith("generate: timed out, from 270ms to 1.02s") for name in images)


@pytest.mark.parametrize("width", [400, 480, 640, 960])
def test_the_words_of_a_picture_keep_apart(show, observe, sleeper, width):
    """Names end before the bars, and what stands in the last two columns does not touch."""
    long = "generate a summary of every document"
    stages = [Stage(long, [sleeper("n", 9)], timeout=0.5), Stage(long.upper(), [sleeper("m", 1)])]
    _, result = observe(Pipeline("p", stages, timeout=9))
    page = show(result.timeline.to_svg(width=width), name="it.svg", width=width + 40)
    words = page.look("""[...document.querySelectorAll("g[role=img]")].map((row) =>
      [...row.querySelectorAll("text")].map((e) => {
        const r = e.getBoundingClientRect(); return [r.left, r.right, r.top, r.bottom];
      }))""")
    bar = page.look("""Math.min(...[...document.querySelectorAll("g[role=img] rect[rx]")].map(
      (e) => e.getBoundingClientRect().left))""")
    for row in words:
        assert row[0][1] < bar
        for one, other in combinations(row, 2):
            beside = one[1] + 3 < other[0] or other[1] + 3 < one[0]
            assert beside or one[3] <= other[2] + 4 or other[3] <= one[2] + 4, row


@pytest.mark.parametrize(("scheme", "palette"), [("light", LIGHT), ("dark", DARK)])
def test_the_picture_is_light_and_dark(show, cut, scheme, palette):
    """The SVG has the colours of the scheme that its reader prefers."""
    page = show(cut[1].timeline.to_svg(), name="it.svg", scheme=scheme)
    for name in ("page", "card", "ink", "timed_out"):
        seen = page.look(f"getComputedStyle(document.querySelector('.f-{name}')).fill")
        wanted = [int(palette[name][at : at + 2], 16) for at in (1, 3, 5)]
        assert [int(part) for part in re.findall(r"\d+", seen)] == wanted, name


def test_the_attempts_of_what_is_shown_are_not_folded(show, made):
    """A node that did not succeed keeps its attempts, all lines of them, when its stage is folded."""
    stage, *_, tried, _ = made().rows()
    good = attrs.evolve(tried, name="good", attempts=(), tries=1)
    bad = attrs.evolve(tried, name="bad", status=Status.FAILED)
    page = show(made(rows=(stage, bad, *[good] * 70)).to_html())
    shown = [row["name"] for row in page.look(ROWS) if row["shown"]]
    assert shown == [
        "s", "bad", *(f"attempt {at}" for at in (1, 2, 3)), "… 4 more: 4 failed",
        *(f"attempt {at}" for at in (8, 9, 10, 11)),
    ]  # fmt: skip
