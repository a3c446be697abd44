"""Wire models of feedback."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.api.wire import RequestModel, ResponseModel
from app.core.feedback.service import MAX_FEEDBACK
from app.core.feedback.tokens import MAX_TOKEN_CHARACTERS


class FeedbackIn(RequestModel):
    """What somebody says of one hit."""

    token: str = Field(
        max_length=MAX_TOKEN_CHARACTERS, description="`feedback_token` of the hit, as it is."
    )
    relevant: bool | None = Field(
        default=None,
        description="Whether the passage answers the query; null, where it is written, takes an "
        "earlier label back. Needed, except with a click.",
    )
    source: Literal["explicit", "judged", "click"] = Field(
        default="explicit",
        description="`explicit`: a user says so. `judged`: an assessor does. `click`: the hit was "
        "opened, which depends on where it stood: it is kept and counted apart, and never used as "
        "a label.",
    )


class FeedbackBatch(RequestModel):
    """Feedback on several hits."""

    feedback: list[FeedbackIn] = Field(description=f"1 to {MAX_FEEDBACK} items.")


class FeedbackOut(ResponseModel):
    """What became of feedback on a hit."""

    status: Literal["accepted", "duplicate", "rejected"] = Field(
        description="`accepted`: it survives loss of power, and counts. `duplicate`: it changes "
        "nothing, because the same was said before or an assessor said otherwise. `rejected`: its "
        "token is not accepted; only in batches, otherwise that is a problem."
    )
    reason: Literal["forged", "expired", "unknown"] | None = Field(
        description="Why a token is not accepted: not signed here, too old, or of a hit that "
        "another tenant was shown. Null otherwise."
    )
    query_id: str | None = Field(description="Of the answer; null where rejected.")
    id: str | None = Field(description="Of the passage; null where rejected.")
    relevant: bool | None = Field(
        description="The label that counts now; null for clicks, and where there is none any more."
    )


class FeedbackBatchOut(ResponseModel):
    """What became of a batch."""

    results: list[FeedbackOut] = Field(description="In the order of `feedback`.")
    accepted: Annotated[int, Field(ge=0)]
    duplicates: Annotated[int, Field(ge=0)]
    rejected: Annotated[int, Field(ge=0)]
