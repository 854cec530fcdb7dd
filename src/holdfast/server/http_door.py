"""The HTTP port of a node before anybody has called: what serves it is loaded for the first caller.

It takes a third of a second of processor time and 25 MB to load, half of what a small node takes
altogether, and most nodes of a site are never looked at. Loading happens on a thread, beside the
event loop; meanwhile the callers wait in the system's queue.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from holdfast.kernel.errors import ConfigurationError

if TYPE_CHECKING:
    from holdfast.runtime.node import Node
    from holdfast.server.http import HttpFace

logger = logging.getLogger(__name__)

BACKLOG = 256


class HttpDoor:
    """Listens from `start` on. `stop` also when `start` has failed."""

    def __init__(self, node: Node, host: str, port: int) -> None:
        self._node = node
        self._host = host
        self._port = port
        self._sockets: list[socket.socket] = []
        self._opening: asyncio.Task[None] | None = None
        self._face: HttpFace | None = None

    @property
    def is_open(self) -> bool:
        """Whether somebody has called, and is served."""
        return self._face is not None

    async def start(self) -> None:
        """Listen; raises `ConfigurationError` when the port is taken."""
        loop = asyncio.get_running_loop()
        try:
            for family, _, _, _, address in await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM):
                self._sockets.append(socket.create_server(address[:2], family=family, backlog=BACKLOG))
        except OSError as error:
            why = f"the HTTP server cannot listen on {self._host} port {self._port}: {error.strerror or error}"
            raise ConfigurationError(why) from error
        for listening in self._sockets:
            listening.setblocking(False)
            loop.add_reader(listening, self._called)

    def _called(self) -> None:
        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            loop.remove_reader(listening)
        self._opening = loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            face = await asyncio.to_thread(self._load)
            await face.start()
            self._face = face
        except Exception:
            logger.exception("the HTTP server of this node does not start; its port is closed")
            self._close()

    def _load(self) -> HttpFace:
        from holdfast.server.http import HttpFace

        return HttpFace(self._node, self._host, self._port, self._sockets)

    def _close(self) -> None:
        for listening in self._sockets:
            listening.close()

    async def stop(self) -> None:
        """Finish what is being answered, and end."""
        loop = asyncio.get_running_loop()
        if self._opening is not None:
            await self._opening
        elif self._sockets:
            for listening in self._sockets:
                loop.remove_reader(listening)
        if self._face is not None:
            await self._face.stop()
        self._close()
