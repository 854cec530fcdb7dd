"""Nodes that only send and hear datagrams, on real sockets of this machine, for tests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import uvloop
from tests.ports import free_ports

from holdfast.kernel.errors import MalformedInput
from holdfast.runtime.datagrams import Datagrams
from holdfast.runtime.links import Address

HOST = "127.0.0.1"
SECRET = bytes(range(32))


class Node:
    """Datagrams, and all that they bring, in order."""

    def __init__(
        self, name: str, addresses: dict[str, Address], *, site: str = "house", secret: bytes = SECRET
    ) -> None:
        self.name = name
        self.address = addresses[name]
        self.heard: list[tuple[str, str, bytes]] = []
        self.datagrams = Datagrams(name, addresses, site, secret, self._hear)
        self.counters = self.datagrams.counters
        self.send = self.datagrams.send

    def _hear(self, node: str, channel: str, payload: bytes) -> None:
        if payload == b"nonsense":
            raise MalformedInput("this makes no sense")
        self.heard.append((node, channel, payload))

    def seal(self, to: str, *body: bytes) -> bytes:
        return self.datagrams._seals.seal(to, list(body))


def addresses_of(*names: str) -> dict[str, Address]:
    return {name: Address(HOST, port) for name, port in zip(names, free_ports(len(names)), strict=True)}


def told(story: Callable[..., Awaitable[None]], *names: str) -> None:
    """Runs a story with nodes of these names."""

    async def whole() -> None:
        addresses = addresses_of(*names)
        nodes = [Node(name, addresses) for name in names]
        async with asyncio.timeout(30):
            for node in nodes:
                await node.datagrams.start()
            await story(*nodes)
        for node in nodes:
            node.datagrams.close()

    uvloop.run(whole())


def throw(datagram: bytes, to: Node, source: socket.socket | None = None) -> None:
    """Onto its port, from anywhere."""
    if source is not None:
        source.sendto(datagram, to.address)
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anybody:
        anybody.sendto(datagram, to.address)
