"""What one process of a study does: shared stages and cells, one after the other.

A cell leaves ``cell.json`` when it is finished, written last and in one piece; a cell without it
is done again, from the last checkpoint of its training or from the hits that it has kept.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from app.core.types import FloatArray
from training.data_prepared import Prepared, open_prepared
from training.embedding import embed_passages, embed_queries
from training.encoder import load_encoder, quiet_loading
from training.provenance import git_commit, package_versions
from training.study.cells import Cell, cell_directory, cell_facts, train_cell, train_shared
from training.study.config import Study, load_study
from training.study.encoding import FeatureCache, TrainedEncoder
from training.study.evaluation_set import EvaluationSet, read_evaluation_set
from training.study.outcomes import (
    PairSums,
    calibration_table,
    pair_sums,
    retrieval_table,
    retrieval_values,
)
from training.study.protocols import (
    ARTICLE_SPLIT,
    TRANSFER,
    DevelopmentSets,
    Stated,
    hits_of,
    split_by_article,
    transfer,
)
from training.study.serving import serve_all

CELL = "cell.json"
SUMS = "sums.npz"


@dataclass(frozen=True, slots=True)
class Places:
    """Where a study reads and writes.

    Attributes:
        config: The study's TOML file.
        data_root: What its paths start from.
        prepared: Prepared data of its base run.
        out: Its directory; studies that share it share their shared stages.
        cache: Directory of a teacher's vectors.
    """

    config: Path
    data_root: Path
    prepared: Path
    out: Path
    cache: Path


@dataclass(slots=True)
class Worker:
    """A process of a study; what it has read stays for its next cell.

    Attributes:
        places: Where to read and write.
        study: The study.
        threads: Threads of torch; 0 leaves the number to torch.
    """

    places: Places
    study: Study
    threads: int
    prepared: Prepared
    features: FeatureCache = field(default_factory=FeatureCache)
    evaluation: EvaluationSet | None = None
    development: DevelopmentSets | None = None

    @classmethod
    def open(cls, places: Places, threads: int) -> Worker:
        """Return a worker that has read the configuration."""
        import torch

        quiet_loading()
        if threads:
            torch.set_num_threads(threads)
        return cls(places, load_study(places.config), threads, open_prepared(places.prepared))

    def share(self, seed: int) -> None:
        """Train the shared stages of a seed."""
        train_shared(self.study, seed, self.prepared, self.places.out, self.places.cache)

    def cell(self, cell: Cell) -> None:
        """Train a cell, measure it and keep what was measured.

        Raises:
            RunInterruptedError: The user stopped it.
        """
        directory = cell_directory(self.study, self.places.out, cell)
        if (directory / CELL).is_file():
            return
        directory.mkdir(parents=True, exist_ok=True)
        watch = _Stopwatch(directory / "log.jsonl")
        with watch("train"):
            trained = train_cell(
                self.study, cell, self.prepared, self.places.out, self.places.cache
            )
        results = self._measure(trained, cell, directory, watch)
        document = {
            **cell_facts(cell),
            "commit": git_commit(),
            "versions": package_versions(),
            "seconds": watch.seconds,
            "steps": self.study.config.hybrid.steps,
            **results,
        }
        _keep_logs(directory)
        write_whole(directory / CELL, document)

    def _measure(
        self, trained: Path, cell: Cell, directory: Path, watch: _Stopwatch
    ) -> dict[str, Any]:
        evaluation = self._evaluation()
        table = self.study.config.evaluation
        languages, english = len(evaluation.languages), evaluation.languages.index(table.english)
        encoder = TrainedEncoder(load_encoder(trained), self.study.base.languages, self.features)
        with watch("embed"):
            queries = embed_queries(encoder, [query.text for query in evaluation.data.queries])
            passages = embed_passages(encoder, [p.text for p in evaluation.data.passages])
        with watch("serve"):
            served = serve_all(
                evaluation,
                queries,
                passages,
                depth=table.depth,
                loss_temperature=cell.loss_temperature,
            )
            hits = hits_of(evaluation, served)
        with watch("calibrate"):
            stated = {ARTICLE_SPLIT: split_by_article(hits, languages=languages, english=english)}
            if development := self._development():
                fit_on = development.serve(encoder, evaluation)
                stated[TRANSFER] = transfer(fit_on, hits, languages=languages, english=english)
        with watch("measure"):
            values = retrieval_values(evaluation, served)
            _write_sums(directory / SUMS, evaluation, values, stated)
            return {
                "evaluation": _evaluation_facts(evaluation),
                "retrieval": {name: float(np.nanmean(v)) for name, v in values.items()},
                "calibration": {
                    name: calibration_table(s, languages=languages) for name, s in stated.items()
                },
                "parameters": {name: dict(s.parameters) for name, s in stated.items()},
            }

    def _evaluation(self) -> EvaluationSet:
        if self.evaluation is None:
            path = self.places.data_root / self.study.config.evaluation.path
            self.evaluation = read_evaluation_set(path)
        return self.evaluation

    def _development(self) -> DevelopmentSets | None:
        config = self.study.config.calibration
        if self.development is None and config is not None:
            self.development = DevelopmentSets(config, self.places.data_root)
        return self.development


class _Stopwatch:
    """Times the parts of a cell and writes them down as they end."""

    def __init__(self, log: Path) -> None:
        self.seconds: dict[str, float] = {}
        self._log = log

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[part] = round(time.monotonic() - started, 2)
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"part": part, "seconds": self.seconds[part]}) + "\n")


def write_whole(path: Path, document: object) -> None:
    """Write a JSON file in one piece: it is there completely or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)
    with draft.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _evaluation_facts(evaluation: EvaluationSet) -> dict[str, object]:
    return {
        "name": evaluation.data.name,
        "languages": list(evaluation.languages),
        "queries": len(evaluation.data.queries),
        "passages": len(evaluation.data.passages),
        "questions": int(evaluation.clusters.max()) + 1,
        "articles": list(evaluation.articles),
    }


def _write_sums(
    path: Path,
    evaluation: EvaluationSet,
    values: dict[str, FloatArray],
    stated: dict[str, Stated],
) -> None:
    clusters, languages = int(evaluation.clusters.max()) + 1, len(evaluation.languages)
    sums, counts = retrieval_table(evaluation, values)
    arrays = {"retrieval/sums": sums, "retrieval/counts": counts}
    for protocol, probabilities in stated.items():
        table = pair_sums(probabilities, clusters=clusters, languages=languages)
        for name in PairSums.__slots__:
            arrays[f"{protocol}/{name}"] = getattr(table, name)
    draft = path.with_name(f".{path.name}")
    with draft.open("wb") as file:
        small: dict[str, Any] = {name: array.astype(np.float32) for name, array in arrays.items()}
        np.savez_compressed(file, **small)
    draft.replace(path)


def _keep_logs(directory: Path) -> None:
    """Throw the encoders of a finished cell away and keep their logs and provenance."""
    run, kept = directory / "run", directory / "training"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for path in [run / "provenance.json", *run.glob("stages/*/*.json*")]:
        if path.is_file():
            name = path.name if path.parent == run else f"{path.parent.name}-{path.name}"
            shutil.copyfile(path, kept / name)
    shutil.rmtree(run)
