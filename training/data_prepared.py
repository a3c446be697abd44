"""The prepared directory: what ``prepare`` writes and every later stage reads.

::

    prepared.json            schema, configuration, sources with fingerprint and licence, counts
    texts.jsonl              every training text once, one JSON string a line; line k is text k
    pairs.npz                one entry per question-passage row: indexes into texts
    parallel.npz             one entry per parallel row: a matrix of indexes into texts
    tokenizer.json           the subword vocabulary          (static encoders only)
    tokens.npz               the texts, tokenised            (static encoders only)
    held_out/pairs.jsonl.gz      rows that training must not see, in the question-passage schema
    held_out/parallel.jsonl.gz   the same for parallel rows

Arrays are plain numpy without pickle; nothing in the directory names the machine it was made on.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.config import RunConfig
from training.errors import PreparedDataError

SCHEMA_VERSION = 1
MANIFEST = "prepared.json"
TEXTS = "texts.jsonl"
PAIRS = "pairs.npz"
PARALLEL = "parallel.npz"
TOKENIZER = "tokenizer.json"
TOKENS = "tokens.npz"
HELD_OUT_PAIRS = "held_out/pairs.jsonl.gz"
HELD_OUT_PARALLEL = "held_out/parallel.jsonl.gz"
NO_TEXT = -1

IntArray = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class PairTable:
    """Question-passage entries, one language each; arrays are (n_entries,), int32.

    Attributes:
        question: Text of the question.
        passage: Text of the passage.
        language: Index into the run's languages.
        shared: Entries of one number are translations of one another.
        group: Entries of one number have the same passage, or one is a translation of the other;
            they must never meet in a batch.
        source: Index into the sources of pairs.
        negatives: (n_entries, k) int32, texts that do not answer the question though they look as
            if they did; rows with fewer than k of them are filled with ``NO_TEXT``. k is 0 where
            no source has any, and in directories written before there were negatives.
    """

    question: IntArray
    passage: IntArray
    language: IntArray
    shared: IntArray
    group: IntArray
    source: IntArray
    negatives: IntArray = field(default_factory=lambda: np.empty((0, 0), np.int32))

    def __post_init__(self) -> None:
        if not self.negatives.size:
            none = np.empty((len(self.question), 0), np.int32)
            object.__setattr__(self, "negatives", none)

    def __len__(self) -> int:
        return len(self.question)


@dataclass(frozen=True, slots=True, eq=False)
class ParallelTable:
    """Parallel rows.

    Attributes:
        texts: (n_rows, n_languages) int32, indexes of texts, ``NO_TEXT`` where there is none;
            columns in the order of the run's languages.
        source: (n_rows,) int32, index into the sources of parallel text, lexicons after texts.
    """

    texts: IntArray
    source: IntArray

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True, eq=False)
class TokenTable:
    """Tokenised texts: text k is ``ids[offsets[k]:offsets[k + 1]]``.

    Attributes:
        ids: (n_tokens,) int32.
        offsets: (n_texts + 1,) int64.
    """

    ids: IntArray
    offsets: NDArray[np.int64]


def write_json(path: Path, document: object) -> None:
    """Write JSON that people can read and diff; the file is complete or as it was before."""
    text = json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(path)


def write_json_lines(path: Path, rows: Iterable[object]) -> int:
    """Write one JSON value a line, gzip where the name says so; returns the number of lines.

    The bytes depend on the rows alone: gzip's time stamp and file name are left out.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    n_rows = 0
    with path.open("wb") as raw:
        file = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            n_rows += 1
        if file is not raw:
            file.close()
    return n_rows


def save_arrays(path: Path, table: PairTable | ParallelTable | TokenTable) -> None:
    """Write the arrays of a table."""
    np.savez(path, **{name: getattr(table, name) for name in table.__slots__})


def write_directory(target: Path, fill: Callable[[Path], None], *, force: bool) -> None:
    """Create a directory that is either complete or absent.

    Args:
        target: The directory.
        fill: Writes the content into the directory it is given.
        force: Replace a directory that is there already.

    Raises:
        PreparedDataError: There is one already, and ``force`` is not set.
    """
    if target.exists() and not force:
        raise PreparedDataError(
            f"{target} exists already. Give another directory, or --force to replace it."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        fill(draft)
        draft.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(draft, target)  # noqa: PTH105 - Path.replace refuses nothing, but reads as str.replace
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def open_to_readers(directory: Path) -> None:
    """Let everyone read a directory: safetensors writes files that only their owner can."""
    for path in directory.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared directory, opened.

    Attributes:
        path: The directory.
        manifest: ``prepared.json``.
        config: The configuration it was prepared with.
    """

    path: Path
    manifest: Mapping[str, object]
    config: RunConfig

    def texts(self) -> list[str]:
        """Return all training texts; the position is the index that the tables use."""
        with (self.path / TEXTS).open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def pairs(self) -> PairTable:
        """Return the question-passage entries."""
        return PairTable(**self._arrays(PAIRS))

    def parallel(self) -> ParallelTable:
        """Return the parallel rows."""
        return ParallelTable(**self._arrays(PARALLEL))

    def tokens(self) -> TokenTable:
        """Return the tokenised texts of a static encoder."""
        with np.load(self.path / TOKENS, allow_pickle=False) as archive:
            return TokenTable(ids=archive["ids"], offsets=archive["offsets"])

    def held_out_texts(self, limit: int) -> list[str]:
        """Return up to ``limit`` held-out texts: questions and passages in turn, then parallel."""
        texts: list[str] = []
        for name, members in ((HELD_OUT_PAIRS, ("question", "passage")), (HELD_OUT_PARALLEL, ())):
            with gzip.open(self.path / name, "rt", encoding="utf-8") as file:
                for line in file:
                    row = json.loads(line)
                    texts += [row[m] for m in members] or list(row["texts"].values())
                    if len(texts) >= limit:
                        return texts[:limit]
        return texts

    def _arrays(self, name: str) -> dict[str, NDArray[np.int32]]:
        with np.load(self.path / name, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}


def open_prepared(path: Path) -> Prepared:
    """Open a prepared directory.

    Raises:
        PreparedDataError: It is none, or another version of the format wrote it.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise PreparedDataError(
            f"{path} is not a prepared directory ({MANIFEST} cannot be read). "
            "Make one with 'isoglot-train prepare'."
        ) from exc
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise PreparedDataError(
            f"{path} was written in format {manifest.get('schema_version')!r}, this version reads "
            f"{SCHEMA_VERSION}. Run 'isoglot-train prepare' again."
        )
    try:
        config = RunConfig.model_validate(manifest["config"])
    except (KeyError, ValueError) as exc:
        raise PreparedDataError(
            f"{path} holds a configuration that this version does not read: {exc}. "
            "Run 'isoglot-train prepare' again."
        ) from exc
    return Prepared(path, manifest, config)
