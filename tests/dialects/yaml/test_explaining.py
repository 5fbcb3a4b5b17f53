"""What is explained of a step is what happens to it: by examples, and by files made at random."""

import json
import os
from textwrap import dedent
from unittest.mock import patch

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from graceline import DefinitionError, cleanup, open_engine
from graceline.dialects.yaml import Explanation, loads, outline
from graceline.errors import GracelineError

LONG = 100_000.0
"""Seconds: later than any limit of a file here."""


@attrs.define
class Stuck:
    """A tool that hangs, fails or cleans up for ever, and the instants at which it was called and cut."""

    ending: str
    victim: object = None
    called: list = attrs.field(factory=list)
    cut: list = attrs.field(factory=list)
    cleaned: list = attrs.field(factory=list)

    def find(self, name):
        return {"stuck": self.stuck, "wait": self.wait}[name]

    async def wait(self, seconds):
        await trio.sleep(seconds)

    async def stuck(self, item=None):
        if item != self.victim:
            return
        self.called.append(trio.current_time())
        if self.ending == "fail":
            raise ValueError("it fails")
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.cut.append(trio.current_time())
            if self.ending == "clean up":
                with cleanup():
                    await trio.sleep_forever()
                self.cleaned.append(trio.current_time())
            raise


# Quarters of seconds: their sums are exact.
quarters = st.integers(4, 40).map(lambda count: count / 4)
maybe = st.none() | quarters
cleanups = st.none() | st.tuples(
    st.sampled_from(["grace", "reserve"]), st.sampled_from([0.25, 0.5, 2.0, 8.0])
)


@st.composite
def cases(draw):
    """A file as text, how its step ends, and how long is waited before the step."""
    step = {"id": "a", "tool": "stuck", "dependencies": []}
    config, stage = {}, {"id": "s"}
    for holder, keys in (
        (step, ("timeout", "total_timeout")),
        (stage, ("timeout", "default_timeout")),
        (config, ("timeout", "default_timeout")),
    ):
        for key in keys:
            limit = draw(maybe)
            if limit is not None:
                holder[key] = limit
    for holder, limit in ((step, "total_timeout"), (stage, "timeout"), (config, "timeout")):
        found = draw(cleanups)
        if found and (found[0] == "grace" or found[1] < holder.get(limit, 0.0)):
            holder[found[0]] = found[1]
    if draw(st.booleans()):
        step["metadata"] = {"timeout": draw(quarters)}
    if draw(st.integers(0, 9)) == 0:
        step["timeout"] = draw(
            st.sampled_from([".inf", {"initial": draw(quarters), "ceiling": LONG}])
        )
    ending = draw(st.sampled_from(["hang", "fail", "clean up"]))
    victim = None
    if draw(st.booleans()):
        step |= {"for_each": [0, 1, 2], "parameters": {"item": "{{ item }}"}}
        step["max_parallel"] = draw(st.integers(1, 3))
        victim = draw(st.integers(0, 2))
    learns = isinstance(step.get("timeout"), dict)
    if ending != "clean up" and not learns and draw(st.booleans()):
        step["max_retries"] = draw(st.integers(1, 6))
        step["backoff"] = draw(
            st.sampled_from(
                [{"initial": 0}, {"initial": 0.5, "max": 1}, {"initial": 0.25, "factor": 1}]
            )
        )
        idempotent = draw(st.sampled_from([None, True, False]))
        if idempotent is not None:
            step["idempotent"] = idempotent
    elif ending == "hang" and not learns and draw(st.integers(0, 3)) == 0:
        step |= {"idempotent": True, "hedge": {"delay": draw(quarters), "max_extra": 1}}
    before, beside = draw(st.sampled_from([0, 0.25])), draw(st.sampled_from([0, 0.25]))

    def waiting(name, seconds):
        return {"id": name, "tool": "wait", "timeout": ".inf", "parameters": {"seconds": seconds}}

    step["dependencies"] = ["beside"] if beside else []
    steps = [*([waiting("beside", beside)] if beside else []), step]
    if draw(st.booleans()):
        first = [{"id": "t", "steps": [waiting("before", before)]}] if before else []
        held = {"stages": [*first, {**stage, "steps": steps}]}
    else:
        before, held = 0, {"steps": steps}
    text = json.dumps({"id": "p", "config": config, **held}, indent=1).replace('".inf"', ".inf")
    return text, ending, victim, before, beside, draw(st.sampled_from([0.0, 0.5, 1.0]))


async def happens(file, share):
    """What happens in a run, or None if it goes on for ever."""
    with patch("graceline.engine.core.random.random", lambda: share):
        async with open_engine() as engine:
            with trio.move_on_after(LONG / 2):
                return await engine.run(file.pipeline())
    return None


