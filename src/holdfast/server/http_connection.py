"""One HTTP connection of a node, as uvicorn speaks it."""

from __future__ import annotations

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_BYTES_MAX = 65_536
"""So long may the first line and the headers of a request be together."""


class Connection(H11Protocol):
    """What is no HTTP is answered with a whole line of text."""

    def send_400_response(self, msg: str) -> None:
        """See `H11Protocol`."""
        super().send_400_response(f"{msg}\n")
