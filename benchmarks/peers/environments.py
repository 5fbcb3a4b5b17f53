"""A virtual environment per peer, made once and found again by what is installed in it."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs
import trio

from benchmarks.peers.catalogue import Peer

__all__ = ["INSTALLATION", "Contestant", "cache", "prepare"]

ROOT = Path(__file__).parents[2]

INSTALLATION = 600.0
"""The most seconds that an installation may take."""


@attrs.frozen(kw_only=True)
class Contestant:
    """A peer that can be started, or the reason why it cannot.

    Attributes:
        peer: who it is.
        argv: what starts its worker.
        env: all variables of the worker.
        home: where it runs, and may leave files.
        absent: why it cannot run; empty if it can.
    """

    peer: Peer
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = attrs.field(factory=dict)
    home: Path = ROOT
    absent: str = ""


def cache(asked: Path | None = None) -> Path:
    """Where environments lie: as asked, or below `XDG_CACHE_HOME`."""
    if asked is not None:
        return asked.absolute()
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "graceline" / "peers"


def _place(peer: Peer, root: Path) -> Path:
    key = "\n".join([platform.python_version(), *peer.install])
    return root / f"{peer.name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


async def prepare(peer: Peer, root: Path) -> Contestant:
    """The environment of a peer: as it was found, or newly made within ten minutes."""
    worker = ("-m", "benchmarks.peers.worker", peer.name)
    if not peer.install:
        env = {**os.environ, **peer.env}
        return Contestant(peer=peer, argv=(sys.executable, *worker), env=env)
    place = _place(peer, root)
    complete, home = place / "complete", place / "home"
    if not complete.exists():
        reason = await _make(peer, place)
        if reason:
            return Contestant(peer=peer, absent=f"could not be installed: {reason}")
        home.mkdir(exist_ok=True)
        complete.touch()
    env = {
        name: os.environ[name]
        for name in ("PATH", "LANG", "LC_ALL", "TMPDIR")
        if name in os.environ
    }
    env |= {"HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **peer.env}
    argv = (str(place / "bin" / "python"), *worker)
    return Contestant(peer=peer, argv=argv, env=env, home=home)


async def _make(peer: Peer, place: Path) -> str:
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    python = str(place / "bin" / "python")
    steps = (
        [sys.executable, "-m", "venv", str(place)],
        [python, "-m", "pip", "install", "-q", "--prefer-binary", *peer.install],
    )
    with trio.move_on_after(INSTALLATION):
        for step in steps:
            ended = await trio.run_process(
                step, check=False, stdin=subprocess.DEVNULL, capture_stdout=True,
                capture_stderr=True,
            )  # fmt: skip
            if ended.returncode:
                return _reason(ended.stderr.decode(errors="replace"))
        return ""
    return f"took more than {INSTALLATION:g} s"


def _reason(printed: str) -> str:
    """The line that says it, without the address of whatever index was asked."""
    lines = [line for line in printed.splitlines() if line.strip()] or ["no reason was given"]
    errors = [line for line in lines if line.startswith("ERROR")]
    said = re.sub(r"\S+://\S+", "...", (errors or lines)[-1])
    return said.removeprefix("ERROR: ")[:200]
