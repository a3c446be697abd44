"""The command ``evaluate``: retrieval, and calibration where a calibrator is given.

Writes ``results.json``, ``table.md``, the values of every query, and, with a calibrator,
reliability diagrams. ``results.json`` is written last: where it is, the rest is complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.core.bundle import CALIBRATOR_FILE, HYBRID_CALIBRATOR_FILE, check_retrieval
from app.core.calibration.calibrator import Calibrator
from app.core.calibration.document import read_calibrator
from app.core.errors import CalibratorMismatchError
from training.baselines import Baseline, evaluate_baseline
from training.calibration_config import load_calibration_config
from training.calibration_data import load_sets
from training.compare import RESULTS_FILE
from training.embedding import IN_MEMORY, VectorStorage
from training.errors import ConfigError, DataError
from training.evaluate import embed_set, rank_relevant, summarise, write_run
from training.evaluation_calibration import (
    calibration_part,
    draw_calibration,
    hybrid_part,
    measure_calibration,
    measure_hybrid,
)
from training.lexicon import read_lexicon
from training.metrics.bootstrap import REPLICATES
from training.onnx_encoder import ExportedEncoder
from training.per_query import per_query_path, write_per_query
from training.pool import describe_pool
from training.protocol import RetrievalResult
from training.provenance import git_commit, package_versions
from training.ranks import rank_listed
from training.report import BY_PROBABILITY, macro_averages, macro_table, retrieval_tables
from training.retrieval_set import RetrievalSet, read_retrieval_set
from training.search import Device
from training.served_order import in_served_order
from training.sets_table import sets_table
from training.trec_run import Run, read_run_file

TABLE_FILE = "table.md"


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What is measured and written.

    Attributes:
        sets: Directories of retrieval sets.
        questions: TOML file of a calibration, whose sets are measured too; ``None`` for none.
        data_root: What the paths in it are relative to.
        calibration: What ``calibrate`` wrote; ``None`` measures retrieval only.
        run_files: Also write TREC run files.
        baselines: Lexical systems to measure beside it.
        lexicon: File that ``bm25-lexicon`` translates with.
        device: Where cosines are computed.
        storage: Where the vectors of passages are kept.
        split: Split to read of sets that have several.
        language: Language of sets that name none; of sets with several, the one to read.
    """

    sets: Sequence[Path] = ()
    questions: Path | None = None
    data_root: Path = Path()
    calibration: Path | None = None
    run_files: bool = False
    baselines: Sequence[Baseline] = ("bm25",)
    lexicon: Path | None = None
    device: Device = "cpu"
    storage: VectorStorage = IN_MEMORY
    split: str | None = None
    language: str | None = None

    def read(self) -> Iterator[RetrievalSet]:
        """Read the sets, one after the other."""
        for path in self.sets:
            yield read_retrieval_set(path, split=self.split, language=self.language)
        if self.questions is not None:
            yield from load_sets(load_calibration_config(self.questions), self.data_root)


@dataclass(slots=True)
class _Writing:
    """What is gathered set by set and written at the end."""

    out: Path
    settings: dict[str, Any]
    sets: dict[str, Any] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Make the directory; what an earlier evaluation finished there is no longer."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / RESULTS_FILE).unlink(missing_ok=True)

    def add(
        self, data: RetrievalSet, systems: Mapping[str, RetrievalResult], main: str
    ) -> dict[str, Any]:
        """Add what the systems reach on a set; returns its part of the results."""
        baselines = {name: r.to_json() for name, r in systems.items() if name != main}
        part: dict[str, Any] = {
            "pool": describe_pool(data),
            main: systems[main].to_json(),
            "baselines": baselines,
        }
        if data.name in self.sets:
            problem = f"a second set is called {data.name!r}; evaluate it into another directory"
            raise DataError(Path(data.name), None, problem)
        self.sets[data.name] = part
        write_per_query(data, systems, per_query_path(self.out, data.name))
        self.tables.append(retrieval_tables(data.name, part))
        return part

    def finish(self) -> str:
        """Write tables and results, and return the tables."""
        macro = macro_averages(self.sets)
        self.tables += [macro_table(macro), sets_table(self.sets)]
        results = {"settings": self.settings, "sets": self.sets, "macro": macro}
        page = "\n".join(self.tables)
        (self.out / TABLE_FILE).write_text(page, encoding="utf-8")
        text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False)
        partial = self.out / f"{RESULTS_FILE}.partial"
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(self.out / RESULTS_FILE)
        return page


