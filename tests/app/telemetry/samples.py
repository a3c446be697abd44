"""Reads expositions back."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from app.telemetry.metrics import Metrics

Series = tuple[str, tuple[tuple[str, str], ...]]


def read_samples(exposition: str) -> list[Sample]:
    """Return every sample of an exposition, with the parser of the client library."""
    return [s for family in text_string_to_metric_families(exposition) for s in family.samples]


class Samples:
    """What the metrics say now."""

    def __init__(self, exposition: str) -> None:
        self._values: Mapping[Series, float] = {
            (s.name, tuple(sorted(s.labels.items()))): s.value for s in read_samples(exposition)
        }

    @classmethod
    def of(cls, metrics: Metrics) -> Samples:
        return cls(metrics.exposition().decode())

    def __len__(self) -> int:
        return len(self._values)

    def value(self, name: str, **labels: str) -> float:
        """Return the value of one series, which must exist."""
        return self._values[name, tuple(sorted(labels.items()))]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum over the series of a name that have these labels."""
        return sum(
            value
            for (found, pairs), value in self._values.items()
            if found == name and labels.items() <= dict(pairs).items()
        )

    def labels(self, name: str) -> list[dict[str, str]]:
        """Return the labels of every series of a name."""
        return [dict(pairs) for found, pairs in self._values if found == name]
