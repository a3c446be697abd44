from __future__ import annotations

from dataclasses import replace

import pytest

from app.adapters.edge.shelf import EdgeShelf
from app.core.errors import StoreError
from app.core.types import IndexedWith, Served
from tests.fakes import FAKE_COLLECTION

OTHER = replace(FAKE_COLLECTION, encoder_id="0123456789ab")


@pytest.fixture
def shelf(store_directory):
    return EdgeShelf(store_directory, "passages")


async def test_the_first_collection_is_served_until_another_is(shelf, store_directory):
    assert await shelf.served() == Served("passages")
    assert await shelf.indexed_with("passages") is None
    assert await shelf.collection_for(FAKE_COLLECTION.encoder_id) == "passages"
    store = shelf.store("passages")
    await store.open(FAKE_COLLECTION)
    await store.close()

    assert await shelf.collection_for(FAKE_COLLECTION.encoder_id) == "passages"
    other = await shelf.collection_for(OTHER.encoder_id)
    assert other == f"passages@{OTHER.encoder_id}"
    await shelf.serve(Served(other, "bundles/new"))
    assert await EdgeShelf(store_directory, "passages").served() == Served(other, "bundles/new")
    await shelf.serve(Served("passages"))
    assert await shelf.served() == Served("passages")
    assert await shelf.indexed_with("passages") == IndexedWith(
        FAKE_COLLECTION.encoder_id, FAKE_COLLECTION.dim
    )
    await shelf.close()


async def test_two_collections_are_open_side_by_side(shelf):
    stores = []
    for spec in (FAKE_COLLECTION, OTHER):
        stores.append(shelf.store(await shelf.collection_for(spec.encoder_id)))
        await stores[-1].open(spec)
    assert [await store.count() for store in stores] == [0, 0]
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    "content", [b'{"collection": "../elsewhere", "bundle": ""}', b"faq\n", b"{}", b"", b"\xff"]
)
async def test_a_choice_that_cannot_be_read_is_an_error_that_says_how_to_mend_it(
    shelf, store_directory, content
):
    (store_directory / "passages.served").write_bytes(content)

    with pytest.raises(StoreError, match=r"passages\.served cannot be used.*remove it"):
        await shelf.served()


async def test_only_collections_of_the_shelf_can_be_served(shelf):
    with pytest.raises(StoreError, match="is no collection of"):
        await shelf.serve(Served("../elsewhere"))
