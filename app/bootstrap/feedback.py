"""The feedback log of a service, and the key that signs what comes back to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from app.adapters.feedback.key import feedback_key
from app.adapters.feedback.sql import feedback_log
from app.core.errors import FeedbackLogError
from app.core.feedback.service import FeedbackService
from app.core.feedback.tokens import FeedbackTokens
from app.settings import Settings

_SECONDS_A_DAY = 86_400.0
_log = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def open_feedback(settings: Settings) -> AsyncIterator[FeedbackService | None]:
    """Open the feedback log; where that fails, searches are answered all the same."""
    url = settings.feedback_log
    try:
        key = await asyncio.to_thread(feedback_key, settings.data_dir, settings.feedback_key)
        log = feedback_log(
            None if url is None else url.get_secret_value(),
            data_dir=settings.data_dir,
            collection=settings.collection,
        )
    except FeedbackLogError as error:
        _log.error("no_feedback", reason=str(error))
        yield None
        return
    try:
        await log.open()
    except FeedbackLogError as error:  # each call tries again
        _log.error("feedback_log_unavailable", reason=str(error))
    tokens = FeedbackTokens(
        key, collection=settings.collection, lifetime=settings.feedback_days * _SECONDS_A_DAY
    )
    try:
        yield FeedbackService(tokens, log)
    finally:
        await log.close()
