"""What a run gives back: values, errors to raise, and lookups."""

import attrs
import pytest

from graceline import (
    AttemptTimeoutError,
    Blame,
    GracelineError,
    Kind,
    NodeFailedError,
    NodeOutcome,
    NodeTimeoutError,
    OverloadedError,
    PipelineCancelledError,
    PipelineResult,
    PipelineTimeoutError,
    Source,
    StageOutcome,
    StageTimeoutError,
    Status,
)
from graceline.results import freeze


def blamed(level="node", kind=Kind.TIMEOUT):
    return Blame(level, "rank", kind, 0.2, Source.NODE, 0.25, "it took too long")


def node(name="fetch", status=Status.OK, **fields):
    empty = {field.name: None for field in attrs.fields(NodeOutcome)}
    known = {"name": name, "status": status, "started": 0.0, "elapsed": 0.1, "attempts": 1}
    numbers = {"grace_used": 0.0, "overrun": 0.0, "secondary": ()}
    return NodeOutcome(**(empty | known | numbers | fields))


def stage(name="s", *nodes, status=Status.OK):
    return StageOutcome(
        name=name,
        status=status,
        value=None,
        error=None,
        started=0.0,
        elapsed=0.1,
        limit=None,
        source=None,
        grace_used=0.0,
        overrun=0.0,
        blame=None,
        secondary=(),
        nodes=freeze({one.name: one for one in nodes}),
    )


def result(status=Status.OK, *stages, value=None, blame=None, error=None):
    return PipelineResult(
        run_id="r1",
        pipeline="p",
        status=status,
        value=value,
        stages=freeze({one.name: one for one in stages}),
        completed=("fetch",),
        degraded=(),
        partial=freeze({}),
        blame=blame,
        error=error,
        elapsed=0.3,
        queued=0.0,
        limit=0.5,
        source=Source.PIPELINE,
        grace_used=0.0,
        overrun=0.0,
    )


@pytest.mark.parametrize("status", Status)
def test_only_ok_and_late_have_a_value(status):
    """A value was kept if it came in time or late, and in no other case."""
    kept = status in ("ok", "late")
    assert result(status).ok is kept
    assert node(status=status).completed is kept
    assert stage(status=status).completed is kept


@pytest.mark.parametrize("status", [Status.OK, Status.LATE])
def test_unwrap_gives_the_value(status):
    """A run that has a value unwraps to it, None included."""
    assert result(status, value=42).unwrap() == 42
    assert result(status, value=None).unwrap() is None


@pytest.mark.parametrize(
    ("level", "kind"),
    [
        ("attempt", AttemptTimeoutError),
        ("item", NodeTimeoutError),
        ("node", NodeTimeoutError),
        ("stage", StageTimeoutError),
        ("pipeline", PipelineTimeoutError),
        ("caller", PipelineTimeoutError),
    ],
)
def test_unwrap_raises_the_error_of_the_level_that_is_to_blame(level, kind):
    """The class names the level, and the error carries name, limit, source and what is done."""
    run = result(Status.TIMED_OUT, blame=blamed(level))
    with pytest.raises(kind, match=r"^it took too long$") as caught:
        run.unwrap()
    error = caught.value
    assert type(error) is kind
    assert (error.name, error.limit, error.source) == ("rank", 0.2, "node")
    assert error.completed == ("fetch",)
    assert error.result is run
    assert error.__cause__ is None


def test_unwrap_raises_a_failure_from_its_cause():
    """What the node raised is the cause, with its own traceback."""
    cause = KeyError("no key")
    run = result(Status.FAILED, blame=blamed(kind=Kind.FAILED), error=cause)
    with pytest.raises(NodeFailedError) as caught:
        run.unwrap()
    assert caught.value.__cause__ is cause
    assert (caught.value.name, caught.value.result) == ("rank", run)


def test_unwrap_raises_a_timeout_from_an_error_in_its_cleanup():
    """A broken cleanup does not replace the timeout, and is not lost either."""
    broken = ValueError("cleanup")
    other = node(secondary=(KeyError("the handler of a node that is ok"),))
    timed_out = node("rank", Status.TIMED_OUT, secondary=(broken,), blame=blamed())
    run = result(Status.TIMED_OUT, stage("s", other, timed_out), blame=blamed())
    with pytest.raises(NodeTimeoutError) as caught:
        run.unwrap()
    assert caught.value.__cause__ is broken


