"""The examples that are files: valid for the JSON Schema, and nothing is wrong with them."""

import json
from importlib import import_module
from pathlib import Path

import jsonschema
import pytest

from graceline.dialects.yaml import check
from graceline.dialects.yaml.jsonschema import json_schema
from graceline.dialects.yaml.reading import parse, read_bytes

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def blocks():
    """The whole files that pages show."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for number, part in enumerate(page.read_text("utf-8").split("```yaml\n")[1:]):
            value = parse(part.split("\n```")[0]).plain()
            if isinstance(value, dict) and {"steps", "stages", "phases"} & {*value}:
                yield pytest.param(value, id=f"{page.name}-{number}")


@pytest.fixture
def tools(monkeypatch):
    """The tools of an example that has some of its own."""

    def find(path):
        if not path.with_name(f"{path.stem}_tools.py").exists():
            return None
        monkeypatch.syspath_prepend(EXAMPLES)
        return import_module(f"{path.stem}_tools").tools

    return find


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_is_wrong_with_an_example(path, tools):
    """There is no error in it and no warning, and the JSON Schema finds it valid."""
    assert check(path, tools=tools(path)) == []
    VALIDATOR.validate(parse(read_bytes(path)).plain())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_schema_of_an_example_is_found(path):
    """The line for editors leads to the schema that is shipped."""
    prefix = "# yaml-language-server: $schema="
    first = path.read_text("utf-8").partition("\n")[0]
    assert first.startswith(prefix)
    schema = json.loads((path.parent / first.removeprefix(prefix)).read_text("utf-8"))
    assert schema == json_schema()


@pytest.mark.parametrize("value", [*blocks()])
def test_a_file_on_a_page_is_valid(value):
    """The JSON Schema finds every file valid that a page shows as a whole."""
    VALIDATOR.validate(value)


def test_the_overview_leads_to_all_of_them():
    """Every example has its line, and every link leads to a file."""
    parts = (EXAMPLES / "README.md").read_text("utf-8").split("](")[1:]
    links = {part.split(")")[0] for part in parts}
    assert {path.name for path in EXAMPLES.glob("*.yaml")} <= links
    assert [link for link in links if not (EXAMPLES / link).exists()] == []
