"""Taking feedback: read the tokens, keep what is new, and say what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from app.core.errors import FeedbackRejectedError, InvalidInputError
from app.core.feedback.entries import Entry, FeedbackLog, Judgement, Kept, Label, Statement
from app.core.feedback.tokens import FeedbackTokens

MAX_FEEDBACK = 1000
"""Most judgements in one request."""

Rejection: TypeAlias = Literal["forged", "expired", "unknown"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one judgement.

    Attributes:
        status: ``accepted``: it is kept, and counts. ``duplicate``: it changes nothing, because
            the same was said before, or an assessor said otherwise. ``rejected``: its token is
            not accepted.
        reason: Why a token is not accepted: ``forged``, ``expired`` or ``unknown``.
        statement: What the token states; ``None`` where it is not accepted.
        relevant: The label that counts; ``None`` for clicks, rejected tokens, and where there is
            none any more.
        before: The label that counted until now; ``None`` where there was none or it still does.
        delay: Seconds from the search to the feedback.
    """

    status: Literal["accepted", "duplicate", "rejected"]
    reason: Rejection | None = None
    statement: Statement | None = None
    relevant: bool | None = None
    before: Label | None = None
    delay: float = 0.0


class FeedbackService:
    """Takes feedback on the passages of everybody, or of one tenant.

    Args:
        tokens: Signs and reads tokens.
        log: Keeps what is accepted.
        tenant: Whose passages are searched; ``None`` for all.
    """

    def __init__(
        self, tokens: FeedbackTokens, log: FeedbackLog, *, tenant: str | None = None
    ) -> None:
        self._tokens = tokens
        self._log = log
        self._tenant = tenant

    @property
    def tenant(self) -> str:
        """Name of the tenant; empty for all."""
        return self._tenant or ""

    def for_tenant(self, tenant: str) -> FeedbackService:
        """Return the same for the passages of one tenant."""
        return FeedbackService(self._tokens, self._log, tenant=tenant)

    def now(self) -> int:
        """Return the time that statements of this moment carry."""
        return int(self._tokens.now())

    def token(self, statement: Statement) -> str:
        """Return the token of a hit."""
        return self._tokens.sign(statement)

    async def take(self, judgements: Sequence[Judgement]) -> list[Receipt]:
        """Keep judgements; returns once they survive loss of power.

        Args:
            judgements: 1 to ``MAX_FEEDBACK`` of them.

        Returns:
            What became of each, in order. Sending the same again changes nothing.

        Raises:
            InvalidInputError: There are too many, or a click has a label.
            FeedbackLogError: The log cannot be written; nothing was kept.
        """
        _check(judgements)
        now = self._tokens.now()
        receipts: list[Receipt | Entry] = [self._read(judgement, now) for judgement in judgements]
        entries = [entry for entry in receipts if isinstance(entry, Entry)]
        kept = iter(await self._log.append(entries) if entries else ())
        return [
            found if isinstance(found, Receipt) else _receipt(found, next(kept))
            for found in receipts
        ]

    def _read(self, judgement: Judgement, now: float) -> Receipt | Entry:
        try:
            statement = self._tokens.read(judgement.token, tenant=self._tenant)
        except FeedbackRejectedError as error:
            return Receipt("rejected", reason=error.reason)
        return Entry(statement, judgement.source, judgement.relevant, received=now)


def _receipt(entry: Entry, kept: Kept) -> Receipt:
    return Receipt(
        "accepted" if kept.is_taken else "duplicate",
        statement=entry.statement,
        relevant=kept.relevant,
        before=kept.before,
        delay=entry.received - entry.statement.issued,
    )


def _check(judgements: Sequence[Judgement]) -> None:
    if not 1 <= len(judgements) <= MAX_FEEDBACK:
        raise InvalidInputError(
            f"A request holds 1 to {MAX_FEEDBACK} judgements, not {len(judgements)}.",
            pointer="/feedback",
        )
    for number, judgement in enumerate(judgements):
        if judgement.source == "click" and judgement.relevant is not None:
            raise InvalidInputError(
                "A click says nothing of relevance: leave `relevant` out.",
                pointer=f"/feedback/{number}/relevant",
            )
