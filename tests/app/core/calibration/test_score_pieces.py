"""The line in pieces that a calibrator reads the score through, and the laws with it."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.core.calibration.calibrator import Calibrator, sigmoid
from app.core.calibration.document import dump_calibrator, parse_calibrator
from app.core.calibration.explanation import HitPosition, explain_hit, score_offsets
from app.core.calibration.lists import HitFeatures, ServedList
from app.core.calibration.score_pieces import ScorePieces
from app.core.calibration.standing import LanguageStanding
from app.core.errors import CalibrationError
from tests.calibrators import PIECES, make_calibrator, measured_content
from tests.searching import RANKED

cosines = st.floats(-1.0, 1.0)
lines = st.integers(1, 8).flatmap(
    lambda n: st.builds(
        lambda knots, slopes: ScorePieces(knots=tuple(sorted(knots)), slopes=tuple(slopes)),
        st.sets(st.integers(-90, 90).map(lambda k: k / 100), min_size=n, max_size=n),
        st.lists(st.floats(0.01, 9.0), min_size=n + 1, max_size=n + 1),
    )
)
LINE = ScorePieces(knots=(0.2, 0.5), slopes=(2.0, 0.5, 0.25))
PIECED = make_calibrator(hit=RANKED, score_pieces=PIECES)


def served(scores: list[float], languages: list[str], more: int = 0) -> ServedList:
    return ServedList(
        scores=np.array(sorted(scores, reverse=True)),
        passage_languages=languages,
        query_posterior={"en": 0.7, "de": 0.2},
        corpus_size=len(scores) + more,
        language_sizes={},
    )


def test_a_score_counts_as_much_as_the_slopes_on_the_way_to_it_say():
    read = LINE.read(np.array([0.2, 0.1, -1.0, 0.3, 0.5, 1.0]))
    expected = [0.2, 0.2 - 0.2, 0.2 - 2.4, 0.2 + 0.05, 0.2 + 0.15, 0.2 + 0.15 + 0.125]
    np.testing.assert_allclose(read, expected, rtol=1e-12)


@given(lines, cosines, st.floats(1e-4, 0.5))
def test_a_higher_score_is_read_as_more(line, score, step):
    low, high = line.read(np.array([score, score + step]))
    assert low < high


@given(lines, cosines)
def test_what_was_read_can_be_taken_back(line, score):
    back = line.unread(line.read(np.array([score])))[0]
    assert back == pytest.approx(score, abs=1e-9)


@given(cosines)
def test_slopes_of_one_leave_a_score_as_it_is(score):
    line = ScorePieces(knots=(-0.3, 0.4), slopes=(1.0, 1.0, 1.0))
    assert line.read(np.array([score]))[0] == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"knots": []}, "knots"),
        ({"knots": [0.5, 0.2]}, "knots must ascend"),
        ({"knots": [0.2, 0.2]}, "knots must ascend"),
        ({"knots": [0.2, 3.0]}, "knots must ascend, between -2 and 2"),
        ({"knots": [0.2, float("nan")]}, "finite number"),
        ({"slopes": [1.0, 1.0]}, "one more than knots"),
        ({"slopes": [1.0, 0.0, 1.0]}, "greater than 0"),
        ({"slopes": [1.0, -0.1, 1.0]}, "greater than 0"),
        ({"slopes": [1000.0, 1e-17, 1.0]}, "a slope vanishes"),
        ({"slopes": [1e308, 1.0, 1.0]}, "less than or equal to 1000"),
        ({"slopes": [1.0, float("inf"), 1.0]}, "finite number"),
    ],
)
def test_a_line_that_does_not_rise_or_is_none_is_refused(changes, message):
    line = {"knots": [0.2, 0.5], "slopes": [1.0, 1.0, 1.0], **changes}
    with pytest.raises(ValidationError, match=message):
        ScorePieces.model_validate(line)
    content = {**measured_content(), "score_pieces": line}
    with pytest.raises((CalibrationError, ValueError), match=message):
        dump_calibrator(content)


@given(lines)
def test_a_document_with_pieces_comes_back_to_the_last_bit(line):
    content = measured_content(score_pieces=line.model_dump(mode="json"))
    text = dump_calibrator(content)
    document = parse_calibrator(json.loads(text))
    assert document.score_pieces == line
    assert document.written["score_pieces"] == line.model_dump(mode="json")
    assert parse_calibrator(document.written) == document


@given(
    cosines,
    st.floats(1e-4, 0.5),
    st.floats(-0.2, 0.9),
    st.integers(1, 10_000_000),
    st.sampled_from([0.0, 1.0]),
)
def test_probability_rises_strictly_with_the_score_all_else_equal(
    score, step, background, corpus, same
):
    hits = HitFeatures(
        np.array([score, score + step]),
        *(np.full(2, value) for value in (background, np.log(corpus), 0.0, 0.0, 0.0, 0.0, same)),
    )
    for probability in (PIECED.hit_probability(hits), PIECED.pooled_probability(hits)):
        assert probability[0] < probability[1]


@given(st.lists(cosines, min_size=2, max_size=70), st.integers(0, 10_000))
def test_a_probability_never_rises_down_the_hits_of_a_language(found, more):
    languages = [("en", "de")[n % 2] for n in range(len(found))]
    stated = PIECED.calibrate(served(found, languages, more)).probability
    for start in (0, 1):
        assert (np.diff(stated[start::2]) <= 1e-12).all()


@given(st.lists(cosines, min_size=1, max_size=70), st.integers(0, 10_000))
def test_slopes_of_one_state_what_no_pieces_state(found, more):
    languages = [("en", "de", "und")[n % 3] for n in range(len(found))]
    straight = {"knots": [0.1, 0.6], "slopes": [1.0, 1.0, 1.0]}
    content = measured_content(hit={**measured_content()["hit"]})
    plain = make_calibrator(**content).calibrate(served(found, languages, more))
    pieced = make_calibrator(**{**content, "score_pieces": straight}).calibrate(
        served(found, languages, more)
    )
    np.testing.assert_allclose(pieced.probability, plain.probability, rtol=1e-9)
    assert pieced.interval is not None
    assert plain.interval is not None
    np.testing.assert_allclose(pieced.interval, plain.interval, rtol=1e-9)
    assert pieced.answerable == pytest.approx(plain.answerable, rel=1e-9)


def test_the_logit_is_the_documented_formula_of_the_score_that_was_read():
    line = {"knots": [0.2, 0.5], "slopes": [2.0, 0.5, 0.25]}
    calibrator = make_calibrator(score_pieces=line)
    read = float(LINE.read(np.array([0.6]))[0])
    hits = HitFeatures(*(np.array([v]) for v in (0.6, 0.2, np.log(500.0), 0, 0, 0, 0, 1.0)))
    logit = 12 * read - 6 * 0.2 - 0.5 * np.log(500.0) + 1.0 + 2 * read - 3.0
    low, high = calibrator.document.clip
    expected = low + (high - low) * float(sigmoid(np.array(logit)))
    assert calibrator.hit_probability(hits)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("posterior", [{"en": 1.0}, {"de": 0.6, "en": 0.2}, {}])
def test_the_explanation_has_one_line_for_the_score_and_adds_up(posterior):
    content: dict[str, Any] = measured_content(score_pieces=PIECES)
    calibrator = make_calibrator(**content)
    scores = np.linspace(0.8, 0.05, 40)
    listed = ServedList(scores, ["en", "de"] * 20, posterior, 4000, {"en": 900, "de": 70})
    stated = calibrator.calibrate(listed)
    background = float(scores[20:].mean())
    for index in (0, 3, 17, 39):
        hit = HitPosition(
            float(scores[index]),
            listed.passage_languages[index],
            stated.standings.of(index),
            background,
            4000,
            posterior,
        )
        heads = explain_hit(calibrator, hit, full=True).heads
        assert sum(h.share * h.probability for h in heads) == pytest.approx(
            float(stated.probability[index]), abs=1e-12
        )
        for head in heads:
            assert [t.feature for t in head.terms].count("score") == 1
            assert not [t for t in head.terms if ":" in t.feature]
            added = sum(t.contribution for t in head.terms)
            assert head.intercept + added == pytest.approx(head.logit, abs=1e-12)


def test_the_first_hits_head_reads_the_score_through_the_pieces_too():
    stated = PIECED.calibrate(ServedList(np.array([0.8]), ["en"], {"en": 1.0}, 1, {}))
    columns = {
        "score": np.array([0.8]),
        "gap": np.array([0.0]),
        "background": np.array([0.8]),
        "log_corpus": np.array([0.0]),
        "same": np.array([1.0]),
    }
    assert stated.answerable == pytest.approx(
        float(PIECED.first_hit_probability(columns)[0]), abs=1e-12
    )
    straight = make_calibrator(hit=RANKED)
    assert stated.answerable != straight.first_hit_probability(columns)[0]


@given(st.floats(0.1, 0.9), st.integers(1, 60))
def test_a_same_language_hit_lower_by_the_offset_is_equally_probable(score, rank):
    calibrator: Calibrator = PIECED
    standing = LanguageStanding(rank=rank, lead=0.0, lag=0.05, size=700)
    here = HitPosition(score, "en", standing, 0.2, 5000, {})
    offset = float(score_offsets(calibrator, [here], "de")[0])
    there = HitPosition(score - offset, "en", standing, 0.2, 5000, {})
    cross = explain_hit(calibrator, HitPosition(**_as(here, {"de": 1.0})), full=True).heads[0]
    same = explain_hit(calibrator, HitPosition(**_as(there, {"en": 1.0})), full=True).heads[0]
    assert (cross.head, same.head) == ("cross", "same")
    assert cross.logit == pytest.approx(same.logit, abs=1e-9)


def _as(hit: HitPosition, posterior: dict[str, float]) -> dict[str, Any]:
    members = {name: getattr(hit, name) for name in HitPosition.__slots__}
    return {**members, "query_posterior": posterior}
