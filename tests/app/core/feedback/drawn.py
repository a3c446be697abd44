"""Labels that are drawn, so that the truth is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from app.core.feedback.labels import Labels

Truth = Callable[[Any, Any], Any]


def drawn_labels(truth: Truth, *, queries: int = 100, hits: int = 5, seed: int = 0) -> Labels:
    """Labels of a calibrator that clips to 0.0001 and 0.9999.

    Args:
        truth: Returns the true logits of stated logits and relations.
        queries: Number of queries.
        hits: Labelled hits of each.
        seed: Of the draw.
    """
    rng = np.random.default_rng(seed)
    n = queries * hits
    logit = rng.normal(-1.2, 1.8, n)
    same = rng.random(n) < 0.5
    return Labels(
        probability=0.0001 + 0.9998 / (1.0 + np.exp(-logit)),
        relevant=rng.random(n) < 1.0 / (1.0 + np.exp(-truth(logit, same))),
        same=same,
        query=np.repeat(np.arange(queries), hits),
        rank=np.tile(np.arange(1, hits + 1), queries),
        judged=rng.random(n) < 0.5,
        left_out=0,
        languages=("de", "en"),
        digest="0" * 64,
    )