def evaluate_encoder(encoder: ExportedEncoder, options: EvaluationOptions, out: Path) -> str:
    """Evaluate an encoder, write the results and return the tables.

    Raises:
        ConfigError: The options contradict one another.
        DataError: A set or the lexicon cannot be read, or two sets have one name.
        CalibratorMismatchError: The calibrator was fitted for another encoder or arithmetic.
        RunError: The device is not there.
    """
    _check(options)
    calibrator = hybrid = None
    if options.calibration is not None:
        calibrator = _read_calibrator(options.calibration / CALIBRATOR_FILE, encoder)
        if (options.calibration / HYBRID_CALIBRATOR_FILE).is_file():
            hybrid = _read_calibrator(options.calibration / HYBRID_CALIBRATOR_FILE, encoder)
    writing = _Writing(out, _settings(options) | _encoder_settings(encoder))
    writing.start()
    for data in options.read():
        embedded = embed_set(encoder, data, options.storage)
        ranked = rank_relevant(embedded, device=options.device)
        systems = {"encoder": summarise(data, ranked)}
        if calibrator is not None and len(set(data.passage_languages.tolist())) > 1:
            served = in_served_order(embedded, ranked, calibrator, device=options.device)
            systems[BY_PROBABILITY] = summarise(data, served)
        part = writing.add(data, systems | _baselines(data, options), "encoder")
        if calibrator is not None and options.calibration is not None:
            part["calibration"] = measure_calibration(embedded, calibrator, options.calibration)
            writing.tables.append(calibration_part(part["calibration"]))
            draw_calibration(data.name, part["calibration"], out)
        if hybrid is not None:
            part["hybrid_calibration"] = measure_hybrid(embedded, hybrid)
            writing.tables.append(hybrid_part(part["hybrid_calibration"]))
        if options.run_files:
            write_run(embedded, out / f"{data.name}.run", device=options.device)
    return writing.finish()


def evaluate_run(run_file: Path, options: EvaluationOptions, out: Path) -> str:
    """Score what another system returned for one set, write the results, return the tables.

    Passages that the run does not hold count as not found in every setting. The monolingual and
    the cross-lingual rank of a passage is its rank among the run's passages of its language.

    Raises:
        ConfigError: More or fewer than one set, or options that need an encoder.
        DataError: The set, the run or the lexicon cannot be read, or they do not fit together.
    """
    _check(options)
    if len(options.sets) != 1 or options.questions is not None:
        raise ConfigError("--run scores one file on one --set.")
    if options.calibration is not None or options.run_files:
        raise ConfigError("--calibration and --run-files need an encoder (--model).")
    (data,) = options.read()
    run = read_run_file(data, run_file)
    writing = _Writing(out, _settings(options) | {"run": _run_settings(run_file, run)})
    writing.start()
    result = summarise(data, rank_listed(data, run.listed))
    writing.add(data, {"run": result, **_baselines(data, options)}, "run")
    writing.tables.append(_run_part(run))
    return writing.finish()


def _check(options: EvaluationOptions) -> None:
    if not options.sets and options.questions is None:
        raise ConfigError("There is nothing to evaluate on: give --set at least once.")
    if ("bm25-lexicon" in options.baselines) != (options.lexicon is not None):
        raise ConfigError(
            "The baseline bm25-lexicon and --lexicon FILE need one another: give both or neither."
        )


def _baselines(data: RetrievalSet, options: EvaluationOptions) -> dict[str, RetrievalResult]:
    lexicon = None
    if options.lexicon is not None:
        spoken = set(data.query_languages.tolist()) | set(data.passage_languages.tolist())
        lexicon = read_lexicon(options.lexicon, sorted(spoken))
    return {name: evaluate_baseline(name, data, lexicon) for name in options.baselines}


def _run_part(run: Run) -> str:
    return (
        f"The run lists at most {run.depth} passages a query; {run.unanswered} queries have none. "
        "What it does not list counts as not found.\n"
    )


def _read_calibrator(path: Path, encoder: ExportedEncoder) -> Calibrator:
    calibrator = Calibrator(read_calibrator(path))
    check_retrieval(calibrator.document, path.name)
    bound, spec = calibrator.document.encoder, encoder.spec
    if (bound.fingerprint, bound.dtype) != (spec.fingerprint(), encoder.arithmetic):
        raise CalibratorMismatchError(
            f"{path} was fitted for encoder {bound.fingerprint} in "
            f"{bound.dtype} arithmetic, not for {spec.fingerprint()} in {encoder.arithmetic}. "
            "Fit it again with `isoglot-train calibrate`."
        )
    return calibrator


def _settings(options: EvaluationOptions) -> dict[str, Any]:
    lexicon = None if options.lexicon is None else options.lexicon.name
    return {
        "commit": git_commit(),
        "versions": package_versions(),
        "ties": "score descending, then passage id",
        "scores": "float64 products rounded to float32",
        "vectors": options.storage.dtype,
        "device": options.device,
        "lexicon": lexicon,
        "bootstrap": {"replicates": REPLICATES, "seed": 0, "unit": "question, all translations"},
    }


def _encoder_settings(encoder: ExportedEncoder) -> dict[str, Any]:
    return {
        "encoder": encoder.spec.to_json(),
        "encoder_fingerprint": encoder.spec.fingerprint(),
        "arithmetic": encoder.arithmetic,
    }


def _run_settings(path: Path, run: Run) -> dict[str, Any]:
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "tags": list(run.tags),
        "depth": run.depth,
        "unanswered": run.unanswered,
        "unjudged_queries": run.unjudged_queries,
    }
