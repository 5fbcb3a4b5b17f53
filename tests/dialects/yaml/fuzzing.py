"""What holds for every input of the reader, and what inputs are made of."""

import math
import os
import sys
import threading
import time
from contextlib import contextmanager
from functools import cache
from unittest import mock

import yaml

from graceline.dialects.yaml import reading
from graceline.dialects.yaml.problems import FileError
from graceline.dialects.yaml.reading import MAX_DEPTH, MAX_VALUES, parse

SEEDS = (
    b"""id: research
name: Research
version: "1.0.0"
config: {default_timeout: 30, timeout: 2m, fail_fast: true}
inputs:
  topic: {type: string, required: true}
steps:
  - id: web_search
    tool: web-fetch
    parameters: {url: "https://x/{{ topic }}"}
    timeout: 20
    dependencies: [other]
    condition: "{{ steps.other.error != None }}"
  - &step
    id: tests
    command: ["pytest", "-q"]
    env: {A: b}
    text: |
      many
      lines
    folded: >-
      a
      b
    again: &list [1, .5, ~]
    more: *list
outputs:
  summary: '{{ it''s }}'
""",
    b"&x [1, 2, *x]\n",
    b"a: &x {b: 1}\nc: *x\n<<: *x\n",
    b"? a\n: b\n? [c]\n: d\n",
    b"- !!python/object/apply:os.system [touch x]\n",
    b"%YAML 1.2\n---\na: 1\n...\n",
    b'a: "\\u263a \\x41 \\\n  b"\n',
    "a: \u2028b\u0085c\n".encode(),
    "😀: é\n".encode(),
    b"a: 0x1f\nb: 1e999\nc: .nan\nd: -0\ne: 010\n",
    b"{a: {b: {c: [[[[]]]]}}}",
    b"a:\n\t- b\n",
    b"--- a\n--- b\n",
    b"\xef\xbb\xbfa: 1\r\n# c\r\nb: c # d\r\n",
)
"""Files, good and bad, that others are made of."""

TOKENS = (
    *(b": ", b"- ", b"\n", b"\n  ", b"? ", b"{", b"}", b"[", b"]", b", ", b"#", b"'", b'"'),
    *(b"&a ", b"*a", b"!t ", b"!!str ", b"|\n", b">-\n", b"%YAML 1.2\n", b"---\n", b"...\n"),
    *(b"<<", b"~", b"null", b"true", b"1e9", b"0x", b".inf", b"key", b"\\u0041", b"\\x"),
    *(b"\r\n", b"  ", b"\t", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xc2\x85", b"\xe2\x80\xa8"),
    "😀".encode(),
)
"""What the grammar is made of, and what it must not be made of."""

MAX_TIME = 5
"""Seconds of processor time for one input; all need milliseconds."""

_HARMLESS = frozenset({"builtins.id", "object.__getattr__", "sys._getframe"})
_watched = {}
_limited = {}


def _heed(event, arguments):
    if event not in _HARMLESS and threading.get_ident() in _watched:
        _watched[threading.get_ident()].append(event)
    found = _limited.get(threading.get_ident())
    if found is not None and _changes(event, arguments):
        found.append((event, *map(str, arguments)))


@cache
def _hook():
    sys.addaudithook(_heed)  # it stays until the process ends, and sleeps outside of the blocks


@contextmanager
def touching_nothing():
    """Fail if the block opens, writes, starts, imports or compiles anything."""
    _hook()
    events = _watched[threading.get_ident()] = []
    try:
        yield
    finally:
        del _watched[threading.get_ident()]
    assert events == [], events


_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_STARTING = ("subprocess.", "socket.", "shutil.", "tempfile.", "ctypes.", "winreg.")
_READING = frozenset({"os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.getxattr"})


def _changes(event, arguments):
    """Whether an event is one of changing files, starting programs, or of the network."""
    if event == "open":
        return bool(arguments[2] & _WRITING)
    return event.startswith(_STARTING) or (event.startswith("os.") and event not in _READING)


@contextmanager
def changing_nothing():
    """Fail if the block opens anything for writing, changes a file, starts a program or connects."""
    _hook()
    found = _limited[threading.get_ident()] = []
    try:
        # A module that is first imported here is not kept in its cache.
        with mock.patch.object(sys, "dont_write_bytecode", True):
            yield
    finally:
        del _limited[threading.get_ident()]
    assert found == [], found


@contextmanager
def in_time(data):
    """Fail if the block needs so much processor time that an input of its size cannot be the reason."""
    start = time.process_time()
    yield
    taken = time.process_time() - start
    assert taken < MAX_TIME, f"{taken:.1f} s for {data[:200]!r}"


def check(data):
    """Read some bytes, and look at what comes of it: a tree within its bounds, or clear problems."""
    with in_time(data), touching_nothing():
        try:
            tree = parse(data, "f.yaml")
        except FileError as error:
            problems = error.problems
            tree = None
    if tree is None:
        assert 1 <= len(problems) <= MAX_DEPTH
        for problem in problems:
            text = str(problem)
            assert text.startswith("f.yaml")
            assert len(text) < 500
            assert text.isprintable()
        return None
    assert tree.depth <= MAX_DEPTH
    assert tree.weight <= MAX_VALUES
    return shape(tree)


def shape(tree):
    """The values of a tree in pairs with where they stand."""
    value = tree.value
    if isinstance(value, dict):
        assert list(tree.keys) == list(value)
        return [(key, tree.keys[key], shape(part)) for key, part in value.items()]
    if isinstance(value, list):
        return [shape(part) for part in value]
    assert value is None or type(value) in (str, int, float, bool)
    assert min(tree.at.line, tree.at.column) >= 1
    empty = value is None or value == ""  # the parsers disagree about where nothing stands
    shown = "nan" if isinstance(value, float) and math.isnan(value) else value
    return (type(value), shown, None if empty else tree.at)


def compare(data):
    """Both parsers of PyYAML lead to the same, wherever both understand the file."""
    fast = check(data)
    with mock.patch.object(reading, "_LOADER", yaml.BaseLoader):
        pure = check(data)
    # In corners of YAML (tabs, directives, `{a:}`) one is stricter than the other.
    assert fast is None or pure is None or fast == pure
