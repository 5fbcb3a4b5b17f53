"""The recorder of one run of a file: every line is on the disk before anything else goes on.

It writes in handlers and conditions, which are plain functions: no cancel and no grace period can
cut it, and no step that needs another one begins before the line of that one is written. A line
that cannot be written ends the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graceline.bench.common import reason, wall_clock, without_values
from graceline.bench.journal import Journal
from graceline.deadlines import Kind
from graceline.dialects.resume.values import UnkeepableError, encode_value
from graceline.documents import to_document
from graceline.engine.levels import current_level
from graceline.errors import GracelineError
from graceline.results import NodeOutcome, PipelineResult

__all__ = ["Recorder"]


class Recorder:
    """Writes what a run does into its journal.

    Args:
        journal: open for writing.

    Attributes:
        unkept: steps that have ended well and whose values the journal cannot keep, and why.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._problem: OSError | None = None
        self._over = False
        self.unkept: dict[str, str] = {}

    def write(self, event: str, **facts: Any) -> None:
        """Write a line; if that fails, the run is cancelled, and nothing more is written."""
        if self._problem is not None:
            return
        try:
            self._journal.write({"event": event, **facts})
        except OSError as error:
            self._problem = error
            current_level().run.cancel(Kind.USER, f"no journal: {error}", force_after=None)

    def opened(self, execution: Mapping[str, Any]) -> None:
        """The first stage begins."""
        self.write("run_opened", execution=dict(execution))

    def ended(self, step: str, outcome: NodeOutcome) -> None:
        """The work of a step has ended."""
        facts: dict[str, Any] = {
            "step": step,
            "at": wall_clock(),
            "status": str(outcome.status),
            "attempts": outcome.attempts,
            "elapsed": outcome.elapsed,
        }
        if outcome.completed:
            self.unkept.pop(step, None)  # its value stands for those of its items
            facts |= self._kept(step, value=outcome.value)
        elif outcome.error is not None:
            facts["error"] = to_document(outcome.error)
        elif outcome.blame is not None:
            facts["error"] = {"type": None, "message": outcome.blame.message}
        self.write("step_ended", **facts)

    def item_ended(self, step: str, index: int, item: Any, value: Any) -> None:
        """The work of one item of a list has ended well."""
        self.write("item_ended", step=step, index=index, **self._kept(step, item=item, value=value))

    def cleaned(self, step: str, error: Exception | None) -> None:
        """The cleanup of a step has ended."""
        facts = {} if error is None else {"error": to_document(error)}
        self.write("cleanup_ended", step=step, **facts)

    def _kept(self, step: str, **values: Any) -> dict[str, Any]:
        try:
            return {name: encode_value(value) for name, value in values.items()}
        except UnkeepableError as error:
            self.unkept[step] = str(error)
            return {"unkept": str(error)}

    def finish(self, result: PipelineResult) -> None:
        """Write the end of the run.

        Raises:
            GracelineError: if that, or something before it, could not be written.
        """
        facts: dict[str, Any] = {
            "at": wall_clock(),
            "status": str(result.status),
            "degraded": list(result.degraded),
        }
        self._end(facts, lambda: facts | {"result": _document(result)})

    def give_up(self, error: BaseException) -> None:
        """Write down that the run was torn down and has no result.

        Raises:
            GracelineError: as `finish`.
        """
        facts = {"at": wall_clock(), "status": None, "reason": reason(error)}
        self._end(facts, lambda: facts)

    def _end(self, facts: dict[str, Any], whole: Callable[[], dict[str, Any]]) -> None:
        if self._over:
            return
        self._over = True
        try:
            if self._problem is not None:
                raise self._problem
            try:
                self._journal.write({"event": "run_ended", **whole()})
            except OSError:
                raise
            except Exception:  # noqa: BLE001 - a value's own `repr` may raise anything
                self._journal.write({"event": "run_ended", **facts})
        except OSError as problem:
            raise GracelineError(
                f"the journal could not be written: {problem.strerror or problem}; what is in it "
                "can be resumed"
            ) from problem


def _document(result: PipelineResult) -> dict[str, Any]:
    """The result; with its values only where nothing is left to be done, so that all is told."""
    finished = result.ok and not result.degraded
    return to_document(result if finished else without_values(result))
