"""What an answer says about the language bias of the encoder."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.languages.parallel import RankedTranslations, ranked_translations
from app.core.languages.window import ObservedAnswer
from app.core.search.judging import Judged, known_language
from app.core.search.ranking import by_probability as most_probable_first
from app.core.search.tasks import SearchTask
from app.core.search.types import SearchResult
from app.core.types import Passage


def observed(
    task: SearchTask, judged: Judged, page: SearchResult, *, calibrated: bool
) -> ObservedAnswer | None:
    """Return what language bias is judged by; ``None`` of a search by words.

    Words favour the language of the query, which says nothing of the encoder.

    Args:
        task: The search.
        judged: Its candidates.
        page: The first page of its answer.
        calibrated: Whether probabilities were stated.
    """
    if task.lexical is not None:
        return None
    by_score = by_probability = None
    # With a filter on single passages, a translation that is missing may have been left out.
    if task.request.where.condition is None:
        passages = judged.candidates.passages
        by_score = _translations(task, passages)
        if calibrated:
            by_probability = _by_probability(task, judged, by_score)
    return ObservedAnswer(
        query_language=known_language(task.guess),
        bias=page.bias,
        by_score=by_score,
        by_probability=by_probability,
    )


def _by_probability(
    task: SearchTask, judged: Judged, by_score: RankedTranslations
) -> RankedTranslations:
    passages = judged.candidates.passages
    if [passage.parallel_id for passage in passages].count(None) == len(passages):
        return by_score  # nothing to put in another order
    order = most_probable_first(judged.candidates)
    return _translations(task, [passages[at] for at in order])


def _translations(task: SearchTask, passages: Sequence[Passage]) -> RankedTranslations:
    return ranked_translations(
        passages,
        query=task.request.query,
        query_language=known_language(task.guess),
        eligible=task.census,
    )
