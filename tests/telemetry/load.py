"""Engines under a load that has everything the dashboard shows; `test_server` starts it.

Says where its metrics are, then takes words from standard input: `slow` and `fast` are about the
pipeline whose objective is watched. It ends with its standard input, or after four minutes.
"""

import json
import os
import random
import sys
import threading
import time
from functools import partial

import trio

from graceline import (
    Adaptive,
    Breaker,
    Hedge,
    Metrics,
    Node,
    Pipeline,
    Retry,
    Stage,
    Watchdog,
    choose,
    cleanup,
    current,
    open_engine,
    parallel,
)

CHANCE = random.Random(7)  # noqa: S311 - durations
LIFETIME = 240
PRICED = 300
slow = False


async def find(_):
    await trio.sleep(5 if slow else 0.01)


async def rank(_):
    await trio.sleep(0.005)


async def price(number):
    """One in ten takes too long, so that the p95 is the duration of a run that was cut."""
    await trio.sleep(5 if number % 10 == 0 else CHANCE.uniform(0.01, 0.05))


async def hang(_):
    await trio.sleep(5)


async def clean_for_long(_):
    try:
        await trio.sleep(5)
    finally:
        with cleanup():
            await trio.sleep(5)


async def insist(_):
    try:
        await trio.sleep(5)
    except trio.Cancelled:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.02)
    return "all the same"


async def stay(_):
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def break_(_):
    raise ConnectionError("the service is down")


async def stumble(_):
    if current().attempt == 1:
        raise ConnectionError("once in a while")


async def slow_first(_):
    await trio.sleep(0.01 if current().hedge else 0.3)


async def slow_second(_):
    await trio.sleep(0.3 if current().hedge else 0.05)


async def block(_):
    time.sleep(0.1)


def sleep_on(_):
    time.sleep(LIFETIME)


async def learn(_):
    await trio.sleep(CHANCE.uniform(0.005, 0.02))


SHOP = Pipeline(
    "shop",
    [Stage("find", [find], timeout="900ms", slo="50ms"), Stage("rank", [rank])],
    timeout="1s",
    slo="100ms",
)
PRICES = Pipeline("priced", [price], timeout="400ms", grace="10ms")
TROUBLED = parallel(
    Node(hang, timeout="30ms", critical=False),
    Node(break_, critical=False, retry=Retry(attempts=2, backoff=0.001)),
    Node(stumble, critical=False, retry=Retry(backoff=0.001)),
    Node(
        break_,
        name="guarded",
        critical=False,
        breaker=Breaker(consecutive=1, open_for=LIFETIME, name="prices"),
    ),
    Node(slow_first, idempotent=True, hedge=Hedge(delay=0.02, max_extra=1)),
    Node(slow_second, idempotent=True, hedge=Hedge(delay=0.02, max_extra=1)),
    choose(Node(break_, name="main"), rank, name="either"),
    Node(learn, timeout=Adaptive(initial=1, ceiling=2)),
)
SOMETIMES = [
    Pipeline("troubled", [Stage("troubled", TROUBLED)], timeout=5),
    Pipeline("cut", [Stage("first", [rank]), Stage("then", [hang], timeout="30ms")], timeout=1),
    Pipeline("untidy", [clean_for_long], timeout="30ms", grace="20ms"),
    Pipeline("late", [insist], timeout="30ms", grace="100ms"),
]
BLOCKING = Pipeline("blocking", [block], timeout=5)


async def every(seconds, start):
    while True:
        start()
        await trio.sleep(seconds)


async def impatient(engine):
    run = engine.start(Pipeline("impatient", [hang], timeout=10))
    await trio.sleep(0.02)
    run.cancel("the user went away")
    await run.wait()


async def measured(engine):
    """The durations of a number of runs, as their results have them."""
    durations = []

    async def one(number):
        durations.append((await engine.run(PRICES, number)).elapsed)

    for start in range(0, PRICED, 30):
        async with trio.open_nursery() as nursery:
            for number in range(start, start + 30):
                nursery.start_soon(one, number)
    say(priced=sorted(durations))


def say(**facts):
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def listen():
    global slow  # noqa: PLW0603 - a switch
    for line in sys.stdin:
        slow = line.strip() == "slow"
    os._exit(0)  # threads and nodes go on that nobody can stop; so they are meant to


async def main():
    metrics = Metrics()
    watchdog = Watchdog(stuck_after=0.3, blocked_after=0.05)
    async with (
        open_engine(
            metrics=metrics, metrics_port=0, max_concurrent_pipelines=None, watchdog=watchdog
        ) as engine,
        open_engine(
            metrics=metrics, lane="crowded", max_concurrent_pipelines=1, max_queue=None
        ) as crowded,
        open_engine(metrics=metrics, lane="full", max_concurrent_pipelines=1, max_queue=0) as full,
        trio.open_nursery() as nursery,
    ):
        host, port = engine.metrics_address
        say(target=f"{host}:{port}")
        engine.start(Pipeline("stuck", [stay], timeout=1, grace="10ms"))
        engine.start(Pipeline("thread", [sleep_on], timeout=1))
        nursery.start_soon(every, 0.1, partial(engine.start, SHOP))
        orders = Pipeline("orders", [serve], timeout=60)
        nursery.start_soon(every, 0.045, partial(crowded.start, orders))
        nursery.start_soon(every, 0.2, partial(full.start, Pipeline("reports", [hang], timeout=1)))
        for pipeline in SOMETIMES:
            nursery.start_soon(every, 0.7, partial(engine.start, pipeline))
        nursery.start_soon(every, 0.7, partial(nursery.start_soon, impatient, engine))
        nursery.start_soon(every, 0.4, partial(engine.start, BLOCKING))
        nursery.start_soon(measured, engine)


async def serve(_):
    await trio.sleep(0.06)


if __name__ == "__main__":
    threading.Thread(target=listen, daemon=True).start()
    end = threading.Timer(LIFETIME, os._exit, (1,))
    end.daemon = True
    end.start()
    trio.run(main)
