"""The feedback log in a database: SQLite in the data directory, or PostgreSQL by URL.

Both run the same statements, on a thread of their own, so that the event loop never waits for a
disk. A hit has one label and one click: a unique key sees to it, across processes and restarts. Who
writes to a collection writes alone: what was there is read, and changed, before anybody else does,
and numbers become visible in their order.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from app.core.errors import FeedbackLogError
from app.core.feedback.entries import Entry, Kept, Label, Source, Statement, settled

LOG_FILE = "feedback.sqlite3"
_BUSY_SECONDS = 10.0
_CONNECT_SECONDS = 5

T = TypeVar("T")

_IDENTITY = ("collection", "tenant", "query_id", "passage_id", "kind")
_FACTS = (
    "source",
    "relevant",
    "received",
    "rank",
    "probability",
    "calibrator",
    "query_language",
    "passage_language",
    "issued",
    "score",
    "background",
    "corpus_size",
    "language_rank",
    "language_lead",
    "language_lag",
    "language_size",
    "same",
    "cross_",
    "shadow",
    "shadow_probability",
)
_COLUMNS = (*_IDENTITY, *_FACTS)

_TABLE = """
CREATE TABLE IF NOT EXISTS isoglot_feedback (
    seq {serial},
    collection TEXT NOT NULL, tenant TEXT NOT NULL, query_id TEXT NOT NULL,
    passage_id TEXT NOT NULL, kind TEXT NOT NULL,
    source TEXT NOT NULL, relevant {boolean}, received {real} NOT NULL,
    rank INTEGER NOT NULL, probability {real} NOT NULL, calibrator TEXT NOT NULL,
    query_language TEXT NOT NULL, passage_language TEXT NOT NULL, issued BIGINT NOT NULL,
    score {real} NOT NULL, background {real} NOT NULL, corpus_size BIGINT NOT NULL,
    language_rank INTEGER NOT NULL, language_lead {real} NOT NULL,
    language_lag {real} NOT NULL, language_size BIGINT NOT NULL,
    same {real} NOT NULL, cross_ {real} NOT NULL,
    shadow TEXT NOT NULL, shadow_probability {real} NOT NULL,
    UNIQUE (collection, tenant, query_id, passage_id, kind)
)
"""


class _Cursor(Protocol):
    def fetchone(self) -> Any: ...  # noqa: ANN401  of any columns

    def fetchall(self) -> list[Any]: ...


class _Connection(Protocol):
    """What ``sqlite3`` and ``psycopg`` have in common."""

    def execute(self, statement: str, values: Sequence[Any] = ..., /) -> _Cursor: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How one database differs from the other.

    Attributes:
        name: As an error calls it.
        connect: Opens a connection without transactions of its own accord.
        mark: Stands for a value in a statement.
        begin: Begins a transaction that writes.
        lock: Waits until nobody else writes to a collection; ``None`` where ``begin`` does.
        errors: What the database raises.
        types: Names of column types.
    """

    name: str
    connect: Callable[[], _Connection]
    mark: str
    begin: str
    lock: str | None
    errors: tuple[type[Exception], ...]
    types: dict[str, str]


