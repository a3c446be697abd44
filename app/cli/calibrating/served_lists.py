"""Served lists for judged queries, from the data directory or from a running service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Protocol

import numpy as np

from app.api.schemas.answer import SearchResponse
from app.cli.calibrating.judgements import JudgedQuery
from app.core.calibration.assess import Sample
from app.core.calibration.calibrator import Calibrator
from app.core.calibration.judged import JudgedHits
from app.core.calibration.lists import HitFeatures, ServedList, background_score
from app.core.calibration.score_pieces import ScorePieces
from app.core.errors import CalibrationError
from app.core.languages.codes import primary_language
from app.core.languages.writing import known_posterior
from app.core.types import UNDETERMINED, FloatArray, LanguageGuess

LIST_LENGTH = 100
_MOSTLY = 0.5


class Searcher(Protocol):
    """Answers one query with ``LIST_LENGTH`` hits by score, language diagnostics, and texts."""

    async def __call__(self, query: str, language: str | None) -> SearchResponse:
        """Search."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class QueryList:
    """The list that was served for a query.

    Attributes:
        query: What was asked, with its labels.
        ids: Passage ids, best score first.
        texts: Their texts.
        served: As a calibrator sees it.
    """

    query: JudgedQuery
    ids: Sequence[str]
    texts: Sequence[str]
    served: ServedList


async def serve(search: Searcher, query: JudgedQuery) -> QueryList:
    """Search for a query."""
    answer = await search(query.text, query.language)
    said = answer.query_language
    detected = {said.code: said.confidence} | {a.code: a.confidence for a in said.alternatives}
    detected.pop(UNDETERMINED, None)
    language = answer.diagnostics.language if answer.diagnostics else None
    assert language is not None  # it was asked for
    size = max(language.filtered_corpus_size, len(answer.hits), 1)
    sizes: dict[str, int] = {}
    for code, share in language.corpus_share.items():
        primary = primary_language(code)
        sizes[primary] = sizes.get(primary, 0) + round(share * size)
    served = ServedList(
        scores=np.array([hit.score for hit in answer.hits], dtype=np.float64),
        passage_languages=[primary_language(hit.language.code) for hit in answer.hits],
        query_posterior=known_posterior(query.text, LanguageGuess(detected, said.source)),
        corpus_size=size,
        language_sizes=sizes,
    )
    return QueryList(
        query, [h.id for h in answer.hits], [h.text or "" for h in answer.hits], served
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """One judged hit."""

    values: Mapping[str, float]
    score: float
    relevant: float
    weight: float
    query: int
    known: bool
    same: bool
    stated: float


def judged_hits(
    calibrator: Calibrator, lists: Sequence[QueryList], *, complete: bool
) -> JudgedHits:
    """Return the judged hits of served lists, down to the depth that the calibrator was fitted at.

    Args:
        calibrator: The one to begin with.
        lists: What was served.
        complete: Whether hits without a label are irrelevant; they are left out otherwise.

    Raises:
        CalibrationError: There is none.
    """
    rows = [
        row for number, one in enumerate(lists) for row in _rows(calibrator, one, number, complete)
    ]
    if not rows:
        raise CalibrationError(
            f"None of the judged passages is among the first {calibrator.document.depth} hits of "
            "its query. Judge what the service finds; unjudged passages say nothing."
        )

    def column(values: Sequence[float]) -> FloatArray:
        return np.array(values, dtype=np.float64)

    return JudgedHits(
        columns={name: column([row.values[name] for row in rows]) for name in rows[0].values},
        scores=column([row.score for row in rows]),
        sample=Sample(
            column([row.relevant for row in rows]),
            column([row.weight for row in rows]),
            np.array([row.query for row in rows], dtype=np.int64),
        ),
        known=np.array([row.known for row in rows]),
        first=np.array([row.values["rank"] == 1.0 for row in rows]),
        same=np.array([row.same for row in rows]),
        stated=column([row.stated for row in rows]),
        languages=frozenset(
            language
            for one in lists
            for language in (*one.served.query_posterior, *one.served.passage_languages)
            if language != UNDETERMINED
        ),
        corpus_sizes=frozenset(one.served.corpus_size for one in lists),
    )


def _rows(calibrator: Calibrator, one: QueryList, number: int, complete: bool) -> list[_Row]:  # noqa: FBT001
    served, labels = one.served, one.query.labels
    if not one.ids:
        return []
    stated = calibrator.calibrate(served)
    standings = stated.standings.each()
    background = background_score(served.scores, calibrator.document.background)
    pieces = calibrator.document.score_pieces
    scores = served.scores.tolist()
    rows = []
    for place, passage in enumerate(one.ids[: calibrator.document.depth]):
        if passage not in labels and not complete:
            continue
        language = served.passage_languages[place]
        same = served.query_posterior.get(language, 0.0)
        known = language != UNDETERMINED and sum(served.query_posterior.values()) > _MOSTLY
        following = scores[place + 1] if place + 1 < len(scores) else background
        hit = _features(
            scores[place], background, served.corpus_size, standings[place], same, pieces
        )
        hit |= {"gap": scores[place] - following, "rank": place + 1.0}
        rows.append(
            _Row(
                values=hit,
                score=scores[place],
                relevant=float(labels.get(passage, False)),
                weight=one.query.weights.get(passage, 1.0),
                query=number,
                known=known,
                same=same > _MOSTLY,
                stated=float(stated.probability[place]),
            )
        )
    return rows


def _features(  # noqa: PLR0913 - all that a hit is judged by
    score: float,
    background: float,
    corpus: int,
    standing: tuple[int, float, float, int],
    same: float,
    pieces: ScorePieces | None,
) -> dict[str, float]:
    rank, lead, lag, size = standing
    hit = HitFeatures(
        *(
            np.array([value])
            for value in (
                score,
                background,
                log(corpus),
                log(size),
                log(rank),
                lead,
                lag,
                float(same > _MOSTLY),
            )
        )
    )
    return {name: float(values[0]) for name, values in hit.columns(pieces).items()}
