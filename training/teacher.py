"""The teacher's vectors, computed once and kept on the disk.

A vector is keyed by a hash of its text, in a directory named after the teacher, so that another
run, with more data or other batches, computes only what is new; and an interrupted run loses at
most one shard.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from sentence_transformers import SentenceTransformer

from training.checkpoints import writing
from training.config import TeacherConfig
from training.encoder import weights_sha256
from training.errors import RunError

VectorArray = NDArray[np.float32]
KEY_BYTES = 16
_SHARD_TEXTS = 4096


def text_key(text: str) -> bytes:
    """Return the cache key of a text: the first 16 bytes of its sha256."""
    return hashlib.sha256(text.encode()).digest()[:KEY_BYTES]


class VectorCache:
    """Vectors by text, in shards that are written once and never changed.

    Args:
        directory: Where the shards are; made when the first one is written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._row_of: dict[bytes, int] = {}
        self._shards: list[NDArray[np.float16]] = []
        self._n_rows = 0
        for path in sorted(directory.glob("*.npz")):
            try:
                with path.open("rb") as file, np.load(file, allow_pickle=False) as shard:
                    self._remember(shard["keys"].tobytes(), shard["vectors"])
            except (ValueError, EOFError, KeyError, zipfile.BadZipFile):
                # Damaged: its texts are embedded again.
                path.unlink()

    def __contains__(self, text: str) -> bool:
        return text_key(text) in self._row_of

    def add(self, texts: Sequence[str], vectors: VectorArray) -> None:
        """Store vectors, (len(texts), dim), as float16.

        Raises:
            RunError: They cannot be written.
        """
        keys = b"".join(map(text_key, texts))
        halves = vectors.astype(np.float16)
        name = hashlib.sha256(keys).hexdigest()[:16]
        draft = self._directory / f".{name}.{os.getpid()}"
        with writing("The teacher's vectors", self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                np.savez(file, keys=np.frombuffer(keys, np.uint8), vectors=halves)
            draft.replace(self._directory / f"{name}.npz")
        self._remember(keys, halves)

    def vectors(self, texts: Sequence[str]) -> VectorArray:
        """Return the vectors of texts that are all stored, (len(texts), dim)."""
        rows = [self._row_of[text_key(text)] for text in texts]
        return np.concatenate(self._shards)[rows].astype(np.float32)

    def _remember(self, keys: bytes, vectors: NDArray[np.float16]) -> None:
        for row in range(len(vectors)):
            key = keys[row * KEY_BYTES : (row + 1) * KEY_BYTES]
            self._row_of[key] = self._n_rows + row
        self._n_rows += len(vectors)
        self._shards.append(vectors)


def _location(config: TeacherConfig) -> str:
    """Return a hub id or directory."""
    if config.package is None:
        assert config.model is not None, "the configuration gives one of the two"
        return config.model
    try:
        package = importlib.import_module(config.package)
    except ImportError as exc:
        raise RunError(
            f"[teacher] package = {config.package!r} is not installed. Install it, or name a "
            "model with [teacher] model."
        ) from exc
    return str(package.get_model_path())


def load_teacher(config: TeacherConfig) -> tuple[SentenceTransformer, str]:
    """Return the teacher, and a name that changes with its weights and its reading length.

    Raises:
        RunError: It cannot be loaded.
    """
    location = _location(config)
    try:
        teacher = SentenceTransformer(location, revision=config.revision)
    except (OSError, ValueError) as exc:
        raise RunError(f"The teacher {location!r} cannot be loaded: {exc}") from exc
    teacher.max_seq_length = config.max_length
    label = re.sub(r"\W+", "-", config.package or config.model or "")
    return teacher, f"{label}-{weights_sha256(teacher)[:12]}-{config.max_length}"


def teacher_vectors(
    texts: Sequence[str], config: TeacherConfig, cache_root: Path, progress: Progress
) -> tuple[VectorArray, str]:
    """Return the teacher's unit vectors of the texts, and the teacher's name.

    Args:
        texts: What to embed; texts in the cache are not computed again.
        config: Which teacher.
        cache_root: Directory of caches, shared by all runs.
        progress: Shows how far it is.

    Raises:
        RunError: The teacher cannot be loaded.
    """
    teacher, name = load_teacher(config)
    cache = VectorCache(cache_root / name)
    # By length, so that a batch holds little padding; then by the text itself, because what stands
    # beside a text in its batch changes the last bits of its vector.
    missing = sorted(
        {text for text in texts if text not in cache}, key=lambda text: (len(text), text)
    )
    task = progress.add_task("Embedding with the teacher", total=len(missing))
    for start in range(0, len(missing), _SHARD_TEXTS):
        shard = missing[start : start + _SHARD_TEXTS]
        parts = []
        for first in range(0, len(shard), config.batch_size):
            batch = shard[first : first + config.batch_size]
            parts.append(_embed(teacher, batch, config.batch_size))
            progress.advance(task, len(batch))
        cache.add(shard, np.concatenate(parts))
    return cache.vectors(texts), name


def _embed(teacher: SentenceTransformer, texts: list[str], batch_size: int) -> VectorArray:
    vectors = teacher.encode(
        texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False
    )
    return np.asarray(vectors, dtype=np.float32)


def reduce_dim(vectors: VectorArray, dim: int, *, leading_first: bool = False) -> VectorArray:
    """Return the vectors in fewer dimensions, norm 1: those in which they have most length.

    Projects on the leading eigenvectors of the second moment, without centring, so that cosines
    change as little as possible.

    Args:
        vectors: (n, teacher dim), rows of norm 1.
        dim: Dimensions to keep.
        leading_first: Put the dimensions with most length first, even where all are kept, so that
            the first few are the best few: Matryoshka embeddings imitate them.

    Raises:
        RunError: The teacher has fewer dimensions than that.
    """
    if dim == vectors.shape[1] and not leading_first:
        return vectors
    if dim > vectors.shape[1]:
        raise RunError(
            f"The encoder has {dim} dimensions, but the teacher only {vectors.shape[1]}. "
            "Set [model] dim to that or less, or take another teacher."
        )
    _, directions = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
    kept = directions[:, -dim:][:, ::-1] if leading_first else directions[:, -dim:]
    reduced = vectors @ kept.astype(np.float32)
    norms = np.linalg.norm(reduced, axis=1, keepdims=True)
    return np.asarray(reduced / np.maximum(norms, np.finfo(np.float32).tiny), dtype=np.float32)
