"""What is wrong with a template: one error, whose text names the template and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from graceline.errors import GracelineError

__all__ = ["MissingError", "TemplateError"]


class TemplateError(GracelineError):
    """A template cannot be read or evaluated; says which one, why, and the nearest valid name."""

    retryable: ClassVar[bool] = False


class MissingError(TemplateError):
    """A template refers to something that is not there.

    Args:
        what: what is missing.
        hint: gives the nearest valid name, and is asked only where the error is shown: to look for
            one takes long, and most of these errors end in `default`.
    """

    def __init__(self, what: str, hint: Callable[[], str] | None = None) -> None:
        super().__init__(what)
        self._hint = hint

    def __str__(self) -> str:
        what = super().__str__()
        return what if self._hint is None else f"{what}; {self._hint()}"
