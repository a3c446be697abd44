"""The model card: what a bundle is, what it was made from, how well it does, where it stops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.encoder_spec import EncoderSpec
from training.report import calibration_table, overall, retrieval_tables, table


def model_card(  # noqa: PLR0913 - a card tells of every part
    name: str,
    *,
    spec: EncoderSpec,
    provenance: Mapping[str, Any],
    calibration: Mapping[str, Any],
    results: Mapping[str, Any],
    notes: str,
) -> str:
    """Return the Markdown text of a model card.

    Args:
        name: Name of the bundle.
        spec: The encoder contract.
        provenance: Of the training run.
        calibration: ``calibration.json``.
        results: ``results.json``.
        notes: Markdown of what only people know: the commands that made the bundle, what it has
            never seen, its limits. May be empty.
    """
    sections = [
        f"# {name}\n",
        _facts(spec, provenance, calibration),
        notes,
        "## Training data\n",
        _training_data(provenance),
        "## Calibration data\n",
        _calibration_data(calibration),
        *_results(results),
    ]
    return "\n".join(sections)


def _facts(spec: EncoderSpec, provenance: Mapping[str, Any], calibration: Mapping[str, Any]) -> str:
    config = provenance.get("config", {})
    rows = [
        ["encoder", f"{spec.name} ({spec.base_model}), {spec.dim} dimensions, {spec.pooling}"],
        ["encoder fingerprint", spec.fingerprint()],
        ["languages", ", ".join(spec.languages)],
        ["tokens read of a text", str(spec.max_length)],
        ["seeds", f"training {config.get('seed')}, calibration {calibration['config']['seed']}"],
        ["teacher", str(provenance.get("teacher"))],
        *_refined(provenance),
        ["calibrator", calibration["calibrator"]],
        ["commit", str(provenance.get("commit"))],
        ["trained", f"{provenance.get('created')} on {provenance.get('device')}"],
        ["versions", ", ".join(f"{k} {v}" for k, v in provenance.get("versions", {}).items())],
        ["licences of the data", "; ".join(provenance.get("licences", []))],
    ]
    return table(["", ""], rows)


def _refined(provenance: Mapping[str, Any]) -> list[list[str]]:
    """Return a row that says how the trained encoder was changed, if it was."""
    facts = provenance.get("refined")
    if facts is None:
        return []
    said = (
        f"norms to the power of {facts['norm_power']:g}, {facts['language_axes']} language axes "
        f"removed, whitening {facts['whitening']:g}, on {facts['parallel']} ({facts['licence']})"
    )
    if facts.get("pooling") == "sublinear":
        said += "; a token that stands n times in a text counts sqrt(n) times"
    return [["refined", said]]


def _training_data(provenance: Mapping[str, Any]) -> str:
    rows = [
        [source["name"], source["licence"], str(source["rows"]["train"]), source["sha256"][:12]]
        for source in provenance.get("sources", [])
    ]
    return table(["source", "licence", "rows", "sha256"], rows)


def _calibration_data(calibration: Mapping[str, Any]) -> str:
    rows = [
        [
            source["name"] or source["path"],
            source["licence"],
            "asked" if source["judged"] else "distractors only",
            "own level and slopes" if source["own_level"] else "",
        ]
        for source in calibration["config"]["set"]
    ]
    return table(["set", "licence", "use", "level"], rows)


def _results(results: Mapping[str, Any]) -> list[str]:
    settings = results["settings"]
    parts = [f"## Results\n\nMeasured in {settings['arithmetic']} arithmetic.\n"]
    for name, result in results["sets"].items():
        parts.append(retrieval_tables(name, result).replace("## ", "### ", 1))
        if measured := result.get("calibration"):
            parts += ["Calibration of the first 20 hits of the whole pool:\n"]
            parts += [calibration_table(overall(measured["groups"]))]
    return parts
