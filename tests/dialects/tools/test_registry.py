"""Tools by their names."""

from pathlib import Path

import pytest

from graceline import DefinitionError, GracelineError
from graceline.dialects.tools import ToolFailedError, Tools, registry, understand
from graceline.dialects.tools.filesystem import Filesystem


def test_a_registered_function_is_found_as_it_is():
    """The registry wraps nothing: what was registered is what a step calls."""
    tools = Tools()

    @tools.tool("shout")
    def shout(text):
        return text.upper()

    assert tools.find("shout") is shout
    assert shout("a") == "A"
    assert list(tools) == ["shout"]
    assert "shout" in tools


def test_what_is_built_in():
    """The default registry has the tools of the dialect, under both of their names."""
    tools = Tools.default()
    assert set(tools) >= {"filesystem", "terminal", "command", "http", "web-fetch", "python"}
    for name in tools.names:
        assert callable(tools.find(name))
    assert isinstance(tools.find("filesystem"), Filesystem)
    assert tools.find("http") is tools.find("http")
    assert Tools().names == ()


def test_an_unknown_tool_names_the_nearest():
    """A mistyped name is answered with the right one."""
    with pytest.raises(
        DefinitionError, match="there is no tool 'web_fetch'; did you mean 'web-fetch'"
    ):
        Tools.default().find("web_fetch")
    with pytest.raises(DefinitionError, match="there is none to choose from"):
        Tools().find("x")


def test_only_registered_functions_are_called_by_name():
    """The tool `python` sees what the program registered, and not the tools that are built in."""
    tools = Tools.default()
    tools.add("shout", str.upper)
    assert tools.registered("shout") is str.upper
    with pytest.raises(
        DefinitionError, match="no function 'http' is registered; valid are: 'shout'"
    ):
        tools.registered("http")


def test_a_program_may_replace_what_is_built_in_and_nothing_twice():
    """One name stands for one thing; a tool of the program's own goes before the one built in."""
    tools = Tools.default()
    assert tools.add("http", len) is len
    assert tools.find("http") is len
    with pytest.raises(DefinitionError, match="tool 'http' is registered already"):
        tools.add("http", str)


def test_wrong_registrations_are_refused():
    """What has no name or cannot be called is no tool."""
    tools = Tools()
    with pytest.raises(DefinitionError, match="tool 'x': 3 is not a function"):
        tools.add("x", 3)
    with pytest.raises(DefinitionError, match="a tool: its name must be"):
        tools.add("", len)
    with pytest.raises(DefinitionError, match=r"write @tools.tool\(\"name\"\)"):
        tools.tool(len)


class Entry:
    """An entry point, as `importlib.metadata` gives it."""

    value = "package:tool"

    def __init__(self, name, loaded):
        self.name = name
        self.loaded = loaded

    def load(self):
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def test_installed_packages_offer_tools(monkeypatch):
    """An entry point is loaded when a file names it, and not before; a broken one says so."""
    entries = [Entry("good", len), Entry("bad", ImportError("no numpy")), Entry("odd", 3)]
    asked = []
    monkeypatch.setattr(registry, "entry_points", lambda group: asked.append(group) or entries)
    tools = Tools.default()
    assert asked == ["graceline.tools"]
    assert {"good", "bad", "odd"} <= set(tools)
    assert "bad" in tools
    assert tools.find("good") is len
    with pytest.raises(
        DefinitionError, match="tool 'bad', 'package:tool', cannot be loaded: ImportError: no numpy"
    ):
        tools.find("bad")
    with pytest.raises(DefinitionError, match="tool 'odd': 'package:tool' is not a function"):
        tools.find("odd")


def test_an_installed_package_replaces_nothing_that_is_built_in(monkeypatch, caplog):
    """A built-in tool wins over an entry point, which is not imported; a warning says so once."""
    stranger = Entry("filesystem", AssertionError("it is imported"))
    monkeypatch.setattr(registry, "entry_points", lambda group: [stranger])
    tools = Tools.default()
    assert caplog.records == []  # whoever does not use it is not bothered
    assert isinstance(tools.find("filesystem"), Filesystem)
    assert isinstance(tools.find("filesystem"), Filesystem)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("graceline.tools", "WARNING")
    assert (record.event_type, record.tool, record.entry) == (
        "tool_shadowed", "filesystem", "package:tool",
    )  # fmt: skip
    assert "'package:tool' of an installed package has the same name" in record.getMessage()


