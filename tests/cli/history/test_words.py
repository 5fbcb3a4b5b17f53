from graceline.cli.history.words import packed, split_name


def test_long_names():
    """A name is split after dots, within a word only where that alone is too long, and nothing is lost."""
    assert split_name("shop.search.rank", 80) == ["shop.search.rank"]
    assert split_name("shop.search.rank", 12) == ["shop.search.", "rank"]
    assert split_name("shop.search_everywhere.rank", 9) == [
        "shop.",
        "search_ev",
        "erywhere.",
        "rank",
    ]
    assert "".join(split_name("a.b..c", 1)) == "a.b..c"


def test_packed():
    """Each line has as many words as fit, and a word that is too long has one of its own."""
    assert packed(["p50 1s", "p95 2s", "limit 3s"], 14, "  ") == ["p50 1s  p95 2s", "limit 3s"]
    assert packed(["long", "a"], 2, " ") == ["long", "a"]
