"""The example service, whose services misbehave on demand: `faulty_service.py FACTOR [options]`.

A query with `!hung search` in it hangs in `search`, after its work. FACTOR stretches all limits, so
that a busy machine passes no limit that is not meant; graces stay. At its end it prints, as JSON,
the runs that were started, how many services were at work at once at most, and what is left.
"""

import json
import logging
import os
import re
import sys
import threading
import time
from functools import wraps
from pathlib import Path

import attrs
import trio

from graceline import cleanup, current

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
import service


async def slow():
    await trio.sleep(1.5)


async def hung():
    await trio.sleep_forever()


async def unclean():
    try:
        await trio.sleep_forever()
    finally:
        with cleanup():
            await trio.sleep_forever()


async def raising():
    raise RuntimeError("the model is down")


async def blocking():
    time.sleep(0.7)


FAULTS = {function.__name__: function for function in (slow, hung, unclean, raising, blocking)}
runs, at_work, most = [], 0, 0


def faulty(work):
    """The work of one service, with the fault that the query asks for, if it is meant."""

    @wraps(work)
    async def misbehave(self, value):
        global at_work, most  # noqa: PLW0603
        at_work += 1
        most = max(most, at_work)
        try:
            if work.__name__ == "understand":
                runs.append(current().run_id)
            result = await work(self, value)
            asked = re.search(r"!(\w+) (\w+)", str(value))
            if asked and asked[2] == work.__name__:
                logging.getLogger("faults").info("%s is %s", work.__name__, asked[1])
                await FAULTS[asked[1]]()
            return result
        finally:
            at_work -= 1

    return misbehave


class Faulty(service.Services):
    """Services that fail as they are told."""


for name, work in vars(service.Services).items():
    if callable(work):
        setattr(Faulty, name, faulty(work))


def stretched(pipeline, factor):
    stages = tuple(attrs.evolve(one, timeout=one.timeout * factor) for one in pipeline.stages)
    return attrs.evolve(pipeline, timeout=pipeline.timeout * factor, stages=stages)


def has_children():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    factor = float(sys.argv.pop(1))
    service.main(stretched(service.assistant(Faulty()), factor))
    others = [one.name for one in threading.enumerate() if one is not threading.main_thread()]
    left = [*others, *["child"] * has_children()]
    print(json.dumps({"runs": runs, "most": most, "left": left}))  # noqa: T201 - for the tests
