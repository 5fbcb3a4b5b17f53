"""Nodes, stages and pipelines: what they accept, keep, warn about and refuse."""

import functools
import linecache
import math
from datetime import timedelta

import attrs
import pytest

from graceline import (
    DefinitionError,
    DefinitionWarning,
    Node,
    Pipeline,
    Stage,
    Timeouts,
    each,
    node,
    sequence,
)
from graceline.definitions import PASS_INPUT
from graceline.definitions.nodes import NodeOptions


async def a(value):
    return value


async def b(value):
    return value


def plain(value):
    return value


def make_node(**options):
    return Node(a, **options)


def make_stage(**options):
    return Stage("a", [a], **options)


def make_pipeline(**options):
    return Pipeline("a", [Stage("s", [a])], **options)


any_part = pytest.mark.parametrize("make", [make_node, make_stage, make_pipeline])
any_step = pytest.mark.parametrize("make", [make_node, make_stage])
any_holder = pytest.mark.parametrize("make", [make_stage, make_pipeline])


def where(make):
    return f"{make.__name__.removeprefix('make_')} 'a'"


@any_part
def test_nothing_is_stated_by_default(make):
    """A part states only what it was told to state."""
    part = make()
    assert (part.timeout, part.stated_timeout, part.grace, part.reserve) == (None, None, None, None)
    assert (part.strict, part.stop_before, part.slo) == (None, None, None)
    assert (part.metadata, part.on_cleanup) == ({}, ())


@any_part
def test_limits_are_seconds_however_they_were_written(make):
    """Strings with units and timedeltas are converted once, at construction."""
    part = make(timeout="1m", grace=timedelta(seconds=2), stop_before="5s", slo=1)
    assert (part.timeout, part.grace, part.stop_before, part.slo) == (60.0, 2.0, 5.0, 1.0)


@any_part
@pytest.mark.parametrize("timeout", [0, math.inf])
def test_zero_and_unlimited_are_valid_limits(make, timeout):
    """0 is 'already expired' and inf is 'stated to be unlimited'; neither is 'not stated'."""
    part = make(timeout=timeout)
    assert part.stated_timeout == part.timeout == timeout


@any_part
@pytest.mark.parametrize("field", ["timeout", "grace", "reserve", "stop_before", "slo"])
@pytest.mark.parametrize("value", [-1, "-1s", math.nan, True, "5", "soon", [1]])
def test_a_bad_duration_is_refused_with_what_and_where(make, field, value):
    """The message names the part and the option."""
    with pytest.raises(DefinitionError, match=rf"^{where(make)}, {field}=: "):
        make(**{field: value})


@any_part
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 1, "grace": 1, "reserve": 0.5}, "give grace= .* or reserve= .*, not both"),
        ({"reserve": 0.5}, "reserve= is carved out of a finite timeout=, and there is none"),
        ({"reserve": 0.5, "timeout": math.inf}, "carved out of a finite timeout="),
        ({"reserve": 1, "timeout": 1}, "reserve=1 must be smaller than timeout=1"),
        ({"reserve": 0, "timeout": 0}, "reserve=0 must be smaller than timeout=0"),
    ],
)
def test_reserve_and_grace_that_do_not_fit_are_refused(make, options, message):
    """A reserve needs a longer, finite timeout and excludes a grace."""
    with pytest.raises(DefinitionError, match=rf"^{where(make)}: .*{message}"):
        make(**options)


@any_part
def test_a_reserve_may_be_carved_out_of_the_metadatas_timeout(make):
    """What counts is the limit, wherever it is stated."""
    assert make(metadata={"timeout": "1s"}, reserve=0.5).reserve == 0.5


@any_part
def test_metadata_may_state_the_limit(make):
    """`metadata["timeout"]` counts where `timeout=` is not given."""
    assert make(metadata={"timeout": "250ms"}).stated_timeout == 0.25
    assert make(metadata={"timeout": "250ms"}).timeout is None
    assert make(metadata={"timeout": None}).stated_timeout is None


@any_part
def test_the_option_beats_metadata(make):
    """A stated `timeout=` wins over metadata, zero included."""
    assert make(timeout=0, metadata={"timeout": 9}).stated_timeout == 0.0


