"""A plugin: runs the tests that say they show a key, while files are read as if it did nothing.

    PYTHONPATH=tests/dialects/yaml WITHOUT_KEY=step.timeout pytest -p without_key tests/dialects/yaml

At least one of them has to fail, or none of them shows that the key does something.
"""

import os

import pytest

from graceline.dialects.yaml import files
from graceline.dialects.yaml.keys import Nested, keys_of, name_of
from graceline.dialects.yaml.schema import FileKeys

KEY = os.environ["WITHOUT_KEY"]
_parse = files.parse


def strip(tree, kind):
    """Take the key out of every mapping of its kind."""
    if not isinstance(tree.value, dict):
        return
    for one in keys_of(kind):
        for name in (one.name, *one.also):
            if f"{name_of(kind)}.{one.name}" == KEY:
                tree.value.pop(name, None)
                tree.keys.pop(name, None)
            elif name in tree.value and isinstance(one.form, Nested):
                for inner in held(tree.value[name], one.form.holder):
                    strip(inner, one.form.kind)


def held(tree, holder):
    """The mappings that a value is, or holds."""
    if holder == "list" and isinstance(tree.value, list):
        return tree.value
    if holder == "map" and isinstance(tree.value, dict):
        return list(tree.value.values())
    return [tree]


def parse(data, file):
    """As the reader does it, without the key."""
    tree = _parse(data, file)
    strip(tree, FileKeys)
    return tree


@pytest.fixture(autouse=True)
def without(monkeypatch):
    """Nobody sees the key."""
    monkeypatch.setattr(files, "parse", parse)


def pytest_collection_modifyitems(config, items):
    """Leave out the tests that do not say that they show the key."""
    wanted = [item for item in items if any(KEY in mark.args for mark in item.iter_markers("keys"))]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted
