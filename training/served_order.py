"""The order that the service answers in: the nearest passages, most probable first.

Cosines of other languages are lower for the same relevance, and a calibrator knows by how much; so
ordering by probability moves answers in other languages up. Passages beyond the ranked candidates
keep their place. One pool of one language, where probabilities rise with the score, stays as it is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from app.core.calibration.calibrator import Calibrator
from app.core.calibration.lists import ServedList
from app.core.search.types import DEFAULT_CANDIDATES
from training.evaluate import EmbeddedSet
from training.ranks import Ranking, positions
from training.search import Device, nearest


def in_served_order(
    embedded: EmbeddedSet, found: Ranking, calibrator: Calibrator, *, device: Device = "cpu"
) -> Ranking:
    """Return the ranks in the pool of all languages as the service would answer.

    Every query is served with its language declared, and as many candidates as by default.

    Args:
        embedded: The set.
        found: Ranks by score.
        calibrator: States the probabilities.
        device: Where cosines are computed.

    Raises:
        RunError: The device is not there.
    """
    data = embedded.data
    lists = nearest(embedded.queries, embedded.passages, DEFAULT_CANDIDATES, device=device)
    spoken = data.passage_languages
    sizes = Counter(spoken.tolist())
    overall, first = found.overall.copy(), found.first.copy()
    for query, (rows, scores) in enumerate(zip(lists.rows, lists.scores, strict=True)):
        served = ServedList(
            scores=scores,
            passage_languages=spoken[rows].tolist(),
            query_posterior={data.queries[query].language: 1.0},
            corpus_size=len(data.passages),
            language_sizes=sizes,
        )
        # As in app.core.search.ranking: equal probabilities stay in the order of the scores.
        order = np.argsort(-calibrator.calibrate(served).probability, kind="stable")
        first[query] = rows[order[0]]
        place = positions(rows[order], data.relevant[query])
        ranks = overall[query, : len(place)]
        ranks[:] = np.where(np.isfinite(place), place, ranks)
    return replace(found, overall=overall, first=first)
