"""What is wrong with a template: one error, whose text names the template and what is missing."""

from __future__ import annotations

from typing import ClassVar

from graceline.errors import GracelineError

__all__ = ["MissingError", "TemplateError"]


class TemplateError(GracelineError):
    """A template cannot be read or evaluated; says which one, why, and the nearest valid name."""

    retryable: ClassVar[bool] = False


class MissingError(TemplateError):
    """A template refers to something that is not there."""
