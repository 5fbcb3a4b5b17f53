"""What a file says is what runs: each key does what the table of keys says."""

import math

import attrs
import pytest
import trio
import trio.testing

from graceline import Adaptive, Breaker, GracelineError, Hedge, open_engine
from graceline.dialects.yaml import FileError
from graceline.dialects.yaml.files import parts_of


def seconds_of(tools, name="work"):
    return [call[1] for call in tools.calls if call[0] == name]


@pytest.mark.keys("file.id", "file.name", "file.steps", "step.id", "step.tool", "step.parameters")
async def test_a_file_without_stages(autojump_clock, run, tools):
    """Its steps form one stage; steps that depend on nothing run at once."""
    result = await run(
        """
        id: two
        name: Two steps
        steps:
          - {id: a, tool: work, parameters: {seconds: 3, result: 1}}
          - {id: b, tool: work, parameters: {seconds: 3, result: 2}}
        """
    )
    assert (result.pipeline, result.status, result.value) == ("two", "ok", {"a": 1, "b": 2})
    assert list(result.stages) == ["two"]
    assert result.elapsed == 3


@pytest.mark.keys("file.name", "step.id")
async def test_a_name_alone_is_an_id(autojump_clock, run):
    """`name` stands for `id`, of a file and of a step."""
    result = await run("name: one\nsteps: [{name: a, tool: note}]")
    assert (result.pipeline, result.node("a").status) == ("one", "ok")


@pytest.mark.keys("file.stages", "stage.id", "stage.steps", "stage.timeout")
async def test_stages_are_a_sequence(autojump_clock, run, tools):
    """A stage begins when the one before has ended; its limit is that of all its steps."""
    result = await run(
        """
        id: p
        stages:
          - id: one
            steps: [{id: a, tool: work, parameters: {seconds: 3}}]
          - id: two
            timeout: 4s
            steps: [{id: b, tool: work, parameters: {seconds: 9}}]
        """
    )
    assert seconds_of(tools) == [0, 3]
    assert (result.status, result.blame.level, result.blame.limit) == ("timed_out", "stage", 4)
    assert result.elapsed == 7


@pytest.mark.keys("stage.critical", "step.on_error")
async def test_a_stage_that_is_not_critical(autojump_clock, run):
    """Its failure does not end the run; later stages can look at it."""
    result = await run(
        """
        id: p
        stages:
          - id: one
            critical: false
            steps: [{id: a, tool: work, parameters: {fail: 1}}]
          - id: two
            steps: [{id: b, tool: note, parameters: {gives: "{{ a.error }}"}}]
        """
    )
    assert (result.status, result.degraded, result.value) == ("ok", ("one",), "failed 1 times")


@pytest.mark.keys("file.config", "config.timeout")
async def test_the_limit_of_the_whole(autojump_clock, run):
    """`config.timeout` cuts the pipeline."""
    result = await run(
        """
        id: p
        config: {timeout: 2s}
        steps: [{id: a, tool: work, parameters: {seconds: 9}}]
        """
    )
    assert (result.status, result.blame.level, result.elapsed) == ("timed_out", "pipeline", 2)


async def test_no_default_of_an_engine_applies(autojump_clock, read):
    """Without a limit in the file there is none, and cleanup has 5 seconds."""
    file = read("id: p\nsteps: [{id: a, tool: work, parameters: {seconds: 90}}]")
    async with open_engine(attempt_timeout=1, breaker=Breaker(mode="forced_open")) as engine:
        result = await engine.run(file.pipeline())
    assert (result.status, result.elapsed) == ("ok", 90)
    pipeline = file.pipeline()
    assert (pipeline.grace, pipeline.timeout, pipeline.fail_fast) == (5, math.inf, True)
    assert (pipeline.strict, pipeline.retry, pipeline.attempt_timeout) == (False, None, None)
    assert (pipeline.breaker, pipeline.hedge, pipeline.limit) == (None, None, None)