class SqlFeedbackLog:
    """Implements ``FeedbackLog``; made by ``feedback_log``."""

    def __init__(self, collection: str, dialect: _Dialect) -> None:
        self._collection = collection
        self._dialect = dialect
        self._connection: _Connection | None = None
        self._thread: ThreadPoolExecutor | None = None
        marks = ", ".join([dialect.mark] * len(_COLUMNS))
        self._insert = (
            f"INSERT INTO isoglot_feedback ({', '.join(_COLUMNS)}) VALUES ({marks}) "  # noqa: S608  names of this module
            "ON CONFLICT DO NOTHING RETURNING seq"
        )
        known = " AND ".join(f"{column} = {dialect.mark}" for column in _IDENTITY)
        self._find = f"SELECT source, relevant FROM isoglot_feedback WHERE {known}"  # noqa: S608
        self._change = (
            f"UPDATE isoglot_feedback SET source = {dialect.mark}, relevant = {dialect.mark}, "  # noqa: S608
            f"received = {dialect.mark} WHERE {known}"
        )
        self._next = (
            f"SELECT seq, {', '.join(_COLUMNS)} FROM isoglot_feedback "  # noqa: S608
            f"WHERE collection = {dialect.mark} AND seq > {dialect.mark} "
            "AND (kind = 'click' OR relevant IS NOT NULL) "
            f"ORDER BY seq LIMIT {dialect.mark}"
        )

    async def open(self) -> None:
        """Open the log, or make it."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="feedback")
        await self._run(lambda connection: None)

    async def close(self) -> None:
        """Let go of the database."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        await asyncio.get_running_loop().run_in_executor(thread, self._disconnect)
        thread.shutdown()

    async def append(self, entries: Sequence[Entry]) -> list[Kept]:
        """Add entries in one transaction that is on the disk when this returns."""
        return await self._run(lambda connection: self._add(connection, entries))

    async def read(self, *, after: int = 0, limit: int = 1000) -> list[tuple[int, Entry]]:
        """Return the next entries in the order they came."""
        values = (self._collection, after, limit)
        found = await self._run(lambda c: c.execute(self._next, values).fetchall())
        return [(seq, _entry(row)) for seq, *row in found]

    def _add(self, connection: _Connection, entries: Sequence[Entry]) -> list[Kept]:
        connection.execute(self._dialect.begin)
        try:
            if self._dialect.lock is not None:
                connection.execute(self._dialect.lock, (self._collection,))
            kept = [self._add_one(connection, entry) for entry in entries]
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        return kept

    def _add_one(self, connection: _Connection, entry: Entry) -> Kept:
        row = _row(self._collection, entry)
        identity = row[: len(_IDENTITY)]
        if entry.source == "click":
            is_first = connection.execute(self._insert, row).fetchone() is not None
            return Kept(is_taken=is_first, relevant=None)
        found = connection.execute(self._find, identity).fetchone()
        standing = None if found is None or found[1] is None else Label(found[0], bool(found[1]))
        kept = settled(entry, standing)
        if kept.is_taken and found is None:
            connection.execute(self._insert, row)
        elif kept.is_taken:
            changed = (entry.source, entry.relevant, entry.received)
            connection.execute(self._change, (*changed, *identity))
        return kept

    async def _run(self, work: Callable[[_Connection], T]) -> T:
        if self._thread is None:
            raise FeedbackLogError("The feedback log is not open.")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._try, work)

    def _try(self, work: Callable[[_Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._dialect.connect()
                table = _TABLE.format(**self._dialect.types)
                self._connection.execute(table)
            return work(self._connection)
        except self._dialect.errors as error:
            self._disconnect()  # the next call begins with a new connection
            raise FeedbackLogError(
                f"The feedback log ({self._dialect.name}) cannot be read or written: "
                f"{str(error).strip()}."
            ) from error

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.close()
        except self._dialect.errors:
            return


def feedback_log(url: str | None, *, data_dir: Path, collection: str) -> SqlFeedbackLog:
    """Return the log of a collection, not open yet.

    Args:
        url: ``postgresql://...``; ``None`` for a file of SQLite in the data directory.
        data_dir: Where that file lies.
        collection: Whose feedback it is; a database keeps that of several.

    Raises:
        FeedbackLogError: PostgreSQL is asked for, and its client is not installed.
    """
    if url is None:
        return SqlFeedbackLog(collection, _sqlite(data_dir / LOG_FILE))
    return SqlFeedbackLog(collection, _postgres(url))


def _sqlite(path: Path) -> _Dialect:
    def connect() -> sqlite3.Connection:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise sqlite3.OperationalError(f"{path.parent}: {error.strerror}") from error
        connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        # The log is flushed before a commit returns: in WAL mode the default does not.
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    return _Dialect(
        name=str(path),
        connect=connect,
        mark="?",
        begin="BEGIN IMMEDIATE",
        lock=None,
        errors=(sqlite3.Error,),
        types={
            "serial": "INTEGER PRIMARY KEY AUTOINCREMENT",
            "boolean": "INTEGER",
            "real": "REAL",
        },
    )


def _postgres(url: str) -> _Dialect:
    try:
        import psycopg
    except ImportError as error:
        raise FeedbackLogError(
            "A feedback log in PostgreSQL needs its client: pip install '.[postgres]' in the "
            "checkout of Isoglot."
        ) from error

    def connect() -> _Connection:
        connection: _Connection = psycopg.connect(
            url, autocommit=True, connect_timeout=_CONNECT_SECONDS
        )
        return connection

    return _Dialect(
        name="PostgreSQL",
        connect=connect,
        mark="%s",
        begin="BEGIN",
        lock="SELECT pg_advisory_xact_lock(hashtextextended('isoglot_feedback ' || %s, 0))",
        errors=(psycopg.Error,),
        types={
            "serial": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            "boolean": "BOOLEAN",
            "real": "DOUBLE PRECISION",
        },
    )


def _row(collection: str, entry: Entry) -> tuple[Any, ...]:
    said = entry.statement
    kind = "click" if entry.source == "click" else "label"
    return (
        *(collection, said.tenant, said.query_id, said.passage_id, kind),
        *(entry.source, entry.relevant, entry.received),
        *(said.rank, said.probability, said.calibrator),
        *(said.query_language, said.passage_language, said.issued),
        *(said.score, said.background, said.corpus_size),
        *(said.language_rank, said.language_lead, said.language_lag, said.language_size),
        *(said.same, said.cross, said.shadow, said.shadow_probability),
    )


def _entry(row: Sequence[Any]) -> Entry:
    named = dict(zip(_COLUMNS, row, strict=True))
    source: Source = named.pop("source")
    relevant, received = _label(named.pop("relevant")), named.pop("received")
    del named["collection"], named["kind"]
    statement = Statement(cross=named.pop("cross_"), **named)
    return Entry(statement, source, relevant, received)


def _label(stored: int | None) -> bool | None:
    return None if stored is None else bool(stored)
