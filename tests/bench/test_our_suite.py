import sys
from pathlib import Path

import pytest

from graceline.bench import Suite
from graceline.cli.loading import load

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["suite", "quick"])
def test_our_benchmarks_are_a_suite(monkeypatch, name):
    """There is one phase per group of benchmarks, and one that misses its bar stops no other."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    suite = load(f"{ROOT / 'benchmarks' / 'suite.py'}:{name}", Suite)
    from benchmarks.groups import GROUPS

    assert [phase.name for phase in suite.phases] == list(GROUPS)
    assert all(phase.continue_on_failure for phase in suite.phases)
    words = [phase.commands[0].node.function.argv for phase in suite.phases]
    assert [argv[3] for argv in words] == list(GROUPS)
    assert all(list(argv[4:]) == (["--quick"] if name == "quick" else []) for argv in words)
