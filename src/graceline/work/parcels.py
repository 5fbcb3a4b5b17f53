"""Parcels: values and errors as bytes, for the way to a worker process and back.

With cloudpickle installed, functions may be closures, lambdas, or defined in the main program.
Without it they must be importable by their name.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, cast

from graceline.errors import GracelineError

__all__ = ["pack", "pack_call", "pack_error", "reason", "unpack"]


def _optional(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None


@cache
def _cloudpickle() -> ModuleType | None:
    """Looked up once, and only where something is sent: importing graceline must not wait."""
    return _optional("cloudpickle")


def _dumps(value: Any) -> bytes:
    """Plain pickle is several times faster; cloudpickle helps with what only it can do.

    That is what plain pickle refuses, what belongs to the main program, which is another one in the
    worker if it was no file, and what the user has registered with it.
    """
    helper = _cloudpickle()
    if helper is None:
        return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    if not helper.list_registry_pickle_by_value():
        try:
            data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        except Exception:  # noqa: BLE001 - it runs code of the user's; the helper may do better
            data = b"__main__"
        if b"__main__" not in data:
            return data
    return cast("bytes", helper.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))


def reason(error: BaseException) -> str:
    """The type of an error, and its text if it has one that can be had."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the user's code, and it must not hide the error
        return f"{type(error).__name__}, whose __str__ raises"


def pack(value: Any, what: str) -> bytes:
    """A value as bytes; `what` names it in the error.

    Raises:
        GracelineError: if it cannot be pickled.
    """
    try:
        return _dumps(value)
    except Exception as error:
        raise GracelineError(
            f"{what} cannot be sent between processes ({reason(error)}); pickle has to be able to "
            "write it"
        ) from error


def pack_call(function: Callable[[Any], Any], value: Any, node: str) -> bytes:
    """What a worker calls, and with what.

    Raises:
        GracelineError: says which of the two cannot be sent.
    """
    try:
        return _dumps((function, value))
    except Exception:  # noqa: BLE001 - it runs code of the user's; said below whose
        pack(value, f"node {node!r}: its input, of type {type(value).__name__},")
        name = getattr(function, "__qualname__", type(function).__name__)
        try:
            pack(function, f"node {node!r}: its function {name!r}")
        except GracelineError as error:
            error.add_note(
                "Define it at the top level of a module; with cloudpickle installed it may be a "
                "closure of values that can be sent."
            )
            raise
        return pack((function, value), f"node {node!r}: its function with its input")


def unpack(data: bytes, what: str) -> Any:
    """The value of a parcel; `what` names it in the error.

    Raises:
        GracelineError: if it cannot be unpickled here.
    """
    try:
        return pickle.loads(data)  # noqa: S301 - written by our own worker, or for it
    except Exception as error:
        raise GracelineError(
            f"{what} cannot be read in another process ({reason(error)}); what it is made of has "
            "to be importable there"
        ) from error


def pack_error(error: BaseException, what: str) -> bytes:
    """An exception as bytes, with its traceback; `what` names it if it cannot be sent.

    One that would not survive the way is replaced by a `GracelineError` that tells of it.
    """
    try:
        # It comes with trio-parallel. Given the exception, it leaves all other types alone.
        support = _optional("tblib.pickling_support")
        if support is not None:
            support.install(error)
        data = pack(error, what)
        unpack(data, what)  # pickle writes some exceptions that it then cannot make again
    except BaseException as refusal:  # noqa: BLE001 - pickling runs code of the user's
        why = reason(refusal.__cause__ or refusal)
        instead = GracelineError(
            f"{what} raised {reason(error)}; the exception itself cannot be sent "
            f"between processes ({why}): let its `args` be what its __init__ takes"
        )
        instead.add_note("".join(traceback.format_exception(error)))
        return pack(instead, what)
    return data
