"""Commands: what is wrong is said when they are written down."""

from pathlib import Path

import attrs
import pytest

from graceline import Command, DefinitionError, Node, Stage, each, parallel


class BytesPath:
    """A path that is bytes."""

    def __fspath__(self):
        return b"/bin/x"


@pytest.mark.parametrize(
    ("argv", "words", "name"),
    [
        (["make", "-j2"], ("make", "-j2"), "make"),
        (("/usr/bin/make",), ("/usr/bin/make",), "make"),
        ([Path("/opt/my tools/run it"), Path("a")], ("/opt/my tools/run it", "a"), "run it"),
        (["/opt/my tools/run it"], ("/opt/my tools/run it",), "run it"),
        (Path("tool"), ("tool",), "tool"),
        (BytesPath(), ("/bin/x",), "x"),
        ("make -j2 && echo ok", ("/bin/sh", "-c", "make -j2 && echo ok"), "make"),
        ("  /usr/bin/env ls", ("/bin/sh", "-c", "  /usr/bin/env ls"), "env"),
        ("/", ("/bin/sh", "-c", "/"), "command"),
        (["/"], ("/",), "command"),
    ],
)
def test_argv(argv, words, name):
    """A list is the program and its arguments, a string is a line for the shell; both have a name."""
    command = Command(argv)
    assert command.resolve("ignored") == words
    assert command.__name__ == name
    assert Node(command).name == name


def test_argv_of_the_input():
    """A function of the input gives either form; the node has its name."""

    def build(value):
        return value

    command = Command(build)
    assert command.resolve(["a", Path("b")]) == ("a", "b")
    assert command.resolve("a b") == ("/bin/sh", "-c", "a b")
    assert Node(command).name == "build"


def test_a_function_without_a_name():
    """A callable object without a name makes a node named `command`."""

    class Build:
        def __call__(self, value):
            return value

    assert Command(Build()).__name__ == "command"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "names no program"),
        ("", "names no program"),
        (" \n", "names no program"),
        ([""], "first word is empty"),
        (7, "takes a list such as .* not 7"),
        (b"make", "takes a list such as"),
        (None, "takes a list such as"),
        (["make", 2], "2 is neither; write '2'"),
        (["make", b"x"], "is neither"),
        (["make", "a\0b"], "null character"),
        ("a\0b", "null character"),
        (["\ud800"], r"argv= holds '\\ud800', which this system cannot encode"),
        (["make", "\ud800"], "cannot encode"),
        ("echo \ud800", "cannot encode"),
    ],
)
def test_what_argv_cannot_be(argv, message):
    """The message says what is wrong; a function is told the same when it is called."""
    with pytest.raises(DefinitionError, match=message):
        Command(argv)
    with pytest.raises(DefinitionError, match=message):
        Command(lambda _: argv).resolve(None)


async def _async(_):
    pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"argv": _async}, "argv= must be a plain function"),
        ({"stdin": _async}, "stdin= must be a plain function"),
        ({"stdin": 7}, "stdin= takes text or bytes, not 7"),
        ({"stdin": "\ud800"}, "'make', stdin= cannot be encoded: .*surrogates"),
        ({"env": [("a", "b")]}, "'make', env= takes a mapping"),
        ({"env": {7: "x"}}, "7 is not the name of a variable"),
        ({"env": {"": "x"}}, "'' is not the name of a variable"),
        ({"env": {"a=b": "x"}}, "'a=b' is not the name of a variable"),
        ({"env": {"a": 7}}, "a must be a text, or None to take it away, not 7"),
        ({"env": {"a": "\0"}}, "a must be a text"),
        ({"env": {"a": "\ud800"}}, r"'make', env= this system cannot encode 'a'='\\ud800'"),
        ({"env": {"\ud800": None}}, "env= this system cannot encode"),
        ({"cwd": 7}, "cwd= takes a path, not 7"),
        ({"max_output": -1}, "max_output= is a number of bytes, not -1"),
        ({"max_output": 1.5}, "max_output= is a number of bytes"),
        ({"max_output": True}, "max_output= is a number of bytes"),
        ({"ok_codes": ()}, "ok_codes= takes exit codes such as"),
        ({"ok_codes": "0"}, "'0' is no exit code"),
        ({"ok_codes": None}, "ok_codes= takes exit codes such as"),
        ({"ok_codes": (0, 256)}, "256 is no exit code"),
        ({"ok_codes": True}, "True is no exit code"),
        ({"artifacts": 7}, "artifacts= takes glob patterns"),
        ({"artifacts": ("a", "")}, "'' is no glob pattern"),
        ({"artifacts": (7,)}, "7 is no glob pattern"),
    ],
)
def test_what_options_cannot_be(options, message):
    """Each option is checked, and the message names it, and the command where it has a name."""
    with pytest.raises(DefinitionError, match=message):
        Command(**{"argv": ["make"], **options})


