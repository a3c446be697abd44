"""POST /v1/feedback: whether a hit answers its query, one by one and in batches."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Body

from app.api.examples import feedback as examples
from app.api.feedback_convert import count_feedback, from_receipt, to_judgement
from app.api.problem import answered, documented
from app.api.readiness import MetricsDep, ServicesDep
from app.api.schemas.feedback import FeedbackBatch, FeedbackBatchOut, FeedbackIn, FeedbackOut
from app.api.strict_json import JsonRoute
from app.core.errors import FeedbackLogError, FeedbackRejectedError, InvalidInputError
from app.core.feedback.service import FeedbackService

router = APIRouter(route_class=JsonRoute, tags=["feedback"])

_ERRORS = documented(400, 409, 413, 415, 422, 500, 503)


def _desk(services: ServicesDep) -> FeedbackService:
    if services.feedback is None:
        raise FeedbackLogError("This service takes no feedback; its log has the cause.")
    return services.feedback


@router.post(
    "/v1/feedback",
    operation_id="sendFeedback",
    summary="Say whether a hit is relevant",
    responses={**answered(examples.FEEDBACK_ANSWERS), **_ERRORS},
)
async def send_feedback(
    body: Annotated[FeedbackIn, Body(openapi_examples=examples.FEEDBACK_REQUESTS)],
    services: ServicesDep,
    metrics: MetricsDep,
) -> FeedbackOut:
    """Keep what somebody says of a hit.

    The answer comes once it survives loss of power. The latest label of a hit counts: sending the
    same again changes nothing, sending the other one changes it, and `"relevant": null` takes it
    back. Only an assessor (`judged`) ends what an assessor said.
    """
    try:
        [receipt] = await _desk(services).take([to_judgement(body)])
    except InvalidInputError as error:
        pointer = error.pointer.removeprefix("/feedback/0")
        raise InvalidInputError(str(error), pointer=pointer) from None
    count_feedback(metrics, body, receipt)
    if receipt.reason is not None:
        raise FeedbackRejectedError(receipt.reason)
    return from_receipt(receipt)


@router.post(
    "/v1/feedback:batch",
    operation_id="sendFeedbackBatch",
    summary="Say of several hits whether they are relevant",
    responses={**answered(examples.BATCH_ANSWERS), **_ERRORS},
)
async def send_feedback_batch(
    body: Annotated[FeedbackBatch, Body(openapi_examples=examples.BATCH_REQUESTS)],
    services: ServicesDep,
    metrics: MetricsDep,
) -> FeedbackBatchOut:
    """Keep what is said of several hits, all of it in one transaction.

    A token that is not accepted is reported in its place and leaves the others alone.
    """
    desk = _desk(services)
    judgements = [to_judgement(sent, f"/feedback/{n}") for n, sent in enumerate(body.feedback)]
    receipts = await desk.take(judgements)
    for sent, receipt in zip(body.feedback, receipts, strict=True):
        count_feedback(metrics, sent, receipt)
    counts = Counter(receipt.status for receipt in receipts)
    return FeedbackBatchOut(
        results=[from_receipt(receipt) for receipt in receipts],
        accepted=counts["accepted"],
        duplicates=counts["duplicate"],
        rejected=counts["rejected"],
    )
