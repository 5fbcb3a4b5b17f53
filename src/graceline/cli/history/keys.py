"""Which key of a history is meant by the name that somebody types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graceline.cli.failures import UsageError
from graceline.definitions.checks import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graceline.adaptive import Key

__all__ = ["about", "described", "find_key", "path_of"]

_MOST = 12  # keys that a message lists


def path_of(key: Key) -> str:
    """The whole name of a key: `pipeline.stage.node`, as far as it has these."""
    return ".".join(filter(None, (key.pipeline, key.stage, key.node)))


def about(key: Key) -> str:
    """What a key is, and of which lane."""
    return f"{key.level}, lane {key.lane or repr('')}"


def described(key: Key) -> str:
    """A key with all that tells it from others."""
    return f"{path_of(key)} (lane {key.lane or repr('')}, level {key.level})"


def find_key(
    keys: Sequence[Key], name: str, lane: str | None = None, level: str | None = None
) -> Key:
    """The one key that a name stands for.

    Args:
        keys: those to choose from.
        name: the whole name, such as `shop.search.rank`; or its end (`search.rank`, `rank`); or
            another part of it (`shop`, `search`). The first of these that fits anything counts.
        lane: only keys of this lane.
        level: only keys of this level.

    Raises:
        UsageError: if no key fits, or several do; says which there are.
    """
    for option, wanted in (("lane", lane), ("level", level)):
        if wanted is None:
            continue
        valid = sorted({getattr(key, option) for key in keys})
        if wanted not in valid:
            close = nearest(wanted, valid).replace("valid are:", "there is:")
            raise UsageError(f"--{option} {wanted}: no history has this {option}; {close}")
        keys = [key for key in keys if getattr(key, option) == wanted]
    paths = {key: path_of(key) for key in keys}
    for fitting in (
        [key for key, path in paths.items() if path == name],
        [key for key, path in paths.items() if path.endswith(f".{name}")],
        [key for key, path in paths.items() if f".{name}." in f".{path}."],
    ):
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise UsageError(
                f"{name!r} names several: {_listed([described(key) for key in fitting])}; "
                f"{_remedy(fitting)}"
            )
    raise UsageError(f"there is no history of {name!r}; {_hint(name, keys)}")


def _remedy(keys: Sequence[Key]) -> str:
    ways = []
    if len({path_of(key) for key in keys}) > 1:
        ways.append("more of its name")
    if len({key.lane for key in keys}) > 1:
        ways.append("--lane")
    if len({key.level for key in keys}) > 1:
        ways.append("--level")
    return f"narrow it by {' or '.join(ways)}"


def _hint(name: str, keys: Sequence[Key]) -> str:
    paths = [path_of(key) for key in keys]
    parts = [part for key in keys for part in (key.node, key.stage, key.pipeline) if part]
    close = nearest(name, dict.fromkeys([*paths, *parts]))
    if close.startswith("did you mean"):
        return close
    return f"there are: {_listed(list(dict.fromkeys(paths)))}" if paths else "there is none at all"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST
    said = ", ".join(names[:_MOST])
    return f"{said} and {more} more (see: graceline history list)" if more > 0 else said
