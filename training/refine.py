"""Refines the table of a trained static encoder without training, from parallel text alone.

Three changes of the rows, in this order, and one of how they are added up, each known from the
literature. The encoder stays one table of the same size:

1. **Norms.** A row keeps its direction, and its norm is raised to ``norm_power``. The norm is a
   token's weight in the mean; a power below 1 evens out the weights that training gave, as the
   smoothing of inverse frequencies does (Arora, Liang, Ma 2017, "A Simple but Tough-to-Beat
   Baseline for Sentence Embeddings").
2. **Language axes.** The first principal components of the languages' mean vectors are projected
   out: they tell which language a text is in, not what it says (Yang et al. 2021, "A Simple and
   Effective Method to Eliminate the Self Language Bias in Multilingual Representations").
3. **Whitening in part.** Directions are scaled by the ``-whitening / 2``-th power of the variance
   that sentences have along them; 1 would be whitening (Su et al. 2021, "Whitening Sentence
   Representations for Better Semantics and Faster Retrieval").
4. **Pooling.** With ``sublinear`` a token that stands n times in a text counts sqrt(n) times, so
   that a passage is less about the word that it repeats (``app.core.encoder_spec.Pooling``).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from app.core.bundle import ENCODER_DIRECTORY, MANIFEST_FILE, TOKENIZER_FILE, read_manifest
from app.core.types import FloatArray, VectorArray
from training.bundle import read_object
from training.config_data import ParallelSource
from training.data import fingerprint, read_parallel
from training.data_prepared import open_to_readers, write_directory, write_json
from training.errors import DataError, RunError
from training.export import REPORT, revision, write_int8_graph
from training.int8_table import WEIGHTS_FILE, read_table, write_table
from training.onnx_encoder import SPEC_FILE, ExportedEncoder, read_spec
from training.parity import judge
from training.train import PROVENANCE

_SMALLEST_VARIANCE = 1e-3
"""Directions with less than this share of the largest variance count as having it."""
_SMALLEST_NORM = 1e-12
_PARITY_TEXTS = 16
"""Texts of each language that the written graph is compared on."""

Table = NDArray[np.float32]
TablePooling: TypeAlias = Literal["mean", "sublinear"]
Tokens = Mapping[str, Sequence[Sequence[int]]]
"""Language to the token ids of its texts."""


@dataclass(frozen=True, slots=True)
class RefineOptions:
    """What is changed; what it buys is in decision 5 of the documentation.

    Attributes:
        norm_power: Power of the rows' norms, above 0; 1 leaves them.
        language_axes: Number of principal components of the languages' means to project out.
        whitening: From 0, nothing, to 1, whitened.
        pooling: How the rows of a text are added up.

    Raises:
        RunError: A value is out of its range.
    """

    norm_power: float
    language_axes: int
    whitening: float
    pooling: TablePooling

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 < self.norm_power <= 2:
            raise RunError(f"--norm-power is {self.norm_power:g}; it lies above 0 and up to 2.")
        if self.language_axes < 0:
            raise RunError(f"--language-axes is {self.language_axes}; it is 0 or more.")
        if not 0 <= self.whitening <= 1:
            raise RunError(f"--whitening is {self.whitening:g}; it lies between 0 and 1.")


def text_vectors(
    table: Table, texts: Sequence[Sequence[int]], pooling: TablePooling
) -> VectorArray:
    """Return the unit vectors of tokenised texts: the mean of their rows, scaled to norm 1.

    Args:
        table: (n_tokens, dim).
        texts: Token ids; a text without any is the zero vector.
        pooling: How often a repeated token counts.

    Returns:
        float32 of shape (len(texts), dim).
    """
    power = 0.5 if pooling == "sublinear" else 1.0
    sums = np.zeros((len(texts), table.shape[1]), np.float32)
    for row, ids in enumerate(texts):
        tokens, times = np.unique(np.array(ids, np.int64), return_counts=True)
        sums[row] = times.astype(np.float32) ** power @ table[tokens]
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.maximum(norms, _SMALLEST_NORM), np.float32)


def with_norm_power(table: Table, power: float) -> Table:
    """Return the table with the norm of every row raised to a power; zero rows stay."""
    norms = np.linalg.norm(table, axis=1, keepdims=True)
    scaled = table * np.where(norms > 0, norms, 1.0) ** (power - 1.0)
    return np.asarray(scaled, np.float32)


def without_language_axes(table: Table, tokens: Tokens, axes: int, pooling: TablePooling) -> Table:
    """Return the table without the first principal components of the languages' mean vectors.

    Raises:
        RunError: There are not more languages than axes.
    """
    if axes == 0:
        return table
    if axes >= len(tokens):
        raise RunError(
            f"--language-axes is {axes}, and the parallel text has {len(tokens)} of the encoder's "
            "languages: their means have fewer axes than there are languages."
        )
    means = np.stack(
        [text_vectors(table, texts, pooling).mean(axis=0) for texts in tokens.values()]
    )
    _, _, components = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    removed = components[:axes]
    return np.asarray(table - (table @ removed.T) @ removed, np.float32)


def whitened(table: Table, tokens: Tokens, power: float, pooling: TablePooling) -> Table:
    """Return the table with directions scaled by the -power/2-th power of sentences' variance."""
    if power == 0:
        return table
    vectors = np.concatenate([text_vectors(table, texts, pooling) for texts in tokens.values()])
    variances, directions = np.linalg.eigh(np.cov(vectors, rowvar=False))
    variances = np.maximum(variances, _SMALLEST_VARIANCE * variances.max())
    scaling: FloatArray = (directions * variances ** (-power / 2)) @ directions.T
    return np.asarray(table @ scaling, np.float32)


