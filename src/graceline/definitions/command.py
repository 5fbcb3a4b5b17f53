"""A child program as a node: what is started, in what surroundings, and what is success."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, cast

import attrs

from graceline.definitions.arguments import explained_class
from graceline.definitions.checks import brief, check_plain
from graceline.errors import DefinitionError
from graceline.values import frozen

__all__ = ["Argv", "Command"]

Argv: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
"""A list of the program and its arguments, or a line for the shell."""

_Environment: TypeAlias = "Mapping[str, str | None]"
_Folder: TypeAlias = "str | os.PathLike[str]"
_Bytes: TypeAlias = "str | bytes"


def _mapping(
    value: _Environment | Callable[[Any], _Environment | None] | None,
) -> _Environment | Callable[[Any], _Environment | None]:
    return cast("_Environment", value)


def _strings(value: str | Iterable[str]) -> tuple[str, ...]:
    return cast("tuple[str, ...]", value)


def _codes(value: int | Iterable[int]) -> tuple[int, ...]:
    return cast("tuple[int, ...]", value)


@explained_class
@frozen(eq=False)
class Command:
    """A child program: `Stage("build", [Command(["make", "-j2"])])`.

    It runs in a session and a process group of its own. At the node's deadline the group gets
    SIGTERM, and SIGKILL once the grace period is over. The node's value is a `CommandOutput`; an
    exit code that is not expected makes the node `failed` with a `CommandFailedError`.

    Attributes:
        argv: the program and its arguments, or a string, which is a line for `sh -c`; or a plain
            function of the input that returns either.
        env: variables that differ from this process's environment; None takes one away. Or a
            plain function of the input that returns them.
        cwd: the directory in which it runs, or a plain function of the input that returns it; None
            for this process's.
        stdin: what it can read: text, bytes, or a plain function of the input that returns either.
            None is an empty input.
        max_output: bytes that are kept of each of its output streams: half of them from the start
            and half from the end, if there are more.
        ok_codes: exit codes that count as success.
        artifacts: glob patterns, relative to `cwd`; each of them must match a file afterwards.

    Raises:
        DefinitionError: for a wrong argument; says which, and what would be right.
    """

    argv: Argv | Callable[[Any], Argv]
    env: _Environment | Callable[[Any], _Environment | None] = attrs.field(
        default=None, converter=_mapping, kw_only=True
    )
    cwd: _Folder | Callable[[Any], _Folder | None] | None = attrs.field(default=None, kw_only=True)
    stdin: _Bytes | Callable[[Any], _Bytes] | None = attrs.field(default=None, kw_only=True)
    max_output: int = attrs.field(default=1 << 20, kw_only=True)
    ok_codes: tuple[int, ...] = attrs.field(default=(0,), converter=_codes, kw_only=True)
    artifacts: tuple[str, ...] = attrs.field(default=(), converter=_strings, kw_only=True)

    def __attrs_post_init__(self) -> None:
        where = "Command"
        put = object.__setattr__
        if callable(self.argv):
            check_plain(self.argv, f"{where}, argv=")
        else:
            words = self.resolve(None)
            if not isinstance(self.argv, str):
                put(self, "argv", words)  # a list could change later
            where = f"Command {self.__name__!r}"
        if callable(self.env):
            check_plain(self.env, f"{where}, env=")
        else:
            put(self, "env", _environment(self.env, f"{where}, env="))
        if callable(self.cwd):
            check_plain(self.cwd, f"{where}, cwd=")
        else:
            _check_folder(self.cwd, where)
        if callable(self.stdin):
            check_plain(self.stdin, f"{where}, stdin=")
        elif self.stdin is not None:
            self.feed(None)
        size = self.max_output
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise DefinitionError(f"{where}, max_output= is a number of bytes, not {brief(size)}")
        put(self, "ok_codes", _exit_codes(self.ok_codes, f"{where}, ok_codes="))
        put(self, "artifacts", _patterns(self.artifacts, f"{where}, artifacts="))

    @property
    def __name__(self) -> str:
        """The name of its program, which is the node's name where none is given."""
        if callable(self.argv):
            return str(getattr(self.argv, "__name__", "command"))
        if isinstance(self.argv, str):
            return Path(self.argv.split()[0]).name or "command"
        return Path(self.resolve(None)[0]).name or "command"

    def resolve(self, value: Any) -> tuple[str, ...]:
        """The program and its arguments: of the input where `argv` is a function.

        Raises:
            DefinitionError: if they are not what `argv` may be.
        """
        argv: Any = self.argv(value) if callable(self.argv) else self.argv
        if isinstance(argv, str):
            words: tuple[Any, ...] = ("/bin/sh", "-c", argv) if argv.strip() else ()
        elif isinstance(argv, os.PathLike):
            words = (argv,)
        elif isinstance(argv, Sequence) and not isinstance(argv, bytes | bytearray):
            words = tuple(argv)
        else:
            raise DefinitionError(
                "Command: argv= takes a list such as ['make', 'all'], or a line for the shell, not "
                f"{brief(argv)}"
            )
        if not words:
            raise DefinitionError("Command: argv= names no program")
        for word in words:
            if not isinstance(word, str | os.PathLike):
                raise DefinitionError(
                    f"Command: argv= takes strings and paths, and {brief(word)} is neither; "
                    f"write {str(word)!r}"
                )
        shown = tuple(os.fsdecode(word) for word in words)
        for text in shown:
            if "\0" in text:
                raise DefinitionError("Command: argv= holds a null character: no program takes one")
            if not _encodes(text):
                raise DefinitionError(
                    f"Command: argv= holds {brief(text)}, which this system cannot encode"
                )
        if not shown[0]:
            raise DefinitionError("Command: argv= names no program: its first word is empty")
        return shown

    def surroundings(self, value: Any) -> tuple[_Environment, _Folder | None]:
        """Its variables and its directory: of the input where they are functions.

        Raises:
            DefinitionError: if they are not what `env` and `cwd` may be.
        """
        where = f"Command {self.__name__!r}"
        env, cwd = self.env, self.cwd
        if callable(env):
            env = _environment(env(value), f"{where}, env=")
        if callable(cwd):
            cwd = _check_folder(cwd(value), where)
        return env, cwd

    def feed(self, value: Any) -> bytes | None:
        """What the program can read: of the input where `stdin` is a function.

        Raises:
            DefinitionError: if it is neither text nor bytes.
        """
        data: Any = self.stdin(value) if callable(self.stdin) else self.stdin
        if data is None:
            return None
        if isinstance(data, str):
            try:
                return data.encode("utf-8", "surrogateescape")  # names of files may hold such bytes
            except UnicodeEncodeError as error:
                raise DefinitionError(
                    f"Command {self.__name__!r}, stdin= cannot be encoded: {error}"
                ) from None
        if isinstance(data, bytes | bytearray | memoryview):
            return bytes(data)
        raise DefinitionError(f"Command: stdin= takes text or bytes, not {brief(data)}")


