"""For tests: virtual time, modelled work, worlds to run it in, and the promises as functions.

Four modules are imported by their own names, since they need the extra `graceline[testing]`, or are
for running services: `graceline.testing.strategies` and `graceline.testing.stateful` (Hypothesis),
`graceline.testing.plugin` (pytest finds it by itself), `graceline.testing.chaos`.
"""

from graceline.testing.accounts import PartAccount, RunAccount
from graceline.testing.behaviours import (
    AtDeadline,
    Behaviour,
    ModelledFunction,
    Obeys,
    OwnScope,
    OwnShield,
    Raises,
    RaisesInCleanup,
    SavesPartials,
    SlowCleanup,
    SpawnsNursery,
    SwallowsLoop,
    SwallowsOnce,
    SyncBurst,
    modelled,
)
from graceline.testing.breach import InvariantError
from graceline.testing.clock import virtual_time
from graceline.testing.comparisons import (
    check_clocks_agree,
    check_limits_do_not_matter,
    check_modes_agree,
    check_replay,
)
from graceline.testing.invariants import (
    check_children_end_first,
    check_cleanup_is_bounded,
    check_every_part_has_a_status,
    check_invariants,
    check_nothing_lost,
    check_one_blame,
    check_work_stops,
)
from graceline.testing.latency import Bimodal, Constant, Latency, Lognormal, Pareto, Trace
from graceline.testing.load import Load, LoadedRun, simulate_load
from graceline.testing.models import ModelError
from graceline.testing.nested import RunsNested, running_on
from graceline.testing.recording import RecordedTimeline, record
from graceline.testing.reference import reference_run
from graceline.testing.replace import replace_latencies
from graceline.testing.surroundings import check_foreign_cancel_passes, check_full_capacity
from graceline.testing.world import Cancels, Recording, simulate
from graceline.virtual import run_virtual

__all__ = [
    "AtDeadline",
    "Behaviour",
    "Bimodal",
    "Cancels",
    "Constant",
    "InvariantError",
    "Latency",
    "Load",
    "LoadedRun",
    "Lognormal",
    "ModelError",
    "ModelledFunction",
    "Obeys",
    "OwnScope",
    "OwnShield",
    "Pareto",
    "PartAccount",
    "Raises",
    "RaisesInCleanup",
    "RecordedTimeline",
    "Recording",
    "RunAccount",
    "RunsNested",
    "SavesPartials",
    "SlowCleanup",
    "SpawnsNursery",
    "SwallowsLoop",
    "SwallowsOnce",
    "SyncBurst",
    "Trace",
    "check_children_end_first",
    "check_cleanup_is_bounded",
    "check_clocks_agree",
    "check_every_part_has_a_status",
    "check_foreign_cancel_passes",
    "check_full_capacity",
    "check_invariants",
    "check_limits_do_not_matter",
    "check_modes_agree",
    "check_nothing_lost",
    "check_one_blame",
    "check_replay",
    "check_work_stops",
    "modelled",
    "record",
    "reference_run",
    "replace_latencies",
    "run_virtual",
    "running_on",
    "simulate",
    "simulate_load",
    "virtual_time",
]
