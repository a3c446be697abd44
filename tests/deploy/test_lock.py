"""What the images install is what the tests ran with, in every version."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.deploy.dockerfile import ROOT

SERVING = ["qdrant", "postgres", "otel"]
IMAGES = {"cpu": SERVING, "gpu": [*SERVING, "gpu"]}


def pins(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    found = re.findall(r"^([\w.-]+)==(\S+)", text, flags=re.MULTILINE)
    return {re.sub(r"[_.]", "-", package).lower(): version for package, version in found}


def named(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[><=;~ ]", requirement)[0] for requirement in requirements}


@pytest.mark.parametrize(("image", "extras"), IMAGES.items())
def test_an_image_has_every_requirement_in_the_version_that_was_tested(image, extras):
    locked, tested = pins(f"deploy/image/{image}.txt"), pins("constraints.txt")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = named(project["dependencies"])
    for extra in extras:
        needed |= named(project["optional-dependencies"][extra])
    assert needed <= set(locked), "run `make lock`"
    differing = {name for name in locked if name in tested and locked[name] != tested[name]}
    assert not differing, "run `make lock`"


@pytest.mark.parametrize("image", ["build", *IMAGES])
def test_every_package_of_an_image_has_hashes(image):
    text = (ROOT / f"deploy/image/{image}.txt").read_text(encoding="utf-8")
    for entry in re.split(r"\n(?=\w)", text.strip()):
        assert "--hash=sha256:" in entry, entry


def test_only_the_image_for_gpus_has_torch():
    assert "torch" in pins("deploy/image/gpu.txt")
    assert not {name for name in pins("deploy/image/cpu.txt") if "torch" in name or "cuda" in name}
