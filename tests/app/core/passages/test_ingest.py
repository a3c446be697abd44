from dataclasses import replace
from typing import Any

import pytest

from app.core.encoding import EncoderThread
from app.core.errors import (
    InvalidInputError,
    InvalidPassageError,
    PassageNotFoundError,
    UnencodableTextError,
)
from app.core.passages.entries import (
    MAX_DOCUMENT_CHARACTERS,
    MAX_ID_CHARACTERS,
    MAX_TEXT_CHARACTERS,
    Document,
    Rejected,
    Stored,
    content_hash,
)
from app.core.passages.ingest import IngestService
from app.core.types import CollectionSpec, Passage, Split
from tests.fakes import (
    FAKE_DIM,
    FAKE_ENCODER_SPEC,
    FakeEncoder,
    FakeLanguageIdentifier,
    InMemoryStore,
)


@pytest.fixture
async def store():
    store = InMemoryStore()
    encoder_id = FAKE_ENCODER_SPEC.fingerprint()
    await store.open(CollectionSpec("test", encoder_id, FAKE_DIM, {"year": "integer"}))
    return store


class Sentences:
    """A ``TextSplitter`` that cuts after every full stop."""

    def split(self, text: str, split: Split) -> list[tuple[int, int]]:
        ends = [at + 1 for at, character in enumerate(text) if character == "."]
        return list(zip([0, *ends[:-1]], ends, strict=True))


PARTS = Split(max_characters=100)


@pytest.fixture
def ingest(store):
    encoder = EncoderThread(FakeEncoder())
    yield IngestService(
        encoder=encoder, store=store, languages=FakeLanguageIdentifier(), splitter=Sentences()
    )
    encoder.close()


def document(text: str, name: str = "book") -> Document:
    return Document(Passage(name, text, "en", metadata={"year": 2020}), PARTS)


async def test_a_stored_passage_is_returned_as_it_came(ingest):
    passage = Passage("1", "the sea", "en", parallel_id="sea", metadata={"page": 3})
    assert await ingest.add([passage]) == [Stored("1", "created", "en")]
    assert await ingest.get("1") == passage


async def test_a_missing_language_is_identified_where_it_is_clear(ingest):
    await ingest.add([Passage("clear", "the and is"), Passage("unclear", "xyzzy plugh the")])
    assert (await ingest.get("clear")).language == "en"
    assert (await ingest.get("unclear")).language == "und"


async def test_a_declared_language_is_believed_and_put_in_canonical_case(ingest):
    await ingest.add([Passage("1", "the and is", "PT-br")])
    assert (await ingest.get("1")).language == "pt-BR"


async def test_of_two_passages_with_one_id_the_later_is_kept(ingest, store):
    twice = [Passage("1", "old text", "en"), Passage("1", "new text", "en")]
    assert [stored.status for stored in await ingest.add(twice)] == ["created", "updated"]
    assert (await ingest.get("1")).text == "new text"
    assert await store.count() == 1


async def test_an_empty_list_stores_nothing(ingest, store):
    assert await ingest.add([]) == []
    assert await store.count() == 0


@pytest.mark.parametrize(
    ("passage", "pointer"),
    [
        (Passage("", "text"), "/id"),
        (Passage("i" * (MAX_ID_CHARACTERS + 1), "text"), "/id"),
        (Passage("1", " "), "/text"),
        (Passage("1", "t" * (MAX_TEXT_CHARACTERS + 1)), "/text"),
        (Passage("1", "text", "english language"), "/language"),
        (Passage("1", "text", metadata={"year": "2020"}), "/metadata/year"),
        (Passage("1", "text", metadata={"n": 2**70}), "/metadata"),
    ],
)
async def test_one_bad_passage_means_that_none_is_stored(ingest, store, passage, pointer):
    with pytest.raises(InvalidInputError) as caught:
        await ingest.add([Passage("good", "good text", "en"), passage])
    assert caught.value.pointer == f"/1{pointer}"
    assert await store.count() == 0


def test_a_bad_passage_is_told_from_other_bad_input():
    assert issubclass(InvalidPassageError, InvalidInputError)


async def test_a_deleted_passage_is_gone_and_cannot_be_deleted_again(ingest):
    await ingest.add([Passage("1", "the sea", "en")])
    await ingest.delete("1")
    with pytest.raises(PassageNotFoundError, match="'1'"):
        await ingest.get("1")
    with pytest.raises(PassageNotFoundError):
        await ingest.delete("1")


