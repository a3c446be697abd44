"""Time: how long each stage of a search took, and what becomes of a search that is late."""

from __future__ import annotations

import time
from dataclasses import replace
from uuid import uuid4

from app.core.errors import DeadlineExceededError, IsoglotError
from app.core.search.judging import ShownBias
from app.core.search.types import ListFacts, SearchRequest, SearchResult, SearchWarning
from app.core.types import LanguageGuess

STAGES = ("language", "encode", "search", "calibrate", "page")
"""What a search does, in this order.

``calibrate`` gives the candidates their probabilities. ``page`` is all that becomes of them then:
order, page, and what is kept for cursors and for diagnostics.
"""


class StageClock:
    """Measures consecutive stages in milliseconds."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}
        self._began = self._last = time.perf_counter()

    def stage(self, name: str) -> None:
        """End a stage; a stage that ends again goes on."""
        now = time.perf_counter()
        self.milliseconds[name] = self.milliseconds.get(name, 0.0) + (now - self._last) * 1e3
        self._last = now

    @property
    def running(self) -> str:
        """The first stage that has not ended, or the last one."""
        return next((name for name in STAGES if name not in self.milliseconds), STAGES[-1])

    @property
    def total(self) -> float:
        """Milliseconds since the beginning."""
        return (time.perf_counter() - self._began) * 1e3


def in_time(
    request: SearchRequest, answer: SearchResult | IsoglotError | None, clock: StageClock
) -> SearchResult | IsoglotError:
    """Return the answer, or what the request wants where it came too late or not at all."""
    allowed = request.timeout_ms
    if isinstance(answer, IsoglotError) or (answer and (not allowed or clock.total <= allowed)):
        return answer
    assert allowed is not None  # only a request with a limit is left unanswered
    if request.on_timeout == "error":
        return DeadlineExceededError(timeout_ms=allowed, stage=clock.running)
    if answer is None:
        detail = f"Its {allowed} ms passed during {clock.running!r}; nothing was found by then."
        return replace(_nothing_yet(clock), warnings=[SearchWarning("timeout", detail)])
    detail = f"The answer is complete, but took {clock.total:.0f} ms instead of {allowed}."
    late = SearchWarning("timeout", detail)
    return replace(answer, outcome="degraded", warnings=[*answer.warnings, late])


def _nothing_yet(clock: StageClock) -> SearchResult:
    unknown = LanguageGuess(posterior={}, source="unknown")
    facts = ListFacts(census={}, query_posterior={}, background=None, corpus_size=0)
    return SearchResult(
        query_id=uuid4().hex,
        outcome="degraded",
        answerable_probability=None,
        expected_relevant=None,
        hits=(),
        offset=0,
        candidates=0,
        relation="gte",
        dropped_below_min_probability=0,
        dropped_by_target_precision=0,
        next_cursor=None,
        query_language=unknown,
        bias=ShownBias((), facts, unknown, None),
        facts=facts,
        warnings=(),
        timings=clock.milliseconds,
    )
