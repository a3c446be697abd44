from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.calibration.explanation import HitPosition, explain_hit, hit_features, score_offsets
from app.core.calibration.lists import ServedList
from app.core.calibration.standing import LanguageStanding
from app.core.search.types import SearchRequest
from tests.calibrators import make_calibrator
from tests.searching import RANKED, random_passages, ranked_calibrator, searching

scores = st.floats(-0.5, 1.0)
standings = st.builds(
    LanguageStanding,
    rank=st.integers(1, 60),
    lead=st.floats(0.0, 0.5),
    lag=st.floats(0.0, 0.5),
    size=st.integers(1, 10**7),
)


def position(**changes: Any) -> HitPosition:
    given_facts: dict[str, Any] = {
        "score": 0.7,
        "language": "en",
        "standing": LanguageStanding(rank=3, lead=0.0, lag=0.05, size=700),
        "background": 0.3,
        "corpus_size": 5000,
        "query_posterior": {"de": 0.6, "en": 0.3},
    }
    return HitPosition(**{**given_facts, **changes})


async def test_the_heads_of_an_explanation_add_up_to_the_probability_that_was_stated():
    request = SearchRequest("the how and why where der tide", limit=100, explain="full")
    async with searching(random_passages(1, 90), calibrator=ranked_calibrator()) as opened:
        result = await opened.service.search(request)
    spoke: set[str] = set()
    for hit in result.hits:
        assert hit.explanation is not None
        heads = hit.explanation.heads
        spoke.update(head.head for head in heads)
        assert sum(head.share for head in heads) == pytest.approx(1.0)
        assert sum(head.share * head.probability for head in heads) == pytest.approx(
            hit.probability, abs=1e-12
        )
    assert spoke == {"same", "cross", "pooled"}


def test_the_terms_of_a_head_add_up_to_its_logit():
    explanation = explain_hit(ranked_calibrator(), position(), full=True)
    for head in explanation.heads:
        assert head.intercept + sum(t.contribution for t in head.terms) == pytest.approx(head.logit)
        assert all(t.contribution == t.weight * t.value for t in head.terms)
    same = explanation.heads[0]
    assert {term.feature: term.value for term in same.terms}["same*score"] == 0.7


def test_the_basic_explanation_names_the_calibrator_alone():
    calibrator = ranked_calibrator()
    explanation = explain_hit(calibrator, position(), full=False)
    assert (explanation.calibrator, explanation.heads) == (calibrator.id, ())


def test_a_passage_of_unknown_language_is_explained_by_the_pooled_head():
    [head] = explain_hit(ranked_calibrator(), position(language="und"), full=True).heads
    assert (head.head, head.share) == ("pooled", 1.0)


@given(scores, standings, st.floats(-0.5, 0.5))
def test_a_same_language_hit_lower_by_the_offset_is_equally_probable(score, standing, background):
    calibrator = ranked_calibrator()
    here = position(score=score, standing=standing, background=background)
    offset = float(score_offsets(calibrator, [here], "de")[0])
    there = position(score=score - offset, standing=standing, background=background)
    cross = calibrator.document.hit.logit(hit_features([here], same=False).columns(None))
    same = calibrator.document.hit.logit(hit_features([there], same=True).columns(None))
    assert float(cross[0]) == pytest.approx(float(same[0]), abs=1e-9)


def test_the_offset_is_negative_where_the_encoder_puts_cross_language_hits_lower():
    lower = make_calibrator(
        hit={**RANKED, "coef": [9.0, -6.0, -0.3, -0.05, -0.8, 1.0, -0.5, -0.9, 0.0]}
    )
    assert score_offsets(lower, [position(), position(score=0.2)], "de") == pytest.approx(-0.1)


def test_the_calibrator_sees_the_same_hit_as_the_explanation():
    calibrator = ranked_calibrator()
    served = ServedList(
        scores=np.array([0.8, 0.5, 0.2]),
        passage_languages=["en", "de", "en"],
        query_posterior={"de": 0.7},
        corpus_size=4000,
        language_sizes={"en": 900, "de": 70},
    )
    stated = calibrator.calibrate(served).probability
    expected = [
        ("en", LanguageStanding(1, 0.6, 0.0, 900)),
        ("de", LanguageStanding(1, 0.3, 0.0, 70)),
        ("en", LanguageStanding(2, 0.0, 0.6, 900)),
    ]
    for index, (language, standing) in enumerate(expected):
        here = position(
            score=float(served.scores[index]),
            language=language,
            standing=standing,
            background=0.2,
            corpus_size=4000,
            query_posterior={"de": 0.7},
        )
        heads = explain_hit(calibrator, here, full=True).heads
        assert sum(h.share * h.probability for h in heads) == pytest.approx(stated[index])