@any_part
def test_a_bad_timeout_in_metadata_is_refused(make):
    """Metadata is refused at construction as any other limit is."""
    with pytest.raises(DefinitionError, match=rf"^{where(make)}, metadata\['timeout'\]: -1 is"):
        make(metadata={"timeout": -1})


@any_part
def test_handlers_are_one_function_or_several(make):
    """`on_cleanup` takes a function or a list, and keeps a tuple."""
    assert make(on_cleanup=a).on_cleanup == (a,)
    assert make(on_cleanup=[a, plain]).on_cleanup == (a, plain)


@any_part
def test_a_bad_handler_is_refused(make):
    """A handler that takes no outcome is refused with what and where."""
    with pytest.raises(DefinitionError, match=rf"^{where(make)}, on_cleanup=: .*one argument"):
        make(on_cleanup=lambda: None)


@any_part
def test_strict_is_a_flag_or_left_to_the_parent(make):
    """Only True, False and None are meaningful."""
    assert [make(strict=value).strict for value in (True, False, None)] == [True, False, None]
    with pytest.raises(DefinitionError, match=rf"^{where(make)}, strict= must be"):
        make(strict="no")


@any_part
def test_a_definition_is_frozen(make):
    """What several tasks and engines share cannot be changed."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        make().timeout = 3


@any_part
def test_definitions_are_compared_by_identity(make):
    """Two parts that look alike are two parts, and can be keys of a mapping."""
    first, second = make(), make()
    assert first != second
    assert len({first, second}) == 2


@any_step
def test_after_takes_names_and_parts(make):
    """A predecessor is named, alone or in a list, or given itself; doubles count once."""
    other = Node(b)
    assert make().after is None
    assert make(after="b").after == make(after=other).after == ("b",)
    assert make(after=["c", other, "b"]).after == ("c", "b")
    assert make(after=[]).after == ()


@any_step
@pytest.mark.parametrize("value", [3, [3], [b"x"], b])
def test_after_takes_nothing_else(make, value):
    """What is no name is refused with what and where."""
    with pytest.raises(DefinitionError, match=rf"^{where(make)}: after= takes names, not "):
        make(after=value)


@any_step
@pytest.mark.parametrize("option", ["when", "fallback"])
def test_conditions_and_fallbacks_are_plain_functions(make, option):
    """A function that decides without waiting is plain; an async one is refused."""
    assert getattr(make(critical=False, **{option: plain}), option) is plain
    with pytest.raises(DefinitionError, match=rf"^{where(make)}, {option}= must be a plain func"):
        make(critical=False, **{option: a})


@any_step
def test_a_condition_takes_one_argument(make):
    """A condition is checked at construction, not when it is first asked."""
    with pytest.raises(DefinitionError, match=rf"^{where(make)}, when=: 'yes' is not a function"):
        make(when="yes")


@any_step
def test_a_fallback_may_be_any_value(make):
    """None is a fallback like any other, and no fallback lets the input pass."""
    assert make(critical=False, fallback=None).fallback is None
    assert make(critical=False).fallback is PASS_INPUT
    assert repr(PASS_INPUT) == "PASS_INPUT"


@any_step
def test_a_critical_part_has_no_fallback(make):
    """A fallback that could never be used is refused."""
    with pytest.raises(DefinitionError, match=rf"^{where(make)}: fallback= is used only with cri"):
        make(fallback=1)


@any_step
def test_critical_is_a_flag(make):
    """Critical is True or False."""
    with pytest.raises(DefinitionError, match=rf"^{where(make)}, critical= must be True or False"):
        make(critical=None)


@pytest.mark.parametrize("budget", ["fixed", "remaining", "reserve"])
def test_what_is_soft(budget):
    """Where time is shared the limits of parts that nothing could stand in for cut nothing."""
    needed = Stage("s", [Node(a, name="must"), Node(a, name="may", critical=False)])
    spare = Stage("t", [Node(a, name="alone")], critical=False)
    pipeline = Pipeline("p", [needed, spare], budget=budget)
    shared = budget != "fixed"
    must, may = needed.nodes
    assert [pipeline.is_soft(needed), pipeline.is_soft(needed, must)] == [shared, shared]
    assert not any((pipeline.is_soft(needed, may), pipeline.is_soft(spare)))
    assert not pipeline.is_soft(spare, spare.nodes[0])


def test_a_budget_is_one_of_three():
    """`budget=` is fixed unless it says otherwise; anything else is refused, with what would be right."""
    assert Pipeline("p", [a]).budget == "fixed"
    for budget in ("fixed", "remaining", "reserve"):
        assert Pipeline("p", [a], budget=budget).budget == budget
    for budget in ("equal", 0.3, "300ms", None):
        expected = (
            rf"^pipeline 'p': budget= is one of 'fixed', .*, not {budget!r}; .* engine\.run\("
        )
        with pytest.raises(DefinitionError, match=expected):
            Pipeline("p", [a], budget=budget)


@any_holder
def test_fail_fast_is_a_flag_or_left_to_the_holder(make):
    """Only True, False and None are meaningful."""
    assert [make(fail_fast=value).fail_fast for value in (True, None)] == [True, None]
    with pytest.raises(DefinitionError, match=rf"^{where(make)}, fail_fast= must be"):
        make(fail_fast="no")


def test_a_node_is_called_like_its_function():
    """A name is taken from the function, unless one is stated."""
    assert (Node(a).name, Node(a, name="x").name) == ("a", "x")


def test_a_function_without_a_name_needs_one():
    """A partial has no name, and the message says what to state."""
    nameless = functools.partial(a)
    with pytest.raises(DefinitionError, match=r"it has no name of its own; state name="):
        Node(nameless)
    assert Node(nameless, name="x").name == "x"


@pytest.mark.parametrize("name", [3, "  "])
def test_a_bad_name_is_refused(name):
    """A name is text, for every kind of part."""
    for make in (
        lambda: Node(a, name=name),
        lambda: Stage(name, [a]),
        lambda: Pipeline(name, [a]),
    ):
        with pytest.raises(DefinitionError, match="its name must be a non-empty string"):
            make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Stage([Node(a)], "s"),
            "stage: its name must be a non-empty string, not [node 'a']; "  # noqa: ISC004
            "the name comes first: Stage('name', [...])",
        ),
        (
            lambda: Pipeline([Stage("s", [a])]),
            "pipeline: its name must be a non-empty string, not [stage 's']; "  # noqa: ISC004
            "the name comes first: Pipeline('name', [...])",
        ),
        (lambda: Node(a, name=3), "node: its name must be a non-empty string, not 3"),
        (lambda: Stage("", [a]), "stage: its name must be a non-empty string, not ''"),
        (
            lambda: Node(functools.partial(a)),
            "node of function a: it has no name of its own; state name=",
        ),
        (
            lambda: Stage("s", {"a": Node(a)}),
            "stage 's': its parts must be a list, not {'a': node 'a'}",
        ),
        (lambda: Stage("s", [a], after=[len]), "stage 's': after= takes names, not function len"),
    ],
)
def test_a_message_names_parts_instead_of_showing_them(make, message):
    """Arguments in the wrong order give one readable line."""
    with pytest.raises(DefinitionError) as caught:
        make()
    assert str(caught.value) == message


def test_the_function_decides_where_a_node_runs():
    """Async functions run in the loop and plain ones in a thread."""
    assert (Node(a).runs_on, Node(plain).runs_on) == ("coroutine", "thread")
    assert Node(plain, runs_on="thread").runs_on == "thread"


@pytest.mark.parametrize(
    ("function", "kind", "right"), [(a, "thread", "coroutine"), (plain, "command", "thread")]
)
def test_a_function_cannot_run_where_it_does_not_fit(function, kind, right):
    """The message says what would be right."""
    with pytest.raises(DefinitionError, match=rf"runs_on='{kind}' does not fit; .* '{right}'"):
        Node(function, runs_on=kind)


def test_a_node_can_be_called_without_an_engine():
    """A node stays a function, for its own unit tests."""
    assert Node(plain)(3) == 3


async def _generate(value):
    yield value


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (3, r"^node '\?': 3 is not a function"),
        (_generate, r"^node '_generate': _generate is a generator"),
        (lambda: None, r"^node '<lambda>': .* exactly one argument"),
    ],
)
def test_what_cannot_be_a_node_is_refused(function, message):
    """A node is a function of one input that gives one value."""
    with pytest.raises(DefinitionError, match=message):
        Node(function)


@pytest.mark.parametrize(
    "make",
    [
        Node,
        node,
        each,
        sequence,
        lambda work: Stage("s", [work]),
        lambda work: Stage("s", work),
        lambda work: Pipeline("p", [work]),
        lambda work: Node(a, on_cleanup=work),
        lambda work: Node(a, when=work),
    ],
)
def test_a_coroutine_object_is_refused_wherever_a_function_goes(make):
    """Calling the function by mistake gives one clear error and no 'never awaited' warning."""
    with pytest.raises(DefinitionError, match="coroutine object; pass the function"):
        make(a(1))


def test_the_decorator_makes_a_node_with_and_without_options():
    """`@node` and `@node(...)` give nodes."""
    assert node(a).function is a
    assert node(timeout="50ms", name="x")(a).timeout == 0.05


@pytest.mark.parametrize(
    ("option", "hint"), [("timeot", "did you mean 'timeout'"), ("each", "valid are: 'name', ")]
)
def test_an_unknown_option_of_the_decorator_is_refused_at_once(option, hint):
    """A typo is refused where it is written, with the nearest valid option."""
    with pytest.raises(DefinitionError, match=rf"^@node: {option}= is unknown; {hint}"):
        node(**{option: 1})


def test_the_options_of_the_decorator_are_those_of_a_node():
    """An option that is added to `Node` is one of `@node` as well."""
    fields = {field.name for field in attrs.fields(Node)}
    assert set(NodeOptions.__annotations__) == fields - {"function", "each"}


def test_nodes_of_a_stage_start_together():
    """Without `after` the nodes of a stage are independent."""
    stage = Stage("s", [a, Node(b)])
    assert [part.name for part in stage.nodes] == ["a", "b"]
    assert stage.graph.before == {"a": (), "b": ()}
    assert stage.graph.sinks == ("a", "b")


def test_stages_run_one_after_the_other_by_default():
    """Without `after` a stage follows the one that is written before it."""
    pipeline = Pipeline("p", [Stage("x", [a]), Stage("y", [a]), Stage("z", [a])])
    assert pipeline.graph.before == {"x": (), "y": ("x",), "z": ("y",)}


def test_a_stage_may_say_its_order():
    """`after` skips back over what is written between, and `after=()` starts at once."""
    pipeline = Pipeline(
        "p",
        [Stage("x", [a]), Stage("y", [a], after="x"), Stage("z", [a], after="x"), Stage("w", a)],
    )
    assert pipeline.graph.before == {"x": (), "y": ("x",), "z": ("x",), "w": ("z",)}
    free = Pipeline("p", [Stage("x", [a]), Stage("y", [a], after=())])
    assert free.graph.before == {"x": (), "y": ()}


def test_one_part_needs_no_list():
    """A single function, node or stage is a list of one."""
    assert [part.name for part in Stage("s", a).nodes] == ["a"]
    assert [part.name for part in Stage("s", Node(a)).nodes] == ["a"]
    assert [part.name for part in Pipeline("p", Stage("s", a)).stages] == ["s"]


def test_parts_may_come_from_any_iterable():
    """A generator of parts is as good as a list, nested lists included."""
    assert [part.name for part in Stage("s", iter([[a], (b,)])).nodes] == ["a", "b"]


def test_nodes_in_place_of_stages_form_one_stage():
    """A small pipeline needs no stage; the one it gets has the pipeline's name."""
    pipeline = Pipeline("p", [a, Node(b)])
    assert [stage.name for stage in pipeline.stages] == ["p"]
    assert [part.name for part in pipeline.stages[0].nodes] == ["a", "b"]


