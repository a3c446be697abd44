"""HTTP/1.1 by the fast parser, with long addresses read and the head of a request bounded.

By itself that parser takes no address of more than 65535 bytes, and a head of any length.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 1 << 18
"""Longest request line with headers: a filter and a cursor in an address are as long as the API
says, in percent-encoded UTF-8."""

_PARSED_BYTES = 0xFFFF


class BoundedHttpProtocol(HttpToolsProtocol):
    """Answers 400 and hangs up on a head that does not end."""

    _head_bytes = 0
    _is_in_head = False

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        super().on_message_begin()
        self._is_in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Note that a head has ended, and begin to answer the request."""
        self._is_in_head = False
        query = b""
        if len(self.url) > _PARSED_BYTES:
            self.url, _, query = self.url.partition(b"?")
        super().on_headers_complete()
        if query:  # The application has not begun to look at it.
            self.scope["query_string"] = query

    def data_received(self, data: bytes) -> None:
        """Read bytes of the connection."""
        super().data_received(data)
        if not self._is_in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")