@pytest.mark.keys("config.grace", "stage.grace", "step.grace")
@pytest.mark.parametrize("level", ["config", "stage", "step"])
@pytest.mark.parametrize(("grace", "seconds"), [("", 5), (", grace: 7", 7)])
async def test_time_for_cleanup_after_a_limit(autojump_clock, run, level, grace, seconds):
    """`grace` is how long cleanup may take after the limit of its level; else it is 5 seconds."""
    limits = dict.fromkeys(("config", "stage", "step"), "")
    limits[level] = f"timeout: 9{grace}"
    result = await run(
        f"""
        id: p
        config: {{{limits["config"]}}}
        stages:
          - {{id: one, steps: [{{id: a, tool: work, parameters: {{seconds: 20}},
               cleanup: {{tool: work, parameters: {{seconds: 20}}}}, {limits["step"]}}}],
             {limits["stage"]}}}
        """
    )
    assert (result.status, result.elapsed) == ("timed_out", 9 + seconds)


@pytest.mark.keys("config.reserve", "stage.reserve", "step.reserve", "step.total_timeout")
def test_time_for_cleanup_inside_a_limit(read):
    """`reserve` is carved out of the limit of its own level."""
    pipeline = read(
        """
        id: p
        config: {timeout: 9, reserve: 2}
        stages:
          - id: s
            timeout: 5
            reserve: 1
            steps: [{id: a, tool: note, total_timeout: 3, reserve: 500ms}]
        """
    ).pipeline()
    stage = pipeline.stages[0]
    assert [(part.reserve, part.grace) for part in (pipeline, stage, stage.nodes[0])] == [
        (2, None),
        (1, None),
        (0.5, None),
    ]


@pytest.mark.keys("config.fail_fast")
@pytest.mark.parametrize(("fail_fast", "status"), [("true", "cancelled"), ("false", "ok")])
async def test_fail_fast(autojump_clock, run, fail_fast, status):
    """The first failure cancels what runs beside it, unless the file says otherwise."""
    result = await run(
        f"""
        id: p
        config: {{fail_fast: {fail_fast}}}
        steps:
          - {{id: a, tool: work, parameters: {{seconds: 1, fail: 1}}}}
          - {{id: b, tool: note, parameters: {{}}, dependencies: c}}
          - {{id: c, tool: work, parameters: {{seconds: 0.5}}}}
          - {{id: d, tool: work, parameters: {{seconds: 5}}}}
        """
    )
    found = (result.status, result.node("a").status, result.node("d").status)
    assert found == ("failed", "failed", status)


@pytest.mark.keys("config.max_parallel")
async def test_steps_at_once(autojump_clock, run, tools):
    """`config.max_parallel` is how many steps run at once; waiting is no part of an attempt."""
    steps = "".join(
        f"  - {{id: s{n}, tool: work, timeout: 3, parameters: {{seconds: 2}}}}\n" for n in range(5)
    )
    result = await run(f"id: p\nconfig: {{max_parallel: 2}}\nsteps:\n{steps}")
    assert result.status == "ok"
    assert seconds_of(tools) == [0, 0, 2, 2, 4]


@pytest.mark.keys("step.timeout")
async def test_the_limit_of_an_attempt(autojump_clock, run):
    """`timeout` is the limit of one attempt."""
    result = await run("id: p\nsteps: [{id: a, tool: work, timeout: 2, parameters: {seconds: 9}}]")
    assert (result.status, result.blame.level, result.blame.limit) == ("timed_out", "attempt", 2)


@pytest.mark.keys("step.max_retries")
async def test_retries(autojump_clock, run, tools):
    """`max_retries` counts the tries after the first; they wait up to the backoff."""
    result = await run(
        """
        id: p
        steps:
          - id: a
            tool: work
            parameters: {fail: 3, result: done}
            max_retries: 3
            backoff: {initial: 100ms, max: 200ms}
        """
    )
    assert (result.status, result.value, result.node("a").attempts) == ("ok", "done", 4)
    assert 0 < seconds_of(tools)[-1] <= 0.5