def check_case(case):
    text, ending, victim, before, beside, share = case
    tool = Stuck(ending, victim)
    file = loads(text, file="f.yaml", tools=tool)
    start = before + beside
    said = file.explain("a", into_stage=beside, into_run=start, backoff=share)
    result = trio.run(happens, file, share, clock=MockClock(autojump_threshold=0))
    ends = said.retries.failing if ending == "fail" else said.retries.hanging
    if ends.after is None:
        assert result is None
        assert said.first is None
        return
    if said.first is not None:
        check_overtaking(file, said, before, beside)
    outcome = result.node("a")
    if said.first is not None and said.first.after <= 0:
        assert (tool.called, ends.attempts) == ([], 0)
        assert (result.blame.level, result.blame.name) == (said.first.level, said.first.name)
        return
    if "hedge" not in text:
        assert len(tool.called) == ends.attempts
    assert tool.called[0] == start
    if ending != "fail":
        assert tool.cut[0] - start == said.first.after
    if ending != "clean up":
        assert outcome.elapsed == ends.after
    blame = outcome.blame
    if ends.why == "limit" or ending != "fail":
        item = victim is not None and ends.level == "attempt"
        name = f"{ends.name}[{victim}]" if item else ends.name
        assert (blame.kind, blame.level, blame.name) == ("timeout", ends.level, name)
        limit = next(one.limit for one in said.levels if one.level == ends.level)
        assert blame.limit == limit
        assert f"{limit:g}" in text or limit == said.levels[0].limit
    else:
        assert (blame.kind, blame.level, blame.name) == ("failed", "node", "a")
    if said.retries.attempts == 1 and ending != "fail" and "hedge" not in text:
        assert (ends.after, ends.level) == (said.first.after, said.first.level)
    if ending == "clean up":
        assert tool.cleaned[0] - tool.cut[0] == said.cleanup.after_first
        assert (said.cleanup.after_first < said.cleanup.grace) == bool(said.cleanup.clamped_by)


def check_overtaking(file, said, before, beside):
    """What is said of a step that starts at once tells what happens to one that starts later."""
    at_once = file.explain("a")
    passed = {"stage": beside, "pipeline": before + beside}
    if at_once.first.level == "stage":
        passed["pipeline"] = before
    over = [
        one.level
        for one in at_once.levels
        if one.overtakes_after is not None and passed[one.level] >= one.overtakes_after
    ]
    if over:
        assert said.first.level in over
    else:
        assert said.first.level == at_once.first.level


