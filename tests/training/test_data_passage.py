import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data_passage import answer_sentence, cut_passage, cut_text, sentence_spans

pytestmark = pytest.mark.training

LANGUAGES = st.sampled_from(["en", "de", "th", "zh", "ja", "hi"])
TEXTS = st.text(st.sampled_from("abä漢ก 。.!?\n"), max_size=400)

LONG = (
    "The first sentence of this passage says nothing of use. "
    "The second one names the river Oder and its source. "
    "The third sentence talks about boats that go up and down. "
    "The fourth one ends the passage with some more words."
)


@given(TEXTS, LANGUAGES)
def test_sentences_are_in_order_and_cover_everything_but_white_space(text, language):
    spans = sentence_spans(text, language)
    assert all(start < end for start, end in spans)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    covered = {k for start, end in spans for k in range(start, end)}
    assert all(k in covered for k, character in enumerate(text) if not character.isspace())


@given(TEXTS, LANGUAGES, st.integers(1, 120), st.data())
def test_a_cut_passage_is_short_a_part_of_the_passage_and_holds_the_answer(
    text, language, limit, data
):
    visible = [k for k, character in enumerate(text) if not character.isspace()]
    start = data.draw(st.sampled_from(visible)) if visible else None
    cut = cut_passage(text, start, limit, language)
    assert len(cut) <= limit
    assert cut in text
    # The character itself, wherever the cut stands in the passage.
    assert start is None or any(
        begin <= start < begin + len(cut)
        for begin in range(len(text))
        if text.startswith(cut, begin)
    )


@given(TEXTS, st.integers(1, 80))
def test_a_cut_text_is_its_beginning(text, limit):
    cut = cut_text(text, limit)
    assert text.startswith(cut)
    assert len(cut) <= limit
    assert len(cut) == len(text) or len(text) > limit


def test_a_short_passage_is_left_as_it_is():
    assert cut_passage("Short one. Two.", 3, 200, "en") == "Short one. Two."


def test_a_long_passage_keeps_whole_sentences_around_the_answer():
    cut = cut_passage(LONG, LONG.index("Oder"), 115, "en")
    assert cut == (
        "The second one names the river Oder and its source. "
        "The third sentence talks about boats that go up and down."
    )


def test_the_answer_is_found_by_position_and_not_by_its_words():
    text = (
        "In 1920 it began. " * 3 + "Much later, in 1920 again, the bridge over the river fell down."
    )
    cut = cut_passage(text, text.rindex("1920"), 70, "en")
    assert cut.startswith("Much later")


def test_without_an_answer_the_beginning_is_kept():
    assert cut_passage(LONG, None, 60, "en").startswith("The first sentence")


def test_the_answer_sentence_is_the_one_that_holds_the_offset():
    sentence = answer_sentence(LONG, LONG.index("boats"), 200, "en")
    assert sentence == "The third sentence talks about boats that go up and down."


def test_chinese_sentences_end_without_a_space():
    text = "这是第一句话，它说了一些没有用的东西。这是第二句话，它说的是奥得河的源头在哪里。"
    assert [text[a:b] for a, b in sentence_spans(text, "zh")] == [text[:19], text[19:]]
