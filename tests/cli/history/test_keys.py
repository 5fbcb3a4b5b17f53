import pytest

from graceline.adaptive import Key
from graceline.cli.failures import UsageError
from graceline.cli.history.keys import find_key, path_of

RANK = Key("default", "shop", "search", "rank")
RETRY = Key("default", "shop", "search", "rank", "attempt")
OTHER = Key("default", "shop", "search", "fetch")
STAGE = Key("default", "shop", "polish", "", "stage")
WHOLE = Key("default", "feed", "", "", "pipeline")
SAME = Key("default", "feed", "feed", "feed")
NIGHT = Key("night", "shop", "search", "fetch")
DOTS = Key("default", "v1.2", "a.b", "c")
KEYS = [RANK, OTHER, STAGE, WHOLE, SAME, DOTS]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("shop.search.rank", RANK),
        ("search.rank", RANK),
        ("rank", RANK),
        ("shop.polish", STAGE),
        ("polish", STAGE),
        ("feed", WHOLE),
        ("feed.feed.feed", SAME),
        ("v1.2", DOTS),
        ("a.b.c", DOTS),
        ("a.b", DOTS),
    ],
)
def test_names(name, key):
    """A whole name, its end or another part of it stands for the only key that it fits; the whole comes first."""
    assert find_key(KEYS, name) == key


def test_narrowed():
    """A lane and a level choose among keys of one name."""
    keys = [*KEYS, RETRY, NIGHT]
    assert find_key(keys, "rank", level="attempt") == RETRY
    assert find_key(keys, "fetch", lane="night") == NIGHT
    assert find_key(keys, "search", lane="night", level="node") == NIGHT


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rnak", {}, "no history of 'rnak'; did you mean 'rank'"),
        ("serch", {}, "did you mean 'search'"),
        ("zzz", {}, "there are: shop.search.rank, shop.search.fetch, shop.polish, feed"),
        ("rank", {}, r"several: shop.search.rank \(lane default, level node\), .*by --level$"),
        ("fetch", {}, "narrow it by --lane$"),
        ("shop.search", {}, "narrow it by more of its name or --lane or --level$"),
        ("ank", {}, "no history of 'ank'"),
        ("rank", {"lane": "nigt"}, "--lane nigt: no history has this lane; did you mean 'night'"),
        ("rank", {"level": "item"}, "--level item: no history has this level; there is: "),
        (
            "rank",
            {"level": "nodes"},
            "--level nodes: no history has this level; did you mean 'node'",
        ),
    ],
)
def test_mistakes(name, options, message):
    """A name that fits none or several is an error that says which there are, or the nearest."""
    with pytest.raises(UsageError, match=message):
        find_key([*KEYS, RETRY, NIGHT], name, **options)


def test_many_keys():
    """A message does not list hundreds of keys, and an empty history says that it is."""
    keys = [Key("default", "p", "s", f"node-{number}") for number in range(200)]
    with pytest.raises(UsageError, match=r"node-11 and 188 more \(see: graceline history list\)"):
        find_key(keys, "zzz")
    with pytest.raises(UsageError, match="there is none at all"):
        find_key([], "zzz")


def test_path():
    """The parts that a key does not have leave no gap in its name."""
    assert [path_of(key) for key in (RANK, STAGE, WHOLE)] == [
        "shop.search.rank", "shop.polish", "feed",
    ]  # fmt: skip
