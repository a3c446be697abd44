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
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connect, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "cut":
            writer.close()
            return
        try:
            upstream, downstream = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            self._pump(reader, downstream, answers=False),
            self._pump(upstream, writer, answers=True),
            return_exceptions=True,
        )

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with suppress(OSError):
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
        writer.close()