@pytest.mark.keys("step.backoff", "backoff.initial", "backoff.max", "backoff.factor")
def test_a_backoff_is_that_of_a_retry(read):
    """All that a backoff says is handed to the policy."""
    file = read(
        """
        id: p
        steps:
          - id: a
            tool: note
            max_retries: 2
            backoff: {initial: 1, max: 20, factor: 3}
        """
    )
    retry = file.pipeline().stages[0].nodes[0].retry
    assert (retry.attempts, retry.backoff, retry.max_backoff, retry.factor) == (3, 1, 20, 3)


async def test_an_attempt_that_timed_out_is_tried_again(autojump_clock, run, tools):
    """A timeout of an attempt is a failure as any other."""
    result = await run(
        """
        id: p
        steps:
          - {id: a, tool: work, parameters: {seconds: 5}, timeout: 1, max_retries: 2}
        """
    )
    assert (result.status, result.node("a").attempts) == ("timed_out", 3)
    assert len(seconds_of(tools)) == 3


@pytest.mark.keys("step.total_timeout")
async def test_the_limit_of_all_attempts(autojump_clock, run, tools):
    """`total_timeout` bounds attempts and backoffs together."""
    result = await run(
        """
        id: p
        steps:
          - id: a
            tool: work
            parameters: {seconds: 3, fail: 99}
            max_retries: 50
            backoff: {initial: 0}
            total_timeout: 10
        """
    )
    assert (result.status, result.blame.level, result.elapsed) == ("timed_out", "node", 10)
    assert seconds_of(tools) == [0, 3, 6, 9]


@pytest.mark.keys("step.dependencies")
async def test_dependencies_are_declared_and_found(autojump_clock, run, tools):
    """A step waits for what it names, and for what its templates refer to."""
    result = await run(
        """
        id: p
        steps:
          - {id: last, tool: work, dependencies: [first, middle]}
          - {id: middle, tool: work, parameters: {seconds: "{{ first.result }}"}}
          - {id: first, tool: work, parameters: {seconds: 2, result: 3}}
        """
    )
    assert seconds_of(tools) == [0, 2, 5]
    assert result.completed == ("first", "middle", "last")


@pytest.mark.keys("step.condition")
async def test_a_condition_skips(autojump_clock, run):
    """A step whose condition is false is skipped, and what depends on it runs."""
    result = await run(
        """
        id: p
        steps:
          - {id: a, tool: note, parameters: {gives: 3}}
          - {id: b, tool: note, condition: "{{ a.result > 5 }}"}
          - {id: c, tool: note, parameters: {gives: "{{ b.status }}"}}
          - {id: d, tool: note, condition: false}
          - {id: e, tool: note, condition: true, dependencies: c}
        """
    )
    found = {name: result.node(name).status for name in "abcde"}
    assert found == {"a": "ok", "b": "skipped", "c": "ok", "d": "skipped", "e": "ok"}
    assert result.node("c").value == "skipped"


@pytest.mark.parametrize(
    ("condition", "status"),
    [("{% if 1 > 2 %}true{% else %}False{% endif %}", "skipped"), (" {{ 'true' }} ", "ok")],
)
async def test_a_condition_may_be_a_text(autojump_clock, run, condition, status):
    """`true` and `false` mean the same as texts."""
    result = await run(f'id: p\nsteps: [{{id: a, tool: note, condition: "{condition}"}}]')
    assert result.node("a").status == status


async def test_a_condition_that_is_neither_fails(autojump_clock, run):
    """A condition that gives some text is a mistake, and with `continue` others can look at it."""
    result = await run(
        """
        id: p
        steps:
          - {id: a, tool: note, condition: "{{ 'no' }}", on_error: continue}
          - {id: b, tool: note, parameters: {gives: "{{ a.status }}: {{ a.error }}"}}
        """
    )
    assert result.degraded == ("a",)
    assert result.node("b").value == "failed: a condition is true or false, and this one gives 'no'"


