"""Tools for files of tests: they hang, answer late, fail, or say what they are given."""

import os
from collections import Counter

import trio

from graceline.dialects.tools import Tools

tools = Tools.default()
calls = Counter()


@tools.tool("hang")
async def hang():
    """Never ends by itself."""
    await trio.sleep_forever()


@tools.tool("nap")
async def nap():
    """Ends after all the limits of the tests."""
    await trio.sleep(0.4)
    return "awake"


@tools.tool("hang_first")
async def hang_first(times, key):
    """Hangs in its first calls, and then answers which call it is."""
    calls[key] += 1
    if calls[key] <= times:
        await trio.sleep_forever()
    return calls[key]


@tools.tool("fail_first")
async def fail_first(times, key):
    """Fails in its first calls."""
    calls[key] += 1
    if calls[key] <= times:
        raise ConnectionError(f"call {calls[key]}")
    return calls[key]


@tools.tool("say")
async def say(value=None):
    """Gives what it is given."""
    return value


@tools.tool("refuse")
def refuse(why):
    """Answers that it was no success."""
    return {"success": False, "error": why, "tray": 2}


@tools.tool("square")
def square(x):
    """Says where it has run, too."""
    return {"pid": os.getpid(), "y": x * x}
