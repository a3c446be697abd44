from collections import Counter

import numpy as np
import pytest

from app.core.calibration.lists import ServedList
from tests.calibrators import make_calibrator
from tests.searching import RANKED
from tests.training.sets import parallel_set, with_random_vectors
from training.retrieval_set import SetPassage, SetQuery, assemble
from training.search import nearest
from training.served import BACKGROUND, DEPTH, HitTable, concatenate, serve

pytestmark = pytest.mark.training


def serve_everything(questions: int = 30) -> tuple[HitTable, object]:
    embedded = with_random_vectors(parallel_set(questions))
    data = embedded.data
    table = serve(
        data,
        embedded.queries,
        embedded.passages,
        asked=np.arange(len(data.queries)),
        pool=np.arange(len(data.passages)),
    )
    return table, embedded


def test_a_served_list_gets_the_probabilities_that_the_service_would_state():
    first_head = {
        "features": ["score", "gap", "language_lead", "log_corpus", "log_language_corpus", "same"],
        "coef": [10.0, 5.0, 3.0, -0.4, -0.2, 0.5],
        "intercept": -2.0,
    }
    calibrator = make_calibrator(hit=RANKED, first_hit=first_head)
    embedded = with_random_vectors(parallel_set(30))
    data = embedded.data
    table, _ = serve_everything(30)
    found = nearest(embedded.queries, embedded.passages, BACKGROUND.to_rank)
    ours = calibrator.hit_probability(table.features())
    first = table.where(table.rank == 1)
    answerable = calibrator.first_hit_probability(first.first_hit_columns())
    for query in range(len(data.queries)):
        service = calibrator.calibrate(
            ServedList(
                scores=found.scores[query],
                passage_languages=data.passage_languages[found.rows[query]].tolist(),
                query_posterior={data.queries[query].language: 1.0},
                corpus_size=len(data.passages),
                language_sizes=Counter(data.passage_languages.tolist()),
            )
        )
        mine = ours[table.query == query]
        np.testing.assert_allclose(mine, service.probability[:DEPTH], rtol=1e-12)
        assert answerable[query] == pytest.approx(service.answerable, rel=1e-12)


def test_ranks_and_gaps_follow_the_list():
    table, _ = serve_everything()
    one = table.where(table.query == 3)
    assert one.rank.tolist() == list(range(1, DEPTH + 1))
    assert (np.diff(one.score) <= 0).all()
    np.testing.assert_allclose(one.gap[:-1], -np.diff(one.score))
    assert (one.corpus == 180).all()


def test_hits_in_a_language_without_known_answers_are_not_judged():
    passages = [
        SetPassage("answer", "en", "a", "d"),
        SetPassage("unclear", "en", "b", "d"),
        SetPassage("wrong", "en", "c", "d"),
        SetPassage("foreign", "de", "d", "d"),
    ]
    queries = [SetQuery("q", "en", "text", "q")]
    data = assemble("set", queries, passages, {"q": {"answer": 1, "unclear": -1}})
    one = np.ones((1, 2), dtype=np.float32) / np.sqrt(2, dtype=np.float32)
    vectors = np.repeat(one, 4, axis=0)
    judged = serve(data, one, vectors, asked=np.arange(1), pool=np.arange(4))
    assert len(judged) == 2
    assert judged.relevant.tolist() == [True, False]
    assert set(judged.passage_language.tolist()) == {"en"}
    every = serve(data, one, vectors, asked=np.arange(1), pool=np.arange(4), judged_only=False)
    assert len(every) == 4


def test_an_answer_outside_the_pool_leaves_the_query_without_judgements():
    embedded = with_random_vectors(parallel_set(3))
    data = embedded.data
    others = np.setdiff1d(np.arange(len(data.passages)), data.relevant[0])
    table = serve(data, embedded.queries, embedded.passages, asked=np.array([0]), pool=others)
    assert len(table) == 0


def test_lists_of_two_tables_stay_apart():
    table, _ = serve_everything(4)
    both = concatenate([table, table])
    assert len(both) == 2 * len(table)
    assert len(np.unique(both.query)) == 2 * len(np.unique(table.query))
