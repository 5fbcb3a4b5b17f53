"""The dispatcher: agents and workflows by message type, and the engine that works on messages."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import trio

from graceline.definitions import Pipeline, Timeouts, node
from graceline.definitions.checks import brief, check_name, nearest
from graceline.definitions.nodes import NodeOptions
from graceline.dialects.messages.responses import Response, refusal, respond
from graceline.dialects.messages.workflows import (
    Agent,
    Request,
    Workflow,
    as_agent,
    build_workflow,
)
from graceline.durations import Duration, format_duration, parse_duration
from graceline.engine import BlockingEngine, Engine, Portal, open_engine, remaining
from graceline.errors import DefinitionError, GracelineError
from graceline.results import PipelineResult
from graceline.saying import say
from graceline.telemetry.payloads import one_line

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["Dispatcher"]

A = TypeVar("A", bound=Callable[[Any], Any])

_log = logging.getLogger("graceline.messages")
_LONGEST_TYPE = 200
_SHORT = 1.0


class _MalformedError(Exception):
    """A message cannot be worked on."""

    def __init__(self, reason: str, error: str, workflow_type: str | None = None) -> None:
        super().__init__(error)
        self.reason = reason
        self.workflow_type = workflow_type


class Dispatcher:
    """Works on messages: each goes to the agent or the workflow that is registered for its type.

    `with Dispatcher() as agents` has an engine in a thread of its own, `async with` one in the
    Trio loop around it; a dispatcher that is given an engine is ready at once. Everything but the
    block itself may be used from any number of threads at once.

    Args:
        engine: an engine that somebody else opens and closes.
        options: those of `open_engine`, for an engine of its own; cleanup may take 1 s unless
            `timeouts=` says otherwise.

    Raises:
        DefinitionError: for something else than an engine, or for both.
    """

    def __init__(self, engine: Engine | BlockingEngine | None = None, **options: Any) -> None:
        if engine is not None and not isinstance(engine, Engine | BlockingEngine):
            raise DefinitionError(
                f"Dispatcher(): {brief(engine)} is no engine; give what open_engine() or "
                "BlockingEngine() opened, or none"
            )
        if engine is not None and options:
            raise DefinitionError(
                f"Dispatcher(): {next(iter(options))}= is for an engine of its own; state it where "
                "the given engine is opened"
            )
        self._engine = engine
        self._given = engine is not None
        self._options = {"timeouts": Timeouts.interactive(), **options}
        self._opening: BlockingEngine | AbstractAsyncContextManager[Engine] | None = None
        self._lock = threading.Lock()
        self._agents: dict[str, Agent] = {}
        self._workflows: dict[str, Workflow] = {}

    # -- registering --------------------------------------------------------------------------

    def agent(self, message_type: str, **options: Unpack[NodeOptions]) -> Callable[[A], A]:
        """Register the function below as the agent for a type: `@agents.agent("search")`.

        The function stays as it is. Its one argument is a `Request`.

        Args:
            message_type: the type of the messages, and the name of the step.
            options: those of `@node`, such as `timeout=5` or `retry=Retry()`.

        Raises:
            DefinitionError: as `register`.
        """
        check_name(message_type, "@agent", 'write @agents.agent("type")')

        def decorate(function: A) -> A:
            if options:
                self.register(message_type, node(function, **options))
            else:
                self.register(message_type, function)
            return function

        return decorate

    def register(self, message_type: str, agent: Agent | Callable[[Any], Any]) -> None:
        """Register an agent for a type of messages; workflows can name it as a step.

        Args:
            message_type: the type of the messages, and the name of the step.
            agent: an async or plain function of a `Request`, a node of one, or a pipeline whose
                input is the request.

        Raises:
            DefinitionError: for a type that is taken, a bad name, and what is no agent.
        """
        name = _check_type(message_type, "agent")
        made = as_agent(agent, f"agent {name!r}", name)
        workflow = build_workflow(name, [made], self._find, self._execute)
        with self._lock:
            self._check_free(name)
            self._agents[name] = made
            self._workflows[name] = workflow

    def workflow(self, workflow_type: str, steps: Iterable[Any]) -> None:
        """Register the steps for a type of messages.

        They run one after the other, each with the results before it; those in a list or a tuple of
        their own run at the same time.

        Args:
            workflow_type: the type of the messages.
            steps: types of registered agents, or agents, which are known by their own names.

        Raises:
            DefinitionError: for a type that is taken, an unknown agent, no steps, a step that
                occurs twice.
        """
        name = _check_type(workflow_type, "workflow")
        workflow = build_workflow(name, steps, self._find, self._execute)
        with self._lock:
            self._check_free(name)
            self._workflows[name] = workflow

    @property
    def types(self) -> tuple[str, ...]:
        """The types of messages that somebody is registered for."""
        return tuple(self._workflows)

    # -- working ------------------------------------------------------------------------------

    def process(self, message: Mapping[str, Any], timeout: Duration = 30.0) -> Response:
        """Work on a message, and block until it is answered; for any thread but the engine's own.

        When the response comes, nothing runs any more, cleanup included. In a plain agent it takes
        no longer than that agent has left. An interrupt cancels the work, as in `Portal.run`.

        Args:
            message: a mapping whose `type` says who works on it.
            timeout: seconds for the work, at least 0; below 1 with a warning in the log.

        Raises:
            ValueError: for a timeout that is negative, NaN, a bool, or without a unit.
            GracelineError: without an open engine; in the thread of the engine's loop.
        """
        patience = _patience(timeout)
        portal = self._opened().portal
        if _is_home(portal):
            raise GracelineError(
                "process() blocks, and this is the thread of the engine's own loop, which would "
                "wait for itself; write await agents.process_async(message)"
            )
        try:
            workflow, request = self._understand(message)
        except _MalformedError as error:
            return _refuse(error)
        _log_start(workflow, patience)
        result = portal.run(workflow.pipeline, request, timeout=min(patience, _left()))
        return _answer(workflow, result, patience)

    async def process_async(self, message: Mapping[str, Any], timeout: Duration = 30.0) -> Response:
        """Work on a message and return the response; arguments and errors as for `process`.

        Works in every Trio loop. In an agent the work belongs to the run around it.

        Raises:
            Cancelled: if the calling task is cancelled; nothing runs any more then.
        """
        if not trio.lowlevel.in_trio_task():
            raise GracelineError(
                "process_async() needs Trio; under asyncio write "
                "await asyncio.to_thread(agents.process, message)"
            )
        patience = _patience(timeout)
        portal = self._opened().portal
        try:
            workflow, request = self._understand(message)
        except _MalformedError as error:
            await trio.lowlevel.checkpoint()
            return _refuse(error)
        _log_start(workflow, patience)
        if _is_home(portal):
            result = await _engine(portal).run(workflow.pipeline, request, timeout=patience)
        else:
            result = await _run_elsewhere(portal, workflow.pipeline, request, patience)
        return _answer(workflow, result, patience)

    # -- the engine ---------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Open an engine in a thread of its own.

        Raises:
            GracelineError: if there is an engine.
            DefinitionError: for a bad option.
        """
        engine = BlockingEngine(**self._options)
        with self._lock:
            self._check_unopened()
            self._opening = engine
        try:
            self._engine = engine.__enter__()
        except BaseException:
            self._opening = None
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the engine, as the end of the block of `BlockingEngine` does."""
        opening = self._opening
        assert isinstance(opening, BlockingEngine)  # noqa: S101 - `__enter__` has set it
        try:
            opening.__exit__(kind, error, traceback)
        finally:
            self._engine = self._opening = None

    async def __aenter__(self) -> Self:
        """Open an engine in this loop.

        Raises:
            GracelineError: if there is an engine.
            DefinitionError: for a bad option.
        """
        opening = open_engine(**self._options)
        with self._lock:
            self._check_unopened()
            self._opening = opening
        try:
            self._engine = await opening.__aenter__()
        except BaseException:
            self._opening = None
            raise
        return self

    def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Awaitable[bool | None]:
        """End the engine, as the end of the block of `open_engine` does."""
        return self._leave(kind, error, traceback)

    # -- inside -------------------------------------------------------------------------------

    async def _leave(self, *error: Any) -> bool | None:
        opening = self._opening
        assert isinstance(opening, AbstractAsyncContextManager)  # noqa: S101 - as above
        try:
            return await opening.__aexit__(*error)
        finally:
            self._engine = self._opening = None

    def _check_unopened(self) -> None:
        if self._given:
            raise GracelineError(
                "this dispatcher was given an engine and is ready; it needs no `with`"
            )
        if self._engine is not None or self._opening is not None:
            raise GracelineError("this dispatcher is open; it has one engine at a time")

    def _opened(self) -> Engine | BlockingEngine:
        engine = self._engine
        if engine is None:
            raise GracelineError(
                "this dispatcher has no open engine; use `with Dispatcher() as agents`, "
                "`async with` under Trio, or Dispatcher(engine)"
            )
        return engine

    async def _execute(self, pipeline: Pipeline, request: Any) -> Any:
        """Run an agent that is a pipeline, in a step."""
        return await _engine(self._opened().portal).execute(pipeline, request)

    def _find(self, name: str) -> Agent:
        agent = self._agents.get(name)
        if agent is None:
            hint = nearest(name, tuple(self._agents))
            kind = "a workflow and no agent" if name in self._workflows else "no registered agent"
            raise DefinitionError(f"{name!r} is {kind}; {hint}")
        return agent

    def _check_free(self, name: str) -> None:
        if name in self._workflows:
            raise DefinitionError(f"somebody is registered for the message type {name!r} already")

    def _understand(self, message: object) -> tuple[Workflow, Request]:
        """Who works on a message, and what they get."""
        if not isinstance(message, Mapping):
            raise _MalformedError(
                "malformed",
                "a message is a mapping with the key 'type', not "
                f"{'None' if message is None else f'a {type(message).__name__}'}",
            )
        try:
            copy = dict(message)
        except Exception as error:
            raise _MalformedError(
                "malformed", f"the message cannot be read: {type(error).__name__}"
            ) from error
        stated = copy.get("type")
        if "type" not in copy:
            raise _MalformedError(
                "malformed", f"the message has no key 'type'; {nearest(None, self.types)}"
            )
        if not isinstance(stated, str) or not stated or len(stated) > _LONGEST_TYPE:
            raise _MalformedError(
                "malformed",
                f"the message's 'type' is a string of 1 to {_LONGEST_TYPE} characters, not "
                f"{_kind(stated)}",
            )
        name = str.__str__(stated)
        workflow = self._workflows.get(name)
        if workflow is None:
            raise _MalformedError(
                "unknown_type",
                f"nobody is registered for the message type {brief(name)}; "
                f"{nearest(name, self.types)}",
                name,
            )
        return workflow, Request(name, copy)


def _check_type(name: object, kind: str) -> str:
    checked = check_name(name, kind)
    if len(checked) > _LONGEST_TYPE:
        raise DefinitionError(
            f"{kind}: a message type has at most {_LONGEST_TYPE} characters, not {len(checked)}"
        )
    return checked


def _kind(value: object) -> str:
    if isinstance(value, str):
        return f"one of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _patience(timeout: Duration) -> float:
    seconds = parse_duration(timeout, "timeout=")
    if seconds < _SHORT:
        say(
            _log, logging.WARNING, "sub_second_timeout",
            "timeout=%s is below one second", format_duration(seconds),
            warning_type="sub_second_timeout", timeout_seconds=seconds,
        )  # fmt: skip
    return seconds


def _left() -> float:
    """Seconds that the agent around this call has; `inf` outside of a run."""
    try:
        return remaining()
    except GracelineError:
        return math.inf


def _engine(portal: Portal) -> Engine:
    return portal._engine  # noqa: SLF001 - the one way to it that both kinds of engine have


def _is_home(portal: Portal) -> bool:
    """Whether this is the thread of the engine's own loop."""
    try:
        portal.line.check()
    except GracelineError:
        return True
    return False


