"""A search service on fakes, and corpora to search in."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.core.calibration.calibrator import Calibrator
from app.core.encoding import EncoderFacts, EncoderThread
from app.core.ports import Encoder
from app.core.search.service import SearchMemory, SearchService
from app.core.types import CollectionSpec, EmbeddedPassage, FieldKind, Passage
from tests.calibrators import make_calibrator
from tests.fakes import FakeEncoder, FakeLanguageIdentifier, InMemoryStore

LANGUAGES = ("de", "en", "fr", "pt", "pt-BR", "und")
WORDS = ("moon", "sea", "tide", "bread", "yeast", "wheel", "tube", "hole")

RANKED = {
    "features": [
        "score",
        "background",
        "log_corpus",
        "log_language_corpus",
        "log_language_rank",
        "language_lead",
        "language_lag",
        "same",
        "same*score",
    ],
    "coef": [9.0, -6.0, -0.3, -0.05, -0.8, 1.0, -0.5, -0.7, 1.5],
    "intercept": -1.0,
}
"""A hit head that uses every kind of feature, and sets languages against each other."""


def ranked_calibrator() -> Calibrator:
    """A calibrator with ``RANKED`` as its hit head."""
    return make_calibrator(hit=RANKED)


@dataclass(frozen=True)
class Searching:
    """A service with what it searches in."""

    service: SearchService
    store: InMemoryStore
    encoder: Encoder

    async def add(self, passages: Sequence[Passage]) -> None:
        vectors = self.encoder.encode_passages([passage.text for passage in passages])
        embedded = [EmbeddedPassage(*pair) for pair in zip(passages, vectors, strict=True)]
        await self.store.upsert(embedded, durable=False)


@asynccontextmanager
async def searching(
    passages: Sequence[Passage] = (),
    *,
    calibrator: Calibrator | None = None,
    hybrid: Calibrator | None = None,
    encoder: Encoder | None = None,
    memory: SearchMemory | None = None,
    fields: Mapping[str, FieldKind] | None = None,
    words: bool = False,
    on_loop: bool = False,
) -> AsyncIterator[Searching]:
    """Open a service over passages; uncalibrated unless a calibrator is given.

    With ``on_loop`` queries are encoded on the event loop, as with an encoder that is fast.
    """
    encoder = encoder or FakeEncoder()
    spec = encoder.spec
    store = InMemoryStore()
    await store.open(CollectionSpec("test", spec.fingerprint(), spec.dim, fields or {}, words))
    thread = EncoderThread(encoder)
    thread.facts = EncoderFacts("fake", query_seconds=0.0, direct=on_loop)
    service = SearchService(
        encoder=thread,
        store=store,
        calibrator=calibrator,
        hybrid=hybrid,
        languages=FakeLanguageIdentifier(),
        memory=memory,
    )
    opened = Searching(service, store, encoder)
    if passages:
        await opened.add(passages)
    yield opened
    thread.close()


def random_passages(seed: int, count: int, *, prefix: str = "p") -> list[Passage]:
    """Passages of few different words, so that many have the same score."""
    chance = random.Random(seed)
    return [
        Passage(
            id=f"{prefix}{number:04}",
            text=" ".join(chance.choices(WORDS, k=chance.randint(1, 3))),
            language=chance.choice(LANGUAGES),
            parallel_id=f"group{number // 3}",
            metadata={"kind": chance.choice(["a", "b"])},
        )
        for number in range(count)
    ]
