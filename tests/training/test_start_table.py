import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from training.config import StaticModel
from training.encoder import build_static, load_encoder, static_module
from training.errors import RunError
from training.start_table import grow, start_table

pytestmark = pytest.mark.training


def tokenizer_of(*pieces: str) -> Tokenizer:
    vocabulary = [("[UNK]", 0.0), *((piece, -float(len(pieces))) for piece in pieces)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


OLD = ("a", "b", "c", "ab")
ROWS = np.array([[0, 0], [1, 0], [0, 1], [2, 2], [5, 5]], np.float32)


def encoder_of(*pieces: str, dim: int = 2, seed: int = 0):
    return build_static(StaticModel(kind="static", dim=dim), tokenizer_of(*pieces), seed)


@pytest.fixture
def trained(tmp_path):
    encoder = encoder_of(*OLD)
    static_module(encoder).embedding.weight.data[:] = torch.from_numpy(ROWS)
    encoder.save_pretrained(str(tmp_path / "old"), create_model_card=False)
    return tmp_path / "old"


def test_a_new_subword_starts_with_the_sum_of_its_old_pieces():
    grown = grow(ROWS, tokenizer_of(*OLD), tokenizer_of("abc", "b", "ab", "z"))
    assert grown.tolist() == [[0, 0], [7, 7], [0, 1], [5, 5], [0, 0]]


def test_the_started_encoder_gives_texts_the_vectors_of_the_old_one(trained):
    new = encoder_of("a", "abc", "c")
    start_table(new, load_encoder(trained), rms=0.1)
    old = encoder_of(*OLD)
    static_module(old).embedding.weight.data[:] = torch.from_numpy(ROWS)
    texts = ["abc", "a abc", "c a"]
    np.testing.assert_allclose(new.encode(texts), old.encode(texts), atol=1e-6)


def test_the_table_gets_the_asked_size_and_unreadable_subwords_stay_random(trained):
    new, fresh = encoder_of("a", "c", "zzz"), encoder_of("a", "c", "zzz")
    start_table(new, load_encoder(trained), rms=0.1)
    table, before = (static_module(e).embedding.weight.data.numpy() for e in (new, fresh))
    assert np.sqrt(np.square(table[1:3]).mean()) == pytest.approx(0.1)
    assert table[3].tolist() == before[3].tolist()
    assert not table[0].any()


def test_another_number_of_dimensions_is_refused(trained):
    with pytest.raises(RunError, match="has 2 dimensions, the new one 3; set"):
        start_table(encoder_of("a", dim=3), load_encoder(trained), rms=0.1)


def test_a_directory_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(RunError, match="no trained encoder"):
        start_table(encoder_of("a"), load_encoder(tmp_path), rms=0.1)
