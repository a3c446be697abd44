from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from app.adapters.encoders import token_encoder
from app.adapters.encoders.onnx_encoder import OnnxEncoder
from app.core.errors import BundleError, EncodingError, UnencodableTextError
from tests.bundles import TINY_MODEL, TINY_TOKENIZER, tiny_spec

TEXTS = (
    "why is the sky blue?",
    "sea",
    "die gezeiten des meeres entstehen durch die anziehungskraft des mondes " * 3,
    "海洋的潮汐由月亮的引力引起",
    "приливы и отливы моря",
)
UNKNOWN = "\U0001f680\U0001f984"


def encoder(**changes) -> OnnxEncoder:
    return OnnxEncoder(tiny_spec(**changes), TINY_MODEL, TINY_TOKENIZER, threads=1)


def test_vectors_are_float32_unit_rows_in_the_order_of_the_texts():
    vectors = encoder().encode_passages(TEXTS)
    assert vectors.shape == (len(TEXTS), 16)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    backwards = encoder().encode_passages(TEXTS[::-1])
    np.testing.assert_allclose(vectors, backwards[::-1], atol=1e-6)


@pytest.mark.parametrize("tokens_a_batch", [1, 40, 10_000])
def test_a_text_has_the_same_vector_alone_and_in_a_padded_batch(monkeypatch, tokens_a_batch):
    monkeypatch.setattr(token_encoder, "TOKENS_A_BATCH", tokens_a_batch)
    together = encoder().encode_passages(TEXTS)
    alone = np.concatenate([encoder().encode_passages([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_batches_hold_every_row_once_and_stay_in_the_token_budget(monkeypatch):
    monkeypatch.setattr(token_encoder, "TOKENS_A_BATCH", 100)
    lengths = [3, 50, 0, 49, 200, 7, 7, 90]
    batches = list(token_encoder._batches(lengths))
    assert sorted(row for batch in batches for row in batch) == [0, 1, 3, 4, 5, 6, 7]
    for batch in batches:
        padded = len(batch) * max(lengths[row] for row in batch)
        assert padded <= 100 or len(batch) == 1


def test_nothing_is_encoded_to_an_empty_array():
    assert encoder().encode_queries([]).shape == (0, 16)


def test_texts_that_share_words_are_closer_than_texts_that_do_not():
    tides, moon, wheel = encoder().encode_passages(
        ["the tides of the sea", "the sea and the tides", "wie flicke ich ein loch"]
    )
    assert tides @ moon > tides @ wheel


def test_prefixes_of_the_spec_are_put_before_queries_and_passages():
    prefixed = encoder(query_prefix="why ", passage_prefix="the ")
    plain = encoder()
    np.testing.assert_allclose(
        prefixed.encode_queries(["sea"]), plain.encode_queries(["why sea"]), atol=1e-6
    )
    np.testing.assert_allclose(
        prefixed.encode_passages(["sea"]), plain.encode_passages(["the sea"]), atol=1e-6
    )


def test_text_beyond_max_length_is_not_read():
    short = encoder(max_length=4)
    np.testing.assert_allclose(
        short.encode_queries(["sea moon tides wheel " + "blue sky " * 50]),
        short.encode_queries(["sea moon tides wheel " + "puncture " * 9]),
        atol=1e-6,
    )
    assert not np.allclose(
        encoder().encode_queries(["sea moon tides wheel blue"]),
        encoder().encode_queries(["sea moon tides wheel puncture"]),
        atol=1e-3,
    )


@pytest.mark.parametrize("text", [UNKNOWN, "", " \n", "\x00"])
def test_a_text_without_known_tokens_is_an_error_that_names_it_and_never_nan(text):
    with pytest.raises(UnencodableTextError, match="Text 2 of 3"):
        encoder().encode_passages(["the sea", text, "the moon"])


def test_half_a_surrogate_pair_is_an_encoding_error():
    with pytest.raises(UnencodableTextError, match="surrogate"):
        encoder().encode_queries(["the sea \ud800"])


def test_many_threads_get_the_vectors_that_one_thread_gets():
    shared = encoder()
    expected = shared.encode_passages(TEXTS)
    with ThreadPoolExecutor(8) as pool:
        for vectors in pool.map(lambda _: shared.encode_passages(TEXTS), range(40)):
            np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_a_spec_of_another_dimension_is_refused_at_load():
    with pytest.raises(BundleError, match=r"shape \(1, 16\).*\(1, 384\)"):
        encoder(dim=384)


def test_a_graph_with_other_names_is_refused_at_load(tmp_path):
    # Same length, so the serialised graph stays well formed.
    renamed = TINY_MODEL.read_bytes().replace(b"sentence_embedding", b"sentence_embeddong")
    (tmp_path / "model.onnx").write_bytes(renamed)
    with pytest.raises(BundleError, match="'sentence_embedding' are needed"):
        OnnxEncoder(tiny_spec(), tmp_path / "model.onnx", TINY_TOKENIZER)


def test_files_that_are_missing_or_no_model_are_bundle_errors(tmp_path):
    broken = tmp_path / "broken"
    shutil.copyfile(__file__, broken)
    for model in (broken, tmp_path / "missing.onnx"):
        with pytest.raises(BundleError, match="could not be loaded"):
            OnnxEncoder(tiny_spec(), model, TINY_TOKENIZER)
    for tokenizer in (broken, tmp_path / "missing.json"):
        with pytest.raises(BundleError, match="tokenizer"):
            OnnxEncoder(tiny_spec(), TINY_MODEL, tokenizer)


def test_a_failure_of_the_runtime_is_an_encoding_error():
    broken = encoder()
    broken._tokenizer.add_tokens(["beyondthetable"])
    with pytest.raises(EncodingError, match="failed on a batch of shape"):
        broken.encode_queries(["beyondthetable"])
