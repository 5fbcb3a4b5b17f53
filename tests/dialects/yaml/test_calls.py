"""What a file asks of tools is looked at when it is read, as far as it stands there."""

import pytest

from graceline.dialects.tools import Tools
from graceline.dialects.yaml import FileError, loads
from graceline.errors import GracelineError


@pytest.fixture
def found(tmp_path):
    """What is wrong with steps that use what is built in, and two functions."""

    def double(x):
        return 2 * x

    def find(*steps, **functions):
        tools = Tools.default(tmp_path, {"double": double, "parse": dict, **functions})
        text = "id: p\nsteps:\n" + "".join(f"- {{id: s{n}, {s}}}\n" for n, s in enumerate(steps))
        try:
            loads(text, file="f", tools=tools)
        except FileError as error:
            return str(error).splitlines()
        return []

    return find


def column(step, word):
    """Where a word of the first step stands."""
    return len("- {id: s0, ") + step.index(word) + 1


@pytest.mark.parametrize(
    ("step", "at", "message"),
    [
        (
            "tool: filesystem, action: raed, parameters: {path: x}",
            "raed",
            "filesystem has no action 'raed'; did you mean 'read'?",
        ),
        (
            "tool: filesystem, parameters: {path: x}",
            "filesystem",
            "filesystem needs an action: read, write, append, list, exists, delete",
        ),
        (
            "tool: filesystem, action: read, parameters: {pth: x}",
            "pth",
            "filesystem, read: no parameter 'pth'; did you mean 'path'?",
        ),
        (
            "tool: filesystem, action: write, parameters: {path: x}",
            "filesystem",
            "filesystem, write: it needs the parameter 'content'",
        ),
        (
            "tool: filesystem, action: read, parameters: {path: null}",
            "filesystem",
            "filesystem, read: it needs the parameter 'path'",
        ),
        ("tool: terminal", "terminal", "terminal, run: it needs the parameter 'command'"),
        (
            "tool: command, action: exec, parameters: {command: x}",
            "exec",
            "terminal has no action 'exec'; did you mean 'execute'?",
        ),
        (
            "tool: terminal, parameters: {command: x, comand: y, crd: z}",
            "comand",
            "terminal, run: no parameter 'comand'; did you mean 'command'?",
        ),
        (
            "tool: web-fetch, action: get, parameters: {uri: x}",
            "uri",
            "http, get: no parameter 'uri'; did you mean 'url'?",
        ),
        (
            "tool: http, parameters: {url: x, method: git}",
            "method",
            "http: 'git' is none of get, post, put, patch, delete, head, options",
        ),
        (
            "tool: http, action: get, parameters: {url: x, method: post}",
            "method",
            "http, get: method= says 'post'",
        ),
        (
            "tool: python, parameters: {function: doubel}",
            "function",
            "python: no function 'doubel' is registered; did you mean 'double'?",
        ),
        (
            "tool: python, parameters: {function: double, arguments: {y: 3}}",
            "y:",
            "python: 'double' takes no 'y'; valid are: 'x'",
        ),
        (
            "tool: python, parameters: {function: double}",
            "python",
            "python: 'double' needs 'x', which is not given",
        ),
        (
            "command: [x], cleanup: {tool: filesystem, action: delete, parameters: {pth: x}}",
            "pth",
            "filesystem, delete: no parameter 'pth'; did you mean 'path'?",
        ),
        (
            "action: double, parameters: {y: 3}",
            "y:",
            "parameters: 's0' takes no 'y'; valid are: 'x'",
        ),
    ],
)
def test_calls_that_no_tool_takes(found, step, at, message):
    """The place of the action or the parameter, and what would be right."""
    assert found(step)[0] == f"f:3:{column(step, at)}: {message}"


@pytest.mark.parametrize(
    "step",
    [
        "tool: filesystem, action: read, parameters: {path: '{{ inputs | length }}'}",
        "tool: terminal, parameters: {command: [x]}",
        "tool: terminal, action: execute, parameters: {command: '{{ 1 }}'}",
        "tool: http, action: post, parameters: {url: x, method: POST}",
        "tool: http, action: post, parameters: {url: x, method: '{{ 1 }}'}",
        "tool: python, parameters: {function: '{{ inputs | length }}'}",
        "tool: python, action: run, parameters: {function: double, arguments: '{{ 1 }}'}",
        "tool: python, parameters: {function: double, arguments: {x: '{{ 1 }}'}}",
        "tool: python, parameters: {function: parse, arguments: {anything: 1}}",
        "tool: filesystem, action: read, parameters: {path: ../outside}",
    ],
)
def test_what_a_template_says_is_left_to_the_run(found, step):
    """Names are known beforehand; values are for the tool, when the step runs."""
    assert found(step) == []


def test_every_call_is_told_at_once(found):
    """Each wrong parameter of each step has its own line."""
    steps = ["tool: filesystem, action: raed", "tool: terminal, parameters: {x1: 1, y1: 2}"]
    assert [problem.split(": ")[0] for problem in found(*steps, "tool: nobody")] == [
        f"f:3:{column(steps[0], 'raed')}",
        f"f:4:{column(steps[1], 'x1')}",
        f"f:4:{column(steps[1], 'y1')}",
        "f:5:18",
    ]


class Own:
    """A tool of a program, which looks at its calls."""

    def __init__(self, check):
        self.seen = []
        self._check = check

    async def __call__(self, *, action=None, parameters): ...

    def check_call(self, *, action, parameters):
        self.seen.append((action, parameters))
        return self._check(parameters)


def test_a_tool_of_the_program_looks_at_its_calls(found):
    """It gets what stands in the file, with `...` for what a template will say."""
    own = Own(lambda parameters: [(("parameters", "size"), "own: too large")])
    step = "tool: own, action: do, parameters: {size: 3, to: {a: '{{ 1 }}', b: [x, '{{ 2 }}']}}"
    assert found(step, own=own) == [f"f:3:{column(step, 'size')}: own: too large"]
    assert own.seen == [("do", {"size": 3, "to": {"a": ..., "b": ["x", ...]}})]
    assert found("tool: own", own=Own(lambda _: [((), "own: nothing to do")])) == [
        "f:3:18: own: nothing to do"
    ]
    assert found("tool: own", own=Own(lambda _: [])) == []


def _refuse(_):
    raise GracelineError("own: it is Sunday")


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        (_refuse, "f:3:18: own: it is Sunday"),
        (lambda _: 1 / 0, "f:3:18: tool 'own': its check_call() failed: ZeroDivisionError"),
        (lambda _: [3], "f:3:18: tool 'own': its check_call() failed: TypeError"),
        (lambda _: None, "f:3:18: tool 'own': its check_call() failed: TypeError"),
        (lambda _: [(("nowhere", "x"), "odd")], "f:3:18: odd"),
    ],
    ids=["refuses", "breaks", "nonsense", "nothing", "nowhere"],
)
def test_a_tool_that_cannot_look_is_a_problem_of_the_file(found, check, problem):
    """Whatever it does, the file has a message with a place."""
    (told,) = found("tool: own", own=Own(check))
    assert told.startswith(problem)


def test_without_the_method_anything_goes(found):
    """Nobody has to say beforehand what is wrong."""

    async def own(*, action=None, parameters): ...

    assert found("tool: own, action: anything, parameters: {x: 1}", own=own) == []
