"""Conditions, failures and lists of files, by the command line: what runs, and the exit code."""

import pytest

from graceline import PipelineResult

FLOW = """
id: flow
inputs: {topic: {default: trees}}
steps:
  - {id: fine, tool: say, parameters: {value: {text: "{{ topic }}"}}}
  - {id: raises, tool: fail_first, parameters: {times: 9, key: a}, on_error: continue}
  - {id: hangs, tool: hang, timeout: 60ms, on_error: continue}
  - {id: refuses, tool: refuse, parameters: {why: out of paper}, on_failure: continue}
  - {id: exits, command: [sh, -c, "echo half; exit 3"], on_error: continue}
  - {id: may-exit, command: [sh, -c, exit 3], ok_codes: [0, 3]}
  - {id: lost, tool: refuse, parameters: {why: gone}, on_error: skip}
  - {id: unwanted, tool: say, condition: "{{ fine.error != None }}"}

  - {id: if-fine-ok, tool: say, condition: "{{ steps.fine.error == None }}"}
  - {id: if-fine-not, tool: say, condition: "{{ steps.fine.error != None }}"}
  - {id: if-raised, tool: say, condition: "{{ raises.error != None }}"}
  - {id: if-call-1, tool: say, condition: "{{ 'call 1' in raises.error }}"}
  - {id: if-failed, tool: say, condition: "{{ steps.raises.status == 'failed' }}"}
  - {id: if-timed-out, tool: say, condition: "{{ hangs.status == 'timed_out' }}"}
  - {id: if-not-timed-out, tool: say, condition: "{{ hangs.error == None }}"}
  - {id: if-refused, tool: say, condition: "{{ refuses.result.tray == 2 and refuses.error == 'out of paper' }}"}
  - {id: if-half, tool: say, condition: "{{ exits.result.stdout == 'half\\n' and exits.result.exit_code == 3 }}"}
  - {id: if-may-exit, tool: say, condition: "{{ steps['may-exit'].result.exit_code == 3 }}"}
  - {id: if-skipped, tool: say, condition: "{{ unwanted.status == 'skipped' and unwanted.error == None }}"}
  - {id: if-topic, tool: say, condition: "{{ topic == 'bees' }}"}
  - {id: never, tool: say, condition: false}

  - {id: after-raises, tool: say, dependencies: [raises]}
  - {id: after-unwanted, tool: say, dependencies: unwanted}
  - {id: after-lost, tool: say, dependencies: [lost]}
  - {id: after-after-lost, tool: say, parameters: {value: "{{ steps['after-lost'].status }}"}}
  - {id: beside-lost, tool: say}
outputs:
  asked: "{{ raises.error }}"
  fine: "{{ fine.result.text | upper }}"
  value: "{{ fine.value.text }}"
  skipped: "{{ lost.error }}"
"""
NOT_OK = {
    "raises": "failed",
    "hangs": "timed_out",
    "refuses": "failed",
    "exits": "failed",
    "lost": "failed",
    **dict.fromkeys(
        (
            "unwanted", "if-fine-not", "if-not-timed-out", "if-topic", "never", "after-lost",
            "after-after-lost",
        ),
        "skipped",
    ),
}  # fmt: skip
"""What becomes of the steps that do not succeed; all others do."""


def test_conditions_and_failures(start_file):
    """A step sees the error, the status and the rest of those before it; the run is degraded: 1."""
    ran = start_file(FLOW, "--json").ended()
    assert (ran.code, ran.err) == (1, "")
    assert (ran.document["status"], ran.document["blame"]) == ("ok", None)
    assert PipelineResult.from_dict(ran.document).to_dict() == ran.document
    assert {name: node["status"] for name, node in ran.nodes.items()} == {
        **dict.fromkeys(ran.nodes, "ok"),
        **NOT_OK,
    }
    failed = {name for name, status in NOT_OK.items() if status != "skipped"}
    assert {*ran.document["degraded"]} == failed
    assert ran.document["value"] == {
        "asked": "call 1",
        "fine": "TREES",
        "value": "trees",
        "skipped": "gone",
    }
    assert ran.nodes["refuses"]["error"] == {"type": "ToolFailedError", "message": "out of paper"}
    assert ran.nodes["exits"]["error"]["type"] == "CommandFailedError"


FAILING = """
id: failing
steps:
  - {{id: bad, {body}, timeout: 100ms, cleanup: {{command: [touch, cleaned]}}}}
  - {{id: after, command: [touch, executed], dependencies: [bad]}}
"""


@pytest.mark.parametrize(
    ("body", "status", "error", "said"),
    [
        ("tool: hang", "timed_out", None, "attempt 'bad' exceeded its limit of 100ms"),
        (
            "tool: say, parameters: {value: '{{ range(execution.id | length * 10 ** 9) }}'}",
            "failed",
            "TemplateError",
            "0000000 elements, and a list of a template has 100000 at most",
        ),
    ],
    ids=["hangs", "template"],
)
def test_a_failure_ends_the_run(start_file, tmp_path, body, status, error, said):
    """However a step fails, the run fails in the same way: exit code 1, and nothing after it is run."""
    ran = start_file(FAILING.format(body=body), "--json", "--allow-degraded").ended()
    assert (ran.code, ran.err, ran.document["status"]) == (1, "", status)
    bad = ran.nodes["bad"]
    assert (bad["status"], bad["error"] and bad["error"]["type"]) == (status, error)
    assert said in (bad["error"] or bad["blame"])["message"]
    assert ran.nodes["after"]["status"] == "skipped"
    assert not (tmp_path / "executed").exists()
    assert (tmp_path / "cleaned").exists()


LISTS = """
id: lists
inputs: {words: {type: array}}
steps:
  - id: each
    tool: say
    for_each: "{{ words }}"
    max_parallel: 2
    parameters: {value: "{{ index + 1 }}/{{ length }} {{ item }} {{ 'last' if is_last else '' }}{{ 'first' if is_first else '' }}"}
  - id: programs
    for_each: "{{ words }}"
    command: [echo, -n, "{{ item | upper }}"]
  - id: unstable
    for_each: [0, 1, 2]
    max_parallel: 1
    tool: fail_first
    parameters: {times: "{{ item }}", key: "item {{ item }}"}
    max_retries: 2
    backoff: {initial: 1ms}
  - id: third
    for_each: [0, 0, 9]
    max_parallel: 1
    tool: hang_first
    parameters: {times: "{{ item }}", key: "third"}
    timeout: 100ms
    on_error: continue
  - {id: empty, tool: say, for_each: []}
outputs:
  each: "{{ each.result }}"
  programs: "{{ programs.result | map(attribute='stdout') }}"
  unstable: "{{ unstable.result }}"
  third: "{{ third.result }}"
  empty: "{{ empty.result }}"
"""


def test_steps_over_lists(start_file, tmp_path):
    """Items have their places, results their order, attempts are per item; what is finished is kept."""
    inputs = tmp_path / "inputs.json"
    inputs.write_text('{"words": ["a", "b", "c"]}')
    ran = start_file(LISTS, "--json", "--inputs", inputs).ended()
    assert (ran.code, ran.document["degraded"]) == (1, ["third"])
    assert ran.document["value"] == {
        "each": ["1/3 a first", "2/3 b ", "3/3 c last"],
        "programs": ["A", "B", "C"],
        "unstable": [1, 2, 3],
        "third": [1, 2],
        "empty": [],
    }
    blame = ran.nodes["third"]["blame"]
    assert (blame["level"], blame["name"], blame["limit"]) == ("attempt", "third[2]", 0.1)
