"""Every key of the dialect does something: each has a test that shows it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from graceline.dialects.yaml.keys import sections, table
from graceline.dialects.yaml.schema import FileKeys

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "files.md"
BEGIN, END = "<!-- the keys: made by graceline.dialects.yaml.keys -->\n", "<!-- end -->\n"


def shown():
    """The keys that tests say they show, by `@pytest.mark.keys(...)`."""
    found = set()
    for path in HERE.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in node.decorator_list:
                    found |= set(named(decorator))
    return found


def named(decorator):
    """The keys in one decorator; a starred generator is evaluated."""
    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.keys":
        yield from eval(f"[{', '.join(map(ast.unparse, decorator.args))}]")  # noqa: S307 - our own


def keys():
    return {f"{section.name}.{one.name}" for section in sections(FileKeys) for one in section.keys}


def test_every_key_has_a_test_that_shows_it():
    """A new key without a test that names it fails here; so does a test of a key that is gone."""
    assert len(keys()) > 80
    assert keys() - shown() == set()
    assert shown() - keys() == set()


def test_every_key_says_what_it_does():
    """In one line, without a full stop, as the table wants it."""
    for section in sections(FileKeys):
        assert section.help.endswith(".")
        for one in section.keys:
            assert one.help
            assert not one.help.endswith(".")
            assert "|" not in one.help + one.form.words


def test_the_page_has_the_table():
    """`docs/files.md` holds every key as the schema has it."""
    page = PAGE.read_text("utf-8")
    assert page.partition(BEGIN)[2].partition(END)[0].strip() == table(FileKeys).strip()


EVERY = sorted(keys())
# Every key takes minutes: GRACELINE_KEYS=1 pytest tests/dialects/yaml/test_keys.py
SOME = EVERY if "GRACELINE_KEYS" in os.environ else EVERY[:: len(EVERY) // 2 + 1]


@pytest.mark.parametrize("key", SOME)
def test_without_its_effect_a_test_of_the_key_fails(key):
    """A test that only loads a file with the key does not count: it would pass without it, too."""
    done = subprocess.run(  # noqa: S603 - pytest itself
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "without_key", HERE],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
            "WITHOUT_KEY": key,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert " failed" in done.stdout.splitlines()[-1]
