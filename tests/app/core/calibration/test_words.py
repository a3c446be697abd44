"""Calibrators of hybrid lists: what words add to a probability, and what they may not do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.calibration.explanation import HitPosition, explain_hit
from app.core.calibration.lists import HitFeatures, ServedList, background_score
from app.core.calibration.standing import language_standings
from app.core.calibration.words import RANKED, log_lexical_rank
from app.core.errors import CalibrationError
from tests.calibrators import HYBRID, hybrid_calibrator, make_calibrator

CALIBRATOR = hybrid_calibrator()
POSTERIORS = [{"en": 1.0}, {"de": 1.0}, {"en": 0.5, "de": 0.3}, {}]
Found = list[tuple[float, int, str]]
ranks = st.integers(0, 90)
hits = st.lists(
    st.tuples(st.floats(-1.0, 1.0), ranks, st.sampled_from(["en", "de", "und"])),
    min_size=1,
    max_size=90,
)


def served(found: Found, posterior: dict[str, float]) -> ServedList:
    ordered = sorted(found, reverse=True)
    return ServedList(
        scores=np.array([score for score, _, _ in ordered]),
        passage_languages=[language for _, _, language in ordered],
        query_posterior=posterior,
        corpus_size=5000,
        language_sizes={"en": 3000, "de": 2000},
        lexical_ranks=np.array([rank for _, rank, _ in ordered], dtype=np.int64),
    )


def features(lexical_ranks: Any, *, same: float) -> HitFeatures:
    n = len(lexical_ranks)
    alike = dict.fromkeys(("score", "background", "log_corpus"), np.full(n, 0.4))
    more = ("log_language_corpus", "log_language_rank", "language_lead", "language_lag")
    return HitFeatures(
        **alike,
        **dict.fromkeys(more, np.zeros(n)),
        same=np.full(n, same),
        log_lexical_rank=log_lexical_rank(np.array(lexical_ranks)),
    )


def test_lexical_ranks_count_down_to_the_last_one_that_is_always_known():
    logarithms = log_lexical_rank(np.array([1, 2, RANKED, RANKED + 1, 500, 0]))
    np.testing.assert_allclose(np.exp(logarithms), [1, 2, 50, 51, 51, 51])


@given(hits, st.sampled_from(POSTERIORS))
def test_every_probability_is_that_of_the_heads_as_they_are_written(found, posterior):
    listed = served(found, posterior)
    stated = CALIBRATOR.calibrate(listed)
    assert np.isfinite(stated.probability).all()
    assert ((stated.probability >= 0) & (stated.probability <= 1)).all()
    assert listed.lexical_ranks is not None
    document = CALIBRATOR.document
    for at in range(len(found)):
        position = HitPosition(
            score=float(listed.scores[at]),
            language=listed.passage_languages[at],
            standing=stated.standings.of(at),
            background=background_score(listed.scores, document.background),
            corpus_size=listed.corpus_size,
            query_posterior=posterior,
            lexical_rank=int(listed.lexical_ranks[at]),
        )
        heads = explain_hit(CALIBRATOR, position, full=True).heads
        whole = sum(head.share * head.probability for head in heads)
        assert stated.probability[at] == pytest.approx(whole, abs=1e-9)
        assert any(term.feature == "log_lexical_rank" for term in heads[0].terms)


@given(ranks, ranks, st.sampled_from([0.0, 0.4, 1.0]))
def test_a_probability_never_falls_with_the_lexical_score(first, second, same):
    pair = features([first, second], same=same)
    assert pair.log_lexical_rank is not None
    better = np.sign(pair.log_lexical_rank[1] - pair.log_lexical_rank[0])
    for stated in (CALIBRATOR.hit_probability(pair), CALIBRATOR.pooled_probability(pair)):
        assert np.sign(stated[0] - stated[1]) == better


@given(hits, st.sampled_from(POSTERIORS), ranks)
def test_a_probability_never_rises_down_the_hits_of_a_language(found, posterior, rank):
    listed = served([(score, rank, language) for score, _, language in found], posterior)
    stated = CALIBRATOR.calibrate(listed).probability
    for language in ("en", "de", "und"):
        own = np.array([spoken == language for spoken in listed.passage_languages])
        assert (np.diff(stated[own]) <= 1e-12).all()


@given(hits.filter(lambda found: len(found) > 60), st.integers(0, 30))
def test_what_is_between_the_nearest_and_the_hits_by_words_changes_no_standing(found, dropped):
    ordered = sorted(found, reverse=True)
    scores = np.array([score for score, _, _ in ordered])
    languages = [language for _, _, language in ordered]
    background = CALIBRATOR.document.background
    whole = language_standings(scores, languages, {}, background, by_words=True)
    kept = [*range(60), *range(min(60 + dropped, len(found)), len(found))]
    some = language_standings(
        scores[kept], [languages[at] for at in kept], {}, background, by_words=True
    )
    assert [stood[:3] for stood in some] == [whole[at][:3] for at in kept]


def test_behind_the_nearest_a_hit_ranks_next_and_lags_behind_the_last_of_them():
    background = CALIBRATOR.document.background.model_copy(update={"from_rank": 2, "to_rank": 3})
    scores = np.array([0.9, 0.8, 0.7, 0.5, 0.4, 0.2])
    languages = ["en", "de", "en", "en", "en", "fr"]
    stood = np.array(language_standings(scores, languages, {}, background, by_words=True))
    np.testing.assert_allclose(stood[:, 0], [1, 1, 2, 3, 3, 1])
    np.testing.assert_allclose(stood[:, 1], [0.2, 0.1, 0, 0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(stood[:, 2], [0, 0, 0.2, 0.4, 0.5, 0.5])
    np.testing.assert_allclose(stood[:, 3], [2, 1, 2, 2, 2, 1])


def test_words_do_not_change_whether_the_best_scoring_hit_answers():
    first, second = (
        CALIBRATOR.calibrate(served([(0.6, rank, "en"), (0.5, 1, "en")], {"en": 1.0})).answerable
        for rank in (0, 2)
    )
    assert first == second


def test_an_empty_list_is_not_answerable():
    assert CALIBRATOR.calibrate(served([], {"en": 1.0})).answerable == 0.0


@pytest.mark.parametrize(
    ("member", "change", "message"),
    [
        ("hit", {"log_lexical_rank": 0.1}, "must not raise it: log_lexical_rank"),
        ("hit", {"same*log_lexical_rank": 0.2}, "must not raise it: log_lexical_rank"),
        ("hit", {"same*language_lag": 0.6}, "must not raise it: language_lag"),
        ("pooled", {"log_lexical_rank": 0.1}, "must not raise it: log_lexical_rank"),
    ],
)
def test_a_document_in_which_words_count_against_a_hit_is_refused(member, change, message):
    head = HYBRID[member]
    weights = dict(zip(head["features"], head["coef"], strict=True)) | change
    wrong = {**head, "features": list(weights), "coef": list(weights.values())}
    with pytest.raises(CalibrationError, match=message):
        hybrid_calibrator(**{member: wrong})


def test_words_are_no_features_of_dense_lists():
    with pytest.raises(CalibrationError, match="unknown features: log_lexical_rank"):
        make_calibrator(pooled=HYBRID["pooled"])


def test_a_calibrator_says_which_lists_it_is_for():
    assert CALIBRATOR.document.retrieval == "hybrid"
    assert make_calibrator().document.retrieval is None
