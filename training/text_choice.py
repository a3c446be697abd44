"""Which texts of a row a batch holds: languages of a parallel row, hard negatives of a pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data_prepared import NO_TEXT, IntArray

FloatArray = NDArray[np.float64]


def draw_two_languages(
    texts: IntArray,
    weights: FloatArray,
    rng: np.random.Generator,
    *,
    pivot: int | None = None,
    pivot_share: float | None = None,
) -> tuple[IntArray, IntArray]:
    """Draw two different languages of every parallel row, and return their texts.

    Languages are drawn without replacement with probability proportional to their weights (the
    Gumbel top-2 trick), in random order.

    Args:
        texts: (batch, n_languages) numbers of texts, ``NO_TEXT`` where there is none; at least
            two a row.
        weights: (n_languages,) relative probabilities, > 0.
        rng: Source of randomness.
        pivot: Column of the pivot language.
        pivot_share: Probability that the pivot is one of the two, where the row has it.

    Returns:
        Two arrays (batch,) of numbers of texts.
    """
    rows = np.arange(len(texts))
    preference = np.log(weights)[None, :] + rng.gumbel(size=texts.shape)
    if pivot is not None and pivot_share is not None:
        chosen = rng.random(len(texts)) < pivot_share
        preference[:, pivot] = np.where(chosen, np.inf, -np.finfo(np.float64).max)
    preference[texts == NO_TEXT] = -np.inf
    ranked = np.argsort(-preference, axis=1)[:, :2]
    swapped = rng.random(len(texts)) < 0.5
    first = np.where(swapped, ranked[:, 1], ranked[:, 0])
    second = np.where(swapped, ranked[:, 0], ranked[:, 1])
    return texts[rows, first], texts[rows, second]


@dataclass(frozen=True, slots=True)
class PartialQueries:
    """Rows whose two sides are one text, of which the first side is a part.

    They teach that a text and some of its words belong together, in every language.

    Attributes:
        share: Probability that a row is one.
        dropout: Probability that a subword of the first side is left out; the second stays whole.
    """

    share: float = 0.0
    dropout: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class SideChoice:
    """Which two texts of a parallel row are brought together.

    Attributes:
        weights: (n_languages,) how much more often a language is drawn.
        pivot: Column of the teacher's language; ``None`` if the run does not have it.
        pivot_share: See ``draw_two_languages``.
        partial: Rows of one text instead of two.
    """

    weights: FloatArray
    pivot: int | None = None
    pivot_share: float | None = None
    partial: PartialQueries = PartialQueries()

    def draw(
        self, texts: IntArray, rng: np.random.Generator
    ) -> tuple[IntArray, IntArray, NDArray[np.bool_]]:
        """Return the texts of both sides, and which rows are partial queries, (batch,) each."""
        first, second = draw_two_languages(
            texts, self.weights, rng, pivot=self.pivot, pivot_share=self.pivot_share
        )
        if not self.partial.share:
            return first, second, np.zeros(len(texts), np.bool_)
        same = rng.random(len(texts)) < self.partial.share
        return first, np.where(same, first, second), same


@dataclass(frozen=True, slots=True, eq=False)
class HardNegatives:
    """Texts that look like the answer to a question and are none.

    Attributes:
        texts: (n_entries, k) int32, numbers of texts, ``NO_TEXT`` where there are fewer.
        group_of: (n_texts,) int32, passage group of a text, -1 where it is no passage of a pair.
        per_pair: Number of them to draw for a pair.
    """

    texts: IntArray
    group_of: IntArray
    per_pair: int

    def draw(self, entries: IntArray, rng: np.random.Generator) -> IntArray:
        """Return up to ``per_pair`` of each entry, (n_entries, per_pair), else ``NO_TEXT``.

        Args:
            entries: (n,) entries whose negatives are wanted.
            rng: Source of randomness: every one of an entry's is as likely as the others.
        """
        texts = self.texts[entries]
        order = np.where(texts == NO_TEXT, np.inf, rng.random(texts.shape))
        chosen = np.argsort(order, axis=1)[:, : self.per_pair]
        return np.take_along_axis(texts, chosen, axis=1)
