"""Registering from several threads, and the end of a dispatcher's block that goes wrong."""

import threading

import pytest

from graceline import BlockingEngine, DefinitionError
from graceline.dialects.messages import Dispatcher


def test_a_type_is_registered_once(monkeypatch):
    """Of two threads that register the same type at the same time one is refused."""
    agents = Dispatcher()
    inside = threading.Barrier(2)
    check = agents._check_free

    def slow(name):
        check(name)
        try:
            inside.wait(0.2)  # without a lock both would be here
        except threading.BrokenBarrierError:
            pass

    monkeypatch.setattr(agents, "_check_free", slow)
    ended = []

    def register():
        try:
            agents.register("search", len)
        except DefinitionError:
            ended.append("refused")
        else:
            ended.append("registered")

    threads = [threading.Thread(target=register) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ended) == ["refused", "registered"]


def test_a_block_whose_end_fails_is_over(monkeypatch):
    """The dispatcher has no engine any more, and can be opened again."""
    agents = Dispatcher()
    leave = BlockingEngine.__exit__

    def failing(self, *error):
        leave(self, *error)
        raise RuntimeError("the end")

    with monkeypatch.context() as patch:
        patch.setattr(BlockingEngine, "__exit__", failing)
        with pytest.raises(RuntimeError, match="the end"), agents:
            pass
    agents.register("count", lambda request: 1)
    with agents:
        assert agents.process({"type": "count"}, 30)["steps"][0]["result"] == 1
