"""What the tests run in worker processes: importable by its name, as a program's own functions."""

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import time
from contextvars import ContextVar
from functools import partial
from pathlib import Path

from graceline import cleanup, current, outgoing_headers, remaining, save_partial, stopping


def double(value):
    return 2 * value


class Doubler:
    """A function that holds something."""

    def __init__(self, held):
        self.held = held

    def __call__(self, value):
        return 2 * value


def pid(_):
    return os.getpid()


def begin(path):
    """Tell the test that the job has begun, and in which process."""
    part = Path(f"{path}.part")
    part.write_text(str(os.getpid()))
    part.replace(path)


def raises(value):
    raise KeyError(value)


def helpers(_):
    save_partial("part")
    return current(), remaining(), stopping().is_set(), cleanup().deadline


def sleep(path):
    begin(path)
    time.sleep(600)


def lock(path):
    taken = threading.Lock()
    taken.acquire()
    begin(path)
    taken.acquire()


def child(path):
    program = subprocess.Popen(["sleep", "600"])  # noqa: S607
    try:
        begin(path)
        program.wait()
    finally:
        program.kill()
        program.wait()


def spin(path):
    begin(path)
    while True:
        pass


def select(path):
    reading, _ = os.pipe()
    begin(path)
    os.read(reading, 1)


def tidy(function, path):
    """Do something that never ends, and leave a note in a `finally` block."""
    try:
        function(path)
    finally:
        Path(f"{path}.tidy").write_text(f"{remaining()}")


def stubborn(path):
    save_partial("so far")
    begin(path)
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(600)


def deaf(path):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGALRM})
    begin(path)
    ctypes.CDLL(None).sleep(600)


def family(path):
    """Leave a child, a forked child and a double-forked one behind, and never end."""
    subprocess.Popen(["sleep", "600"])  # noqa: S607
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(600)
        time.sleep(600)
    stubborn(path)


def leave_child(_):
    return subprocess.Popen(["sleep", "600"]).pid  # noqa: S607


def leave_dead_child(_):
    child = os.posix_spawnp("true", ["true"], os.environ)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    return os.getpid()


def leave_orphan(_):
    """Double-fork: the child that forked has ended, and its child goes on."""
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    os.wait()
    return os.getpid()


def shielded(path):
    try:
        sleep(path)
    finally:
        with cleanup():
            save_partial("cleaned up")
            assert 0 < remaining() <= 30


def held_back(path):
    with cleanup():
        begin(path)
        while not Path(f"{path}.go").exists():
            time.sleep(0.001)
        save_partial("the block was left")
    save_partial("the job went on")


def overruns(path):
    try:
        sleep(path)
    finally:
        with cleanup():
            time.sleep(600)
        save_partial("after the block")


def cut_before(_):
    with cleanup():
        time.sleep(600)
    return "went on"


def swallows(path):
    try:
        sleep(path)
    except BaseException:
        return "kept"


def breaks(path):
    try:
        sleep(path)
    finally:
        raise ValueError("while unwinding")


def exits(code):
    save_partial("before the end")
    os._exit(code)


def exits_late(path):
    try:
        sleep(path)
    finally:
        os._exit(7)


def killed(_):
    os.kill(os.getpid(), signal.SIGKILL)


def dies_with_a_forked_child(_):
    if os.fork() == 0:
        time.sleep(600)
    os._exit(4)


def returns_lock(_):
    return threading.Lock()


class UnsendableError(Exception):
    """An exception that pickle cannot write."""

    def __init__(self):
        super().__init__("text")
        self.lock = threading.Lock()


def raises_unsendable(_):
    raise UnsendableError


def saves_lock(_):
    save_partial(threading.Lock())


async def inner():
    pass


def returns_coroutine(_):
    return inner()


def saves_in_an_item(_):
    save_partial(1)


def polite(path):
    begin(path)
    while not stopping().is_set():
        time.sleep(0.001)
    return "stopped"


async def waits_for_stop():
    await stopping().wait()


def awaits_stop(_):
    waits_for_stop().send(None)


def never_succeeds(_):
    save_partial(current().attempt)
    raise ValueError


def whoami(_):
    return current()


def raises_cancel(path):
    from graceline.work.job import JobCancelled

    with Path(path).open("a") as file:
        file.write("x")
    raise JobCancelled


def moved(path):
    """Leave the process group, with a child in it, and never end."""
    subprocess.Popen(["sleep", "600"])  # noqa: S607
    os.setpgid(0, os.getpgid(os.getppid()))
    stubborn(path)


def leave_thread(_):
    """Leave a thread behind that would save partial values for ever."""

    def save():
        while True:
            with contextlib.suppress(Exception):
                save_partial("of another job")
            time.sleep(0.001)

    threading.Thread(target=save, daemon=True).start()
    return os.getpid()


def leave_session(_):
    return subprocess.Popen(["sleep", "600"], start_new_session=True).pid  # noqa: S607


def breaks_in_cleanup(path):
    with cleanup():
        begin(path)
        while not Path(f"{path}.go").exists():
            time.sleep(0.001)
        raise ValueError("in the cleanup block")


def blocks_signal(_):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    return os.getpid()


def ignores_signal(_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return os.getpid()


def resets_signal(_):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return os.getpid()


class MuteError(Exception):
    """An exception that has no text and that pickle cannot write."""

    def __str__(self):
        raise RuntimeError("no text")

    def __reduce__(self):
        raise RuntimeError("no pickle")


def raises_mute(_):
    raise MuteError


def copies(_):
    """The second copy returns at once; the first waits until somebody ends it."""
    if not current().hedge:
        threading.Event().wait(60)
    return current().attempt, current().hedge


TAKEN_UP = ContextVar("taken_up", default=None)


def resume(headers):
    """What a sink does here with what it has sent along."""
    TAKEN_UP.set(headers["traceparent"])
    return partial(_carried, headers)


def _carried(headers):
    return {name: f"taken up: {value}" for name, value in headers.items()}


def fails_to_resume(headers):
    raise RuntimeError("no")


def exits_to_resume(headers):
    raise SystemExit(3)


def headers(_):
    return outgoing_headers()


def told(_):
    return [os.getpid(), TAKEN_UP.get(), outgoing_headers()]
