"""What a run that goes on takes from its journal, and what it does not."""

import math

import pytest

from graceline import GracelineError
from graceline.bench.journal import journal_of
from graceline.dialects.resume import read_run, recording, resuming

CHAIN = """
id: chain
steps:
  - {id: a, tool: do, parameters: {name: a}}
  - {id: b, tool: do, parameters: {name: b}, dependencies: a}
"""
ODD_ITEMS = """
id: items
steps:
  - {id: each, for_each: "{{ [{1: 2}, {3: 4}] }}", command: [echo, "{{ index }}"]}
  - {id: after, tool: do, parameters: {name: after}, dependencies: each}
"""


async def test_a_whole_list_makes_up_for_its_items(autojump_clock, desk):
    """Items that cannot be kept do not matter once the step has ended and its value is kept."""
    desk.write(ODD_ITEMS)
    desk.failing.add("after")
    with recording(desk.load(), desk.out) as run:
        assert (await desk.finish(run)).status == "failed"
    assert {line["unkept"] for line in desk.lines("item_ended")} == {
        "it has the key 1, which is no text",
        "it has the key 3, which is no text",
    }
    assert run.unkept == {}
    desk.failing.clear()
    assert (await desk.resume()).status == "ok"
    assert desk.recording.kept == ("each",)
    assert len(desk.lines("item_ended")) == 2


async def test_a_list_that_cannot_be_kept_in_the_end(autojump_clock, desk):
    """A step whose items are in the journal, and whose value is not, is as one without items."""
    desk.write(CHAIN.replace("id: a,", "id: a, for_each: [1, 2],"))
    desk.failing.add("b")
    await desk.run()
    path = journal_of(desk.out)
    lines = path.read_text().splitlines(keepends=True)
    (ended,) = [line for line in lines if '"step_ended","step":"a"' in line]
    path.write_text(
        "".join(lines).replace(ended, ended.replace('"value":["a","a"]', '"unkept":"it is odd"'))
    )
    run = read_run(desk.out)
    assert (run.unkept, run.items, run.steps) == ({"a": "it is odd"}, {}, {})


async def test_a_finished_run_that_was_taken_up_again(autojump_clock, desk):
    """It is finished no more, and has neither its old status nor its old document."""
    desk.write(CHAIN)
    await desk.run()
    desk.failing.add("b")
    await desk.resume(again=["b"])
    events = [line["event"] for line in desk.lines()]
    desk.cut(events.index("run_resumed") + 1)
    run = read_run(desk.out)
    assert (run.finished, run.status, run.document, run.degraded) == (False, None, None, ())
    desk.failing.clear()
    assert (await desk.resume()).status == "ok"
    assert desk.done == ["a", "b", "b", "b"]


async def test_a_degraded_run_that_was_taken_up_again(autojump_clock, desk):
    """What was degraded before is tried again, and says nothing of the run that goes on."""
    desk.write(CHAIN.replace("id: a,", "id: a, on_error: continue,"))
    desk.failing.add("a")
    await desk.run()
    assert read_run(desk.out).degraded == ("a",)
    desk.failing.clear()
    await desk.resume()
    events = [line["event"] for line in desk.lines()]
    desk.cut(events.index("run_resumed") + 1)
    assert (read_run(desk.out).status, read_run(desk.out).degraded) == (None, ())


async def test_a_kept_step_is_asked_for_no_condition(autojump_clock, desk):
    """A condition that would not hold now does not take away what was done while it held."""
    desk.write(
        """
        id: p
        steps:
          - {id: e, tool: do, parameters: {name: e}, on_error: continue}
          - {id: a, tool: do, parameters: {name: a}, condition: "{{ e.error != None }}"}
          - {id: z, tool: do, parameters: {name: z}, dependencies: a}
        outputs: {e: "{{ e.status }}", a: "{{ a.status }}", was: "{{ a.result }}"}
        """
    )
    desk.failing |= {"e", "z"}
    desk.gives["a"] = "old"
    await desk.run()
    desk.failing.clear()
    desk.done.clear()
    desk.gives["a"] = "new"
    result = await desk.resume()
    assert result.value == {"e": "ok", "a": "ok", "was": "old"}
    assert desk.done == ["e", "z"]


async def test_a_kept_step_has_nothing_of_its_limits(autojump_clock, desk):
    """A finished step has no attempts, breaker, hedge, limit of time or place that it waits for."""
    desk.write(
        """
        id: p
        steps:
          - id: a
            tool: do
            parameters: {name: a}
            timeout: 2
            total_timeout: 9
            reserve: 1s
            max_retries: 2
            breaker: {min_calls: 2}
            hedge: {delay: 100ms}
            idempotent: true
          - {id: b, for_each: [1, 2], max_parallel: 1, command: [echo, x], condition: true}
          - {id: z, tool: do, parameters: {name: z}, dependencies: [a, b]}
        """
    )
    desk.failing.add("z")
    await desk.run()
    with resuming(desk.out, tools=desk.tools()) as run:
        nodes = {node.name: node for stage in run.pipeline.stages for node in stage.nodes}
        for name in ("a", "b"):
            left = {
                key: getattr(nodes[name], key)
                for key in (
                    *("each", "when", "limit", "retry", "breaker", "hedge", "attempt_timeout"),
                    *("timeout", "reserve", "idempotent"),
                )
            }
            assert left == dict.fromkeys(left), name
            assert nodes[name].runs_on == "coroutine"
        assert nodes["z"].timeout is None


