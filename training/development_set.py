"""The set that early stopping measures on: read once, fingerprinted, never one that is trained on.

Of question-passage rows a retrieval set is made: every distinct passage is a candidate, and
relevant for a question are its own passage, and where rows are translations of one another theirs.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.core.languages.codes import primary_language
from training.config import EarlyStopping, PairSource, RunConfig
from training.data import collapse, fingerprint, read_json_lines, read_pairs, unit_hash
from training.data_passage import cut_passage
from training.data_prepared import HELD_OUT_PAIRS, Prepared
from training.errors import ConfigError, RunError
from training.retrieval_set import (
    RetrievalSet,
    SetPassage,
    SetQuery,
    assemble,
    read_retrieval_set,
)

HELD_OUT = "held out by prepare"


@dataclass(frozen=True, slots=True, eq=False)
class DevelopmentSet:
    """What a stage is measured on while it is trained.

    Attributes:
        data: Queries, passages and judgements.
        name: As the configuration gives it, without the path of a machine.
        sha256: Of the file, or over the files of the directory.
    """

    data: RetrievalSet
    name: str
    sha256: str

    def facts(self) -> dict[str, object]:
        """Return what the provenance says of it."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "queries": len(self.data.queries),
            "passages": len(self.data.passages),
            "languages": sorted(set(self.data.query_languages.tolist())),
        }


@dataclass(frozen=True, slots=True)
class _Row:
    language: str
    question: str
    passage: str
    key: str
    """Shared by translations of one row."""


def development_set(
    settings: EarlyStopping, config: RunConfig, prepared: Prepared, data_root: Path
) -> DevelopmentSet:
    """Read the development set of a stage.

    Args:
        settings: Of the stage.
        config: The run; its training sources are refused.
        prepared: Holds the rows that were kept out of training, and the sources' fingerprints.
        data_root: What paths are relative to.

    Raises:
        ConfigError: The set is one of the training sources.
        DataError: It cannot be read.
        RunError: Nothing was held out.
    """
    if settings.set is None:
        path = prepared.path / HELD_OUT_PAIRS
        rows = list(_held_out_rows(path))
        if not rows:
            raise RunError(
                "[stage.early_stopping] names no set, and prepare held out no question-passage "
                "row. Set data.held_out_share above 0 and prepare again, or name a set."
            )
        return DevelopmentSet(_assemble(HELD_OUT, rows, settings.cap), HELD_OUT, fingerprint(path))
    path = data_root / settings.set
    files = _files(path)
    _refuse_training_sources(settings.set, files, config, prepared, data_root)
    name = path.name if Path(settings.set).is_absolute() else settings.set
    if path.is_dir():
        return DevelopmentSet(read_retrieval_set(path), name, fingerprint(path))
    rows = list(_source_rows(path, settings, config))
    if not rows:
        raise RunError(f"{path} holds no question-passage row in the languages of the run.")
    return DevelopmentSet(_assemble(name, rows, settings.cap), name, fingerprint(path))


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _refuse_training_sources(
    name: str, files: Iterable[Path], config: RunConfig, prepared: Prepared, data_root: Path
) -> None:
    trained = [source for source in config.data.sources if source.role == "train"]
    places = {(data_root / source.path).resolve(): source.label for source in trained}
    labels = {source.label for source in trained}
    contents = {
        digest: label for label, digest in _source_digests(prepared.manifest) if label in labels
    }
    for file in files:
        label = places.get(file.resolve())
        if label is None and file.is_file():
            label = contents.get(fingerprint(file))
        if label is not None:
            raise ConfigError(
                f"[stage.early_stopping] set = {name!r} is the training source {label!r}: what is "
                "trained on cannot say when to stop. Leave 'set' out to use the documents that "
                "prepare held out, or name another set."
            )


def _source_digests(manifest: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    sources = manifest["sources"]
    assert isinstance(sources, list), "the manifest was written by prepare"
    for source in sources:
        yield source["name"], source["sha256"]


def _held_out_rows(path: Path) -> Iterator[_Row]:
    for _, row in read_json_lines(path):
        key = f"{row['source']}:{row['id']}"
        language = str(row["lang"])
        yield _Row(
            language=language,
            question=str(row["question"]),
            passage=str(row["passage"]),
            key=key if row["shared_ids"] else f"{key}:{language}",
        )


def _source_rows(path: Path, settings: EarlyStopping, config: RunConfig) -> Iterator[_Row]:
    source = PairSource(path=str(path), licence="not trained on")
    data = config.data
    for row in read_pairs(path, source, config.languages):
        limit = data.passage_chars_by_language.get(row.language, data.passage_chars)
        yield _Row(
            language=row.language,
            question=row.question,
            passage=collapse(cut_passage(row.passage, row.answer_start, limit, row.language)),
            key=row.id if settings.shared_ids else f"{row.id}:{row.language}",
        )


def _assemble(name: str, rows: list[_Row], cap: int) -> RetrievalSet:
    queries: list[SetQuery] = []
    passages: dict[str, SetPassage] = {}
    relevant: dict[str, dict[str, int]] = defaultdict(dict)
    keys = []
    for number, row in enumerate(_capped(rows, cap)):
        language = primary_language(row.language)
        digest = hashlib.sha256(row.passage.encode()).hexdigest()[:16]
        passage_id = f"{language}/{digest}"
        passages[passage_id] = SetPassage(passage_id, language, row.passage, row.key)
        relevant[row.key][passage_id] = 1
        queries.append(SetQuery(f"{number:07d}", language, row.question, row.key))
        keys.append(row.key)
    judgements = {query.id: relevant[key] for query, key in zip(queries, keys, strict=True)}
    return assemble(name, queries, passages.values(), judgements)


def _capped(rows: list[_Row], cap: int) -> Iterator[_Row]:
    """Yield rows until every language has ``cap``, translations of one row together."""
    by_key: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        by_key[row.key].append(row)
    taken: Counter[str] = Counter()
    for key in sorted(by_key, key=lambda key: (unit_hash(key), key)):
        if any(taken[row.language] < cap for row in by_key[key]):
            taken.update(row.language for row in by_key[key])
            yield from by_key[key]
