"""The dashboard and the rules that come with the package, written out for one's own Prometheus.

They are shipped for the prefix `graceline`, an objective of 99 % and a period of 30 days, and are
valid as they are. For others the names, numbers and windows in them are replaced in one pass over
the shipped text, so that nothing is replaced twice, whatever the new words are.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from graceline.definitions.checks import brief
from graceline.durations import Duration, parse_duration
from graceline.errors import DefinitionError
from graceline.telemetry.prometheus.metrics import check_prefix

__all__ = ["export"]

_DASHBOARD = "dashboard.json"
_OBJECTIVE_RULES = "objective.rules.yml"
_ENGINE_RULES = "engine.rules.yml"

_PREFIX = "graceline"
_OBJECTIVE = 0.99
_LOWEST = 0.94  # below it 14.4 times what may be missed is more than all runs: nothing would fire
_PERIOD = 30 * 86400.0
_SHORTEST_PERIOD = _PERIOD / 300  # for it the window of five minutes becomes one of a second

_VARIES = re.compile(
    rf"\b(?P<prefix>{_PREFIX})(?=_[a-z])"
    r"|(?<=\(1 - )(?P<objective>0\.99)(?=\))"
    r"|(?:(?<=\[)|(?<=_bad:ratio_rate)|(?<= last )|(?<= for: ))(?P<window>[0-9]+[smhd])\b"
)
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def export(
    directory: str | Path,
    *,
    prefix: str = _PREFIX,
    objective: float = _OBJECTIVE,
    period: Duration = _PERIOD,
    force: bool = False,
) -> tuple[Path, ...]:
    """Write the Grafana dashboard and the rules for Prometheus; returns their paths.

    Args:
        directory: where they are written; it is made if need be. Their names begin with the prefix.
        prefix: that of the metrics, as in `Metrics(prefix=)`: letters, digits and underscores.
        objective: the share of runs that are to be within their limit, at least 0.94, below 1.
        period: how long an error budget lasts, in seconds, at least 2 h 24 min. The windows of the
            burn rates are in proportion to it; for 30 days they are 5 minutes to 3 days.
        force: replace files that are there already.

    Raises:
        DefinitionError: for a prefix, an objective or a period that cannot be, and where a file is
            in the place of the directory, or a directory in that of a file.
        FileExistsError: if one of the files is there, unless `force`; nothing is written then.
        OSError: if a file cannot be written.
    """
    share = _checked(prefix, objective, period) / _PERIOD
    texts = {
        _DASHBOARD: _dashboard(prefix, objective, share),
        _OBJECTIVE_RULES: _vary(_shipped(_OBJECTIVE_RULES), prefix, objective, share),
        _ENGINE_RULES: _vary(_shipped(_ENGINE_RULES), prefix, objective, 1.0),
    }
    target = Path(directory)
    files = {target / f"{prefix}-{name}": text for name, text in texts.items()}
    _check_places(target, files)
    there = [str(path) for path in files if path.exists()]
    if there and not force:
        raise FileExistsError(f"there already: {', '.join(there)}")
    target.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, "utf-8")
    return tuple(files)


def _check_places(directory: Path, files: Iterable[Path]) -> None:
    if not directory.is_dir() and (directory.exists() or directory.is_symlink()):
        raise DefinitionError(
            f"{directory} is a file, and a directory is wanted, into which the files are written"
        )
    for path in files:
        if path.is_dir():
            raise DefinitionError(
                f"{path} is a directory, where a file is to be written; remove it, or give another "
                "directory"
            )


def _checked(prefix: str, objective: float, period: Duration) -> float:
    """The period in seconds, once all three are known to be possible."""
    check_prefix(prefix, "prefix=")
    if isinstance(objective, bool) or not isinstance(objective, int | float):
        raise DefinitionError(f"objective= must be a share such as 0.99, not {brief(objective)}")
    if not _LOWEST <= objective < 1:
        raise DefinitionError(
            f"objective= must be a share of at least {_LOWEST} and below 1, such as 0.99 for 99 %, "
            f"not {objective!r}"
        )
    seconds = parse_duration(period, "period=")
    if not _SHORTEST_PERIOD <= seconds < math.inf:
        raise DefinitionError(
            f"period= must be finite and at least {_window(_SHORTEST_PERIOD)}, not {period!r}: "
            "the shortest window of the burn rates is then one second"
        )
    return seconds


def _shipped(name: str) -> str:
    return (resources.files("graceline.telemetry") / "shipped" / name).read_text("utf-8")


def _vary(text: str, prefix: str, objective: float, share: float) -> str:
    """A shipped text with another prefix and objective, and windows of that share."""

    def replace(found: re.Match[str]) -> str:
        word = found[0]
        if found["prefix"]:
            return prefix
        if found["objective"]:
            return str(float(objective))
        return _window(int(word[:-1]) * _UNITS[word[-1]] * share)

    return _VARIES.sub(replace, text)


def _window(seconds: float) -> str:
    """A duration in the words of Prometheus, to the second: `1h24m`."""
    left, words = round(seconds), ""
    for unit, size in _UNITS.items():
        count, left = divmod(left, size)
        words += f"{count}{unit}" if count else ""
    return words or "0s"


def _dashboard(prefix: str, objective: float, share: float) -> str:
    """The dashboard, with a name of its own for each prefix."""
    page = json.loads(_vary(_shipped(_DASHBOARD), prefix, objective, share))
    page["uid"] = prefix
    page["title"] = f"{prefix}: latency objective"
    (asked,) = (one for one in page["templating"]["list"] if one["name"] == "objective")
    shown = {"text": str(float(objective)), "value": str(float(objective))}
    asked["query"] = shown["value"]
    asked["current"] = {"selected": False, **shown}
    asked["options"] = [{"selected": True, **shown}]
    return json.dumps(page, indent=2, ensure_ascii=False) + "\n"
