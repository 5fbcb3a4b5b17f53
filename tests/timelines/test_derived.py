import json
from math import inf

import attrs
import pytest
from hypothesis import given, settings

from graceline import (
    Bulkhead,
    Node,
    Pipeline,
    PipelineResult,
    Stage,
    Status,
    Timeouts,
    parallel,
    sequence,
)
from graceline.testing.models import build
from graceline.testing.strategies import cancellations, pipelines, scenarios, timeouts
from graceline.testing.world import Cancels, simulate

KNOWN = (
    "level", "stage", "name", "status", "blame", "blamed", "limit", "source", "tries", "partial",
)  # fmt: skip
TIMES = ("started", "worked_until", "ended", "grace_used", "overrun")


def near(one, other):
    return one == other or (None not in (one, other) and one == pytest.approx(other, abs=1e-6))


def agree(result, recorded, *, limits=True):
    """Whether the timeline of a result says what the one that heard the run says."""
    derived = result.timeline
    rows = {(row.level, row.stage, row.name): row for row in recorded.rows()}
    pairs = [(derived.pipeline, recorded.pipeline)]
    pairs += [(row, rows.pop(key)) for row in derived.rows()
              if (key := (row.level, row.stage, row.name)) in rows]  # fmt: skip
    assert rows == {}
    # Of a run that was never admitted only its end is heard.
    assert len(pairs) == 1 + len(derived.rows()) or len(pairs) == 1
    assert derived.queued == pytest.approx(recorded.queued)
    assert derived.degraded == recorded.degraded
    for ours, heard in pairs:
        for field in KNOWN:
            assert getattr(ours, field) == getattr(heard, field), (field, ours, heard)
        if ours.started is None and heard.started is not None:
            # Nothing says that a part which took no time and did no work had its turn.
            assert heard.started == heard.ended
            assert heard.tries == 0
            continue
        for field in TIMES:
            assert near(getattr(ours, field), getattr(heard, field)), (field, ours, heard)
        if limits and heard.limit_at is not None:
            assert near(ours.limit_at, heard.limit_at), (ours, heard)


def has_reserve(pipeline):
    parts = [pipeline, *pipeline.stages, *(node for s in pipeline.stages for node in s.nodes)]
    return any(part.reserve for part in parts)


@settings(max_examples=100, deadline=None)
@given(pipelines(depth=0), cancellations(), timeouts())
def test_it_agrees_with_what_was_heard(pipeline, cancels, defaults):
    """Rows made from the outcomes say the same as rows made from the events of the same run."""
    played = simulate(pipeline, [1, 2, 3], cancels=cancels, timeouts=defaults)
    if played.result is not None:
        # No outcome knows a reserve, or a deadline of the caller, unless it passed.
        known = not has_reserve(pipeline) and cancels.caller_deadline is None
        agree(played.result, played.timeline, limits=known)


@settings(max_examples=100, deadline=None)
@given(scenarios(depth=0, caller=False, attempts=True))
def test_it_agrees_about_attempts(scenario):
    """So they do where nodes are retried: how often is known from the outcomes too."""
    pipeline = build(scenario.pipeline, run_nested=None)
    played = simulate(
        pipeline,
        scenario.input,
        cancels=Cancels(user_at=scenario.user_cancel_at, drain_at=scenario.drain_at),
        timeouts=Timeouts(node=None, pipeline=None, grace=scenario.engine_grace),
        mode=scenario.mode,
    )
    known = scenario.mode == "enforce" and not has_reserve(pipeline)
    agree(played.result, played.timeline, limits=known)


def test_it_is_there_without_any_sink(cut):
    """A result has its timeline by itself: rows with times, limits, blame and saved values."""
    rows = {row.name: row for row in cut[1].timeline.rows()}
    generate, keywords, log = rows["generate"], rows["keywords"], rows["log"]
    assert (generate.blamed, generate.limit, generate.source) == (True, 0.6, "stage")
    assert generate.worked_until == pytest.approx(generate.limit_at)
    assert generate.ended == pytest.approx(generate.limit_at + 0.15)
    assert (keywords.status, keywords.partial, keywords.tries) == (Status.TIMED_OUT, True, 1)
    assert rows["draft"].limit_at == pytest.approx(generate.limit_at)
    assert (log.status, log.started, log.ended) == (Status.SKIPPED, None, None)
    assert "answer timed_out" in repr(cut[1].timeline)


