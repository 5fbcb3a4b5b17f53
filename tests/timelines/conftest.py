"""A headless browser with real keys, and runs to draw, in virtual time."""

import json
import os
import random
import select
import shutil
import subprocess

import attrs
import pytest
import trio
from trio.testing import MockClock

from graceline import (
    Hedge,
    Node,
    Pipeline,
    Retry,
    Stage,
    Timeouts,
    cleanup,
    open_engine,
    parallel,
    save_partial,
)
from graceline.deadlines import Blame, Kind, Status
from graceline.telemetry.timeline import Timeline
from graceline.timelines import AttemptRow, Drawn, Row

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS = 60  # of patience with a busy machine; no test asserts a time
KEYS = {
    "Tab": 9,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Enter": 13,
    " ": 32,
}
HELD = {"Alt": 1, "Control": 2, "Meta": 4}  # fmt: skip


class Browser:
    """Chromium without a window, spoken to through two pipes: no port, and no network."""

    def __init__(self, profile):
        down, self._to = os.pipe()
        self._from, up = os.pipe()

        def hand_over():
            for mine, theirs in ((os.dup(down), 3), (os.dup(up), 4)):
                os.dup2(mine, theirs)

        self._process = subprocess.Popen(  # noqa: S603 - a browser takes its pipes as 3 and 4
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--hide-scrollbars", f"--user-data-dir={profile}", "--remote-debugging-pipe"],
            close_fds=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=hand_over,  # noqa: PLW1509 - a browser takes its pipes as 3 and 4
        )  # fmt: skip
        os.close(down)
        os.close(up)
        self._number, self._buffer, self._heard = 0, b"", []

    def say(self, method, session=None, **parameters):
        """Ask for something, and wait for the answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._heard.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def wait(self, method, session):
        """Wait for an event, and forget what came before it."""
        while True:
            event = self._heard.pop(0) if self._heard else self._next()
            if event.get("method") == method and event.get("sessionId") == session:
                return event["params"]

    def _next(self):
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], SECONDS)
            assert ready, "the browser says nothing"
            piece = os.read(self._from, 1 << 20)
            assert piece, "the browser has ended"
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def close(self):
        """End it, and see that it has ended."""
        self._process.terminate()
        self._process.wait(SECONDS)
        os.close(self._to)
        os.close(self._from)


class Page:
    """A page that is open in the browser."""

    def __init__(self, browser, path, *, width, height, scheme, script):
        self._browser = browser
        target = browser.say("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.say("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.say(f"{domain}.enable")
        self.say("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=1, mobile=False)  # fmt: skip
        preference = {"name": "prefers-color-scheme", "value": scheme}
        self.say("Emulation.setEmulatedMedia", features=[preference])
        self.say("Emulation.setScriptExecutionDisabled", value=not script)
        self.say("Page.navigate", url=path.as_uri())
        browser.wait("Page.loadEventFired", self._session)
        self._target = target

    def say(self, method, **parameters):
        return self._browser.say(method, self._session, **parameters)

    def look(self, expression):
        """The value of an expression in the page."""
        found = self.say("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key, held=None):
        """Press a key and let it go, as a hand does, while another one may be held."""
        text = {"text": {"Enter": "\r"}.get(key, key)} if key in ("Enter", " ") else {}
        for kind in ("keyDown", "keyUp"):
            self.say("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                     modifiers=HELD.get(held, 0), windowsVirtualKeyCode=KEYS[key],
                     **(text if kind == "keyDown" else {}))  # fmt: skip

    def click(self, selector):
        """Click into the middle of an element."""
        x, y = self.look(
            f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView();"
            " const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.say("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def accessible(self):
        """What a screen reader gets: role, name and properties, in order."""
        nodes = self.say("Accessibility.getFullAXTree")["nodes"]
        return [
            (
                node["role"]["value"],
                node.get("name", {}).get("value", ""),
                {p["name"]: p["value"].get("value") for p in node.get("properties", [])},
            )
            for node in nodes
            if not node["ignored"]
        ]

    def close(self):
        self._browser.say("Target.closeTarget", targetId=self._target)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        missing = "needs a headless browser: apt-get install chromium"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def show(browser, tmp_path):
    """Open a text as a page of the browser: `show(html, width=480, scheme="dark")`."""
    pages = []

    def opened(text, *, name="it.html", width=1200, height=900, scheme="light", script=True):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        pages.append(Page(browser, path, width=width, height=height, scheme=scheme, script=script))
        return pages[-1]

    yield opened
    for page in pages:
        page.close()


def sleeper(name, seconds, cleaning=0.0, **options):
    """A node that works for some seconds, and then cleans up."""

    async def work(value):
        save_partial("secret")
        try:
            await trio.sleep(seconds)
        finally:
            with cleanup():
                await trio.sleep(cleaning)
        return "secret"

    return Node(work, name=name, **options)


def observe(pipeline, value=None, **call):
    """Run a pipeline in virtual time; the timeline that heard it, and the result."""
    timeline = Timeline()

    async def main():
        async with open_engine(sinks=[timeline], timeouts=Timeouts.none()) as engine:
            return await engine.run(pipeline, value, **call)

    return timeline, trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.fixture(scope="session")
def cut():
    """A run whose fourth stage passed its limit: cleanup, blame, a degraded part, skipped parts."""
    retrieve = parallel(
        sleeper("vectors", 0.12),
        sleeper("keywords", 9, 0.05, timeout=0.2, critical=False),
        sleeper("history", 0.03),
    )
    stages = [
        Stage("auth", [sleeper("auth", 0.02)]),
        Stage("retrieve", retrieve),
        Stage("generate", [sleeper("draft", 4, 0.15)], timeout=0.6),
        Stage("audit", [sleeper("log", 0.01)]),
    ]
    return observe(Pipeline("answer", stages, timeout=1, grace=0.3))


@pytest.fixture(scope="session")
def tried():
    """A run with retries, backoffs and a hedge."""
    made, asked = iter(range(9)), iter(range(9))

    async def flaky(value):
        await trio.sleep(0.1)
        if next(made) < 2:
            raise ConnectionError("secret")

    async def slow_once(value):
        await trio.sleep(0.1 if next(asked) else 2)

    nodes = parallel(
        Node(flaky, name="flaky", retry=Retry(attempts=4, backoff=0.2)),
        Node(slow_once, name="hedged", idempotent=True, hedge=Hedge(delay=0.3, max_extra=1)),
    )
    random.seed(7)
    return observe(Pipeline("tried", Stage("load", nodes)))


@pytest.fixture(scope="session")
def thousand():
    """A run of 1,000 nodes in four stages, five of which did not succeed."""
    dice = random.Random(5)  # noqa: S311 - no secrets
    stages = []
    for number in range(4):
        nodes = [
            sleeper(
                f"job {number}-{part:03}",
                9 if part in (7, 8)[: number % 3] else 0.05 + dice.random() / 2,
                timeout=0.9,
                critical=False,
            )
            for part in range(250)
        ]
        stages.append(Stage(f"stage {number}", parallel(*nodes)))
    return observe(Pipeline("thousand", stages))


@pytest.fixture(scope="session", name="observe")
def give_observe():
    return observe


@pytest.fixture(scope="session", name="sleeper")
def give_sleeper():
    return sleeper


ODD = ("a</script><script>alert(1)</script>", "turned \u202e exe.gnp", "x" * 500, "\0 \a\n \x1b[31m",
       "\U0001f469\u200d\U0001f467 \U0001f389", "שלום", "a & b <i> \"q\" 'r'")  # fmt: skip


@pytest.fixture(scope="session")
def odd():
    """A run whose parts have names that a page must not believe."""
    stages = [Stage(name, [sleeper(f"{name} too", 0.1)]) for name in ODD]
    return observe(Pipeline("</title> \u202e & co", stages, timeout=9))


@pytest.fixture(scope="session")
def odd_names():
    return ODD


class Made(Drawn):
    """A timeline of rows that were put together by hand."""

    queued, degraded = 0.25, ()

    def __init__(self, *rows, took):
        self._rows = rows
        self._took = took

    @property
    def pipeline(self):
        return Row(level="pipeline", stage="", name="made", started=0.0,
                   worked_until=self._took, ended=self._took, status=Status.OK)  # fmt: skip

    def rows(self):
        return self._rows


def seldom():
    """A run with everything that is seldom: queues, refusals, many attempts, threads, late values."""
    blame = Blame(level="node", name="refused", kind=Kind.REJECTED, limit=None, source=None,
                  elapsed=0.0, message="the breaker is open")  # fmt: skip
    stage = Row(level="stage", stage="s", name="s", started=0.25, worked_until=4.0, ended=4.0,
                status=Status.OK)  # fmt: skip
    node = attrs.evolve(stage, level="node", started=0.5)
    one = AttemptRow(number=1, started=0.5, worked_until=0.6, ended=0.6, status=Status.FAILED,
                     delay=0.2, error_type="ValueError")  # fmt: skip
    tries = [attrs.evolve(one, number=at + 1, started=0.5 + at * 0.3, worked_until=0.6 + at * 0.3,
                          ended=0.6 + at * 0.3) for at in range(10)]  # fmt: skip
    last = attrs.evolve(one, number=11, started=3.8, worked_until=4.0, ended=4.0, delay=None,
                        status=Status.OK, stop="ok")  # fmt: skip
    return (
        stage,
        attrs.evolve(node, name="waited in vain", unattempted=True, status=Status.TIMED_OUT),
        attrs.evolve(node, name="refused", unattempted=True, status=Status.REJECTED, blame=blame,
                     worked_until=0.5, ended=0.5),
        attrs.evolve(node, name="waited", attempts=(attrs.evolve(last, number=1),)),
        attrs.evolve(node, name="tried", attempts=(*tries, last), tries=11),
        attrs.evolve(node, name="late", status=Status.LATE, overrun=0.5, grace_used=0.5,
                     worked_until=3.5, limit_at=3.5, limit=3.0, abandoned=True, hanging=1),
    )  # fmt: skip


@pytest.fixture(scope="session")
def made():
    """Make a timeline of rows: `made()` has everything that is seldom, `made(rows=...)` yours."""

    def make(rows=None, took=4.0):
        return Made(*(seldom() if rows is None else rows), took=took)

    return make
