from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from app.core.encoder_spec import EncoderSpec
from tests.fakes import FAKE_ENCODER_SPEC as SPEC


@pytest.mark.parametrize(
    "change",
    [
        {"revision": "1" * 64},
        {"dim": 33},
        {"pooling": "cls"},
        {"max_length": 65},
        {"query_prefix": "query: "},
        {"passage_prefix": "passage: "},
        {"base_model": "other"},
        {"normalize": False},
    ],
)
def test_anything_that_changes_a_score_changes_the_fingerprint(change):
    assert replace(SPEC, **change).fingerprint() != SPEC.fingerprint()


@pytest.mark.parametrize("change", [{"name": "other"}, {"languages": ()}, {"dtype": "float16"}])
def test_what_only_describes_does_not_change_the_fingerprint(change):
    assert replace(SPEC, **change).fingerprint() == SPEC.fingerprint()


def test_prefixes_are_put_before_queries_and_passages():
    spec = replace(SPEC, query_prefix="query: ", passage_prefix="passage: ")
    assert spec.as_queries(["a", "b"]) == ["query: a", "query: b"]
    assert spec.as_passages(["a"]) == ["passage: a"]


def test_the_json_form_names_every_member():
    assert SPEC.to_json()["languages"] == ["de", "en", "es", "fr"]
    assert TypeAdapter(EncoderSpec).validate_python(SPEC.to_json()) == SPEC
