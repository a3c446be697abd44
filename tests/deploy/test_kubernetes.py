"""The manifests are valid, and what they start is shut in, watched and scaled."""

from __future__ import annotations

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from app.cli.serve import GRACE_SECONDS
from app.settings import PREFIX, Settings, secret_settings
from app.telemetry import catalogue
from tests.deploy import kustomize
from tests.deploy.dockerfile import ROOT
from tests.deploy.kustomize import KUBERNETES, containers, one

OVERLAYS = [KUBERNETES / "base", *sorted((KUBERNETES / "overlays").iterdir())]
CUSTOM = {"ServiceMonitor", "PrometheusRule"}
VERSION = "1.30"

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)


@every_overlay
def test_every_manifest_is_valid(overlay):
    for manifest in kustomize.render(overlay):
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_the_validator_does_find_what_is_wrong():
    deployment = one(kustomize.render(KUBERNETES / "base"), "Deployment")
    deployment["spec"]["strategy"]["maxSurges"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSION, strict=True)


def test_every_file_is_part_of_something():
    for directory in OVERLAYS:
        [plan] = kustomize.load(directory / "kustomization.yaml")
        named = set(plan["resources"]) | {patch["path"] for patch in plan.get("patches", [])}
        there = {path.name for path in directory.glob("*.yaml")} - {"kustomization.yaml"}
        assert there <= named


@every_overlay
def test_a_pod_can_do_nothing_it_has_no_need_to(overlay):
    manifests = kustomize.render(overlay)
    pod = one(manifests, "Deployment")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
    labels = one(manifests, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@every_overlay
def test_the_service_of_the_same_name_sets_nothing(overlay):
    pod = one(kustomize.render(overlay), "Deployment")["spec"]["template"]["spec"]
    assert pod["enableServiceLinks"] is False


@every_overlay
def test_three_probes_ask_who_is_alive_and_who_can_search(overlay):
    [container] = containers(one(kustomize.render(overlay), "Deployment"))
    paths = {
        probe: container[f"{probe}Probe"]["httpGet"]["path"]
        for probe in ("startup", "liveness", "readiness")
    }
    assert paths == {
        "startup": "/health/live",
        "liveness": "/health/live",
        "readiness": "/health/ready",
    }


def test_a_pod_is_given_more_time_than_it_takes_to_drain():
    pod = one(kustomize.render(KUBERNETES / "base"), "Deployment")["spec"]["template"]["spec"]
    before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= 2 * GRACE_SECONDS + before


@every_overlay
def test_settings_of_the_service_are_settings_that_it_has(overlay):
    manifests = kustomize.render(overlay)
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    known |= {f"{PREFIX}{field.upper()}_FILE" for field in secret_settings()}
    settings = set(one(manifests, "ConfigMap")["data"])
    for container in containers(one(manifests, "Deployment")):
        settings |= {variable["name"] for variable in container.get("env", [])}
    assert settings <= known


@every_overlay
def test_the_autoscaler_reads_a_metric_that_the_service_has(overlay):
    autoscaler = one(kustomize.render(overlay), "HorizontalPodAutoscaler")
    metric, *others = autoscaler["spec"]["metrics"]
    also = [] if overlay.name == "gpu" else ["cpu"]
    assert [other["resource"]["name"] for other in others] == also
    assert metric["pods"]["metric"]["name"] == catalogue.QUEUE_TOKENS.name
    [adapter] = kustomize.load(KUBERNETES / "prometheus-adapter-values.yaml")
    assert adapter["rules"]["custom"][0]["name"]["as"] == metric["pods"]["metric"]["name"]


@every_overlay
def test_the_rules_are_those_of_prometheus(overlay):
    groups = one(kustomize.render(overlay), "PrometheusRule")["spec"]["groups"]
    rules = ROOT / "deploy/prometheus/rules"
    expected = [
        group
        for path in sorted(rules.glob("*.yml"))
        for document in kustomize.load(path)
        for group in document["groups"]
    ]
    assert expected
    assert groups == expected, "run `make rules`"


def test_everything_selects_the_pods_of_the_deployment():
    manifests = kustomize.render(KUBERNETES / "base")
    template = one(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        one(manifests, "Service")["spec"]["selector"],
        one(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    selectors += [
        one(manifests, kind)["spec"]["selector"]["matchLabels"]
        for kind in ("Deployment", "PodDisruptionBudget", "ServiceMonitor")
    ]
    assert all(selector.items() <= template.items() for selector in selectors)


@pytest.mark.parametrize("name", ["production", "gpu"])
def test_overlays_name_the_image_to_run(name):
    rendered = one(kustomize.render(KUBERNETES / "overlays" / name), "Deployment")
    [container] = containers(rendered)
    assert container["image"].startswith("registry.example/isoglot:0.1.0")


def test_the_overlay_for_gpus_asks_for_one():
    [container] = containers(one(kustomize.render(KUBERNETES / "overlays" / "gpu"), "Deployment"))
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
