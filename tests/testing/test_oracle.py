"""The oracle against examples that were computed by hand from the contract."""

import ast
from pathlib import Path

from graceline.testing import accounts, oracle, phases, retrying
from graceline.testing.agreement import disagreements
from graceline.testing.models import NodeModel, PipelineModel, RetryModel, Scenario, StageModel
from graceline.testing.oracle import admissible, play


def run(*stages, nodes=(), scenario=None, **options):
    """The account of pipeline `p`; `nodes` alone make one stage `s`."""
    stages = stages or (StageModel("s", tuple(nodes)),)
    made = Scenario(PipelineModel("p", stages, **options), **(scenario or {}))
    assert disagreements(made) == [], "the engine differs from the oracle"
    return play(made)["p"]


def times(part):
    return part.start, part.end


def test_shares_nothing():
    """At run time the oracle imports nothing of the package but its own tree, which imports nothing."""
    assert _imports(accounts) == set()
    assert _imports(retrying) == set()
    tree = {"graceline.testing.accounts", "graceline.testing.retrying"}
    assert _imports(phases) == tree
    assert _imports(oracle) == {"graceline.testing.accounts", "graceline.testing.phases"}


def _imports(module):
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    guarded = {inner for node in tree.body if isinstance(node, ast.If) for inner in ast.walk(node)}
    imported = {
        name
        for node in ast.walk(tree)
        if node not in guarded
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    return {name for name in imported if name.startswith("graceline")}


def test_one_budget():
    """Three cleanup blocks in a row share one grace period, whatever they would like to take."""
    result = run(nodes=[NodeModel("a", 9, cleanups=(2, 2, 2), timeout=10, grace=5)])
    assert times(result.parts["s.a"]) == (0, 15)  # not cancelled: each block has 5 s from its start
    assert result.parts["s.a"].status == "late"
    result = run(nodes=[NodeModel("a", 20, cleanups=(2, 2, 2), timeout=10, grace=5)])
    assert times(result.parts["s.a"]) == (0, 15)
    assert result.parts["s.a"].status == "timed_out"


def test_before_the_cancel():
    """Before any cancel each cleanup block has the grace period from its own start."""
    result = run(nodes=[NodeModel("a", 1, cleanups=(4, 4, 4), timeout=30, grace=3)])
    assert times(result.parts["s.a"]) == (0, 10)
    assert result.parts["s.a"].status == "ok"


def test_equal_limits():
    """Of equal limits the outermost is blamed."""
    result = run(StageModel("s", (NodeModel("a", 5, timeout=2),), timeout=2), timeout=2)
    assert result.parts["s.a"].blame == ("pipeline", "p", "timeout")
    assert (result.status, result.end) == ("timed_out", 2)


def test_outer_passes_during_grace():
    """A node's limit stays to blame although an outer limit passes while it cleans up."""
    result = run(nodes=[NodeModel("a", 5, cleanups=(3,), timeout=2, grace=4)], timeout=3, grace=9)
    assert result.parts["s.a"].blame == ("node", "a", "timeout")
    assert result.blame == ("node", "a", "timeout")
    assert result.end == 5


def test_outer_hard_cuts():
    """Cleanup of a node ends with the grace of the levels above it at the latest."""
    result = run(nodes=[NodeModel("a", 5, cleanups=(9,), timeout=2, grace=8)], timeout=3, grace=1)
    assert times(result.parts["s.a"]) == (0, 4)


def test_sibling_failed():
    """Siblings are cancelled when the failed node has cleaned up, and may clean up in turn."""
    nodes = [
        NodeModel("a", 1, "raises", cleanups=(2,)),
        NodeModel("b", 9, cleanups=(8,)),
        NodeModel("c", 1, after=("b",)),
    ]
    result = run(StageModel("s", tuple(nodes), grace=4))
    assert result.parts["s.a"].end == 3
    assert result.parts["s.b"].blame == ("stage", "s", "sibling_failed")
    assert result.parts["s.b"].status == "cancelled"
    assert result.parts["s.b"].end == 7
    assert result.parts["s.c"].status == "skipped"
    assert (result.status, result.blame) == ("failed", ("node", "a", "failed"))


def test_fail_fast_off():
    """Without fail-fast the independent branches finish, and only dependents are skipped."""
    nodes = (
        NodeModel("a", 1, "raises"),
        NodeModel("b", 3),
        NodeModel("c", 1, after=("a",)),
        NodeModel("d", 1, after=("b",)),
    )
    result = run(StageModel("s", nodes), fail_fast=False)
    statuses = [result.parts[f"s.{name}"].status for name in "abcd"]
    assert statuses == ["failed", "ok", "skipped", "ok"]
    assert result.completed == ("b", "d")
    assert (result.status, result.end) == ("failed", 4)


def test_reserve():
    """A reserve is carved out of the limit: work is cancelled early, and the limit is exact."""
    result = run(nodes=[NodeModel("a", 9, cleanups=(9,), timeout=5, reserve=2)])
    assert times(result.parts["s.a"]) == (0, 5)
    assert result.blame == ("node", "a", "timeout")
    assert run(nodes=[NodeModel("a", 9, timeout=5, reserve=2)]).end == 3


def test_not_critical_under_the_limit():
    """A pipeline whose limit finds only a non-critical stage is ok, degraded, and keeps its value."""
    result = run(
        StageModel("one", (NodeModel("a", 1),)),
        StageModel("two", (NodeModel("b", 9),), critical=False),
        timeout=3,
    )
    assert result.parts["two"].status == "timed_out"
    assert result.parts["two"].blame == ("pipeline", "p", "timeout")
    assert (result.status, result.blame, result.end) == ("ok", None, 3)
    assert result.degraded == ("two",)
    assert result.value == ("a", "input", None)


def test_user_cancel():
    """A user cancel stops everything, also where only a non-critical node is left."""
    result = run(
        nodes=[NodeModel("a", 9, cleanups=(9,), critical=False), NodeModel("b", 1)],
        scenario={"user_cancel_at": 2, "engine_grace": 3},
    )
    assert result.parts["s.a"].blame == ("pipeline", "p", "user")
    assert (result.status, result.end) == ("cancelled", 5)
    assert result.degraded == ()


def test_caller_cancel():
    """An explicit cancel of the caller's passes through after the cleanup that the node's grace allows."""
    result = run(
        nodes=[NodeModel("a", 9, cleanups=(1, 9), timeout=3, grace=2)],
        scenario={"caller_cancel_at": 2},
    )
    assert result.raised
    assert result.parts["s.a"].blame == ("caller", "caller", "caller")
    assert result.end == 4


def test_caller_deadline():
    """The caller's own deadline is a limit above the pipeline, bounded by the pipeline's grace."""
    result = run(nodes=[NodeModel("a", 9, cleanups=(9,))], grace=2, scenario={"caller_deadline": 4})
    assert result.raised
    assert result.parts["s.a"].blame == ("caller", "caller", "timeout")
    assert (result.status, result.end) == ("timed_out", 6)


def test_swallowed():
    """A node that swallows its cancel is late, its value is kept and what follows goes on."""
    result = run(
        StageModel("s", (NodeModel("a", 9, "swallows", 3, timeout=2),)),
        StageModel("t", (NodeModel("b", 1),)),
    )
    assert result.parts["s.a"].status == "late"
    assert result.parts["s.a"].blame == ("node", "a", "timeout")
    assert times(result.parts["s.a"]) == (0, 5)
    assert result.parts["t.b"].value == ("b", ("a", "input", "swallowed"), None)
    assert (result.status, result.end) == ("ok", 6)


def test_strict():
    """With `strict` a late value counts as timed out, and what follows is skipped."""
    result = run(
        StageModel("s", (NodeModel("a", 9, "swallows", 3, timeout=2),)),
        StageModel("t", (NodeModel("b", 1),)),
        strict=True,
    )
    assert result.parts["s.a"].status == "timed_out"
    assert result.parts["t.b"].status == "skipped"
    assert (result.status, result.end) == ("timed_out", 5)


def test_expired_before_start():
    """A part that has expired before it starts is timed out, and its children are skipped."""
    result = run(
        StageModel("one", (NodeModel("a", 1),)),
        StageModel("two", (NodeModel("b", 1),), timeout=0),
    )
    assert result.parts["two"].status == "timed_out"
    assert times(result.parts["two"]) == (1, 1)
    assert result.parts["two.b"].status == "skipped"


def test_nested():
    """A limit above a nested run cuts the work inside it, and the caller's `Cancelled` leaves it."""
    inner = PipelineModel("q", (StageModel("t", (NodeModel("b", 9, cleanups=(1,)),)),))
    made = Scenario(
        PipelineModel("p", (StageModel("s", (NodeModel("a", 1, nested=inner, timeout=3),)),))
    )
    assert disagreements(made) == []
    accounts = play(made)
    assert accounts["q"].raised
    assert accounts["q"].blame == ("node", "a", "timeout")
    assert times(accounts["p"].parts["s.a"]) == (0, 4)


def test_nested_value():
    """A nested run that is cut by its own limit is a result for the node that asked for it."""
    inner = PipelineModel("q", (StageModel("t", (NodeModel("b", 9),)),), timeout=2)
    result = run(nodes=[NodeModel("a", 1, nested=inner)])
    assert (result.status, result.end) == ("ok", 3)
    assert result.value == ("a", "input", ("timed_out", None))


def test_absorbed():
    """A cancel that a node's own scope absorbs changes nothing outside that scope."""
    inner = PipelineModel("q", (StageModel("t", (NodeModel("b", 9),)),))
    made = Scenario(
        PipelineModel("p", (StageModel("s", (NodeModel("a", 1, nested=inner, absorb_after=3),)),))
    )
    assert disagreements(made) == []
    accounts = play(made)
    assert accounts["q"].blame == ("caller", "caller", "timeout")
    assert (accounts["p"].status, accounts["p"].end) == ("ok", 3)


def test_ties_within_an_instant():
    """Where two nodes expire in one instant, either may be the first, and both answers are right."""
    nodes = (NodeModel("a", 9, timeout=2), NodeModel("b", 9, timeout=2))
    made = Scenario(PipelineModel("p", (StageModel("s", nodes),)))
    blames = {answer["p"].blame for answer in admissible(made)}
    assert blames == {("node", "a", "timeout"), ("node", "b", "timeout")}
    assert disagreements(made) == []


def tried(*args, **options):
    """The account of the node `a` alone."""
    return run(nodes=[NodeModel("a", *args, **options)]).parts["s.a"]


def test_attempts():
    """Backoffs double up to the longest; the errors of all attempts are kept; the last one counts."""
    retry = RetryModel(4, backoff=1, max_backoff=3, factor=2)
    part = tried(1, "raises", retry=retry)
    assert [(made.start, made.end, made.delay) for made in part.tries] == [
        (0, 1, 1),
        (2, 3, 2),
        (5, 6, 3),
        (9, 10, None),
    ]
    assert (part.status, part.attempts, part.error) == ("failed", 4, "a#4")
    assert (part.secondary, part.note) == (("a", "a#2", "a#3"), ("attempts",))


def test_an_attempt_that_does_not_fit():
    """Of 6 s with backoffs of 4 s a node takes 5 s, and fails with the last real error."""
    retry = RetryModel(9, backoff=4, factor=1, min_attempt=0.8)
    part = tried(0.5, "raises", retry=retry, timeout=6)
    assert (part.end, part.error, part.note) == (5, "a#2", ("deadline", 1, 4, 0.8))


def test_the_limit_of_an_attempt():
    """The attempt's limit is blamed, the node's where it is earlier or the same."""
    retry = RetryModel(2)
    part = tried(9, retry=retry, attempt_timeout=2)
    assert (part.blame, part.end, part.secondary) == (("attempt", "a", "timeout"), 4, ("timeout",))
    part = tried(9, retry=retry, attempt_timeout=2, timeout=3)
    assert (part.blame, part.end, part.attempts) == (("node", "a", "timeout"), 3, 2)
    part = tried(9, retry=retry, attempt_timeout=2, timeout=2)
    assert (part.blame, part.attempts) == (("node", "a", "timeout"), 1)


def test_what_is_not_retried():
    """An error that says so, a group with such a leaf, what `on=` does not name, and effects twice."""
    retry = RetryModel(3)
    for part in (
        tried(1, "final", retry=retry),
        tried(1, "mixed", retry=retry),
        tried(1, "raises", retry=RetryModel(3, on=False)),
        tried(1, "raises", retry=retry, idempotent=False),
    ):
        assert (part.attempts, part.note) == (1, ("not_retryable",))
    assert tried(1, "several", retry=retry).attempts == 3
    assert tried(1, "unstarted", retry=retry, idempotent=False).attempts == 3


def test_retry_budget():
    """Three tokens are in reserve; what was taken comes back after ten seconds."""
    part = tried(1, "raises", retry=RetryModel(9))
    assert (part.attempts, part.note) == (4, ("budget",))
    assert tried(4, "raises", retry=RetryModel(9)).attempts == 9


def test_modes_without_limits():
    """Where limits cut nothing attempts go on, whatever time they take."""
    for mode in ("observe", "off"):
        part = run(
            nodes=[
                NodeModel(
                    "a", 5, "raises", retry=RetryModel(3, backoff=2), attempt_timeout=1, timeout=2
                )
            ],
            scenario={"mode": mode},
        ).parts["s.a"]
        assert (part.status, part.attempts, part.end) == ("failed", 3, 21)


def test_the_innermost_layer_retries():
    """What a pipeline inside an attempt has tried again is not tried again outside of it."""
    for nested, attempts in ((False, 1), (True, 2)):
        inner = NodeModel("b", 1, "raises", retry=RetryModel(2))
        outer = NodeModel(
            "a",
            1,
            "raises",
            retry=RetryModel(2, nested=nested),
            nested=PipelineModel("q", (StageModel("t", (inner,)),)),
        )
        made = Scenario(PipelineModel("p", (StageModel("s", (outer,)),)))
        assert disagreements(made) == []
        accounts = play(made)
        assert accounts["p"].parts["s.a"].attempts == attempts
        assert sorted(accounts) == ["p", "q", "q#2"][: attempts + 1]
