"""Features in plain words, the same in the terminal and on the pages."""

import re
from pathlib import Path

import pytest

from app.core.calibration.document import (
    FIRST_HIT_FEATURES,
    HIT_FEATURES,
    HYBRID_FEATURES,
    POOLED_FEATURES,
)
from app.core.calibration.feature_words import WORDS, feature_in_words

PAGE = Path(__file__).parents[4] / "app" / "api" / "static" / "words.js"


FEATURES = {*HIT_FEATURES, *POOLED_FEATURES, *FIRST_HIT_FEATURES, *HYBRID_FEATURES}


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_every_feature_of_a_calibrator_has_words(name):
    assert not set("*_") & set(feature_in_words(name))
    assert feature_in_words(name) != name


def test_words_of_products_say_when_they_count():
    assert feature_in_words("same*score") == "similarity, if the language is the same"
    said = feature_in_words("query_language*score")
    assert said == "similarity, for the language of the question"


def test_what_is_not_known_keeps_its_name():
    assert feature_in_words("moon") == "moon"


def test_the_pages_have_the_same_words():
    table = PAGE.read_text().partition("const FEATURES = {")[2].partition("};")[0]
    assert dict(re.findall(r'(\w+): "(.*)",', table)) == dict(WORDS)
