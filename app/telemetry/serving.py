"""Times the encoder and the store."""

from __future__ import annotations

from app.telemetry import catalogue
from app.telemetry.instruments import Instruments
from app.telemetry.labels import CACHE_RESULTS, ENGINES, LANES, STORE_OPERATIONS, Lane


class EncoderMetrics:
    """Records the queue in front of the encoder, its passes and the cache of embeddings."""

    def __init__(self, instruments: Instruments) -> None:
        self._queue_tokens = {
            lane: instruments.gauge(catalogue.QUEUE_TOKENS, lane) for lane in LANES
        }
        self._queue_wait = {
            lane: instruments.distribution(catalogue.QUEUE_WAIT, lane) for lane in LANES
        }
        self._refused = {lane: instruments.counter(catalogue.QUEUE_REFUSED, lane) for lane in LANES}
        self._forward = {
            lane: instruments.distribution(catalogue.FORWARD_DURATION, lane) for lane in LANES
        }
        self._batch_texts = instruments.distribution(catalogue.BATCH_TEXTS)
        self._cache = {
            result: instruments.counter(catalogue.CACHE_REQUESTS, result)
            for result in CACHE_RESULTS
        }
        self._engines = {
            engine: instruments.gauge(catalogue.ENCODER_ENGINE, engine) for engine in ENGINES
        }
        self._cache_bytes = instruments.gauge(catalogue.CACHE_BYTES)

    def computed_by(self, engine: str) -> None:
        """State what computes the encoder."""
        for known, gauge in self._engines.items():
            gauge.set(known == engine)

    def queued(self, lane: Lane, tokens: int) -> None:
        """State how many tokens wait in a lane now."""
        self._queue_tokens[lane].set(tokens)

    def waited(self, lane: Lane, seconds: float) -> None:
        """Record how long a text waited."""
        self._queue_wait[lane].observe(seconds)

    def refused(self, lane: Lane) -> None:
        """Count a request that found the queue full."""
        self._refused[lane].inc()

    def encoded(self, lane: Lane, *, texts: int, seconds: float) -> None:
        """Record one pass: how many texts it read, and how long it took."""
        self._forward[lane].observe(seconds)
        self._batch_texts.observe(texts)

    def looked_up(self, *, hit: bool) -> None:
        """Count a look-up in the cache of query embeddings."""
        self._cache["hit" if hit else "miss"].inc()

    def cached(self, size: int) -> None:
        """State how many bytes the cache holds now."""
        self._cache_bytes.set(size)


class StoreMetrics:
    """Records the calls of the passage store, and what goes into it."""

    def __init__(self, instruments: Instruments) -> None:
        self._duration = {
            operation: instruments.distribution(catalogue.STORE_DURATION, operation)
            for operation in STORE_OPERATIONS
        }
        self._errors = {
            operation: instruments.counter(catalogue.STORE_ERRORS, operation)
            for operation in STORE_OPERATIONS
        }
        self._passages = instruments.gauge(catalogue.STORE_PASSAGES)
        self._indexed = instruments.gauge(catalogue.STORE_INDEXED)
        self._ingested = instruments.counter(catalogue.INGESTED)
        self._rejected = instruments.counter(catalogue.REJECTED)

    def called(self, operation: str, *, seconds: float, failed: bool) -> None:
        """Record one call, of one of ``STORE_OPERATIONS``."""
        self._duration[operation].observe(seconds)
        if failed:
            self._errors[operation].inc()

    def holds(self, *, passages: int, indexed: int) -> None:
        """State how many passages are stored and how many of them are indexed."""
        self._passages.set(passages)
        self._indexed.set(indexed)

    def uploaded(self, *, stored: int, rejected: int) -> None:
        """Count the passages of one answered piece of an upload."""
        self._ingested.inc(stored)
        self._rejected.inc(rejected)
