"""The limit of one call, and how that call ended.

Limits change while calls run. Which limit did this call have, did that limit cut it, or somebody
else? Guessing from durations goes wrong under load, so a call carries its own answer: the learner
issues a lease, and its end is one of three. An outer cancel before the limit says nothing about the
limit; the sample is kept as censored and moves neither margin nor alarm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graceline.adaptive.learner import Learner

__all__ = ["Lease"]


class Lease:
    """The limit of one call. It is settled once, by `completed`, `cut` or `censored`.

    Attributes:
        timeout: the limit in seconds.
        is_probe: whether the limit is the ceiling, to see what slow calls come to.
        in_force: whether the call really has this limit; whoever does not apply it says so.
        took: seconds after which the call returned a value; None if it has not.
        settled: whether the call has ended.
    """

    __slots__ = ("_learner", "in_force", "is_probe", "settled", "timeout", "took")

    def __init__(self, learner: Learner, timeout: float, is_probe: bool) -> None:
        self._learner = learner
        self.timeout: float = timeout
        self.is_probe: bool = is_probe
        self.settled: bool = False
        self.in_force: bool = True
        self.took: float | None = None

    def __repr__(self) -> str:
        settled = ", settled" if self.settled else ""
        return f"<{'probe' if self.is_probe else 'lease'} of {self.timeout:g} s{settled}>"

    def decline(self) -> None:
        """Make it no probe: the call has too little time for one, and gets the ordinary limit."""
        self.is_probe = False
        self.timeout = self._learner._declined()

    def completed(self, elapsed: float, at: float | None = None) -> None:
        """The call returned a value after `elapsed` seconds, in time or late.

        An error is no completion: a fast failure says nothing about how long success takes.

        Args:
            elapsed: seconds; NaN and negative numbers settle the lease and teach nothing.
            at: the stamp of the sample, see `DurationHistory.add`.

        Raises:
            RuntimeError: if the lease was settled before.
        """
        self.took = elapsed
        self._learner._settle(self, elapsed, at, False, False)

    def cut(self, elapsed: float, at: float | None = None) -> None:
        """This very limit cut the call.

        Args:
            elapsed: seconds that it worked; below `timeout` it counts as that.
            at: the stamp of the sample, see `DurationHistory.add`.

        Raises:
            RuntimeError: if the lease was settled before.
        """
        if not elapsed > self.timeout:
            elapsed = self.timeout
        self._learner._settle(self, elapsed, at, True, True)

    def censored(self, elapsed: float, at: float | None = None) -> None:
        """Something else ended the call after `elapsed` seconds.

        That is an outer deadline, also where it had shortened this limit, the user's cancel, a
        sibling that failed, an error, or another copy that was faster.

        Args:
            elapsed: seconds; NaN and negative numbers settle the lease and teach nothing.
            at: the stamp of the sample, see `DurationHistory.add`.

        Raises:
            RuntimeError: if the lease was settled before.
        """
        self._learner._settle(self, elapsed, at, True, False)
