import asyncio
import threading

import numpy as np
import pytest

from app.core import encoding
from app.core.encoding import PASSAGES_A_PASS, EncoderThread
from app.core.encoding_lanes import MAX_WAITING_TOKENS
from app.core.errors import EncodingError, UnencodableTextError
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
    has_begun, may_run = threading.Event(), threading.Event()

    class Recording(FakeEncoder):
        def encode_queries(self, texts):
            order.append("query")
            return super().encode_queries(texts)

        def encode_passages(self, texts):
            has_begun.set()
            may_run.wait(60)
            order.append("pass")
            return super().encode_passages(texts)

    thread = EncoderThread(Recording())
    ingest = asyncio.create_task(thread.encode_passages(["text"] * (3 * PASSAGES_A_PASS)))
    await asyncio.to_thread(has_begun.wait, 60)
    query = asyncio.create_task(thread.encode_query("text"))
    await asyncio.sleep(0)
    may_run.set()
    await asyncio.gather(ingest, query)
    thread.close()
    assert order == ["pass", "query", "pass", "pass"]


class Counting(FakeEncoder):
    """Remembers the texts of every pass, and the thread it ran on."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[list[str]] = []
        self.threads: set[str] = set()

    def encode_queries(self, texts):
        self.passes.append(list(texts))
        self.threads.add(threading.current_thread().name)
        return super().encode_queries(texts)

    def encode_passages(self, texts):
        self.passes.append(list(texts))
        return super().encode_passages(texts)


@pytest.fixture
def counting():
    return Counting()


async def test_a_query_that_was_asked_before_is_not_encoded_again(counting):
    thread = EncoderThread(counting)
    first = await thread.encode_queries(["one", "two", "one"])
    again = await thread.encode_queries(["two", "three"])
    thread.close()
    assert counting.passes == [["one", "two"], ["three"]]
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(first[1], again[0])


async def test_passages_are_encoded_shortest_first_and_with_little_padding(counting):
    thread = EncoderThread(counting)
    texts = ["word " * n for n in (40, 1, 36, 2)]
    vectors = await thread.encode_passages(texts)
    thread.close()
    assert counting.passes == [[texts[1], texts[3]], [texts[2], texts[0]]]
    np.testing.assert_array_equal(vectors, FakeEncoder().encode_passages(texts))


async def test_a_quick_encoder_is_asked_for_queries_on_the_event_loop(counting, monkeypatch):
    monkeypatch.setattr(encoding, "DIRECT_SECONDS", 60.0)
    thread = EncoderThread(counting)
    facts = await thread.warm_up("fake")
    counting.threads.clear()
    await thread.encode_query("text")
    thread.close()
    assert (facts.engine, facts.direct) == ("fake", True)
    assert counting.threads == {threading.current_thread().name}


async def test_a_slow_encoder_is_asked_on_its_thread(counting, monkeypatch):
    monkeypatch.setattr(encoding, "DIRECT_SECONDS", 0.0)
    thread = EncoderThread(counting)
    facts = await thread.warm_up()
    counting.threads.clear()
    await thread.encode_query("text")
    thread.close()
    assert not facts.direct
    assert counting.threads == {"encoder"}


async def test_long_queries_are_never_encoded_on_the_event_loop(counting, monkeypatch):
    monkeypatch.setattr(encoding, "DIRECT_SECONDS", 60.0)
    thread = EncoderThread(counting)
    await thread.warm_up()
    counting.threads.clear()
    await thread.encode_queries(["word " * 64] * 3 + ["other " * 64])
    thread.close()
    assert counting.threads == {"encoder"}


async def test_of_queries_that_share_a_pass_only_the_unencodable_ones_fail():
    may_run = threading.Event()

    class Refusing(FakeEncoder):
        def encode_queries(self, texts):
            may_run.wait(60)
            if "bad" in texts:
                raise UnencodableTextError("no token")
            return super().encode_queries(texts)

    thread = EncoderThread(Refusing(), merge_queries=True)
    # The first holds the thread up, so that the others wait together.
    asked = [asyncio.create_task(thread.encode_query(t)) for t in ("first", "good", "bad")]
    await asyncio.sleep(0)
    may_run.set()
    _, good, bad = await asyncio.gather(*asked, return_exceptions=True)
    thread.close()
    np.testing.assert_array_equal(good, FakeEncoder().encode_queries(["good"])[0])
    assert isinstance(bad, UnencodableTextError)


async def test_an_encoder_that_fails_fails_for_all_who_wait_for_the_pass():
    class Broken(FakeEncoder):
        def encode_queries(self, texts):
            raise EncodingError("out of memory")

    thread = EncoderThread(Broken(), merge_queries=True)
    asked = [thread.encode_query("one"), thread.encode_query("two")]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    thread.close()
    assert all(isinstance(answer, EncodingError) for answer in answers)


async def test_the_observer_learns_of_the_cache():
    told: list[tuple[object, ...]] = []

    class Observer:
        def looked_up(self, *, hit):
            told.append(("hit", hit))

        def cached(self, size):
            told.append(("cached", size > 0))

        def queued(self, lane, tokens): ...
        def waited(self, lane, seconds): ...
        def refused(self, lane): ...

    thread = EncoderThread(FakeEncoder(), observer=Observer())
    await thread.encode_query("text")
    await thread.encode_query("text")
    thread.close()
    assert told == [("hit", False), ("cached", True), ("hit", True)]


async def test_a_closed_thread_has_closed_its_encoder():
    closed = []

    class Closing(FakeEncoder):
        def close(self):
            closed.append(True)

    thread = EncoderThread(Closing())
    await thread.encode_query("text")
    assert closed == []
    thread.close()
    assert closed == [True]


class Small(FakeEncoder):
    """Has the memory for so many texts at a time, and not for the word 'endless'."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def encode_passages(self, texts):
        if len(texts) > self.most or "endless" in texts:
            raise MemoryError
        return super().encode_passages(texts)


async def test_a_batch_that_needs_too_much_memory_is_encoded_in_parts():
    texts = [f"passage number {n}" for n in range(11)]
    thread = EncoderThread(Small(3))
    vectors = await thread.encode_passages(texts)
    np.testing.assert_array_equal(vectors, FakeEncoder().encode_passages(texts))
    thread.close()


async def test_a_text_that_needs_too_much_memory_fails_and_the_next_one_does_not():
    thread = EncoderThread(Small(3))
    with pytest.raises(EncodingError, match="too little memory to encode a text of 7 characters"):
        await thread.encode_passages(["endless", "short"])
    assert (await thread.encode_passages(["short"])).shape == (1, FAKE_DIM)
    thread.close()


async def test_a_full_queue_is_an_obstacle_once_it_lasts(monkeypatch):
    monkeypatch.setattr(encoding, "FULL_SECONDS", 0.0)
    has_begun, may_run = threading.Event(), threading.Event()

    class Slow(FakeEncoder):
        def encode_queries(self, texts):
            has_begun.set()
            may_run.wait(60)
            return super().encode_queries(texts)

    thread = EncoderThread(Slow())
    first = asyncio.create_task(thread.encode_query("first"))
    await asyncio.to_thread(has_begun.wait, 60)
    assert thread.obstacle is None
    texts = [
        f"{n} " + "word " * 300 for n in range(MAX_WAITING_TOKENS // FAKE_ENCODER_SPEC.max_length)
    ]
    rest = [asyncio.create_task(thread.encode_query(text)) for text in texts]
    await asyncio.sleep(0)
    assert "More queries wait" in str(thread.obstacle)
    may_run.set()
    await asyncio.gather(first, *rest)
    assert thread.obstacle is None
    thread.close()
