"""Renders the overlays as kustomize does, as far as they use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.dockerfile import ROOT

KUBERNETES = ROOT / "deploy/kubernetes"
UNDERSTOOD = {"apiVersion", "kind", "namespace", "labels", "resources", "images", "patches"}

Manifest = dict[str, Any]


def load(path: Path) -> list[Manifest]:
    return [found for found in yaml.safe_load_all(path.read_text(encoding="utf-8")) if found]


def render(directory: Path) -> list[Manifest]:
    """Return the manifests that a directory with a kustomization stands for."""
    [plan] = load(directory / "kustomization.yaml")
    assert set(plan) <= UNDERSTOOD, set(plan) - UNDERSTOOD
    manifests = [found for name in plan["resources"] for found in _resources(directory / name)]
    for patch in plan.get("patches", []):
        for change in load(directory / patch["path"]):
            [at] = [at for at, found in enumerate(manifests) if identity(found) == identity(change)]
            manifests[at] = _merge(manifests[at], change)
    for manifest in manifests:
        _finish(manifest, plan)
    return manifests


def identity(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def one(manifests: list[Manifest], kind: str) -> Manifest:
    [found] = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def containers(manifest: Manifest) -> list[dict[str, Any]]:
    found = manifest["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, list)
    return found


def _resources(path: Path) -> Iterator[Manifest]:
    yield from render(path) if path.is_dir() else load(path)


def _finish(manifest: Manifest, plan: dict[str, Any]) -> None:
    metadata = manifest["metadata"]
    for labels in plan.get("labels", []):
        metadata["labels"] = metadata.get("labels", {}) | labels["pairs"]
    if manifest["kind"] != "Namespace" and "namespace" in plan:
        metadata["namespace"] = plan["namespace"]
    if manifest["kind"] == "Deployment":
        for container in containers(manifest):
            for image in plan.get("images", []):
                if container["image"] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"


def _merge(below: Any, above: Any) -> Any:
    """Merge as a strategic patch: lists of things with names by name, other lists replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        merged = dict(below)
        for name, value in above.items():
            merged[name] = _merge(below[name], value) if name in below else value
        return merged
    if isinstance(below, list) and isinstance(above, list) and _named(below) and _named(above):
        known = {found["name"]: found for found in below}
        for change in above:
            known[change["name"]] = _merge(known.get(change["name"], {}), change)
        return list(known.values())
    return above


def _named(items: list[Any]) -> bool:
    return all(isinstance(item, dict) and "name" in item for item in items)
