"""One HTTP connection of a node, as uvicorn speaks it."""

from __future__ import annotations

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_BYTES_MAX = 65_536
"""So long may the first line and the headers of a request be together."""
LINGER_SECONDS = 2.0

_WHY = f"this is no HTTP request, or its first line and headers have more than {HEAD_BYTES_MAX} bytes\n".encode()
_HEADERS = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"content-length", str(len(_WHY)).encode()),
    (b"connection", b"close"),
]


class Connection(H11Protocol):
    """What is no HTTP is told so in a line. The connection is closed when the client has closed it, or soon: closed
    at once, while something is still coming, the client might never see the answer."""

    _is_over = False

    def send_400_response(self, msg: str) -> None:
        """See `H11Protocol`."""
        self._is_over = True
        for event in (h11.Response(status_code=400, headers=_HEADERS), h11.Data(data=_WHY), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if not self._is_over:
            super().data_received(data)
