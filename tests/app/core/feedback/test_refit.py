import dataclasses
import json
from datetime import date
from typing import Any

import numpy as np
import pytest

from app.core.calibration.calibrator import Calibrator
from app.core.calibration.document import parse_calibrator
from app.core.calibration.lists import HitFeatures
from app.core.feedback.labels import Labels
from app.core.feedback.moved import moved_calibrator
from app.core.feedback.refit import PULL, Proposal, propose, restated, standing_above_chance
from app.core.types import FloatArray
from tests.app.core.feedback.drawn import drawn_labels
from tests.calibrators import PIECES, make_calibrator

ACTIVE = make_calibrator()
DAY = date(2026, 11, 26)


def biased(logit, same):
    return 0.8 * logit - 1.0 + 0.4 * same


def expected_over_observed(probability: FloatArray, labels: Labels) -> float:
    return float(probability.sum() / labels.relevant.sum())


def test_500_labels_of_a_biased_corpus_mend_what_is_stated_on_unseen_ones():
    labels = drawn_labels(biased)
    held_out = drawn_labels(biased, queries=4000, seed=1)

    proposal = propose(ACTIVE.document, labels)

    assert (proposal.labels, proposal.refusal) == (500, None)
    assert expected_over_observed(held_out.probability, held_out) > 1.4
    after = restated(ACTIVE.document, held_out, proposal)
    assert 0.85 < expected_over_observed(after, held_out) < 1.15
    for rows in (held_out.same, ~held_out.same):
        assert 0.8 < after[rows].sum() / held_out.relevant[rows].sum() < 1.2
    said = proposal.agreement["all"]
    assert said.before.low > 1.15
    assert said.after.low < 1.0 < said.after.high
    assert proposal.gain is not None
    assert proposal.gain.low > 0.0
    assert proposal.pull is not None
    assert proposal.pull > PULL


def test_a_shift_that_the_gain_alone_does_not_prove_is_proposed():
    """Half of the evidence is lost in what a move costs; the pull keeps it."""
    proposal = propose(ACTIVE.document, drawn_labels(lambda z, _: z - 0.4, seed=0))

    assert proposal.refusal is None
    assert proposal.gain is not None
    assert proposal.gain.low < 0.0 < proposal.gain.value


def test_unseen_labels_pull_by_chance_as_rarely_as_is_promised():
    """Where the active calibrator holds, whatever way the fit on the others goes."""
    found = [
        propose(ACTIVE.document, drawn_labels(lambda z, _: z, queries=40, seed=seed))
        for seed in range(40)
    ]

    pulls = np.array([proposal.pull for proposal in found])
    assert np.sum(pulls > PULL) <= 2
    assert sum(proposal.refusal is None for proposal in found) <= 2
    assert np.mean(pulls) == pytest.approx(0.0, abs=0.5)


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_are_noise_are_refused(seed):
    proposal = propose(ACTIVE.document, drawn_labels(lambda z, _: 0 * z - 0.8, seed=seed))

    assert proposal.refusal is not None
    assert "noise" in proposal.refusal


def test_labels_that_rise_by_less_than_three_standard_deviations_are_refused():
    proposal = propose(ACTIVE.document, drawn_labels(lambda z, _: 0.1 * z - 0.8, seed=8))

    assert proposal.refusal is not None
    assert proposal.rise is not None
    assert 2.0 < proposal.rise <= 3.0
    assert "noise" in proposal.refusal


def test_chance_raises_labels_by_one_standard_deviation_also_where_hits_share_their_query():
    """So that three are passed by chance as rarely as is promised."""
    rng = np.random.default_rng(0)
    query = np.repeat(np.arange(60), 10)
    found = []
    for _ in range(2000):
        stated = np.repeat(rng.normal(0.0, 1.5, 60), 10) + rng.normal(0.0, 1.0, 600)
        liked = np.repeat(rng.normal(0.0, 1.5, 60), 10)
        relevant = (rng.random(600) < 1.0 / (1.0 + np.exp(-liked))).astype(np.float64)
        found.append(standing_above_chance(stated, relevant, query))

    assert np.mean(found) == pytest.approx(0.0, abs=0.1)
    assert 0.9 < np.std(found) < 1.1
    assert np.mean(np.array(found) > 3.0) < 0.005


def test_labels_of_an_encoder_that_separates_perfectly_rise_beyond_doubt():
    """There the slope itself has no standard deviation to speak of."""
    proposal = propose(ACTIVE.document, drawn_labels(lambda z, _: 40.0 * (z + 1.2)))

    assert proposal.rise is not None
    assert proposal.rise > 6.0
    assert proposal.refusal is None
    assert proposal.scale > 1.5


