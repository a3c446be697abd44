import pytest
from prometheus_client import CollectorRegistry, Histogram, Summary

from app.telemetry.instruments import observe_all

AMOUNTS = [0.0, 0.1, 0.1, 0.25, 0.5, 0.7, 3.0]


@pytest.mark.parametrize("kind", [Histogram, Summary])
def test_several_amounts_are_recorded_as_one_after_another(kind):
    def samples(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
        return {
            (sample.name, sample.labels.get("le", "")): sample.value
            for metric in registry.collect()
            for sample in metric.samples
            if not sample.name.endswith("_created")
        }

    options = {"buckets": (0.1, 0.5, 1.0)} if kind is Histogram else {}
    one, all_at_once = CollectorRegistry(), CollectorRegistry()
    observing = kind("amount", "Amounts.", registry=one, **options)
    for amount in AMOUNTS:
        observing.observe(amount)
    observe_all(kind("amount", "Amounts.", registry=all_at_once, **options), AMOUNTS)
    assert samples(all_at_once) == pytest.approx(samples(one))
