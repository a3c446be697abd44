"""Pages of one answer: cursors, and the snapshots that they point into.

What is promised: the pages of one cursor are cut from one ranking, made once. Whatever is stored
or deleted meanwhile, no hit comes twice and none is skipped, and its probability stays what it
was. Two things can end that. A passage that was deleted or replaced since the ranking is left out
of its page, because its probability was stated for another text; the answer says so. And a
snapshot is kept for ``SNAPSHOT_SECONDS`` after its last use, in the memory of one process, and
only while there is room: after that the cursor has expired.

``offset`` makes no such promise: each page is searched anew. Between two writes it is exact, since
the order of equal hits is fixed.
"""

from __future__ import annotations

import base64
import binascii
import struct
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID, uuid4

from app.core.calibration.standing import LanguageStanding
from app.core.errors import CursorExpiredError, InvalidCursorError
from app.core.search.types import Hit, RankingKey, SearchResult
from app.core.types import Passage

SNAPSHOT_SECONDS = 300.0
"""How long a snapshot is kept after its last use."""

MAX_KEPT_HITS = 50_000
"""Hits kept in all snapshots together; each takes some 400 bytes."""

_VERSION = 1
_CURSOR = struct.Struct(">B16sI")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a snapshot."""

    snapshot: UUID
    position: int

    def encode(self) -> str:
        """Return the cursor as a caller sees it."""
        payload = _CURSOR.pack(_VERSION, self.snapshot.bytes, self.position)
        checksum = struct.pack(">I", zlib.crc32(payload))
        return base64.urlsafe_b64encode(payload + checksum).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Read a cursor.

        Raises:
            InvalidCursorError: It is not one.
        """
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            payload, checksum = raw[: _CURSOR.size], raw[_CURSOR.size :]
            version, snapshot, position = _CURSOR.unpack(payload)
        except (ValueError, binascii.Error, struct.error) as error:
            raise _no_cursor() from error
        if checksum != struct.pack(">I", zlib.crc32(payload)) or version != _VERSION:
            raise _no_cursor()
        return cls(UUID(bytes=snapshot), position)


class _KeptHit(NamedTuple):
    """A hit without its passage, which is read again when it is shown."""

    id: str
    fingerprint: int
    score: float
    probability: float | None
    probability_source: str
    extrapolated: bool
    score_rank: int
    standing: LanguageStanding | None
    language_weight: float
    interval: tuple[float, float] | None
    shadow_probability: float | None

    @classmethod
    def of(cls, hit: Hit) -> _KeptHit:
        return cls(
            hit.passage.id,
            _fingerprint(hit.passage),
            hit.score,
            hit.probability,
            hit.probability_source,
            hit.extrapolated,
            hit.score_rank,
            hit.standing,
            hit.language_weight,
            hit.interval,
            hit.shadow_probability,
        )

    def hit(self, passage: Passage, *, rank: int) -> Hit:
        return Hit(
            passage,
            self.score,
            self.probability,
            self.probability_source,
            extrapolated=self.extrapolated,
            rank=rank,
            score_rank=self.score_rank,
            standing=self.standing,
            language_weight=self.language_weight,
            interval=self.interval,
            shadow_probability=self.shadow_probability,
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rest of an answer.

    Attributes:
        key: What the ranking was made for.
        answer: The answer without hits.
        start: Position of the first kept hit.
        kept: The hits, without what their passages say.
    """

    key: RankingKey
    answer: SearchResult
    start: int
    kept: tuple[_KeptHit, ...]

    @property
    def end(self) -> int:
        """Position after the last hit."""
        return self.start + len(self.kept)

    def ids(self, position: int, limit: int) -> list[str]:
        """Return the ids of a page's passages, best first."""
        return [kept.id for kept in self._page(position, limit)]

    def hits(self, position: int, limit: int, stored: Sequence[Passage]) -> list[Hit]:
        """Return the hits of a page; those whose passage is gone or was replaced are left out.

        Args:
            position: Where the page begins.
            limit: How many hits it has.
            stored: Those of its passages that exist.
        """
        now = {passage.id: passage for passage in stored}
        return [
            kept.hit(now[kept.id], rank=rank)
            for rank, kept in enumerate(self._page(position, limit), start=position + 1)
            if kept.id in now and _fingerprint(now[kept.id]) == kept.fingerprint
        ]

    def _page(self, position: int, limit: int) -> tuple[_KeptHit, ...]:
        start = position - self.start
        return self.kept[start : start + limit]


class Snapshots:
    """Keeps the rest of answers that have more than one page, the last used ones.

    Args:
        seconds: How long one is kept after its last use.
        max_hits: Hits kept in all of them together.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        seconds: float = SNAPSHOT_SECONDS,
        max_hits: int = MAX_KEPT_HITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._max_hits = max_hits
        self._clock = clock
        self._kept: OrderedDict[UUID, tuple[float, Snapshot]] = OrderedDict()
        self._hits = 0

    @property
    def hits(self) -> int:
        """Number of hits kept."""
        return self._hits

    def keep(self, key: RankingKey, answer: SearchResult, start: int, rest: Sequence[Hit]) -> str:
        """Keep the rest of an answer; returns the cursor of its next page.

        Args:
            key: What the ranking was made for.
            answer: The answer without hits.
            start: How many hits come before the rest.
            rest: The hits that were not shown yet.
        """
        snapshot = Snapshot(
            key=key,
            answer=answer,
            start=start,
            kept=tuple(_KeptHit.of(hit) for hit in rest),
        )
        name = uuid4()
        self._kept[name] = (self._clock() + self._seconds, snapshot)
        self._hits += len(rest)
        self._forget()
        return Cursor(name, start).encode()

    def find(self, cursor: Cursor, key: RankingKey) -> Snapshot:
        """Return the snapshot of a cursor, and keep it for longer.

        Args:
            cursor: A place in it.
            key: What the request would rank.

        Raises:
            CursorExpiredError: It is not kept any more, or by another process.
            InvalidCursorError: It was made for another search, or its place is outside.
        """
        self._forget()
        if cursor.snapshot not in self._kept:
            raise CursorExpiredError(
                f"The cursor has expired: answers are kept for {self._seconds:.0f} seconds after "
                "their last use, fewer when there are many, and not across a restart. Send the "
                "search again without a cursor."
            )
        _, snapshot = self._kept[cursor.snapshot]
        if snapshot.key != key:
            raise InvalidCursorError(
                "The cursor belongs to another search. Send the request that it came from, with "
                "nothing changed but cursor, limit, include, explain and diagnostics."
            )
        if not snapshot.start <= cursor.position < snapshot.end:
            raise _no_cursor()
        self._kept[cursor.snapshot] = (self._clock() + self._seconds, snapshot)
        self._kept.move_to_end(cursor.snapshot)
        return snapshot

    def _forget(self) -> None:
        """Let go of what has expired, and of the least recently used where there is no room."""
        now = self._clock()
        while self._kept:
            name, (expires, snapshot) = next(iter(self._kept.items()))
            if expires > now and self._hits <= self._max_hits:
                return
            del self._kept[name]
            self._hits -= snapshot.end - snapshot.start


def _fingerprint(passage: Passage) -> int:
    # Of all that a passage says: what was judged, and who may see it.
    said = (passage.text, passage.language, passage.parallel_id, repr(passage.metadata))
    return hash(said)


def _no_cursor() -> InvalidCursorError:
    return InvalidCursorError(
        "The cursor is not one that this service has given out. Use page.next_cursor of a "
        "response as it is, or leave it out to begin anew."
    )
