import json
from typing import Any

import pytest

from app.core.calibration.document import (
    CalibratorDocument,
    document_id,
    dump_calibrator,
    parse_calibrator,
    read_calibrator,
)
from app.core.calibration.evidence import Evidence
from app.core.errors import CalibrationError, UnsupportedSchemaError
from tests.calibrators import calibrator_content, measured_content

PAIR = {"query": "de", "passage": "en", "hits": 9, "relevant": 2}


def parsed(**changes: Any) -> CalibratorDocument:
    content = calibrator_content(**changes)
    return parse_calibrator({**content, "id": document_id(content)})


def test_what_is_dumped_is_what_is_read(tmp_path):
    path = tmp_path / "calibrator.json"
    path.write_text(dump_calibrator(calibrator_content()))
    document = read_calibrator(path)
    assert document.hit.coef == (12.0, -6.0, -0.5, 1.0, 2.0)
    assert document.id == document_id(calibrator_content())


def test_a_document_has_a_line_for_every_row_and_parameters_keep_all_their_digits():
    content = measured_content(
        interval=None,
        hit={"features": ["score"], "coef": [1e3 / 3], "intercept": -1e-17},
        evidence={"data": "d" * 200, "pairs": [PAIR] * 3 + [{**PAIR, "passage": "ε"}]},
    )
    text = dump_calibrator(content)
    assert json.loads(text) == {**content, "id": document_id(content)}
    rows = [line.strip().rstrip(",") for line in text.splitlines()]
    assert json.dumps(PAIR, separators=(",", ":")) in rows
    assert '{"query":"de","passage":"ε","hits":9,"relevant":2}' in rows


def test_figures_of_evidence_are_written_with_four_digits_and_counts_in_full():
    found = {"value": 0.00123456, "low": 0.0, "high": 1.23456}
    row = {"hits": 1234567, "stated": 0.123456, "found": found}
    written = Evidence.model_validate({"data": "d", "reliability": {"all": [row]}}).written()
    assert written["reliability"]["all"] == [
        {"hits": 1234567, "stated": 0.1235, "found": {"value": 0.001235, "low": 0.0, "high": 1.235}}
    ]
    assert Evidence.model_validate(written).written() == written


def test_the_id_does_not_depend_on_the_order_of_members_and_changes_with_any_of_them():
    content = calibrator_content()
    assert document_id(dict(reversed(content.items()))) == document_id(content)
    assert document_id(calibrator_content(depth=21)) != document_id(content)


def test_a_document_that_was_changed_after_writing_is_refused():
    document = json.loads(dump_calibrator(calibrator_content()))
    document["hit"]["intercept"] += 0.1
    with pytest.raises(CalibrationError, match="changed after it was written"):
        parse_calibrator(document)


@pytest.mark.parametrize("schema", [None, 0, 2, "1"])
def test_another_schema_is_refused_with_the_version_that_is_read(schema):
    with pytest.raises(UnsupportedSchemaError, match="reads schema 1"):
        parsed(schema=schema)


@pytest.mark.parametrize("coef", [[-12.0, 20.0], [12.0, -12.0], [0.0, 1.0]])
def test_a_probability_that_does_not_rise_with_the_score_is_refused(coef):
    head = {"features": ["score", "same*score"], "coef": coef, "intercept": 0.0}
    with pytest.raises(CalibrationError, match="must rise with the score"):
        parsed(hit=head)


@pytest.mark.parametrize("weights", [[1.0, 0.0], [-1.0, 2.0]])
def test_a_probability_that_rises_down_the_list_is_refused(weights):
    features = ["score", "log_language_rank", "same*log_language_rank"]
    with pytest.raises(CalibrationError, match="rank"):
        parsed(hit={"features": features, "coef": [5.0, *weights], "intercept": 0.0})


@pytest.mark.parametrize("weights", [[-0.1, 0.0], [0.0, 0.1]])
def test_standing_first_in_a_language_may_not_count_against_a_hit(weights):
    features = ["score", "language_lead", "language_lag"]
    with pytest.raises(CalibrationError, match="a lead must not lower"):
        parsed(hit={"features": features, "coef": [5.0, *weights], "intercept": 0.0})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hit": {"features": ["score"], "coef": [1.0, 2.0], "intercept": 0}}, "one coefficient"),
        ({"hit": {"features": ["score"] * 2, "coef": [1.0] * 2, "intercept": 0}}, "distinct"),
        ({"hit": {"features": ["rank"], "coef": [1.0], "intercept": 0}}, "unknown features: rank"),
        (
            {"hit": {"features": ["score"], "coef": [float("nan")], "intercept": 0}},
            "hit/coef/0",
        ),
        ({"background": {"from_rank": 30, "to_rank": 20}}, "to_rank"),
        ({"clip": [0.9, 0.1]}, "clip"),
        ({"trained_range": {"score": [1, 0], "corpus": [1, 2]}}, "lowest value first"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_malformed_document_is_refused_naming_the_place(changes, message):
    with pytest.raises(CalibrationError, match=message):
        parsed(**changes)


@pytest.mark.parametrize("raw", [None, [], "text", 3])
def test_anything_but_an_object_is_refused(raw):
    with pytest.raises(CalibrationError, match="JSON object"):
        parse_calibrator(raw)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", None])
def test_a_file_that_is_not_json_is_refused_naming_the_file(tmp_path, content):
    path = tmp_path / "calibrator.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CalibrationError, match=r"calibrator\.json could not be read as JSON"):
        read_calibrator(path)


def test_an_unusable_document_cannot_be_dumped():
    with pytest.raises(CalibrationError):
        dump_calibrator(calibrator_content(clip=[1, 0]))