@pytest.mark.keys("step.on_error")
async def test_what_failed_and_may_is_looked_at(autojump_clock, run):
    """`on_error: continue`: dependents run and see the error; the run names it in `degraded`."""
    result = await run(
        """
        id: p
        steps:
          - {id: a, tool: work, parameters: {fail: 1}, on_error: continue}
          - id: b
            tool: note
            condition: "{{ steps.a.error != None }}"
            parameters: {gives: "{{ a.status }}: {{ a.error }}"}
          - {id: c, tool: work, parameters: {seconds: 2}, timeout: 1, on_failure: continue}
          - {id: d, tool: note, parameters: {gives: "{{ c.status }}: {{ c.error }}"}}
        """
    )
    assert (result.status, set(result.degraded)) == ("ok", {"a", "c"})
    assert result.value == {
        "b": "failed: failed 1 times",
        "d": "timed_out: attempt 'c' exceeded its limit of 1s",
    }


@pytest.mark.keys("step.on_error")
async def test_what_failed_may_be_skipped_for(autojump_clock, run):
    """`on_error: skip`: all that depends on it, also by others, is skipped; the rest goes on."""
    result = await run(
        """
        id: p
        stages:
          - id: one
            steps:
              - {id: a, tool: work, parameters: {fail: 1}, on_error: skip}
              - {id: b, tool: note, dependencies: a}
              - {id: c, tool: note}
          - id: two
            steps:
              - {id: d, tool: note, parameters: {x: "{{ b.status }}"}}
              - {id: e, tool: note, dependencies: c}
        """
    )
    assert (result.status, result.degraded) == ("ok", ("a",))
    assert {name: result.node(name).status for name in "abcde"} == {
        "a": "failed",
        "b": "skipped",
        "c": "ok",
        "d": "skipped",
        "e": "ok",
    }


async def test_what_succeeds_is_not_skipped_for(autojump_clock, run):
    """`on_error: skip` means nothing where there is no error; nor does a condition that is false."""
    result = await run(
        """
        id: p
        steps:
          - {id: a, tool: note, on_error: skip}
          - {id: b, tool: note, on_error: skip, condition: false}
          - {id: c, tool: note, dependencies: [a, b]}
        """
    )
    assert (result.node("c").status, result.degraded) == ("ok", ())


async def test_what_may_be_skipped_for_may_also_fail(autojump_clock, run):
    """Behind a step with `skip` that went well, one with `continue` means what it always means."""
    result = await run(
        """
        id: p
        steps:
          - {id: a, tool: note, on_error: skip}
          - {id: b, tool: work, parameters: {fail: 1}, dependencies: a, on_error: continue}
          - {id: c, tool: note, dependencies: b}
        """
    )
    assert (result.node("b").status, result.node("c").status) == ("failed", "ok")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_functions_may_answer_that_they_failed(autojump_clock, run, tools, kind):
    """The answer of a function is understood as that of a tool, and kept as what it has left."""
    answer = {"success": False, "error": "no luck", "left": 3}

    async def later():
        return answer

    tools.found["fail"] = later if kind == "async" else lambda: answer
    result = await run(
        """
        id: p
        steps:
          - {id: a, tool: fail, on_error: continue}
          - {id: b, tool: note, parameters: {gives: "{{ a.result.left }}: {{ a.error }}"}}
        """
    )
    assert (result.degraded, result.value) == (("a",), "3: no luck")


async def test_a_failure_ends_the_run(autojump_clock, run):
    """By default a step that fails fails the run, and what depends on it is skipped."""
    result = await run(
        """
        id: p
        steps:
          - {id: a, tool: note, parameters: {gives: {success: false, error: no luck}}}
          - {id: b, tool: note, dependencies: a}
        """
    )
    assert (result.status, result.node("b").status) == ("failed", "skipped")
    assert "no luck" in str(result.node("a").error)


async def test_a_refused_step_can_be_looked_at(autojump_clock, run):
    """A step that never started says what refused it, where it may fail."""
    result = await run(
        """
        id: p
        steps:
          - {id: a, tool: note, on_error: continue, breaker: {mode: forced_open}}
          - {id: b, tool: note, parameters: {gives: "{{ a.status }}: {{ a.error }}"}}
        """
    )
    assert result.node("b").value == "rejected: breaker 'p.p.a' is open by mode='forced_open'"


