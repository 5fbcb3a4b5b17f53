"""What tools answer: a value, or a mapping that says whether it was a success."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from graceline.definitions.checks import brief
from graceline.errors import GracelineError

__all__ = ["ToolFailedError", "ToolRefusedError", "understand"]

_SHOWN = 500
"""Characters of a tool's own words in a message."""


class ToolFailedError(GracelineError):
    """A tool could not do what it was asked.

    Attributes:
        result: what it answered, None if it raised.
    """

    def __init__(self, message: str, *, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class ToolRefusedError(ToolFailedError):
    """A tool was asked for what it never does: wrong parameters, or a path outside of its root."""

    retryable: ClassVar[bool] = False


def understand(result: Any) -> Any:
    """The result of a tool as it is, unless it says that it is a failure.

    Raises:
        ToolFailedError: for a mapping whose `success` is False, with its `error` as the text, and
            for one whose `success` is no boolean, so that nobody takes 0 or 'false' for a success.
    """
    if not isinstance(result, Mapping) or "success" not in result:
        return result
    success = result["success"]
    if not isinstance(success, bool):
        text = f"the tool answers with success: {brief(success)}, which is neither true nor false"
        raise ToolFailedError(text, result=result)
    if not success:
        said = result.get("error")
        if said is None or said == "":
            said = "the tool failed, and gives no error"
        text = said if isinstance(said, str) else brief(said)
        raise ToolFailedError(text[:_SHOWN], result=result)
    return result
