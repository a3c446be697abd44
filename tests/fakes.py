"""Working stand-ins for the ports of the core: deterministic, quick, and without an engine."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from app.adapters.passage_payload import point_id
from app.adapters.store_validation import (
    validate_facets,
    validate_passages,
    validate_queries,
    validate_scan,
)
from app.core.encoder_spec import EncoderSpec
from app.core.errors import (
    CountMismatchError,
    EncoderMismatchError,
    FeedbackLogError,
    StoreError,
    StoreUnavailableError,
    UnencodableTextError,
    WordsNotIndexedError,
)
from app.core.feedback.entries import Entry, Kept, Label, settled
from app.core.lexical import passage_words
from app.core.passages.fields import field_values, kind_of
from app.core.passages.filters import matches
from app.core.types import (
    ANY_PASSAGE,
    BuildReport,
    CollectionSpec,
    EmbeddedPassage,
    FieldKind,
    FoundByWords,
    LanguageGuess,
    NearestQuery,
    Passage,
    PassageFilter,
    PassageWithWords,
    ScoredPassage,
    StoreHealth,
    VectorArray,
    WordsQuery,
)

FAKE_DIM = 32

FAKE_ENCODER_SPEC = EncoderSpec(
    name="fake",
    base_model="static",
    revision="0" * 64,
    dim=FAKE_DIM,
    pooling="mean",
    max_length=64,
    languages=("de", "en", "es", "fr"),
)

FAKE_COLLECTION = CollectionSpec(
    name="passages", encoder_id=FAKE_ENCODER_SPEC.fingerprint(), dim=FAKE_DIM
)

KNOWN_WORDS: Mapping[str, str] = MappingProxyType(
    {
        word: language
        for language, words in {
            "de": "der die das und ist nicht ein eine wie wo wer warum",
            "en": "the and is not a an of how where who why what",
            "es": "el los las y es no una cómo dónde quién qué",
            "fr": "le les et est pas une comment où qui pourquoi",
        }.items()
        for word in words.split()
    }
)


class FakeEncoder:
    """Mean of one fixed random vector per word: texts that share words are close.

    A satisfied ``Encoder`` port. It reads the first ``spec.max_length`` words, prefix included.
    """

    def __init__(self, spec: EncoderSpec = FAKE_ENCODER_SPEC) -> None:
        self._spec = spec

    @property
    def spec(self) -> EncoderSpec:
        return self._spec

    @property
    def engine(self) -> str:
        return "fake"

    def encode_queries(self, texts: Sequence[str]) -> VectorArray:
        return self._encode(self._spec.as_queries(texts))

    def encode_passages(self, texts: Sequence[str]) -> VectorArray:
        return self._encode(self._spec.as_passages(texts))

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [min(len(re.findall(r"\w+", text)), self._spec.max_length) for text in texts]

    def close(self) -> None:
        """Hold nothing that could be let go."""

    def _encode(self, texts: Sequence[str]) -> VectorArray:
        vectors = np.empty((len(texts), self._spec.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            words = re.findall(r"\w+", text.casefold())[: self._spec.max_length]
            if not words:
                raise UnencodableTextError(
                    f"No token of text {row} is known to the encoder: {text!r}."
                )
            total = np.sum([_word_vector(word, self._spec.dim) for word in words], axis=0)
            vectors[row] = total / np.linalg.norm(total)
        return vectors


@lru_cache(maxsize=10_000)
def _word_vector(word: str, dim: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8])
    return np.random.default_rng(seed).standard_normal(dim)


def embed(passages: Sequence[Passage]) -> list[EmbeddedPassage]:
    """Embed passages with the fake encoder."""
    vectors = FakeEncoder().encode_passages([passage.text for passage in passages])
    return [EmbeddedPassage(*pair) for pair in zip(passages, vectors, strict=True)]


class FakeLanguageIdentifier:
    """Counts words that it knows: the posterior is each language's share of all words.

    Args:
        known_words: Word to language; the default knows a dozen words of four languages.
    """

    def __init__(self, known_words: Mapping[str, str] = KNOWN_WORDS) -> None:
        self._known_words = known_words

    def identify(self, text: str, candidates: Collection[str] | None = None) -> LanguageGuess:
        words = re.findall(r"\w+", text.casefold())
        votes = Counter(
            language
            for word in words
            if (language := self._known_words.get(word)) is not None
            and (candidates is None or language in candidates)
        )
        posterior = {language: n / len(words) for language, n in votes.most_common()}
        return LanguageGuess(posterior=posterior, source="detected" if posterior else "unknown")


class InMemoryStore:
    """A ``PassageStore`` in a dict; it passes the same contract suite as the real ones.

    Passages outlive ``close``, as they do on a disk: open the same object again to find them.
    """

    def __init__(self) -> None:
        self._spec: CollectionSpec | None = None
        self._stored: dict[str, EmbeddedPassage] = {}
        self._is_open = False
        self._words = False

    async def open(self, spec: CollectionSpec) -> None:
        if self._is_open:
            raise StoreError("The store is already open.")
        if self._spec is not None and self._spec.encoder_id != spec.encoder_id:
            raise EncoderMismatchError(
                collection=self._spec.name,
                indexed_with=self._spec.encoder_id,
                loaded=spec.encoder_id,
            )
        unlike = self._spec and replace(self._spec, fields=spec.fields, words=spec.words) != spec
        if unlike:
            raise StoreError(f"The store holds {self._spec}, not {spec}.")
        self._spec = spec
        self._words |= spec.words
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False

    async def upsert(self, passages: Sequence[EmbeddedPassage], *, durable: bool) -> None:
        validate_passages(passages, self._opened().dim)
        self._stored.update({embedded.passage.id: embedded for embedded in passages})

    async def delete(self, ids: Collection[str]) -> int:
        self._opened()
        return sum(self._stored.pop(passage_id, None) is not None for passage_id in set(ids))

    @property
    def fields(self) -> Mapping[str, FieldKind]:
        return self._opened().fields

    @property
    def words(self) -> bool:
        self._opened()
        return self._words

    async def delete_where(self, where: PassageFilter, *, expected: int | None = None) -> int:
        eligible = self._eligible(where)
        if expected is not None and len(eligible) != expected:
            raise CountMismatchError(expected=expected, found=len(eligible))
        return await self.delete([embedded.passage.id for embedded in eligible])

    async def content_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        self._opened()
        return {i: self._stored[i].content_hash for i in ids if i in self._stored}

    async def scan(
        self, *, limit: int, where: PassageFilter = ANY_PASSAGE, after: str | None = None
    ) -> list[Passage]:
        eligible = self._eligible(where)
        validate_scan(limit, after)
        keyed = sorted((point_id(e.passage.id), e.passage) for e in eligible)
        return [p for key, p in keyed if after is None or key > point_id(after)][:limit]

    async def get(self, ids: Sequence[str]) -> list[Passage]:
        self._opened()
        return [
            self._stored[passage_id].passage for passage_id in ids if passage_id in self._stored
        ]

    async def embedded(self, ids: Sequence[str]) -> list[EmbeddedPassage]:
        self._opened()
        return [self._stored[passage_id] for passage_id in ids if passage_id in self._stored]

    async def search(self, queries: Sequence[NearestQuery]) -> list[list[ScoredPassage]]:
        validate_queries(queries, self._opened().dim)
        return [self._nearest(query) for query in queries]

    async def search_words(self, queries: Sequence[WordsQuery]) -> list[FoundByWords]:
        validate_queries(queries, self._opened().dim)
        if not self._words:
            raise WordsNotIndexedError
        return [self._by_words(query) for query in queries]

    async def count(self, where: PassageFilter = ANY_PASSAGE) -> int:
        return len(self._eligible(where))

    async def languages(self, where: PassageFilter = ANY_PASSAGE) -> Mapping[str, int]:
        counts = Counter(embedded.passage.language for embedded in self._eligible(where))
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    async def facets(
        self, field: str, *, limit: int, where: PassageFilter = ANY_PASSAGE
    ) -> Mapping[str | int | bool, int]:
        fields = self._opened().fields
        validate_facets(field, limit, fields)
        kind = kind_of(field, fields, pointer="/field")
        counts: Counter[Any] = Counter(
            value
            for embedded in self._eligible(where)
            for value in set(field_values(embedded.passage, field, kind))
        )
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit])

    async def build(self) -> BuildReport:
        return BuildReport(passages=await self.count(), indexed_passages=0, seconds=0.0)

    async def health(self) -> StoreHealth:
        return StoreHealth(engine="memory", passages=await self.count(), indexed_passages=0)

    def _opened(self) -> CollectionSpec:
        if not self._is_open or self._spec is None:
            raise StoreUnavailableError("The store is not open.")
        return self._spec

    def _eligible(self, where: PassageFilter) -> list[EmbeddedPassage]:
        fields = self._opened().fields
        return [e for e in self._stored.values() if matches(where, e.passage, fields)]

    def _by_words(self, query: WordsQuery) -> FoundByWords:
        weights = {
            e.passage.id: dict(zip(*passage_words(e.passage.text), strict=True))
            for e in self._stored.values()
        }
        counted = [weights[e.passage.id] for e in self._eligible(query.counted)]
        documents = sum(bool(words) for words in counted)

        def rarity(word: int) -> float:
            holding = sum(word in words for words in counted)
            return math.log((documents - holding + 0.5) / (holding + 0.5) + 1.0)

        def bm25(passage_id: str) -> float:
            words = weights.get(passage_id, {})
            return sum(words[word] * rarity(word) for word in query.words if word in words)

        hits = [
            PassageWithWords(e.passage, _cosine(query.vector, e.vector), bm25(e.passage.id))
            for e in self._eligible(query.where)
        ]
        hits = [hit for hit in hits if hit.lexical_score > 0.0]
        hits.sort(key=lambda hit: (-hit.lexical_score, hit.passage.id))
        beside = {passage_id: bm25(passage_id) for passage_id in query.beside}
        return FoundByWords(hits[: query.limit], {i: s for i, s in beside.items() if s > 0.0})

    def _nearest(self, query: NearestQuery) -> list[ScoredPassage]:
        hits = [
            ScoredPassage(embedded.passage, _cosine(query.vector, embedded.vector))
            for embedded in self._eligible(query.where)
        ]
        hits.sort(key=lambda hit: (-hit.score, hit.passage.id))
        return hits[: query.limit]


class InMemoryFeedbackLog:
    """A ``FeedbackLog`` in a list; entries outlive ``close``."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._is_open = True

    async def open(self) -> None:
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False

    async def append(self, entries: Sequence[Entry]) -> list[Kept]:
        if not self._is_open:
            raise FeedbackLogError("The feedback log is not open.")
        return [self._add(entry) for entry in entries]

    async def read(self, *, after: int = 0, limit: int = 1000) -> list[tuple[int, Entry]]:
        found = [
            (number, entry)
            for number, entry in enumerate(self._entries, start=1)
            if number > after and (entry.source == "click" or entry.relevant is not None)
        ]
        return found[:limit]

    def _add(self, entry: Entry) -> Kept:
        place = next(
            (n for n, known in enumerate(self._entries) if _identity(known) == _identity(entry)),
            len(self._entries),
        )
        known = self._entries[place] if place < len(self._entries) else None
        if entry.source == "click":
            kept = Kept(is_taken=known is None, relevant=None)
        elif known is None or known.relevant is None:
            kept = settled(entry, None)
        else:
            kept = settled(entry, Label(known.source, known.relevant))
        if kept.is_taken:
            self._entries[place : place + 1] = [entry]
        return kept


def _identity(entry: Entry) -> tuple[object, ...]:
    said = entry.statement
    return said.tenant, said.query_id, said.passage_id, entry.source == "click"


def _cosine(a: VectorArray, b: VectorArray) -> float:
    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    return min(1.0, max(-1.0, cosine))
