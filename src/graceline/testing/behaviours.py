"""What modelled work does besides taking time: obey a cancel, swallow it, raise, clean up slowly.

`modelled(latency, behaviour)` makes a node's function of both. Everything can be replayed: call
number k of a function in one `trio.run` has random numbers of its own, and they depend on nothing
but the seed, the function's name and k.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import attrs
import trio
from trio.testing import MockClock

from graceline.definitions.checks import brief
from graceline.durations import Duration, parse_duration
from graceline.engine import cleanup, current, remaining, save_partial
from graceline.errors import DefinitionError, GracelineError
from graceline.testing.latency import Constant, Latency, as_latency
from graceline.testing.models import ModelError

__all__ = [
    "AtDeadline",
    "Behaviour",
    "ModelledFunction",
    "Obeys",
    "OwnScope",
    "OwnShield",
    "Raises",
    "RaisesInCleanup",
    "SavesPartials",
    "SlowCleanup",
    "SpawnsNursery",
    "SwallowsLoop",
    "SwallowsOnce",
    "SyncBurst",
    "modelled",
]


def _seconds(value: Duration) -> float:
    """Tells type checkers what may be given; `__attrs_post_init__` parses, and can say where."""
    return cast("float", value)


@runtime_checkable
class Behaviour(Protocol):
    """How a node does its work."""

    async def run(self, seconds: float, value: Any) -> Any:
        """Work for `seconds` and return `value`."""
        ...


class _Timed:
    """Parses the durations of a behaviour; those named in `positive` must not be 0."""

    durations: ClassVar[tuple[str, ...]] = ()
    positive: ClassVar[tuple[str, ...]] = ()

    def __attrs_post_init__(self) -> None:
        for name in self.durations + self.positive:
            what = f"{type(self).__name__}({name}=)"
            seconds = parse_duration(getattr(self, name), what)
            if name in self.positive and not seconds:
                raise DefinitionError(f"{what} must be above 0")
            object.__setattr__(self, name, seconds)


def _check_count(behaviour: Any, name: str) -> None:
    value = getattr(behaviour, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise DefinitionError(
            f"{type(behaviour).__name__}({name}=) must be a whole number of at least 1, "
            f"not {brief(value)}"
        )


@attrs.frozen
class Obeys:
    """Works, and ends at once when it is cancelled."""

    async def run(self, seconds: float, value: Any) -> Any:
        """See `Behaviour`."""
        await trio.sleep(seconds)
        return value


@attrs.frozen
class SwallowsOnce(_Timed):
    """Catches a cancel, goes on in a shield of its own, and returns its value: it is late.

    Attributes:
        tail: seconds that it goes on after the cancel.
    """

    durations: ClassVar[tuple[str, ...]] = ("tail",)
    tail: float = attrs.field(default=0.0, converter=_seconds)

    async def run(self, seconds: float, value: Any) -> Any:
        """See `Behaviour`."""
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.tail)
        return value


@attrs.frozen
class SwallowsLoop:
    """Tries again after a cancel, as a bad retry loop does, and gives in after some.

    Attributes:
        checkpoints: how many checkpoints in a row may tell it of a cancel in vain, at least 1.
    """

    checkpoints: int = 3

    def __attrs_post_init__(self) -> None:
        _check_count(self, "checkpoints")

    async def run(self, seconds: float, value: Any) -> Any:
        """See `Behaviour`."""
        ends = trio.current_time() + seconds
        for _ in range(self.checkpoints):
            try:
                await trio.sleep_until(ends)
            except trio.Cancelled:
                continue
            return value
        await trio.sleep_until(ends)
        return value


@attrs.frozen
class OwnShield:
    """Works in a shield of its own that has no limit: nobody can stop it."""

    async def run(self, seconds: float, value: Any) -> Any:
        """See `Behaviour`."""
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        return value


@attrs.frozen
class SyncBurst(_Timed):
    """Blocks the event loop before it works. In virtual time only: it moves the clock.

    Attributes:
        burst: seconds that pass without a checkpoint.
    """

    durations: ClassVar[tuple[str, ...]] = ("burst",)
    burst: float = attrs.field(converter=_seconds)

    async def run(self, seconds: float, value: Any) -> Any:
        """See `Behaviour`.

        Raises:
            GracelineError: on a clock that cannot be moved.
        """
        clock = trio.lowlevel.current_clock()
        if not isinstance(clock, MockClock):
            raise GracelineError(f"{self!r} works in virtual time: use run_virtual or simulate")
        clock.jump(self.burst)
        await trio.sleep(seconds)
        return value


@attrs.frozen(repr=False)
class Raises:
    """Works, and then raises `ModelError`.

    Attributes:
        message: the text of the error.
        attempts: how many attempts of a node with `retry=` do so, at least 1; None for all.
    """

    message: str = "modelled"
    attempts: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.attempts is not None:
            _check_count(self, "attempts")

    def __repr__(self) -> str:
        some = "" if self.attempts is None else f", attempts={self.attempts!r}"
        return f"Raises(message={self.message!r}{some})"

    def _repr_pretty_(self, printer: Any, _: bool) -> None:  # noqa: FBT001 - a protocol
        """For the reports of Hypothesis and IPython, which would show every field."""
        printer.text(repr(self))

    async def run(self, seconds: float, value: Any) -> Any:
        """See `Behaviour`."""
        again = self.attempts is not None and current().attempt > self.attempts
        await trio.sleep(seconds)
        if again:
            return value
        raise ModelError(self.message)


@attrs.frozen
class RaisesInCleanup:
    """Works, and raises `ModelError` from its `finally`, cancelled or not.

    Attributes:
        message: the text of the error.
    """

    message: str = "modelled"

    async def run(self, seconds: float, value: Any) -> Any:  # noqa: ARG002 - the protocol's
        """See `Behaviour`."""
        try:
            await trio.sleep(seconds)
        finally:
            raise ModelError(self.message)


@attrs.frozen(init=False, repr=False)
class SlowCleanup:
    """Works, and cleans up in its `finally`: `SlowCleanup(0.5, 0.25)` in two `cleanup()` blocks.

    Attributes:
        seconds: the length of each block.
    """

    seconds: tuple[float, ...]

    def __init__(self, *seconds: Duration) -> None:
        if not seconds:
            raise DefinitionError("SlowCleanup() needs the length of at least one block")
        parsed = tuple(parse_duration(each, "SlowCleanup()") for each in seconds)
        object.__setattr__(self, "seconds", parsed)

    def __repr__(self) -> str:
        return f"SlowCleanup({', '.join(map(repr, self.seconds))})"

    async def run(self, seconds: float, value: Any) -> Any:
        """See `Behaviour`."""
        try:
            await trio.sleep(seconds)
        finally:
            for length in self.seconds:
                with cleanup():
                    await trio.sleep(length)
        return value


@attrs.frozen
class SpawnsNursery:
    """Works in several tasks of a nursery of its own.

    Attributes:
        tasks: how many, at least 1.
    """

    tasks: int = 2

    def __attrs_post_init__(self) -> None:
        _check_count(self, "tasks")

    async def run(self, seconds: float, value: Any) -> Any:
        """See `Behaviour`."""
        async with trio.open_nursery() as nursery:
            for _ in range(self.tasks):
                nursery.start_soon(trio.sleep, seconds)
        return value


@attrs.frozen
class OwnScope(_Timed):
    """Limits its own work by a `move_on_after`, and returns its value either way.

    Attributes:
        after: seconds of that limit.
    """

    durations: ClassVar[tuple[str, ...]] = ("after",)
    after: float = attrs.field(converter=_seconds)

    async def run(self, seconds: float, value: Any) -> Any:
        """See `Behaviour`."""
        with trio.move_on_after(self.after):
            await trio.sleep(seconds)
        return value


@attrs.frozen
class AtDeadline:
    """Returns its value exactly at its deadline; without one it works as long as `Obeys`.

    It swallows the cancel of that instant and no other: an earlier cancel ends it at once.
    """

    async def run(self, seconds: float, value: Any) -> Any:
        """See `Behaviour`.

        Raises:
            GracelineError: outside of a run.
        """
        left = remaining()
        if left == float("inf"):
            return await Obeys().run(seconds, value)
        ends = trio.current_time() + left
        try:
            await trio.sleep_until(ends)
        except trio.Cancelled:
            if trio.current_time() < ends:
                raise
        return value


@attrs.frozen
class SavesPartials(_Timed):
    """Saves a partial value at equal distances while it works: 1, 2, 3, ...

    It belongs into a node, not into an item of `each()`.

    Attributes:
        every: seconds between two of them, above 0.
    """

    positive: ClassVar[tuple[str, ...]] = ("every",)
    every: float = attrs.field(converter=_seconds)

    async def run(self, seconds: float, value: Any) -> Any:
        """See `Behaviour`."""
        start = trio.current_time()
        saved = 0
        while (saved + 1) * self.every < seconds:
            await trio.sleep_until(start + (saved + 1) * self.every)
            saved += 1
            save_partial(saved)
        await trio.sleep_until(start + seconds)
        return value


@attrs.frozen(eq=False, repr=False)
class ModelledFunction:
    """A node's function that is made of a latency and a behaviour; see `modelled`.

    Attributes:
        latency: how long a call takes.
        behaviour: what it does besides.
        seed: with the name, decides the random numbers.
        returns: makes its value of the input; None returns the input itself.
    """

    latency: Latency = attrs.field(converter=as_latency)
    behaviour: Behaviour = attrs.field(factory=Obeys)
    seed: int = attrs.field(default=0, kw_only=True)
    name: str | None = attrs.field(default=None, kw_only=True)
    returns: Callable[[Any], Any] | None = attrs.field(default=None, kw_only=True)
    # How often it was called, in this `trio.run`: each virtual world replays the same latencies.
    _calls: trio.lowlevel.RunVar[int] = attrs.field(
        init=False, factory=lambda: trio.lowlevel.RunVar("calls", 0)
    )

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.behaviour, Behaviour) or isinstance(self.behaviour, type):
            raise DefinitionError(
                f"modelled(): {brief(self.behaviour)} is no behaviour; give one such as "
                "Obeys() or Raises()"
            )

    @property
    def __name__(self) -> str:
        return self.name or "modelled"

    def __repr__(self) -> str:
        plain = type(self.latency) is Constant
        shown = [repr(self.latency.seconds if plain else self.latency)]  # type: ignore[attr-defined]
        if self.behaviour != Obeys():
            shown.append(repr(self.behaviour))
        if self.seed:
            shown.append(f"seed={self.seed!r}")
        if self.name is not None:
            shown.append(f"name={self.name!r}")
        return f"modelled({', '.join(shown)})"

    def sample(self, call: int) -> float:
        """Seconds that call number `call` of a `trio.run` takes, from 0."""
        seeded = random.Random(f"{self.seed}/{self.name}/{call}")  # noqa: S311 - no secret
        return self.latency.sample(seeded)

    def first(self) -> float:
        """Seconds that the first call takes."""
        return self.sample(0)

    async def __call__(self, value: Any) -> Any:
        """Do the work of one call."""
        call = self._calls.get()
        self._calls.set(call + 1)
        returned = value if self.returns is None else self.returns(value)
        return await self.behaviour.run(self.sample(call), returned)


def modelled(
    latency: Latency | Duration,
    behaviour: Behaviour = Obeys(),
    *,
    seed: int = 0,
    name: str | None = None,
) -> ModelledFunction:
    """A function for a node: it takes `latency`, behaves like `behaviour`, and returns its input.

    Args:
        latency: a model, or a duration in seconds or with a unit.
        behaviour: what it does besides taking time.
        seed: decides the random numbers.
        name: its `__name__`; two functions of one seed and different names differ.

    Raises:
        DefinitionError: for a latency or a behaviour that is none.
    """
    return ModelledFunction(latency, behaviour, seed=seed, name=name)