def test_nodes_and_stages_are_not_mixed():
    """A node beside stages has no place, and the message says where to put it."""
    with pytest.raises(DefinitionError, match=r"^pipeline 'p': it mixes stages and nodes; put"):
        Pipeline("p", [Stage("s", [a]), b])


@pytest.mark.parametrize("parts", [3, "ab", b"ab", {"a": a}, None])
def test_parts_are_a_list(parts):
    """What is no list of parts is refused with what it is."""
    for kind in (Stage, Pipeline):
        with pytest.raises(DefinitionError, match="'x': its parts must be a list, not "):
            kind("x", parts)


def test_a_part_of_a_stage_is_a_node():
    """A stage in a stage, and anything that is no function, is refused."""
    with pytest.raises(DefinitionError, match=r"^stage 'x': stage 's' is neither a node nor a fu"):
        Stage("x", [Stage("s", [a])])
    with pytest.raises(DefinitionError, match=r"^stage 'x': 3 is not a function"):
        Stage("x", [3])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Stage("x"),
        lambda: Stage("x", []),
        lambda: Stage("x", [[]]),
        lambda: Pipeline("x", []),
    ],
)
def test_an_empty_holder_is_refused(make):
    """A stage has a node and a pipeline has a stage."""
    with pytest.raises(DefinitionError, match="'x': it has no parts; give at least one"):
        make()


