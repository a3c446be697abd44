"""The line in pieces: what is recovered of a truth that has one, and what becomes of noise."""

import json
from dataclasses import replace

import numpy as np
import pytest

from app.core.calibration.calibrator import Calibrator, sigmoid
from app.core.calibration.document import parse_calibrator
from app.core.calibration.score_pieces import ScorePieces
from app.core.errors import CalibrationError
from tests.training.test_calibrate import BINDING, INTERCEPT, TRUTH, config, simulate
from training.calibrate import calibrator_text, fit_heads, hit_data
from training.calibration_data import CalibrationHits
from training.calibration_pieces import LEAST_SLOPE, fit_pieces, split
from training.calibration_transfer import compare_pieces, transfer_table

pytestmark = pytest.mark.training

LINE = ScorePieces(knots=(0.35, 0.5), slopes=(1.6, 1.0, 0.2))
FEATURES = tuple(TRUTH)


def pieced(n: int = 60_000, line: ScorePieces = LINE) -> CalibrationHits:
    """Hits whose relevance follows TRUTH of a score that is read through a line."""
    collected = simulate(n)
    columns = collected.hits.features().columns(line)
    logit = sum(weight * columns[name] for name, weight in TRUTH.items()) + INTERCEPT
    relevant = np.random.default_rng(5).random(n) < sigmoid(np.asarray(logit))
    return replace(collected, hits=replace(collected.hits, relevant=relevant))


@pytest.fixture(scope="module")
def collected() -> CalibrationHits:
    return pieced()


def test_the_parts_of_a_score_add_up_to_it():
    score = np.linspace(-1.0, 1.0, 41)
    knots = np.array([-0.2, 0.3, 0.6])
    assert split(score, knots).shape == (4, 41)
    np.testing.assert_allclose(split(score, knots).sum(axis=0) - knots.sum(), score, atol=1e-12)


def test_a_line_in_pieces_is_recovered(collected):
    heads = fit_heads(collected, config(features=FEATURES, score_pieces=6))
    assert heads.line is not None
    assert len(heads.line.slopes) == 6
    grid = np.linspace(0.2, 0.65, 19)
    hits = collected.hits
    weight = heads.hit.head.weight("score")
    found, truth = weight * heads.line.read(grid), TRUTH["score"] * LINE.read(grid)
    shift = (found - truth).mean()
    np.testing.assert_allclose(found - shift, truth, atol=0.35)
    stated = sigmoid(heads.hit.head.logit(hits.features().columns(heads.line)))
    columns = hits.features().columns(LINE)
    logit = sum(w * columns[name] for name, w in TRUTH.items()) + INTERCEPT
    assert np.abs(stated - sigmoid(np.asarray(logit))).mean() < 0.01


def test_the_document_states_what_was_fitted(collected):
    few = collected.where(np.arange(len(collected.hits)) < 20_000)
    heads = fit_heads(few, config(score_pieces=4))
    text = calibrator_text(heads, few, binding=BINDING, data_sha256="0" * 64, measured={})
    calibrator = Calibrator(parse_calibrator(json.loads(text)))
    assert calibrator.document.score_pieces == heads.line
    columns = few.hits.features().columns(heads.line)
    np.testing.assert_allclose(
        calibrator.hit_probability(few.hits.features()),
        sigmoid(heads.hit.head.logit(columns)),
        atol=2e-4,
    )
    first = few.hits.where(few.hits.rank == 1)
    np.testing.assert_allclose(
        calibrator.first_hit_probability(first.first_hit_columns()),
        sigmoid(heads.first_hit.head.logit(first.first_hit_columns(heads.line))),
        atol=2e-4,
    )


def test_a_piece_in_which_the_score_counts_against_a_hit_is_nearly_level():
    down = pieced(20_000)
    high = down.hits.score > 0.5
    rng = np.random.default_rng(2)
    falling = rng.random(len(high)) < 0.9 - down.hits.score
    hits = replace(down.hits, relevant=np.where(high, falling, down.hits.relevant))
    data = hit_data(replace(down, hits=hits), config(features=FEATURES), None)
    line = fit_pieces(data, FEATURES, 6, (1.0,)).line
    assert line.slopes[-1] == LEAST_SLOPE
    assert min(line.slopes) == LEAST_SLOPE
    assert (np.diff(line.read(np.linspace(-1.0, 1.0, 400))) > 0.0).all()


def test_scores_that_say_the_opposite_everywhere_or_are_alike_are_refused():
    collected = simulate(5_000)
    upside_down = replace(collected.hits, score=-collected.hits.score)
    data = hit_data(replace(collected, hits=upside_down), config(), None)
    with pytest.raises(CalibrationError, match="does not rise with the score in any piece"):
        fit_pieces(data, ("score",), 3, (1.0,))
    none = replace(data, relevant=np.zeros(5_000))
    with pytest.raises(CalibrationError, match="0 relevant"):
        fit_pieces(none, ("score",), 3, (1.0,))
    alike = replace(collected.hits, score=np.full(5_000, 0.3))
    data = hit_data(replace(collected, hits=alike), config(), None)
    with pytest.raises(CalibrationError, match="the scores are all alike"):
        fit_pieces(data, ("score",), 3, (1.0,))


def test_sources_left_out_in_turn_say_what_the_pieces_are_worth(collected):
    few = collected.where(np.arange(len(collected.hits)) < 24_000)
    alike = [{"path": f"{name}.jsonl", "licence": "CC0"} for name in "ab"]
    form = config(features=FEATURES, ridges=[1.0], set=alike)
    found = compare_pieces(few, form, (1, 6))
    assert found["1"]["line"] is None
    assert len(found["6"]["line"]["slopes"]) == 6
    assert found["6"]["same"]["nll"] < found["1"]["same"]["nll"]
    assert found["6"]["same"]["sources"] == 2
    said = transfer_table(found)
    assert f"{found['6']['cross']['ece']:.4f}" in said
