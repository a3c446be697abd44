import asyncio
import threading

import numpy as np
import pytest

from app.core.encoding import PASSAGES_A_PASS, EncoderThread
from app.core.errors import EncodingError
from tests.fakes import FAKE_DIM, FAKE_ENCODER_SPEC, FakeEncoder


@pytest.fixture
def encoder():
    thread = EncoderThread(FakeEncoder())
    yield thread
    thread.close()


class Returns(FakeEncoder):
    """Returns whatever it is told to."""

    def __init__(self, vectors) -> None:
        super().__init__()
        self.vectors = vectors

    def encode_queries(self, texts):
        return self.vectors


async def test_a_query_becomes_one_vector(encoder):
    vector = await encoder.encode_query("where is the sea")
    expected = FakeEncoder().encode_queries(["where is the sea"])[0]
    np.testing.assert_array_equal(vector, expected)


async def test_passages_keep_their_order_across_passes(encoder):
    texts = [f"passage number {n}" for n in range(2 * PASSAGES_A_PASS + 3)]
    vectors = await encoder.encode_passages(texts)
    np.testing.assert_array_equal(vectors, FakeEncoder().encode_passages(texts))


async def test_no_passages_give_an_empty_array(encoder):
    assert (await encoder.encode_passages([])).shape == (0, FAKE_DIM)


def test_the_contract_is_the_encoders(encoder):
    assert encoder.spec == FAKE_ENCODER_SPEC


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((2, FAKE_DIM), np.float32), "shape"),
        (np.full((1, FAKE_DIM), np.nan, np.float32), "not finite"),
    ],
)
async def test_unusable_vectors_are_an_error(vectors, message):
    thread = EncoderThread(Returns(vectors))
    with pytest.raises(EncodingError, match=message):
        await thread.encode_query("text")
    thread.close()


async def test_a_query_goes_between_two_passes_of_a_long_ingest():
    order: list[str] = []
    may_run = threading.Event()

    class Recording(FakeEncoder):
        def encode_queries(self, texts):
            order.append("query")
            return super().encode_queries(texts)

        def encode_passages(self, texts):
            may_run.wait(5)
            order.append("pass")
            return super().encode_passages(texts)

    thread = EncoderThread(Recording())
    ingest = asyncio.create_task(thread.encode_passages(["text"] * (3 * PASSAGES_A_PASS)))
    await asyncio.sleep(0)
    query = asyncio.create_task(thread.encode_query("text"))
    await asyncio.sleep(0)
    may_run.set()
    await asyncio.gather(ingest, query)
    thread.close()
    assert order == ["pass", "query", "pass", "pass"]
