"""What the import contracts cannot see: which modules really get loaded."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "transformers", "sentence_transformers", "datasets", "scipy", "netcal", "sklearn"}


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize("module", ["app.main", "app.cli", "app.bootstrap"])
def test_the_service_loads_no_training_library(module):
    assert modules_after(f"import {module}") & (HEAVY | {"training"}) == set()


def test_the_guard_above_sees_what_is_loaded():
    assert "sqlite3" in modules_after("import sqlite3")


def test_the_command_line_shows_its_help_without_loading_the_engine():
    loaded = modules_after("import app.cli")
    assert loaded & {"qdrant_edge", "onnxruntime", "fastapi", "tokenizers"} == set()


def test_no_module_is_unpickled_anywhere():
    sources = [p for part in ("app", "training") for p in (ROOT / part).rglob("*.py")]
    assert sources
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            if isinstance(node, ast.ImportFrom):
                names = {node.module or ""}
            assert not names & {"pickle", "dill", "joblib", "shelve"}, source
