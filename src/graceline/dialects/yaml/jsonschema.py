"""The JSON Schema of the dialect, for editors: made of the classes that files are read with."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import attrs

from graceline.dialects.yaml.forms import Form
from graceline.dialects.yaml.keys import Key, Nested, keys_of, name_of
from graceline.dialects.yaml.linking import RESERVED
from graceline.dialects.yaml.policies import BreakerKeys
from graceline.dialects.yaml.schema import (
    CleanupKeys,
    CommandKeys,
    ConfigKeys,
    FileKeys,
    InputKeys,
    PhaseKeys,
    StageKeys,
    StepKeys,
)

__all__ = ["SHIPPED", "as_json", "json_schema", "shipped_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
SHIPPED = "pipeline.schema.json"
"""The file of the package that holds it."""


def shipped_schema() -> str:
    """The text of the schema that comes with the package; it is `json_schema()` as JSON."""
    return files("graceline.dialects.yaml").joinpath(SHIPPED).read_text("utf-8")


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a file.

    What a schema cannot say is left to `check`: references, cycles, tools, sums of limits.
    """
    maker = _Maker({})
    whole = maker.mapping(FileKeys)
    return {
        "$schema": _DIALECT,
        "title": "graceline pipeline",
        **whole,
        "$defs": dict(sorted(maker.definitions.items())),
    }


def as_json() -> str:
    """`json_schema` as it is shipped."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


@attrs.frozen
class _Maker:
    definitions: dict[str, Any]

    def mapping(self, kind: type[Any]) -> dict[str, Any]:
        """The schema of a class."""
        properties: dict[str, Any] = {}
        rules: list[dict[str, Any]] = []
        for one in keys_of(kind):
            schema = {"description": one.help, **self._value(one.form)}
            for name in (one.name, *one.also):
                properties[name] = schema
            rules += _spellings(one)
        rules += _RULES.get(kind, [])
        made: dict[str, Any] = {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
        if rules:
            made["allOf"] = rules
        return made

    def _value(self, form: Form | Nested) -> dict[str, Any]:
        if isinstance(form, Form):
            return dict(form.schema)
        name = name_of(form.kind)
        if name not in self.definitions:
            self.definitions[name] = {}  # whoever refers to it meanwhile finds the name
            self.definitions[name] = self.mapping(form.kind)
        reference = {"$ref": f"#/$defs/{name}"}
        if form.holder == "list":
            return {"type": "array", "minItems": 1, "items": reference}
        if form.holder == "map":
            return {
                "type": "object",
                "propertyNames": {
                    "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "not": {"enum": list(RESERVED)},
                },
                "additionalProperties": reference,
            }  # fmt: skip
        return reference if form.other is None else {"anyOf": [dict(form.other.schema), reference]}


def _spellings(one: Key) -> list[dict[str, Any]]:
    """A key in one spelling only, and in one of them if it has to be there."""
    names = (one.name, *one.also)
    given = [{"required": [name]} for name in names]
    if one.required:
        return [{"oneOf": given} if len(given) > 1 else given[0]]
    return [{"not": {"required": list(names)}}] if len(given) > 1 else []


def _needs(key: str, *others: str) -> dict[str, Any]:
    """A key that is of use only with others."""
    return {"if": {"required": [key]}, "then": {"required": list(others)}}


def _excludes(key: str, *others: str) -> dict[str, Any]:
    """A key that does not go with others."""
    return {"not": {"required": [key], "anyOf": [{"required": [other]} for other in others]}}


_BODY = [
    {"anyOf": [{"required": [name]} for name in ("command", "tool", "action")]},
    _excludes("command", "tool", "action", "parameters"),
    *(_needs(name, "command") for name in ("env", "cwd")),
]
_STEP = [
    *_BODY,
    *(_needs(name, "command") for name in ("stdin", "ok_codes", "artifacts")),
    _excludes("grace", "reserve"),
    _needs("reserve", "total_timeout"),
    _needs("backoff", "max_retries"),
    _needs("max_parallel", "for_each"),
    _excludes("command", "runs_on"),
    {
        "if": {"required": ["hedge"]},
        "then": {"required": ["idempotent"], "properties": {"idempotent": {"const": True}}},
    },
]
_LEVEL = [_excludes("grace", "reserve"), _needs("reserve", "timeout")]
_FILE = [
    {"anyOf": [{"required": ["id"]}, {"required": ["name"]}]},
    {"oneOf": [{"required": [name]} for name in ("steps", "stages", "phases")]},
    _excludes("phases", "inputs", "parameters", "outputs"),
]
_PHASES = {
    "if": {"required": ["phases"]},
    "then": {
        "properties": {
            "config": {
                "not": {
                    "anyOf": [
                        {"required": [name]}
                        for name in ("default_timeout", "fail_fast", "max_parallel")
                    ]
                },
                "properties": {"timeout": {"type": ["number", "string"]}},
            }
        }
    },
}
_INPUT = {"not": {"required": ["default"], "properties": {"required": {"const": True}}}}
_RULES: dict[type[Any], list[dict[str, Any]]] = {
    CleanupKeys: _BODY,
    BreakerKeys: [
        {"dependentRequired": {"slow_rate": ["slow_after"], "slow_after": ["slow_rate"]}}
    ],
    CommandKeys: _LEVEL,
    ConfigKeys: _LEVEL,
    FileKeys: [*_FILE, _PHASES],
    InputKeys: [{"if": {"required": ["required"]}, "then": _INPUT}],
    PhaseKeys: _LEVEL,
    StageKeys: _LEVEL,
    StepKeys: _STEP,
}
"""What the `rules()` of the classes say, as far as a schema can say it."""
