"""Words as numbers."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.lexical import (
    AVERAGE_TOKENS,
    SATURATION,
    passage_words,
    query_words,
    token_id,
    tokens,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wie finde ich das LOCH?", ["wie", "finde", "ich", "das", "loch"]),
        ("Straße ﬃx STRASSE", ["strasse", "ffix", "strasse"]),
        ("snake_case a1b2 3.5", ["snake", "case", "a1b2", "3", "5"]),
        ("मेरा फ़ोन", ["मेरा", "फ़ोन"]),
        ("كِتاب", ["كِتاب"]),
        ("東京都に行く", ["東京", "京都", "都に", "に行", "行く"]),
        ("猫", ["猫"]),
        ("猫。犬", ["猫", "犬"]),
        ("2023年のiPhone15プロ", ["2023", "年の", "iphone15", "プロ"]),
        ("ｶﾀｶﾅ", ["カタ", "タカ", "カナ"]),
        ("ครับผม", ["ครั", "รับ", "บผ", "ผม"]),
        ("ភាសា", ["ភាសា"]),
        ("မြန်မာ", ["မြန်", "န်မာ"]),
        ("한국어를 책", ["한국", "국어", "어를", "책"]),
        ("", []),
        ("?! …", []),
        ("\u0301", []),
    ],
)
def test_tokens_are_words_and_pairs_where_no_spaces_are(text, expected):
    assert tokens(text) == [unicodedata.normalize("NFKC", token) for token in expected]


@given(st.text())
def test_form_and_case_of_letters_make_no_difference(text):
    # Of few letters the capital has another small one: of these nothing is promised.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    assert tokens(folded) == tokens(text)
    assert tokens(unicodedata.normalize("NFD", text)) == tokens(text)


@given(st.text(), st.text())
def test_a_space_between_texts_keeps_their_tokens_apart(first, second):
    assert tokens(f"{first} {second}") == tokens(first) + tokens(second)


@given(st.text(max_size=200))
def test_weights_are_finite_bounded_and_of_ascending_ids(text):
    ids, weights = passage_words(text)
    assert ids == sorted(set(ids))
    assert all(0 <= i < 2**32 for i in ids)
    assert all(0.0 < weight < SATURATION + 1.0 for weight in weights)
    assert len(ids) == len(weights) <= len(tokens(text))


@given(st.text(max_size=200))
def test_a_passage_holds_every_word_of_itself_as_a_query(text):
    assert list(query_words(text)) == passage_words(text).ids


def test_lone_surrogates_break_nothing():
    assert passage_words("sea \ud800 sea").ids == list(query_words("sea"))


def test_a_word_weighs_more_the_more_often_it_stands_there_and_less_in_a_longer_text():
    def weight(text: str) -> float:
        ids, weights = passage_words(text)
        return dict(zip(ids, weights, strict=True))[token_id("sea")]

    filler = "other words " * 20
    assert weight("sea") < weight("sea sea") < weight("sea sea sea")
    assert weight(f"sea {filler}") < weight("sea")


def test_once_in_a_passage_of_average_length_a_word_weighs_one():
    text = " ".join(f"word{n}" for n in range(AVERAGE_TOKENS))
    assert passage_words(text).weights == pytest.approx([1.0] * AVERAGE_TOKENS)


def test_token_ids_are_the_same_for_ever():
    assert token_id("sea") == 2345255223
    assert token_id("東京") == 2451981039
    assert query_words("The sea, the SEA") == tuple(sorted({token_id("the"), token_id("sea")}))