async def test_a_breaker_that_has_opened_is_the_error_of_the_step(autojump_clock, read, engine):
    """A run after the failures sees why nothing was tried; the same where only outputs look."""
    file = read(
        """
        id: p
        steps:
          - {id: a, tool: work, parameters: {fail: 9}, on_error: continue,
             breaker: {consecutive: 1, open_for: 60}}
        outputs: {a: "{{ a.status }}: {{ a.error }}"}
        """
    )
    first = await engine.run(file.pipeline())
    second = await engine.run(file.pipeline())
    assert first.value == {"a": "failed: failed 1 times"}
    assert second.value["a"].startswith("rejected: breaker 'p.p.a' is open")


@pytest.mark.keys("step.for_each", "step.max_parallel")
async def test_a_step_for_each_item(autojump_clock, run, tools):
    """The list is what its template gives; items know their places, and are bounded in number."""
    result = await run(
        """
        id: p
        inputs: {files: {type: array}}
        steps:
          - id: a
            tool: work
            for_each: "{{ files }}"
            max_parallel: 2
            parameters:
              seconds: 1
              result: "{{ index }}/{{ length }} {{ item }} {{ is_first }} {{ is_last }}"
          - {id: b, tool: note, for_each: [3, "{{ a.result[0] }}"], parameters: {gives: "{{ item }}"}}
        outputs: {a: "{{ a.result }}", b: "{{ b.result }}"}
        """,
        {"files": ["x", "y", "z"]},
    )
    assert result.value["a"] == ["0/3 x True False", "1/3 y False False", "2/3 z False True"]
    assert result.value["b"] == [3, "0/3 x True False"]
    assert seconds_of(tools) == [0, 0, 1]


async def test_the_limit_of_an_attempt_is_that_of_an_item(autojump_clock, run, tools):
    """With `for_each`, `timeout` and retries are those of each item."""
    result = await run(
        """
        id: p
        steps:
          - id: a
            tool: work
            for_each: [1, 1, 1, 5]
            max_parallel: 1
            timeout: 2
            max_retries: 1
            on_error: continue
            parameters: {seconds: "{{ item }}", result: "{{ item }}"}
          - {id: b, tool: note, parameters: {gives: "{{ a.result }} {{ a.error }}"}}
        """
    )
    assert len(seconds_of(tools)) == 5
    text = "[1, 1, 1] attempt 'a[3]' exceeded its limit of 2s"
    assert result.node("b").value.startswith(text)


async def test_what_is_no_list_fails(autojump_clock, run):
    """A template of `for_each` that gives something else is an error of its step."""
    result = await run("id: p\nsteps: [{id: a, tool: note, for_each: \"{{ 'abc' }}\"}]")
    assert "for_each needs a list, and this is a str" in str(result.node("a").error)


@pytest.mark.keys("step.breaker", *(f"breaker.{name}" for name in (
    "failure_rate", "min_calls", "window", "consecutive", "slow_rate", "slow_after", "open_for",
    "max_open_for", "probes", "probe_max", "mode", "name",
)))  # fmt: skip
def test_a_breaker_is_that_of_a_step(read):
    """All that a breaker says is handed to the policy."""
    stated = {
        "failure_rate": 0.25, "min_calls": 4, "window": 60.0, "consecutive": 3, "slow_rate": 0.75,
        "slow_after": 2.0, "open_for": 5.0, "max_open_for": 50.0, "probes": 2, "probe_max": 7.0,
        "mode": "metrics_only", "name": "shared",
    }  # fmt: skip
    file = read(f"id: p\nsteps: [{{id: a, tool: note, breaker: {stated}}}]".replace("'", ""))
    breaker = file.pipeline().stages[0].nodes[0].breaker
    assert {name: getattr(breaker, name) for name in stated} == stated


async def test_a_breaker_opens_over_several_runs(autojump_clock, read, engine, tools):
    """A file may be run again and again, and its breakers remember."""
    file = read(
        "id: p\nsteps: [{id: a, tool: work, parameters: {fail: 9}, breaker: {consecutive: 2}}]"
    )
    statuses = [(await engine.run(file.pipeline())).status for _ in range(3)]
    assert statuses == ["failed", "failed", "rejected"]


@pytest.mark.keys("step.hedge", "step.idempotent", "hedge.delay", "hedge.min_samples",
                  "hedge.max_extra", "hedge.loser_grace")  # fmt: skip