def refined_table(table: Table, tokens: Tokens, options: RefineOptions) -> Table:
    """Return the refined table.

    Args:
        table: float32 of shape (n_tokens, dim).
        tokens: Texts that say the same in several languages.
        options: What to change.

    Raises:
        RunError: There are too few languages for so many axes.
    """
    table = with_norm_power(table, options.norm_power)
    table = without_language_axes(table, tokens, options.language_axes, options.pooling)
    return whitened(table, tokens, options.whitening, options.pooling)


def refine(  # noqa: PLR0913 - what, from which, with which, to where
    model: Path,
    data_root: Path,
    parallel: ParallelSource,
    out: Path,
    options: RefineOptions,
    *,
    force: bool = False,
) -> dict[str, float]:
    """Write an export whose encoder is refined, and return its parity with the float32 table.

    Args:
        model: An export or a bundle with int8 weights.
        data_root: What the path of the parallel text starts from.
        parallel: Texts that say the same in several languages of the encoder.
        out: Directory to create.
        options: What to change.
        force: Replace ``out`` if it exists.

    Raises:
        BundleError: ``model`` is neither an export nor a bundle, or lacks its provenance.
        DataError: The parallel text is missing, malformed, or in none of the encoder's languages.
        RunError: The weights are not int8, or there are too few languages for so many axes.
        ParityError: The int8 graph is too far from the float32 table.
        PreparedDataError: ``out`` exists and ``force`` is not set.
    """
    spec = read_spec(model)
    encoder = model / ENCODER_DIRECTORY
    table = read_table(encoder / WEIGHTS_FILE)
    texts = _texts(data_root / parallel.path, parallel, spec.languages)
    tokenizer = Tokenizer.from_file(str(model / TOKENIZER_FILE))
    tokens = {
        language: [item.ids for item in tokenizer.encode_batch(spec.as_passages(rows))]
        for language, rows in texts.items()
    }
    table = refined_table(table, tokens, options)
    facts = {
        **asdict(options),
        "parallel": parallel.label,
        "licence": parallel.licence,
        "sha256": fingerprint(data_root / parallel.path),
    }
    provenance = {**_provenance(model), "refined": facts}
    parity: dict[str, float] = {}

    def fill(directory: Path) -> None:
        target = directory / ENCODER_DIRECTORY
        shutil.copytree(encoder, target, ignore=shutil.ignore_patterns("*.onnx", WEIGHTS_FILE))
        write_table(target / WEIGHTS_FILE, table)
        write_int8_graph(target, options.pooling)
        changed = replace(spec, revision=revision(target), pooling=options.pooling)
        write_json(directory / SPEC_FILE, asdict(changed))
        write_json(directory / PROVENANCE, provenance)
        parity.update(_parity(directory, table, texts, tokens, options.pooling))
        report = {"encoder": changed.fingerprint(), "weights": "int8", "int8": "weights"}
        write_json(directory / REPORT, {**report, "parity": {"int8": parity}})
        judge({"int8": parity}, "int8")
        open_to_readers(directory)

    write_directory(out, fill, force=force)
    return parity


def _texts(path: Path, parallel: ParallelSource, languages: Sequence[str]) -> dict[str, list[str]]:
    """Return the texts of every language of the encoder that the file holds."""
    texts: dict[str, list[str]] = {}
    for row in read_parallel(path, parallel, languages):
        for language, text in row.texts.items():
            texts.setdefault(language, []).append(text)
    if not texts:
        problem = f"holds no row in two of the encoder's languages ({', '.join(languages)})"
        raise DataError(path, None, problem)
    return texts


def _provenance(model: Path) -> dict[str, Any]:
    if (model / MANIFEST_FILE).is_file():
        return dict(read_manifest(model).training)
    return read_object(model / PROVENANCE)


def _parity(
    export: Path,
    table: Table,
    texts: Mapping[str, list[str]],
    tokens: Tokens,
    pooling: TablePooling,
) -> dict[str, float]:
    """Return how far the written graph is from the float32 table on the first texts."""
    served = ExportedEncoder(export, "int8")
    cosines = np.concatenate(
        [
            (
                served.encode_passages(texts[lang][:_PARITY_TEXTS])
                * text_vectors(table, ids[:_PARITY_TEXTS], pooling)
            ).sum(1)
            for lang, ids in tokens.items()
        ]
    )
    return {"mean_cosine": float(cosines.mean()), "min_cosine": float(cosines.min())}
