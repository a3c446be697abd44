"""Ranks in the order of probabilities are those of the service's own code."""

from dataclasses import replace

import numpy as np
import pytest

from app.core.search.judging import judge
from app.core.search.ranking import rank
from app.core.search.types import DEFAULT_CANDIDATES, SearchRequest
from app.core.types import LanguageGuess, Passage, ScoredPassage
from tests.calibrators import make_calibrator
from tests.searching import ranked_calibrator
from tests.training.sets import parallel_set, with_random_vectors
from training.evaluate import EmbeddedSet, rank_relevant
from training.ranks import rank_listed
from training.search import nearest
from training.served_order import in_served_order

pytestmark = pytest.mark.training


@pytest.mark.parametrize("questions", [6, 40])  # fewer passages than candidates, and more
def test_the_order_is_the_one_that_the_service_answers_in(questions):
    embedded = with_random_vectors(parallel_set(questions=questions))
    data, calibrator = embedded.data, ranked_calibrator()
    by_score = rank_relevant(embedded)
    found = in_served_order(embedded, by_score, calibrator)

    everything = nearest(embedded.queries, embedded.passages, len(data.passages))
    census = {code: int((data.passage_languages == code).sum()) for code in ("de", "en", "es")}
    listed = []
    for query, rows, scores in zip(data.queries, everything.rows, everything.scores, strict=True):
        candidates = [
            ScoredPassage(Passage(p.id, p.text, p.language), float(score))
            for p, score in zip(
                (data.passages[row] for row in rows[:DEFAULT_CANDIDATES]),
                scores[:DEFAULT_CANDIDATES],
                strict=True,
            )
        ]
        judged = judge(
            candidates,
            calibrator=calibrator,
            census=census,
            query=query.text,
            query_language=LanguageGuess({query.language: 1.0}, "declared"),
        )
        order = rank(judged.candidates, SearchRequest(query.text)).order
        listed.append(np.concatenate([rows[list(order)], rows[DEFAULT_CANDIDATES:]]))
    expected = rank_listed(data, listed)
    np.testing.assert_array_equal(found.overall, expected.overall)
    np.testing.assert_array_equal(found.first, expected.first)
    assert (found.overall != by_score.overall).any()
    np.testing.assert_array_equal(found.inside, by_score.inside)


def test_a_calibrator_that_looks_at_the_score_alone_changes_no_rank():
    embedded = with_random_vectors(parallel_set(questions=6))
    plain = {"features": ["score"], "coef": [9.0], "intercept": -1.0}
    by_score = rank_relevant(embedded)
    found = in_served_order(embedded, by_score, make_calibrator(hit=plain))
    np.testing.assert_array_equal(found.overall, by_score.overall)
    np.testing.assert_array_equal(found.first, by_score.first)


def test_ranks_by_score_are_left_as_they_were_given():
    embedded = with_random_vectors(parallel_set(questions=6))
    given = rank_relevant(EmbeddedSet(embedded.data, embedded.queries, embedded.passages))
    kept = replace(given, overall=given.overall.copy())
    in_served_order(embedded, given, ranked_calibrator())
    np.testing.assert_array_equal(given.overall, kept.overall)