async def test_a_hedge_sends_a_copy(autojump_clock, read, engine, tools):
    """All that a hedge says is handed to the policy, and a slow attempt gets a second copy."""
    file = read(
        """
        id: p
        steps:
          - id: a
            tool: work
            parameters: {seconds: 5}
            idempotent: true
            hedge: {delay: 1, min_samples: 7, max_extra: 1, loser_grace: 2}
        """
    )
    node = file.pipeline().stages[0].nodes[0]
    assert node.hedge == Hedge(delay=1, min_samples=7, max_extra=1, loser_grace=2)
    await engine.run(file.pipeline())
    assert seconds_of(tools) == [0, 1]


@pytest.mark.keys("step.idempotent")
async def test_what_may_not_be_done_twice(autojump_clock, run, tools):
    """With `idempotent: false` an attempt that had started is not made again."""
    result = await run(
        """
        id: p
        steps:
          - {id: a, tool: work, parameters: {fail: 1}, max_retries: 3, idempotent: false}
        """
    )
    assert (result.status, len(seconds_of(tools))) == ("failed", 1)


@pytest.mark.keys("adaptive.initial", "adaptive.ceiling", "adaptive.floor", "adaptive.alpha")
def test_limits_that_learn(read):
    """Wherever a limit of attempts, of a stage or of the pipeline stands, it may be learned."""
    file = read(
        """
        id: p
        config: {timeout: {initial: 9, ceiling: 20}}
        stages:
          - id: s
            timeout: {initial: 5, ceiling: 10}
            default_timeout: {initial: 1, ceiling: 2}
            steps:
              - {id: a, tool: note, timeout: {initial: 200ms, ceiling: 3, floor: 0.1, alpha: 0.2}}
              - {id: b, tool: note}
        """
    )
    pipeline = file.pipeline()
    a, b = pipeline.stages[0].nodes
    assert pipeline.timeout == Adaptive(initial=9, ceiling=20)
    assert pipeline.stages[0].timeout == Adaptive(initial=5, ceiling=10)
    assert a.attempt_timeout == Adaptive(initial=0.2, ceiling=3, floor=0.1, alpha=0.2)
    assert b.attempt_timeout == Adaptive(initial=1, ceiling=2)


@pytest.mark.keys("step.runs_on")
@pytest.mark.parametrize(("where", "kind"), [("", "thread"), (", runs_on: process", "process")])
def test_where_a_function_runs(read, where, kind):
    """A plain function runs in a thread, or in a process if the step says so."""
    file = read(f"id: p\nsteps: [{{id: a, tool: plain{where}}}]")
    assert file.pipeline().stages[0].nodes[0].runs_on == kind


@pytest.mark.parametrize("where", ["thread", "process"])
async def test_a_function_gets_its_parameters_elsewhere(engine_without_limits, read, where):
    """Templates are evaluated before, so that a process needs the function and values only."""
    file = read(
        f"""
        id: p
        steps:
          - {{id: a, tool: note, parameters: {{gives: 3}}}}
          - id: b
            tool: plain
            runs_on: {where}
            for_each: [1, 2]
            parameters: {{x: "{{{{ a.result + item }}}}"}}
        """
    )
    result = await engine_without_limits.run(file.pipeline())
    assert result.value == [[("x", 4)], [("x", 5)]]


@pytest.fixture
async def engine_without_limits():
    """An engine on the real clock."""
    async with open_engine() as engine:
        yield engine


def test_what_does_not_run_there(problems):
    """An async tool runs nowhere but in the event loop."""
    (problem,) = problems("id: p\nsteps: [{id: a, tool: note, runs_on: process}]")
    assert problem == ("f.yaml:2:23: runs_on: 'process' does not fit; 'a' runs on coroutine")


@pytest.mark.keys("step.action")
async def test_actions(autojump_clock, run, tools):
    """A tool is told its action; an action alone is the registered function of that name."""
    result = await run(
        """
        id: p
        steps:
          - {id: a, tool: note, action: read, parameters: {path: x}}
          - {id: b, action: work, parameters: {result: 7}}
        """
    )
    assert ("read", {"path": "x"}) in tools.calls
    assert result.node("b").value == 7


