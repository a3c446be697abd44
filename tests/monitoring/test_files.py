"""The files that Prometheus and Alertmanager read are valid, current and complete."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.prometheus.render import HERE, PROFILES, read_values, render, thresholds, write
from tests.monitoring.promtool import RULES, tool

ROOT = HERE.parents[1]
RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTMANAGER = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"


def run(*command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def alerting_rules() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_what_is_shipped_was_rendered_from_the_templates():
    for name, content in render("production").items():
        assert (HERE / name).read_text(encoding="utf-8") == content, f"{name}: run `make rules`"


def test_both_profiles_set_the_same_names():
    assert read_values("production").keys() == read_values("compressed").keys()


def test_every_value_is_used():
    used = "".join(path.read_text() for path in HERE.glob("templates/**/*.in"))
    for name in read_values("production"):
        assert f"<<{name}>>" in used, name


def test_profiles_differ_in_windows_alone():
    blank = re.compile(r"\b\d+[smhd]\b")
    full, compressed = render("production"), render("compressed")
    for name in full:
        if name.startswith("rules/"):
            assert blank.sub("", full[name]) == blank.sub("", compressed[name])


def test_a_window_is_changed_in_one_place(tmp_path):
    for name, content in render("production", {"label_window": "28d"}).items():
        if name == "rules/calibration.yml":
            assert "28d" in content
            assert "7d" not in content


@pytest.mark.parametrize("changed", [{"lable_window": "28d"}])
def test_a_misspelt_value_is_refused(changed):
    with pytest.raises(ValueError, match="lable_window"):
        render("production", changed)


@pytest.mark.parametrize("profile", PROFILES)
def test_promtool_accepts_configuration_and_rules(profile, tmp_path):
    write(render(profile), tmp_path)

    promtool = tool("promtool", "prometheus")
    run(promtool, "check", "config", "--syntax-only", str(tmp_path / "prometheus.yml"))
    run(promtool, "check", "rules", *map(str, sorted(tmp_path.glob("rules/*.yml"))))


def test_every_alert_has_its_runbook_and_every_runbook_its_alert():
    urls = {rule["annotations"]["runbook_url"] for rule in alerting_rules()}

    assert {url.rsplit("/", 1)[1] for url in urls} == {p.name for p in RUNBOOKS.glob("*.md")}
    for rule in alerting_rules():
        page = RUNBOOKS / rule["annotations"]["runbook_url"].rsplit("/", 1)[1]
        assert page.stem == rule["alert"]
        text = page.read_text(encoding="utf-8")
        assert f"({rule['alert']})" in text.splitlines()[0]
        assert "**Means.**" in text
        assert "**Do.**" in text or "| do |" in text


def test_links_between_runbooks_lead_somewhere():
    for page in RUNBOOKS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"


def test_every_alert_says_what_and_how_bad():
    for rule in alerting_rules():
        assert rule["alert"].startswith("Isoglot")
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["for"]


def test_runbooks_quote_the_thresholds_that_hold():
    limits = thresholds()
    for alert, quoted in (
        ("IsoglotCalibrationDrift", f"{100 * limits['ece']:g} points"),
        ("IsoglotCalibrationDrift", f"{limits['ece_z']:g} standard deviations"),
        ("IsoglotCalibrationBias", f"{limits['bias_z']:g} standard deviations"),
        ("IsoglotScoreShift", f"{limits['score_ks']:g} (Kolmogorov-Smirnov)"),
        ("IsoglotFeedbackStarved", f"Fewer than {limits['least_labels']:g} labels"),
        ("IsoglotCalibratorOld", f"{limits['calibrator_age_days']:g} days"),
        ("IsoglotErrors", f"{100 * (1 - limits['error_budget']):g} %"),
        ("IsoglotSlow", f"{1000 * limits['latency_seconds']:g} ms"),
    ):
        assert quoted in (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8").replace("\n", " ")


def test_alertmanager_accepts_the_configuration():
    run(tool("amtool", "prometheus-alertmanager"), "check-config", str(ALERTMANAGER))


def test_the_receivers_shown_as_examples_are_valid(tmp_path: Path):
    head, _, examples = ALERTMANAGER.read_text(encoding="utf-8").partition("  - name: nobody\n")
    shown = re.sub(r"^  # ", "  ", examples, flags=re.MULTILINE)
    changed = tmp_path / "alertmanager.yml"
    changed.write_text(f"{head}  - name: nobody\n{shown}", encoding="utf-8")

    assert len(yaml.safe_load(changed.read_text())["receivers"]) > 3
    run(tool("amtool", "prometheus-alertmanager"), "check-config", str(changed))


def test_alertmanager_tells_nobody_by_default():
    config = yaml.safe_load(ALERTMANAGER.read_text())
    assert config["receivers"] == [{"name": "nobody"}]
    routed = {rule["labels"]["severity"] for rule in alerting_rules()}
    assert {m.split('"')[1] for r in config["route"]["routes"] for m in r["matchers"]} == routed


def test_alerts_that_alertmanager_holds_back_exist():
    names = {rule["alert"] for rule in alerting_rules()}
    for rule in yaml.safe_load(ALERTMANAGER.read_text())["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            if named := re.fullmatch(r'alertname=~?"(.*)"', matcher):
                assert set(named[1].split("|")) <= names
