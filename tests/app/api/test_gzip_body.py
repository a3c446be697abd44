import gzip
import random
from collections.abc import AsyncIterator

import pytest

from app.api.gzip_body import BLOCK_BYTES, MalformedGzipError, unpacked


async def blocks(whole: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
async def test_what_was_packed_comes_out_however_the_stream_is_cut(size):
    plain = random.Random(3).randbytes(3000) + b"x" * 3000
    packed = gzip.compress(plain) + gzip.compress(b"") + gzip.compress(b"tail")

    assert b"".join([data async for data in unpacked(blocks(packed, size))]) == plain + b"tail"


async def test_no_more_than_a_block_is_unpacked_at_a_time():
    packed = gzip.compress(random.Random(3).randbytes(10) * (BLOCK_BYTES // 2))

    sizes = [len(data) async for data in unpacked(blocks(packed, 1 << 20))]

    assert sum(sizes) == 5 * BLOCK_BYTES
    assert max(sizes) <= BLOCK_BYTES


async def test_an_empty_body_is_empty():
    assert [data async for data in unpacked(blocks(b"", 1))] == []


@pytest.mark.parametrize("tail", [b"trailing", b"\x00"])
async def test_what_follows_the_last_member_is_an_error(tail):
    with pytest.raises(MalformedGzipError, match=r"not gzip|cut off"):
        assert [data async for data in unpacked(blocks(gzip.compress(b"text") + tail, 1000))]
