"""A run of a file that is interrupted: cleanup is run, what is finished is kept, nothing is left."""

import json
import os
import signal
import time

import pytest

FAILSAFE = 60
FILE = """
id: interrupted
config: {grace: 10s}
steps:
  - {id: finished, tool: say, parameters: {value: {kept: true}}}
  - id: program
    dependencies: [finished]
    command: [sh, -c, "echo so far; echo $$ > pid.new; mv pid.new pid; exec sleep 60"]
    cleanup: {command: [sh, -c, "echo cleaned > cleaned"]}
  - id: never
    dependencies: [program]
    command: [touch, executed]
    cleanup: {command: [touch, executed]}
outputs:
  finished: "{{ finished.result }}"
"""


def until(condition):
    """Wait for something that must come."""
    end = time.monotonic() + FAILSAFE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_ends_a_run(start_file, tmp_path, number, code):
    """The program is ended, its cleanup is run, and the documents say what is finished: 130 or 143."""
    running = start_file(FILE, "--json", "--output", "out.json")
    until((tmp_path / "pid").exists)
    running.process.send_signal(number)
    ran = running.ended()
    assert ran.code == code
    assert not is_there(int((tmp_path / "pid").read_text()))
    assert (tmp_path / "cleaned").exists()
    assert not (tmp_path / "executed").exists()

    assert ran.document == json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert (ran.document["status"], ran.document["value"]) == ("cancelled", None)
    assert ran.document["completed"] == ["finished"]
    assert ran.nodes["finished"]["value"] == {"kept": True}
    assert ran.nodes["program"]["status"] == "cancelled"
    assert ran.document["partial"]["program"]["stdout"] == "so far\n"
    assert ran.document["partial"]["program"]["signal"] == signal.SIGTERM
    assert ran.nodes["never"]["status"] == "skipped"


def test_a_second_signal_cuts_the_cleanup(start_file, tmp_path):
    """Whoever interrupts twice does not wait for the cleanup; the exit code and the document are there."""
    hangs = FILE.replace("echo cleaned > cleaned", "touch cleaning; exec sleep 60")
    running = start_file(hangs, "--json")
    until((tmp_path / "pid").exists)
    running.process.send_signal(signal.SIGINT)
    until((tmp_path / "cleaning").exists)
    running.process.send_signal(signal.SIGINT)
    ran = running.ended()
    assert (ran.code, ran.document["status"]) == (130, "cancelled")
    assert ran.nodes["finished"]["value"] == {"kept": True}
