"""Thresholds of a calibrator of one's own: chosen on unseen queries, or not at all, and said."""

import json

import numpy as np

from app.core.calibration.assess import Sample
from app.core.calibration.document import CalibratorDocument, parse_calibrator
from app.core.calibration.judged import JudgedHits
from app.core.calibration.parts import Threshold, Thresholds
from app.core.calibration.refit import refit
from app.core.calibration.refit_heads import cross_fitted
from tests.app.core.calibration.test_refit import BASE, judged


def again(hits: JudgedHits, base: CalibratorDocument = BASE.document) -> tuple[Thresholds, str]:
    result = refit(base, hits, data="my judgements", data_sha256="1" * 64)
    assert result.text is not None
    return parse_calibrator(json.loads(result.text)).thresholds, result.thresholds


def with_weights(hits: JudgedHits, weights: np.ndarray) -> JudgedHits:
    members = {name: getattr(hits, name) for name in hits.__slots__}
    sample = Sample(hits.sample.relevant, weights, hits.sample.query)
    return JudgedHits(**{**members, "sample": sample})


def test_promises_are_made_again_on_the_judgements_and_hold_on_others():
    chosen, said = again(judged(queries=300, shift=2.0))
    assert chosen.answer is not None
    assert chosen.hits is not None
    assert (chosen.answer.target, chosen.answer.confidence, chosen.answer.n) == (0.4, 0.9, 300)
    assert chosen.answer.scope.startswith("my judgements: questions whose first hit was judged")
    assert chosen.answer.guarantee in said
    assert chosen.hits.guarantee in said
    others = judged(7, queries=300, shift=2.0)
    stated = cross_fitted(BASE.document, others)
    answered = others.first & (stated.first_hit >= chosen.answer.value)
    assert answered.sum() > 50
    assert 1.0 - others.sample.relevant[answered].mean() <= 0.4
    hidden = stated.hit[others.sample.relevant > 0.0] < chosen.hits.value
    assert hidden.mean() < 0.15


def test_the_bounds_are_those_of_the_calibrator_to_begin_with():
    promise = {"value": 0.5, "n": 9, "scope": "others", "guarantee": "some"}
    base = BASE.document.model_copy(
        update={
            "thresholds": Thresholds(
                answer=Threshold(kind="ltt", target=0.3, confidence=0.8, **promise),
                hits=Threshold(kind="crc", target=0.2, **promise),
            )
        }
    )
    chosen, _ = again(judged(queries=300, shift=2.0), base)
    assert chosen.answer is not None
    assert chosen.hits is not None
    assert (chosen.answer.target, chosen.answer.confidence) == (0.3, 0.8)
    assert chosen.hits.target == 0.2


def test_an_answer_threshold_that_the_labels_do_not_carry_is_not_stated():
    hits = judged(queries=40, shift=2.0)
    first = hits.first & (hits.sample.query < 4)
    members = {name: getattr(hits, name) for name in hits.__slots__}
    chosen, said = again(JudgedHits(**{**members, "first": first}))
    assert chosen.answer is None
    assert "No answer threshold: 4 questions" in said


def test_hits_that_were_picked_with_different_chances_promise_nothing():
    hits = judged(shift=2.0)
    weights = np.where(np.arange(400) % 2, 3.0, 1.0)
    chosen, said = again(with_weights(hits, weights))
    assert chosen == Thresholds()
    assert "picked for judging with different chances" in said
    assert again(with_weights(hits, np.full(400, 2.0)))[0] == again(hits)[0]
