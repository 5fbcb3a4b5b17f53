import pytest

from graceline import Pipeline
from graceline.cli.failures import UsageError
from graceline.cli.loading import load_pipeline, parse_timeout, read_value, split_input

TWO = """
async def work(value): ...
nightly = Pipeline("nightly", [work])
hourly = Pipeline("hourly", [work])
number = 3
"""
ONE = """
async def work(value): ...
only = alias = Pipeline("p", [work])
"""


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], {}),
        (["a=1"], {"a": 1}),
        (["a=1.5", "b=true", "c=null"], {"a": 1.5, "b": True, "c": None}),
        (["a=hello", 'b="2"'], {"a": "hello", "b": "2"}),
        (["a=[1, 2]", 'b={"c": 3}'], {"a": [1, 2], "b": {"c": 3}}),
        (["a=x=y", "b="], {"a": "x=y", "b": ""}),
        (["a=NaN", "b=-Infinity"], {"a": "NaN", "b": "-Infinity"}),
        (["a=1e999", "b=[1"], {"a": "1e999", "b": "[1"}),
    ],
)
def test_input(pairs, expected):
    """Values that are JSON are read as JSON, all others are strings."""
    assert {key: read_value(key, text) for key, text in split_input(pairs).items()} == expected


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["a"], "write key=value"),
        (["=1"], "write key=value"),
        (["a=1", "a=2"], "'a' is given twice"),
        (['a={"b": 1, "b": 2}'], "-i a: 'b' is given twice"),
        (["a=" + "[" * 100_000], "-i a: is nested more than 64 levels deep"),
    ],
)
def test_bad_input(pairs, message):
    """A word that is no `key=value`, and a key given twice, are refused with what would be right."""
    with pytest.raises(UsageError, match=message):
        _ = [read_value(key, text) for key, text in split_input(pairs).items()]


def test_file(write):
    """A pipeline is found in a file by its name."""
    assert load_pipeline(f"{write(TWO)}:hourly").name == "hourly"


def test_module(write):
    """A pipeline is found in a module of the working directory."""
    write(TWO, "shop.py")
    assert load_pipeline("shop:hourly").name == "hourly"


def test_name_left_out(write):
    """The name may be left out if there is exactly one pipeline, under however many names."""
    assert isinstance(load_pipeline(write(ONE)), Pipeline)
    write(ONE, "one.py")
    assert isinstance(load_pipeline("one"), Pipeline)


def test_own_name(write):
    """A pipeline answers to its own name as well as to that of its variable."""
    target = write("async def f(value): ...\njob = again = Pipeline('nightly job', [f])")
    assert load_pipeline(f"{target}:job") is not None
    assert load_pipeline(f"{target}:nightly job").name == "nightly job"


@pytest.mark.parametrize("name", ["a", "same"])
def test_name_of_several(write, name):
    """A name that several pipelines have, as a variable or as their own, is refused with all of them."""
    target = write("""
    async def f(value): ...
    a, b = Pipeline("other", [f]), Pipeline("a", [f])
    c, d = Pipeline("same", [f]), Pipeline("same", [f])
    """)
    both = {
        "a": r"a \(Pipeline 'other'\) and b \(Pipeline 'a'\)",
        "same": r"c \(Pipeline 'same'\) and d \(Pipeline 'same'\)",
    }
    with pytest.raises(UsageError, match=f"'{name}' names several .*: {both[name]}; use a name"):
        load_pipeline(f"{target}:{name}")


def test_the_list_is_said_once(write):
    """A name that is near nothing gets the list of what there is, once, with both names."""
    target = write("async def f(value): ...\nx = Pipeline('nightly', [f])\ny = Pipeline('y', [f])")
    with pytest.raises(UsageError) as caught:
        load_pipeline(f"{target}:quite-other")
    assert str(caught.value) == (
        "there is no pipeline 'quite-other' in jobs.py (pipelines there: x (Pipeline 'nightly'), y)"
    )
    with pytest.raises(UsageError, match="did you mean 'nightly'"):
        load_pipeline(f"{target}:nigthly")


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0.0), ("5s", 5.0), ("1m30s", 90.0)])
def test_timeout(text, seconds):
    """A limit on the command line is a duration with its unit."""
    assert parse_timeout(text) == seconds


def test_neighbours(write):
    """What lies beside a file can be imported from it, as from a script."""
    write("from graceline import node\n@node\nasync def work(value): ...", "helper.py")
    assert load_pipeline(write("from helper import work\np = Pipeline('p', [work])")).name == "p"


def test_name_of_a_loaded_module(write):
    """A file that is called like a module which is loaded does not take its place."""
    import json

    assert load_pipeline(write(ONE, "json.py")).name == "p"
    import json as again

    assert again is json


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("jobs.py:nigtly", "did you mean 'nightly'.*pipelines there: nightly, hourly"),
        (
            "jobs.py:number",
            "'number' in jobs.py is not a Pipeline, but of type int.*nightly, hourly",
        ),
        (
            "jobs.py",
            "several pipelines in jobs.py; add one of them: jobs.py:nightly, jobs.py:hourly",
        ),
        ("empty.py", "no Pipeline in empty.py"),
        ("empty.py:p", r"no pipeline 'p' in empty.py \(pipelines there: none\)"),
        ("job.py:nightly", "no file 'job.py'; did you mean 'jobs.py'"),
        ("none/job.py:nightly", "no file 'none/job.py'$"),
        ("no_such_module:p", "no module 'no_such_module'"),
        ("no_such.module:p", "no module 'no_such'"),
        (":p", "names no module"),
        ("jobs.txt:p", "no module 'jobs.txt'.*for a file, write its path with .py"),
        ("a-b:p", "neither a module nor a file"),
    ],
)
def test_not_found(write, target, message):
    """What cannot be found is an error that lists what is there, with the nearest name."""
    write(TWO)
    write("", "empty.py")
    with pytest.raises(UsageError, match=message):
        load_pipeline(target)


def test_import_errors_stay(write):
    """An error of the imported code itself is raised as it is, with a note that says where."""
    write("import no_such_thing", "broken.py")
    write("1 / 0", "worse.py")
    for target, kind in [
        ("broken.py", ModuleNotFoundError),
        ("broken", ModuleNotFoundError),
        ("worse.py", ZeroDivisionError),
        ("worse", ZeroDivisionError),
    ]:
        with pytest.raises(kind) as caught:
            load_pipeline(target)
        assert "was imported" in caught.value.__notes__[0]
