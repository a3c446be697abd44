"""What runs on the nodes of a Ray cluster: workers that index, and one writer for them all.

Nothing here imports Ray: a worker is a callable class, and the writer's methods are called through
the handle that Ray makes of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from app.bootstrap import open_ingest, open_runtime
from app.cli.exits import CannotStartError
from app.cli.ingest.file_ranges import FileRange, read_range
from app.cli.ingest.indexing import IndexReport, LocalSink, index_lines
from app.cli.ingest.passages_file import Rejection
from app.core.errors import InvalidPassageError, IsoglotError
from app.core.ports import PassageWriter
from app.core.types import ANY_PASSAGE, EmbeddedPassage, FieldKind, Passage, PassageFilter
from app.settings import Settings


@dataclass(slots=True)
class RangeReport:
    """What became of a range.

    Attributes:
        bytes: Its length.
        stored: Lines whose passage is stored.
        rejections: Lines that were not, with the reason.
        failure: Why the rest of it was given up; empty where nothing was.
    """

    bytes: int
    stored: int = 0
    rejections: list[str] = field(default_factory=list)
    failure: str = ""


class StoreWriter:
    """Has the embedded store open on behalf of all workers, as only one process can.

    Args:
        settings: Name the collection.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._store: PassageWriter | None = None

    async def open(self) -> str:
        """Open the store; returns why it cannot be opened, or nothing."""
        try:
            runtime = await self._stack.enter_async_context(open_runtime(self._settings))
        except IsoglotError as error:
            return str(error)
        self._store = runtime.store
        return ""

    async def call(self, method: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Call a method of the store; returns its result, and what an invalid passage is about.

        Errors with members of their own do not survive the way through Ray.
        """
        try:
            return await getattr(self._store, method)(*args, **options), None
        except InvalidPassageError as error:
            return None, (str(error), error.pointer)

    async def close(self) -> None:
        """Make everything durable, and let go of the store."""
        await self._stack.aclose()


class RemoteWriter:
    """A ``PassageWriter`` that asks the ``StoreWriter`` behind a handle.

    Args:
        writer: Handle of the writer.
        fields: Members of the metadata that filters may read.
    """

    def __init__(self, writer: Any, fields: Mapping[str, FieldKind]) -> None:  # noqa: ANN401
        self._writer = writer
        self._fields = fields

    @property
    def fields(self) -> Mapping[str, FieldKind]:
        """Members of the metadata that filters may read."""
        return self._fields

    async def upsert(self, passages: Sequence[EmbeddedPassage], *, durable: bool) -> None:
        """Insert or replace passages."""
        await self._ask("upsert", passages, durable=durable)

    async def delete(self, ids: Collection[str]) -> int:
        """Delete passages."""
        found: int = await self._ask("delete", ids)
        return found

    async def get(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages that exist."""
        found: list[Passage] = await self._ask("get", ids)
        return found

    async def content_hashes(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Return the content hash of every passage that exists."""
        found: Mapping[str, str] = await self._ask("content_hashes", ids)
        return found

    async def scan(
        self, *, limit: int, where: PassageFilter = ANY_PASSAGE, after: str | None = None
    ) -> list[Passage]:
        """Return the next eligible passages."""
        found: list[Passage] = await self._ask("scan", limit=limit, where=where, after=after)
        return found

    async def _ask(self, method: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        found, invalid = await self._writer.call.remote(method, *args, **options)
        if invalid is not None:
            message, pointer = invalid
            raise InvalidPassageError(message, pointer=pointer)
        return found


class RangeIndexer:
    """Indexes one range after another; Ray makes one of each worker.

    Args:
        settings: Name bundle and store; paths must mean the same on every node.
        writer: Handle of the ``StoreWriter``; ``None`` where every worker may open the store.
        runner: Runs what is asynchronous; one of its own by default.
    """

    def __init__(
        self,
        settings: Settings,
        writer: Any,  # noqa: ANN401
        *,
        runner: asyncio.Runner | None = None,
    ) -> None:
        self._runner = runner or asyncio.Runner()
        self._stack = AsyncExitStack()
        self._sink = LocalSink(self._runner.run(self._open(settings, writer)))

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Index a range.

        Args:
            row: Members of a ``FileRange``.

        Returns:
            Members of a ``RangeReport``.
        """
        return asdict(self._runner.run(self._index(FileRange(**row))))

    def close(self) -> None:
        """Let go of the encoder; a worker that Ray ends does not come to that."""
        self._runner.run(self._stack.aclose())

    async def _open(self, settings: Settings, writer: Any) -> Any:  # noqa: ANN401
        if writer is None:
            runtime = await self._stack.enter_async_context(open_runtime(settings))
            return runtime.ingest
        store = RemoteWriter(writer, settings.filter_fields)
        return await self._stack.enter_async_context(open_ingest(settings, store))

    async def _index(self, part: FileRange) -> RangeReport:
        rejections: list[str] = []

        def reject(rejection: Rejection) -> None:
            rejections.append(f"{rejection.file}:{rejection.line}: {rejection.reason}")

        report = IndexReport()
        failure = ""
        try:
            await index_lines(read_range(part), self._sink, report, on_rejection=reject)
        except (IsoglotError, CannotStartError) as error:
            failure = str(error)
        return RangeReport(part.length, report.stored, rejections, failure)
