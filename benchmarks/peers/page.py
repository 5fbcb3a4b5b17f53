"""The page about peers: what was measured is written between its marks, from the JSON beside it.

`python -m benchmarks.peers.page` does so for `docs/peers.md`, and draws its chart again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.filling import DOCS, fill
from benchmarks.peers.catalogue import OURS
from benchmarks.peers.chart import draw
from benchmarks.peers.study import FLOOR, HARDEST
from benchmarks.peers.table import costs, limits, meanings, ordered

__all__ = ["filled", "main"]


def _measured(document: Mapping[str, Any]) -> str:
    rounds = document["peers"][FLOOR]["cost"]["us"]["count"]
    return (
        f"Measured on {document['date']}: Python {document['python']}, Trio {document['trio']}, "
        f"{rounds} rounds."
    )


def _bar(document: Mapping[str, Any]) -> str:
    over = document["peers"][HARDEST]["cost"][f"over_{OURS}"]
    return f"It was {over['median']:.0f} times ({over['low']:.0f} to {over['high']:.0f})."


def _sources(found: Mapping[str, Mapping[str, Any]]) -> str:
    about = {name: found[name].get("about") for name in ordered(found)}
    return "\n".join(
        f"- [{found[name]['title']}]({one['docs']})" for name, one in about.items() if one
    )


def filled(page: str, document: Mapping[str, Any]) -> str:
    """The page with all that was measured put between its marks."""
    found = document["peers"]
    blocks = {
        "measured": _measured(document),
        "costs": costs(found),
        "bar": _bar(document),
        "limits": limits(found),
        "meanings": meanings(found),
        "sources": _sources(found),
    }
    return fill(page, blocks)


def main(argv: Sequence[str] | None = None, docs: Path = DOCS) -> int:
    """Write the page and its chart, or nothing if the figures are not all there."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.page",
        description="Write the figures of docs/peers.json into docs/peers.md, and its chart.",
    )
    parser.parse_args(argv)
    figures, page, chart = (docs / f"peers.{end}" for end in ("json", "md", "svg"))
    try:
        measured = json.loads(figures.read_text("utf-8"))
        text = filled(page.read_text("utf-8"), measured)
        drawn = draw(measured["peers"])
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        parser.error(
            f"{figures} is not what `python -m benchmarks --peers --json` writes of all peers "
            f"({type(error).__name__}: {error})"
        )
    page.write_text(text, "utf-8")
    chart.write_text(drawn, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
