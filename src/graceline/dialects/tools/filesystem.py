"""The tool `filesystem`: files below one directory, which it never leaves.

Everything happens in a worker thread, so that a slow disk stops nobody. A thread whose step was
cancelled in the meantime puts nothing in its place.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar

import trio

from graceline.definitions.checks import brief
from graceline.dialects.tools.actions import Actions
from graceline.dialects.tools.confined import Place, opened_place
from graceline.dialects.tools.results import ToolFailedError, ToolRefusedError

__all__ = ["Filesystem"]

_MAX_READ = 10 << 20
_MAX_ENTRIES = 10_000
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""Never through a link, never inherited, and never waiting for the other end of a pipe."""
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


class Filesystem(Actions):
    """Reads and writes text files below a directory.

    Args:
        root: the directory; it has to exist when the tool is used.
        max_read: bytes of a file that is read.
    """

    name: ClassVar[str] = "filesystem"
    actions: ClassVar[dict[str, str]] = {
        "read": "read",
        "write": "write",
        "append": "append",
        "list": "list_entries",
        "exists": "exists",
        "delete": "delete",
    }

    def __init__(self, root: Path | str, *, max_read: int = _MAX_READ) -> None:
        self._root = Path(root).absolute()
        self._max_read = max_read

    async def read(self, path: str) -> dict[str, Any]:
        """The text of a file: `content`, `path`, `size`."""
        return await _in_thread(self._read, path)

    async def write(self, path: str, content: str) -> dict[str, Any]:
        """Write a file at once or not at all; directories on the way are made: `path`, `size`."""
        return await _in_thread(self._write, path, _encoded(content))

    async def append(self, path: str, content: str) -> dict[str, Any]:
        """Write at the end of a file, which is made if it is missing: `path`, `size`."""
        return await _in_thread(self._append, path, _encoded(content))

    async def list_entries(self, path: str = ".") -> dict[str, Any]:
        """What is in a directory, sorted: `entries` with `name`, `type` and `size`, and `path`."""
        return await _in_thread(self._list, path)

    async def exists(self, path: str) -> dict[str, Any]:
        """Whether something is there: `exists`, `type` (None if not), `path`."""
        return await _in_thread(self._exists, path)

    async def delete(self, path: str) -> dict[str, Any]:
        """Delete a file, a link or an empty directory: `path`."""
        return await _in_thread(self._delete, path)

    # -- in the worker thread -------------------------------------------------------------------

    def _read(self, path: str) -> dict[str, Any]:
        with (
            opened_place(self._root, path) as place,
            _explained(path),
            _opened(place, os.O_RDONLY, path) as file,
        ):
            data = file.read(self._max_read + 1)
        if len(data) > self._max_read:
            raise ToolFailedError(
                f"filesystem: {path!r} has more than {self._max_read} bytes, and no more are read"
            )
        try:
            content = data.decode()
        except UnicodeDecodeError as error:
            raise ToolFailedError(
                f"filesystem: {path!r} is not UTF-8 text: {error.reason} at byte {error.start}"
            ) from error
        return {"success": True, "path": path, "content": content, "size": len(data)}

    def _write(self, path: str, data: bytes) -> dict[str, Any]:
        with opened_place(self._root, path, make=True) as place, _explained(path):
            found = place.look()
            if found is not None:
                _check_regular(found, path)
            mode = 0o666 if found is None else stat.S_IMODE(found.st_mode)
            # A name of a fixed length: that of the file may be as long as names can be.
            beside = Place(place.directory, f".graceline-{secrets.token_hex(8)}.tmp")
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                with _opened(beside, flags, path, mode) as file:
                    file.write(data)
                    file.flush()
                    if found is not None:
                        os.fchmod(file.fileno(), mode)
                    os.fsync(file.fileno())
                trio.from_thread.check_cancelled()
                os.replace(
                    beside.name,
                    place.name,
                    src_dir_fd=place.directory,
                    dst_dir_fd=place.directory,
                )
            except BaseException:
                with suppress(OSError):
                    os.unlink(beside.name, dir_fd=place.directory)
                raise
        return {"success": True, "path": path, "size": len(data)}

    def _append(self, path: str, data: bytes) -> dict[str, Any]:
        with opened_place(self._root, path, make=True) as place, _explained(path):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with _opened(place, flags, path) as file:
                trio.from_thread.check_cancelled()
                file.write(data)
                file.flush()
                size = os.fstat(file.fileno()).st_size
        return {"success": True, "path": path, "size": size}

    def _list(self, path: str) -> dict[str, Any]:
        with opened_place(self._root, path) as place, _explained(path):
            flags = os.O_RDONLY | os.O_DIRECTORY | _FLAGS
            descriptor = os.open(place.name, flags, dir_fd=place.directory)
            try:
                names = sorted(os.listdir(descriptor))  # noqa: PTH208 - of what was opened
                if len(names) > _MAX_ENTRIES:
                    raise ToolFailedError(
                        f"filesystem: {path!r} has {len(names)} entries, and {_MAX_ENTRIES} at the "
                        "most are listed"
                    )
                entries = [_entry(Place(descriptor, name)) for name in names]
            finally:
                os.close(descriptor)
        listed = [entry for entry in entries if entry is not None]
        return {"success": True, "path": path, "entries": listed}

    def _exists(self, path: str) -> dict[str, Any]:
        try:
            with opened_place(self._root, path) as place, _explained(path):
                found = place.look()
        except ToolFailedError as error:
            cause = error.__cause__
            if not isinstance(cause, FileNotFoundError | NotADirectoryError):
                raise
            found = None
        kind = None if found is None else _kind(found)
        return {"success": True, "path": path, "exists": found is not None, "type": kind}

    def _delete(self, path: str) -> dict[str, Any]:
        with opened_place(self._root, path, follow=False) as place, _explained(path):
            if place.name == ".":
                raise ToolRefusedError("filesystem: its root is not deleted")
            found = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
            trio.from_thread.check_cancelled()
            if stat.S_ISDIR(found.st_mode):
                os.rmdir(place.name, dir_fd=place.directory)
            else:
                os.unlink(place.name, dir_fd=place.directory)
        return {"success": True, "path": path}


