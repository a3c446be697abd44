import json
from dataclasses import replace

import numpy as np
import pytest

from app.core.calibration.calibrator import Calibrator, sigmoid
from app.core.calibration.document import EncoderBinding, parse_calibrator
from app.core.calibration.words import log_lexical_rank
from app.core.errors import CalibrationError
from training.calibrate import (
    balanced_weights,
    calibrator_text,
    fit_heads,
    fit_hit_head,
    hit_data,
)
from training.calibration_config import CalibrationConfig, load_calibration_config
from training.calibration_data import CalibrationHits
from training.calibration_heads import FittedHead, HeadData, fit_head
from training.calibration_words import fit_with_words
from training.errors import ConfigError
from training.served import HitTable

pytestmark = pytest.mark.training

TRUTH = {
    "score": 14.0,
    "background": -10.0,
    "log_corpus": -0.3,
    "log_language_rank": -1.2,
    "same": 0.5,
    "same*score": 2.0,
}
INTERCEPT = -1.0
BINDING = EncoderBinding(name="fake", fingerprint="0" * 12, dtype="int8")


def config(**changes: object) -> CalibrationConfig:
    sources = [
        {"path": "questions.jsonl", "licence": "CC0"},
        {"path": "headings.jsonl", "licence": "CC0", "own_level": True},
    ]
    return CalibrationConfig.model_validate({"languages": ["en", "de"], "set": sources, **changes})


def simulate(n: int = 60_000, *, seed: int = 0, offset: float = 0.0) -> CalibrationHits:
    """Hits of lists of twenty whose relevance follows TRUTH; source 1 has an offset."""
    rng = np.random.default_rng(seed)
    query = np.arange(n) // 20
    lists = query[-1] + 1
    same = rng.random(n) < 0.4
    background = rng.normal(0.2, 0.05, lists)[query]
    source = (rng.random(lists) < 0.4).astype(np.int64)[query]
    hits = HitTable(
        score=background + rng.gamma(2.0, 0.08, n),
        background=background,
        gap=rng.gamma(1.0, 0.02, n),
        corpus=rng.choice([250.0, 1000.0, 16000.0], lists)[query],
        log_language_corpus=np.log(rng.choice([50.0, 200.0], n)),
        log_language_rank=np.log(rng.integers(1, 8, n)),
        language_lead=np.zeros(n),
        language_lag=np.zeros(n),
        same=same,
        relevant=np.zeros(n, dtype=bool),
        rank=np.arange(n) % 20 + 1,
        query_language=np.full(n, "en"),
        passage_language=np.where(same, "en", "de"),
        query=query,
        cluster=query // 3,
    )
    columns = hits.features().columns(None)
    logit = sum(weight * columns[name] for name, weight in TRUTH.items()) + INTERCEPT
    relevant = rng.random(n) < sigmoid(np.asarray(logit + offset * source))
    return CalibrationHits(
        replace(hits, relevant=relevant),
        source,
        answered=np.ones(n, dtype=bool),
        queries=int(lists),
        corpus_sizes=(250, 1000, 16000),
    )


def test_known_weights_are_recovered_from_simulated_lists():
    fitted = fit_heads(simulate(), config(features=tuple(TRUTH))).hit
    for name, weight in TRUTH.items():
        assert fitted.head.weight(name) == pytest.approx(weight, abs=0.15 * abs(weight) + 0.12)
    assert fitted.fit.gradient < 1e-8


def test_a_level_of_its_own_does_not_move_the_level_that_is_served():
    collected = simulate(offset=2.0)
    served = fit_heads(collected, config(features=tuple(TRUTH))).hit
    asked = collected.source == 0
    hits = collected.hits.where(asked)
    stated = sigmoid(served.head.logit(hits.features().columns(None))).sum()
    assert stated == pytest.approx(hits.relevant.sum(), rel=0.05)
    assert served.fit.coef[len(TRUTH)] == pytest.approx(2.0, abs=0.7)


def test_slopes_of_a_source_with_a_level_of_its_own_are_not_served():
    collected = simulate()
    headings = collected.source == 1
    noise = np.random.default_rng(1).random(len(headings)) < collected.hits.relevant.mean()
    coarse = replace(collected.hits, relevant=np.where(headings, noise, collected.hits.relevant))
    served = fit_heads(replace(collected, hits=coarse), config(features=tuple(TRUTH))).hit
    assert served.head.weight("score") == pytest.approx(TRUTH["score"], rel=0.15)
    assert served.head.weight("log_language_rank") == pytest.approx(-1.2, abs=0.15)


def test_the_document_loads_and_its_probabilities_are_those_of_the_fit():
    collected = simulate(10_000)
    heads = fit_heads(collected, config())
    text = calibrator_text(
        heads, collected, binding=BINDING, data_sha256="0" * 64, measured={"metrics": {"note": 1}}
    )
    calibrator = Calibrator(parse_calibrator(json.loads(text)))
    columns = collected.hits.features().columns(None)
    np.testing.assert_allclose(
        calibrator.hit_probability(collected.hits.features()),
        sigmoid(heads.hit.head.logit(columns)),
        atol=2e-4,
    )
    facts = calibrator.document.fit
    assert facts.relevant == collected.hits.relevant.sum()
    assert facts.nll[1] < facts.nll[0]
    assert facts.languages == ("de", "en")
    assert calibrator.document.trained_range.corpus == (250.0, 16000.0)


def test_a_lead_and_a_lag_that_say_the_opposite_are_left_out():
    collected = simulate(10_000)
    relevant = collected.hits.relevant
    against = replace(
        collected.hits,
        language_lead=np.where(relevant, 0.0, 0.1),
        language_lag=np.where(relevant, 0.1, 0.0),
    )
    fitted = fit_heads(replace(collected, hits=against), config()).hit
    assert not {"language_lead", "language_lag"} & set(fitted.head.features)
    assert fitted.head.weight("score") == pytest.approx(TRUTH["score"], rel=0.25)


