import math
import warnings

import pytest

from graceline import Command, DefinitionError, Node, Stage, Status
from graceline.bench import Phase, Step, Suite, command
from graceline.bench.ledger import Ledger, facts_of


async def work(value): ...


def phase(name="p", *commands, **options):
    return Phase(name, list(commands) or [command("true")], **options)


def test_a_suite_is_a_pipeline_of_stages():
    """Phases are stages in order, commands are nodes in order, limits stand where they were stated."""
    suite = Suite(
        "nightly",
        [
            Phase("build", [command("make -j2", timeout="10m", artifacts="app")], timeout="15m"),
            Phase("unit", [command(["a"], continue_on_failure=True), command(["b"]), work]),
            Phase(
                "both", [command(["a"]), command(["b"])], parallel=True, continue_on_failure=True
            ),
        ],
        timeout="2h",
        grace="30s",
    )
    build, unit, both = suite.pipeline.stages
    assert (suite.pipeline.timeout, suite.pipeline.grace) == (7200, 30)
    assert (build.timeout, build.nodes[0].timeout, build.nodes[0].name) == (900, 600, "make")
    assert [(node.name, node.after, node.critical) for node in unit.nodes] == [
        ("a", (), False), ("b", ("a",), True), ("work", ("b",), True),
    ]  # fmt: skip
    assert [node.after for node in both.nodes] == [(), ()]
    assert [stage.critical for stage in (build, unit, both)] == [True, True, False]


def test_one_alone_needs_no_list():
    """A suite of one phase of one command, or function, or node, needs no brackets."""
    for one in (command("true"), Command("true"), work, Node(work)):
        suite = Suite("s", Phase("p", one))
        assert len(suite.phases) == len(suite.phases[0].commands) == 1
        assert isinstance(suite.phases[0].commands[0], Step)


def test_options_of_a_command():
    """A command takes what `Command` takes, and what stands around it."""
    step = command(
        ["x"], name="n", timeout=9, reserve=2, env={"A": "1", "B": None}, cwd="/", stdin="in",
        max_output=5, ok_codes=(0, 3), artifacts=["*.a"], skip_if_failed="other",
    )  # fmt: skip
    program = step.node.function
    assert (step.name, step.node.timeout, step.node.reserve, step.skip_if_failed) == (
        "n", 9, 2, ("other",),
    )  # fmt: skip
    assert (program.cwd, program.stdin, program.max_output, program.ok_codes) == (
        "/",
        "in",
        5,
        (0, 3),
    )
    assert (dict(program.env), program.artifacts) == ({"A": "1", "B": None}, ("*.a",))


