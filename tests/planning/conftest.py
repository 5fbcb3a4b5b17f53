"""Stores that know how long nodes take."""

import pytest

from graceline.adaptive import Key, MemoryStore


def add(store, pipeline, durations, *, lane="default"):
    """Record durations by node; a negative one was cut after so long."""
    for stage in pipeline.stages:
        for node in stage.nodes:
            if node.name in durations:
                samples = [
                    (float(number), abs(seconds), seconds < 0)
                    for number, seconds in enumerate(durations[node.name])
                ]
                store.put(Key(lane, pipeline.name, stage.name, node.name, "node"), samples, {})
    return store


@pytest.fixture
def recorded():
    """Make a store that knows durations by node of a pipeline."""
    return lambda pipeline, durations, **more: add(MemoryStore(), pipeline, durations, **more)
