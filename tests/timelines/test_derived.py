import pytest
from hypothesis import given, settings

from graceline.testing.strategies import cancellations, pipelines, timeouts
from graceline.testing.world import simulate

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


@settings(max_examples=200, deadline=None)
@given(pipelines(depth=0), cancellations(), timeouts())
def test_it_agrees_with_what_was_heard(pipeline, cancels, defaults):
    """Rows made from the outcomes say the same as rows made from the events of the same run."""
    played = simulate(pipeline, [1, 2, 3], cancels=cancels, timeouts=defaults)
    if played.result is not None:
        # No outcome knows a reserve, or a deadline of the caller, unless it passed.
        known = not has_reserve(pipeline) and cancels.caller_deadline is None
        agree(played.result, played.timeline, limits=known)
