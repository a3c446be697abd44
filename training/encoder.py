"""Builds the torch encoders, and turns numbered texts into what they read.

Two families behind one shape: a ``SentenceTransformer`` whose last module normalises, and a
reader that makes the features of a batch of texts. Static encoders read texts that were tokenised
once; transformers tokenise as they go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, StaticEmbedding
from tokenizers import Tokenizer
from torch import Tensor
from transformers.utils.logging import disable_progress_bar

from training.config import StaticModel, TransformerModel
from training.data_prepared import IntArray, TokenTable
from training.errors import RunError
from training.vocabulary import UNKNOWN_ID

Side: TypeAlias = Literal["query", "passage"]
Features: TypeAlias = dict[str, Tensor]
FloatArray: TypeAlias = NDArray[np.float64]
EVERYTHING = slice(None)


class TextReader(Protocol):
    """Makes the features that an encoder reads."""

    def __call__(
        self,
        texts: IntArray,
        side: Side,
        rng: np.random.Generator,
        *,
        part: slice = EVERYTHING,
        dropout: FloatArray | None = None,
    ) -> Features:
        """Return the features of numbered texts.

        Args:
            texts: (batch,) numbers of texts.
            side: Decides the prefix.
            rng: Source of randomness, for dropout of subwords. It is drawn from for all texts, so
                that the parts of a batch together are read as the whole would be.
            part: Positions of the texts to read, start and stop given.
            dropout: (batch,) probability that a subword of the text is left out; the reader's own
                where it is ``None``.
        """
        ...


def quiet_loading() -> None:
    """Keep transformers' own progress bars from writing into those of the commands."""
    disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers leaves it untyped


def build_static(model: StaticModel, tokenizer: Tokenizer, seed: int) -> SentenceTransformer:
    """Return a static encoder with a random table.

    The row of the unknown token is zero, stays zero and is left out of the mean.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (tokenizer.get_vocab_size(), model.dim)
    table = torch.randn(shape, generator=generator) * model.init_std
    table[UNKNOWN_ID] = 0.0
    static = StaticEmbedding(tokenizer, embedding_weights=table)
    return SentenceTransformer(modules=[static, Normalize()], similarity_fn_name="cosine")


def leave_out_unknown(encoder: SentenceTransformer, *, sparse: bool) -> None:
    """Prepare a static encoder for training: the unknown token's row neither counts nor moves.

    A loaded encoder needs it again, because neither property is saved; after normalisation a zero
    row changes nothing but the length of the mean, so that scores do not depend on it.

    Args:
        encoder: A static encoder.
        sparse: Make gradients of the rows that a batch touched only.
    """
    bag = static_module(encoder).embedding
    bag.padding_idx = UNKNOWN_ID
    bag.sparse = sparse
    # After normalisation the sum of the rows is their mean, and its gradient costs half as much.
    bag.mode = "sum"


def static_module(encoder: SentenceTransformer) -> StaticEmbedding:
    """Return the token table's module.

    Raises:
        RunError: The encoder is no static one.
    """
    first = encoder[0]
    if not isinstance(first, StaticEmbedding):
        raise RunError(f"The encoder starts with {type(first).__name__}, not with a token table.")
    return first


def build_transformer(model: TransformerModel) -> SentenceTransformer:
    """Return an encoder over a transformers backbone.

    Raises:
        RunError: The backbone cannot be loaded.
    """
    revision = {"revision": model.base_revision} if model.base_revision else {}
    try:
        backbone = Transformer(
            model.base,
            max_seq_length=model.max_length,
            model_kwargs=dict(revision),
            processor_kwargs=dict(revision),
            config_kwargs=dict(revision),
        )
    except (OSError, ValueError) as exc:
        raise RunError(
            f"The backbone {model.base!r} cannot be loaded: {exc}. Give a local directory in "
            "[model] base, or a hub id where a model hub can be reached."
        ) from exc
    pooling = Pooling(backbone.get_embedding_dimension(), pooling_mode=model.pooling)
    encoder = SentenceTransformer(
        modules=[backbone, pooling, Normalize()],
        prompts={"query": model.query_prefix, "document": model.passage_prefix},
        similarity_fn_name="cosine",
    )
    return recompute_activations(encoder, model)


def recompute_activations(
    encoder: SentenceTransformer, model: StaticModel | TransformerModel
) -> SentenceTransformer:
    """Prepare an encoder for training as ``gradient_checkpointing`` asks; it is not saved with it.

    Returns:
        The encoder itself.
    """
    first = encoder[0]
    if isinstance(model, TransformerModel) and model.gradient_checkpointing:
        assert isinstance(first, Transformer), "the model is of this kind"
        first.auto_model.activation_checkpointing_enable()
    return encoder


def prefixes_of(model: StaticModel | TransformerModel) -> dict[Side, str]:
    """Return what is put before every text of a side; a static encoder has no prefixes."""
    if isinstance(model, TransformerModel):
        return {"query": model.query_prefix, "passage": model.passage_prefix}
    return {"query": "", "passage": ""}


def weights_sha256(encoder: SentenceTransformer) -> str:
    """Return the sha256 over the names and bytes of all weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_encoder(path: Path) -> SentenceTransformer:
    """Return an encoder that was saved by this package.

    Raises:
        RunError: There is none at that path.
    """
    if not (path / "modules.json").is_file():
        raise RunError(f"There is no trained encoder in {path}.")
    return SentenceTransformer(str(path), local_files_only=True)