async def _run_elsewhere(
    portal: Portal, pipeline: Pipeline, request: Request, patience: float
) -> PipelineResult:
    """Run a pipeline in the loop of another thread, and wait without blocking this one."""
    waiters = trio.CapacityLimiter(math.inf)
    start = partial(portal.start, pipeline, request, timeout=patience)
    run = await trio.to_thread.run_sync(start, limiter=waiters)
    try:
        return await trio.to_thread.run_sync(run.wait, abandon_on_cancel=True, limiter=waiters)
    except BaseException:
        with trio.CancelScope(shield=True):
            end = partial(portal.cancel, run.run_id, "the caller was cancelled")
            with suppress(GracelineError):  # the engine has ended, and the run with it
                await trio.to_thread.run_sync(end, limiter=waiters)
        raise


def _log_start(workflow: Workflow, patience: float) -> None:
    say(
        _log, logging.DEBUG, "message_received",
        "message_received %s", one_line(workflow.pipeline.name),
        workflow_type=workflow.pipeline.name, steps=workflow.steps,
        timeout_seconds=None if patience == math.inf else patience,
    )  # fmt: skip


def _answer(workflow: Workflow, result: PipelineResult, patience: float) -> Response:
    response = respond(workflow, result, patience)
    status = response.get("status", str(result.status))
    calm = "status" not in response
    say(
        _log, logging.DEBUG if calm else logging.WARNING, "message_answered",
        "message_answered %s: %s, %d of %d steps completed", one_line(result.pipeline), status,
        len(result.completed), len(workflow.steps),
        workflow_type=result.pipeline, status=status, completed_steps=result.completed,
        run_id=result.run_id, elapsed=result.elapsed,
    )  # fmt: skip
    return response


def _refuse(error: _MalformedError) -> Response:
    # Not the type that was given: it comes from outside, and may hold anything.
    say(
        _log, logging.WARNING, "message_refused",
        "message_refused: %s", error.reason, reason=error.reason,
    )  # fmt: skip
    return refusal(error.workflow_type, str(error))
