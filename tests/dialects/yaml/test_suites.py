"""Phases of a file are a suite of the benchmark runner."""

import os
from pathlib import Path

import pytest

from graceline.bench import run_suite


@pytest.mark.keys("file.phases", *(f"phase.{name}" for name in (
    "name", "commands", "timeout", "grace", "reserve", "continue_on_failure", "skip_if_failed",
    "parallel",
)), *(f"command.{name}" for name in (
    "command", "name", "timeout", "grace", "reserve", "continue_on_failure", "skip_if_failed",
    "env", "cwd", "stdin", "max_output", "ok_codes", "artifacts",
)))  # fmt: skip
def test_everything_that_a_suite_can_say(read):
    """Each key is that of the suite, the phase or the command of the same name."""
    suite = read(
        """
        name: nightly
        config: {timeout: 2h, grace: 30}
        phases:
          - name: build
            timeout: 15m
            grace: 4
            commands:
              - command: make -j2
                timeout: 10m
                artifacts: [build/app]
          - id: unit
            timeout: 60
            reserve: 5
            continue_on_failure: true
            skip_if_failed: build
            parallel: true
            commands:
              - {command: [pytest, -q], name: tests, continue_on_failure: true, grace: 2}
              - command: [fuzz]
                id: fuzz it
                timeout: 9
                reserve: 1
                skip_if_failed: [build]
                env: {A: b, C: null}
                cwd: sub
                stdin: text
                max_output: 10
                ok_codes: [0, 3]
        """,
        root="/r",
    ).suite()
    assert (suite.name, suite.timeout, suite.grace) == ("nightly", 7200, 30)
    build, unit = suite.phases
    assert (build.name, build.timeout, build.grace, build.parallel) == ("build", 900, 4, False)
    assert (unit.reserve, unit.continue_on_failure, unit.skip_if_failed) == (5, True, ("build",))
    assert unit.parallel
    make, tests, fuzz = (*build.commands, *unit.commands)
    assert (make.node.function.argv, make.node.timeout) == ("make -j2", 600)
    assert make.node.function.artifacts == ("build/app",)
    assert (tests.name, tests.node.critical, tests.node.grace) == ("tests", False, 2)
    assert (fuzz.name, fuzz.node.timeout, fuzz.node.reserve) == ("fuzz it", 9, 1)
    assert fuzz.skip_if_failed == ("build",)
    program = fuzz.node.function
    assert dict(program.env) == {"A": "b", "C": None}
    assert os.fspath(program.cwd) == "/r/sub"
    assert program.feed(None) == b"text"
    assert (program.max_output, program.ok_codes) == (10, (0, 3))


async def test_a_suite_runs(read, tmp_path):
    """It is run as any other: with a journal and a report."""
    suite = read("id: p\nphases: [{name: a, commands: [{command: [echo, hi]}]}]").suite()
    result = await run_suite(suite, out=tmp_path / "out")
    assert result.status == "ok"
    assert Path(tmp_path, "out", "journal.jsonl").exists()


def test_what_a_suite_refuses_has_a_place(problems):
    """Names used twice, and names that nothing has, are told."""
    assert problems(
        """
        id: p
        phases:
          - {name: a, commands: [{command: x, name: c}, {command: y, name: c}]}
          - {name: b, commands: [{command: x}], skip_if_failed: a}
        """
    ) == ["f.yaml:4:5: phase 'a': 'c' is used twice; give one of them another name="]
    (problem,) = problems(
        """
        id: p
        phases: [{name: b, commands: [{command: x}], skip_if_failed: z}]
        """
    )
    assert problem.startswith("f.yaml:3:9: phase 'b': skip_if_failed= names 'z'")
