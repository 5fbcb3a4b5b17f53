"""For tests: virtual time, modelled runs, and an oracle that says what they have to do.

Hypothesis strategies for models are in `graceline.testing.strategies`, which needs the extra
`graceline[testing]`.
"""

from graceline.testing.accounts import PartAccount, RunAccount
from graceline.testing.agreement import Observation, disagreements, observe
from graceline.testing.clock import run_virtual, virtual_time
from graceline.testing.models import (
    ModelError,
    NodeModel,
    PipelineModel,
    Scenario,
    StageModel,
    build,
)
from graceline.testing.oracle import admissible, reference_run

__all__ = [
    "ModelError",
    "NodeModel",
    "Observation",
    "PartAccount",
    "PipelineModel",
    "RunAccount",
    "Scenario",
    "StageModel",
    "admissible",
    "build",
    "disagreements",
    "observe",
    "reference_run",
    "run_virtual",
    "virtual_time",
]
