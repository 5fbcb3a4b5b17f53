"""hamilton: functions whose arguments name other functions. It has no limits.

https://hamilton.apache.org/concepts/driver/. The functions are plain, and made into a module by
`ad_hoc_utils`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from inspect import Parameter, Signature
from typing import Any

from hamilton import ad_hoc_utils, driver

from benchmarks.peers.contract import Adapter, Call, Limits, Part, Plain, Stages, flat

__all__ = ["Peer"]


def _function(part: Part, above: str) -> Callable[..., int]:
    def run(**inputs: int) -> int:
        value: int = part.function(inputs[above])
        return value

    run.__name__ = part.name
    run.__annotations__ = {above: int, "return": int}
    parameter = Parameter(above, Parameter.POSITIONAL_OR_KEYWORD, annotation=int)
    run.__signature__ = Signature([parameter], return_annotation=int)  # type: ignore[attr-defined]
    return run


class Peer(Adapter):
    """A chain of functions."""

    package = "apache-hamilton"
    docs = "https://hamilton.apache.org/concepts/driver/"
    world = Plain()

    @asynccontextmanager
    async def open(self, stages: Stages, limits: Limits, *, keep: bool) -> AsyncIterator[Call]:
        del limits, keep  # it has neither
        parts = flat(stages)
        names = ["value", *(part.name for part in parts)]
        functions = [_function(part, above) for part, above in zip(parts, names, strict=False)]
        module = ad_hoc_utils.create_temporary_module(*functions)
        chain = driver.Builder().with_modules(module).build()

        async def call(value: Any) -> Any:
            return chain.execute([names[-1]], inputs={"value": value})[names[-1]]

        yield call
