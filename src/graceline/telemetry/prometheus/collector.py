"""The collector: it adds up what engines count, and keeps what those counted that have closed."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry

from graceline.definitions.checks import brief
from graceline.errors import DefinitionError, GracelineError
from graceline.telemetry.prometheus.families import Families, Lane, Now
from graceline.telemetry.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.core import Metric

    from graceline.telemetry.prometheus.metrics import Metrics
    from graceline.telemetry.prometheus.sources import Source

__all__ = ["Collector", "collector_of", "discard", "registry_of"]


class Collector:
    """Collects from all engines that count for one registry under one prefix; see `Metrics`.

    Args:
        prefix: of the names.
        bounds: upper bounds of the buckets in seconds.
    """

    def __init__(self, prefix: str, bounds: tuple[float, ...]) -> None:
        self.bounds: tuple[float, ...] = bounds
        self._families = Families(prefix, bounds)
        self._kept: dict[str, Stats] = {}
        self._live: dict[int, Source] = {}
        # Held while numbers are added up: an engine that closes meanwhile must not count twice.
        self._lock = Lock()

    @property
    def is_used(self) -> bool:
        """Whether an engine counts for it."""
        return bool(self._live)

    def attach(self, source: Source) -> None:
        """An engine has opened."""
        with self._lock:
            self._kept.setdefault(source.lane, Stats(self.bounds))
            self._live[id(source)] = source

    def detach(self, source: Source) -> None:
        """An engine has closed: what it has counted stays, what it was doing goes."""
        with self._lock:
            del self._live[id(source)]
            self._kept[source.lane].merge(source.stats, gauges=False)

    def describe(self) -> Iterable[Metric]:
        """The names, for the registry; there are no samples yet."""
        return self._families.empty()

    def collect(self) -> Iterable[Metric]:
        """All metrics, as prometheus_client asks for them in its own thread."""
        return self._families.filled(self._added_up())

    def _added_up(self) -> list[Lane]:
        with self._lock:
            lanes = {name: Lane(name, Stats(self.bounds)) for name in self._kept}
            for name, kept in self._kept.items():
                lanes[name].stats.merge(kept)
            for source in self._live.values():
                lane = lanes[source.lane]
                lane.stats.merge(source.stats)
                lane.sources.append(Now(source.mode, source.gauges(), source.stats.exemplars))
            for name, lane in lanes.items():
                self._remember_errors(self._kept[name], lane.stats)
        return list(lanes.values())

    def _remember_errors(self, kept: Stats, shown: Stats) -> None:
        """Once shown by its name, a class of errors is never counted as one of the others."""
        for key, part in shown.parts().items():
            if part.errors:
                errors = kept.part(*key).errors
                for name in part.errors:
                    errors.setdefault(name, 0)


_known: WeakKeyDictionary[CollectorRegistry, dict[str, Collector]] = WeakKeyDictionary()
_lock = Lock()


def registry_of(metrics: Metrics) -> CollectorRegistry:
    """The registry that shows these metrics."""
    return REGISTRY if metrics.registry is None else metrics.registry


def collector_of(metrics: Metrics) -> Collector:
    """The one collector of a registry and a prefix, registered at the first call.

    Raises:
        DefinitionError: if there is one with other buckets, or other metrics have its names.
    """
    prefix, bounds = metrics.prefix, metrics.buckets
    registry = registry_of(metrics)
    with _lock:
        collectors = _known.setdefault(registry, {})
        found = collectors.get(prefix)
        if found is None:
            found = Collector(prefix, bounds)
            try:
                registry.register(found)
            except ValueError as error:
                raise DefinitionError(
                    f"Metrics(prefix={prefix!r}): the registry has other metrics of these names; "
                    f"give another prefix ({error})"
                ) from error
            collectors[prefix] = found
    if found.bounds != bounds:
        raise DefinitionError(
            f"Metrics(prefix={prefix!r}): an engine has used other buckets in this registry, "
            f"{brief(found.bounds)}; give the same ones, or another prefix or registry"
        )
    return found


def discard(metrics: Metrics) -> None:
    """Unregister the collector of a registry and a prefix, if there is one.

    Raises:
        GracelineError: if an engine is open that uses it.
    """
    registry = registry_of(metrics)
    with _lock:
        collectors = _known.get(registry, {})
        found = collectors.get(metrics.prefix)
        if found is None:
            return
        if found.is_used:
            raise GracelineError(
                f"Metrics(prefix={metrics.prefix!r}).close(): an engine is open that counts there"
            )
        registry.unregister(found)
        del collectors[metrics.prefix]