def _environment(value: object, what: str) -> _Environment:
    if value is None:
        return MappingProxyType({})
    if not isinstance(value, Mapping):
        raise DefinitionError(f"{what} takes a mapping of names to texts, not {brief(value)}")
    for name, text in value.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise DefinitionError(f"{what} {brief(name)} is not the name of a variable")
        if not _encodes(name) or (isinstance(text, str) and not _encodes(text)):
            raise DefinitionError(f"{what} this system cannot encode {brief(name)}={brief(text)}")
        if text is not None and (not isinstance(text, str) or "\0" in text):
            raise DefinitionError(
                f"{what} {name} must be a text, or None to take it away, not {brief(text)}"
            )
    return MappingProxyType(dict(value))


def _check_folder(value: object, where: str) -> _Folder | None:
    if value is not None and not isinstance(value, str | os.PathLike):
        raise DefinitionError(f"{where}, cwd= takes a path, not {brief(value)}")
    return value


def _encodes(text: str) -> bool:
    """Whether a program can be handed this text."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _exit_codes(value: object, what: str) -> tuple[int, ...]:
    codes = (value,) if isinstance(value, int) else value
    entries = tuple(codes) if isinstance(codes, Iterable) else ()
    if not entries:
        raise DefinitionError(f"{what} takes exit codes such as (0, 1), not {brief(value)}")
    for code in entries:
        if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code <= 255:
            raise DefinitionError(f"{what} {brief(code)} is no exit code, which is 0 to 255")
    return entries


def _patterns(value: object, what: str) -> tuple[str, ...]:
    patterns = (value,) if isinstance(value, str) else value
    if not isinstance(patterns, Iterable):
        raise DefinitionError(
            f"{what} takes glob patterns such as 'out/*.json', not {brief(value)}"
        )
    entries = tuple(patterns)
    for entry in entries:
        if not isinstance(entry, str) or not entry.strip():
            raise DefinitionError(f"{what} {brief(entry)} is no glob pattern, such as 'out/*.json'")
    return entries
