"""What a model was made from: enough to make it again, and nothing about whose machine it was."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from training.config import RunConfig

PACKAGES = (
    "isoglot",
    "accelerate",
    "datasets",
    "numpy",
    "onnx",
    "onnxruntime",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
)


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide what is computed."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_commit(directory: Path | None = None) -> str | None:
    """Return the commit of the working tree, ``+changes`` appended if files differ from it.

    ``None`` where there is no git or no repository, as in an installed package.
    """
    where = directory or Path(__file__).parent
    try:
        commit = _git(where, "rev-parse", "HEAD")
        changed = _git(where, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}+changes" if changed else commit


def _git(directory: Path, *arguments: str) -> str:
    command = ["git", "-C", str(directory), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - fixed words, no shell
    return done.stdout.strip()


def provenance(
    config: RunConfig, prepared_manifest: Mapping[str, object], facts: Mapping[str, object]
) -> dict[str, object]:
    """Return the provenance of a trained encoder, ready for JSON.

    Args:
        config: The run, seed and loss temperatures included.
        prepared_manifest: Of the prepared directory: sources with fingerprint and licence.
        facts: What the run itself found out, for example wall time and device.
    """
    sources = prepared_manifest["sources"]
    assert isinstance(sources, list), "the manifest was written by prepare"
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "versions": package_versions(),
        "config": config.model_dump(mode="json"),
        "sources": sources,
        "licences": sorted({source["licence"] for source in sources}),
        **facts,
    }