def test_one_probability_for_every_hit_says_nothing():
    labels = drawn_labels(biased)
    same = dataclasses.replace(labels, probability=np.full(500, 0.3))

    proposal = propose(ACTIVE.document, same)

    assert proposal.rise == pytest.approx(0.0)
    assert proposal.refusal is not None


@pytest.mark.parametrize("seed", range(3))
def test_a_calibrator_that_holds_is_left_alone(seed):
    proposal = propose(ACTIVE.document, drawn_labels(lambda z, _: z, seed=seed))

    assert proposal.refusal is not None
    assert "may as well hold" in proposal.refusal


@pytest.mark.parametrize(
    ("queries", "truth"), [(19, biased), (25, biased), (100, lambda z, _: z - 9)]
)
def test_too_few_labels_or_of_one_class_are_refused(queries, truth):
    proposal = propose(ACTIVE.document, drawn_labels(truth, queries=queries))

    assert proposal.refusal is not None
    assert "It takes 100" in proposal.refusal
    assert proposal.gain is None


def test_labels_that_cannot_be_fitted_are_refused_with_the_reason():
    labels = drawn_labels(biased, queries=100)
    one = dataclasses.replace(labels, relevant=labels.query < 4)

    proposal = propose(ACTIVE.document, one)

    assert proposal.refusal is not None


def test_a_relation_without_a_relevant_hit_has_no_ratio():
    labels = drawn_labels(biased)
    labels = dataclasses.replace(labels, relevant=labels.relevant & ~labels.same)

    assert set(propose(ACTIVE.document, labels).agreement) == {"all", "cross"}


def test_the_document_states_what_the_proposal_says():
    labels = drawn_labels(biased)
    proposal = propose(ACTIVE.document, labels)

    moved = Calibrator(
        parse_calibrator(
            json.loads(moved_calibrator(ACTIVE.document, proposal, labels, fitted=DAY))
        )
    )

    ones = np.ones(4)
    for same in (0.0, 1.0):
        hits = HitFeatures(
            score=np.array([0.2, 0.4, 0.6, 0.8]),
            background=0.2 * ones,
            log_corpus=7.0 * ones,
            same=same * ones,
            **standing(ones),
        )
        stated = dataclasses.replace(
            drawn_labels(biased, queries=1, hits=4),
            probability=ACTIVE.hit_probability(hits),
            same=np.full(4, bool(same)),
        )
        expected = restated(ACTIVE.document, stated, proposal)
        np.testing.assert_allclose(moved.hit_probability(hits), expected, atol=1e-9)
    assert moved.id != ACTIVE.id
    assert moved.document.fit.source == "feedback"
    assert moved.document.fit.towards == ACTIVE.id
    assert moved.document.fit.fitted == DAY
    measured: Any = moved.document.metrics["feedback"]
    assert measured["scale"] == proposal.scale


def test_offsets_of_languages_move_along_pieces_stay_and_guarantees_of_the_former_end():
    threshold = {"kind": "crc", "value": 0.2, "target": 0.1, "n": 9, "scope": "s", "guarantee": "g"}
    active = make_calibrator(
        language_offsets={"query": {"de": {"intercept": 0.5, "slope": 0.25, "sd": 0.1}}},
        score_pieces=PIECES,
        thresholds={"hits": threshold},
    )
    labels = drawn_labels(biased)
    proposal = propose(active.document, labels)

    moved = the_moved(active, proposal, labels).document

    assert moved.score_pieces == active.document.score_pieces
    offset = moved.language_offsets.of_query("de")
    assert offset.intercept == pytest.approx(0.5 * proposal.scale)
    assert offset.slope == pytest.approx(0.25 * proposal.scale)
    assert active.document.thresholds.hits is not None
    assert moved.thresholds.hits is None


def the_moved(active: Calibrator, proposal: Proposal, labels: Labels) -> Calibrator:
    return Calibrator(
        parse_calibrator(
            json.loads(moved_calibrator(active.document, proposal, labels, fitted=DAY))
        )
    )


def standing(ones: FloatArray) -> dict[str, FloatArray]:
    names = {f.name for f in dataclasses.fields(HitFeatures)}
    known = {"score", "background", "log_corpus", "same", "words"}
    return dict.fromkeys(names - known, 0.0 * ones)