TOPIC = """
id: p
inputs: {topic: {type: string, default: trees}}
steps:
  - {id: a, tool: do, parameters: {name: a, given: "{{ topic }}"}}
  - {id: b, tool: do, parameters: {name: b}, dependencies: a}
"""


@pytest.mark.parametrize(
    ("inputs", "value"), [(None, "birds"), ({}, "birds"), ({"topic": "bees"}, "bees")]
)
async def test_a_default_that_has_changed(autojump_clock, desk, inputs, value):
    """By force the new default counts, if the run was given no value; the journal has what was given."""
    desk.write(TOPIC)
    desk.failing.add("b")
    desk.gives["a"] = lambda given: given
    await desk.run(inputs)
    assert desk.lines("run_begun")[0]["inputs"] == (inputs or {})
    desk.failing.clear()
    desk.write(TOPIC.replace("trees", "birds"))
    result = await desk.resume(force=True)
    assert result.node("a").value == value


async def test_a_step_that_is_gone_and_was_not_kept(autojump_clock, desk):
    """By force a run goes on without a step that the file has no more, kept or not."""
    desk.write(CHAIN)
    desk.gives["a"] = object()
    desk.failing.add("b")
    await desk.run()
    desk.write("id: chain\nsteps: [{id: b, tool: do, parameters: {name: b}}]")
    desk.failing.clear()
    assert (await desk.resume(force=True)).value == "b"
    assert desk.done == ["a", "b", "b"]


async def test_a_degraded_end_has_no_values(autojump_clock, desk):
    """A run that is ok and degraded is resumed: its values stay with its steps, and not in its end."""
    desk.write(CHAIN.replace("id: a,", "id: a, on_error: continue,"))
    desk.failing.add("a")
    result = await desk.run()
    assert (result.status, result.value) == ("ok", "b")
    (line,) = desk.lines("run_ended")
    assert (line["degraded"], line["result"]["value"]) == (["a"], None)
    desk.failing.clear()
    await desk.resume()
    assert [line["result"]["value"] for line in desk.lines("run_ended")] == [None, "b"]


EDITED = {
    "the value of a step": ('"value":"a"', '"value":{"$":"integer","of":"many"}'),
    "a value without its content": ('"value":"a"', '"value":{"$":"float"}'),
    "a number that is none": ('"value":"a"', '"value":{"$":"float","of":"many"}'),
    "the output of a program": ('"value":"a"', '"value":{"$":"program","of":{"argv":[]}}'),
    "a mapping": ('"value":"a"', '"value":{"$":"mapping","of":3}'),
    "the value of an item": ('"value":"0"', '"value":{"$":"integer","of":[]}'),
    "the name of a step": ('"step":"a"', '"step":["a"]'),
    "the end of a step": ('"step":"a",', ""),
    "the inputs": ('"inputs":{}', '"inputs":[]'),
    "an input": ('"inputs":{}', '"inputs":{"x":{"$":"program","of":{}}}'),
    "the limit": ('"timeout":9', '"timeout":"long"'),
    "the text": ('"text":"', '"text":7,"was":"'),
    "the tools": ('"tools":[]', '"tools":[7]'),
    "the run": ('"execution":{"id"', '"execution":{"number"'),
    "all of the run": ('"execution":{', '"execution":7,"was":{'),
    "how deep a line is": ('"value":"a"', f'"value":{"[" * 100_000}{"]" * 100_000}'),
}


@pytest.mark.parametrize(("old", "new"), EDITED.values(), ids=EDITED)
async def test_an_edited_journal(autojump_clock, desk, old, new):
    """What somebody has changed is said to be so, before anything is run or written."""
    desk.write("""
        id: edited
        steps:
          - {id: a, tool: do, parameters: {name: a}}
          - {id: each, for_each: [0, 1], tool: do, parameters: {name: "{{ item }}"}}
    """)
    desk.failing.add("1")
    desk.takes["1"] = 2
    await desk.run(timeout=9)
    path = journal_of(desk.out)
    assert old in path.read_text()
    edited = path.read_text().replace(old, new)
    path.write_text(edited)
    done = list(desk.done)
    with pytest.raises(GracelineError, match=r"was changed by somebody|it lacks"):
        await desk.resume()
    assert (desk.done, path.read_text()) == (done, edited)


async def test_an_edited_result(autojump_clock, desk):
    """The result of a finished run that cannot be read is an error that names the journal."""
    desk.write(CHAIN)
    await desk.run()
    path = journal_of(desk.out)
    path.write_text(path.read_text().replace('"pipeline":', '"pipelines":'))
    with pytest.raises(GracelineError, match=r"out holds no journal .* changed by somebody"):
        read_run(desk.out).result()


async def test_a_run_without_limit(autojump_clock, desk):
    """A run that was told to have no limit goes on without one."""
    desk.write(
        "{config: {timeout: 3}, id: free, steps: [{id: a, tool: do, parameters: {name: a}}]}"
    )
    desk.failing.add("a")
    desk.takes["a"] = 5
    assert (await desk.run(timeout=math.inf)).status == "failed"
    desk.failing.clear()
    assert (await desk.resume()).status == "ok"
