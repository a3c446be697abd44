import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.config import VocabularyConfig
from training.vocabulary import (
    UNKNOWN,
    UNKNOWN_ID,
    language_budgets,
    sample_corpus,
    token_table,
    tokenize,
    train_tokenizer,
)

pytestmark = pytest.mark.training

CORPUS = [
    "The river runs past the old mill and the river bends.",
    "Der Fluss fließt an der alten Mühle vorbei.",
    "Ο ποταμός ρέει δίπλα στον παλιό μύλο.",
    "النهر يجري بجانب الطاحونة القديمة",
    "الطّاحونة",
    "ISTANBUL İstanbul 1984",
] * 20
KINDS = ("unigram", "bpe", "wordpiece")


def tokenizer_of(kind: str = "unigram", max_length: int = 64, **settings: Any) -> Any:
    config = VocabularyConfig(kind=kind, size=250, **settings)
    return train_tokenizer(CORPUS, config, max_length)


@pytest.mark.parametrize("kind", KINDS)
def test_the_unknown_token_has_number_zero_and_the_size_is_kept(kind):
    tokenizer = tokenizer_of(kind)
    assert tokenizer.token_to_id(UNKNOWN) == UNKNOWN_ID == 0
    assert tokenizer.get_vocab_size() <= 250


@pytest.mark.parametrize("kind", KINDS)
def test_known_text_has_no_unknown_token_and_strange_text_only_that(kind):
    tokenizer = tokenizer_of(kind)
    assert UNKNOWN_ID not in tokenizer.encode("the river").ids
    assert set(tokenizer.encode("漢漢").ids) == {UNKNOWN_ID}


@pytest.mark.parametrize("kind", KINDS)
def test_a_frequent_word_that_is_part_of_no_other_word_is_one_token(kind):
    assert tokenizer_of(kind).encode("an der alten mühle").tokens[-1] == "mühle"


def test_the_likeliest_pieces_are_taken_and_not_the_first_merges():
    corpus = ["ab"] * 50 + ["bc"] * 40 + ["abc"] + ["a"] * 30
    config = VocabularyConfig(kind="unigram", size=16)
    tokens = train_tokenizer(corpus, config, 8).encode("abc").tokens
    assert tokens in (["a", "bc"], ["ab", "c"])
    scores = dict(json.loads(train_tokenizer(corpus, config, 8).to_str())["model"]["vocab"])
    other = {("a", "bc"): ("ab", "c"), ("ab", "c"): ("a", "bc")}[tuple(tokens)]
    assert sum(scores[t] for t in tokens) >= sum(scores[t] for t in other)


def test_no_token_is_added_at_the_ends():
    tokenizer = tokenizer_of()
    with_special = tokenizer.encode("the river").ids
    assert with_special == tokenizer.encode("the river", add_special_tokens=False).ids


def test_a_text_is_read_up_to_the_longest_length_and_never_padded():
    tokenizer = tokenizer_of(max_length=5)
    long, short = tokenizer.encode_batch(["river " * 50, "mill"])
    assert len(long.ids) == 5
    assert len(short.ids) < 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("RIVER", "river"),
        ("ποταμός", "ΠΟΤΑΜΌΣ"),
        ("الطّاحونة", "الطاحونه"),
        ("İstanbul", "istanbul"),
        ("river, mill", "river mill"),
    ],
)
def test_spellings_that_mean_the_same_are_read_alike(one, other):
    tokenizer = tokenizer_of()
    assert tokenizer.encode(one).ids == tokenizer.encode(other).ids


def test_folding_and_dropping_punctuation_can_be_turned_off():
    tokenizer = tokenizer_of(fold=False, punctuation=True)
    assert tokenizer.encode("The").ids != tokenizer.encode("the").ids
    assert tokenizer.encode("mill.").ids != tokenizer.encode("mill").ids


def test_word_starts_can_be_marked():
    assert tokenizer_of(word_starts=True).encode("the").tokens[0].startswith("▁")


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10**7), min_size=1),
    st.floats(0, 1),
)
def test_budgets_add_up_and_favour_no_language_above_its_size(sizes, exponent):
    config = VocabularyConfig(
        budget_chars=10**6, language_exponent=exponent, dense_languages=(), minor_languages=()
    )
    budgets = language_budgets(sizes, config)
    assert set(budgets) == {language for language, size in sizes.items() if size}
    assert not budgets or abs(sum(budgets.values()) - 10**6) <= len(budgets)
    ordered = sorted(budgets, key=sizes.__getitem__)
    assert all(budgets[a] <= budgets[b] + 1 for a, b in itertools.pairwise(ordered))


def test_dense_and_minor_languages_get_fewer_characters():
    config = VocabularyConfig(
        budget_chars=1000, dense_languages=("zh",), dense_factor=4, minor_languages=("fr",)
    )
    budgets = language_budgets({"en": 100, "zh": 100, "fr": 100}, config)
    assert budgets["zh"] < budgets["en"]
    assert budgets["fr"] == pytest.approx(budgets["en"] * config.minor_share, abs=1)


def test_a_sample_is_decided_by_its_seed_and_repeats_scarce_languages():
    config = VocabularyConfig(budget_chars=200, language_exponent=0.0)
    texts = {"en": ["aaaaa"], "de": [f"text {k}" for k in range(100)]}
    sample = list(sample_corpus(texts, config, seed=1))
    assert sample == list(sample_corpus(texts, config, seed=1))
    assert sample != list(sample_corpus(texts, config, seed=2))
    assert sample.count("aaaaa") == 20


def test_the_token_table_holds_what_the_tokenizer_says():
    tokenizer = tokenizer_of()
    texts = [*CORPUS[:4], "", "mill"]
    table = token_table(tokenize(tokenizer, texts))
    found = [
        table.ids[a:b].tolist() for a, b in zip(table.offsets[:-1], table.offsets[1:], strict=True)
    ]
    assert found == [tokenizer.encode(text).ids for text in texts]
    assert table.ids.dtype == np.int32
