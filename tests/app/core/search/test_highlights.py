import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.search.highlights import MAX_HIGHLIGHTS, SEARCHED_CHARACTERS, highlights


@pytest.mark.parametrize(
    ("query", "text", "words"),
    [
        ("the hole", "The hole is a whole in THE tube", ["The", "hole", "THE"]),
        ("Schlauch", "der Fahrradschlauch, der Schlauch", ["Schlauch"]),
        ("हि हिन्दी", "हिन्दी में", ["हिन्दी"]),
        ("луна", "Луна тянет море", ["Луна"]),
        ("القمر", "يجذب القمر البحر", ["القمر"]),
        ("e\u0301cole", "une e\u0301cole et e\u0301colier", ["e\u0301cole"]),
        ("月", "月が海を引く 月", ["月"]),
        ("c++ (a.b)", "a b c", ["a", "b", "c"]),
        ("?!", "?!", []),
        ("moon", "der Mond", []),
    ],
)
def test_whole_words_of_the_query_are_found(query, text, words):
    assert [text[start:end] for start, end in highlights(query, text)] == words


def test_no_more_places_are_named_than_anyone_reads():
    assert len(highlights("the", "the " * 100)) == MAX_HIGHLIGHTS
    assert highlights("the", " " * SEARCHED_CHARACTERS + "the") == []


@given(st.text(max_size=80), st.text(max_size=200))
def test_places_lie_in_the_text_in_order_and_apart(query, text):
    ends = 0
    for start, end in highlights(query, text):
        assert ends <= start < end <= len(text)
        ends = end


def test_a_long_query_and_a_long_text_take_no_time_that_matters():
    highlights("warm up", "warm up")
    began = time.perf_counter()
    highlights(" ".join(f"word{n}" for n in range(1000)), "lorem ipsum " * 4000)
    assert time.perf_counter() - began < 2
