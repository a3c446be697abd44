"""Builds the torch encoders, and turns numbered texts into what they read.

Two families behind one shape: a ``SentenceTransformer`` whose last module normalises, and a
reader that makes the features of a batch of texts. Static encoders read texts that were tokenised
once; transformers tokenise as they go.
"""

from __future__ import annotations

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


class TextReader(Protocol):
    """Makes the features that an encoder reads."""

    def __call__(self, texts: IntArray, side: Side, rng: np.random.Generator) -> Features:
        """Return the features of numbered texts.

        Args:
            texts: (batch,) numbers of texts.
            side: Decides the prefix.
            rng: Source of randomness, for dropout of subwords.
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
    if model.gradient_checkpointing:
        backbone.auto_model.gradient_checkpointing_enable()
    pooling = Pooling(backbone.get_embedding_dimension(), pooling_mode=model.pooling)
    return SentenceTransformer(
        modules=[backbone, pooling, Normalize()],
        prompts={"query": model.query_prefix, "document": model.passage_prefix},
        similarity_fn_name="cosine",
    )


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

    def __call__(self, texts: IntArray, side: Side, rng: np.random.Generator) -> Features:
        """Return ``input_ids`` (n_tokens,) and ``offsets`` (batch,) as EmbeddingBag reads them."""
        del side  # a static encoder has no prefixes: a constant token would only blur its means
        ids, lengths = gather(self._tokens, texts)
        if self._dropout:
            kept = keep_some(lengths, self._dropout, rng)
            ends, counted = np.cumsum(lengths), np.concatenate([[0], np.cumsum(kept)])
            ids, lengths = ids[kept], counted[ends] - counted[ends - lengths]
        return {
            "input_ids": torch.from_numpy(ids.astype(np.int64)),
            "offsets": torch.from_numpy(_starts(lengths)),
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
    lengths: NDArray[np.int64], dropout: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return which subwords stay, (sum(lengths),); at least one of every text that has any."""
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

    def __call__(self, texts: IntArray, side: Side, rng: np.random.Generator) -> Features:
        """Return ``input_ids`` and ``attention_mask``, both (batch, longest text)."""
        del rng
        prefix = self._prefixes[side]
        return dict(self._encoder.preprocess([prefix + self._texts[k] for k in texts.tolist()]))
