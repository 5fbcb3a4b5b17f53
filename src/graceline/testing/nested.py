"""Runs inside nodes: a behaviour that runs another pipeline on the same engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import attrs
import trio

from graceline.definitions import Pipeline
from graceline.definitions.checks import brief, check_callable, is_async
from graceline.engine import Engine
from graceline.errors import DefinitionError, GracelineError

__all__ = ["RunsNested", "running_on"]

_ENGINE: ContextVar[Engine | None] = ContextVar("graceline_testing_engine", default=None)


@contextmanager
def running_on(engine: Engine) -> Iterator[None]:
    """Tell `RunsNested(pipeline)` on which engine it runs, in this task and those it starts."""
    token = _ENGINE.set(engine)
    try:
        yield
    finally:
        _ENGINE.reset(token)


@attrs.frozen
class RunsNested:
    """Works, then runs something else with its input, and returns that value.

    Attributes:
        what: a pipeline, executed on the engine that `running_on` or `simulate` told of, or an
            async function of the input.

    Raises:
        DefinitionError: for anything else.
    """

    what: Pipeline | Callable[[Any], Awaitable[Any]]

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.what, Pipeline) and not is_async(
            check_callable(self.what, "RunsNested()")
        ):
            raise DefinitionError(
                f"RunsNested() takes a pipeline or an async function, not {brief(self.what)}"
            )

    async def run(self, seconds: float, value: Any) -> Any:
        """See `Behaviour`.

        Raises:
            GracelineError: for a pipeline where nobody said which engine this is; what `execute`
                raises.
        """
        await trio.sleep(seconds)
        if not isinstance(self.what, Pipeline):
            return await self.what(value)
        engine = _ENGINE.get()
        if engine is None:
            raise GracelineError(
                f"{brief(self.what)} is to run inside a node, and its engine is not known; "
                "write: with running_on(engine): await engine.run(...)"
            )
        return await engine.execute(self.what, value)
