"""What an embedded store holds between ``open`` and ``close``."""

from __future__ import annotations

import asyncio
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

from app.adapters.edge.directory import CollectionDirectory
from app.adapters.edge.log import sync_log
from app.adapters.edge.shard import PassageShard
from app.adapters.stored_files import in_thread, sync_tree
from app.core.errors import StoreError, StoreUnavailableError
from app.core.pauses import pause
from app.core.types import ANY_PASSAGE, CollectionSpec, EmbeddedPassage

T = TypeVar("T")

CHUNK = 32
"""Passages written between two breaths of the event loop at most. Four times as many take the
engine no less time each, and everything else waits for them."""

MIN_CHUNK = 8
"""Below this a call costs more than its passages."""

CHUNK_SECONDS = 0.002
"""How long a chunk should take: on a slow machine, or with large vectors, it has fewer passages."""

_NEWEST_SHARE = 0.25

PAGE = 128
"""Passages read between two breaths."""


@dataclass(eq=False, slots=True)
class IndexBuild:
    """An index build under way.

    Attributes:
        copy: The shard that is being built.
        touched: Ids written to the live shard since it was copied.
        process: The process that builds, once it has started.
    """

    copy: Path
    touched: set[str] = field(default_factory=set)
    process: Process | None = None


@dataclass(eq=False, slots=True)
class EdgeSession:
    """A claimed directory with its live shard; made by ``begin``, over after ``end``.

    Attributes:
        spec: What the collection is indexed with.
        shard: The live shard; readers may use it at any time, as long as they do not await.
        closing: Whether ``end`` has been called; nothing new is begun from then on.
        ended: Whether the directory has been let go of.
        build: The index build that is running, if one is.
        chunk: Passages to write next before a breath.
    """

    spec: CollectionSpec
    shard: PassageShard
    closing: bool = False
    ended: bool = False
    build: IndexBuild | None = None
    chunk: int = CHUNK
    _directory: CollectionDirectory = field(kw_only=True)
    _shard_path: Path = field(kw_only=True)
    _unflushed: int = 0
    _unsynced: int = 0
    _seconds: float = CHUNK_SECONDS / CHUNK
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def begin(cls, root: Path, spec: CollectionSpec) -> Self:
        """Claim a directory, clear away what a crash has left behind, and load or create.

        Raises:
            EncoderMismatchError: It was indexed with another encoder; nothing was changed.
            StoreLockedError: Another store has the directory open.
            StoreError: The directory is damaged or cannot be used.
        """
        directory = CollectionDirectory.claim(root, spec)
        try:
            path = directory.live_shard
            directory.remove_leftovers()
            if path is not None:
                shard = PassageShard.load(path, spec.dim, directory.fields, directory.indexed)
            else:
                path = directory.new_shard()
                shard = _create(directory, path, spec.dim)
        except BaseException:
            directory.release()
            raise
        return cls(spec, shard, _directory=directory, _shard_path=path)

    async def declare_fields(self) -> None:
        """Index the fields of ``spec``, for the passages that are stored already too.

        After a crash in the middle the next session begins again.

        Raises:
            StoreError: The engine or the directory failed.
        """
        fields = self.spec.fields
        if self._directory.fields == fields:
            return
        async with self.writing():
            self.shard.forget_fields(fields)
            after = None
            # Without their index yet, writing them leaves the approximate index as it is.
            while page := self.shard.scan(ANY_PASSAGE, PAGE, after):
                self.shard.rewrite_fields(page, fields)
                after = page[-1].id
                await asyncio.sleep(0)
            self.shard.adopt_fields(fields)
            self.flush()
            self._directory.declare(fields)

    async def declare_words(self) -> None:
        """Index words, for the passages that are stored already too, where ``spec`` wants it.

        After a crash in the middle the next session begins again. Where words are indexed they
        stay so: a command that was started without the setting leaves no passage out.

        Raises:
            StoreError: The engine or the directory failed.
        """
        if not self.spec.words or self.shard.words:
            return
        async with self.writing():
            self.shard.create_words()
            after = None
            while page := self.shard.scan(ANY_PASSAGE, PAGE, after):
                self.shard.write_words(page)
                after = page[-1].id
                await asyncio.sleep(0)
            self.shard.adopt_words()
            self.flush()
            self._directory.declare_words()

    async def end(self) -> None:
        """Wait for writers, stop a build, flush, and let go of the directory.

        When the waiting is cancelled, call it again.

        Raises:
            StoreError: The last writes could not be flushed; the directory is let go of.
        """
        self.closing = True
        async with self._lock:
            if self.ended:
                return
            self.ended = True
            with ExitStack() as afterwards:
                afterwards.callback(self._directory.release)
                afterwards.callback(self.shard.close)
                self._kill_builder()
                self.flush()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Be the only one who changes the shard; it is neither closed nor swapped meanwhile.

        Raises:
            StoreUnavailableError: The session is over, or is about to be.
        """
        async with self._lock:
            if self.closing:
                raise StoreUnavailableError("The store has been closed.")
            yield

    def will_write(self, ids: Collection[str]) -> None:
        """Note which passages are about to change: before they do, so that none is missed."""
        self._unflushed += len(ids)
        self._unsynced += len(ids)
        if self.build is not None:
            self.build.touched.update(ids)

    def write(self, chunk: Sequence[EmbeddedPassage]) -> None:
        """Insert or replace passages that have been validated, and pace the next ones by it."""
        self.will_write([embedded.passage.id for embedded in chunk])
        began = time.perf_counter()
        self.shard.upsert(chunk)
        seconds, count = time.perf_counter() - began, len(chunk)
        self._seconds += _NEWEST_SHARE * (seconds / count - self._seconds)
        self.chunk = max(MIN_CHUNK, min(CHUNK, int(CHUNK_SECONDS / self._seconds)))

    def flush(self) -> None:
        """Make every write survive loss of power, and let the log shrink; everything waits."""
        self.shard.flush()
        self._unflushed = self._unsynced = 0

    async def sync(self) -> None:
        """Make every write survive loss of power; only writers wait."""
        await in_thread(sync_log, self._shard_path)
        self._unsynced = 0

    async def breathe(self, *, sync_every: int, flush_every: int) -> None:
        """Let others go on; before that flush or sync, where so much has been written since."""
        if self._unflushed >= flush_every:
            self.flush()
        elif self._unsynced >= sync_every:
            await self.sync()
        await pause()

    def new_build(self) -> IndexBuild:
        """Begin to note what a build has to catch up with."""
        self.build = IndexBuild(self._directory.new_shard())
        return self.build

    @property
    def shard_path(self) -> Path:
        """Where the live shard is."""
        return self._shard_path

    def swap(self, shard: PassageShard, path: Path) -> None:
        """Let another shard, which holds the same passages, take the place of the live one.

        Raises:
            StoreError: The swap could not be recorded; the live shard is the same as before.
        """
        self._directory.go_live(path, shard.indexed)
        outdated, self.shard, self._shard_path = self.shard, shard, path
        self._unflushed = self._unsynced = 0
        # The swap is done, and nothing that is still needed depends on the old shard.
        with suppress(StoreError):
            outdated.close()

    def _kill_builder(self) -> None:
        if self.build is not None and self.build.process is not None:
            with suppress(ProcessLookupError):
                self.build.process.kill()


def chunked(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the items in pieces of ``CHUNK``."""
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


def _create(directory: CollectionDirectory, path: Path, dim: int) -> PassageShard:
    shard = PassageShard.create(path, dim)
    shard.flush()
    sync_tree(path)
    directory.go_live(path)
    return shard