def test_names_are_unique_within_their_level():
    """Twice the same name in one level is refused, in two levels it is fine."""
    with pytest.raises(DefinitionError, match=r"^stage 's': 'a' is used twice"):
        Stage("s", [a, a])
    with pytest.raises(DefinitionError, match=r"^pipeline 'p': 's' is used twice"):
        Pipeline("p", [Stage("s", [a]), Stage("s", [b])])
    assert Pipeline("p", [Stage("a", [a]), Stage("b", [a])]).graph.order == ("a", "b")


def test_unknown_names_and_cycles_name_the_holder():
    """The message says which stage or pipeline holds the culprits."""
    with pytest.raises(DefinitionError, match=r"^stage 's': 'b' is to run after 'aa', .*'a'\?$"):
        Stage("s", [a, Node(b, after="aa")])
    with pytest.raises(DefinitionError, match=r"^pipeline 'p': 'x' -> 'y' -> 'x' is a cycle"):
        Pipeline("p", [Stage("x", [a], after="y"), Stage("y", [a])])


def test_a_longer_limit_in_a_stage_warns_at_the_users_line():
    """A node's limit above the stage's is clamped, and the warning points at the stage's line."""
    with pytest.warns(DefinitionWarning) as got:
        stage = Stage("s", [Node(a, timeout=5)], timeout=1)  # here
    assert str(got[0].message) == (
        "node 'a': its limit of 5s is above the 1s of stage 's', which clamps it"
    )
    assert stage.nodes[0].timeout == 5.0
    assert_points_here(got)


