"""Files become trees with positions, or one clear error each."""

import os
import tracemalloc

import pytest
import yaml

from graceline.dialects.yaml import reading
from graceline.dialects.yaml.problems import FileError, Position
from graceline.dialects.yaml.reading import MAX_BYTES, MAX_DEPTH, MAX_VALUES, parse, read_bytes


@pytest.fixture(params=["libyaml", "pure"], autouse=True)
def loader(request, monkeypatch):
    """With libyaml and without it files are read alike."""
    if request.param == "pure":
        monkeypatch.setattr(reading, "_LOADER", yaml.BaseLoader)
    elif not yaml.__with_libyaml__:
        pytest.skip("PyYAML was built without libyaml")


def problems(data):
    with pytest.raises(FileError) as caught:
        parse(data, "f.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_every_key_and_value_has_its_position():
    """A tree knows where each of its keys and values stands, by line and column from 1."""
    tree = parse("id: x\nsteps:\n  - id: a\n    timeout: 2.5\n")
    assert tree.plain() == {"id": "x", "steps": [{"id": "a", "timeout": 2.5}]}
    assert tree.keys == {"id": Position(1, 1), "steps": Position(2, 1)}
    step = tree.get("steps", 0)
    assert step.keys["timeout"] == Position(4, 5)
    assert step.get("timeout").at == Position(4, 14)
    assert tree.get("steps", 7) is None
    assert tree.get("steps", "id", "x") is None
    assert tree.get("id", 0) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("NO", "NO"),
        ("1:30", "1:30"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("+.INF", float("inf")),
        ("-", [None]),
        ("~", None),
        ("TRUE", True),
        ("'true'", "true"),
        ('"3"', "3"),
        ("=", "="),
        ("1.0.0", "1.0.0"),
    ],
)
def test_scalars_are_those_of_the_core_schema(text, value):
    """YAML 1.2: no booleans but true and false, no sexagesimal numbers, no dates."""
    read = parse(f"a: {text}" if text != "-" else "a:\n-").plain()["a"]
    assert read == value
    assert type(read) is type(value)


def test_not_a_number_is_read():
    """What it may not be used for is said where it is used."""
    assert str(parse("a: .nan").plain()["a"]) == "nan"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "f.yaml: is empty; a pipeline has at least a name and steps"),
        ("# nothing\n", "f.yaml: is empty; a pipeline has at least a name and steps"),
        ("---\n...\n", "f.yaml: is empty; a pipeline has at least a name and steps"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document begins here"),
        ("%YAML 1.1\n---\na: 1\n", "f.yaml:1:1: files are read as YAML 1.2"),
        ("a: !!python/object:os.system x", "f.yaml:1:4: the tag 'tag:yaml.org,2002:python/object"),
        ("a: !secret x", "f.yaml:1:4: the tag '!secret' is not used: a file is data"),
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: 'a' is given twice, first in line 1"),
        ("b: {<<: {c: 1}}", "f.yaml:1:5: merge keys (<<) are no part of YAML 1.2"),
        ("1: x", "f.yaml:1:1: a key must be a text, not 1; quote it"),
        ("[a]: x", "f.yaml:1:1: a key must be a text, not a list or a mapping"),
        (
            "c: [echo, {{ a.b | d }}]",
            'f.yaml:1:12: braces are mappings; quote the template: "{{ a.b | d }}"',
        ),
        ('c: {{ a | d("b") }}', "quote the template: '{{ a | d(\"b\") }}'"),
        ("c: {{ f(1, 2) }}", "f.yaml:1:5: a key must be a text, not a list or a mapping"),
        ("a:\n\t- b", "f.yaml:2:1: a tab; indent with spaces"),
        ("a: [1, 2", "is no YAML: "),
        ("a: 'x", "is no YAML: "),
        ("a: *b", "f.yaml:1:4: the alias *b has no anchor &b before it"),
        ("a: &b [*b]", "f.yaml:1:8: the alias *b stands inside of what it repeats"),
        (b"a: 1\nb: \xff\n", "f.yaml:2:4: is not UTF-8: byte 0xff; save it as UTF-8"),
        ("a: 1".encode("utf-16"), "f.yaml:1:1: is UTF-16; save it as UTF-8"),
        ("ä: \x07", "f.yaml:1:4: a control character, U+0007; in double quotes it is"),
        ("a: b\u2028c: d", "f.yaml:1:5: a control character, U+2028; in double quotes"),
        ("a: 'b\x85'", "f.yaml:1:6: a control character, U+0085"),
        ("a: \ud800", "f.yaml:1:4: a control character, U+D800"),
        (f"a: {'9' * 5000}", "f.yaml:1:4: a number of 5000 characters is too long"),
        ("a: 1e999", "f.yaml:1:4: 1e999 is too large; write .inf"),
        ("[" * (MAX_DEPTH + 1), f"f.yaml:1:65: is nested more than {MAX_DEPTH} levels deep"),
        ("[" * 100_000, f"f.yaml:1:65: is nested more than {MAX_DEPTH} levels deep"),
        ("a: " + "- " * 3000, "f.yaml:1:4: is no YAML: "),
    ],
)
def test_what_is_no_plain_data_has_one_clear_error(data, message):
    """Each kind of bad file says what is wrong, and where."""
    (problem,) = problems(data)
    assert message in problem


