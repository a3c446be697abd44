"""Adding and removing passages: validate, split, identify the language, encode, store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from app.core.encoding import EncoderThread
from app.core.errors import InvalidInputError, InvalidPassageError, PassageNotFoundError
from app.core.passages.entries import (
    MAX_DOCUMENT_CHARACTERS,
    Document,
    Entry,
    Rejected,
    Status,
    Stored,
    check_split,
    checked,
    content_hash,
    id_of,
)
from app.core.passages.fields import kind_problem
from app.core.pauses import Pauses
from app.core.ports import LanguageIdentifier, PassageWriter, TextSplitter
from app.core.types import (
    UNDETERMINED,
    EmbeddedPassage,
    Filter,
    MatchAny,
    Passage,
    PassageFilter,
)

DETECTION_CONFIDENCE = 0.8
"""Below this a passage's detected language is not believed, and stays ``und``."""

_STALE_PAGE = 256


class IngestService:
    """Writes to one collection.

    Args:
        encoder: Embeds what is new.
        store: Where passages go.
        languages: Guesses languages that are not declared.
        splitter: Cuts documents; without it none is taken.
    """

    def __init__(
        self,
        *,
        encoder: EncoderThread,
        store: PassageWriter,
        languages: LanguageIdentifier,
        splitter: TextSplitter | None = None,
    ) -> None:
        self._encoder = encoder
        self._store = store
        self._languages = languages
        self._splitter = splitter

    def check(self, entry: Entry) -> Entry:
        """Return an entry with its language tag in canonical case.

        Raises:
            InvalidInputError: It cannot be stored; ``pointer`` begins at the entry.
        """
        if isinstance(entry, Document):
            passage = checked(entry.passage, max_characters=MAX_DOCUMENT_CHARACTERS)
            check_split(entry.split)
        else:
            passage = checked(entry)
        problem = kind_problem(passage, self._store.fields)
        if problem is not None:
            name, what = problem
            raise InvalidPassageError(
                f"Passage {passage.id!r}: {name} {what}.", pointer=f"/metadata/{name}"
            )
        return Document(passage, entry.split) if isinstance(entry, Document) else passage

    async def add(self, entries: Sequence[Entry], *, durable: bool = True) -> list[Stored]:
        """Insert or replace entries by id, all or none; of two with one id the later is kept.

        What is stored already with the same content is not encoded again. Of a document, the
        pieces that it has no longer are removed.

        Args:
            entries: What to store. Where ``language`` is ``und`` it is identified.
            durable: Return only once they survive loss of power.

        Returns:
            What became of each entry, in their order, as if they had come one by one.

        Raises:
            InvalidInputError: One of them is not valid; ``pointer`` begins with its position.
                Nothing was written.
        """
        groups: list[list[Passage]] = []
        pauses = Pauses()
        for index, entry in enumerate(entries):
            await pauses.due()
            try:
                # In a thread: cutting up a long text would hold up the event loop.
                groups.append(await self._pieces(self.check(entry)))
            except InvalidInputError as error:
                raise type(error)(str(error), pointer=f"/{index}{error.pointer}") from error
        statuses, languages = await self._write(groups, durable=durable)
        # Of two documents with one id the later is kept, and with it its number of pieces.
        latest = {
            entry.passage.id: group
            for entry, group in zip(entries, groups, strict=True)
            if isinstance(entry, Document)
        }
        shrunk = [name for name, group in latest.items() if await self._remove_stale(name, group)]
        return [
            _summed_up(entry, found, languages, shrunk=id_of(entry) in shrunk)
            for entry, found in zip(entries, statuses, strict=True)
        ]

    async def add_each(
        self, entries: Sequence[Entry], *, durable: bool = True, stop_at_rejection: bool = False
    ) -> list[Stored | Rejected]:
        """Store every entry that can be stored; those that cannot be are found by halving.

        Args:
            entries: As in ``add``.
            durable: As in ``add``.
            stop_at_rejection: Store nothing that comes after an entry that is rejected.

        Returns:
            What became of each entry, in their order; nothing after the first rejected one with
            ``stop_at_rejection``.
        """
        try:
            return [*await self.add(entries, durable=durable)]
        except InvalidInputError as error:
            if len(entries) == 1:
                return [Rejected(id_of(entries[0]), error)]
        middle = len(entries) // 2
        outcomes: list[Stored | Rejected] = []
        for half in (entries[:middle], entries[middle:]):
            outcomes += await self.add_each(
                half, durable=durable, stop_at_rejection=stop_at_rejection
            )
            if stop_at_rejection and any(isinstance(found, Rejected) for found in outcomes):
                break
        return outcomes

    async def get(self, passage_id: str) -> Passage:
        """Return one passage.

        Raises:
            PassageNotFoundError: There is none with that id.
        """
        found = await self._store.get([passage_id])
        if not found:
            raise PassageNotFoundError(passage_id)
        return found[0]

    async def delete(self, passage_id: str) -> None:
        """Delete one passage; raises as ``get``."""
        if not await self._store.delete([passage_id]):
            raise PassageNotFoundError(passage_id)

    async def _pieces(self, entry: Entry) -> list[Passage]:
        if isinstance(entry, Passage):
            return [entry]
        if self._splitter is None:
            raise InvalidPassageError("Splitting is not set up here.", pointer="/split")
        whole = entry.passage
        spans = await asyncio.to_thread(self._splitter.split, whole.text, entry.split)
        return [
            checked(
                replace(
                    whole,
                    id=f"{whole.id}#{number}",
                    text=whole.text[start:end],
                    document_id=whole.id,
                    span=(start, end),
                )
            )
            for number, (start, end) in enumerate(spans, start=1)
        ]

    async def _write(
        self, groups: Sequence[Sequence[Passage]], *, durable: bool
    ) -> tuple[list[list[Status]], Mapping[str, str]]:
        """Write what has changed; returns all statuses, and the languages of what was written."""
        flat = [(index, passage) for index, group in enumerate(groups) for passage in group]
        ids = {passage.id for _, passage in flat}
        known = dict(await self._store.content_hashes(sorted(ids)))
        statuses: list[list[Status]] = [[] for _ in groups]
        changed: dict[str, tuple[int, Passage, str]] = {}
        pauses = Pauses()
        for index, passage in flat:
            await pauses.due()
            digest = content_hash(passage)
            status = _status(known.get(passage.id), digest)
            statuses[index].append(status)
            known[passage.id] = digest
            if status != "unchanged":
                changed[passage.id] = (index, passage, digest)
        return statuses, await self._write_changed(list(changed.values()), durable=durable)

    async def _write_changed(
        self, changed: Sequence[tuple[int, Passage, str]], *, durable: bool
    ) -> dict[str, str]:
        # In a thread: identifying a few hundred languages would hold up the event loop.
        ready = await asyncio.to_thread(
            lambda: [self._with_language(passage) for _, passage, _ in changed]
        )
        vectors = await self._encoder.encode_passages([passage.text for passage in ready])
        embedded = [
            EmbeddedPassage(passage, vector, digest)
            for passage, vector, (_, _, digest) in zip(ready, vectors, changed, strict=True)
        ]
        try:
            await self._store.upsert(embedded, durable=durable)
        except InvalidPassageError as error:
            # The store counts what has changed; the caller counts what was sent.
            _, position, *rest = error.pointer.split("/")
            pointer = "/".join(["", str(changed[int(position)][0]), *rest])
            raise InvalidPassageError(str(error), pointer=pointer) from error
        return {passage.id: passage.language for passage in ready}

    async def _remove_stale(self, document_id: str, pieces: Sequence[Passage]) -> bool:
        """Remove the pieces that a document has no longer; returns whether there were any."""
        where = PassageFilter(
            condition=Filter(must=(MatchAny("document_id", frozenset({document_id})),))
        )
        current = {piece.id for piece in pieces}
        stale: list[str] = []
        after = None
        while page := await self._store.scan(limit=_STALE_PAGE, where=where, after=after):
            after = page[-1].id
            stale += [passage.id for passage in page if passage.id not in current]
        return bool(stale) and await self._store.delete(stale) > 0

    def _with_language(self, passage: Passage) -> Passage:
        if passage.language != UNDETERMINED:
            return passage
        guess = self._languages.identify(passage.text)
        if guess.confidence < DETECTION_CONFIDENCE:
            return passage
        return replace(passage, language=guess.code)


def _status(before: str | None, now: str) -> Status:
    if before is None:
        return "created"
    return "unchanged" if before == now else "updated"


def _summed_up(
    entry: Entry, statuses: Sequence[Status], languages: Mapping[str, str], *, shrunk: bool
) -> Stored:
    if not isinstance(entry, Document):
        return Stored(entry.id, statuses[0], language=languages.get(entry.id))
    is_uniform = len(set(statuses)) == 1 and not shrunk
    status: Status = statuses[0] if is_uniform else "updated"
    return Stored(entry.passage.id, status, pieces=len(statuses))
