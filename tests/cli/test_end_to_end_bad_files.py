"""Bad files given to the command: one clear error each, exit code 2, nothing run, nothing written."""

import json
import shutil
import sys
from pathlib import Path

import pytest

CORPUS = Path(__file__).parents[1] / "dialects" / "yaml" / "bad"
LIMITED = Path(__file__).with_name("limited.py")
MEMORY = 160 << 20
"""Bytes of address space for all that is read and evaluated; one template may make 64 MiB."""
COMMANDS = ("run", "check")
REFUSING = ("run --journal out --output out.json --html out.html", "bench --out out", "plan")
LOOKING = ("explain first", "graph")
OF_TOOLS = ("unknown-tool", "unknown-action", "does-not-run-there")
"""Files that can be looked at where the tools of their program are not known."""


@pytest.fixture
def folder(tmp_path, state, monkeypatch):
    """A working directory of which is seen whether something was done there, or to the state."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


HINT = "tools of a program are given by --tools FILE.py"
LATER = "which tools there are, and what they take, is looked at when these are mended"


def told(name, wrong):
    """The line that tells an error of a file, which may have a place in it."""
    return f"{name}{':' if wrong[0].isdigit() else ': '}{wrong}\n"


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_bad_file(call, folder, state, path):
    """Each bad file of the corpus is refused with its one error, at its line and column."""
    wrong = path.read_bytes().split(b"\n")[0].decode().removeprefix("# wrong: ")
    shutil.copy(path, folder / "bad.yaml")
    line = told("bad.yaml", wrong)
    hint = f"{HINT}\n" if "there is no tool" in wrong and "did you mean" not in wrong else ""
    code, out, err = call("check", "bad.yaml")
    told_last = f"{line}{hint}1 file: 1 error\n"
    assert (code, out.removesuffix(f"{LATER}\n"), err) == (2, told_last, "")
    line += hint and f"graceline: {hint}"
    for words in REFUSING if path.stem in OF_TOOLS else (*REFUSING, *LOOKING):
        command, *options = words.split()
        assert call(command, "bad.yaml", *options) == (2, "", line), words
    assert [path.name for path in folder.iterdir()] == ["bad.yaml"]
    assert not state.exists()


HEAD = "id: p\nsteps:\n  - {id: first, command: [touch, executed]}\n"
BOMB = "id: p\na: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(40_000))
HEAVY = {
    "sparse": (b"id: p\n# ", 100 << 20, ": is larger than 1 MiB, which no pipeline is"),
    "large": (HEAD.encode() + b"#" * (1 << 20), 0, ": is larger than 1 MiB"),
    "texts": (
        f"id: p\ndescription: &a {'x' * 50_000}\nmore: [{', '.join(['*a'] * 100_000)}]\n".encode(),
        0,
        " values; aliases count as often as used",
    ),
    "aliases": (BOMB.encode(), 0, "holds more than 100000 values"),
    "brackets": (b"id: p\nsteps: " + b"[" * 1_000_000, 0, "is nested more than 64 levels deep"),
    "steps": (
        (HEAD + "".join(f"  - {{id: s{n}, command: [x]}}\n" for n in range(3000))).encode(),
        0,
        "there are more than 2000 steps",
    ),
    "numbers": ((HEAD + f"version: {'9' * 900_000}\n").encode(), 0, "a number of 900000 characters"),
    "line": ((HEAD + f"outputs: {{x: '{{{{ {'(' * 60_000} }}}}'}}\n").encode(), 0, "4:14: outputs: "),
}  # fmt: skip
"""Bytes of a file, how many zeros follow, and what is said of it."""


def test_heavy_files_cost_little(program, folder):
    """What is meant to exhaust the process is refused, in little memory and time."""
    for name, (data, zeros, _) in HEAVY.items():
        with (folder / f"{name}.yaml").open("wb") as file:
            file.write(data)
            if zeros:
                file.truncate(len(data) + zeros)
    there = {path.name for path in folder.iterdir()}
    lines = [[word, f"{name}.yaml"] for name in HEAVY for word in COMMANDS]
    ran = program(MEMORY, json.dumps(lines), cwd=folder, before=(sys.executable, LIMITED)).ended()
    assert (ran.code, ran.err) == (0, "")
    for (word, file), (code, out, err) in zip(lines, ran.document, strict=True):
        first, _, rest = (out if word == "check" else err).partition("\n")
        assert (code, rest) == (2, "1 file: 1 error\n" if word == "check" else ""), file
        assert first.startswith(f"{file}:"), file
        assert HEAVY[file.removesuffix(".yaml")][2] in first, file
        assert len(first) < 1000, file
    assert {path.name for path in folder.iterdir()} == there


TEMPLATES = [
    "{{ range(n) | list }}",
    "{{ range(n) | sum }}",
    "{% for i in range(n // 10000) %}{% for j in range(n // 10000) %}{% endfor %}{% endfor %}",
    "{{ 9 ** n }}",
    "{{ 'a' * n }}",
    "{{ [[0] * 90000] * (n // 10000) }}",
    "{{ 'x' | center(n) }}",
    "{{ ('%' ~ n ~ 'd') | format(1) }}",
    "{% set a = range(9999) | list %}{% set b = [a] * 999 %}{{ ([b] * (n // 10000)) | string }}",
    "{% set a = range(n // 10000) | list %}{{ a | map('string') | join(a | join) }}",
]


def test_heavy_templates_cost_little(program, folder):
    """A template that would never end, or fill the memory, fails its step before it is run."""
    for number, text in enumerate(TEMPLATES):
        command = json.dumps(["touch", "executed", text])
        (folder / f"{number}.yaml").write_text(
            f"id: p\ninputs: {{n: {{type: integer}}}}\nsteps:\n  - {{id: b, command: {command}}}\n"
        )
    lines = [
        ["run", f"{number}.yaml", "--json", "--no-history", "-i", "n=1000000000"]
        for number in range(len(TEMPLATES))
    ]
    ran = program(MEMORY, json.dumps(lines), cwd=folder, before=(sys.executable, LIMITED)).ended()
    assert (ran.code, ran.err) == (0, "")
    for text, (code, out, err) in zip(TEMPLATES, ran.document, strict=True):
        assert (code, err) == (1, ""), text
        error = json.loads(out)["error"]
        assert error["type"] == "TemplateError", text
        assert error["message"].startswith("template "), text
    assert not (folder / "executed").exists()
