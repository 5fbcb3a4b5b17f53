"""What somebody reads who opens an engine, or hands something to it, in the wrong way."""

import asyncio

import pytest
import trio

from graceline import DefinitionError, GracelineError, Node, Pipeline, Stage, Timeouts, open_engine


async def work(value):
    return value


async def open_one():
    async with open_engine() as engine:
        return engine


def test_not_under_asyncio():
    """Under another event loop an engine says what to use instead."""
    with pytest.raises(GracelineError, match=r"runs under Trio: use trio.run\(main\)"):
        asyncio.run(open_one())


def test_not_without_a_loop():
    """Driven by hand, outside of any loop, it says the same."""
    coroutine = open_one()
    with pytest.raises(GracelineError, match="runs under Trio"):
        coroutine.send(None)


async def test_not_in_a_plain_with():
    """A `with` that lacks its `async` is told so."""
    with pytest.raises(GracelineError, match="async with open_engine"):
        with open_engine():
            pass


async def test_an_exception_of_the_block_comes_out_as_it_is():
    """The block hands on what it raises, and returns what it has."""
    with pytest.raises(KeyError):
        async with open_engine():
            raise KeyError("x")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            Stage("s", [work]),
            "stage 's' is a Stage, not a Pipeline; wrap it in Pipeline('name', [...])",
        ),
        (Node(work), "node 'work' is a Node, not a Pipeline; wrap it in Pipeline('name', [...])"),
        (work, "function work is neither a Pipeline nor the name of a registered one"),
        (
            [Stage("s", [work])] * 20,
            "[" + "stage 's', " * 6 + "...] is neither a Pipeline nor the name of a registered one",
        ),
    ],
)
async def test_what_is_no_pipeline(given, message):
    """What cannot be run is called by its name, in one line, with what would be right."""
    async with open_engine() as engine:
        with pytest.raises(DefinitionError) as caught:
            await engine.run(given)
        assert str(caught.value) == message
        with pytest.raises(DefinitionError) as caught:
            engine.register(given)
        assert str(caught.value) == f"register(): {message}"


async def test_two_of_one_name():
    """A second pipeline of a name is refused with two ways out."""
    async with open_engine() as engine:
        engine.register(Pipeline("p", [work]))
        with pytest.raises(DefinitionError, match="give one of them another name, or hand the"):
            engine.register(Pipeline("p", [work]))


async def test_a_huge_option_is_cut():
    """No message repeats a whole definition."""
    with pytest.raises(DefinitionError) as caught:
        async with open_engine(timeouts=[Pipeline("p", [work])] * 50):
            pass
    assert len(str(caught.value)) < 250


async def fail(value):
    raise ValueError


async def hang(value):
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("culprit", "how"),
    [
        (Node(fail, name="x"), "failed"),
        (Node(hang, name="x", timeout=0.001), "timed out"),
        (Node(lambda value: None, name="x"), "was refused"),
    ],
)
async def test_why_a_sibling_was_cancelled(culprit, how):
    """A node that is cancelled because of its sibling says in plain words what that one did."""
    async with open_engine(timeouts=Timeouts.none(), max_abandoned_threads=0) as engine:
        result = await engine.run(Pipeline("p", [Stage("s", [hang, culprit])]))
    assert result.node("hang").blame.message == f"cancelled because node 'x' {how}"


async def test_a_node_over_a_list_says_what_it_got():
    """A loop that gets no list names the type of what it got."""
    from graceline import each

    async with open_engine() as engine:
        result = await engine.run(Pipeline("p", [each(work)]), 3)
    assert str(result.error).endswith("runs over a list, and its input is of type int")


async def test_a_part_that_is_not_there():
    """A look for a stage or a node that is not there names the nearest one."""
    async with open_engine() as engine:
        result = await engine.run(Pipeline("p", [Stage("find", [work])]))
    with pytest.raises(KeyError, match="nothing is called 'fnd'; did you mean 'find'"):
        result.stages["fnd"]
    with pytest.raises(KeyError, match="nothing is called 'x'; valid are: 'work'"):
        result.stages["find"].nodes["x"]
    assert "fnd" not in result.stages
    assert result.stages.get("fnd") is None


async def leave(_):
    raise SystemExit(3)


async def test_an_exception_for_the_program_comes_out_of_a_nursery_too(autojump_clock):
    """If a node ends the program while the block has a nursery open, nothing but that comes out."""
    with pytest.raises(BaseExceptionGroup) as caught:
        async with open_engine() as engine, trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            engine.start(Pipeline("p", [Node(leave, name="n")]))
            await trio.sleep_forever()
    assert caught.value.split(SystemExit)[1] is None
