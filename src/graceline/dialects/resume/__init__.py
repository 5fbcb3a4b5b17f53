"""Resuming: a run of a file that was cut, interrupted or killed goes on from what it had finished.

    with recording(load("nightly.yaml"), "out", {"day": 3}) as run:
        run.finish(await engine.run(run.pipeline, run.inputs, timeout=run.timeout))

    with resuming("out") as run:
        run.finish(await engine.run(run.pipeline, run.inputs, timeout=run.timeout))

`values` writes values so that they come back, `recorder` writes what happens, `recorded` reads it,
`changes` compares files, `pipelines` changes the definition for one run.
"""

from graceline.dialects.resume.changes import Change
from graceline.dialects.resume.recorded import KeptItem, KeptStep, RecordedRun, read_run
from graceline.dialects.resume.running import ChangedError, Recording, recording, resuming
from graceline.dialects.resume.values import UnkeepableError

__all__ = [
    "Change",
    "ChangedError",
    "KeptItem",
    "KeptStep",
    "RecordedRun",
    "Recording",
    "UnkeepableError",
    "read_run",
    "recording",
    "resuming",
]
