import asyncio

import uvicorn

from app.cli.http_protocol import MAX_HEAD_BYTES, BoundedHttpProtocol


async def answer_to(request: bytes) -> bytes:
    """What a server with this protocol says to raw bytes."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(app, http=BoundedHttpProtocol, lifespan="off", log_config=None)
    state = uvicorn.server.ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: BoundedHttpProtocol(config=config, server_state=state, app_state={}),
        "127.0.0.1",
        0,
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request)
        try:
            return await asyncio.wait_for(reader.read(1 << 16), 60)
        finally:
            writer.close()


async def test_a_long_head_is_read():
    padding = b"x" * (MAX_HEAD_BYTES - 1000)
    answer = await answer_to(b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + padding + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 204")


async def test_a_head_that_does_not_end_is_given_up():
    answer = await answer_to(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * (MAX_HEAD_BYTES + 1))
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"too long" in answer
