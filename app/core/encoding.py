"""One thread that encodes, so that the event loop never waits for a forward pass."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from app.core.encoder_spec import EncoderSpec
from app.core.encoding_cache import VectorCache
from app.core.encoding_lanes import EncodingObserver, Lane, Lanes, Work, estimated_tokens
from app.core.errors import EncodingError, UnencodableTextError
from app.core.ports import Encoder
from app.core.types import VectorArray

PASSAGES_A_PASS = 64
"""Passages encoded in one go at most."""

PASS_SECONDS = 0.05
"""How long one pass over passages should take: that long a query waits for it at most."""

MIN_PASS_TOKENS = 512
"""Below this a pass costs more than its tokens do."""

MAX_PADDING = 1.5
"""How many times longer than its shortest text the longest of a pass may be, by estimate."""

DIRECT_SECONDS = 3e-4
"""An encoder that needs less for a query is asked on the event loop: handing the query to a
thread and back would take longer."""

HANGING_SECONDS = 30.0
"""A pass that takes longer than this is taken to hang."""

FULL_SECONDS = 5.0
"""A queue that is full for longer than this is no burst."""

_WARM_UP_QUERY = "how do I find the hole in the inner tube of my bicycle"
_WARM_UP_ROUNDS = 7
_DIRECT_TOKENS = 64
_NEW_RATE_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class EncoderFacts:
    """How queries are encoded; measured when the encoder was warmed up.

    Attributes:
        engine: Name of the runtime and its arithmetic.
        query_seconds: Median time of one short query.
        direct: Whether single queries are encoded on the event loop.
    """

    engine: str
    query_seconds: float
    direct: bool


class EncoderThread:
    """Runs an encoder on a thread of its own and checks what comes back.

    Args:
        encoder: Called from one thread at a time, besides single queries if it is quick.
        cache: Vectors of queries that were asked before.
        merge_queries: Whether queries of different callers share a pass. It pays on a GPU; with
            int8 activations a vector would depend on who else is asking.
        observer: Is told what happens; ``None`` where nobody looks.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        cache: VectorCache | None = None,
        merge_queries: bool = False,
        observer: EncodingObserver | None = None,
    ) -> None:
        self._encoder = encoder
        self.cache = cache or VectorCache()
        self._observer = observer
        self._lanes = Lanes(merge_queries=merge_queries, observer=observer)
        self._tokens_a_second = MIN_PASS_TOKENS / PASS_SECONDS
        self.facts = EncoderFacts(engine="", query_seconds=0.0, direct=False)
        self._pass_since: float | None = None
        self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
        self._thread.start()

    @property
    def spec(self) -> EncoderSpec:
        """The contract of the encoder."""
        return self._encoder.spec

    @property
    def obstacle(self) -> str | None:
        """Why queries are not answered in time at present; ``None`` where they are."""
        since = self._pass_since
        seconds = 0.0 if since is None else time.perf_counter() - since
        if seconds > HANGING_SECONDS:
            return f"The encoder hangs: one pass has been running for {seconds:.0f} seconds."
        if self._lanes.full_seconds > FULL_SECONDS:
            return "More queries wait for the encoder than it can answer in time."
        return None

    async def warm_up(self, engine: str = "") -> EncoderFacts:
        """Encode a few queries, and decide by the time they take how queries are encoded.

        Args:
            engine: What is remembered as the name of the engine.

        Raises:
            EncodingError: The encoder failed.
        """
        seconds = []
        for _ in range(_WARM_UP_ROUNDS):
            await self._pass("query", [_WARM_UP_QUERY])
            seconds.append(await asyncio.to_thread(self._seconds_of_a_query))
        # What else runs here only ever adds to it, and would send a quick encoder to its thread.
        self.facts = EncoderFacts(engine, median(seconds), min(seconds) < DIRECT_SECONDS)
        return self.facts

    def _seconds_of_a_query(self) -> float:
        began = time.perf_counter()
        self._encoder.encode_queries([_WARM_UP_QUERY])
        return time.perf_counter() - began

    async def encode_query(self, text: str) -> VectorArray:
        """Embed one query, float32 of shape (dim,); raises as ``Encoder.encode_queries``."""
        row: VectorArray = (await self.encode_queries([text]))[0]
        return row

    async def encode_queries(self, texts: Sequence[str]) -> VectorArray:
        """Embed queries in one pass, float32 of shape (len(texts), dim); raises as above.

        Raises:
            OverloadedError: Too many queries wait already.
        """
        known = {text: self._cached(text) for text in dict.fromkeys(texts)}
        missing = [text for text, vector in known.items() if vector is None]
        if missing:
            found = await self._pass("query", missing)
            for text, vector in zip(missing, found, strict=True):
                known[text] = vector
                self.cache.put(text, vector)
            if self._observer is not None:
                self._observer.cached(self.cache.used)
        vectors = np.empty((len(texts), self.spec.dim), np.float32)
        for row, text in enumerate(texts):
            vectors[row] = known[text]
        return vectors

    async def encode_passages(self, texts: Sequence[str]) -> VectorArray:
        """Embed passages, float32 of shape (len(texts), dim); queries may go in between."""
        vectors = np.zeros((len(texts), self.spec.dim), np.float32)
        tokens = [self._estimate([text]) for text in texts]
        shortest_first = sorted(range(len(texts)), key=tokens.__getitem__)
        start = 0
        while start < len(texts):
            rows = self._rows_of_a_pass(shortest_first[start:], tokens)
            vectors[rows] = await self._pass("passage", [texts[row] for row in rows])
            start += len(rows)
        return vectors

    def close(self) -> None:
        """Let the pass that is running finish, stop the thread, and close the encoder."""
        self._lanes.close()
        self._thread.join()
        self._encoder.close()

    def _rows_of_a_pass(self, rows: Sequence[int], tokens: Sequence[int]) -> list[int]:
        """Return the first rows that make a good pass: short enough, and of similar length."""
        budget = max(MIN_PASS_TOKENS, int(self._tokens_a_second * PASS_SECONDS))
        longest = MAX_PADDING * tokens[rows[0]] + 8
        taken = 1
        for row in rows[1:PASSAGES_A_PASS]:
            if tokens[row] * (taken + 1) > budget or tokens[row] > longest:
                break
            taken += 1
        return list(rows[:taken])

    async def _pass(self, lane: Lane, texts: Sequence[str]) -> VectorArray:
        tokens = self._estimate(texts)
        if lane == "query" and self.facts.direct and tokens <= _DIRECT_TOKENS:
            return self._encode(lane, texts)
        work = Work(lane, texts, tokens)
        self._lanes.put(work)
        return await asyncio.wrap_future(work.done)

    def _cached(self, text: str) -> VectorArray | None:
        vector = self.cache.get(text)
        if self._observer is not None:
            self._observer.looked_up(hit=vector is not None)
        return vector

    def _estimate(self, texts: Sequence[str]) -> int:
        return sum(estimated_tokens(text, self.spec.max_length) for text in texts)

    def _work(self) -> None:
        while batch := self._lanes.take():
            began = self._pass_since = time.perf_counter()
            outcomes = list(self._outcomes(batch))
            self._pass_since = None
            for work, outcome in outcomes:
                if isinstance(outcome, BaseException):
                    work.done.set_exception(outcome)
                else:
                    work.done.set_result(outcome)
            if batch[0].lane == "passage":
                self._note_rate(batch[0].tokens / (time.perf_counter() - began))

    def _note_rate(self, tokens_a_second: float) -> None:
        self._tokens_a_second += _NEW_RATE_SHARE * (tokens_a_second - self._tokens_a_second)

    def _outcomes(self, batch: Sequence[Work]) -> Iterator[tuple[Work, VectorArray | Exception]]:
        """Encode work together; where a text cannot be encoded, each for itself."""
        texts = [text for work in batch for text in work.texts]
        try:
            vectors = self._encode(batch[0].lane, texts)
        except UnencodableTextError as error:
            if len(batch) == 1:
                yield batch[0], error
                return
            for work in batch:
                yield from self._outcomes([work])
            return
        except Exception as error:  # noqa: BLE001  raised again where it is waited for
            yield from ((work, error) for work in batch)
            return
        start = 0
        for work in batch:
            yield work, vectors[start : start + len(work.texts)]
            start += len(work.texts)

    def _encode_halves(self, lane: Lane, texts: Sequence[str], error: MemoryError) -> VectorArray:
        """Encode in two passes what needs too much memory in one."""
        if len(texts) == 1:
            raise EncodingError(
                f"There is too little memory to encode a text of {len(texts[0])} characters."
            ) from error
        middle = len(texts) // 2
        halves = [self._encode(lane, part) for part in (texts[:middle], texts[middle:])]
        return np.concatenate(halves)

    def _encode(self, lane: Lane, texts: Sequence[str]) -> VectorArray:
        encode = self._encoder.encode_queries if lane == "query" else self._encoder.encode_passages
        try:
            vectors = encode(texts)
        except MemoryError as error:
            return self._encode_halves(lane, texts, error)
        expected = (len(texts), self.spec.dim)
        if vectors.shape != expected:
            raise EncodingError(f"The encoder returned shape {vectors.shape}, not {expected}.")
        if not np.isfinite(vectors).all():
            raise EncodingError("The encoder returned numbers that are not finite.")
        return vectors
