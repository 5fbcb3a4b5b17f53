"""A registry of the test's own, and what a scrape of it shows."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from graceline import Metrics


class Scrape:
    """What a registry shows; series by name without the prefix, and by labels without the lane."""

    def __init__(self, registry):
        self._registry = registry

    def text(self):
        """The text that a server would get."""
        return generate_latest(self._registry).decode()

    def families(self):
        """The families of that text."""
        return list(text_string_to_metric_families(self.text()))

    def samples(self, *without):
        """The value of each series by name and labels."""
        shown = {}
        for family in self.families():
            for name, labels, value, *_ in family.samples:
                rest = {key: one for key, one in labels.items() if key not in without}
                key = (name.partition("_")[2], tuple(sorted(rest.items())))
                assert key not in shown, f"{key} is there twice"
                shown[key] = value
        return shown

    def value(self, name, **labels):
        """The value of one series; None if there is none."""
        return self.samples("lane").get((name, tuple(sorted(labels.items()))))

    def observed(self, name, **labels):
        """The count and the sum of a histogram."""
        return tuple(self.value(f"{name}{end}", **labels) for end in ("_count", "_sum"))

    def counts(self, name, *by, **only):
        """The series that are not 0, by some of their labels; `only` those with these labels."""
        found = {}
        for (shown, labels), value in self.samples("lane").items():
            labelled = dict(labels)
            if shown == name and value and only.items() <= labelled.items():
                key = tuple(labelled[one] for one in by)
                found[key[0] if len(key) == 1 else key] = value
        return found


@pytest.fixture
def registry():
    """A registry with nothing in it."""
    return CollectorRegistry()


@pytest.fixture
def metrics(registry):
    """Metrics in that registry."""
    return Metrics(registry=registry)


@pytest.fixture
def shown(registry):
    """What a scrape of that registry shows."""
    return Scrape(registry)
