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
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from app.core.errors import CursorExpiredError, InvalidCursorError
from app.core.search.candidates import HIT_BYTES, Statements
from app.core.search.ranking import Ranking
from app.core.search.types import Hit, RankingKey, SearchResult
from app.core.types import FloatArray, Passage

SNAPSHOT_SECONDS = 300.0
"""How long a snapshot is kept after its last use."""

SNAPSHOT_BYTES = 64 << 20
"""Memory that all snapshots may take, by estimate: some three thousand answers of a hundred
candidates."""

_ANSWER_BYTES = 3000
_REST_BYTES = 75

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


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The rest of an answer, without what its passages say: they are read again when shown.

    Attributes:
        key: What the ranking was made for.
        answer: The answer without hits.
        start: Position of the first kept hit.
        said: What is stated of all candidates.
        order: Places of the kept hits among the candidates, best first.
        weights: Weight of the language of every candidate; ``None`` where there are none.
        ids: Ids of the kept hits, best first.
        fingerprints: Of their passages, in the same order.
    """

    key: RankingKey
    answer: SearchResult
    start: int
    said: Statements
    order: Sequence[int]
    weights: FloatArray | None
    ids: Sequence[str]
    fingerprints: Sequence[int]

    @classmethod
    def of(cls, key: RankingKey, answer: SearchResult, start: int, ranking: Ranking) -> Snapshot:
        """Return what is kept of an answer of which ``start`` hits have been shown."""
        rest = ranking.order[start:]
        passages = [ranking.candidates.passages[at] for at in rest]
        return cls(
            key,
            answer,
            start,
            ranking.candidates.said,
            array("H", rest),
            ranking.weights,
            [passage.id for passage in passages],
            array("q", map(fingerprint_of, passages)),
        )

    @property
    def end(self) -> int:
        """Position after the last hit."""
        return self.start + len(self.ids)

    @property
    def bytes(self) -> int:
        """Memory that it takes, by estimate; more where the same ids are in use elsewhere."""
        letters = sum(map(len, self.ids))
        return (
            _ANSWER_BYTES
            + HIT_BYTES * len(self.said.scores)
            + _REST_BYTES * len(self.ids)
            + letters
        )

    def page(self, position: int, limit: int) -> list[str]:
        """Return the ids of a page's passages, best first."""
        start = position - self.start
        return list(self.ids[start : start + limit])

    def hits(self, position: int, limit: int, stored: Sequence[Passage]) -> list[Hit]:
        """Return the hits of a page; those whose passage is gone or was replaced are left out.

        Args:
            position: Where the page begins.
            limit: How many hits it has.
            stored: Those of its passages that exist.
        """
        now = {passage.id: passage for passage in stored}
        first = position - self.start
        return [
            self._hit(n, now[self.ids[n]])
            for n in range(first, min(first + limit, len(self.ids)))
            if self.ids[n] in now and fingerprint_of(now[self.ids[n]]) == self.fingerprints[n]
        ]

    def _hit(self, n: int, passage: Passage) -> Hit:
        at = self.order[n]
        weight = 1.0 if self.weights is None else float(self.weights[at])
        return self.said.hit(at, passage, rank=self.start + n + 1, weight=weight)


class Snapshots:
    """Keeps the rest of answers that have more than one page, the last used ones.

    Args:
        seconds: How long one is kept after its last use.
        capacity: Bytes that all of them may take, by estimate.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        seconds: float = SNAPSHOT_SECONDS,
        capacity: int = SNAPSHOT_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._capacity = capacity
        self._clock = clock
        self._kept: OrderedDict[UUID, tuple[float, int, Snapshot]] = OrderedDict()
        self._bytes = 0

    @property
    def used(self) -> int:
        """Bytes that all of them take, by estimate."""
        return self._bytes

    def keep(self, key: RankingKey, answer: SearchResult, start: int, ranking: Ranking) -> str:
        """Keep the rest of an answer; returns the cursor of its next page.

        Args:
            key: What the ranking was made for.
            answer: The answer without hits.
            start: How many hits of the ranking were shown or left out already.
            ranking: The whole answer.
        """
        snapshot = Snapshot.of(key, answer, start, ranking)
        size = snapshot.bytes
        name = uuid4()
        self._kept[name] = (self._clock() + self._seconds, size, snapshot)
        self._bytes += size
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
        _, size, snapshot = self._kept[cursor.snapshot]
        if snapshot.key != key:
            raise InvalidCursorError(
                "The cursor belongs to another search. Send the request that it came from, with "
                "nothing changed but cursor, limit, include, explain and diagnostics."
            )
        if not snapshot.start <= cursor.position < snapshot.end:
            raise _no_cursor()
        self._kept[cursor.snapshot] = (self._clock() + self._seconds, size, snapshot)
        self._kept.move_to_end(cursor.snapshot)
        return snapshot

    def _forget(self) -> None:
        """Let go of what has expired, and of the least recently used where there is no room."""
        now = self._clock()
        while self._kept:
            name, (expires, size, _) = next(iter(self._kept.items()))
            if expires > now and self._bytes <= self._capacity:
                return
            del self._kept[name]
            self._bytes -= size


def fingerprint_of(passage: Passage) -> int:
    """Return what tells a passage from another one that takes its place, in this process.

    It is of all that a passage says: what was judged, and who may see it.
    """
    known = passage.memo
    if known is None:
        said = (passage.text, passage.language, passage.parallel_id, repr(passage.metadata))
        known = hash(said)
        # Stores hand out the same passages time and again, and most searches keep ninety.
        object.__setattr__(passage, "memo", known)
    return known


def _no_cursor() -> InvalidCursorError:
    return InvalidCursorError(
        "The cursor is not one that this service has given out. Use page.next_cursor of a "
        "response as it is, or leave it out to begin anew."
    )
