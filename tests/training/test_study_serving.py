from typing import Any

import numpy as np
import pytest

from tests.training.sets import parallel_set, with_random_vectors, write_set
from training.errors import DataError
from training.metrics import ranking
from training.study.evaluation_set import EvaluationSet, read_evaluation_set
from training.study.outcomes import retrieval_table, retrieval_values
from training.study.protocols import hits_of
from training.study.serving import Served, serve_all

pytestmark = pytest.mark.training

TAU = 0.05


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    directory = write_set(tmp_path_factory.mktemp("set") / "small", parallel_set(questions=9))
    return read_evaluation_set(directory)


def serve(evaluation: EvaluationSet, *, seed: int = 0, rounded: bool = False) -> tuple[Served, Any]:
    embedded = with_random_vectors(evaluation.data, seed=seed)
    queries, passages = embedded.queries, embedded.passages
    if rounded:  # many equal scores
        queries, passages = np.sign(queries), np.sign(passages)
    served = serve_all(evaluation, queries, passages, depth=5, loss_temperature=TAU)
    return served, queries @ passages.T


def place(scores: np.ndarray, row: int, pool: np.ndarray) -> int:
    """Rank of a row in a pool, by the plainest code there is."""
    ordered = sorted(pool.tolist(), key=lambda other: (-scores[other], other))
    return ordered.index(row) + 1


@pytest.mark.parametrize("rounded", [False, True], ids=["distinct scores", "many ties"])
def test_ranks_equal_those_of_sorting_everything(evaluation, rounded):
    served, scores = serve(evaluation, rounded=rounded)
    everything = np.arange(len(evaluation.spoken))
    for number, answers in enumerate(evaluation.data.relevant):
        for slot, row in enumerate(answers):
            pool = np.flatnonzero(evaluation.spoken == evaluation.spoken[row])
            assert served.overall[number, slot] == place(scores[number], row, everything)
            assert served.inside[number, slot] == place(scores[number], row, pool)
            assert served.language[number, slot] == evaluation.spoken[row]


@pytest.mark.parametrize("rounded", [False, True], ids=["distinct scores", "many ties"])
def test_hits_are_the_best_passages_in_order(evaluation, rounded):
    served, scores = serve(evaluation, rounded=rounded)
    for line, rows in zip(scores, served.rows, strict=True):
        best = sorted(range(len(line)), key=lambda row: (-line[row], row))[:5]
        assert rows.tolist() == best


def test_the_raw_probability_is_the_softmax_over_the_whole_pool(evaluation):
    served, scores = serve(evaluation)
    whole = np.exp(scores.astype(np.float64) / TAU)
    whole /= whole.sum(axis=1, keepdims=True)
    expected = np.take_along_axis(whole, served.rows, axis=1)
    np.testing.assert_allclose(served.raw, expected, rtol=1e-4)


def test_translations_and_articles_stay_in_one_half(evaluation):
    halves: dict[int, set[int]] = {}
    for cluster, half in zip(evaluation.clusters, evaluation.half, strict=True):
        halves.setdefault(int(cluster), set()).add(int(half))
    assert all(len(found) == 1 for found in halves.values())
    assert set(evaluation.half.tolist()) == {0, 1}
    assert sum(evaluation.articles) == 9


def test_a_set_of_one_article_cannot_be_split(tmp_path):
    directory = write_set(tmp_path / "one", parallel_set(questions=1))
    with pytest.raises(DataError, match="one article only"):
        read_evaluation_set(directory)


def perfect(evaluation: EvaluationSet) -> Served:
    """Every question finds its own language first and the others at ranks 2 and 3."""
    same = evaluation.spoken[np.array(evaluation.data.relevant)] == evaluation.asked[:, None]
    others = np.cumsum(~same, axis=1) + 1
    return Served(
        rows=np.array(evaluation.data.relevant),
        scores=np.zeros(same.shape),
        raw=np.zeros(same.shape),
        overall=np.where(same, 1.0, others),
        inside=np.where(same, 1.0, 2.0),
        language=evaluation.spoken[np.array(evaluation.data.relevant)],
    )


def test_retrieval_values_of_a_case_worked_out_by_hand(evaluation):
    values = retrieval_values(evaluation, perfect(evaluation))
    assert set(values["mono/map"]) == {1.0}
    assert set(values["cross/map"]) == {0.5}
    assert set(values["multi/map"]) == {1.0}
    assert set(values["rank_distance"]) == {2.0}
    assert set(values["lpr@1"]) == {1.0}


def test_retrieval_values_have_one_sum_per_question_and_language(evaluation):
    served, _ = serve(evaluation)
    values = retrieval_values(evaluation, served)
    sums, counts = retrieval_table(evaluation, values)
    assert sums.shape == (6, 9, 3)
    assert counts.min() == counts.max() == 1
    np.testing.assert_allclose(sums[2].sum(), ranking.average_precision(served.overall).sum())


def test_hits_know_what_answers(evaluation):
    served, _ = serve(evaluation)
    hits = hits_of(evaluation, served)
    assert len(hits) == 5 * len(evaluation.asked)
    for number, answers in enumerate(evaluation.data.relevant):
        mine = slice(5 * number, 5 * number + 5)
        expected = [row in answers for row in served.rows[number].tolist()]
        assert hits.relevant[mine].tolist() == expected
        assert hits.rank[mine].tolist() == [1, 2, 3, 4, 5]
