import pytest

FILE = """\
id: research
config: {timeout: 2m, default_timeout: 20}
inputs: {topic: {type: string}}
stages:
  - id: gather
    timeout: 25s
    steps:
      - {id: search, tool: search, max_retries: 3, on_error: continue}
      - id: archive
        tool: archive
        condition: "{{ search.error != None }}"
        total_timeout: 40
  - id: write
    critical: false
    steps:
      - id: summary
        tool: summarize
        for_each: "{{ search.result }}"
        dependencies: archive
        timeout: {initial: 5, ceiling: 20}
      - {id: free, command: [echo, "{{ steps.summary.result }}"], timeout: .inf}
outputs: {text: "{{ steps.summary.result }}", why: "{{ search.error }}"}
"""
JOBS = """
from graceline import Adaptive, Retry, choose, each, parallel, sequence

async def work(value): return value

def n(name, **options): return Node(work, name=name, **options)

print("hello")
nightly = Pipeline("nightly", [
    Stage("load", sequence(
        n("fetch", timeout=2, retry=Retry(attempts=3)),
        parallel(n("clean", metadata={"timeout": 3}), n("count", critical=False)),
    )),
    Stage("score", [
        choose(n("fast", timeout=.1), n("slow"), name="rank"),
        each(n("label"), item_timeout=1, attempt_timeout=Adaptive(initial=.5, ceiling=.9)),
    ], timeout=5, after=["load"], when=lambda _: True),
    Stage("mail", [n("send", when=lambda _: True)], after=["load"], critical=False),
], timeout=60)
"""


@pytest.fixture
def research(tmp_path, monkeypatch):
    """A file with tools that nobody has."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "research.yaml").write_text(FILE)
    return "research.yaml"


def lines_of(out):
    return [line.rstrip() for line in out.splitlines()]


def test_a_file_on_the_terminal(research, call):
    """Stages one below the other; steps further to the right begin later; what each waits for."""
    code, out, err = call("graph", research)
    assert (code, err) == (0, "")
    assert lines_of(out) == [
        "research  limit 2m",
        "│",
        "├ gather                              limit 25s",
        "│   ○ search                          attempt 20s, 4 attempts, on error: continue",
        "│     ● archive   ← search            limit 40s, attempt 20s, if search.error != None",
        "│",
        "├ write                               not critical",
        "│   ● summary     ← archive, search   attempt 5s, learned, for each search.result",
        "│     ● free      ← summary",
        "│",
        "╰ outputs",
        "    ● outputs     ← search, summary   text, why",
        "",
        "○ the run goes on without it",
    ]


def test_a_pipeline_in_python(write, call):
    """Alternatives, lists, conditions, and stages that do not wait for the one above them."""
    code, out, _ = call("graph", write(JOBS) + ":nightly")
    said = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert said[0] == "hello"
    assert said[1] == "nightly limit 1m"
    assert "│ ● fetch limit 2s, 3 attempts" in said
    assert "│ ● clean ← fetch limit 3s" in said
    assert "│ ○ count ← fetch not critical" in said
    assert "├ score limit 5s, on a condition" in said
    assert "│ ● rank one of: fast, slow" in said
    assert "│ ● label attempt 500ms, learned, item 1s, for each, 8 at once" in said
    assert "╰ mail ← load not critical" in said
    assert "● send on a condition" in said


def test_mermaid_and_nothing_else(research, write, call):
    """With --mermaid standard output is the text; what a module prints is put aside."""
    code, out, err = call("graph", research, "--mermaid")
    assert (code, err) == (0, "")
    assert out.startswith("%% research\nflowchart LR\n")
    assert '    n0_1["archive<br/>limit 40s<br/>attempt 20s<br/>if search.error #33;= None"]' in out
    assert "    n0_0 --> n0_1\n" in out
    assert "  s0 --> s1\n" in out
    assert "  n0_0 -.-> n1_0\n" in out
    assert "  class n0_0,s1 soft\n" in out
    code, out, err = call("graph", write(JOBS), "--mermaid")
    assert (out.partition("\n")[0], err) == ("%% nightly", "hello\n")


def test_a_picture(research, tmp_path, call):
    """--svg writes the picture, and both may be asked for at once."""
    code, out, err = call("graph", research, "--svg", "r.svg")
    assert (code, out, err) == (0, "", "graceline: wrote r.svg\n")
    text = (tmp_path / "r.svg").read_text()
    assert text.startswith("<svg ")
    assert "archive, limit 40s, attempt 20s, if search.error != None, after search" in text
    assert call("graph", research, "--svg", "r.svg", "--mermaid")[1].startswith("%% research")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reserch.yaml"], "there is no file 'reserch.yaml'; did you mean 'research.yaml'?"),
        (["research.yaml", "--svg", "no/where.svg"], "there is no directory no"),
        (["broken.yaml"], "broken.yaml:1:8: steps: "),
        (["suite.yaml"], "suite.yaml holds phases, so it is a suite"),
        (["jobs.py:nightl"], "there is no pipeline 'nightl' in jobs.py; did you mean 'nightly'"),
        (["research.yaml", "--tools", "no.py"], "graph needs no tools; leave --tools out"),
        (["research.yaml", "more"], "graph takes one TARGET"),
    ],
)
def test_mistakes(research, write, tmp_path, call, words, message):
    """A mistake is said in a line, and the exit code is 2."""
    write(JOBS)
    (tmp_path / "broken.yaml").write_text("steps: 1")
    (tmp_path / "suite.yaml").write_text(
        "id: s\nphases: [{name: a, commands: [{command: [echo]}]}]"
    )
    code, _, err = call("graph", *words)
    assert (code, message in err) == (2, True), err


def test_a_picture_that_cannot_be_written(research, call, monkeypatch):
    """A full disk is told in a line."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("graceline.cli.graph.write_file", full)
    code, _, err = call("graph", research, "--svg", "r.svg")
    assert (code, err) == (2, "graceline: r.svg cannot be written: No space left on device\n")


def test_a_narrow_terminal(research, call, monkeypatch):
    """Names stay in one piece where there is room for them; other words are folded."""
    monkeypatch.setenv("COLUMNS", "44")
    out = call("graph", research)[1]
    assert "│     ● archive   ←" in out
