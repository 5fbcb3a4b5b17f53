"""Paths that stay below a directory, whatever happens there at the same time.

A path is walked one name at a time, each opened relative to the descriptor of the one before and
without following a link. A link is read and walked like a path of its own: it may lead anywhere
below the root and nowhere else. Whoever replaces a directory by a link in the middle of a walk
changes nothing, since the descriptors stay those of the directories that were looked at.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from graceline.definitions.checks import brief
from graceline.dialects.tools.results import ToolFailedError, ToolRefusedError

__all__ = ["Place", "opened_place"]

_MAX_LINKS = 40
_MAX_NAMES = 100
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@attrs.frozen
class Place:
    """Where a path leads.

    Attributes:
        directory: a descriptor of the directory, open while the context is.
        name: of the entry in it, which is no link if links were followed; "." for the root itself.
    """

    directory: int
    name: str

    def look(self) -> os.stat_result | None:
        """What is there, None if nothing is."""
        try:
            return os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return None


@contextmanager
def opened_place(
    root: Path, path: object, *, follow: bool = True, make: bool = False
) -> Iterator[Place]:
    """Walk to a path below a root; the last name need not exist.

    Args:
        root: the directory that is not left.
        path: relative to it, without `..`.
        follow: also follow a link that the last name is.
        make: create the directories that are missing on the way.

    Raises:
        ToolRefusedError: for a path that would leave the root.
        ToolFailedError: if a directory is missing, or is none.
    """
    names = _names(path)
    with ExitStack() as opened:
        walk = _Walk(root, str(path), opened, make=make)
        yield walk.to(names, follow=follow)


def _names(path: object) -> list[str]:
    """The names that a path consists of."""
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not isinstance(path, str) or not path:
        raise ToolRefusedError(f"filesystem takes a path, not {brief(path)}")
    if "\0" in path:
        raise ToolRefusedError(f"filesystem: {brief(path)} holds a null character")
    if path.startswith("/"):
        raise ToolRefusedError(
            f"filesystem: {brief(path)} is absolute; write it relative to the root"
        )
    names = [name for name in path.split("/") if name not in ("", ".")]
    if len(names) > _MAX_NAMES:
        raise ToolRefusedError(f"filesystem: a path has {_MAX_NAMES} names at most")
    if ".." in names:
        raise ToolRefusedError(f"filesystem: {brief(path)} holds '..', which no path may")
    return names


class _Walk:
    """A walk from the root; `self._below` are the descriptors on the way, the root first."""

    def __init__(self, root: Path, shown: str, opened: ExitStack, *, make: bool) -> None:
        self._root = root
        self._shown = shown
        self._opened = opened
        self._make = make
        self._links = 0
        try:
            self._below = [self._keep(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))]
        except OSError as error:
            raise ToolFailedError(
                f"filesystem: its root {str(root)!r}: {error.strerror}"
            ) from error

    def to(self, names: list[str], *, follow: bool) -> Place:
        """Walk along names; the last one is not entered."""
        waiting = names[::-1]
        while waiting:
            name = waiting.pop()
            if name == "..":
                if len(self._below) == 1:
                    raise self._left()
                self._below.pop()
                continue
            last = not waiting
            if last and not follow:
                return Place(self._below[-1], name)
            target = self._target(name)
            if target is not None:
                waiting += target[::-1]
            elif last:
                return Place(self._below[-1], name)
            else:
                self._below.append(self._enter(name))
        return Place(self._below[-1], ".")

    def _keep(self, descriptor: int) -> int:
        self._opened.callback(os.close, descriptor)
        return descriptor

    def _target(self, name: str) -> list[str] | None:
        """The names that a link leads along, None for what is no link."""
        try:
            target = os.readlink(name, dir_fd=self._below[-1])
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return None
            raise self._failed(error) from error
        self._links += 1
        if self._links > _MAX_LINKS:
            raise ToolFailedError(f"filesystem: {self._shown!r} leads through too many links")
        if not target.startswith("/"):
            return [part for part in target.split("/") if part not in ("", ".")]
        root = os.path.realpath(self._root)
        if target != root and not target.startswith(root.rstrip("/") + "/"):
            raise self._left()
        del self._below[1:]
        return [part for part in target[len(root) :].split("/") if part not in ("", ".")]

    def _enter(self, name: str) -> int:
        """Open a directory, and create it before if it may be."""
        if len(self._below) > 2 * _MAX_NAMES:
            raise ToolFailedError(f"filesystem: {self._shown!r} leads too deep")
        here = self._below[-1]
        try:
            return self._keep(os.open(name, _DIRECTORY, dir_fd=here))
        except FileNotFoundError as error:
            if not self._make:
                raise self._failed(error) from error
        except OSError as error:
            raise self._failed(error) from error
        try:
            with _already():
                os.mkdir(name, dir_fd=here)
            return self._keep(os.open(name, _DIRECTORY, dir_fd=here))
        except OSError as error:
            raise self._failed(error) from error

    def _left(self) -> ToolRefusedError:
        return ToolRefusedError(f"filesystem: {self._shown!r} leads out of the root through a link")

    def _failed(self, error: OSError) -> ToolFailedError:
        return ToolFailedError(f"filesystem: {self._shown!r}: {error.strerror}")


@contextmanager
def _already() -> Iterator[None]:
    """Another one may create a directory at the same time."""
    try:
        yield
    except FileExistsError:
        return
