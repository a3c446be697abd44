import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import ngrams
from training.ngrams import GramIndex, comparable, gram_hashes, join, letters

pytestmark = pytest.mark.training

SMALL = st.text(st.sampled_from("ab c.Ä"), max_size=60)


def folded(text: Any) -> Any:
    """What is compared of a text, by the slow way."""
    return "".join(c for c in comparable(text) if unicodedata.category(c)[0] in "LMN")


@given(SMALL)
def test_letters_are_what_is_left_without_case_punctuation_and_blanks(text):
    codes, positions = letters(text)
    assert "".join(map(chr, codes)) == folded(text)
    assert [comparable(text)[k] for k in positions] == list(folded(text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, World!", "hello world"),
        ("STRASSE", "Straße"),
        ("ＡＢＣ１", "abc1"),
        ("日本、語。", "日本語"),
        ("well-known", "well known"),
    ],
)
def test_texts_that_differ_in_form_only_have_the_same_letters(one, other):
    assert letters(one)[0].tolist() == letters(other)[0].tolist()


def test_vowel_signs_and_tone_marks_are_letters():
    assert "".join(map(chr, letters("हिन्दी ที่")[0])) == "हिन्दीที่"


@given(st.lists(st.integers(0, 0x10FFFF), max_size=80), st.integers(1, 40))
def test_hashes_are_the_polynomial_of_every_run(codes, n):
    hashes = gram_hashes(np.array(codes, np.uint32), n)
    expected = []
    for start in range(len(codes) - n + 1):
        value = 0
        for code in codes[start : start + n]:
            value = (value * ngrams._BASE + code) % 2**64
        expected.append(value)
    assert hashes.tolist() == expected


@given(st.lists(SMALL, max_size=4), st.lists(SMALL, max_size=4), st.integers(2, 6))
def test_the_longest_run_of_hits_is_found_in_every_text(indexed, texts, n):
    index = GramIndex([letters(text)[0] for text in indexed], n)
    runs = index.longest_runs([letters(text)[0] for text in texts])
    grams = {f[k : k + n] for f in map(folded, indexed) for k in range(len(f) - n + 1)}
    for number, text in enumerate(map(folded, texts)):
        hits = [text[k : k + n] in grams for k in range(max(0, len(text) - n + 1))]
        longest = max(map(len, "".join(".x"[hit] for hit in hits).split(".")), default=0)
        assert (runs[number].length if number in runs else 0) == (longest and longest + n - 1)
        if number in runs:
            run = runs[number]
            assert text[run.start : run.start + n] in folded(indexed[run.text])


def test_runs_do_not_cross_from_one_text_to_the_next():
    index = GramIndex([letters("abcd")[0], letters("efgh")[0]], 4)
    assert index.longest_runs([letters("bcdefg")[0], letters("xabcdy")[0]]).keys() == {1}
    assert index.longest_runs([letters("ab")[0], letters("cd")[0]]) == {}


def test_equal_hashes_of_other_letters_are_no_hit(monkeypatch):
    monkeypatch.setattr(ngrams, "_BASE", 1)  # every permutation collides
    index = GramIndex([letters("abcd")[0]], 4)
    assert index.longest_runs([letters("dcba")[0], letters("abcd")[0]]).keys() == {1}


def test_an_index_of_nothing_finds_nothing():
    index = GramIndex([], 30)
    assert len(index) == 0
    assert index.longest_runs([letters("a" * 99)[0]]) == {}
    assert GramIndex([letters("short")[0]], 30).longest_runs([letters("a" * 99)[0]]) == {}


def test_joined_texts_end_with_a_separator():
    codes, starts = join([letters("ab")[0], letters("")[0], letters("c")[0]])
    assert codes.tolist() == [97, 98, 0, 0, 99, 0]
    assert starts.tolist() == [0, 3, 4]