def test_unwrap_raises_a_refusal():
    """A run that was refused raises an overload with the reason."""
    run = result(Status.REJECTED, blame=blamed(kind=Kind.REJECTED))
    with pytest.raises(OverloadedError) as caught:
        run.unwrap()
    assert (caught.value.reason, caught.value.name) == ("it took too long", "rank")


@pytest.mark.parametrize("kind", [Kind.USER, Kind.SHUTDOWN, Kind.SUPERSEDED])
def test_unwrap_raises_a_cancel_with_who_asked(kind):
    """A cancelled run raises an error that says who cancelled it."""
    with pytest.raises(PipelineCancelledError) as caught:
        result(Status.CANCELLED, blame=blamed(kind=kind)).unwrap()
    assert (caught.value.kind, caught.value.reason) == (kind, "it took too long")


def test_unwrap_of_a_result_without_a_blame_still_raises():
    """A document that was put together by hand has no value to give either."""
    with pytest.raises(GracelineError, match="the run is failed, and nothing says why"):
        result(Status.FAILED).unwrap()


def test_a_node_is_found_by_its_name():
    """A name that occurs once needs no stage."""
    fetch, rank = node("fetch"), node("rank")
    run = result(Status.OK, stage("s", fetch), stage("t", rank))
    assert run.node("rank") is rank
    assert run.node("t.rank") is rank


def test_a_name_in_several_stages_needs_its_stage():
    """An ambiguous name is refused with the names that are not."""
    first, second = node(), node()
    run = result(Status.OK, stage("s", first), stage("t", second), stage("u", node("rank")))
    assert run.node("t.fetch") is second
    with pytest.raises(KeyError, match=r"several nodes .* \['s.fetch', 't.fetch'\]"):
        run.node("fetch")


def test_an_unknown_node_is_a_key_error():
    """A name that no node has is refused."""
    with pytest.raises(KeyError, match=r"no node is called 'plan'; there are s\.fetch"):
        result(Status.OK, stage("s", node())).node("plan")


@pytest.mark.parametrize(
    ("asked", "near"), [("fetsch", "fetch"), ("s.fetsch", "s.fetch"), ("ftech", "fetch")]
)
def test_an_unknown_node_gets_the_nearest_name(asked, near):
    """A typo is answered with the name that was probably meant, with its stage if it had one."""
    run = result(Status.OK, stage("s", node()), stage("t.u", node("rank")))
    with pytest.raises(KeyError, match=f"no node is called '{asked}'; did you mean '{near}'"):
        run.node(asked)


def test_a_result_is_one_line_as_text():
    """As text a result says what became of it; its repr still has everything."""
    good = result(Status.OK, stage("s", node()), value=42)
    assert str(good) == "p ok after 300ms; completed nodes: 1"
    bad = attrs.evolve(result(Status.TIMED_OUT, blame=blamed()), degraded=("rank", "hint"))
    assert str(bad) == (
        "p timed_out after 300ms: it took too long; completed nodes: 1; degraded: rank, hint"
    )
    assert "stages=" in repr(good)
    assert "value=42" in repr(good)


def test_an_outcome_is_one_line_as_text():
    """As text a stage or a node says what became of it."""
    assert str(node()) == "fetch ok after 100ms"
    assert str(node(status=Status.SKIPPED, elapsed=0.0)) == "fetch skipped"
    assert str(stage("s", node())) == "s ok after 100ms"
    assert str(node(status=Status.TIMED_OUT, blame=blamed())) == (
        "fetch timed_out after 100ms: it took too long"
    )
    assert "attempts=1" in repr(node())
    assert "nodes=" in repr(stage())


@pytest.mark.parametrize("outcome", [node(), stage(), result()])
def test_an_outcome_is_frozen(outcome):
    """Nobody can change a result after the fact."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        outcome.status = Status.FAILED


def test_mappings_of_a_result_are_read_only():
    """A frozen mapping shows what it holds and takes nothing."""
    view = freeze({"a": 1})
    assert view == {"a": 1}
    with pytest.raises(TypeError):
        view["b"] = 2


def test_a_result_draws_itself():
    """Its timeline has a row for each part, and a notebook gets the waterfall below a line."""
    drawn = result(Status.OK, stage("s", node("fetch"), node("rank")))
    assert [row.name for row in drawn.timeline.rows()] == ["s", "fetch", "rank"]
    page = drawn._repr_html_()
    assert page.index("fetch") < page.index("rank")