def test_a_missing_extra_is_named(monkeypatch):
    """Without httpx the tool `http` says what to install, and the others work."""
    monkeypatch.setitem(__import__("sys").modules, "graceline.dialects.tools.http", None)
    tools = Tools.default()
    with pytest.raises(DefinitionError, match=r"pip install 'graceline\[http\]'"):
        tools.find("http")
    assert tools.find("filesystem")


@pytest.mark.parametrize("result", [None, 3, {}, {"success": True, "x": 1}, ["success"]])
def test_a_result_is_itself(result):
    """Nothing but `success` says that it is a failure."""
    assert understand(result) is result


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("it broke", "it broke"),
        ({"code": 3}, "{'code': 3}"),
        ("", "gives no error"),
        (None, "gives no error"),
    ],
)
def test_success_false_is_a_failure(error, said):
    """The step fails with the error of the tool, and the whole result is kept."""
    result = {"success": False, "error": error}
    with pytest.raises(ToolFailedError, match=said) as caught:
        understand(result)
    assert caught.value.result is result
    assert isinstance(caught.value, GracelineError)


@pytest.mark.parametrize("success", [0, 1, None, "false", "", []])
def test_a_success_that_is_no_boolean_is_a_failure(success):
    """Nobody can say what it means; what is not a clear success is none."""
    result = {"success": success, "error": "it broke"}
    with pytest.raises(ToolFailedError, match="which is neither true nor false") as caught:
        understand(result)
    assert caught.value.result is result


def test_the_words_of_a_tool_are_cut():
    """A page of text is no message."""
    with pytest.raises(ToolFailedError) as caught:
        understand({"success": False, "error": "x" * 10_000})
    assert len(str(caught.value)) == 500


def test_what_another_registry_has():
    """`include` takes over functions, entry points and the root; a name that both have is told."""
    ours, theirs = Tools(), Tools.default(root="elsewhere")
    theirs.add("shout", str.upper)
    theirs._entries["installed"] = None
    ours.include(theirs)
    assert {"shout", "installed", "filesystem"} <= set(ours)
    assert ours.find("shout") is str.upper
    assert ours.registered("shout") is str.upper
    assert ours.find("filesystem") is not theirs.find("filesystem")
    assert ours.find("python")._tools is ours
    with pytest.raises(DefinitionError, match="'shout' is registered already"):
        ours.include(theirs)


def roots(*stated):
    """The roots of `filesystem` and `terminal` where registries are included in this order."""
    ours = Tools.default()
    for root in stated:
        ours.include(Tools.default(root) if root else Tools.default())
    return {ours.find(name)._root for name in ("filesystem", "terminal")}


@pytest.mark.parametrize("stated", [("jail",), ("jail", None), (None, "jail"), ("jail", "./jail")])
def test_a_root_that_is_not_stated_never_opens_one_that_is(stated):
    """Where one registry confines the built-in tools, one that says nothing leaves it at that."""
    assert roots(*stated) == {Path("jail").absolute()}


def test_no_root_is_the_working_directory(tmp_path, monkeypatch):
    """Where nobody states a root, it is the directory where the tools are first used."""
    monkeypatch.chdir(tmp_path)
    assert roots() == roots(None) == {tmp_path}


def test_two_roots_are_told():
    """Nobody guesses which of two directories is meant, and nothing of the other is taken over."""
    ours, theirs = Tools.default("one"), Tools.default("two")
    theirs.add("shout", str.upper)
    with pytest.raises(DefinitionError, match=r"two are stated: '.*/one' and '.*/two'"):
        ours.include(theirs)
    assert "shout" not in ours
    assert ours.find("filesystem")._root == Path("one").absolute()


def test_an_empty_registry_changes_no_root():
    """Functions alone leave the built-in tools where they are."""
    ours = Tools.default(root="work")
    kept = ours.find("filesystem")
    ours.include(Tools())
    assert ours.find("filesystem") is kept
