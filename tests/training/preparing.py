"""Prepares made-up data for tests, and reads what was held out."""

from __future__ import annotations

import gzip
import json
from typing import Any

from rich.progress import Progress

from training.config import parse_config
from training.data_prepared import open_prepared
from training.prepare import prepare


def run(config_text: Any, data_root: Any, target: Any, **options: Any) -> Any:
    config = parse_config(config_text)
    prepare(config, data_root, target, progress=Progress(disable=True), **options)
    return open_prepared(target)


def held_out(prepared: Any, name: Any) -> Any:
    with gzip.open(prepared.path / name, "rt") as file:
        return [json.loads(line) for line in file]
