"""Pipelines as YAML files: read with positions, checked as a whole, and built into definitions.

    file = load("research.yaml")
    async with open_engine(timeouts=Timeouts.none()) as engine:
        result = await engine.run(file.pipeline(), {"topic": "trees"})

`reading` parses, `structuring` fills the attrs classes of `schema`, `linking` finds which step
needs which, `calls` looks at what tools are asked for, `building` makes the definitions, `running`
keeps what the templates of a run see.
"""

from graceline.dialects.yaml.bodies import ToolSource
from graceline.dialects.yaml.course import Ended
from graceline.dialects.yaml.explanations import (
    Backoff,
    Cleanup,
    Cut,
    Explanation,
    ForEach,
    LevelLimit,
    Retries,
    Standing,
    Statement,
)
from graceline.dialects.yaml.files import Functions, PipelineFile, check, load, loads, outline
from graceline.dialects.yaml.jsonschema import json_schema, shipped_schema
from graceline.dialects.yaml.problems import FileError, Position, Problem

__all__ = [
    "Backoff",
    "Cleanup",
    "Cut",
    "Ended",
    "Explanation",
    "FileError",
    "ForEach",
    "Functions",
    "LevelLimit",
    "PipelineFile",
    "Position",
    "Problem",
    "Retries",
    "Standing",
    "Statement",
    "ToolSource",
    "check",
    "json_schema",
    "load",
    "loads",
    "outline",
    "shipped_schema",
]
