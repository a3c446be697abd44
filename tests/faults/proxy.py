"""A TCP proxy that can be told to misbehave, for as long as it is told."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Literal, Self

Mode = Literal["pass", "delay", "cut", "swallow", "corrupt"]

_BLOCK = 1 << 16


class Proxy:
    """Stands between the service and its store, from a thread of its own.

    Modes: ``delay`` holds every block back for ``seconds``; ``cut`` closes connections in the
    middle, and new ones at once; ``swallow`` takes everything and passes nothing on, as a
    half-open connection does; ``corrupt`` overwrites what the store answers.

    Args:
        target: Port to which connections go.
    """

    def __init__(self, target: int) -> None:
        self.mode: Mode = "pass"
        self.seconds = 3.0
        self.port = 0
        self._target = target
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "cut":
            writer.close()
            return
        try:
            upstream, downstream = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        # Cancelled at the end of the block, which nobody has to hear of.
        with suppress(asyncio.CancelledError):
            await asyncio.gather(
                self._pump(reader, downstream, answers=False),
                self._pump(upstream, writer, answers=True),
                return_exceptions=True,
            )

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        try:
            while block := await reader.read(_BLOCK):
                if self.mode == "cut":
                    writer.transport.abort()
                    return
                if self.mode == "swallow":
                    continue
                if self.mode == "delay":
                    await asyncio.sleep(self.seconds)
                if self.mode == "corrupt" and answers:
                    half = len(block) // 2
                    block = block[:half] + b"\xff" * (len(block) - half)
                writer.write(block)
                await writer.drain()
        finally:
            writer.close()