def test_tools_that_do_not_exist(problems, tools):
    """Every unknown tool is told at once, with the nearest one; so are parameters of functions."""

    @tools.add
    def need(path, *args, **options): ...

    found = problems(
        """
        id: p
        steps:
          - {id: a, tool: nte}
          - {id: b, action: wrk, cleanup: {tool: plai}}
          - {id: c, tool: plain, action: x}
          - {id: d, tool: work, parameters: {second: 3}}
          - {id: e, tool: need}
        """
    )
    assert found == [
        "f.yaml:4:19: there is no tool 'nte'; did you mean 'note'?",
        "f.yaml:5:21: there is no tool 'wrk'; did you mean 'work'?",
        "f.yaml:5:35: there is no tool 'plai'; did you mean 'plain'?",
        "f.yaml:6:34: tool 'plain' is a function, which has no actions",
        "f.yaml:7:38: parameters: 'd' takes no 'second'; did you mean 'seconds'?",
        "f.yaml:8:19: parameters: 'e' needs 'path', which is not given",
    ]


@pytest.mark.keys("step.metadata")
def test_metadata_is_kept(read):
    """Metadata is free-form and comes with the node; its limit is one of attempts."""
    file = read("id: p\nsteps: [{id: a, tool: note, metadata: {timeout: 90, owner: me}}]")
    node = file.pipeline().stages[0].nodes[0]
    assert (dict(node.metadata), node.attempt_timeout, node.timeout) == ({"owner": "me"}, 90, None)


@pytest.mark.keys("file.outputs")
async def test_outputs_are_the_value_of_the_run(autojump_clock, run):
    """With `outputs` the run gives what their templates say; one that is missing fails the run."""
    text = """
        id: p
        steps: [{{id: a, tool: note, parameters: {{gives: {{text: hi}}}}}}]
        outputs: {{summary: "{{{{ steps.a.result.{0} }}}}", all: ["{{{{ execution.id }}}}"]}}
        """
    result = await run(text.format("text"))
    assert result.value == {"summary": "hi", "all": [result.run_id]}
    result = await run(text.format("txt"))
    assert (result.status, result.node("outputs").status) == ("failed", "failed")


@pytest.mark.keys("file.inputs", "input.type", "input.default")
async def test_inputs(autojump_clock, run):
    """Templates know inputs by name and under `inputs`, converted to what the file declares."""
    text = """
        id: p
        parameters:
          topic: {type: string, required: true}
          depth: {type: integer, default: 3}
        steps: [{id: a, tool: note, parameters: {gives: ["{{ topic }}", "{{ inputs.depth + 1 }}"]}}]
        """
    assert (await run(text, {"topic": "x"})).value == ["x", 4]
    assert (await run(text, {"topic": "x", "depth": "5"})).value == ["x", 6]
    result = await run(text, {"dept": 5})
    assert (result.status, result.completed) == ("failed", ())
    missing = "raised FileError: input 'topic' is missing, a value of type string"
    assert result.blame.message == f"when= of stage 'p' {missing}"
    result = await run(text, {"topic": ["secret"], "dept": 5})
    assert result.blame.message.endswith("raised FileError"), "values are payloads"
    result = await run(text, {"dept": 5})
    error = next(iter(result.stages.values())).error
    assert isinstance(error, FileError)
    assert str(error).splitlines() == [
        "f.yaml: input 'topic' is missing, a value of type string",
        "f.yaml: there is no input 'dept'; did you mean 'depth'?",
    ]


@pytest.mark.keys("input.required")
async def test_what_has_to_be_given(autojump_clock, run):
    """What is not required may be missing, and is none then."""
    text = """
        id: p
        inputs: {{topic: {{required: {}}}}}
        steps: [{{id: a, tool: note, parameters: {{gives: "{{{{ [topic] }}}}"}}}}]
        """
    assert (await run(text.format("false"))).value == [None]
    assert (await run(text.format("true"))).status == "failed"


