"""A run of a file is killed at random moments, and resumed: no finished step is done twice, no value is lost.

`GRACELINE_KILLS=50` takes 50 moments instead of five.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from graceline.bench.journal import journal_of, read_lines
from graceline.dialects.resume import read_run
from graceline.errors import GracelineError

KILLS = int(os.environ.get("GRACELINE_KILLS", "5"))
FAILSAFE = 60
TOOLS = """
import os, trio
from graceline import current
from graceline.dialects.tools import Tools

tools = Tools.default()

def note(what):
    file = os.open("ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{what}\\n".encode())
    os.close(file)

@tools.tool("think")
async def think(name, given=None, fails=0):
    note(name)
    await trio.sleep(0.003)
    if current().attempt <= fails:
        raise ValueError(f"{name} does not want to")
    return {"name": name, "given": given}

@tools.tool("work")
def work(name, given=None):
    note(name)
    return [name, given]
"""
ROUNDS = 4
ONE_ROUND = """
  - {{id: a{n}, tool: think, parameters: {{name: a{n}, given: "{before}"}}, cleanup: {{tool: work, parameters: {{name: clean a{n}}}}}}}
  - {{id: b{n}, tool: work, parameters: {{name: b{n}, given: "{{{{ a{n}.result.name }}}}"}}}}
  - id: c{n}
    command: [sh, -c, "echo c{n} >> ledger; sleep 0.01; echo {{{{ b{n}.result[0] }}}}"]
    cleanup: {{command: [sh, -c, "echo clean c{n} >> ledger"]}}
  - {{id: d{n}, tool: think, parameters: {{name: d{n}, fails: 1}}, max_retries: 2, backoff: {{initial: 1ms}}, dependencies: a{n}}}
  - {{id: e{n}, tool: think, parameters: {{name: e{n}, fails: 9}}, on_error: continue, dependencies: a{n}}}
  - id: f{n}
    for_each: [x, y, z, y]
    max_parallel: 2
    tool: think
    parameters: {{name: "f{n}[{{{{ index }}}}]", given: "{{{{ item }}}} {{{{ e{n}.error }}}}"}}
  - id: g{n}
    for_each: "{{{{ range(3) }}}}"
    command: [sh, -c, "echo 'g{n}[{{{{ item }}}}]' >> ledger; echo {{{{ c{n}.result.stdout }}}}"]
"""
OUTPUTS = """
outputs:
  all: "{{ [a3.result, b3.result, c3.result.stdout, d3.result, e3.error, f3.result, g3.result] }}"
  given: "{{ execution.id != '' and [a1.result, f0.result, g1.result | map(attribute='stdout') | list] }}"
"""


def file_text():
    rounds = [
        ONE_ROUND.format(
            n=n, before="{{ 0 }}" if n == 0 else f"{{{{ g{n - 1}.result[0].stdout }}}}"
        )
        for n in range(ROUNDS)
    ]
    return "".join(["id: killed\nconfig: {timeout: 5m}\nsteps:", *rounds, OUTPUTS])


class Killed:
    """A directory with the file, and its runs in processes of their own."""

    def __init__(self, folder):
        folder.mkdir(exist_ok=True)
        (folder / "killed.yaml").write_text(file_text())
        (folder / "tools.py").write_text(TOOLS)
        self.folder = folder
        self.out = folder / "out"
        self.mark = f"GRACELINE_KILLED_MARK={uuid.uuid4().hex}"

    def start(self):
        """Begin the run, or go on with it."""
        argv = ["run", "killed.yaml", "--tools", "tools.py", "--journal", "out", "--force"]
        if self.run() is not None:
            argv = ["resume", "out"]
        name, _, value = self.mark.partition("=")
        with (self.folder / "said").open("w") as said:
            return subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "graceline", *argv, "--allow-degraded", "--json"],
                cwd=self.folder,
                env=os.environ | {name: value, "XDG_STATE_HOME": str(self.folder / "state")},
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def run(self):
        """What the journal says; None if there is not even a beginning."""
        try:
            return read_run(self.out)
        except GracelineError:
            return None

    def lines(self):
        try:
            return journal_of(self.out).read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0

    def wait(self, process, lines):
        """Wait until the journal has so many lines, or the run has ended."""
        until(lambda: self.lines() >= lines or process.poll() is not None, "the journal grows")

    def ledger(self):
        path = self.folder / "ledger"
        return path.read_text().splitlines() if path.exists() else []

    def said(self):
        return (self.folder / "said").read_text()

    def alive(self):
        """The processes of its runs that have not ended."""
        return [entry.name for entry in Path("/proc").iterdir() if self._is_ours(entry)]

    def _is_ours(self, entry):
        try:
            return entry.name.isdecimal() and self.mark.encode() in (entry / "environ").read_bytes()
        except OSError:  # it has ended, or is somebody else's
            return False


def until(condition, what):
    """Wait for something that must come."""
    end = time.monotonic() + FAILSAFE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.001)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The document of a run that nobody kills, and how many lines its journal has."""
    killed = Killed(tmp_path_factory.mktemp("whole") / "run")
    assert killed.start().wait(FAILSAFE) == 0, killed.said()
    assert len(killed.ledger()) == ROUNDS * (1 + 1 + 1 + 1 + 1 + 2 + 1 + 4 + 3)
    return json.loads(killed.said()), killed.lines()


def finished(run):
    """What the ledger must not show again."""
    if run is None:
        return set()
    names = set()
    for name in run.steps:
        whole = {"f": 4, "g": 3}.get(name[0])
        names |= {name} if whole is None else {f"{name}[{index}]" for index in range(whole)}
        if name in run.cleaned:
            names.add(f"clean {name}")
    return names | {f"{name}[{index}]" for name, items in run.items.items() for index in items}


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_and_resumed(tmp_path, undisturbed, seed):
    """After `kill -9` at any moment, and once more, a resumed run gives what an undisturbed one gives."""
    document, whole = undisturbed
    dice = random.Random(seed)  # noqa: S311
    killed = Killed(tmp_path / "run")
    kills = dice.choice([1, 1, 2, 3])
    moments = []  # lines of the journal, and seconds after them
    for number in range(kills + 1):
        before, done, lines = killed.run(), len(killed.ledger()), killed.lines()
        process = killed.start()
        try:
            if number < kills:
                count = lines + dice.randrange(max(1, whole - lines))
                delay = dice.random() * 0.02
                moments.append((count, delay))
                killed.wait(process, count)
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
        finally:
            code = process.wait(FAILSAFE)
        until(lambda: not killed.alive(), "the guard ends what is left")
        assert code in (0, -signal.SIGKILL), f"killed at {moments}: {killed.said()}"
        again = finished(before).intersection(killed.ledger()[done:])
        assert not again, f"killed at {moments}"
    assert code == 0, f"killed at {moments}: {killed.said()}"
    result = json.loads(killed.said())
    assert result["value"] == document["value"], f"killed at {moments}"
    assert sorted(result["degraded"]) == sorted(document["degraded"])
    run = killed.run()
    assert set(run.steps) == {f"{name}{n}" for name in "abcdfg" for n in range(ROUNDS)}
    ended = [
        line["step"]
        for line in read_lines(killed.out)
        if line["event"] == "step_ended" and line["status"] == "ok"
    ]
    assert sorted(ended) == sorted(run.steps)
