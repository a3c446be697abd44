"""The fakes keep the promises of the ports that they stand in for."""

from __future__ import annotations

import numpy as np
import pytest

from app.core.errors import UnencodableTextError
from tests.fakes import FAKE_DIM, FakeEncoder, FakeLanguageIdentifier


def test_the_fake_encoder_gives_the_same_unit_vectors_every_time():
    texts = ["the sea is salt", "das Meer", "海"]
    vectors = FakeEncoder().encode_passages(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, FAKE_DIM)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(vectors, FakeEncoder().encode_queries(texts))
    assert FakeEncoder().encode_queries([]).shape == (0, FAKE_DIM)


def test_texts_that_share_words_are_closer_than_texts_that_do_not():
    query, near, far = FakeEncoder().encode_queries(["salt sea", "the sea is salt", "a hot sun"])
    assert query @ near > query @ far + 0.3


def test_a_text_without_words_cannot_be_encoded():
    with pytest.raises(UnencodableTextError, match="text 1"):
        FakeEncoder().encode_queries(["word", " ?! "])


def test_the_fake_identifier_weighs_the_words_it_knows():
    identify = FakeLanguageIdentifier().identify
    guess = identify("where is der Hund")
    assert guess.posterior == {"en": 0.5, "de": 0.25}
    assert (guess.code, guess.source) == ("en", "detected")
    assert identify("where is der Hund", candidates={"de", "fr"}).posterior == {"de": 0.25}
    assert (identify("zzz").code, identify("zzz").source) == ("und", "unknown")
