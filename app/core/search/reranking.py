"""Probabilities for documents that the caller brings along, instead of those that are stored.

The calibrator reads the same features as in a search, off the list of the given documents alone:
their number is the corpus size, and where they are fewer than the background ranks, the last
score is the background. It was fitted on the best hits of collections, so that for a short list,
or one that holds no typical non-answers, the result is flagged as extrapolated or is simply less
certain than that of a search.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.core.calibration.calibrator import Calibrator
from app.core.encoding import EncoderThread
from app.core.errors import InvalidInputError
from app.core.languages.codes import declared_language, primary_language
from app.core.passages.ingest import DETECTION_CONFIDENCE
from app.core.ports import LanguageIdentifier, TokenCounter
from app.core.search.checks import check_request
from app.core.search.embeddings import check_texts
from app.core.search.judging import judge
from app.core.search.types import Hit, SearchRequest
from app.core.types import UNDETERMINED, LanguageGuess, Passage, ScoredPassage

MAX_DOCUMENTS = 1000
"""Most documents in one request."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One document.

    Attributes:
        index: Its place among the documents that were given, from 0.
        probability: P(relevant).
        score: Cosine of query and document.
        probability_source: Which part of the calibrator spoke.
        extrapolated: Whether score or number of documents lie outside what the calibrator has
            seen.
        language: BCP-47 code, or ``und``.
    """

    index: int
    probability: float
    score: float
    probability_source: str
    extrapolated: bool
    language: str


@dataclass(frozen=True, slots=True)
class Reranked:
    """All documents, most probable first, and how many tokens were read."""

    documents: Sequence[Ranked]
    tokens: int


class RerankService:
    """Ranks documents by their probability of answering a query."""

    def __init__(
        self,
        *,
        encoder: EncoderThread,
        tokens: TokenCounter,
        calibrator: Calibrator | None,
        languages: LanguageIdentifier,
    ) -> None:
        self._encoder = encoder
        self._tokens = tokens
        self._calibrator = calibrator
        self._languages = languages

    def with_calibrator(self, calibrator: Calibrator | None) -> RerankService:
        """Return the same with another calibrator."""
        return RerankService(
            encoder=self._encoder,
            tokens=self._tokens,
            calibrator=calibrator,
            languages=self._languages,
        )

    async def rerank(
        self, query: str, documents: Sequence[str], *, query_language: str | None = None
    ) -> Reranked:
        """Rank documents.

        Args:
            query: The question.
            documents: At least one.
            query_language: BCP-47 tag; ``None`` to identify it.

        Raises:
            InvalidQueryError: The query is empty or too long.
            InvalidInputError: There is no calibrator, or a text or the number of documents is
                out of range.
            UnencodableTextError: The encoder knows no token of a text.
            EncodingError: The encoder failed.
        """
        if self._calibrator is None:
            raise InvalidInputError(
                "Ranking needs a calibrator, and the loaded bundle has none. Compare embeddings "
                "instead: POST /v1/embeddings."
            )
        check_request(SearchRequest(query), calibrated=True)
        check_texts(documents, at_most=MAX_DOCUMENTS, pointer="/documents")
        guess = self._query_language(query, query_language)
        candidates = await self._scored(query, documents)
        judged = judge(
            candidates,
            calibrator=self._calibrator,
            census=Counter(primary_language(c.passage.language) for c in candidates),
            query=query,
            query_language=guess,
        )
        counts = await asyncio.to_thread(self._tokens.count_tokens, [query, *documents])
        hits = map(_ranked, judged.candidates.hits())
        ranked = sorted(hits, key=lambda hit: (-hit.probability, -hit.score, hit.index))
        return Reranked(ranked, sum(counts))

    def _query_language(self, query: str, stated: str | None) -> LanguageGuess:
        if stated is None:
            return self._languages.identify(query)
        return declared_language(stated, pointer="/language")

    async def _scored(self, query: str, documents: Sequence[str]) -> list[ScoredPassage]:
        """Return the documents as a store would: best score first, then by place."""
        vector = (await self._encoder.encode_query(query)).astype(np.float64)
        vectors = (await self._encoder.encode_passages(documents)).astype(np.float64)
        scores = np.clip(vectors @ vector, -1.0, 1.0)
        languages = await asyncio.to_thread(lambda: [self._language(d) for d in documents])
        order = np.argsort(-scores, kind="stable")
        return [
            ScoredPassage(Passage(str(i), documents[i], languages[i]), float(scores[i]))
            for i in order.tolist()
        ]

    def _language(self, text: str) -> str:
        guess = self._languages.identify(text)
        return guess.code if guess.confidence >= DETECTION_CONFIDENCE else UNDETERMINED


def _ranked(hit: Hit) -> Ranked:
    assert hit.probability is not None  # there is a calibrator
    return Ranked(
        index=int(hit.passage.id),
        probability=hit.probability,
        score=hit.score,
        probability_source=hit.probability_source,
        extrapolated=hit.extrapolated,
        language=hit.passage.language,
    )
