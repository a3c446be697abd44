"""The optional members of a calibrator document: what they may hold, and that they survive JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.core.calibration.document import CalibratorDocument, dump_calibrator, parse_calibrator
from app.core.calibration.parts import LanguageOffset, LanguageOffsets, LinearHead
from app.core.errors import CalibrationError
from tests.calibrators import calibrator_content, measured_content

SCHEMA_1 = Path(__file__).parents[3] / "fixtures" / "calibrator-schema-1.json"

finite = st.floats(allow_nan=False, allow_infinity=False)
ordinary = st.floats(-1e3, 1e3)


def reread(content: dict[str, Any]) -> CalibratorDocument:
    return parse_calibrator(json.loads(dump_calibrator(content)))


def triangle(matrix: np.ndarray) -> list[list[float]]:
    return [row[: number + 1].tolist() for number, row in enumerate(matrix)]


def test_a_document_of_the_first_days_of_schema_1_loads():
    document = parse_calibrator(json.loads(SCHEMA_1.read_text()))
    assert document.id == "0001a8422cb8"
    assert document.interval is None
    assert document.evidence is None
    assert document.thresholds.answer is None
    assert document.language_offsets == LanguageOffsets()
    assert not document.hit.covariance_matrix().any()


def test_the_optional_members_are_read():
    document = reread(measured_content())
    assert document.interval is not None
    assert document.interval.level == 0.9
    assert document.thresholds.answer is not None
    assert document.thresholds.answer.guarantee.startswith("Of the queries")
    assert document.language_offsets.of_query("de").intercept == -0.2
    assert document.evidence is not None
    assert document.evidence.reliability["same"][0].found.value == 0.1
    assert document.fit.towards == "0001a8422cb8"


@settings(deadline=None)
@given(
    st.floats(1e-9, 1e6),
    st.lists(ordinary, min_size=5, max_size=5),
    arrays(np.float64, (4, 4), elements=ordinary),
)
def test_every_number_survives_json_to_the_last_bit(slope, weights, factor):
    *others, intercept = weights
    head = {
        "features": ["score", "background", "log_corpus"],
        "coef": [slope, *others[:2]],
        "intercept": intercept,
        "covariance": triangle(factor @ factor.T),
    }
    offsets = {"query": {"de": {"intercept": others[2], "slope": abs(others[3]), "sd": slope}}}
    document = reread(calibrator_content(hit=head, language_offsets=offsets))
    assert document.hit == LinearHead.model_validate(head)
    assert document.language_offsets == LanguageOffsets.model_validate(offsets)
    again = reread(document.model_dump(mode="json", by_alias=True))
    assert again.model_dump(exclude={"id"}) == document.model_dump(exclude={"id"})


@given(st.lists(finite, min_size=1, max_size=4), finite)
def test_any_finite_parameters_are_read_as_they_were_written(coef, intercept):
    head = {"features": [str(n) for n in range(len(coef))], "coef": coef, "intercept": intercept}
    again = LinearHead.model_validate(json.loads(json.dumps(head)))
    assert list(again.coef) == coef
    assert again.intercept == intercept


def test_the_covariance_is_the_lower_triangle_made_whole():
    head = LinearHead.model_validate(
        {"features": ["score"], "coef": [1.0], "intercept": 0.0, "covariance": [[4.0], [1.0, 2.0]]}
    )
    np.testing.assert_array_equal(head.covariance_matrix(), [[4.0, 1.0], [1.0, 2.0]])
    assert head.standard_errors() == [2.0, 2.0**0.5]


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], "lower triangle"),
        ([[1.0]], "lower triangle"),
        ([[1.0], [2.0, 1.0]], "negative eigenvalue"),
        ([[-1.0], [0.0, -1.0]], "negative eigenvalue"),
        ([[float("inf")], [0.0, 1.0]], "covariance"),
    ],
)
def test_what_is_no_covariance_is_refused(covariance, message):
    head = {"features": ["score"], "coef": [1.0], "intercept": 0.0, "covariance": covariance}
    with pytest.raises(CalibrationError, match=message):
        reread(calibrator_content(hit=head))


def test_an_interval_without_covariances_is_refused():
    interval = {"level": 0.9, "method": "laplace", "clusters": "query"}
    with pytest.raises(CalibrationError, match="every head needs a covariance"):
        reread(calibrator_content(interval=interval))


@pytest.mark.parametrize(
    "offsets",
    [
        {"query": {"de": {"slope": -7.0}}, "passage": {"en": {"slope": -6.0}}},
        {"query": {"de": {"slope": -7.5}}, "passage": {"de": {"slope": -7.0}}},
        {"passage": {"th": {"slope": -12.0}}},
    ],
)
def test_offsets_that_make_a_probability_fall_with_the_score_are_refused(offsets):
    with pytest.raises(CalibrationError, match="must rise with the score"):
        reread(calibrator_content(language_offsets=offsets))


def test_offsets_of_one_language_may_cancel_each_other():
    # In same-language hits German adds -1 in all; across languages at most -5.
    offsets = {"query": {"de": {"slope": -5.0}}, "passage": {"de": {"slope": 4.0}}}
    assert reread(
        calibrator_content(language_offsets=offsets)
    ).language_offsets.lowest_slopes() == (
        -1.0,
        -5.0,
    )


def test_a_language_that_is_not_listed_adds_nothing_but_uncertainty():
    offsets = LanguageOffsets.model_validate(
        {"query": {"de": {"intercept": 1.0}}, "unlisted_query_sd": 0.4, "unlisted_passage_sd": 0.3}
    )
    assert offsets.of_query("sw") == LanguageOffset(sd=0.4)
    assert offsets.of_passage("sw") == LanguageOffset(sd=0.3)


@pytest.mark.parametrize(
    ("kind", "confidence", "message"),
    [("ltt", None, "states a confidence"), ("crc", 0.95, "states a confidence")],
)
def test_a_threshold_states_a_confidence_where_its_kind_has_one(kind, confidence, message):
    answer = {
        "kind": kind,
        "value": 0.5,
        "target": 0.1,
        "confidence": confidence,
        "n": 500,
        "scope": "s",
        "guarantee": "g",
    }
    with pytest.raises(CalibrationError, match=message):
        reread(calibrator_content(thresholds={"answer": answer}))


def test_reliability_bins_that_do_not_rise_are_refused():
    bins = [{"hits": 10, "stated": stated, "found": {"value": 0.2}} for stated in (0.3, 0.1)]
    with pytest.raises(CalibrationError, match="rising stated probability"):
        reread(calibrator_content(evidence={"data": "d", "reliability": {"all": bins}}))
