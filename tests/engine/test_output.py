"""What programs write, live: for the sinks and the readers that want it, and for nobody else."""

import trio

from graceline import BlockingEngine, Command, Node, Pipeline, Stage, Timeouts, open_engine
from graceline.telemetry.events import NodeFinished, OutputReceived, RunFinished

NO_LIMITS = Timeouts(node=None, pipeline=None, grace=30)
PATIENCE = 60
LINE = "printf 'a\\nb'; sleep 0.05; echo oops >&2; sleep 0.05; printf c"
PIPELINE = Pipeline("p", [Stage("s", [Node(Command(LINE), name="n")])])
EXPECTED = [("stdout", "a\nb"), ("stderr", "oops\n"), ("stdout", "c")]


def told(events):
    """What the output events tell, each stream in order."""
    return [(event.stream, event.text) for event in events if isinstance(event, OutputReceived)]


class Record:
    """A sink that keeps events; it may want output or not even know of it."""

    inline = True

    def __init__(self, output=None):
        self.events = []
        if output is not None:
            self.wants_output = lambda: output

    def wants_trace(self):
        return True

    def __call__(self, event):
        self.events.append(event)


async def test_a_run_tells_what_its_programs_write():
    """`run.events(output=True)` hands the output on as it comes, with its node and its stream."""
    async with open_engine(timeouts=NO_LIMITS) as engine:
        run = engine.start(PIPELINE)
        with trio.fail_after(PATIENCE):
            events = [event async for event in run.events(output=True)]
    assert told(events) == EXPECTED
    first = next(event for event in events if isinstance(event, OutputReceived))
    assert (first.pipeline, first.stage, first.node, first.run_id) == ("p", "s", "n", run.run_id)
    assert [type(event) for event in events if event.at >= events[-1].at][-1] is RunFinished


async def test_without_being_asked_a_run_tells_no_output():
    """`run.events()` has the other events only, and those of another run's programs are not ours."""
    async with open_engine(timeouts=NO_LIMITS) as engine:
        run, other = engine.start(PIPELINE), engine.start(PIPELINE)
        with trio.fail_after(PATIENCE):
            events = [event async for event in run.events()]
            await other.wait()
        assert told(events) == []
        assert NodeFinished in map(type, events)


async def test_one_reader_hears_its_own_run():
    """Two runs at once are told apart."""
    async with open_engine(timeouts=NO_LIMITS) as engine:
        engine.start(PIPELINE)
        run = engine.start(PIPELINE)
        with trio.fail_after(PATIENCE):
            events = [event async for event in run.events(output=True)]
        assert told(events) == EXPECTED


async def test_sinks_get_output_only_if_they_want_it():
    """A sink without `wants_output`, or that says no, never holds what a program wrote."""
    plain, no, yes = Record(), Record(output=False), Record(output=True)
    async with open_engine(timeouts=NO_LIMITS, sinks=[plain, no, yes]) as engine:
        await engine.run(PIPELINE)
    assert (told(plain.events), told(no.events), told(yes.events)) == ([], [], EXPECTED)


def test_the_portal_tells_output_too():
    """The runs of a `BlockingEngine` have the same option."""
    with BlockingEngine(timeouts=NO_LIMITS) as engine:
        run = engine.start(PIPELINE)
        assert told(run.events(output=True)) == EXPECTED
        run = engine.start(PIPELINE)
        assert told(run.events()) == []
