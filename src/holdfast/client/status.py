"""What the nodes of a site say about themselves: asked all at once, the silent ones shown as down."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.client.blocking import reason

if TYPE_CHECKING:
    from holdfast.client.outcomes import Server

STATUS_TIMEOUT_S = 1.0
STATUS_BYTES_MAX = 1 << 20


class NodeStatus(msgspec.Struct, frozen=True):
    """One node: `up` and what it said (`status` line, see the line protocol), or why it is down.

    `starting`: down, but its process runs. `pid`: as far as it is known.
    """

    node: str
    up: bool
    address: str
    why: str = ""
    starting: bool = False
    pid: int | None = None
    services: list[dict[str, Any]] = []


async def ask_node(server: Server) -> NodeStatus:
    """Ask the node at this address (`server.name` is the node's name)."""
    address = f"{server.host}:{server.port}"
    try:
        async with asyncio.timeout(STATUS_TIMEOUT_S):
            fields = await _status_line(server)
    except TimeoutError:
        return NodeStatus(server.name, False, address, f"silent for {STATUS_TIMEOUT_S:g} s")
    except OSError as error:
        return NodeStatus(server.name, False, address, reason(error))
    except (ValueError, msgspec.DecodeError):
        return NodeStatus(server.name, False, address, "what listens there is no node of Holdfast")
    if fields.get("node") != server.name:
        return NodeStatus(server.name, False, address, f"node {fields.get('node')!r} listens there")
    services = [service for service in fields.get("services", []) if isinstance(service, dict)]
    return NodeStatus(server.name, True, address, pid=fields.get("pid"), services=services)


async def _status_line(server: Server) -> dict[str, Any]:
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=STATUS_BYTES_MAX)
    try:
        writer.write(b"status\n")
        return msgspec.json.decode(await reader.readline(), type=dict[str, Any])
    finally:
        writer.transport.abort()


async def ask_nodes(servers: Sequence[Server]) -> list[NodeStatus]:
    """Ask them all at once; the answers in the same order, within `STATUS_TIMEOUT_S`."""
    return list(await asyncio.gather(*map(ask_node, servers)))


def show_status(site: str, *, as_json: bool) -> int:
    """The command `holdfast status`; its exit status."""
    from holdfast.client.processes import find_site, node_servers

    nodes = asyncio.run(ask_nodes(node_servers(find_site(site))))
    if as_json:
        print(msgspec.json.encode(nodes).decode())
    else:
        print_picture(nodes)
    return 0 if all(node.up for node in nodes) else 1


def print_picture(nodes: Sequence[NodeStatus]) -> None:
    """To the terminal; into a pipe without colours and cut off nowhere."""
    from rich.console import Console

    from holdfast.client.picture import remarks, status_table

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(status_table(nodes, console.width))
    for line in remarks(nodes):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
