import pytest

from app.core.encoding import EncoderThread
from app.core.errors import InvalidInputError, InvalidPassageError, PassageNotFoundError
from app.core.ingest import MAX_ID_CHARACTERS, MAX_TEXT_CHARACTERS, IngestService
from app.core.types import CollectionSpec, Passage
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
    await store.open(CollectionSpec("test", FAKE_ENCODER_SPEC.fingerprint(), FAKE_DIM))
    return store


@pytest.fixture
def ingest(store):
    encoder = EncoderThread(FakeEncoder())
    yield IngestService(encoder=encoder, store=store, languages=FakeLanguageIdentifier())
    encoder.close()


async def test_a_stored_passage_is_returned_as_it_came(ingest):
    passage = Passage("1", "the sea", "en", parallel_id="sea", metadata={"page": 3})
    assert await ingest.add([passage]) == 1
    assert await ingest.get("1") == passage


async def test_a_missing_language_is_identified_where_it_is_clear(ingest):
    await ingest.add([Passage("clear", "the and is"), Passage("unclear", "xyzzy plugh the")])
    assert (await ingest.get("clear")).language == "en"
    assert (await ingest.get("unclear")).language == "und"


async def test_a_declared_language_is_believed_and_put_in_canonical_case(ingest):
    await ingest.add([Passage("1", "the and is", "PT-br")])
    assert (await ingest.get("1")).language == "pt-BR"


async def test_of_two_passages_with_one_id_the_later_is_kept(ingest, store):
    assert await ingest.add([Passage("1", "old text", "en"), Passage("1", "new text", "en")]) == 1
    assert (await ingest.get("1")).text == "new text"
    assert await store.count() == 1


async def test_an_empty_list_stores_nothing(ingest, store):
    assert await ingest.add([]) == 0
    assert await store.count() == 0


@pytest.mark.parametrize(
    ("passage", "pointer"),
    [
        (Passage("", "text"), "/id"),
        (Passage("i" * (MAX_ID_CHARACTERS + 1), "text"), "/id"),
        (Passage("1", " "), "/text"),
        (Passage("1", "t" * (MAX_TEXT_CHARACTERS + 1)), "/text"),
        (Passage("1", "text", "english language"), "/language"),
    ],
)
async def test_one_bad_passage_means_that_none_is_stored(ingest, store, passage, pointer):
    with pytest.raises(InvalidInputError) as caught:
        await ingest.add([Passage("good", "good text", "en"), passage])
    assert caught.value.pointer == pointer
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
