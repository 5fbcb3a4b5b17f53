"""The benchmark runner: suites of phases of commands, a journal on the disk, and a report."""

from graceline.bench.report import report_document, write_report
from graceline.bench.running import run_suite
from graceline.bench.story import Story, Told, read_story
from graceline.bench.suite import Phase, Step, Suite, command

__all__ = [
    "Phase",
    "Step",
    "Story",
    "Suite",
    "Told",
    "command",
    "read_story",
    "report_document",
    "run_suite",
    "write_report",
]
