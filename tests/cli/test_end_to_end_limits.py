"""Limits and attempts of files, by the command line: which limit cuts, and what its document says."""

from itertools import product

LIMITS = {"step": 0.06, "metadata": 0.08, "stage": 0.1, "config": 0.12}
"""Where the limit of an attempt may be stated, in the order in which the first one wins."""


def priority_file(*, config):
    """Every way to state limits on a step and on its stage, under a config that states one or not."""
    lines = ["id: priority"]
    if config:
        lines.append(f"config: {{default_timeout: {LIMITS['config']}}}")
    lines.append("stages:")
    expected = {}
    for stage in (True, False):
        lines.append(f"  - id: {'with' if stage else 'without'}-default")
        if stage:
            lines.append(f"    default_timeout: {LIMITS['stage']}")
        lines.append("    steps:")
        for own, metadata in product((True, False), repeat=2):
            here = dict(zip(LIMITS, (own, metadata, stage, config), strict=True))
            stated = [place for place, there in here.items() if there]
            name = "-".join(stated) or "nothing"
            keys = [f"id: {name}", f"tool: {'hang' if stated else 'nap'}", "on_error: continue"]
            if own:
                keys.append(f"timeout: {LIMITS['step']}")
            if metadata:
                keys.append(f"metadata: {{owner: us, timeout: {LIMITS['metadata']}}}")
            lines.append(f"      - {{{', '.join(keys)}}}")
            expected[name] = LIMITS[stated[0]] if stated else None
    return "\n".join(lines), expected


def test_the_first_limit_that_is_stated_wins(start_file, tmp_path):
    """Step, metadata, stage, config, none: in all sixteen ways to state them the first one cuts."""
    started = []
    for config in (True, False):
        text, expected = priority_file(config=config)
        folder = tmp_path / f"config-{config}"
        started.append((start_file(text, "--json", folder=folder), expected))
    seen = set()
    for program, expected in started:
        ran = program.ended()
        assert (ran.code, ran.err) == (1, "")
        for name, limit in expected.items():
            blame = ran.nodes[name]["blame"]
            got = blame and (blame["level"], blame["name"], blame["kind"], blame["limit"])
            assert got == (limit and ("attempt", name, "timeout", limit))
            assert ran.nodes[name]["status"] == ("timed_out" if limit else "ok")
        assert {*ran.document["degraded"]} == {name for name, limit in expected.items() if limit}
        seen.update(expected.values())
    assert seen == {*LIMITS.values(), None}


LEVELS = """
id: levels
config: {timeout: 2s}
stages:
  - id: first
    timeout: 1h
    steps:
      - {id: attempt, tool: hang, timeout: 100ms, total_timeout: 1h, on_error: continue}
      - {id: all-attempts, tool: hang, timeout: 1h, total_timeout: 0.1, on_error: continue}
  - id: second
    timeout: 100ms
    critical: false
    steps:
      - {id: in-second, tool: hang, timeout: 1h, total_timeout: 1h}
  - id: third
    timeout: 1h
    steps:
      - {id: in-third, tool: hang, timeout: 1h, total_timeout: 1h}
"""


def test_the_level_that_cut_is_to_blame(start_file):
    """The document names the one level whose limit it was: of an attempt, a step, a stage, the pipeline."""
    ran = start_file(LEVELS, "--json").ended()
    assert (ran.code, ran.document["status"]) == (1, "timed_out")
    stages = ran.document["stages"]
    blames = [
        ran.nodes["attempt"]["blame"],
        ran.nodes["all-attempts"]["blame"],
        stages["second"]["blame"],
        ran.document["blame"],
    ]
    assert [(blame["level"], blame["name"], blame["limit"]) for blame in blames] == [
        ("attempt", "attempt", 0.1),
        ("node", "all-attempts", 0.1),
        ("stage", "second", 0.1),
        ("pipeline", "levels", 2),
    ]
    assert blames[-1]["message"] == "pipeline 'levels' exceeded its limit of 2s"
    assert ran.nodes["in-third"]["status"] == stages["third"]["status"] == "timed_out"
    assert {*ran.document["degraded"]} == {"attempt", "all-attempts", "second"}


