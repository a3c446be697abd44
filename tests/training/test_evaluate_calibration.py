from dataclasses import replace

import numpy as np
import pytest

from tests.calibrators import make_calibrator
from tests.searching import ranked_calibrator
from tests.training.sets import parallel_set, with_random_vectors
from training.evaluate_answerable import measure_answerable, refusal, serve_without_answers
from training.evaluate_calibration import (
    OURS,
    growth,
    measure_pairs,
    ours,
    serve_all,
    serve_growing,
)
from training.report_calibration import (
    draw_growth,
    draw_languages,
    draw_refusal,
    growth_table,
    pair_table,
)

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def embedded():
    return with_random_vectors(parallel_set(30))


def test_a_set_is_served_from_growing_corpora_and_from_all_of_it(embedded):
    tables = serve_growing(embedded, (60, 90, 10_000), queries=50)
    assert list(tables) == [60, 90, len(embedded.data.passages)]
    for size, hits in tables.items():
        assert set(hits.corpus.tolist()) == {float(size)}
    asked = len(np.unique(tables[60].query))
    assert asked >= 50
    again = serve_growing(embedded, (60,), queries=50)[60]
    np.testing.assert_array_equal(again.score, tables[60].score)


def test_growth_is_told_by_relation_first_hit_and_language(embedded, tmp_path):
    tables = serve_growing(embedded, (60,), queries=50)
    found = growth(tables, {OURS: ours(ranked_calibrator())})
    whole = found[str(len(embedded.data.passages))][OURS]
    assert whole["same"]["hits"] + whole["cross"]["hits"] == len(serve_all(embedded))
    assert {name.partition("/")[0] for name in whole["languages"]} <= {"same", "cross"}
    page = growth_table(found)
    assert f"| 60 | {OURS} |" in page
    draw_growth(found, "growing", tmp_path / "growth.svg")
    assert "<svg" in (tmp_path / "growth.svg").read_text()


def test_pairs_with_few_hits_are_left_out(embedded):
    hits = serve_all(embedded)
    pairs = measure_pairs(hits, ours(ranked_calibrator())(hits))
    assert pairs
    for pair, measured in pairs.items():
        query, _, passage = pair.partition(">")
        mine = (hits.query_language == query) & (hits.passage_language == passage)
        assert measured["hits"] == mine.sum() >= 200
    assert "–" in pair_table({"de>en": pairs[next(iter(pairs))], "en>de": pairs[next(iter(pairs))]})


def test_no_answer_is_found_where_they_were_taken_out(embedded):
    without = serve_without_answers(embedded, parts=5)
    assert len(np.unique(without.query)) == len(embedded.data.queries)
    assert not without.relevant.any()
    assert (without.corpus < len(embedded.data.passages)).all()


def test_refusal_by_hand():
    found = refusal(np.array([0.9, 0.6, 0.4]), np.array([0.5, 0.1]))
    assert found["auroc"] == pytest.approx(5 / 6)
    assert found["medians"] == [0.6, pytest.approx(0.3)]
    at_half = found["curve"]["threshold"].index(0.45)
    assert found["curve"]["answered_refused"][at_half] == pytest.approx(1 / 3)
    assert found["curve"]["unanswered_refused"][at_half] == 0.5


def test_questions_with_and_without_answers_are_told_apart(embedded, tmp_path):
    near = np.stack([embedded.passages[rows].sum(axis=0) for rows in embedded.data.relevant])
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    knowing = replace(embedded, queries=near.astype(np.float32))
    head = {"features": ["score"], "coef": [20.0], "intercept": -8.0}
    measured = measure_answerable(knowing, serve_all(knowing), make_calibrator(first_hit=head))
    assert measured["auroc"] > 0.6
    assert measured["risk_coverage"]["coverage"][-1] == 1.0
    draw_refusal(measured, "refused", tmp_path / "refusal.svg")
    assert (tmp_path / "refusal.svg").stat().st_size > 1000


def test_a_line_a_language_is_drawn(tmp_path):
    diagram = {"stated": [0.1, 0.5], "observed": [0.2, 0.4], "hits": [9.0, 9.0]}
    groups = {code: {OURS: {"diagram": diagram}} for code in ("de", "el")}
    draw_languages(groups, OURS, "languages", tmp_path / "languages.svg")
    assert ">de</text>" in (tmp_path / "languages.svg").read_text()
