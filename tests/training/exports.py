"""A tiny exported encoder for tests, in the layout that ``isoglot-train export`` writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.bundles import TINY_MODEL, TINY_TOKENIZER, tiny_spec
from training.onnx_encoder import ONNX_FILES, SPEC_FILE


def write_tiny_export(directory: Path) -> Path:
    """Write the tiny encoder with its float32 graph, and return its directory."""
    graph = directory / ONNX_FILES["float32"]
    graph.parent.mkdir(parents=True)
    shutil.copyfile(TINY_MODEL, graph)
    shutil.copyfile(TINY_TOKENIZER, directory / "encoder" / "tokenizer.json")
    spec = json.dumps(tiny_spec().to_json())
    (directory / SPEC_FILE).write_text(spec, encoding="utf-8")
    source = {"name": "made up", "licence": "CC0", "rows": {"train": 3}, "sha256": "ab" * 32}
    provenance = {"commit": "abc", "config": {"seed": 7}, "sources": [source], "licences": ["CC0"]}
    (directory / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
    (directory / "export.json").write_text("{}", encoding="utf-8")
    return directory