class TestContentHashes:
    def test_anything_but_the_id_changes_the_hash(self):
        passage = Passage("1", "text", "en", "parallel", {"a": 1, "b": [2]}, "book", (0, 4))
        changes: list[dict[str, Any]] = [
            {"text": "other"},
            {"language": "de"},
            {"parallel_id": None},
            {"metadata": {"a": 1.0, "b": [2]}},
            {"document_id": None},
            {"span": (0, 5)},
        ]
        hashes = {content_hash(replace(passage, **change)) for change in changes}
        assert len(hashes | {content_hash(passage)}) == len(changes) + 1
        assert content_hash(replace(passage, id="2")) == content_hash(passage)
        reordered = replace(passage, metadata={"b": [2], "a": 1})
        assert content_hash(reordered) == content_hash(passage)

    async def test_only_what_has_changed_is_written(self, ingest, store, monkeypatch):
        written: list[str] = []
        keep = store.upsert

        async def note(passages, *, durable):
            written.extend(embedded.passage.id for embedded in passages)
            await keep(passages, durable=durable)

        monkeypatch.setattr(store, "upsert", note)
        passages = [Passage("1", "the and is"), Passage("2", "the sea", "en")]
        first = await ingest.add(passages)
        assert first == [Stored("1", "created", "en"), Stored("2", "created", "en")]
        again = await ingest.add([passages[0], replace(passages[1], text="the sun")])
        assert again == [Stored("1", "unchanged"), Stored("2", "updated", "en")]
        assert written == ["1", "2", "2"]


class TestOneByOne:
    async def test_bad_entries_are_found_and_the_others_stored(self, ingest, store):
        entries = [Passage(str(n), "!!!" if n in {0, 5, 6} else f"text {n}") for n in range(9)]
        outcomes = await ingest.add_each(entries)
        assert [n for n, found in enumerate(outcomes) if isinstance(found, Rejected)] == [0, 5, 6]
        assert isinstance(outcomes[5], Rejected)
        assert outcomes[5].id == "5"
        assert isinstance(outcomes[5].error, UnencodableTextError)
        assert await store.count() == 6

    async def test_nothing_is_stored_after_the_first_rejection_where_that_is_wanted(
        self, ingest, store
    ):
        entries = [Passage(str(n), "!!!" if n in {4, 7} else f"text {n}") for n in range(9)]
        outcomes = await ingest.add_each(entries, stop_at_rejection=True)
        assert len(outcomes) == 5
        assert isinstance(outcomes[-1], Rejected)
        assert await store.count() == 4

    async def test_a_bad_document_is_rejected_as_a_whole(self, ingest, store):
        outcomes = await ingest.add_each([document("Sea. !!!."), document("Sun.", "other")])
        assert [type(outcome) for outcome in outcomes] == [Rejected, Stored]
        assert outcomes[0].id == "book"
        assert [p.id for p in await store.scan(limit=9)] == ["other#1"]


class TestDocuments:
    async def test_a_document_is_stored_in_pieces_that_know_where_they_come_from(self, ingest):
        assert await ingest.add([document("The sea. The sun.")]) == [
            Stored("book", "created", pieces=2)
        ]
        assert await ingest.get("book#2") == Passage(
            "book#2", " The sun.", "en", None, {"year": 2020}, "book", (8, 17)
        )

    async def test_pieces_that_a_document_has_no_longer_are_removed(self, ingest, store):
        await ingest.add([document("One. Two. Three."), document("Four.", "other")])
        [stored] = await ingest.add([document("One. Two.")])
        assert stored == Stored("book", "updated", pieces=2)
        assert {p.id for p in await store.scan(limit=9)} == {"book#1", "book#2", "other#1"}
        [again] = await ingest.add([document("One. Two.")])
        assert again == Stored("book", "unchanged", pieces=2)

    async def test_of_two_documents_with_one_id_the_later_is_kept_whole(self, ingest, store):
        await ingest.add([document("One."), document("One. Two. Three.")])
        assert await store.count() == 3
        await ingest.add([document("One. Two."), document("One.")])
        assert await store.count() == 1

    async def test_a_document_may_be_longer_than_a_passage_but_not_endless(self, ingest):
        sentence = "The sea is salt and the sun is hot."
        long = sentence * (MAX_TEXT_CHARACTERS // len(sentence) + 1)
        assert (await ingest.add([document(long)]))[0].status == "created"
        with pytest.raises(InvalidPassageError, match=str(MAX_DOCUMENT_CHARACTERS)):
            ingest.check(document("x" * (MAX_DOCUMENT_CHARACTERS + 1)))

    async def test_the_id_of_every_piece_has_to_be_usable(self, ingest):
        with pytest.raises(InvalidPassageError) as caught:
            await ingest.add([document("The sea.", "x" * MAX_ID_CHARACTERS)])
        assert caught.value.pointer == "/0/id"

    async def test_without_a_splitter_no_document_is_taken(self, store):
        encoder = EncoderThread(FakeEncoder())
        bare = IngestService(encoder=encoder, store=store, languages=FakeLanguageIdentifier())
        with pytest.raises(InvalidPassageError, match="not set up"):
            await bare.add([document("The sea.")])
        encoder.close()
