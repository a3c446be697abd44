import numpy as np
import pytest
from tokenizers import Tokenizer

from tests.training.conftest import LANGUAGES, passage, sentence
from training.config import StaticModel, TransformerModel
from training.encoder import build_static, build_transformer
from training.study.encoding import TEXTS_A_FORWARD, FeatureCache, TrainedEncoder

pytestmark = pytest.mark.training

QUERIES = [sentence(language, topic, 1) for language in LANGUAGES for topic in range(100)]
PASSAGES = [passage("en", topic) for topic in range(5)]


@pytest.fixture(scope="module", params=["static", "transformer"])
def trained(request, prepared, backbone):
    if request.param == "static":
        tokenizer = Tokenizer.from_file(str(prepared.path / "tokenizer.json"))
        return build_static(StaticModel(kind="static", dim=16), tokenizer, 1)
    model = TransformerModel(
        kind="transformer", base=str(backbone), query_prefix="ask: ", passage_prefix="read: "
    )
    return build_transformer(model).eval()


def test_vectors_are_those_of_the_library(trained):
    encoder = TrainedEncoder(trained, LANGUAGES, FeatureCache())
    assert len(QUERIES) > TEXTS_A_FORWARD
    asked = trained.encode_query(QUERIES, show_progress_bar=False)
    read = trained.encode_document(PASSAGES, show_progress_bar=False)
    np.testing.assert_allclose(encoder.encode_queries(QUERIES), asked, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_passages(PASSAGES), read, atol=1e-5)
    assert encoder.spec.dim == 16


def test_a_text_is_tokenised_once_for_all_cells(trained, monkeypatch):
    cache = FeatureCache()
    first = TrainedEncoder(trained, LANGUAGES, cache).encode_queries(QUERIES)

    def refuse(_):
        raise AssertionError

    monkeypatch.setattr(trained, "preprocess", refuse)
    again = TrainedEncoder(trained, LANGUAGES, cache).encode_queries(QUERIES)
    np.testing.assert_array_equal(first, again)


def test_prefixes_are_part_of_what_is_remembered(trained):
    cache = FeatureCache()
    encoder = TrainedEncoder(trained, LANGUAGES, cache)
    asked, read = encoder.encode_queries(PASSAGES), encoder.encode_passages(PASSAGES)
    fresh = TrainedEncoder(trained, LANGUAGES, FeatureCache()).encode_passages(PASSAGES)
    np.testing.assert_array_equal(read, fresh)
    assert np.allclose(asked, read) == (encoder.spec.query_prefix == encoder.spec.passage_prefix)
