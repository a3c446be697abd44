import numpy as np
import pytest

from app.core.calibration.calibrator import sigmoid
from app.core.errors import CalibrationError
from training.study.calibrators import (
    ADDITIVE,
    ENGLISH,
    GLOBAL,
    METHODS,
    MIN_OWN,
    OWN,
    SAME,
    Hits,
    fit_calibrators,
)
from training.study.outcomes import calibration_table, pair_sums
from training.study.protocols import Stated, split_by_article, transfer

pytestmark = pytest.mark.training

LANGUAGES, EN = 3, 0


def simulated(n: int = 12_000, *, tilt: float = 0.0, seed: int = 0) -> Hits:
    """Hits whose logit is 8 score - 5, less ``tilt`` across languages and for language 2."""
    rng = np.random.default_rng(seed)
    query, passage = rng.integers(LANGUAGES, size=(2, n))
    score = rng.uniform(0.0, 1.0, n)
    logit = 8.0 * score - 5.0 - tilt * ((query != passage) + 1.0 * (passage == 2))
    return Hits(
        score=score,
        raw=sigmoid(logit),
        query_language=query,
        passage_language=passage,
        relevant=rng.random(n) < sigmoid(logit),
        rank=rng.integers(1, 21, n),
        cluster=rng.integers(200, size=n),
        part=rng.integers(2, size=n),
    )


def loss(p: np.ndarray, hits: Hits) -> float:
    return float(-np.where(hits.relevant, np.log(p), np.log1p(-p)).mean())


def fitted(hits: Hits) -> dict[str, float]:
    methods = fit_calibrators(hits, None, languages=LANGUAGES, english=EN).methods
    return {name: loss(method(hits), hits) for name, method in methods.items()}


def test_without_a_difference_between_languages_all_calibrators_find_the_truth():
    hits = simulated()
    methods = fit_calibrators(hits, None, languages=LANGUAGES, english=EN).methods
    assert list(methods) == list(METHODS)
    for name in (GLOBAL, ENGLISH, SAME, ADDITIVE, OWN):
        np.testing.assert_allclose(methods[name](hits), hits.raw, atol=0.15)


def test_each_calibrator_repairs_what_it_knows():
    losses = fitted(simulated(tilt=1.0))
    assert losses[ENGLISH] > losses[GLOBAL] + 0.01
    assert losses[GLOBAL] > losses[SAME] + 0.005
    assert losses[SAME] > losses[ADDITIVE] + 0.005
    assert losses[ADDITIVE] == pytest.approx(losses[OWN], abs=0.005)


def test_english_labels_alone_decide_the_zero_shot_calibrator():
    hits = simulated(tilt=1.0)
    foreign = (hits.query_language != EN) | (hits.passage_language != EN)
    changed = Hits(
        **{n: getattr(hits, n) for n in Hits.__slots__ if n != "relevant"},
        relevant=np.where(foreign, ~hits.relevant, hits.relevant),
    )
    one, other = (
        fit_calibrators(h, None, languages=LANGUAGES, english=EN).parameters[ENGLISH]
        for h in (hits, changed)
    )
    assert one == other


def test_a_pair_with_too_few_relevant_hits_has_no_calibrator_of_its_own():
    hits = simulated()
    rare = (hits.query_language == 1) & (hits.passage_language == 2)
    kept = np.flatnonzero(rare & hits.relevant)[: MIN_OWN - 1]
    mask = ~(rare & hits.relevant)
    mask[kept] = True
    chosen = hits.where(mask)
    found = fit_calibrators(chosen, None, languages=LANGUAGES, english=EN)
    stated = found.methods[OWN](chosen)
    assert np.isnan(stated[rare[mask]]).all()
    assert np.isfinite(stated[~rare[mask]]).all()
    assert found.parameters[OWN] == LANGUAGES**2 - 1


def test_without_relevant_english_hits_there_is_no_zero_shot_calibrator():
    hits = simulated(2000)
    english = (hits.query_language == EN) & (hits.passage_language == EN)
    with pytest.raises(CalibrationError, match="relevant"):
        fit_calibrators(
            hits.where(~(english & hits.relevant)), None, languages=LANGUAGES, english=EN
        )


def test_no_hit_is_measured_with_a_calibrator_that_saw_its_article():
    hits = simulated(6_000)
    before = split_by_article(hits, languages=LANGUAGES, english=EN)
    flipped = np.where(hits.part == 1, ~hits.relevant, hits.relevant)
    changed = Hits(
        **{n: getattr(hits, n) for n in Hits.__slots__ if n != "relevant"}, relevant=flipped
    )
    after = split_by_article(changed, languages=LANGUAGES, english=EN)
    for name in (GLOBAL, ENGLISH, SAME, ADDITIVE, OWN):
        same = before.probability[name] == after.probability[name]
        assert same[hits.part == 1].all()
        assert not same[hits.part == 0].any()


def test_transfer_fits_on_the_other_hits_alone():
    stated = transfer(
        simulated(seed=1), simulated(tilt=1.0), languages=LANGUAGES, english=EN
    ).probability
    np.testing.assert_allclose(
        stated[GLOBAL], sigmoid(8.0 * simulated(tilt=1.0).score - 5.0), atol=0.05
    )


def stated_truth(hits: Hits) -> Stated:
    return Stated(hits, dict.fromkeys(METHODS, hits.raw), {})


def test_sums_by_question_and_pair_add_up_to_the_totals():
    hits = simulated(5000)
    sums = pair_sums(stated_truth(hits), clusters=200, languages=LANGUAGES)
    assert sums.count.shape == (200, 9)
    assert sums.count.sum() == 5000
    assert sums.relevant.sum() == hits.relevant.sum()
    np.testing.assert_allclose(sums.expected.sum(axis=(1, 2)), hits.raw.sum())
    np.testing.assert_allclose(sums.loss.sum(axis=(1, 2)) / 5000, loss(hits.raw, hits))
    one = (hits.cluster == 7) & (hits.query_language == 1) & (hits.passage_language == 2)
    assert sums.count[7, 1 * LANGUAGES + 2] == one.sum()


def test_the_truth_is_well_calibrated_in_every_group():
    table = calibration_table(stated_truth(simulated()), languages=LANGUAGES)
    assert set(table) == {"all", "same", "cross", "same/rank 1", "cross/rank 1"}
    assert table["same"]["hits"] + table["cross"]["hits"] == table["all"]["hits"]
    for group in ("all", "same", "cross"):
        measured = table[group]["methods"][GLOBAL]
        assert measured["expected_observed"] == pytest.approx(1.0, abs=0.06)
        assert measured["ece"] < 0.03
        assert sum(measured["diagram"]["hits"]) == table[group]["hits"]


def test_errors_that_cancel_in_the_pool_show_inside_pairs():
    hits = simulated(tilt=1.0)
    methods = fit_calibrators(hits, None, languages=LANGUAGES, english=EN).methods
    stated = Stated(hits, {GLOBAL: methods[GLOBAL](hits)}, {})
    measured = calibration_table(stated, languages=LANGUAGES)["all"]["methods"][GLOBAL]
    assert measured["ece"] < 0.03 < 0.05 < measured["ece_inside_pairs"]
