import pytest

from app.core.languages.writing import SURE, is_unsure, known_posterior
from app.core.types import LanguageGuess


def declared(posterior: dict[str, float]) -> LanguageGuess:
    return LanguageGuess(posterior, source="declared")


def detected(posterior: dict[str, float]) -> LanguageGuess:
    return LanguageGuess(posterior, source="detected")


@pytest.mark.parametrize(
    ("text", "posterior", "known"),
    [
        ("Why is the tide high?", {"en": 0.9, "nl": 0.1}, {"en": 0.9, "nl": 0.1}),
        ("где купить iPhone", {"ru": 1.0}, {"ru": 1.0}),
        ("iPhone 15 Pro Max 多少钱", {"zh": 1.0}, {"zh": 1.0}),
        ("olá", {"pt-BR": 0.5, "pt": 0.25}, {"pt": 0.75}),
        ("123", {"ja": 1.0}, {"ja": 1.0}),
    ],
)
def test_what_is_written_as_usual_keeps_its_languages(text, posterior, known):
    assert known_posterior(text, declared(posterior)) == known


@pytest.mark.parametrize(
    ("text", "posterior"),
    [
        ("mera phone charge nahi ho raha", {"hi": 1.0}),
        ("mera phone charge nahi ho raha", {"hi-Latn": 1.0}),
        ("मेरा फोन", {"hi-Latn": 1.0}),
        ("मेरा phone charge नहीं हो रहा है", {"hi": 1.0}),
    ],
)
def test_romanised_and_mixed_queries_are_in_no_language_that_a_calibrator_knows(text, posterior):
    assert known_posterior(text, declared(posterior)) == {}


def test_only_the_languages_of_another_script_are_left_out():
    assert known_posterior("kak dela", declared({"ru": 0.6, "id": 0.4})) == {"id": 0.4}


def test_a_guess_for_latin_letters_that_is_not_sure_is_no_language():
    unsure = {"it": 0.5, "en": 0.3, "sw": 0.2}
    assert known_posterior("mera phone charge nahi ho raha", detected(unsure)) == {}
    assert known_posterior("mera phone charge nahi ho raha", declared(unsure)) == unsure


@pytest.mark.parametrize("text", ["flat tyre", "how rainbows form", "e-mail"])
def test_of_a_few_words_an_unsure_guess_stays_a_mixture(text):
    unsure = {"en": 0.4, "de": 0.3, "sw": 0.2}
    assert known_posterior(text, detected(unsure)) == unsure


def test_a_guess_that_is_sure_keeps_its_whole_posterior():
    sure = {"en": SURE, "de": 0.3}
    assert known_posterior("where do rainbows end", detected(sure)) == sure


def test_in_other_letters_an_unsure_guess_stays_a_mixture():
    kana = {"zh": 0.6, "ja": 0.4}
    assert known_posterior("東京大学", detected(kana)) == kana
    assert known_posterior("東京 Hotel", detected(kana)) == kana


@pytest.mark.parametrize(
    ("posterior", "unsure"),
    [
        ({"id": 0.4, "ms": 0.35, "en": 0.25}, False),
        ({"id": 0.4, "fi": 0.35, "en": 0.25}, True),
        ({"nb": 0.4, "pt-BR": 0.35, "pt": 0.35}, False),
        ({}, True),
    ],
)
def test_close_relatives_count_as_one_language(posterior, unsure):
    assert is_unsure(detected(posterior)) is unsure
