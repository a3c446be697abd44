from dataclasses import replace

import pytest

from app.core.errors import StoreUnavailableError
from app.core.lexical import query_words
from app.core.types import NearestQuery, Passage, WordsQuery
from app.telemetry.metrics import Metrics
from app.telemetry.observed import ObservedEncoder, ObservedStore
from tests.app.telemetry.samples import Samples
from tests.fakes import FAKE_COLLECTION, FakeEncoder, InMemoryStore, embed


async def test_calls_of_the_store_are_timed_and_its_failures_counted():
    metrics = Metrics()
    store = ObservedStore(InMemoryStore(), metrics.store)
    await store.open(replace(FAKE_COLLECTION, words=True))
    [embedded] = embed([Passage("p", "text")])

    await store.upsert([embedded], durable=True)
    [[hit]] = await store.search([NearestQuery(embedded.vector, limit=3)])
    query = WordsQuery(query_words("text"), embedded.vector, limit=3)
    [by_words] = await store.search_words([query])
    assert store.words
    await store.health()
    await store.close()
    with pytest.raises(StoreUnavailableError):
        await store.search([NearestQuery(embedded.vector, limit=3)])

    assert hit.passage.id == by_words.hits[0].passage.id == "p"
    found = Samples.of(metrics)
    timed = "isoglot_store_request_duration_seconds_count"
    assert found.value(timed, operation="search") == 3
    assert found.value(timed, operation="upsert") == 1
    assert found.value("isoglot_store_errors_total", operation="search") == 1
    assert found.value("isoglot_store_passages") == 1


def test_passes_of_the_encoder_are_timed_by_lane():
    metrics = Metrics()
    encoder = ObservedEncoder(FakeEncoder(), metrics.encoder)

    encoder.encode_queries(["one"])
    encoder.encode_passages(["one", "two"])

    found = Samples.of(metrics)
    timed = "isoglot_encoder_forward_duration_seconds_count"
    assert found.value(timed, lane="query") == found.value(timed, lane="passage") == 1
    assert found.value("isoglot_encoder_batch_texts_sum") == 3
    assert encoder.count_tokens(["one two"]) == [2]
