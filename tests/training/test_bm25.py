import math

import pytest

from training.bm25 import K1, B, Bm25, terms

pytestmark = pytest.mark.training


def test_words_are_folded_and_punctuation_is_dropped():
    assert terms("Der König, der KÖNIG!", "de") == ["der", "könig", "der", "könig"]


def test_vowel_signs_stay_inside_hindi_words():
    assert terms("हिन्दी भाषा", "hi") == ["हिन्दी", "भाषा"]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("zh", "北京市。", ["北京", "京市"]),
        ("ja", "水", ["水"]),
        ("th", "กขค งจ", ["กข", "ขค", "งจ"]),
    ],
)
def test_scripts_without_spaces_become_pairs_of_characters(language, text, expected):
    assert terms(text, language) == expected


def test_the_score_is_the_documented_formula():
    index = Bm25(["red house", "red red car tree", "blue sky"], "en")
    scores = index.scores(["red tree"])[0]
    mean_length = 8 / 3

    def part(tf: int, df: int, length: int) -> float:
        idf = math.log(1 + (3 - df + 0.5) / (df + 0.5))
        return idf * tf / (tf + K1 * (1 - B + B * length / mean_length))

    assert scores[0] == pytest.approx(part(1, 2, 2), rel=1e-5)
    assert scores[1] == pytest.approx(part(2, 2, 4) + part(1, 1, 4), rel=1e-5)
    assert scores[2] == 0.0


def test_words_that_no_passage_has_score_nothing():
    assert Bm25(["a b", "c"], "en").scores(["unknown words"]).tolist() == [[0.0, 0.0]]


def test_a_repeated_query_word_counts_once():
    index = Bm25(["red house", "blue sky"], "en")
    assert index.scores(["red red"]).tolist() == index.scores(["red"]).tolist()
