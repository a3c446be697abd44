"""What words say of the hits of a hybrid list, as a calibrator reads it: the lexical rank.

BM25 has no scale that holds from one query to the next: a long query of rare words gives high
scores to everything. Ranks have. The first ``RANKED`` are known whatever a request asks for, since
the passages with the best lexical scores are candidates always; behind them all count as one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.types import FloatArray

RANKED: Final = 50
"""How many passages are taken by words, beside the nearest ones."""

WORD_FEATURE: Final = "log_lexical_rank"
"""Of the hit head and the pooled head of a calibrator of hybrid lists."""


def log_lexical_rank(ranks: NDArray[np.int64]) -> FloatArray:
    """Return the logarithm of lexical ranks, float64 of their shape.

    Args:
        ranks: From 1; 0 where no word is shared with the query, which counts as the last one.
    """
    known = (ranks > 0) & (ranks <= RANKED)
    logarithm: FloatArray = np.log(np.where(known, ranks, RANKED + 1).astype(np.float64))
    return logarithm
