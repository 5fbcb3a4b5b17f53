"""Results as JSON documents, and back, through cattrs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.preconf.json import make_converter
from cattrs.strategies import configure_union_passthrough
from cattrs.v import format_exception

from graceline.errors import GracelineError, RecordedError

__all__ = ["from_document", "to_document"]

T = TypeVar("T")


def _told(value: Any) -> Any:
    """A user's value as plain JSON types; one that cannot be told takes nothing else with it."""
    try:
        return _plain(value)
    except Exception as error:  # noqa: BLE001 - it may raise anything, or hold itself
        return {"repr": f"<{type(value).__name__}, not told: {type(error).__name__}>"}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, float) and not math.isfinite(value):
        return {"repr": repr(value)}  # JSON has no NaN and no infinity
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, BaseException):
        return _error_document(value)
    if isinstance(value, Mapping):
        return {_key(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, set | frozenset):
        return [_plain(entry) for entry in sorted(value, key=_shown)]
    if not isinstance(value, type):
        if attrs.has(type(value)):
            names = [field.name for field in attrs.fields(type(value))]
            return {name: _plain(getattr(value, name)) for name in names}
        if dataclasses.is_dataclass(value):
            names = [field.name for field in dataclasses.fields(value)]
            return {name: _plain(getattr(value, name)) for name in names}
    return {"repr": _shown(value)}


def _shown(value: Any, show: Callable[[Any], str] = repr) -> str:
    """A value as text: one that cannot show itself takes nothing else with it."""
    try:
        return show(value)
    except Exception as error:  # noqa: BLE001 - it may raise anything
        how = show.__name__
        return f"<{type(value).__name__}, whose {how} raises {type(error).__name__}>"


def _key(key: Any) -> str:
    return key if isinstance(key, str) else str(_plain(key))


def _error_document(error: BaseException) -> dict[str, str]:
    if isinstance(error, RecordedError):
        return {"type": error.type_name, "message": error.message}
    return {"type": type(error).__name__, "message": _shown(error, str)}


def _error_from(document: Any, _: Any) -> BaseException:
    if not isinstance(document, Mapping) or set(document) != {"type", "message"}:
        raise ValueError(f"an error is {{'type': ..., 'message': ...}}, not {document!r}")
    return RecordedError(str(document["type"]), str(document["message"]))


@cache
def _converter() -> cattrs.Converter:
    converter = make_converter(forbid_extra_keys=True)
    configure_union_passthrough(int | float | bool | str | None, converter)
    converter.register_unstructure_hook(BaseException, _error_document)
    converter.register_structure_hook(BaseException, _error_from)
    converter.register_unstructure_hook(Any, _told)
    converter.register_unstructure_hook_func(lambda kind: kind is Any, _told)
    return converter


def to_document(result: Any) -> dict[str, Any]:
    """An attrs object as plain JSON types."""
    document: dict[str, Any] = _converter().unstructure(result)
    return document


def from_document(kind: type[T], document: Mapping[str, Any]) -> T:
    """Read a document of `to_document` back.

    Raises:
        GracelineError: with every problem and its path.
    """
    wrong = f"not the document of a {kind.__name__}"
    if not isinstance(document, Mapping):
        raise GracelineError(f"{wrong}: it is a {type(document).__name__}, not a mapping")
    try:
        return _converter().structure(document, kind)
    except cattrs.BaseValidationError as error:
        problems = cattrs.transform_error(error, path="result", format_exception=_explain)
        raise GracelineError(f"{wrong}: {'; '.join(problems)}") from error


def _explain(error: BaseException, kind: type | None) -> str:
    return str(error) if isinstance(error, ValueError) else format_exception(error, kind)