def test_a_result_that_was_read_back_has_one_too(cut):
    """The timeline of a JSON document is that of the result it was made from."""
    again = PipelineResult.from_dict(json.loads(json.dumps(cut[1].to_dict())))
    assert again.timeline.rows() == cut[1].timeline.rows()
    assert again.timeline.pipeline == cut[1].timeline.pipeline
    assert again.timeline.to_html() == cut[1].timeline.to_html()


def test_what_was_tried_is_counted(tried):
    """Without events there are no single attempts, but how many there were is known."""
    rows = {row.name: row for row in tried[1].timeline.rows()}
    assert (rows["flaky"].tries, rows["flaky"].attempts) == (3, ())
    assert "3 attempts" in tried[1].timeline.to_html()


def test_a_limit_that_never_comes_is_none(cut):
    """An infinite limit, which only a document can hold, is no limit."""
    result = attrs.evolve(cut[1], limit=inf, blame=None)
    assert (result.timeline.pipeline.limit, result.timeline.pipeline.limit_at) == (None, None)
    assert "inf" not in result.timeline.to_html().split("<table")[1]


def test_what_reserve_keeps_shows_where_the_limit_passed(observe, sleeper):
    """A limit that cut its part stands where it did, although a share of it was kept for cleanup."""
    _, result = observe(Pipeline("p", Stage("s", [sleeper("n", 9)]), timeout=3, reserve=1))
    assert [row.limit_at for row in result.timeline.rows()] == pytest.approx([2, 2])
    assert result.timeline.pipeline.limit_at == pytest.approx(2)


def test_what_got_no_slot_did_no_work(observe, sleeper):
    """A node without an attempt is drawn as one that waited, or as one that was refused."""
    slot = Bulkhead(1, max_queue=1, name="b")
    holds, waits, refused = (
        sleeper(name, 9, limit=slot, timeout=limit, critical=False)
        for name, limit in (("holds", None), ("waits", 2), ("refused", None))
    )
    parts = parallel(
        holds, sequence(sleeper("one", 1), waits), sequence(sleeper("two", 2), refused)
    )
    recorded, result = observe(Pipeline("p", Stage("s", parts)))
    agree(result, recorded)
    for timeline in (result.timeline, recorded):
        rows = {row.name: row for row in timeline.rows()}
        assert (rows["waits"].status, rows["waits"].ended) == (Status.TIMED_OUT, 3)
        assert (rows["refused"].status, rows["refused"].ended) == (Status.REJECTED, 2)
        assert {name for name, row in rows.items() if row.unattempted} == {"waits", "refused"}


def test_a_saved_value_is_that_of_its_own_stage(observe, sleeper):
    """Of two nodes of one name only the one that saved a value is said to have one."""

    async def plain(value):
        return value

    stages = [
        Stage("a", [Node(plain, name="n")]),
        Stage("b", [sleeper("n", 9, timeout=1, critical=False)]),
    ]
    recorded, result = observe(Pipeline("p", stages))
    assert result.partial.keys() == {"b.n"}
    agree(result, recorded)
    assert [row.stage for row in result.timeline.rows() if row.partial] == ["b"]


@pytest.mark.parametrize("run", ["cut", "tried", "thousand", "odd"])
def test_it_agrees_about_whole_runs(request, run):
    """Cleanup, retries, hedges and a thousand nodes: both timelines tell the same."""
    timeline, result = request.getfixturevalue(run)
    agree(result, timeline)


def test_nobody_pays_for_what_nobody_looks_at(cut):
    """The timeline of a result is there at once; its outcomes are looked at when its rows are."""

    class Unseen(dict):
        def values(self):
            raise AssertionError("somebody looked")

    timeline = attrs.evolve(cut[1], stages=Unseen()).timeline
    assert (timeline.queued, timeline.degraded) == (0, ("keywords",))
    with pytest.raises(AssertionError, match="somebody looked"):
        timeline.rows()