def test_a_longer_limit_in_a_pipeline_warns_at_the_users_line():
    """A stage's limit above the pipeline's is clamped, and the warning points at the user's line."""
    with pytest.warns(DefinitionWarning, match="stage 's': .* 5s is above the 1s of pip") as got:
        Pipeline("p", [Stage("s", [a], timeout=5)], timeout=1)  # here
    assert_points_here(got)


def test_a_warning_from_a_copy_points_at_the_users_line():
    """`attrs.evolve` and groups do not hide whose line it was."""
    stage = Stage("s", [Node(a, timeout=5)])
    with pytest.warns(DefinitionWarning) as got:
        attrs.evolve(stage, timeout=1)  # here
    assert_points_here(got)


def assert_points_here(got):
    """The one warning names this file and the line that ends with the word."""
    (warning,) = got
    assert warning.filename == __file__
    assert linecache.getline(warning.filename, warning.lineno).endswith("# here\n")


def test_a_warning_skips_code_that_belongs_to_no_module():
    """Generated code has no line that anybody could read, so whoever ran it is pointed at."""
    names = {"Stage": Stage, "Node": Node, "a": a}
    with pytest.warns(DefinitionWarning) as got:
        exec("Stage('s', [Node(a, timeout=5)], timeout=1)", names)  # noqa: S102 # here
    assert_points_here(got)


