"""Sketching: what is drawn of a pipeline in Python, and of one in a file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from graceline.cli.graphs.sketch import Box, Frame, Sketch
from graceline.definitions import Adaptive, Node, Pipeline, Retry, Stage, resolve
from graceline.definitions.part import Part
from graceline.durations import format_duration

if TYPE_CHECKING:
    from graceline.dialects.yaml import PipelineFile
    from graceline.dialects.yaml.limits import Resolved, StepLimits
    from graceline.dialects.yaml.links import Links
    from graceline.dialects.yaml.schema import StepKeys

__all__ = ["sketch_file", "sketch_pipeline"]


def sketch_pipeline(pipeline: Pipeline) -> Sketch:
    """What is drawn of a pipeline."""
    stages = {stage.name: stage for stage in pipeline.stages}
    return Sketch(
        name=pipeline.name,
        facts=tuple(_limit("limit", pipeline.timeout, pipeline.stated_timeout)),
        frames=tuple(
            _frame(stages[name], pipeline.graph.before[name], pipeline)
            for name in pipeline.graph.order
        ),
    )


def _frame(stage: Stage, after: tuple[str, ...], pipeline: Pipeline) -> Frame:
    nodes = {node.name: node for node in stage.nodes}
    return Frame(
        name=stage.name,
        facts=(
            *_limit("limit", stage.timeout, stage.stated_timeout),
            *(["on a condition"] if stage.when is not None else []),
            *([] if stage.critical else ["not critical"]),
        ),
        after=after,
        boxes=tuple(
            Box(
                name=node.name,
                facts=tuple(_of_node(node, stage, pipeline)),
                after=stage.graph.before[node.name],
                soft=not node.critical,
            )
            for node in nodes.values()
        ),
        soft=not stage.critical,
    )


def _of_node(node: Node, stage: Stage, pipeline: Pipeline) -> Iterator[str]:
    levels: tuple[Part, ...] = (node, stage, pipeline)
    retry: Retry | None = resolve("retry", *levels)
    yield from _limit("limit", node.timeout, node.stated_timeout)
    yield from _limit("attempt", resolve("attempt_timeout", *levels))
    if node.each is not None:
        yield from _limit("item", node.each.item_timeout)
    if retry is not None and retry.attempts > 1:
        yield f"{retry.attempts} attempts"
    if node.alternatives:
        yield f"one of: {', '.join(one.name.rpartition('.')[2] for one in node.alternatives)}"
    if node.each is not None:
        yield f"for each, {node.each.max_parallel} at once"
    if node.when is not None:
        yield "on a condition"
    if not node.critical:
        yield "not critical"


def _limit(word: str, limit: float | Adaptive | None, stated: float | None = None) -> Iterator[str]:
    if isinstance(limit, Adaptive):
        yield f"{word} {format_duration(limit.initial)}, learned"
        return
    seconds = stated if limit is None else limit
    if seconds is not None and seconds < math.inf:
        yield f"{word} {format_duration(seconds)}"


def sketch_file(file: PipelineFile) -> Sketch:
    """What is drawn of a pipeline in a file; its tools need not be there."""
    from graceline.dialects.yaml.files import parts_of  # noqa: PLC0415 - an extra
    from graceline.dialects.yaml.policies import AdaptiveKeys  # noqa: PLC0415 - an extra

    def limit(value: float | AdaptiveKeys | None) -> tuple[str, ...]:
        built = value.build() if isinstance(value, AdaptiveKeys) else value
        return tuple(_limit("limit", built))

    parts = parts_of(file)
    keys, links = parts.keys, parts.links
    frames: list[Frame] = []
    for stage, steps in keys.groups():
        frames.append(
            Frame(
                name=file.name if stage is None else stage.id,
                facts=()
                if stage is None
                else (*limit(stage.timeout), *([] if stage.critical else ["not critical"])),
                after=(frames[-1].name,) if frames else (),
                boxes=tuple(_box(links, parts.limits[step.id], step) for step in steps),
                soft=stage is not None and not stage.critical,
            )
        )
    if keys.outputs is not None:
        looked_at = tuple(name for name in links.steps if name in links.outputs.steps)
        box = Box("outputs", tuple(keys.outputs), uses=looked_at)
        frames.append(Frame("outputs", after=(frames[-1].name,), boxes=(box,)))
    return Sketch(file.name, limit(keys.config.timeout), tuple(frames))


def _box(links: Links, limits: StepLimits, step: StepKeys) -> Box:
    after = links.after[step.id]
    return Box(
        name=step.id,
        facts=tuple(_of_step(step, limits.attempt, limits.total)),
        after=after,
        uses=tuple(name for name in links.needs[step.id] if name not in after),
        soft=step.on_error != "fail",
    )


def _of_step(step: StepKeys, attempt: Resolved, total: Resolved) -> Iterator[str]:
    only = total.limit is None and not step.max_retries and step.for_each is None
    yield from _limit("limit", total.limit)
    yield from _limit("limit" if only else "attempt", attempt.limit)
    if step.max_retries:
        yield f"{step.max_retries + 1} attempts"
    if step.for_each is not None:
        items = step.for_each
        many = f"of {len(items)} items" if isinstance(items, list) else _words(items)
        yield f"for each {many}"
    if step.condition is not None:
        yield f"if {_words(step.condition)}"
    if step.on_error != "fail":
        yield f"on error: {step.on_error}"


def _words(value: object) -> str:
    """A template without its braces, where it is nothing else; else a value in a line."""
    text = " ".join(str(value).split())
    inside = text.removeprefix("{{").removesuffix("}}")
    return inside.strip() if len(inside) == len(text) - 4 and "{{" not in inside else text
