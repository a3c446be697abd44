from itertools import pairwise
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from app.adapters.text_splitter import SemanticSplitter
from app.core.errors import BundleError
from app.core.types import Split
from tests.bundles import TINY_TOKENIZER

TEXT = (
    "The sea is salt. The sun is hot.\n\n"
    + "日本語の文です。これは二番目の文です。" * 20
    + "\n\n"
    + "clé 🗝️ … नमस्ते दुनिया " * 30
    + "\n\nThe end."
)

SPLITS = [
    Split(max_characters=100),
    Split(max_characters=100, overlap=50),
    Split(max_tokens=16),
    Split(max_tokens=40, overlap=10),
]


@pytest.fixture
def splitter() -> SemanticSplitter:
    return SemanticSplitter(TINY_TOKENIZER)


@pytest.mark.parametrize("split", SPLITS)
def test_pieces_cover_every_word_in_order_and_none_is_blank(splitter, split):
    spans = splitter.split(TEXT, split)
    assert spans == sorted(spans)
    assert all(TEXT[start:end].strip() for start, end in spans)
    covered = {at for start, end in spans for at in range(start, end)}
    assert all(at in covered for at, character in enumerate(TEXT) if not character.isspace())


@pytest.mark.parametrize("split", SPLITS)
def test_no_piece_is_larger_than_asked_for(splitter, split):
    tokenizer = Tokenizer.from_file(str(TINY_TOKENIZER))
    tokenizer.no_truncation()
    pieces = [TEXT[start:end] for start, end in splitter.split(TEXT, split)]
    if split.max_characters is not None:
        assert max(map(len, pieces)) <= split.max_characters
    else:
        lengths = [len(tokenizer.encode(p, add_special_tokens=False).ids) for p in pieces]
        assert max(lengths) <= split.max_tokens
        assert max(lengths) >= split.max_tokens // 2


def test_pieces_end_at_paragraphs_and_sentences_where_they_can(splitter):
    text = "One short sentence. " * 3 + "\n\n" + "Another one. " * 5
    pieces = [text[a:b] for a, b in splitter.split(text, Split(max_characters=100))]
    assert pieces == [("One short sentence. " * 3).strip(), ("Another one. " * 5).strip()]


def test_pieces_repeat_the_end_of_the_one_before_where_that_is_wanted(splitter):
    spans = splitter.split("The sea is salt. " * 30, Split(max_characters=100, overlap=40))
    assert all(later[0] < earlier[1] for earlier, later in pairwise(spans))


def test_a_short_text_is_one_piece(splitter):
    assert splitter.split("sea", Split(max_tokens=16)) == [(0, 3)]


def test_a_missing_tokenizer_is_an_error_only_for_tokens(tmp_path):
    splitter = SemanticSplitter(Path(tmp_path / "none.json"))
    assert splitter.split("sea", Split(max_characters=100)) == [(0, 3)]
    with pytest.raises(BundleError, match="none"):
        splitter.split("sea", Split(max_tokens=16))
