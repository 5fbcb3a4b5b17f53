"""Where peers are installed: nothing is, here."""

from pathlib import Path

import pytest
import trio
from benchmarks.peers import environments
from benchmarks.peers.catalogue import Peer, peers
from benchmarks.peers.environments import cache, prepare

ROOT = Path(__file__).parents[2]


def test_every_peer_is_pinned_and_has_an_adapter():
    """Versions stand in one file, exactly, and who is in it can be run."""
    there = peers()
    assert {"graceline", "hand", "wait_for"} <= set(there)
    adapters = ROOT / "benchmarks" / "peers" / "adapters"
    assert {file.stem for file in adapters.glob("[a-z]*.py")} == set(there)
    assert all("==" in one for peer in there.values() for one in peer.install)


def test_environments_lie_where_they_are_asked_for(monkeypatch, tmp_path):
    """The option decides, then the cache of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache() == tmp_path / "graceline" / "peers"
    assert cache(tmp_path / "here") == tmp_path / "here"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache() == tmp_path / ".cache" / "graceline" / "peers"


async def test_an_environment_is_made_once(monkeypatch, tmp_path):
    """What was installed is found again, until other versions are asked for."""
    made = []

    async def make(peer, place):
        made.append(peer.install)
        place.mkdir()
        return "no such version" if peer.install == ("b==1",) else ""

    monkeypatch.setattr(environments, "_make", make)
    peer = Peer("a", "a", ("a==1",), {"NO_CALLS": "1"})
    first, again = await prepare(peer, tmp_path), await prepare(peer, tmp_path)
    assert first == again
    assert made == [("a==1",)]
    assert first.env["NO_CALLS"] == "1"
    assert first.home.is_dir()
    await prepare(Peer("a", "a", ("a==2",)), tmp_path)
    assert made[-1] == ("a==2",)
    failed = await prepare(Peer("b", "b", ("b==1",)), tmp_path)
    assert failed.absent == "could not be installed: no such version"


async def test_an_installation_that_fails_says_why(monkeypatch, tmp_path):
    """The reason is the line of the installer, without the address that it asked."""

    class Ended:
        returncode = 1
        stderr = b"WARNING: x\nERROR: No match for a==1 at https://example.org/simple/\nnote: y\n"

    async def run_process(step, **options):
        return Ended()

    monkeypatch.setattr(trio, "run_process", run_process)
    failed = await prepare(Peer("a", "a", ("a==1",)), tmp_path)
    assert failed.absent == "could not be installed: No match for a==1 at ..."


async def test_an_installation_that_hangs_is_given_up(monkeypatch, tmp_path, autojump_clock):
    """Ten minutes are enough, and a second try begins anew."""

    async def run_process(step, **options):
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "run_process", run_process)
    hung = await prepare(Peer("a", "a", ("a==1",)), tmp_path)
    assert hung.absent == "could not be installed: took more than 600 s"
    assert trio.current_time() == pytest.approx(600)
    assert not list(tmp_path.glob("*/complete"))
