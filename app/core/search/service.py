"""The search: encode, find, calibrate, order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import uuid4

from app.core.calibration.calibrator import Calibrator
from app.core.encoding import EncoderThread
from app.core.errors import (
    CursorExpiredError,
    InvalidInputError,
    IsoglotError,
    UnencodableTextError,
    WordsNotIndexedError,
)
from app.core.languages.codes import declared_language, normalize_language, primary_language
from app.core.languages.window import LanguageWindow
from app.core.passages.filters import combine
from app.core.ports import LanguageIdentifier, PassageStore
from app.core.search.balance import balance_warnings
from app.core.search.candidates import Candidates
from app.core.search.checks import check_request
from app.core.search.deadlines import StageClock, in_time
from app.core.search.finding import find
from app.core.search.hybrid import fused
from app.core.search.judging import (
    Judged,
    ShownBias,
    judge,
    known_language,
    outcome,
    pooled_warnings,
    show,
)
from app.core.search.observing import observed
from app.core.search.paging import Cursor, Snapshots
from app.core.search.ranking import rank
from app.core.search.tasks import SearchTask
from app.core.search.types import (
    Hit,
    SearchRequest,
    SearchResult,
    SearchWarning,
)
from app.core.types import (
    LanguageGuess,
    PassageFilter,
    ScoredPassage,
    VectorArray,
)


@dataclass(frozen=True, slots=True)
class SearchMemory:
    """What is remembered between searches.

    Attributes:
        snapshots: What cursors point into.
        window: What language bias is judged by.
    """

    snapshots: Snapshots = field(default_factory=Snapshots)
    window: LanguageWindow = field(default_factory=LanguageWindow)


class SearchService:
    """Answers search requests on one collection.

    Args:
        encoder: Encodes the queries.
        store: Holds the passages.
        calibrator: States the probabilities; ``None`` where the bundle has none.
        hybrid: States those of hybrid retrieval; ``None`` likewise.
        languages: Guesses the language of queries.
        memory: What is remembered between searches; by default this service's own.
        shadow: Judges the same hits, to be compared; what it says reaches no caller.
    """

    def __init__(  # noqa: PLR0913  each is one part
        self,
        *,
        encoder: EncoderThread,
        store: PassageStore,
        calibrator: Calibrator | None,
        languages: LanguageIdentifier,
        hybrid: Calibrator | None = None,
        memory: SearchMemory | None = None,
        shadow: Calibrator | None = None,
    ) -> None:
        self._encoder = encoder
        self._store = store
        self._calibrator = calibrator
        self._hybrid = hybrid
        self._languages = languages
        self._shadow = shadow
        self.memory = memory or SearchMemory()

    def with_calibrators(
        self, calibrator: Calibrator | None, shadow: Calibrator | None
    ) -> SearchService:
        """Return the same with others for dense retrieval; searches under way keep theirs."""
        return SearchService(
            encoder=self._encoder,
            store=self._store,
            calibrator=calibrator,
            hybrid=self._hybrid,
            languages=self._languages,
            memory=self.memory,
            shadow=shadow,
        )

    async def search(self, request: SearchRequest) -> SearchResult:
        """Answer a request.

        Raises:
            InvalidQueryError: The query is empty or too long.
            InvalidInputError: Another member of the request is out of range.
            InvalidCursorError: The cursor belongs to no search, or to another one.
            CursorExpiredError: The answer that the cursor continues is not kept any more.
            DeadlineExceededError: The request's time was not enough, and it wants no less.
            UnencodableTextError: The encoder knows no token of the query.
            EncodingError: The encoder failed.
            StoreError: The store failed.
        """
        [answer] = await self.search_many([request])
        if isinstance(answer, IsoglotError):
            raise answer
        return answer

    async def search_many(
        self, requests: Sequence[SearchRequest]
    ) -> list[SearchResult | IsoglotError]:
        """Answer several requests with one pass of the encoder and one call of the store.

        Returns:
            For every request its answer, or what ``search`` would raise about it.

        Raises:
            EncodingError: The encoder failed.
            StoreError: The store failed.
        """
        clock = StageClock()
        answers: list[SearchResult | IsoglotError | None] = [None] * len(requests)
        limits = [request.timeout_ms for request in requests if request.timeout_ms is not None]
        patience = max(limits) / 1e3 if limits and len(limits) == len(requests) else None
        deadline = asyncio.timeout(patience)
        try:
            async with deadline:
                await self._answer_all(requests, answers, clock)
        except TimeoutError:
            if not deadline.expired():
                raise
        return [
            in_time(request, answer, clock)
            for request, answer in zip(requests, answers, strict=True)
        ]

    async def _answer_all(
        self,
        requests: Sequence[SearchRequest],
        answers: list[SearchResult | IsoglotError | None],
        clock: StageClock,
    ) -> None:
        tasks: dict[int, SearchTask] = {}
        for index, request in enumerate(requests):
            try:
                prepared = await self._prepare(request, clock)
            except (InvalidInputError, CursorExpiredError) as error:
                answers[index] = error
                continue
            if isinstance(prepared, SearchTask):
                tasks[index] = prepared
            else:
                answers[index] = prepared
        clock.stage("language")
        if not tasks:
            return
        vectors = await self._encode([task.request.query for task in tasks.values()])
        for index, vector in zip(list(tasks), vectors, strict=True):
            if isinstance(vector, UnencodableTextError):
                answers[index] = vector
                del tasks[index]
            else:
                tasks[index].vector = vector
        clock.stage("encode")
        found = await find(self._store, list(tasks.values()), depth=self._depth)
        clock.stage("search")
        for (index, task), candidates in zip(tasks.items(), found, strict=True):
            answers[index] = self._answer(task, candidates, clock)

    async def _prepare(
        self, request: SearchRequest, clock: StageClock
    ) -> SearchTask | SearchResult:
        check_request(request, calibrated=self._judge_of(request) is not None)
        if request.retrieval == "hybrid" and not self._store.words:
            raise WordsNotIndexedError
        if request.cursor is not None:
            return await self._go_on(request, request.cursor, clock)
        guess = self._query_language(request)
        where = await self._eligible(request)
        return SearchTask(request, guess, where, census=await self._store.languages(where))

    def _judge_of(self, request: SearchRequest) -> Calibrator | None:
        """Return what states the probabilities: what was fitted on such answers, or nothing."""
        return self._calibrator if request.retrieval == "dense" else self._hybrid

    def _query_language(self, request: SearchRequest) -> LanguageGuess:
        if request.query_language is None:
            return self._languages.identify(request.query, request.candidate_languages)
        return declared_language(request.query_language, pointer="/language/query")

    async def _eligible(self, request: SearchRequest) -> PassageFilter:
        if request.passage_languages is None:
            return request.where
        wanted = {
            normalize_language(tag, pointer="/language/passages")
            for tag in request.passage_languages
        }
        stored = await self._store.languages()
        variants = {tag for tag in stored if primary_language(tag) in wanted}
        return combine(request.where, PassageFilter(languages=frozenset(wanted | variants)))

    async def _encode(self, texts: Sequence[str]) -> list[VectorArray | UnencodableTextError]:
        try:
            return list(await self._encoder.encode_queries(texts))
        except UnencodableTextError as error:
            if len(texts) == 1:
                return [error]
            return [vector for text in texts for vector in await self._encode([text])]

    @property
    def _depth(self) -> int:
        """Candidates that the calibrators read.

        It is the same whatever is shown: neither the background, and with it each probability,
        nor the order may depend on how many hits the caller wants to see.
        """
        calibrators = self._calibrator, self._shadow, self._hybrid
        return max((c.candidates for c in calibrators if c is not None), default=0)

    def _answer(
        self, task: SearchTask, candidates: Sequence[ScoredPassage], clock: StageClock
    ) -> SearchResult:
        request = task.request
        balanced = request.language_mode == "balance"
        calibrator = self._judge_of(request)
        judged = judge(
            candidates,
            calibrator=calibrator,
            census=task.census,
            query=request.query,
            query_language=task.guess,
            lexical=task.lexical,
        )
        if judged.words is None:
            described = self._shadowed(judged.candidates, candidates, task)
        else:
            described = fused(judged.candidates, judged.words, known_language(task.guess))
        clock.stage("calibrate")
        ranking = rank(described, request)
        threshold = calibrator.document.thresholds.answer if calibrator else None
        answer = SearchResult(
            query_id=uuid4().hex,
            outcome=outcome(len(ranking.order), judged.answerable, threshold),
            answerable_probability=judged.answerable,
            expected_relevant=None,
            hits=(),
            offset=0,
            candidates=len(candidates),
            relation="eq" if len(candidates) >= judged.facts.corpus_size else "gte",
            dropped_below_min_probability=ranking.below_min_probability,
            dropped_by_target_precision=ranking.beyond_target_precision,
            next_cursor=None,
            query_language=task.guess,
            bias=ShownBias((), judged.facts, task.guess, calibrator),
            facts=judged.facts,
            warnings=[
                *(balance_warnings(task.census) if balanced else ()),
                *pooled_warnings(task.guess, judged.facts, calibrator),
            ],
            timings=clock.milliseconds,
            calibrator=calibrator,
            answer_threshold=threshold,
            shadow=None if self._shadow is None or task.lexical is not None else self._shadow.id,
        )
        end = request.offset + request.limit
        shown = ranking.page(request.offset, end)
        page = self._show(answer, shown, request, request.offset)
        if end < len(ranking.order):
            cursor = self.memory.snapshots.keep(request.ranking_key(), answer, end, ranking)
            page = replace(page, next_cursor=cursor)
        if page.offset == 0:  # later pages of an answer add nothing new
            self._observe(task, judged, page)
        clock.stage("page")
        return page

    async def _go_on(self, request: SearchRequest, text: str, clock: StageClock) -> SearchResult:
        """Return the page that a cursor asks for."""
        cursor = Cursor.decode(text)
        snapshot = self.memory.snapshots.find(cursor, request.ranking_key())
        ids = snapshot.page(cursor.position, request.limit)
        hits = snapshot.hits(cursor.position, request.limit, await self._store.get(ids))
        page = self._show(snapshot.answer, hits, request, cursor.position)
        end = cursor.position + request.limit
        gone = len(ids) - len(hits)
        warnings = list(page.warnings)
        if gone:
            detail = f"{gone} passages of this page were deleted or replaced since the search."
            warnings.append(SearchWarning("passages_gone", detail))
        return replace(
            page,
            warnings=warnings,
            timings=clock.milliseconds,
            next_cursor=Cursor(cursor.snapshot, end).encode() if end < snapshot.end else None,
        )

    def _shadowed(
        self, judged: Candidates, found: Sequence[ScoredPassage], task: SearchTask
    ) -> Candidates:
        """Return the candidates with what the shadow says of them."""
        if self._shadow is None:
            return judged
        other = judge(
            found,
            calibrator=self._shadow,
            census=task.census,
            query=task.request.query,
            query_language=task.guess,
        )
        shadow = other.candidates.said.probabilities
        return replace(judged, said=replace(judged.said, shadow=shadow))

    def _show(
        self, answer: SearchResult, hits: Sequence[Hit], request: SearchRequest, offset: int
    ) -> SearchResult:
        # The one that judged the hits: a cursor may go on with an answer of a former one.
        return show(answer, hits, offset=offset, request=request, calibrator=answer.calibrator)

    def _observe(self, task: SearchTask, judged: Judged, page: SearchResult) -> None:
        answer = observed(task, judged, page, calibrated=self._calibrator is not None)
        if answer is not None:
            self.memory.window.add(answer)
