from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from training.config import StaticModel, TransformerModel
from training.data_prepared import TokenTable
from training.encoder import (
    StaticReader,
    TransformerReader,
    build_static,
    build_transformer,
    gather,
    keep_some,
    leave_out_unknown,
    load_encoder,
    static_module,
)
from training.errors import RunError
from training.vocabulary import UNKNOWN_ID

pytestmark = pytest.mark.training

LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=12)


def table_of(lengths: Any) -> Any:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return TokenTable(ids=np.arange(offsets[-1], dtype=np.int32), offsets=offsets)


@given(LENGTHS, st.data())
def test_gathered_tokens_are_those_of_the_texts_in_their_order(lengths, data):
    table = table_of(lengths)
    numbers = st.integers(0, len(lengths) - 1)
    texts = np.array(data.draw(st.lists(numbers, min_size=1, max_size=8)), np.int32)
    ids, found = gather(table, texts)
    expected = [table.ids[table.offsets[k] : table.offsets[k + 1]] for k in texts]
    assert ids.tolist() == np.concatenate(expected).tolist()
    assert found.tolist() == [len(e) for e in expected]


@given(LENGTHS, st.floats(0, 0.95), st.integers(0, 999))
def test_dropout_leaves_something_of_every_text_that_has_anything(lengths, dropout, seed):
    lengths = np.array(lengths, np.int64)
    kept = keep_some(lengths, dropout, np.random.default_rng(seed))
    parts = np.split(kept, np.cumsum(lengths)[:-1])
    assert [bool(p.any()) for p in parts] == [bool(n) for n in lengths]


@given(LENGTHS, st.floats(0.1, 0.9))
def test_a_reader_with_dropout_gives_offsets_that_fit_its_ids(lengths, dropout):
    texts = np.arange(len(lengths), dtype=np.int32)
    features = StaticReader(table_of(lengths), dropout)(texts, "query", np.random.default_rng(0))
    offsets, n_ids = features["offsets"], len(features["input_ids"])
    sizes = torch.diff(offsets, append=torch.tensor([n_ids]))
    assert int(sizes.sum()) == n_ids
    assert all((s > 0) == (n > 0) for s, n in zip(sizes.tolist(), lengths, strict=True))


@pytest.fixture
def tokenizer(prepared):
    return Tokenizer.from_file(str(prepared.path / "tokenizer.json"))


@pytest.fixture
def static(tokenizer):
    return build_static(StaticModel(kind="static", dim=8), tokenizer, seed=1)


def test_a_static_encoder_reads_prepared_tokens_as_it_reads_the_texts(static, prepared):
    reader = StaticReader(prepared.tokens(), 0.0)
    numbers = np.array([3, 0, 7], np.int32)
    with torch.inference_mode():
        features = reader(numbers, "query", np.random.default_rng(0))
        found = static(dict(features))["sentence_embedding"].numpy()
    texts = prepared.texts()
    np.testing.assert_allclose(found, static.encode([texts[k] for k in numbers]), atol=1e-6)


def test_the_same_seed_gives_the_same_table(tokenizer):
    model = StaticModel(kind="static", dim=8)
    one, same, other = (
        static_module(build_static(model, tokenizer, seed=s)).embedding.weight for s in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("text", ["漢漢 漢", "", "   "])
def test_a_text_without_a_known_token_is_the_zero_vector_and_never_nan(static, text):
    vector = static.encode([text])[0]
    assert vector.tolist() == [0.0] * 8


def test_unknown_characters_add_nothing_to_a_text(static, prepared):
    text = prepared.texts()[0]
    np.testing.assert_allclose(
        static.encode([text + " 漢 漢"])[0], static.encode([text])[0], atol=1e-6
    )


@pytest.mark.parametrize("sparse", [True, False])
def test_the_row_of_the_unknown_token_is_not_trained(static, sparse):
    leave_out_unknown(static, sparse=sparse)
    ids = torch.tensor([UNKNOWN_ID, 5, 6])
    features = {"input_ids": ids, "offsets": torch.tensor([0])}
    static(features)["sentence_embedding"].sum().backward()
    gradient = static[0].embedding.weight.grad
    assert gradient.is_sparse is sparse
    moved = gradient.to_dense().abs().sum(dim=1)
    assert float(moved[UNKNOWN_ID]) == 0.0
    assert float(moved[5]) > 0.0


def test_a_transformer_encoder_pools_and_normalises(backbone):
    encoder = build_transformer(TransformerModel(kind="transformer", base=str(backbone)))
    vectors = encoder.encode(["bakoti", "bakoti bakoti ruru"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_a_transformer_reader_puts_the_prefix_of_its_side_before_every_text(backbone):
    encoder = build_transformer(TransformerModel(kind="transformer", base=str(backbone)))
    texts = ["bakoti", "ruru"]
    reader = TransformerReader(encoder, texts, {"query": "ask ", "passage": ""})
    numbers, rng = np.array([1, 0], np.int32), np.random.default_rng(0)
    expected = encoder.preprocess(["ask ruru", "ask bakoti"])["input_ids"]
    assert torch.equal(reader(numbers, "query", rng)["input_ids"], expected)
    plain = encoder.preprocess(["ruru", "bakoti"])["input_ids"]
    assert torch.equal(reader(numbers, "passage", rng)["input_ids"], plain)


def test_a_backbone_that_cannot_be_loaded_is_an_error_with_advice(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunError, match="Give a local directory"):
        build_transformer(TransformerModel(kind="transformer", base=str(tmp_path)))


def test_a_directory_without_an_encoder_is_refused(tmp_path):
    with pytest.raises(RunError, match="no trained encoder"):
        load_encoder(tmp_path)
