"""Invariants that compare runs of one pipeline, each in a world of its own: I7, I9, I10 and I12.

A node that keeps something between its runs (a counter, a cache) makes two runs differ by itself.
Give a function that builds the pipeline anew instead of a pipeline then: it is called once per run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import attrs

from graceline.deadlines import Blame, Kind
from graceline.definitions import Adaptive, Node, Part, Pipeline, Timeouts, stated_policies
from graceline.durations import format_duration
from graceline.engine import Mode
from graceline.errors import DefinitionError, DefinitionWarning
from graceline.testing.breach import InvariantError, label_of, outcomes_of, picture
from graceline.testing.world import Cancels, Recording, run_live, simulate

__all__ = [
    "Subject",
    "check_clocks_agree",
    "check_limits_do_not_matter",
    "check_modes_agree",
    "check_replay",
]

Subject: TypeAlias = Pipeline | Callable[[], Pipeline]
"""What is run: a pipeline, or a function that builds it anew for each run."""

_DIGITS = 9  # decimals of a second to which instants are compared
_Facts: TypeAlias = dict[str, Any]


def check_limits_do_not_matter(
    pipeline: Subject,
    input: Any = None,  # noqa: A002 - the contract's word
    *,
    cancels: Cancels = Cancels(),  # noqa: B008 - frozen
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    seed: int = 0,
    factor: float = 10.0,
) -> bool:
    """I7: a run in which no limit fired is unchanged by raising any limit.

    Each limit is raised alone, and all of them together, the engine's defaults too. Bodies that ask
    for the time (`remaining()`, `stopping()`) are not meant.

    Args:
        pipeline: what is run.
        input: what nodes without a predecessor get.
        cancels: what cancels it from outside.
        timeouts: the engine's defaults.
        seed: see `simulate`.
        factor: by how much limits are raised, above 1.

    Returns:
        Whether there was anything to check: False if a limit fired.

    Raises:
        InvariantError: if a run with a raised limit differs.
        DefinitionError: for a bad argument, and for a pipeline with `retry=`, `attempt_timeout=`
            or `choose()`: whether there is another attempt depends on the time that is left.
    """
    if not factor > 1:
        raise DefinitionError(f"check_limits_do_not_matter(factor=) must exceed 1, not {factor!r}")
    first = simulate(_fresh(pipeline), input, cancels=cancels, timeouts=timeouts, seed=seed)
    _refuse_attempts(first.pipeline)
    if _limit_fired(first):
        return False
    paths = [path for path, part in _parts(first.pipeline) if _is_limited(part)]
    for raised in ({*paths}, *({path} for path in paths)):
        defaults = timeouts
        if len(raised) == len(paths):
            changed = {name: getattr(timeouts, name) * factor for name in _DEFAULTS}
            defaults = attrs.evolve(timeouts, **changed)
        again = simulate(
            _raised(_fresh(pipeline), raised, factor),
            input,
            cancels=cancels,
            timeouts=defaults,
            seed=seed,
        )
        _compare(
            "I7",
            "a limit that does not fire changes nothing",
            "as defined",
            first,
            f"with {', '.join(sorted(raised)) or 'the defaults'} raised {factor:g} times",
            again,
            _everything,
        )
    return True


def check_clocks_agree(
    pipeline: Subject,
    input: Any = None,  # noqa: A002
    *,
    cancels: Cancels = Cancels(),  # noqa: B008 - frozen
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    seed: int = 0,
    patience: float = 10.0,
) -> None:
    """I9: virtual and real clock agree on statuses, when instants lie well apart.

    It really waits. Leave some 50 ms between any two instants that decide something.

    Args:
        pipeline: what is run.
        input: what nodes without a predecessor get.
        cancels: what cancels it from outside.
        timeouts: the engine's defaults.
        seed: see `simulate`.
        patience: seconds that the run may take, by the virtual clock.

    Raises:
        InvariantError: if statuses or blames differ.
        DefinitionError: if the run takes longer than `patience`.
    """
    virtual = simulate(_fresh(pipeline), input, cancels=cancels, timeouts=timeouts, seed=seed)
    if virtual.returned_at > patience:
        raise DefinitionError(
            f"check_clocks_agree(): the run takes {format_duration(virtual.returned_at)}, longer "
            f"than patience={patience:g}; make its latencies shorter, or have more patience"
        )
    real = run_live(_fresh(pipeline), input, cancels=cancels, timeouts=timeouts, seed=seed)
    words = "virtual and real clock agree"
    _compare("I9", words, "in virtual time", virtual, "in real time", real, _statuses)


def check_replay(
    pipeline: Subject,
    input: Any = None,  # noqa: A002
    *,
    cancels: Cancels = Cancels(),  # noqa: B008 - frozen
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    mode: Mode = "enforce",
    seed: int = 0,
) -> None:
    """I10: the same latencies and the same seed give the same result, to the last instant.

    Args:
        pipeline: what is run.
        input: what nodes without a predecessor get.
        cancels: what cancels it from outside.
        timeouts: the engine's defaults.
        mode: the engine's mode.
        seed: see `simulate`; it fixes the order within an instant too.

    Raises:
        InvariantError: if the second run differs from the first.
        DefinitionError: for a bad argument.
    """
    first, again = (
        simulate(_fresh(pipeline), input, cancels=cancels, timeouts=timeouts, mode=mode, seed=seed)
        for _ in range(2)
    )
    words = "the same seed gives the same run"
    _compare("I10", words, "the first time", first, "the second time", again, _everything)


def check_modes_agree(
    pipeline: Subject,
    input: Any = None,  # noqa: A002
    *,
    cancels: Cancels = Cancels(),  # noqa: B008 - frozen
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
    seed: int = 0,
) -> None:
    """I12: `observe` and `off` give equal values and statuses.

    Args:
        pipeline: what is run.
        input: what nodes without a predecessor get.
        cancels: what cancels it from outside.
        timeouts: the engine's defaults.
        seed: see `simulate`.

    Raises:
        InvariantError: if a value or a status differs.
        DefinitionError: for a bad argument.
    """
    observe, off = (
        simulate(_fresh(pipeline), input, cancels=cancels, timeouts=timeouts, mode=mode, seed=seed)
        for mode in _WATCHING
    )
    words = "`observe` changes nothing that `off` does not"
    _compare("I12", words, "in `observe`", observe, "in `off`", off, _values)


_DEFAULTS = ("node", "stage", "pipeline")
_WATCHING: tuple[Mode, Mode] = ("observe", "off")


# -- running ----------------------------------------------------------------------------------


_BOUNDS = ("initial", "floor", "ceiling")


def _fresh(subject: Subject) -> Pipeline:
    pipeline = subject if isinstance(subject, Pipeline) else subject()
    if not isinstance(pipeline, Pipeline):
        raise DefinitionError(f"{subject!r} gave {pipeline!r}, which is not a Pipeline")
    return pipeline


def _parts(pipeline: Pipeline) -> Iterator[tuple[str, Part]]:
    yield f"pipeline {pipeline.name!r}", pipeline
    for stage in pipeline.stages:
        yield label_of((stage.name, "")), stage
        for node in stage.nodes:
            yield label_of((stage.name, node.name)), node


def _refuse_attempts(pipeline: Pipeline) -> None:
    for path, part in _parts(pipeline):
        if isinstance(part, Node) and part.alternatives:
            raise DefinitionError(
                f"check_limits_do_not_matter(): {path} is a choice, and which alternative comes "
                "next depends on limits: I7 is about runs that ask nobody for the time"
            )
        for field in stated_policies(part):
            if field in ("retry", "attempt_timeout"):
                raise DefinitionError(
                    f"check_limits_do_not_matter(): {path} states {field}=, and attempts depend "
                    "on the time that is left: I7 is about runs that ask nobody for it"
                )


def _is_limited(part: Part) -> bool:
    each = part.each if isinstance(part, Node) else None
    return part.stated_timeout is not None or (each is not None and each.item_timeout is not None)


def _raised(pipeline: Pipeline, paths: set[str], factor: float) -> Pipeline:
    """The same pipeline with some limits raised."""

    def new(path: str, part: Part, **changes: Any) -> Any:
        if path in paths and isinstance(part.timeout, Adaptive):
            bounds = {name: getattr(part.timeout, name) * factor for name in _BOUNDS}
            changes["timeout"] = attrs.evolve(part.timeout, **bounds)
        elif path in paths and part.stated_timeout is not None:
            changes["timeout"] = part.stated_timeout * factor
        each = part.each if isinstance(part, Node) else None
        if path in paths and each is not None and each.item_timeout is not None:
            changes["each"] = attrs.evolve(each, item_timeout=each.item_timeout * factor)
        return attrs.evolve(part, **changes)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DefinitionWarning)  # a raised limit may well be clamped
        stages = [
            new(
                label_of((stage.name, "")),
                stage,
                nodes=[new(label_of((stage.name, node.name)), node) for node in stage.nodes],
            )
            for stage in pipeline.stages
        ]
        changed: Pipeline = new(
            f"pipeline {pipeline.name!r}", pipeline, stages=stages, sum_must_fit=False
        )
        return changed


def _limit_fired(recording: Recording) -> bool:
    """Whether a limit passed while the level that has it, or a part below it, went on."""
    result = recording.result
    if result is None:
        return recording.cancels.caller_deadline is not None
    outcomes = dict(outcomes_of(result))
    ends = {key: part.started + part.elapsed for key, part in outcomes.items()}
    ends["", ""] = result.elapsed
    return any(
        blame is not None and blame.kind in (Kind.TIMEOUT, Kind.QUEUE)
        for blame in (result.blame, *(part.blame for part in outcomes.values()))
    ) or any(
        cut.by_limit and cut.own_at <= ends[key]
        for key, chain in recording.timeline.cuts.items()
        for cut in chain
    )


# -- comparing --------------------------------------------------------------------------------


def _blamed(blame: Blame | None) -> tuple[str, str, str] | None:
    return None if blame is None else (blame.level, blame.name, str(blame.kind))


def _statuses(recording: Recording) -> _Facts:
    """Statuses and blames."""
    facts: _Facts = {"the caller's Cancelled came through": recording.raised}
    result = recording.result
    if result is None:
        return facts
    facts["status of the run"] = str(result.status)
    facts["blame of the run"] = _blamed(result.blame)
    for key, outcome in outcomes_of(result):
        facts[f"status of {label_of(key)}"] = str(outcome.status)
        facts[f"blame of {label_of(key)}"] = _blamed(outcome.blame)
    return facts


def _values(recording: Recording) -> _Facts:
    """Statuses, values and what is partial."""
    facts = {name: fact for name, fact in _statuses(recording).items() if "blame" not in name}
    result = recording.result
    if result is None:
        return facts
    facts["value of the run"] = result.value
    facts["degraded parts"] = sorted(result.degraded)
    facts["partial values"] = dict(result.partial)
    for key, outcome in outcomes_of(result):
        facts[f"value of {label_of(key)}"] = outcome.value
        facts[f"error of {label_of(key)}"] = repr(outcome.error)
    return facts


def _everything(recording: Recording) -> _Facts:
    """Statuses, blames, values and instants; the order of completion within an instant is free."""
    facts = _statuses(recording) | _values(recording)
    facts["end of the run"] = round(recording.returned_at, _DIGITS)
    result = recording.result
    if result is None:
        return facts
    for key, outcome in outcomes_of(result):
        facts[f"start of {label_of(key)}"] = round(outcome.started, _DIGITS)
        facts[f"end of {label_of(key)}"] = round(outcome.started + outcome.elapsed, _DIGITS)
    return facts


def _compare(
    number: str,
    words: str,
    how: str,
    one: Recording,
    other_how: str,
    other: Recording,
    facts: Callable[[Recording], _Facts],
) -> None:
    mine, others = facts(one), facts(other)
    for name in dict.fromkeys([*mine, *others]):
        here, there = mine.get(name, "unknown"), others.get(name, "unknown")
        if _equal(here, there):
            continue
        pictures = "\n\n".join(
            f"{title}:\n{picture(recording.timeline, recording.result)}"
            for title, recording in ((how, one), (other_how, other))
        )
        raise InvariantError(
            number,
            words,
            f"{name}: {here!r} {how}, {there!r} {other_how}",
            f"the same both times; does a node ask for the time, or keep something?\n\n{pictures}",
        )


def _equal(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # noqa: BLE001 - arrays and the like have no truth
        return repr(one) == repr(other)
