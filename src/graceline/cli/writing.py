"""Where the command writes what it is asked to: seen before the run, and written as a whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from graceline.cli.failures import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_places", "write_file"]


def check_places(places: Mapping[str, Path | None]) -> None:
    """See before the run that files can be there after it.

    Args:
        places: what is asked for, by its option; None for what is not.

    Raises:
        UsageError: for a directory, for a file in none or in one that cannot be written to, and for
            one file that is asked for twice.
    """
    taken: dict[str, str] = {}
    for option, path in places.items():
        if path is None:
            continue
        what = f"{option} {path}"
        if path.is_dir():
            raise UsageError(f"{what}: this is a directory; name a file")
        if not path.parent.is_dir():
            raise UsageError(f"{what}: there is no directory {path.parent}")
        real = _real(path)
        is_device = real.exists() and not real.is_file()
        place = real if is_device else real.parent
        if not os.access(place, os.W_OK):
            raise UsageError(f"{what}: {place} cannot be written to")
        other = taken.setdefault(str(real), option)
        if other != option and not is_device:
            raise UsageError(f"{what}: {other} names the same file; name another one")


def write_file(path: Path, text: str) -> None:
    """Write a file so that there is either the old one or the new one, and nothing in between.

    A pipe or a device is written to as it is.

    Raises:
        OSError: if it cannot be written.
    """
    real = _real(path)
    if real.exists() and not real.is_file():
        real.write_text(text, "utf-8", "backslashreplace")
        return
    mode = real.stat().st_mode if real.exists() else 0o666 & ~_umask()
    file, temporary = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name[:100]}.")
    try:
        with open(file, "w", encoding="utf-8", errors="backslashreplace") as stream:  # noqa: PTH123 - a descriptor
            os.fchmod(stream.fileno(), mode & 0o777)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(real)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _real(path: Path) -> Path:
    """What a link stands for: the link itself stays."""
    return Path(os.path.realpath(path))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