async def _in_thread(work: Callable[..., dict[str, Any]], *args: Any) -> dict[str, Any]:
    return await trio.to_thread.run_sync(partial(work, *args), abandon_on_cancel=True)


def _encoded(content: object) -> bytes:
    """The bytes of a text that is to be written."""
    if not isinstance(content, str):
        raise ToolRefusedError(
            f"filesystem writes text, and content= is {brief(content)}; the filter tojson makes one"
        )
    try:
        return content.encode()
    except UnicodeEncodeError as error:
        raise ToolRefusedError(f"filesystem: content= cannot be encoded: {error}") from error


@contextmanager
def _explained(path: object) -> Iterator[None]:
    """Errors of the system as those of the tool, with the path as the file says it."""
    try:
        yield
    except OSError as error:
        said = error.strerror
        if error.errno == errno.ELOOP:
            said = "it became a link in the meantime"
        raise ToolFailedError(f"filesystem: {path!r}: {said}") from error


@contextmanager
def _opened(place: Place, flags: int, path: object, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """A regular file; what else can be opened is closed again."""
    descriptor = os.open(place.name, flags | _FLAGS, mode, dir_fd=place.directory)
    try:
        _check_regular(os.fstat(descriptor), path)
        how = "rb" if flags & os.O_ACCMODE == os.O_RDONLY else "wb"
        with os.fdopen(descriptor, how, closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def _check_regular(found: os.stat_result, path: object) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ToolFailedError(f"filesystem: {path!r} is a {_kind(found)}, not a file")


def _kind(found: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(found.st_mode), "device")


def _entry(place: Place) -> dict[str, Any] | None:
    """An entry of a directory; None if it is gone by now."""
    found = place.look()
    if found is None:
        return None
    size = found.st_size if stat.S_ISREG(found.st_mode) else None
    return {"name": place.name, "type": _kind(found), "size": size}
