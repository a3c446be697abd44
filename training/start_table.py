"""Starts a static encoder from a trained one, although their vocabularies differ.

A static encoder adds up the vectors of a text's subwords. A subword of the new vocabulary therefore
starts with the sum of the vectors of the pieces that the old vocabulary splits it into, so that the
new encoder begins with nearly the vectors of the old one, and its longer subwords are free to move.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from training.encoder import static_module
from training.errors import RunError
from training.vocabulary import UNKNOWN_ID

WORD_START = "\u2581"


def start_table(encoder: SentenceTransformer, start: SentenceTransformer, *, rms: float) -> None:
    """Fill the table of an encoder from a trained static encoder.

    Subwords that the old vocabulary cannot read keep their random rows.

    Args:
        encoder: A static encoder; changed.
        start: A trained static encoder.
        rms: Root mean square of the table afterwards. Scores do not depend on it, but a step of
            the optimiser moves a small table more than a large one.

    Raises:
        RunError: It is no static encoder, or has other dimensions.
    """
    old = static_module(start)
    table = static_module(encoder).embedding.weight.data
    rows = old.embedding.weight.detach().float().numpy().copy()
    if rows.shape[1] != table.shape[1]:
        raise RunError(
            f"The encoder to start from has {rows.shape[1]} dimensions, the new one "
            f"{table.shape[1]}; set [model] dim = {rows.shape[1]}."
        )
    rows[UNKNOWN_ID] = 0.0
    grown = grow(rows, old.tokenizer, static_module(encoder).tokenizer)
    known = np.flatnonzero(grown.any(axis=1))
    grown *= rms / np.sqrt(np.square(grown[known]).mean())
    table[torch.from_numpy(known)] = torch.from_numpy(grown[known])


def grow(rows: NDArray[np.float32], old: Tokenizer, new: Tokenizer) -> NDArray[np.float32]:
    """Return a row for every subword of the new vocabulary: the sum of the old rows of its pieces.

    Args:
        rows: (n_old, dim), the row of the unknown token is zero.
        old: Tokenizer of these rows.
        new: Whose subwords to make rows for.

    Returns:
        (n_new, dim); zero where the old vocabulary knows no piece of a subword.
    """
    known = old.get_vocab()
    grown = np.zeros((new.get_vocab_size(), rows.shape[1]), np.float32)
    for subword, number in new.get_vocab().items():
        if number == UNKNOWN_ID:
            continue
        if subword in known:
            grown[number] = rows[known[subword]]
        else:
            pieces = old.encode(subword.replace(WORD_START, " "), add_special_tokens=False).ids
            grown[number] = rows[pieces].sum(axis=0)
    return grown
