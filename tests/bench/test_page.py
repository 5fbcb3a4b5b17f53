import re
import shutil
import subprocess
from html.parser import HTMLParser

import attrs
import pytest
import trio

from graceline import Node
from graceline.bench import Phase, Suite, command, read_story, run_suite, write_report
from graceline.bench.journal import journal_of
from graceline.bench.page import render
from graceline.testing import virtual_time

SOFT = {"continue_on_failure": True}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
VOID = {"meta", "link", "br", "img", "input", "hr"}


@attrs.define
class Element:
    """An element of a page, and what is inside."""

    tag: str
    attributes: dict
    inside: list = attrs.field(factory=list)

    @property
    def text(self):
        return " ".join(" ".join(self.parts()).split())

    def parts(self):
        for child in self.inside:
            yield from [child] if isinstance(child, str) else child.parts()

    def find(self, tag=None, **attributes):
        """Every element below with this tag and these attributes; `class_` is one of its classes."""
        for child in self.inside:
            if not isinstance(child, str):
                if tag in (None, child.tag) and child.fits(**attributes):
                    yield child
                yield from child.find(tag, **attributes)

    def fits(self, class_=None, **attributes):
        mine = self.attributes
        return class_ in (None, *(mine.get("class") or "").split()) and all(
            mine.get(key.replace("_", "-")) == value for key, value in attributes.items()
        )


class Tree(HTMLParser):
    """The elements of a page; a tag that does not match is an error."""

    def __init__(self, text):
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(text)
        assert self.open == [self.root]

    def handle_starttag(self, tag, attributes):
        element = Element(tag, dict(attributes))
        self.open[-1].inside.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, data):
        self.open[-1].inside.append(data)


def row(tree, name):
    [found] = tree.find(class_="row", data_name=name)
    return found


def opened(tree, name):
    """What one sees on opening a row."""
    for details in tree.find("details"):
        if list(details.find("summary", data_name=name)):
            return details
    raise AssertionError(name)


async def nothing(value):
    return {"n": 1}


async def boom(value):
    raise ValueError("<script>alert(1)</script>")


async def slow(value):
    await trio.sleep_forever()


def page_of(folder):
    return (folder / "report.html").read_text()


@pytest.fixture
def suite():
    """Real programs of every kind, in phases with names that are no harm in a page."""
    return Suite(
        "the <b>suite</b> & more",
        [
            Phase("good", [command("echo out; echo err >&2; touch a.o b.o", name="good one",
                                   artifacts="*.o", cwd="."), nothing], timeout="20s"),
            Phase("bad", [command("echo '</pre><script>x</script>' >&2; exit 4", name="exits", **SOFT),
                          command("kill -9 $$", name="killed", **SOFT),
                    command("kill -36 $$", name="real time", **SOFT),
                          command("touch x", name="lacks", artifacts="*.none", **SOFT),
                          command("no-such-command-at-all", name="unknown", **SOFT),
                          command("yes 0123456789 | head -c 30000; exit 1", name="much",
                                  max_output=1000, **SOFT),
                          command("yes 0123456789 | head -c 30000", name="plenty"),
                          Node(boom, critical=False)]),
            Phase("hangs", [command("echo early; exec sleep 60", name="hangs", timeout=0.3)],
                  skip_if_failed="good", **SOFT),
            Phase("skipped", [command("true", name="s" * 200)], skip_if_failed="hangs"),
            Phase("end", [command("exit 7", name="last"), command("true", name="never")]),
        ],
        timeout="10m", grace="5s",
    )  # fmt: skip


