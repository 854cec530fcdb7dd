"""A node in this process with vendors, called over HTTP as by another program."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import uvloop
from tests.e2e.cluster import HOST
from tests.ports import free_ports

from holdfast.runtime.node import Node, initialise
from holdfast.site import Site, load_site
from holdfast.vendors import key_hash

PATIENCE_S = 60.0
CLIENTS = ("ann", "bob", "gerda")
CAREFULLY = {"X-Unusual": "yes"}
"""A header with which a request goes the careful way."""


def key_of(client: str, vendor: str = "hotel") -> str:
    """The key of a client of this house."""
    return f"{vendor}-{client}-2f1c"


def site_of(directory: Path, more: str = "", *, bands: int = 0) -> Site:
    """A site with a hotel, and bands, at one node. `more`: settings of the hotel."""
    ports = free_ports(2)
    vendors = ["hotel", *(f"band{number}" for number in range(bands))]
    text = f'[nodes.a]\nhost = "{HOST}"\npeer_port = {ports[0]}\nhttp_port = {ports[1]}\n'
    text += '[people.gerda]\nroles = ["vendor"]\n'
    for vendor in vendors:
        text += f'[services.{vendor}]\napp = "slots"\nnodes = ["a"]\nidentity = "trusted"\n'
        text += more + "\n" if vendor == "hotel" else ""
        keys = "".join(f'{client} = "{key_hash(key_of(client, vendor))}"\n' for client in CLIENTS)
        text += f"[services.{vendor}.keys]\n{keys}"
    path = directory / "site.toml"
    path.write_text(text)
    return load_site(path)


class House:
    """The node and who calls it. Made in a running loop."""

    def __init__(self, site: Site, node: str = "a") -> None:
        self.site = site
        self.node = Node(site, node)
        self._running = asyncio.create_task(self.node.run())
        self.port: int = site.nodes[node].http_port or 0
        self.client = httpx.AsyncClient(base_url=f"http://{HOST}:{self.port}", timeout=PATIENCE_S)

    async def call(self, who: str, method: str, path: str, *, vendor: str = "hotel", **options: Any) -> httpx.Response:
        """One request of a client with the right key. `path`: behind the vendor's `/api`."""
        headers = {"Authorization": f"Bearer {key_of(who, vendor)}"} if who else {}
        headers |= options.pop("headers", {})
        return await self.client.request(method, f"/{vendor}/api{path}", headers=headers, **options)

    async def says(self, who: str, method: str, path: str, *, vendor: str = "hotel", **options: Any) -> tuple[int, Any]:
        """The status and the body of an answer, which must be as the API's rules have it."""
        response = await self.call(who, method, path, vendor=vendor, **options)
        body = response.json()
        assert response.headers["content-type"] == "application/json"
        assert vendor not in self.node.vendors or float(response.headers["longest-delay"]) >= 0
        if response.status_code != 200:
            assert body.keys() == {"code", "message"}
            assert body["code"] == response.status_code
            assert body["message"]
        return response.status_code, body

    async def faults(self, **faults: Any) -> None:
        """Let these faults be in force."""
        status, _ = await self.says("gerda", "PUT", "/faults", content=json.dumps(faults))
        assert status == 200

    def listens(self) -> bool:
        """Whether the node's port takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():  # noqa: ASYNC110 - any condition, not an event of ours
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        await self.client.aclose()
        self.node._ended.set()
        assert await self._running == 0


Story = Callable[[House], Awaitable[None]]


def play(directory: Path, story: Story, more: str = "", *more_stories: Story, bands: int = 0) -> None:
    """Tell stories to a node, which stops and starts again between them."""
    site = site_of(directory, more, bands=bands)
    initialise(site)
    for each in (story, *more_stories):
        tell(site, each)


def tell(site: Site, story: Story, node: str = "a") -> None:
    """Tell one story to a node of a site whose disks are made."""

    async def telling() -> None:
        house = House(site, node)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await house.until(house.listens)
                await story(house)
        finally:
            await house.close()

    uvloop.run(telling())