ATTEMPTS = """
id: attempts
config: {default_timeout: 100ms}
steps:
  - id: answers          # as the third one
    tool: hang_first
    parameters: {times: 2, key: answers}
    max_retries: 2
    backoff: {initial: 1ms}
  - id: hangs            # in all of them
    tool: hang
    max_retries: 2
    backoff: {initial: 1ms}
    on_error: continue
  - id: once             # no retry is stated
    tool: hang_first
    parameters: {times: 1, key: once}
    on_error: continue
  - id: raises
    tool: fail_first
    parameters: {times: 2, key: raises}
    max_retries: 3
    backoff: {initial: 1ms}
  - id: program          # it hangs the first time, and leaves a word for the next one
    command: [sh, -c, "test -e word && exit 0; touch word; exec sleep 60"]
    timeout: 2s
    max_retries: 1
    backoff: {initial: 1ms}
  - id: unstarted        # may not be done twice
    tool: hang
    idempotent: false
    max_retries: 3
    backoff: {initial: 1ms}
    on_error: continue
outputs:
  calls: "{{ [answers.result, raises.result] }}"
"""


def test_what_timed_out_is_tried_again(start_file):
    """As often as `max_retries` says, and each attempt with the whole limit; the document counts them."""
    ran = start_file(ATTEMPTS, "--json").ended()
    assert (ran.code, ran.document["status"]) == (1, "ok")
    assert {name: (node["status"], node["attempts"]) for name, node in ran.nodes.items()} == {
        "answers": ("ok", 3),
        "hangs": ("timed_out", 3),
        "once": ("timed_out", 1),
        "raises": ("ok", 3),
        "program": ("ok", 2),
        "unstarted": ("timed_out", 1),
        "outputs": ("ok", 1),
    }
    assert ran.document["value"] == {"calls": [3, 3]}
    assert sorted(ran.document["degraded"]) == ["hangs", "once", "unstarted"]
    blame = ran.nodes["hangs"]["blame"]
    assert (blame["level"], blame["limit"]) == ("attempt", 0.1)
    assert "all 3 attempts are used up" in blame["message"]
    earlier = [error["type"] for error in ran.nodes["answers"]["secondary"]]
    assert earlier == ["AttemptTimeoutError"] * 2


OVERRIDES = """
id: overrides
config: {default_timeout: 50ms, grace: 7s}
steps:
  - {id: seconds, tool: hang, timeout: 0.125, on_error: continue}
  - {id: short, tool: hang, timeout: .125, on_error: continue}
  - {id: text, tool: hang, timeout: "0.125s", on_error: continue}
  - {id: milliseconds, tool: hang, timeout: 125ms, on_error: continue}
  - {id: exponent, tool: hang, timeout: 12.5e-2, on_error: continue}
  - {id: default, tool: hang, on_error: continue}
  - {id: unlimited, tool: nap, timeout: .inf}
  - {id: longer, tool: nap, timeout: 1m30s}
"""


def test_a_step_states_its_own(start_file):
    """Seconds may be fractional, in all spellings; a step may have less, more or no limit at all."""
    ran = start_file(OVERRIDES, "--json", "--allow-degraded").ended()
    assert ran.code == 0
    limits = {name: node["blame"] and node["blame"]["limit"] for name, node in ran.nodes.items()}
    assert limits == {
        **dict.fromkeys(("seconds", "short", "text", "milliseconds", "exponent"), 0.125),
        "default": 0.05,
        "unlimited": None,
        "longer": None,
    }
    assert {ran.nodes[name]["value"] for name in ("unlimited", "longer")} == {"awake"}
