from typing import Any

import numpy as np
import pytest

from training.study.analysis import Contrast, FinishedCell, Resampled, contrast, estimate
from training.study.calibrators import ENGLISH, GLOBAL, METHODS, OWN
from training.study.cells import Cell
from training.study.outcomes import RETRIEVAL

pytestmark = pytest.mark.training

LANGUAGES = ("de", "en", "es")
CLUSTERS = 40
SPLIT = "article split"


def cell(seed: int, *, gap: float = 0.0, ratio: float = 1.0, noise: float = 0.0) -> FinishedCell:
    """Ten hits a question and pair, two of them relevant; ``gap`` nats a hit in every pair."""
    rng = np.random.default_rng(seed)
    shape = (CLUSTERS, len(LANGUAGES) ** 2)
    count, relevant = np.full(shape, 10.0), np.full(shape, 2.0)
    own = rng.uniform(2.0, 4.0, shape)
    loss = np.tile(own, (len(METHODS), 1, 1))
    loss[METHODS.index(ENGLISH)] = own + 10.0 * (gap + noise * rng.standard_normal(shape))
    expected = np.tile(relevant * ratio, (len(METHODS), 1, 1))
    quality = np.tile(rng.uniform(size=(CLUSTERS, len(LANGUAGES))), (len(RETRIEVAL), 1, 1))
    arrays = {
        f"{SPLIT}/count": count,
        f"{SPLIT}/relevant": relevant,
        f"{SPLIT}/expected": expected,
        f"{SPLIT}/loss": loss,
        "retrieval/sums": quality,
        "retrieval/counts": np.ones_like(quality),
    }
    sums = {name: array.astype(np.float32) for name, array in arrays.items()}
    return FinishedCell(Cell("homogeneous", 0.05, gap, seed), {}, sums)


@pytest.fixture
def resampled():
    return Resampled(LANGUAGES, "en", CLUSTERS, 300)


def everywhere(resampled: Resampled, *cells: FinishedCell) -> Any:
    return resampled.common_pairs(cells, SPLIT)


def test_the_gap_is_the_mean_loss_under_english_minus_that_under_own(resampled):
    one = cell(1, gap=0.25)
    measure = resampled.gap(SPLIT, "cross", everywhere(resampled, one))
    found = estimate([one], measure)
    assert found.value == pytest.approx(0.25, abs=1e-5)
    assert found.low == pytest.approx(found.high, abs=1e-4)


def test_english_with_itself_is_no_zero_shot_pair(resampled):
    same = resampled.in_relation("same").nonzero()[0].tolist()
    assert same == [0, 8]
    assert resampled.in_relation("cross").sum() == 6


def test_a_pair_without_a_calibrator_of_its_own_is_left_out_everywhere(resampled):
    one, other = cell(1, gap=0.25), cell(1)
    other.sums[f"{SPLIT}/loss"][METHODS.index(OWN), 3, 1] = np.nan  # de asks, en answers
    common = everywhere(resampled, one, other)
    assert np.flatnonzero(~common).tolist() == [1]
    found = contrast([(one, other)], resampled.gap(SPLIT, "cross", common), count=5)
    assert found.value == pytest.approx(0.25, abs=1e-4)
    assert found.pairs == 5


def test_replicates_of_two_cells_draw_the_same_questions(resampled):
    one = cell(1, gap=0.25, noise=0.5)
    moved = FinishedCell(one.cell, {}, dict(one.sums))
    loss = one.sums[f"{SPLIT}/loss"].copy()
    loss[METHODS.index(ENGLISH)] -= 1.0  # a tenth of a nat a hit
    moved.sums[f"{SPLIT}/loss"] = loss  # type: ignore[index]
    measure = resampled.gap(SPLIT, "cross", everywhere(resampled, one, moved))
    assert estimate([one], measure).high - estimate([one], measure).low > 0.05
    paired = contrast([(one, moved)], measure)
    assert paired.high - paired.low < 1e-4
    assert paired.value == pytest.approx(0.1, abs=1e-4)


def test_a_contrast_is_the_mean_of_its_seeds(resampled):
    pairs = [(cell(s, gap=0.1 * s), cell(s)) for s in (1, 2, 3)]
    every = [c for pair in pairs for c in pair]
    found = contrast(pairs, resampled.gap(SPLIT, "cross", everywhere(resampled, *every)))
    assert found.seeds == pytest.approx((0.1, 0.2, 0.3), abs=1e-4)
    assert found.value == pytest.approx(0.2, abs=1e-4)


def test_the_interval_covers_a_true_difference_of_nothing_about_as_often_as_it_says():
    covered = 0
    resampled = Resampled(LANGUAGES, "en", CLUSTERS, 300)
    for seed in range(60):
        one = cell(seed, noise=0.3)
        measure = resampled.gap(SPLIT, "cross", everywhere(resampled, one))
        found = estimate([one], measure)
        covered += found.low <= 0.0 <= found.high
    assert 50 <= covered <= 60


def test_the_ratio_is_expected_over_relevant(resampled):
    found = estimate([cell(1, ratio=1.5)], resampled.log_ratio(SPLIT, GLOBAL, "same"))
    assert np.exp(found.value) == pytest.approx(1.5, rel=1e-4)


def test_retrieval_is_a_mean_over_languages(resampled):
    one = cell(3)
    expected = one.sums["retrieval/sums"][0].mean(axis=0).mean()
    found = estimate([one], resampled.retrieval("mono/map"))
    assert found.value == pytest.approx(float(expected), rel=1e-5)
    assert found.low < found.value < found.high


@pytest.mark.parametrize(
    ("low", "high", "seeds", "sign"),
    [
        (0.1, 0.3, (0.1, 0.2, 0.3), 1),
        (-0.3, -0.1, (-0.1, -0.2, -0.3), -1),
        (-0.1, 0.3, (0.1, 0.2, 0.3), 0),
        (0.1, 0.3, (-0.01, 0.2, 0.3), 0),
    ],
    ids=["above", "below", "the interval holds 0", "a seed disagrees"],
)
def test_a_sign_needs_the_interval_and_every_seed(low, high, seeds, sign):
    assert Contrast(0.0, low, high, seeds).sign == sign
