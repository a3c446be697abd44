from typing import Any

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, RR, R, nDCG

from training.metrics import ranking
from training.search import key_blocks, ranks_in_pool

pytestmark = pytest.mark.training

NAMES = {
    "ap": AP,
    "rr": RR,
    "recall@3": R @ 3,
    "recall@10": R @ 10,
    "ndcg@10": nDCG @ 10,
}


def judged_run(seed: int) -> tuple[Any, Any, list[Any], list[Any]]:
    """Scores without ties, and one to four graded passages for each of six queries."""
    rng = np.random.default_rng(seed)
    queries, passages = rng.standard_normal((6, 5)), rng.standard_normal((50, 5))
    relevant = [np.sort(rng.choice(50, rng.integers(1, 5), replace=False)) for _ in range(6)]
    grades = [rng.integers(1, 4, len(rows)) for rows in relevant]
    return queries.astype(np.float32), passages.astype(np.float32), relevant, grades


@pytest.mark.parametrize("seed", range(5))
def test_every_metric_equals_ir_measures(seed):
    queries, passages, relevant, grades = judged_run(seed)
    ((_, keys),) = key_blocks(queries, passages)
    ranks = ranking.pad(ranks_in_pool(keys, relevant, np.arange(50)))
    padded = ranking.pad(grades, fill=0.0)
    ours = {
        "ap": ranking.average_precision(ranks),
        "rr": ranking.reciprocal_rank(ranks),
        "recall@3": ranking.recall(ranks, 3),
        "recall@10": ranking.recall(ranks, 10),
        "ndcg@10": ranking.ndcg(ranks, padded, 10),
    }
    qrels = {
        f"q{n}": {f"p{row}": int(grade) for row, grade in zip(*pair, strict=True)}
        for n, pair in enumerate(zip(relevant, grades, strict=True))
    }
    scores = queries @ passages.T
    run = {
        f"q{n}": {f"p{p}": float(score) for p, score in enumerate(line)}
        for n, line in enumerate(scores)
    }
    theirs = {}
    for metric in ir_measures.iter_calc(list(NAMES.values()), qrels, run):
        theirs[metric.measure, int(metric.query_id[1:])] = metric.value
    for name, measure in NAMES.items():
        expected = [theirs[measure, query] for query in range(6)]
        np.testing.assert_allclose(ours[name], expected, rtol=1e-9)


def test_average_precision_by_hand():
    ranks = np.array([[1.0, 3.0], [2.0, np.inf]])
    np.testing.assert_allclose(ranking.average_precision(ranks), [(1 + 2 / 3) / 2, 1 / 2])


def test_rank_distance_is_the_last_rank_minus_the_first():
    ranks = np.array([[7.0, 2.0, 40.0], [5.0, np.inf, np.inf]])
    np.testing.assert_array_equal(ranking.rank_distance(ranks), [38.0, 0.0])


def test_a_query_without_relevant_passages_has_no_value():
    ranks = np.full((1, 2), np.inf)
    for value in (
        ranking.average_precision(ranks),
        ranking.reciprocal_rank(ranks),
        ranking.recall(ranks, 10),
        ranking.ndcg(ranks, np.zeros((1, 2)), 10),
        ranking.rank_distance(ranks),
    ):
        assert np.isnan(value).all()