async def test_runs_at_once_see_their_own(autojump_clock, read, engine):
    """Two runs of one pipeline at once have their own inputs and steps, and nothing is left."""
    file = read(
        """
        id: p
        inputs: {seconds: {type: number}}
        steps:
          - {id: a, tool: work, parameters: {seconds: "{{ seconds }}", result: "{{ seconds }}"}}
          - {id: b, tool: note, parameters: {gives: "{{ a.result }}"}}
        """
    )
    values = {}

    async def one(seconds):
        values[seconds] = (await engine.run(file.pipeline(), {"seconds": seconds})).value

    async with trio.open_nursery() as nursery:
        for seconds in (3, 1, 2):
            nursery.start_soon(one, seconds)
    assert values == {1: 1, 2: 2, 3: 3}
    assert file._built.runs._going == {}


async def test_a_run_inside_a_run(autojump_clock, read, engine, tools):
    """A tool may run another file, which has records of its own."""
    inner = read("id: i\nsteps: [{id: a, tool: note, parameters: {gives: inner}}]")

    @tools.add
    async def nest():
        return (await engine.run(inner.pipeline())).value

    outer = read(
        """
        id: o
        steps:
          - {id: a, tool: nest}
          - {id: b, tool: note, parameters: {gives: "{{ a.result }} of {{ execution.id }}"}}
        """
    )
    result = await engine.run(outer.pipeline())
    assert result.value == f"inner of {result.run_id}"


async def test_a_missing_value_fails_before_anything_is_done(autojump_clock, run, tools):
    """An unresolved reference fails its step, and its tool is not called."""
    result = await run(
        """
        id: p
        steps:
          - {id: a, tool: note, parameters: {gives: {x: 1}}}
          - {id: b, tool: note, parameters: {path: "out/{{ a.result.y }}"}}
        """
    )
    assert result.node("b").status == "failed"
    assert "y" in str(result.node("b").error)
    assert tools.calls == [(None, {"gives": {"x": 1}})]


async def test_a_function_that_does_not_say_what_it_takes(autojump_clock, run, tools):
    """A builtin without a signature is called as it is; what it then raises fails its step."""
    tools.found["max"] = max
    result = await run("id: p\nsteps: [{id: a, action: max, parameters: {x: 1}}]")
    assert isinstance(result.node("a").error, TypeError)


def test_the_body_of_a_step_belongs_to_a_run(read):
    """Outside of one there is nothing that its templates could refer to."""
    node = read("id: p\nsteps: [{id: a, tool: plain}]").pipeline().stages[0].nodes[0]
    with pytest.raises(GracelineError, match="run"):
        node(None)


@pytest.mark.keys("file.description", "file.version", "step.description", "stage.description",
                  "input.description")  # fmt: skip
def test_what_is_for_people_is_kept(read):
    """Descriptions and the version are read, and may be shown."""
    file = read(
        """
        id: p
        description: A
        version: "1.0"
        inputs: {x: {description: B}}
        stages:
          - {id: s, description: C, steps: [{id: a, description: D, tool: note}]}
        """
    )
    keys = parts_of(file).keys
    stage = keys.stages[0]
    found = [keys.description, keys.version, keys.inputs["x"].description, stage.description]
    assert [*found, stage.steps[0].description] == ["A", "1.0", "B", "C", "D"]
    assert attrs.asdict(keys)["id"] == "p"


async def test_outputs_wait_for_no_place(read, engine, autojump_clock):
    """With `max_parallel` the outputs of a run are there while a step of another run has the place."""
    pipeline = read(
        """
        id: p
        config: {max_parallel: 1}
        inputs: {s: {type: number}}
        steps: [{id: a, tool: work, parameters: {seconds: "{{ s }}"}}]
        outputs: {v: "{{ a.result }}"}
        """
    ).pipeline()
    first = engine.start(pipeline, {"s": 1})
    await trio.testing.wait_all_tasks_blocked()
    second = engine.start(pipeline, {"s": 10})
    begun = trio.current_time()
    await first.wait()
    assert trio.current_time() - begun == pytest.approx(1)
    await second.wait()
    assert trio.current_time() - begun == pytest.approx(11)
