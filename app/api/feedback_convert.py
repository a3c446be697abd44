"""Feedback on the wire to what the core takes, and back; and what the metrics are told of it."""

from __future__ import annotations

from collections.abc import Iterator

from app.api.schemas.feedback import FeedbackIn, FeedbackOut
from app.core.calibration.lists import relation_posterior
from app.core.errors import InvalidInputError
from app.core.feedback.entries import Judgement, Label, Statement
from app.core.feedback.service import FeedbackService, Receipt
from app.core.languages.codes import primary_language, relation_of
from app.core.search.types import SearchResult
from app.telemetry.feedback import LabelledHit
from app.telemetry.metrics import Metrics


def tokens_of(result: SearchResult, feedback: FeedbackService | None) -> list[str | None]:
    """Return what comes back with feedback, hit by hit; ``None`` where nothing was stated.

    There are none in hybrid retrieval: they hold no words, so that nothing could be refitted.
    """
    calibrator, background = result.calibrator, result.facts.background
    if feedback is None or calibrator is None or background is None:
        return [None] * len(result.hits)
    query_language, issued = result.query_language.code, feedback.now()
    relations: dict[str, tuple[float, float]] = {}
    tokens: list[str | None] = []
    for hit in result.hits:
        if hit.probability is None or hit.standing is None or hit.lexical_score is not None:
            tokens.append(None)
            continue
        passage, standing = hit.passage, hit.standing
        relation = relations.get(passage.language)
        if relation is None:
            relation = relations[passage.language] = relation_posterior(
                primary_language(passage.language), result.facts.query_posterior
            )
        statement = Statement(
            query_id=result.query_id,
            passage_id=passage.id,
            rank=hit.rank,
            probability=hit.probability,
            calibrator=calibrator.id,
            query_language=query_language,
            passage_language=passage.language,
            issued=issued,
            score=hit.score,
            background=background,
            corpus_size=result.facts.corpus_size,
            language_rank=standing.rank,
            language_lead=standing.lead,
            language_lag=standing.lag,
            language_size=standing.size,
            same=relation[0],
            cross=relation[1],
            shadow=result.shadow or "",
            shadow_probability=hit.shadow_probability or 0.0,
            tenant=feedback.tenant,
        )
        tokens.append(feedback.token(statement))
    return tokens


def to_judgement(sent: FeedbackIn, pointer: str = "") -> Judgement:
    """Return what was sent, as the core takes it.

    Args:
        sent: Feedback on one hit.
        pointer: Where it stands in the body.

    Raises:
        InvalidInputError: A label is missing. Only a ``null`` that was written takes one back: a
            member that was forgotten must not.
    """
    if sent.source != "click" and "relevant" not in sent.model_fields_set:
        raise InvalidInputError(
            "A label needs `relevant`: true or false, or null to take it back.",
            pointer=f"{pointer}/relevant",
        )
    return Judgement(sent.token, sent.source, sent.relevant)


def from_receipt(receipt: Receipt) -> FeedbackOut:
    """Return what became of it, as it is sent."""
    said = receipt.statement
    return FeedbackOut(
        status=receipt.status,
        reason=receipt.reason,
        query_id=None if said is None else said.query_id,
        id=None if said is None else said.passage_id,
        relevant=receipt.relevant,
    )


def count_feedback(metrics: Metrics, sent: FeedbackIn, receipt: Receipt) -> None:
    """Count one item of feedback; what was said before and no longer counts leaves the sums."""
    said = receipt.statement
    if said is None:
        metrics.feedback.rejected(receipt.reason or "forged")
        return
    if receipt.status == "duplicate":
        metrics.feedback.rejected("duplicate")
        return
    metrics.feedback.accepted(source=sent.source, delay_seconds=receipt.delay)
    if sent.source == "click":
        metrics.feedback.clicked(rank=said.rank)
        return
    if receipt.before is not None:
        for hit in _labelled(said, receipt.before):
            metrics.feedback.withdrawn(hit)
        metrics.feedback.revised("withdrawn" if sent.relevant is None else "changed")
    if sent.relevant is not None:
        for hit in _labelled(said, Label(sent.source, sent.relevant)):
            metrics.feedback.labelled(hit)


def _labelled(said: Statement, label: Label) -> Iterator[LabelledHit]:
    """Yield a label as it counts for the active calibrator, and for its shadow."""
    stated = [(said.calibrator, said.probability), (said.shadow, said.shadow_probability)]
    for calibrator, probability in stated[: 2 if said.shadow else 1]:
        yield LabelledHit(
            calibrator=calibrator,
            probability=probability,
            relevant=label.relevant,
            relation=relation_of(said.query_language, said.passage_language),
            query_language=said.query_language,
            source="judged" if label.source == "judged" else "explicit",
        )
