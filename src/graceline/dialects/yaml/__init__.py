"""Pipelines as YAML files: read with positions, checked as a whole, and built into definitions.

    file = load("research.yaml")
    async with open_engine(timeouts=Timeouts.none()) as engine:
        result = await engine.run(file.pipeline(), {"topic": "trees"})

`reading` parses, `structuring` fills the attrs classes of `schema`, `linking` finds which step
needs which, `calls` looks at what tools are asked for, `building` makes the definitions, `running`
keeps what the templates of a run see.
"""

from graceline.dialects.yaml.explanations import Explanation
from graceline.dialects.yaml.files import PipelineFile, check, load, loads, outline
from graceline.dialects.yaml.jsonschema import json_schema, shipped_schema
from graceline.dialects.yaml.limits import Candidate, Resolved, StepLimits
from graceline.dialects.yaml.problems import FileError, Position, Problem

__all__ = [
    "Candidate",
    "Explanation",
    "FileError",
    "PipelineFile",
    "Position",
    "Problem",
    "Resolved",
    "StepLimits",
    "check",
    "json_schema",
    "load",
    "loads",
    "outline",
    "shipped_schema",
]
