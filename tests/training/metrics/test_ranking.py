from pathlib import Path

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, RR, R, nDCG

from training.metrics import ranking
from training.ranks import rank_listed
from training.retrieval_set import RetrievalSet, SetPassage, SetQuery, assemble
from training.trec_run import read_run_file

pytestmark = pytest.mark.training

REFERENCE = Path(__file__).parents[2] / "fixtures" / "trec_eval"
TREC_EVAL_NAMES = {
    "map": AP,
    "recip_rank": RR,
    "recall_1": R @ 1,
    "recall_10": R @ 10,
    "recall_100": R @ 100,
    "ndcg_cut_10": nDCG @ 10,
}


def ours(ranks: np.ndarray, grades: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "map": ranking.average_precision(ranks),
        "recip_rank": ranking.reciprocal_rank(ranks),
        "recall_1": ranking.recall(ranks, 1),
        "recall_10": ranking.recall(ranks, 10),
        "recall_100": ranking.recall(ranks, 100),
        "ndcg_cut_10": ranking.ndcg(ranks, grades, 10),
    }


def reference_set() -> RetrievalSet:
    judgements: dict[str, dict[str, int]] = {}
    for line in (REFERENCE / "qrels.txt").read_text().splitlines():
        query, _, passage, grade = line.split()
        judgements.setdefault(query, {})[passage] = int(grade)
    passages = [SetPassage(f"d{n:03}", "en", "text", f"d{n}") for n in range(150)]
    queries = [SetQuery(query, "en", "text", query) for query in judgements]
    return assemble("reference", queries, passages, judgements)


def test_every_metric_equals_the_committed_values_of_trec_eval():
    data = reference_set()
    found = rank_listed(data, read_run_file(data, REFERENCE / "run.txt").listed)
    values = ours(found.overall, found.grades)
    row = {query.id: number for number, query in enumerate(data.queries)}
    lines = [line.split("\t") for line in (REFERENCE / "reference.tsv").read_text().splitlines()]
    assert len(lines) == len(TREC_EVAL_NAMES) * len(data.queries)
    for name, query, value in lines:
        assert values[name][row[query]] == pytest.approx(float(value), abs=1e-12), (name, query)
    assert values["map"][row["q5"]] == 0.0  # in the judgements, not in the run
    assert len({value for name, _, value in lines if name == "map"}) == len(data.queries)


@pytest.mark.parametrize("seed", range(8))
def test_every_metric_equals_ir_measures_on_random_runs_with_ties(seed):
    """Both get the order that our tie rule makes: score, then the lower passage id."""
    rng = np.random.default_rng(seed)
    n_queries, n_passages = 6, 60
    scores = rng.integers(0, 12, (n_queries, n_passages))
    grades = [rng.integers(0, 4, n_passages) * (rng.random(n_passages) < 0.1) for _ in scores]
    for row in grades:
        row[rng.integers(n_passages)] = 1
    listed = [np.lexsort((np.arange(n_passages), -line))[:40] for line in scores]
    qrels = {
        f"q{n}": {f"p{p}": int(g) for p, g in enumerate(row) if g} for n, row in enumerate(grades)
    }
    run = {
        f"q{n}": {f"p{p}": 100.0 - rank for rank, p in enumerate(rows)}
        for n, rows in enumerate(listed)
    }
    queries = [SetQuery(f"q{n}", "en", "text", f"q{n}") for n in range(n_queries)]
    passages = [SetPassage(f"p{p}", "en", "text", "d") for p in range(n_passages)]
    data = assemble("random", queries, passages, qrels)
    number = {passage.id: row for row, passage in enumerate(data.passages)}
    found = rank_listed(data, [np.array([number[f"p{p}"] for p in rows]) for rows in listed])
    values = ours(found.overall, found.grades)
    for name, measure in TREC_EVAL_NAMES.items():
        theirs = {m.query_id: m.value for m in ir_measures.iter_calc([measure], qrels, run)}
        expected = [theirs[query.id] for query in data.queries]
        np.testing.assert_allclose(values[name], expected, rtol=1e-12, err_msg=name)


def test_average_precision_by_hand():
    ranks = np.array([[1.0, 3.0], [2.0, np.nan], [4.0, np.inf]])
    np.testing.assert_allclose(
        ranking.average_precision(ranks), [(1 + 2 / 3) / 2, 1 / 2, (1 / 4) / 2]
    )


def test_a_query_that_finds_nothing_counts_0():
    ranks, grades = np.array([[np.inf, np.inf, np.nan]]), np.array([[1.0, 2.0, 0.0]])
    for value in ours(ranks, grades).values():
        assert value.tolist() == [0.0]


def test_gains_are_the_grades():
    # Grade 1 first, grade 3 second: (1 + 3 / log2(3)) / (3 + 1 / log2(3)).
    found = ranking.ndcg(np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]]), 10)
    assert found == pytest.approx((1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)))


def test_a_query_without_relevant_passages_has_no_value():
    for value in ours(np.full((1, 2), np.nan), np.zeros((1, 2))).values():
        assert np.isnan(value).all()
