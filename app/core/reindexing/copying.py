"""Embedding a stored collection with another encoder, so that it can take the place of the first.

Copying compares before it embeds: a passage that the target holds as the source does is left
alone. So a copy that was interrupted goes on where it was, a copy back to the collection from
before (a rollback) embeds only what has changed since, and to repeat one does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

from app.core.encoding import EncoderThread
from app.core.errors import ReindexingError, UnencodableTextError
from app.core.ports import PassageStore
from app.core.reindexing.journal import JournaledStore
from app.core.reindexing.progress import Phase, Progress
from app.core.types import EmbeddedPassage, NearestQuery, Passage, VectorArray

PAGE = 256
"""Passages that are compared together."""

SAMPLE = 32
"""Passages whose vectors are checked before the switch."""

FEW = 64
"""So many passages may be left to catch up with while writers are held back."""

MAX_ROUNDS = 20
"""Most rounds of catching up before the switch: writers may be faster than the encoder."""

SAME = 0.99
"""Least cosine of a passage with its own stored vector; arithmetic in batches rounds."""


class Reindexer:
    """Makes one collection hold what another does, with vectors of another encoder.

    Args:
        source: The collection that is served; it is only read.
        target: The collection that is to take its place; open, and not served.
        encoder: Of the target.
        on_progress: Called after every step.
    """

    def __init__(
        self,
        *,
        source: JournaledStore,
        target: PassageStore,
        encoder: EncoderThread,
        on_progress: Callable[[Progress], None] = lambda _progress: None,
    ) -> None:
        self.progress = Progress()
        self._source = source
        self._target = target
        self._encoder = encoder
        self._on_progress = on_progress
        # Of two copies of one passage the later must be the one that was read later.
        self._copying = asyncio.Lock()

    async def copy(self) -> None:
        """Copy everything, and what is written meanwhile, until hardly anything is left.

        The source keeps its journal from the first moment on.

        Raises:
            ReindexingError: A passage cannot be embedded by the new encoder.
            EncodingError: The encoder failed.
            StoreError: One of the stores failed.
        """
        self._source.begin()
        self.progress.passages = await self._source.count()
        self._enter("copying")
        await self._copy_all()
        self._enter("removing")
        await self._remove_gone()
        self._enter("catching up")
        for _ in range(MAX_ROUNDS):
            touched = self._source.take()
            await self.carry(touched)
            if len(touched) <= FEW:
                break
        self._enter("indexing")
        await self._target.build()

    async def switch(self, take_over: Callable[[], Awaitable[None]]) -> None:
        """Hold writers back, copy the last writes, verify, and let the target take over.

        Writes that still come to the source afterwards are acknowledged once they are in the
        target too.

        Args:
            take_over: Makes the target the collection that is served; where it raises, the
                source goes on being served.

        Raises:
            ReindexingError: The target does not hold what it has to.
        """
        self._enter("switching")
        async with self._source.paused():
            await self.carry(self._source.take())
            # Not before: a sample could hold what was written a moment ago.
            self._enter("verifying")
            await self._verify_counts()
            await self._verify_vectors()
            await self._target.upsert([], durable=True)
            await take_over()
            self._source.carry_over(self.carry)
        self._enter("done")

    async def carry(self, ids: Collection[str]) -> None:
        """Make the target agree with the source on some passages, deletions included."""
        ordered = sorted(ids)
        for start in range(0, len(ordered), PAGE):
            page = ordered[start : start + PAGE]
            async with self._copying:
                passages = await self._source.get(page)
                gone = set(page) - {passage.id for passage in passages}
                if gone:
                    self.progress.removed += await self._target.delete(gone)
                await self._copy_changed(passages)

    async def _copy_all(self) -> None:
        after = None
        while page := await self._source.scan(limit=PAGE, after=after):
            after = page[-1].id
            async with self._copying:
                await self._copy_changed(page)
            self.progress.compared += len(page)
            self._on_progress(self.progress)

    async def _remove_gone(self) -> None:
        after = None
        while page := await self._target.scan(limit=PAGE, after=after):
            after = page[-1].id
            ids = [passage.id for passage in page]
            gone = set(ids) - set(await self._source.content_hashes(ids))
            if gone:
                self.progress.removed += await self._target.delete(gone)

    async def _copy_changed(self, passages: Sequence[Passage]) -> None:
        ids = [passage.id for passage in passages]
        hashes = await self._source.content_hashes(ids)
        known = {passage.id: passage for passage in await self._target.get(ids)}
        known_hashes = await self._target.content_hashes(ids)
        changed = [
            passage
            for passage in passages
            if known.get(passage.id) != passage
            or known_hashes.get(passage.id) != hashes.get(passage.id, "")
        ]
        if not changed:
            return
        vectors = await self._embed(changed)
        await self._target.upsert(
            [
                EmbeddedPassage(passage, vector, hashes.get(passage.id, ""))
                for passage, vector in zip(changed, vectors, strict=True)
            ],
            durable=False,
        )
        self.progress.embedded += len(changed)
        self._on_progress(self.progress)

    async def _embed(self, passages: Sequence[Passage]) -> VectorArray:
        try:
            return await self._encoder.encode_passages([passage.text for passage in passages])
        except UnencodableTextError:
            for passage in passages:
                await self._embed_one(passage)
            raise

    async def _embed_one(self, passage: Passage) -> None:
        try:
            await self._encoder.encode_passages([passage.text])
        except UnencodableTextError as error:
            raise ReindexingError(
                f"The new encoder knows no token of passage {passage.id!r}, so that it would be "
                "lost. Delete or replace it, and reindex again."
            ) from error

    async def _verify_vectors(self) -> None:
        sample = await self._source.scan(limit=SAMPLE)
        vectors = await self._embed(sample)
        found = await self._target.search([NearestQuery(vector, 1) for vector in vectors])
        for passage, hits in zip(sample, found, strict=True):
            if not hits or hits[0].score < SAME:
                raise ReindexingError(
                    f"The new collection does not find passage {passage.id!r} by its own text. "
                    "It was not switched to; reindex again, and report it if it stays so."
                )

    async def _verify_counts(self) -> None:
        expected, found = await self._source.languages(), await self._target.languages()
        if dict(expected) != dict(found):
            raise ReindexingError(
                f"The new collection holds {sum(found.values())} passages instead of "
                f"{sum(expected.values())}, or they are in other languages. It was not switched "
                "to; does another service write to the same collection?"
            )

    def _enter(self, phase: Phase) -> None:
        self.progress.phase = phase
        self._on_progress(self.progress)