@pytest.fixture
async def folder(suite, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    await run_suite(suite, out=tmp_path / "out")
    return tmp_path / "out"


def check(tree):
    """What a page of the suite above must show, whoever has parsed it."""
    [main] = tree.find("main")
    assert (main.attributes["class"], main.attributes["data-state"]) == ("is-failed", "ended")
    [title] = tree.find("h1")
    assert title.text == "the <b>suite</b> & more"
    [badge] = tree.find(id="status")
    assert badge.text == "✗ failed"
    [facts] = tree.find(id="facts")
    assert "to blame node 'last' raised CommandFailedError" in facts.text
    assert "limit 10m" in facts.text
    names = ["good", "good one", "nothing", "bad", "exits", "killed", "real time", "lacks", "unknown", "much",
             "plenty", "boom", "hangs", "hangs", "skipped", "s" * 200, "end", "last", "never"]  # fmt: skip
    rows = list(tree.find(class_="row"))[1:]
    assert [found.attributes["data-name"] for found in rows] == names
    words = {
        "good": "✓ ok", "bad": "✓ ok 7 of 8 did not succeed", "exits": "✗ failed exit code 4",
        "killed": "✗ failed ended by SIGKILL", "lacks": "✗ failed artifact missing",
        "boom": "✗ failed ValueError", "skipped": "» skipped hangs did not succeed",
        "s" * 200: "» skipped hangs did not succeed", "never": "» skipped its phase had ended",
        "last": "✗ failed, to blame exit code 7",
    }  # fmt: skip
    for name, said in words.items():
        [status] = row(tree, name).find(class_="status")
        assert status.text == said, name
    phase, hung = tree.find(class_="row", data_name="hangs")
    assert ["◷ timed out" in found.text for found in (phase, hung)] == [True, True]
    assert "limit 300ms" in hung.text
    assert len(list(hung.find(class_="limit"))) == 1
    assert len(list(hung.find(class_="bar"))) >= 1
    assert list(row(tree, "never").find(class_="bar")) == []
    assert "directory . exit code 0 expects *.o" in opened(tree, "good one").text
    assert "ended by signal 36" in row(tree, "real time").text
    assert "artifacts a.o b.o" in opened(tree, "good one").text
    assert "stdout out stderr err" in opened(tree, "good one").text
    assert "exit code 4" in opened(tree, "exits").text
    assert "</pre><script>x</script>" in opened(tree, "exits").text
    assert "'*.none'" in opened(tree, "lacks").text
    assert "29,000 bytes were left out of its middle" in opened(tree, "much").text
    assert "the end of it; report.json has all" in opened(tree, "plenty").text
    assert '"n": 1' in opened(tree, "nothing").text
    assert "open" in opened(tree, "last").attributes
    assert "open" not in opened(tree, "exits").attributes
    assert list(tree.find("script")) == []


async def test_what_the_page_shows(folder):
    """Phases and commands with bars, limits, words, blame, exit codes, output and artifacts."""
    check(Tree(page_of(folder)).root)


async def test_the_page_stands_alone(folder):
    """It names no other file and no address, forbids everything but its own style, and runs nothing."""
    text = page_of(folder)
    assert not re.search(r"https?:|src=|href=|url\(|@import|<script|<link", text)
    assert "default-src 'none'; style-src 'unsafe-inline'" in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.skipif(CHROMIUM is None, reason="needs a headless browser: apt-get install chromium")
async def test_the_page_in_a_browser(folder, tmp_path):
    """A browser's own DOM of the file holds the same, so what we wrote is HTML as browsers read it."""
    done = await trio.run_process(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
         (folder / "report.html").as_uri()],
        capture_stdout=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    check(Tree(done.stdout.decode()).root)


async def test_after_a_kill(folder):
    """A journal that ends early shows what had finished, what was running, and what never started."""
    journal = journal_of(folder)
    lines = journal.read_text().splitlines(keepends=True)
    place = next(
        n for n, line in enumerate(lines) if '"node_started"' in line and '"killed"' in line
    )
    journal.write_text("".join(lines[: place + 1]) + lines[place + 1][:50])
    story = write_report(folder)
    tree = Tree(page_of(folder)).root
    assert story.status == "interrupted"
    assert "! interrupted" in next(tree.find("header")).text
    words = {"good one": "ok", "exits": "failed", "killed": "was running", "lacks": "not started"}
    for name, word in words.items():
        assert word in next(row(tree, name).find(class_="status")).text
    assert len(list(row(tree, "killed").find(class_="open"))) == 1
    assert "known up to" in next(tree.find(id="facts")).text
    assert "the runner was ended before the suite was" in next(tree.find(id="facts")).text


@virtual_time
async def test_while_it_runs(tmp_path):
    """A page that is made while the suite runs says so, and shows what runs as running."""
    pages = []

    async def look(value):
        pages.append(render(read_story(tmp_path)))

    await run_suite(Suite("s", Phase("p", Node(look)), timeout=60), out=tmp_path)
    tree = Tree(pages[0]).root
    assert "… running" in next(tree.find("header")).text
    assert "… running" in row(tree, "look").text
    assert "the suite was running when this page was made" in next(tree.find(id="facts")).text


@virtual_time
async def test_limits_and_unwinding(tmp_path):
    """A bar has its work, what came after the cancel, and a line where the limit was, in order."""
    from graceline import cleanup

    async def stubborn(value):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(3)

    async def late(value):
        with trio.CancelScope(shield=True):
            await trio.sleep(2)

    with pytest.warns(match="clamps"):
        last = Phase("q", Node(slow, timeout=9), timeout=1, **SOFT)
    first = Phase(
        "p", [Node(stubborn, timeout=4, critical=False), Node(late, timeout=1)], timeout=8
    )
    suite = Suite("s", [first, last], timeout=10, grace=9)
    result = await run_suite(suite, out=tmp_path, timeout=20)
    assert result.elapsed == 10
    tree = Tree(page_of(tmp_path)).root
    work, grace = row(tree, "stubborn").find(class_="bar")
    [limit] = row(tree, "stubborn").find(class_="limit")
    assert work.attributes["style"] == "left:0.0%;width:40.0%"
    assert grace.attributes["style"] == "left:40.0%;width:30.0%"
    assert limit.attributes["style"] == "left:40.0%"
    assert "unwinding 3s after its cancel" in opened(tree, "stubborn").text
    assert "late by 1s" in opened(tree, "late").text
    assert "9s, of which limits above it left 1s" in opened(tree, "slow").text
    assert "limit 20s (given with the call)" in next(tree.find(id="facts")).text


@virtual_time
async def test_degraded_is_not_plain_green(tmp_path):
    """A suite that went on after a failure says `degraded` on its badge, and names what failed."""
    suite = Suite("s", Phase("p", [Node(boom, critical=False), Node(nothing, name="after")]))
    result = await run_suite(suite, out=tmp_path)
    assert (result.status, result.degraded) == ("ok", ("boom",))
    tree = Tree(page_of(tmp_path)).root
    assert "ok, degraded" in next(tree.find(id="status")).text
    assert next(tree.find("main")).attributes["class"] == "is-late"
    assert "did not succeed p / boom" in next(tree.find(id="facts")).text


@virtual_time
async def test_why_something_was_skipped_is_known_without_an_end(tmp_path):
    """A journal that ends early gives the same reasons for what was skipped before."""

    async def fails(value):
        await trio.sleep(1)
        raise ValueError

    phases = [
        Phase("a", [Node(fails), Node(nothing, name="after")], continue_on_failure=True),
        Phase("b", [Node(nothing, name="unwanted", when=lambda _: False), Node(nothing, name="n")]),
    ]
    await run_suite(Suite("s", phases), out=tmp_path)
    journal = journal_of(tmp_path)
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"suite_ended"' not in line))
    told = {entry.row.name: entry.why for entry in read_story(tmp_path).told()}
    assert told["after"] == "its phase had ended"
    assert told["unwanted"] == "its condition was false"