FILES = max(300, int(os.environ.get("GRACELINE_FUZZ", "0")) // 100)  # each is run


@given(case=cases())
@settings(deadline=None, max_examples=FILES, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_explained_is_what_runs(case):
    """For files made at random: when the step is cut, how often it is tried, and who is blamed."""
    check_case(case)


@pytest.mark.parametrize(
    ("config", "stage", "left", "by"),
    [
        ("timeout: 3, grace: 0.25", "grace: 4", 1.25, "pipeline"),
        ("timeout: 9, grace: 0.25", "timeout: 3, grace: 1", 2, "stage"),
        ("timeout: 9, grace: 0.25", "timeout: 8, grace: 1", 4, None),
    ],
)
def test_the_grace_of_a_level_above(config, stage, left, by):
    """Cleanup has the grace of its step, and no more than the graces of the levels above leave."""
    text = (
        f"id: p\nconfig: {{{config}}}\nstages:\n- {{id: s, {stage}, steps: [{{id: a, tool: stuck, "
        "timeout: 2, grace: 4}]}"
    )
    check_case((text, "clean up", None, 0, 0, 0.0))
    cleanup = explained(text).cleanup
    assert (cleanup.after_first, cleanup.clamped_by) == (left, by)


def explained(text, **options):
    return loads(dedent(text), file="f.yaml", tools=Stuck("hang")).explain("a", **options)


def test_each_place_that_was_looked_at():
    """What holds, what is stated and stands back, and what is not stated, in order."""
    said = explained(
        """
        id: p
        config: {timeout: 2m, default_timeout: 30, grace: 1}
        stages:
          - id: s
            timeout: 1m
            steps:
              - {id: a, tool: stuck, metadata: {timeout: 20}}
        """
    )
    assert [(one.key, one.standing, one.limit, one.at) for one in said.levels[0].candidates] == [
        ("step timeout", "not stated", None, None),
        ("step metadata.timeout", "holds", 20, "f.yaml:8:50"),
        ("stage default_timeout", "not stated", None, None),
        ("config default_timeout", "stands back", 30, "f.yaml:3:40"),
    ]
    assert [one.level for one in said.levels] == ["attempt", "node", "stage", "pipeline"]
    assert [one.overtakes_after for one in said.levels] == [None, None, 40, 100]
    assert said.summary == "cut after 20s by step metadata.timeout, f.yaml:8:50"
    assert (said.cleanup.grace, said.cleanup.after_first) == (1, 1)
    assert [one.key for one in said.cleanup.candidates if one.standing != "not stated"] == [
        "config grace",
        "the default for files",
    ]


def test_what_it_waits_for():
    """What it needs, the stages before its own, and who needs it."""
    said = loads(
        dedent(
            """
            id: p
            stages:
              - {id: one, steps: [{id: x, tool: stuck}]}
              - id: two
                steps:
                  - {id: a, tool: stuck, dependencies: x, condition: true, on_error: skip}
                  - {id: y, tool: stuck, dependencies: a}
            """
        ),
        tools=Stuck("hang"),
    ).explain("a")
    assert (said.waits_for, said.waits_for_stages) == (("x",), ("one",))
    assert (said.waited_for_by, said.condition, said.on_error) == (("y",), True, "skip")


def test_the_document_has_the_names_of_the_attributes():
    """Plain JSON types, policies included."""
    said = explained(
        """
        id: p
        steps:
          - id: a
            tool: stuck
            timeout: {initial: 1, ceiling: 3}
            idempotent: true
            hedge: {delay: 2}
            breaker: {min_calls: 3}
            for_each: "{{ inputs }}"
        """
    )
    document = json.loads(json.dumps(said.to_dict(), allow_nan=False))
    assert list(document) == [field.name for field in attrs.fields(Explanation)]
    assert document["levels"][0]["learned"]["ceiling"] == 3
    assert (document["hedge"]["delay"], document["breaker"]["min_calls"]) == (2, 3)
    assert document["for_each"] == {"items": None, "max_parallel": 8}
    assert said.summary == "cut after 1s by step timeout (learned), f.yaml:6:14"


def test_a_copy_that_is_learned_may_double_an_attempt():
    """A second copy has a limit of its own, and is sent before that of the first has passed."""
    text = "id: p\nsteps: [{id: a, tool: stuck, timeout: 3, idempotent: true, hedge: {}}]"
    assert explained(text).retries.hanging.after == 6


def test_the_retry_budget_counts_in_seconds_of_the_clock():
    """A retry is given back after more than nine seconds and up to ten: it depends on the start."""
    step = "{id: a, tool: stuck, timeout: 2.75, max_retries: 4, backoff: {initial: 0.5, max: 1}}"
    said = [
        explained(f"id: p\nsteps: [{step}]", into_run=start, backoff=0.5).retries.hanging
        for start in (0, 0.25)
    ]
    assert [(one.attempts, one.why) for one in said] == [(5, "attempts"), (4, "budget")]


def test_a_step_whose_time_is_over_before_it_starts():
    """It is never tried; the level that has ended is to blame."""
    text = "id: p\nconfig: {timeout: 9}\nsteps: [{id: a, tool: stuck, timeout: 3}]"
    said = explained(text, into_run=9.5)
    assert (said.first.level, said.retries.hanging.attempts) == ("pipeline", 0)
    assert said.summary == "cut after 0s by config timeout, f.yaml:2:19"


def test_so_many_attempts_are_looked_at():
    """Retries that go on for weeks are not counted to the end."""
    text = "id: p\nsteps: [{id: a, tool: stuck, timeout: 9, max_retries: 1000000}]"
    ended = explained(text).retries.hanging
    assert (ended.attempts, ended.after, ended.why) == (100, None, "never")


def test_a_step_that_is_not_there():
    """The nearest one is named; a file with phases has none."""
    with pytest.raises(DefinitionError, match="there is no step 'ab' in <text>; did you mean 'a'"):
        loads("id: p\nsteps: [{id: a, tool: stuck}]", tools=Stuck("hang")).explain("ab")
    with pytest.raises(GracelineError, match="<text> holds phases, and no steps"):
        loads("id: p\nphases: [{name: a, commands: [{command: [echo]}]}]").explain("a")


def test_a_file_is_outlined_without_its_tools(tmp_path):
    """To look at a file nobody needs what it calls; what else is wrong with it is told."""
    path = tmp_path / "p.yaml"
    path.write_text("id: p\nsteps: [{id: a, tool: nobody_has_it, runs_on: process, timeout: 3}]")
    assert outline(path).explain("a").first.after == 3
    path.write_text("id: p\nsteps: [{id: a, tol: x}]")
    with pytest.raises(DefinitionError, match="did you mean 'tool'"):
        outline(path)