def test_scores_that_say_the_opposite_are_refused():
    collected = simulate(10_000)
    hits = replace(collected.hits, score=-collected.hits.score)
    upside_down = replace(collected, hits=hits)
    with pytest.raises(CalibrationError, match="does not rise with the score"):
        fit_head(hit_data(upside_down, config(), None), ("score",), (1.0,))


def test_hits_of_one_class_are_refused():
    collected = simulate(2_000)
    only = collected.hits.relevant
    none = collected.where(~only)
    with pytest.raises(CalibrationError, match="0 relevant"):
        fit_heads(none, config())


def test_no_hit_at_all_is_refused():
    collected = simulate(2_000)
    nothing = np.zeros(2_000, dtype=bool)
    empty = collected.where(nothing)
    with pytest.raises(CalibrationError, match="No judged hit"):
        fit_heads(empty, config())


def test_lists_without_an_answer_move_the_first_hit_head_alone():
    collected = simulate(20_000)
    unanswered = np.zeros(20_000, dtype=bool)
    unanswered[:6_000] = True
    hits = replace(collected.hits, relevant=collected.hits.relevant & ~unanswered)
    asked_in_vain = replace(collected, hits=hits, answered=~unanswered)
    plain = fit_heads(collected.where(~unanswered), config())
    fitted = fit_heads(asked_in_vain, config())
    assert fitted.hit.head == plain.hit.head
    assert fitted.pooled.head == plain.pooled.head
    assert fitted.first_hit.head != plain.first_hit.head


def test_every_source_weighs_the_same_in_each_relation():
    source = np.array([0] * 90 + [1] * 10)
    same = np.array([True, False] * 50)
    weights = balanced_weights(source, same)
    assert weights.mean() == pytest.approx(1.0)
    sums = [weights[(source == s) & (same == r)].sum() for s in (0, 1) for r in (True, False)]
    np.testing.assert_allclose(sums, np.full(4, 25.0))


def test_cross_validation_prefers_the_ridge_that_predicts_new_documents():
    collected = simulate(4_000)
    data = hit_data(collected, config(), None)
    fitted = fit_head(data, tuple(TRUTH), (1.0, 1e6))
    assert fitted.ridge == 1.0
    assert fitted.cross_validated_nll[1.0] < fitted.cross_validated_nll[1e6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("languages = [", "not valid TOML"),
        ('languages = ["en"]\nset = []', "set"),
        ('languages = ["en"]\ncolour = 1\n[[set]]\npath = "a"\nlicence = "b"', "colour"),
        (
            'languages = ["en"]\ncorpus_sizes = [5, 2]\n[[set]]\npath = "a"\nlicence = "b"',
            "ascend",
        ),
        (
            'languages = ["en"]\nfeatures = ["luck"]\n[[set]]\npath = "a"\nlicence = "b"',
            "unknown features: luck",
        ),
    ],
)
def test_a_configuration_that_cannot_be_used_says_why(tmp_path, text, message):
    path = tmp_path / "calibration.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_calibration_config(path)


def hybrid_head(*, upside_down: bool = False) -> tuple[HeadData, FittedHead, FittedHead]:
    """Same-language rows, a head without words, and the one that words were added to."""
    collected = simulate(20_000)
    settings = config(features=tuple(TRUTH))
    base = fit_hit_head(collected, settings)[0]
    own = collected.where(collected.hits.same & (collected.source == 0))
    data = hit_data(own, settings, None)
    # Relevant hits rank higher by words; where they say it all, lower scores are left to say less.
    rank = np.where(data.relevant > 0.0, 1, 40) if upside_down else 3 - 2 * own.hits.relevant
    columns = dict(data.columns)
    if upside_down:
        columns["score"] = columns["score"] - 2.0 * data.relevant
    words = {"log_lexical_rank": log_lexical_rank(np.asarray(rank) + np.arange(len(rank)) % 3)}
    data = replace(data, columns={**columns, **words})
    return data, base, fit_with_words(base, data, (1.0,))


def test_words_are_added_within_one_language_and_nowhere_else():
    data, base, head = hybrid_head()
    names = [name for name in TRUTH if "same" not in name]
    cross = [head.head.weight(name) for name in names]
    assert cross == pytest.approx([base.head.weight(name) for name in names])
    assert head.head.intercept == pytest.approx(base.head.intercept)
    assert head.head.weight("log_lexical_rank") == 0.0
    assert head.head.weight("same*log_lexical_rank") < -0.3
    products = {f"same*{name}": values for name, values in data.columns.items()}
    stated = sigmoid(head.head.logit({**data.columns, **products}))
    assert stated.sum() == pytest.approx(data.relevant.sum(), rel=0.02)


def test_how_well_the_parameters_are_known_is_that_of_both_fits():
    _, base, head = hybrid_head()
    names = head.head.features
    whole, own = head.head.covariance_matrix(), base.head.covariance_matrix()
    score = names.index("score"), base.head.features.index("score")
    assert whole[score[0], score[0]] == pytest.approx(own[score[1], score[1]])
    product = names.index("same*score")
    assert whole[product, product] > whole[score[0], score[0]]
    assert whole[product, score[0]] == pytest.approx(-own[score[1], score[1]])


def test_where_words_say_it_all_the_laws_still_hold():
    _, _, head = hybrid_head(upside_down=True)
    assert head.head.weight("score") + head.head.weight("same*score") > 0.0
    assert head.head.weight("same*log_lexical_rank") <= 0.0
