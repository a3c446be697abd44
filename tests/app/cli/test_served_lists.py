"""Judged hits of served lists: what a fit is given is what the calibrator reads."""

import numpy as np
import pytest

from app.cli.calibrating.judgements import JudgedQuery
from app.cli.calibrating.served_lists import QueryList, judged_hits
from app.core.calibration.lists import ServedList
from app.core.calibration.refit_heads import squash
from tests.calibrators import PIECES, make_calibrator

SCORES = np.linspace(0.9, 0.0, 40)
IDS = [f"p{number}" for number in range(40)]


def listed() -> QueryList:
    labels = {name: number < 3 for number, name in enumerate(IDS)}
    served = ServedList(SCORES, ["en", "de"] * 20, {"en": 1.0}, 500, {"en": 300, "de": 200})
    return QueryList(JudgedQuery("tide", "en", labels), IDS, ["tide"] * 40, served)


@pytest.mark.parametrize("pieces", [None, PIECES])
def test_the_heads_state_of_the_columns_what_the_calibrator_states(pieces):
    calibrator = make_calibrator(score_pieces=pieces)
    hits = judged_hits(calibrator, [listed()], complete=False)
    document = calibrator.document
    np.testing.assert_allclose(squash(document, document.hit.logit(hits.columns)), hits.stated)
    np.testing.assert_array_equal(hits.scores, SCORES[: document.depth])
    first = calibrator.calibrate(listed().served).answerable
    stated = squash(document, document.first_hit.logit(hits.columns))[0]
    assert stated == pytest.approx(first, abs=1e-12)
