"""Dashboards follow the rules of Grafana's own linter, and are what their source says."""

import inspect
import json
import re
from itertools import combinations
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.models import units

from deploy.grafana.build import DASHBOARDS, render
from tests.monitoring.names import SCRAPED, labels_of
from tests.monitoring.prometheus_server import RUNBOOKS
from tests.monitoring.promql import read

BOARDS = {name: json.loads(content) for name, content in render().items()}
PROVISIONING = DASHBOARDS.parent / "provisioning"
UNITS = {value for name, value in inspect.getmembers(units) if isinstance(value, str)} | {
    "none", "short", "cps",
}  # fmt: skip


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_what_is_shipped_was_rendered_from_the_source():
    assert {path.name for path in DASHBOARDS.glob("*.json")} == BOARDS.keys()
    for name, content in render().items():
        assert (DASHBOARDS / name).read_text(encoding="utf-8") == content, "run `make dashboards`"


def test_titles_and_addresses_are_unique():
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS)


@pytest.mark.parametrize("name", BOARDS)
class TestDashboard:
    def test_it_can_be_pointed_at_any_prometheus(self, name):
        variables = {v["name"]: v for v in BOARDS[name]["templating"]["list"]}
        assert variables["datasource"]["type"] == "datasource"
        assert variables["job"]["type"] == "query"
        for panel in panels(BOARDS[name]):
            assert panel["datasource"]["uid"] == "${datasource}"
            assert {t["datasource"]["uid"] for t in panel["targets"]} == {"${datasource}"}

    def test_every_panel_has_a_title_a_unit_and_queries(self, name):
        for panel in panels(BOARDS[name]):
            assert panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
            assert panel["targets"]

    def test_panels_and_queries_are_told_apart(self, name):
        ids = [panel["id"] for panel in BOARDS[name]["panels"]]
        assert len(set(ids)) == len(ids)
        for panel in panels(BOARDS[name]):
            references = [target["refId"] for target in panel["targets"]]
            assert len(set(references)) == len(references)

    def test_what_is_scraped_is_chosen_by_job(self, name):
        for panel in panels(BOARDS[name]):
            for target in panel["targets"]:
                for metric, matchers in read(target["expr"]).matchers.items():
                    if ":" not in metric:
                        assert "job" in {label for label, _, _ in matchers}, panel["title"]

    def test_rates_adapt_to_the_time_shown(self, name):
        for panel in panels(BOARDS[name]):
            for target in panel["targets"]:
                assert read(target["expr"]).ranges <= {"$__rate_interval"}, panel["title"]

    def test_panels_lie_beside_each_other(self, name):
        places = [panel["gridPos"] for panel in BOARDS[name]["panels"]]
        for place in places:
            assert place["x"] + place["w"] <= 24
        for a, b in combinations(places, 2):
            apart = (
                a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
                or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
            )  # fmt: skip
            assert apart, (a, b)

    def test_legends_name_labels_that_are_there(self, name):
        for panel in panels(BOARDS[name]):
            for target in panel["targets"]:
                found = read(target["expr"])
                known = set(SCRAPED).union(*(labels_of(metric) or () for metric in found.matchers))
                legend = target.get("legendFormat", "")
                shown = {part.split("}}")[0] for part in legend.split("{{")[1:]}
                assert shown <= known, panel["title"]
                if ":" not in target["expr"]:
                    assert shown <= found.grouped, panel["title"]

    def test_tables_are_joined_by_a_label_they_have(self, name):
        for panel in panels(BOARDS[name]):
            for step in panel.get("transformations", []):
                if step["id"] == "joinByField":
                    by = step["options"]["byField"]
                    for target in panel["targets"]:
                        assert target["format"] == "table"
                        assert by in read(target["expr"]).grouped

    def test_variables_that_are_used_are_there(self, name):
        text = json.dumps(BOARDS[name])
        defined = {v["name"] for v in BOARDS[name]["templating"]["list"]}
        for variable in ("calibrator", "relation", "query_lang", "job"):
            assert (f"${variable}" in text) <= (variable in defined)


def test_the_calibration_dashboard_repeats_its_reliability_diagram_for_every_relation():
    repeated = [p for p in panels(BOARDS["calibration.json"]) if p.get("repeat") == "relation"]
    assert [panel["options"]["xField"] for panel in repeated] == ["stated", "le"]


def test_provisioning_finds_prometheus_and_the_dashboards():
    sources = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())
    providers = yaml.safe_load((PROVISIONING / "dashboards" / "isoglot.yml").read_text())

    prometheus = next(s for s in sources["datasources"] if s["type"] == "prometheus")
    values = yaml.safe_load((DASHBOARDS.parents[1] / "prometheus" / "prometheus.yml").read_text())
    assert prometheus["isDefault"]
    assert prometheus["jsonData"]["timeInterval"] == values["global"]["scrape_interval"]
    assert providers["providers"][0]["options"]["path"].endswith("/dashboards")


def test_runbooks_name_dashboards_and_panels_that_there_are():
    titles = {board["title"].removeprefix("Isoglot / ") for board in BOARDS.values()}
    titles |= {panel["title"] for board in BOARDS.values() for panel in board["panels"]}
    titles |= {"Targets", "traffic"}  # a page of Prometheus, and a word that matters
    for page in RUNBOOKS.glob("*.md"):
        for named in re.findall(r"(?<!\*)\*([^*\s][^*]*)\*(?!\*)", page.read_text()):
            assert any(title.startswith(named) for title in titles), f"{page.name}: {named}"
