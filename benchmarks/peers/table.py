"""The two tables, as Markdown that is aligned: for the terminal and for the page of the docs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.filling import markdown
from benchmarks.peers.catalogue import OURS
from benchmarks.peers.scenarios import PROBES
from benchmarks.peers.study import FLOOR

__all__ = ["costs", "limits", "meanings", "ordered"]

_NO_LIMIT = "-"

Found = Mapping[str, Mapping[str, Any]]


def ordered(found: Found) -> list[str]:
    """The names, the cheapest first; who was not measured comes last."""

    def key(name: str) -> tuple[bool, float]:
        cost = found[name]["cost"]
        over = (cost or {}).get(f"over_{FLOOR}")
        return (over is None, over["median"] if over else 0.0)

    return sorted(found, key=key)


def costs(found: Found) -> str:
    """What a node costs over a bare loop, as multiples of two others in the same round."""
    heads = ["", "version", "x hand-written", "with waiting", "x graceline", "limits"]
    lines = []
    for name in ordered(found):
        entry = found[name]
        about = entry.get("about") or {}
        cost = entry["cost"] or {}
        lines.append(
            [
                entry["title"],
                about.get("version", ""),
                _times(cost.get(f"over_{FLOOR}"), spread=True),
                _times(cost.get(f"over_{FLOOR}_wall")),
                _times(cost.get(f"over_{OURS}")),
                entry["absent"] or _stated(about),
            ]
        )
    return markdown(heads, lines, right={2, 3, 4})


def _times(over: Mapping[str, float] | None, *, spread: bool = False) -> str:
    if over is None:
        return ""
    middle = _figure(over["median"])
    if not spread:
        return middle
    return f"{middle} ({_figure(over['low'])} to {_figure(over['high'])})"


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def _stated(about: Mapping[str, str]) -> str:
    stated = dict.fromkeys(about[level] for level in ("node_limit", "run_limit") if about[level])
    return ", ".join(f"`{one}`" for one in stated) or "none"


def limits(found: Found) -> str:
    """What was seen when a limit passed: one column per probe; who has no limits comes last."""
    lines = [
        [found[name]["title"], *(_cell(found[name], probe) for probe in PROBES)]
        for name in ordered(found)
    ]
    lines.sort(key=lambda line: set(line[1:]) == {_NO_LIMIT})
    return markdown(["", *PROBES], lines)


def _cell(entry: Mapping[str, Any], probe: str) -> str:
    cell = entry["cells"].get(probe)
    match cell and cell["answer"]:
        case "yes":
            return "yes"
        case "no":
            return f"no: {cell['word']}"
        case "none":
            return _NO_LIMIT
        case _:
            return "?"


def meanings(found: Found) -> str:
    """What each probe asks, and why a cell has no answer."""
    lines = [f"- {name}: {probe.question}." for name, probe in PROBES.items()]
    lines += [f"- `{_NO_LIMIT}`: it has no such limit.", ""]
    for name in ordered(found):
        entry = found[name]
        if entry["absent"]:
            lines.append(f"- ? {entry['title']}: {entry['absent']}.")
        for probe, cell in entry["cells"].items():
            if cell["answer"] == "unknown":
                lines.append(f"- ? {entry['title']}, {probe}: {cell['word']}.")
    return "\n".join(lines).rstrip()
