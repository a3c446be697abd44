"""A calibrator of schema 1 that was in use must load for ever, and say what it said."""

from pathlib import Path

import numpy as np
import pytest

from app.core.calibration.calibrator import Calibrator
from app.core.calibration.document import read_calibrator
from app.core.calibration.lists import ServedList

EXPECTED = [0.6633088908634209, 0.672498852709952, 0.36782679239279803, 0.6446136462568587]
ANSWERABLE = 0.34617357722699976
KEPT = Path(__file__).parents[3] / "fixtures" / "calibrator-schema-1.json"


def test_the_first_shipped_calibrator_still_says_what_it_said():
    calibrator = Calibrator(read_calibrator(KEPT))
    assert calibrator.id == "0001a8422cb8"
    stated = calibrator.calibrate(
        ServedList(
            scores=np.linspace(0.62, 0.11, 60),
            passage_languages=["de", "en", "de", "el"] * 15,
            query_posterior={"de": 0.9, "en": 0.06},
            corpus_size=12_000,
            language_sizes={"de": 2000, "en": 9000, "el": 1000},
        )
    )
    np.testing.assert_allclose(stated.probability[:4], EXPECTED, rtol=1e-12)
    assert stated.answerable == pytest.approx(ANSWERABLE, rel=1e-12)
    assert stated.source[:2] == ("mixture", "mixture")