def test_options_in_all_their_forms():
    """Single values stand for a tuple of one, and mappings and lists are kept as they were."""
    env = {"A": "1", "B": None}
    words = ["make", "all"]
    command = Command(words, env=env, ok_codes=3, artifacts="out/*")
    env["C"] = "2"
    words.append("clean")
    assert dict(command.env) == {"A": "1", "B": None}
    assert command.resolve(None) == ("make", "all")
    assert (command.ok_codes, command.artifacts) == ((3,), ("out/*",))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        command.argv = ["other"]
    with pytest.raises(TypeError):
        command.env["C"] = "2"


@pytest.mark.parametrize(
    ("stdin", "data"),
    [
        (None, None),
        ("\u20ac", b"\xe2\x82\xac"),
        ("\udcff", b"\xff"),
        (b"x", b"x"),
        (bytearray(b"x"), b"x"),
        (lambda value: value * 2, b"inin"),
    ],
)
def test_stdin(stdin, data):
    """Text is UTF-8, bytes are themselves, and a function is asked with the input."""
    assert Command(["cat"], stdin=stdin).feed("in") == data


def test_surroundings_of_the_input():
    """Variables and directory may be functions of the input, and are checked when they are known."""
    command = Command(["make"], env=lambda value: {"A": value}, cwd=lambda value: f"/{value}")
    assert command.surroundings("x") == ({"A": "x"}, "/x")
    assert Command(["make"], env={"A": "b"}, cwd="c").surroundings("x") == ({"A": "b"}, "c")
    assert Command(["make"], cwd=lambda _: None).surroundings("x") == ({}, None)
    with pytest.raises(DefinitionError, match=r"'make', env= A must be a text"):
        command.surroundings(7)
    with pytest.raises(DefinitionError, match=r"'make', cwd= takes a path, not 7"):
        Command(["make"], cwd=lambda value: value).surroundings(7)


@pytest.mark.parametrize("option", ["env", "cwd"])
def test_surroundings_are_plain_functions(option):
    """An async function could not be asked."""

    async def late(_): ...

    with pytest.raises(DefinitionError, match=f"{option}= must be a plain function"):
        Command(["make"], **{option: late})


def test_a_command_is_a_node():
    """Wherever a node may stand a command may, and it runs as what it is."""
    command = Command(["make"])
    assert Node(command).runs_on == "command"
    assert Node(command, runs_on="command").runs_on == "command"
    assert [part.name for part in Stage("s", command).nodes] == ["make"]
    assert each(command).name == "make"
    assert parallel(command, Command(["ls"]))


def test_a_command_runs_nowhere_else():
    """It is no function: it cannot be called, and it runs in no thread."""
    with pytest.raises(DefinitionError, match="a Command runs on 'command'"):
        Node(Command(["make"]), runs_on="thread")
    with pytest.raises(DefinitionError, match="a Command is no function"):
        Node(Command(["make"]))(1)
