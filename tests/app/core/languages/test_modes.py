import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidInputError
from app.core.languages.modes import (
    MAX_WEIGHTS,
    UNLISTED_WEIGHT,
    LanguagePreference,
    accept_language_weights,
    check_weights,
)


@pytest.mark.parametrize(
    ("language", "weight"),
    [
        ("de", 1.0),
        ("de-AT", 1.0),
        ("pt-BR", 0.5),
        ("pt-PT", 0.3),
        ("pt", 0.5),  # as near to pt-BR as to pt-PT: the greater weight
        ("zh-Hant-TW", 0.8),
        ("zh-Hans", 0.2),
        ("sw", UNLISTED_WEIGHT),
        ("und", UNLISTED_WEIGHT),
    ],
)
def test_a_passage_has_the_weight_of_the_nearest_listed_language(language, weight):
    preference = LanguagePreference(
        {"de": 1.0, "pt-BR": 0.5, "pt-PT": 0.3, "zh-Hant": 0.8, "zh": 0.2}
    )
    assert preference.weight(language) == weight


def test_a_star_stands_for_languages_that_are_not_listed():
    preference = LanguagePreference({"de": 1.0, "*": 0.7})
    assert (preference.weight("de"), preference.weight("fr")) == (1.0, 0.7)


def test_weights_come_back_in_canonical_case():
    assert check_weights({"ZH-hant": 1.0, "*": 0.0}, pointer="/p") == {"zh-Hant": 1.0, "*": 0.0}


@pytest.mark.parametrize(
    ("weights", "pointer"),
    [
        ({}, "/p"),
        ({"de": 0.0}, "/p"),
        ({f"{a}{b}{c}": 1.0 for a in "abcdef" for b in "abcdef" for c in "abcdef"}, "/p"),
        ({"de": 1.5}, "/p/de"),
        ({"de": float("nan")}, "/p/de"),
        ({"not a/tag": 1.0}, "/p/not a~1tag"),
    ],
)
def test_weights_that_order_nothing_are_refused_where_they_are_wrong(weights, pointer):
    with pytest.raises(InvalidInputError) as caught:
        check_weights(weights, pointer=pointer.split("/")[0] + "/p")
    assert caught.value.pointer == pointer


@pytest.mark.parametrize(
    ("header", "weights"),
    [
        ("de", {"de": 1.0}),
        ("de-CH, de;q=0.9, en;q=0.4, *;q=0.1", {"de-CH": 1.0, "de": 0.9, "en": 0.4, "*": 0.1}),
        ("EN-gb ; Q=0.25", {"en-GB": 0.25}),
        ("en;q=0.2, en;q=0.6", {"en": 0.6}),
        ("de, ???, fr;q=x, es;q=nan, it;q=2, nl;x=1", {"de": 1.0}),
        ("*;q=0, de;q=0", {}),
        ("", {}),
    ],
)
def test_accept_language_is_read_as_far_as_it_can_be_understood(header, weights):
    assert accept_language_weights(header) == weights


@given(st.text(max_size=200))
def test_any_header_gives_weights_that_can_be_used_or_none(header):
    weights = accept_language_weights(header)
    assert len(weights) <= MAX_WEIGHTS
    if weights:
        assert check_weights(weights, pointer="/p") == weights