def test_several_mistakes_are_told_at_once():
    """What does not keep the rest from being understood is collected, in the order of the file."""
    found = problems("a: !x 1\nb: 2\nb: 3\n1: 4\n")
    assert [problem.split(":")[1] for problem in found] == ["1", "3", "4"]


def test_there_is_an_end_to_mistakes():
    """A file of nothing but mistakes does not become a list of a million of them."""
    assert len(problems("".join("a: 1\n" for _ in range(5000)))) == 64


@pytest.mark.parametrize("text", ["a: *{}", "a: &{0} [*{0}]", "{0}: 1\n{0}: 2", "a: !{}!b c"])
def test_a_message_is_short_whatever_it_is_about(text):
    """A name of the file that is much too long is cut."""
    (problem,) = problems(text.format("long" * 100))
    assert len(problem) < 300


def test_a_byte_order_mark_is_welcome():
    """Editors write one; it is no part of the first key."""
    tree = parse(b"\xef\xbb\xbfa: 1\n")
    assert tree.plain() == {"a": 1}
    assert tree.keys["a"] == Position(1, 1)


def test_aliases_stand_for_whole_values():
    """An alias is the very value that its anchor names, with the position of that one."""
    tree = parse("a: &x {b: 1}\nc: *x\n")
    assert tree.plain() == {"a": {"b": 1}, "c": {"b": 1}}
    assert tree.get("c").at == Position(1, 4)
    assert tree.plain()["a"] is not parse("a: &x {b: 1}\nc: *x\n").plain()["a"]


def test_a_bomb_of_aliases_costs_nothing():
    """A file that would expand to billions of values is refused in little memory."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    tracemalloc.start()
    (problem,) = problems("\n".join(lines))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert f"holds more than {MAX_VALUES} values" in problem
    assert peak < 20_000_000


def test_a_bomb_of_long_texts_is_one_too():
    """A long text repeated often counts by its length."""
    text = f"a: &a '{'x' * 60_000}'\nb: [{', '.join(['*a'] * 200)}]"
    (problem,) = problems(text)
    assert f"holds more than {MAX_VALUES} values" in problem


def test_aliases_do_not_get_around_the_depth():
    """What an alias repeats counts for the depth where it is repeated."""
    deep = "[" * 40 + "]" * 40
    (problem,) = problems(f"a: &a {deep}\nb: {'[' * 30}*a{']' * 30}\n")
    assert "with *a it is nested more than" in problem


def test_a_file_of_100_mb_is_not_read(tmp_path):
    """Only as much is read as shows that it is too large."""
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    tracemalloc.start()
    data = read_bytes(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) == MAX_BYTES + 1
    assert peak < 5 * MAX_BYTES
    assert problems(data) == ["f.yaml: is larger than 1 MiB, which no pipeline is"]


def test_only_regular_files_are_read(tmp_path):
    """A pipe, a directory and a file that is not there are errors, and nothing waits for them."""
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("pipe", "is no regular file"),
        ("none.yaml", "cannot be read: No such file or directory"),
        (".", "cannot be read: Is a directory"),
        ("\0", "cannot be read: embedded null byte"),
    ):
        with pytest.raises(FileError, match=message):
            read_bytes(tmp_path / name)


def test_the_file_is_closed_and_only_read(tmp_path):
    """Reading leaves a file as it was."""
    path = tmp_path / "f.yaml"
    path.write_text("a: 1\n")
    path.chmod(0o400)
    assert parse(read_bytes(path), path).plain() == {"a": 1}
    assert path.read_text() == "a: 1\n"
