"""Rules and dashboards read what the service exposes, and nothing else."""

import json
from collections.abc import Iterator

import pytest
import yaml

from deploy.grafana.build import DASHBOARDS
from tests.monitoring.names import SCRAPED, VALUES, labels_of, series
from tests.monitoring.promql import read
from tests.monitoring.promtool import RULES


def rules() -> Iterator[tuple[str, str]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield rule.get("alert") or rule["record"], rule["expr"]


def queries() -> Iterator[tuple[str, str]]:
    for path in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.stem}: {panel['title']}", target["expr"]


EXPRESSIONS = [*rules(), *queries()]


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_every_metric_and_label_exists(where, expression):
    found = read(expression)
    assert found.matchers
    known = set(SCRAPED)
    for metric, matchers in found.matchers.items():
        own = labels_of(metric)
        assert own is not None, f"{metric} is not exposed"
        known |= own
        for label, operator, value in matchers:
            assert label in own | SCRAPED, f"{metric} has no label {label}"
            if operator in {"=", "!="} and label in VALUES and not value.startswith("$"):
                assert value in VALUES[label], f"{label} is never {value}"
    assert found.grouped <= known, f"{found.grouped - known} is a label of none of them"


def test_recorded_series_that_are_read_are_recorded():
    recorded = {name for name, _ in rules() if ":" in name}
    for where, expression in EXPRESSIONS:
        for metric in read(expression).matchers:
            assert ":" not in metric or metric in recorded, f"{where}: {metric}"


def test_every_metric_of_the_service_is_read_somewhere():
    read_somewhere = {m for _, expression in EXPRESSIONS for m in read(expression).matchers}
    read_somewhere |= {"isoglot_build_info"}  # the variable `job`
    for_people = {
        "isoglot_bundle_info", "isoglot_encoder_engine_info",
        "isoglot_reference_base_rate_ratio", "isoglot_reference_probability_cdf_ratio",
    }  # fmt: skip
    families = {name for name in series() if name.startswith("isoglot_")}
    for name in sorted(families - for_people):
        stem = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        assert any(metric.startswith(stem) for metric in read_somewhere), name


def test_an_unknown_metric_would_be_found():
    found = read('sum by (relation) (rate(isoglot_hits_totl{relation="same"}[5m])) > 2')
    assert found.matchers == {"isoglot_hits_totl": [("relation", "=", "same")]}
    assert found.grouped == {"relation"}
    assert found.ranges == {"5m"}
    assert labels_of("isoglot_hits_totl") is None
