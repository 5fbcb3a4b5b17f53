import math
from random import Random

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from graceline import Node, Pipeline, Stage
from graceline.adaptive import Key, MemoryStore
from graceline.planning.recorded import (
    MissingHistoryError,
    copy_records,
    draw_all,
    read_durations,
)


async def work(value):
    raise AssertionError


def one_node(name="a"):
    return Pipeline("p", [Stage("s", [Node(work, name=name)])])


durations = st.lists(
    st.tuples(st.integers(1, 12).map(lambda tens: tens / 100), st.booleans()), min_size=1
)


@settings(derandomize=True, database=None, deadline=None)
@given(durations)
def test_draws_follow_kaplan_and_meier(given_samples):
    """The share of draws above any duration is that of the product-limit estimate."""
    store = MemoryStore()
    samples = [(float(at), *sample) for at, sample in enumerate(given_samples)]
    store.put(Key("default", "p", "s", "a", "node"), samples, {})
    found = read_durations(one_node(), store)["s", "a"]
    events = [seconds for _, seconds, censored in samples if not censored]
    cut = [seconds for _, seconds, censored in samples if censored]
    assert (found.samples, found.censored) == (len(samples), len(cut))
    if not events:
        assert set(found.table) == {math.inf}
        return
    data = scipy.stats.CensoredData(uncensored=events, right=cut)
    survival = scipy.stats.ecdf(data).sf
    for seconds in set(events):
        longer = np.mean([drawn > seconds for drawn in found.table])
        assert longer == pytest.approx(survival.evaluate(seconds), abs=2 / len(found.table))
    assert found.hangs == pytest.approx(survival.evaluate(1.0))


def test_a_quantile_is_one_of_the_table():
    """The quantiles are those of what is drawn: also at both ends, and beyond what finished."""
    store = MemoryStore()
    samples = [(0.0, 0.1, False), (1.0, 0.2, False), (2.0, 0.2, True), (3.0, 0.3, True)]
    store.put(Key("default", "p", "s", "a", "node"), samples, {})
    found = read_durations(one_node(), store)["s", "a"]
    assert [found.quantile(p) for p in (0.0, 0.25, 0.26, 0.5, 0.51)] == [
        0.1,
        0.1,
        0.2,
        0.2,
        math.inf,
    ]
    assert (found.longest, found.longest_cut) == (0.2, 0.3)


def test_nothing_known_names_all_nodes():
    """Every node without a history is named, and other lanes in which there is one."""
    pipeline = Pipeline("p", [Stage("s", [Node(work, name="a"), Node(work, name="b")])])
    store = MemoryStore()
    store.put(Key("tenant", "p", "s", "a", "node"), [(0.0, 0.1, False)], {})
    store.put(Key("elsewhere", "q", "s", "a", "node"), [(0.0, 0.1, False)], {})
    with pytest.raises(
        MissingHistoryError, match=r"of s\.a, s\.b of pipeline 'p' .* lane 'tenant'$"
    ):
        read_durations(pipeline, store)
    with pytest.raises(MissingHistoryError, match=r"of s\.b of pipeline 'p' in lane 'tenant'$"):
        read_durations(pipeline, store, lane="tenant")


def test_an_assumed_duration_needs_no_history():
    """What is assumed counts, also in place of what is recorded; `inf` is a call that hangs."""
    store = MemoryStore()
    store.put(Key("default", "p", "s", "a", "node"), [(0.0, 0.1, False)], {})
    found = read_durations(one_node(), store, assume={"s.a": "20ms"})["s", "a"]
    assert (found.samples, found.table, found.hangs) == (0, (0.02,), 0.0)
    assert read_durations(one_node(), store, assume={"a": math.inf})["s", "a"].hangs == 1.0


def test_each_node_draws_by_itself():
    """A node's draws follow from the seed and its name: another node does not change them."""
    store = MemoryStore()
    chance = Random(1)  # noqa: S311 - no secret
    samples = [(float(at), chance.random(), False) for at in range(50)]
    for name in ("a", "b"):
        store.put(Key("default", "p", "s", name, "node"), samples, {})
    both = Pipeline("p", [Stage("s", [Node(work, name="b"), Node(work, name="a")])])
    alone = draw_all(read_durations(one_node(), store), 20, 7)
    drawn = draw_all(read_durations(both, store), 20, 7)
    assert drawn["s", "a"] == alone["s", "a"] != drawn["s", "b"]
    assert draw_all(read_durations(one_node(), store), 20, 8) != alone


def test_a_copy_holds_what_concerns_the_pipeline():
    """Histories and states of all levels of the pipeline are copied, and nothing else is."""
    store = MemoryStore()
    ours = [Key("default", "p", "s", "a", "node"), Key("default", "p", "", "", "pipeline")]
    for key in (*ours, Key("other", "p", "s", "a", "node"), Key("default", "q", "s", "a", "node")):
        store.put(key, [(0.0, 0.1, True)], {"u": 1.0})
    copy = copy_records(one_node(), store, "default")
    assert copy.keys() == ours
    assert [copy.load(key) for key in ours] == [store.load(key) for key in ours]
    copy.put(ours[0], [(1.0, 0.2, True)], {})
    assert len(store.load(ours[0]).history) == 1