@pytest.mark.parametrize("stage_limit", [None, math.inf])
def test_a_node_is_compared_with_the_pipeline_where_its_stage_has_no_limit(stage_limit):
    """A stage that states nothing finite does not hide that the pipeline clamps the node."""
    stage = Stage("s", [Node(a, timeout=5)], timeout=stage_limit)
    with pytest.warns(DefinitionWarning, match="node 'a': .* above the 1s of pipeline 'p'"):
        Pipeline("p", [stage], timeout=1)


@pytest.mark.parametrize("above", [None, 5, 6, math.inf])
def test_a_limit_that_fits_is_not_warned_about(above):
    """Equal limits, and none above, are fine."""
    assert Stage("s", [Node(a, timeout=5)], timeout=above).timeout == above


def test_an_unlimited_child_is_not_warned_about():
    """Who writes 'unlimited' below a limit means 'as long as the parent'."""
    assert Stage("s", [Node(a, timeout=math.inf)], timeout=1).nodes[0].stated_timeout == math.inf


def test_limits_that_add_up_to_more_are_fine_by_default():
    """Real phases add up to more than the whole, and that is not an error."""
    stages = [Stage("x", [a], timeout=0.8), Stage("y", [a], timeout=0.8)]
    assert Pipeline("p", stages, timeout=1).stated_timeout == 1.0


@pytest.mark.parametrize(
    "stages",
    [
        [Stage("x", [a], timeout=0.8), Stage("y", [a], timeout=0.8)],
        [Stage("x", sequence(Node(a, timeout=0.8), Node(b, timeout=0.8)), timeout=1)],
    ],
)
def test_the_sum_can_be_made_to_fit(stages):
    """With `sum_must_fit` the longest path must fit, in the pipeline and in each stage."""
    with pytest.raises(DefinitionError, match=r"add up to 1.6s, which does not fit into 1s"):
        Pipeline("p", stages, timeout=1, sum_must_fit=True)


@pytest.mark.parametrize(
    "stages",
    [
        [Stage("x", [a], timeout=0.8), Stage("y", [a], timeout=0.8, after=())],
        [Stage("x", [a], timeout=0.8), Stage("y", [a])],
        [Stage("x", [a], timeout=0.8), Stage("y", [a], timeout=math.inf)],
    ],
)
def test_what_fits_passes_the_strict_check(stages):
    """Parallel parts share the time, and limits that are not finite count nothing."""
    assert Pipeline("p", stages, timeout=1, sum_must_fit=True).sum_must_fit


def test_rounding_is_no_excess():
    """Three times 0.1 fits into 0.3, although floats add up to a little more."""
    stages = [Stage(name, [a], timeout=0.1) for name in "xyz"]
    assert Pipeline("p", stages, timeout=0.3, sum_must_fit=True).sum_must_fit


def test_without_a_limit_any_sum_fits():
    """A pipeline without a limit has nothing that could be exceeded."""
    assert Pipeline("p", [Stage("x", [a], timeout=9)], sum_must_fit=True).stated_timeout is None


def test_sum_must_fit_is_a_flag():
    """The strict check is on or off."""
    with pytest.raises(DefinitionError, match=r"^pipeline 'a', sum_must_fit= must be True or Fal"):
        make_pipeline(sum_must_fit=1)


@any_part
def test_evolve_keeps_what_is_not_changed(make):
    """A changed copy differs in what was changed and in nothing else."""
    part = make(timeout="1s", metadata={"k": 1}, on_cleanup=[plain], slo=2)
    copy = attrs.evolve(part, grace="2s")
    different = {
        field.name
        for field in attrs.fields(type(part))
        if field.name != "graph" and getattr(copy, field.name) != getattr(part, field.name)
    }
    assert different == {"grace"}
    assert copy.grace == 2.0


def test_evolve_keeps_a_loop():
    """A loop stays a loop."""
    loop = each(a, max_parallel=3)
    assert attrs.evolve(loop, timeout=1).each is loop.each


def test_the_presets_leave_definitions_alone():
    """Defaults belong to the engine: a definition does not know them."""
    assert Timeouts.realtime().node == 0.2
    assert Node(a).stated_timeout is None