class StaticReader:
    """Reads texts that were tokenised once.

    Args:
        tokens: The tokenised texts.
        dropout: Probability that a subword is left out; at least one stays.
    """

    def __init__(self, tokens: TokenTable, dropout: float) -> None:
        self._tokens = tokens
        self._dropout = dropout

    def __call__(
        self,
        texts: IntArray,
        side: Side,
        rng: np.random.Generator,
        *,
        part: slice = EVERYTHING,
        dropout: FloatArray | None = None,
    ) -> Features:
        """Return ``input_ids`` (n_tokens,) and ``offsets`` (batch,) as EmbeddingBag reads them."""
        del side  # a static encoder has no prefixes: a constant token would only blur its means
        ids, lengths = gather(self._tokens, texts)
        if self._dropout or dropout is not None:
            probability = self._dropout if dropout is None else np.repeat(dropout, lengths)
            kept = keep_some(lengths, probability, rng)
            ends, counted = np.cumsum(lengths), np.concatenate([[0], np.cumsum(kept)])
            ids, lengths = ids[kept], counted[ends] - counted[ends - lengths]
        starts, mine = _starts(lengths), lengths[part]
        first = int(starts[part][0]) if len(mine) else 0
        return {
            "input_ids": torch.from_numpy(ids[first : first + int(mine.sum())].astype(np.int64)),
            "offsets": torch.from_numpy(_starts(mine)),
        }


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)


def gather(tokens: TokenTable, texts: IntArray) -> tuple[IntArray, NDArray[np.int64]]:
    """Return the token ids of some texts, one after the other, and the length of each."""
    starts = tokens.offsets[texts]
    lengths: NDArray[np.int64] = tokens.offsets[texts.astype(np.int64) + 1] - starts
    within = np.arange(int(lengths.sum())) - np.repeat(_starts(lengths), lengths)
    return tokens.ids[np.repeat(starts, lengths) + within], lengths


def keep_some(
    lengths: NDArray[np.int64], dropout: float | FloatArray, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which subwords stay, (sum(lengths),); at least one of every text that has any.

    Args:
        lengths: (batch,) subwords of each text.
        dropout: Probability that a subword is left out: one for all, or (sum(lengths),).
        rng: Source of randomness.
    """
    draws = rng.random(int(lengths.sum()))
    kept = draws >= dropout
    starts = _starts(lengths)[lengths > 0]
    if len(starts):
        bare = ~np.logical_or.reduceat(kept, starts)
        kept[starts[bare]] = True
    return kept


class TransformerReader:
    """Tokenises texts as they are needed.

    Args:
        encoder: Whose tokenizer to use.
        texts: All texts, by number.
        prefixes: Prefix of each side.
    """

    def __init__(
        self, encoder: SentenceTransformer, texts: Sequence[str], prefixes: dict[Side, str]
    ) -> None:
        self._encoder = encoder
        self._texts = texts
        self._prefixes = prefixes

    def __call__(
        self,
        texts: IntArray,
        side: Side,
        rng: np.random.Generator,
        *,
        part: slice = EVERYTHING,
        dropout: FloatArray | None = None,
    ) -> Features:
        """Return ``input_ids`` and ``attention_mask``, both (batch, longest text)."""
        assert dropout is None, "the configuration refuses partial queries for transformers"
        del rng
        prefix, mine = self._prefixes[side], texts[part].tolist()
        return dict(self._encoder.preprocess([prefix + self._texts[k] for k in mine]))