def test_limits_may_add_up_to_more_than_the_whole():
    """Phases that add up to more than the suite are normal; one above it is clamped with a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Suite("s", [phase("a", timeout=40), phase("b", timeout=40)], timeout=60)
    with pytest.warns(
        match="limit of 1m40s is above the 1m of pipeline 's', which clamps it"
    ) as told:
        Suite("s", [phase("a", timeout=100)], timeout=60)
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: command([]), "Command: argv= names no program"),
        (lambda: command("make all", timeout="10"), "command 'make', timeout=: '10' has no unit"),
        (lambda: command("make", timeout=-1), "command 'make', timeout=: -1 is negative"),
        (
            lambda: command("m", grace=1, reserve=1, timeout=9),
            "command 'm': give grace= .* not both",
        ),
        (lambda: command("m", name="n", reserve=1), "command 'n': reserve= is carved out"),
        (lambda: command("m", continue_on_failure=1), "continue_on_failure= must be True or False"),
        (
            lambda: command("m", skip_if_failed=[3]),
            "command 'm': skip_if_failed= takes names, not 3",
        ),
        (lambda: command("m", skip_if_failed=3), "skip_if_failed= takes names, not 3"),
        (lambda: command("m", artifacts=[""]), "Command 'm', artifacts= '' is no glob"),
        (lambda: Phase([command("m")]), r"the name comes first: Phase\('name', \[...\]\)"),
        (lambda: Phase("p", []), "phase 'p': it has no commands"),
        (lambda: Phase("p", 3), "phase 'p': its commands must be a list, not 3"),
        (lambda: Phase("p", "make"), "phase 'p': its commands must be a list, not 'make'"),
        (lambda: Phase("p", ["make"]), r"phase 'p': 'make' is no command; write command\('make'\)"),
        (lambda: Phase("p", [Stage("s", work)]), "stage 's' is neither a node nor a function"),
        (lambda: Phase("p", [command("m"), command("m x")]), "phase 'p': 'm' is used twice"),
        (lambda: phase(timeout="soon"), "phase 'p', timeout=: 'soon' is not a duration"),
        (lambda: phase(parallel="yes"), "phase 'p', parallel= must be True or False"),
        (lambda: phase(continue_on_failure=0), "phase 'p', continue_on_failure= must be"),
        (lambda: phase("p", Node(work, after="x")), "'work' says after="),
        (lambda: Suite("s", []), "suite 's': it has no phases"),
        (lambda: Suite("s", [command("m")]), "is no Phase; write Phase"),
        (lambda: Suite("s", Stage("p", work)), "stage 'p' is no Phase"),
        (lambda: Suite("s", [phase("a"), phase("a")]), "suite 's': 'a' is used twice"),
        (lambda: Suite("s", [phase()], reserve=3), "suite 's': reserve= is carved out"),
    ],
)
def test_bad_definitions(make, message):
    """What is wrong is refused when it is written down: what, where, and what would be right."""
    with pytest.raises(DefinitionError, match=message):
        make()


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        (
            [phase("build"), phase("unit", skip_if_failed="biuld")],
            (
                "phase 'unit': skip_if_failed= names 'biuld', which is not a phase before it; "
                "did you mean 'build'?"
            ),
        ),
        (
            [phase("unit", skip_if_failed=["build"]), phase("build")],
            "names 'build', which has not ended by then; name a phase before it",
        ),
        ([phase("unit", skip_if_failed="unit")], "names 'unit', which has not ended by then"),
        (
            [phase("p", command("make"), command("b", skip_if_failed="mkae"))],
            (
                "phase 'p', command 'b': skip_if_failed= names 'mkae', which is not a command before "
                "it in its phase, or a phase before that; did you mean 'make'?"
            ),
        ),
        (
            [phase("p", command("a", skip_if_failed="b"), command("b"))],
            "command 'a': skip_if_failed= names 'b', which has not ended by then",
        ),
        (
            [phase("p", command("a"), command("b", skip_if_failed="a"), parallel=True)],
            "names 'a', which runs at the same time: the phase is parallel=True",
        ),
        ([phase("p", command("a", skip_if_failed="p"))], "names 'p', which has not ended by then"),
        ([phase("p", command("a", skip_if_failed="x"))], "there is none to choose from"),
    ],
)
def test_unknown_names(phases, message):
    """A name in skip_if_failed must be that of something which has ended by then."""
    with pytest.raises(DefinitionError) as caught:
        Suite("s", phases)
    assert message in str(caught.value)


def test_who_is_skipped():
    """A part is unmet unless each part it names is ok or late; a skipped one has not succeeded."""
    suite = Suite(
        "s",
        [
            phase(
                "a",
                command("x"),
                command("y", skip_if_failed="x"),
                command("z", skip_if_failed="y"),
            ),
            phase("x", command("c", skip_if_failed="a")),
            phase("b", command("d", skip_if_failed=["x", "a"]), skip_if_failed=["a", "x"]),
        ],
    )
    ledger = Ledger(facts_of(suite))
    assert ledger.unmet("a", "y") == ("x",)
    ledger.note("a", "x", Status.LATE)
    assert ledger.unmet("a", "y") == ()
    ledger.note("a", "y", Status.SKIPPED)
    assert ledger.unmet("a", "z") == ("y",)
    ledger.note("a", "", Status.OK)
    assert ledger.unmet("x", "c") == ()
    ledger.note("x", "c", Status.SKIPPED)
    ledger.note("x", "", Status.OK)  # nothing of it ran
    assert ledger.unmet("b") == ("x",)
    assert ledger.unmet("b", "d") == ("x",)
    ledger.note("a", "", Status.TIMED_OUT)
    assert ledger.unmet("b") == ("a", "x")


def test_a_command_comes_before_a_phase_of_its_name():
    """Where a command before it and a phase before it share a name, the command is meant."""
    suite = Suite(
        "s",
        [
            phase("build"),
            phase("unit", command("build"), command("t", skip_if_failed="build")),
            phase("late", command("t", skip_if_failed="build"), command("build")),
        ],
    )
    ledger = Ledger(facts_of(suite))
    ledger.note("build", "", Status.OK)
    assert ledger.unmet("unit", "t") == ("build",)
    assert ledger.unmet("late", "t") == ()


def test_facts_are_json():
    """What the journal says of a suite has no infinity in it, and nothing of the environment."""
    suite = Suite(
        "s", phase("p", command("m", env={"TOKEN": "secret"}, cwd="/"), command(lambda v: "x", name="f")),
        timeout=math.inf, grace=math.inf,
    )  # fmt: skip
    facts = facts_of(suite)
    assert (facts.timeout, facts.grace) == (None, None)
    m, f = facts.phases[0].commands
    assert (m.argv, m.cwd, f.argv) == (("/bin/sh", "-c", "m"), "/", ())
    assert "secret" not in repr(facts)
