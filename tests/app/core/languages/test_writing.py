import pytest

from app.core.languages.writing import known_posterior


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
    assert known_posterior(text, posterior) == known


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
    assert known_posterior(text, posterior) == {}


def test_only_the_languages_of_another_script_are_left_out():
    assert known_posterior("kak dela", {"ru": 0.6, "id": 0.4}) == {"id": 0.4}
