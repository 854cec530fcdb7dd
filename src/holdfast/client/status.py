"""What the nodes of a site say about themselves: asked all at once, the silent ones shown as down."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.client.blocking import reason

if TYPE_CHECKING:
    from rich.table import Table

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

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(status_table(nodes, console.width))
    for line in remarks(nodes):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


NARROW = ("service", "state", "view", "epoch", "position", "digest", "lag")
WIDE = (*NARROW, "protocol", "model")
WIDE_COLUMNS = 110
"""A terminal of so many columns shows everything."""


def status_table(nodes: Sequence[NodeStatus], width: int) -> Table:
    """One row a replica, for a terminal of `width` columns; a node that is down is one red row."""
    from rich.markup import escape
    from rich.table import Table

    wide = width >= WIDE_COLUMNS
    columns = WIDE if wide else NARROW
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("node", "address" if wide else "port", "pid", *columns):
        table.add_column(column, justify="right" if column in ("epoch", "position", "lag") else "left", no_wrap=True)
    for node in nodes:
        address = node.address if wide else node.address.rpartition(":")[2]
        who = [escape(node.node), escape(address), str(node.pid or "")]
        if not node.up:
            table.add_row(*who, "", "[yellow]starting" if node.starting else "[red]down", style="dim")
        for place, service in enumerate(node.services):
            table.add_row(*(who if place == 0 else [""] * len(who)), *cells(service, columns))
        if node.up and not node.services:
            table.add_row(*who, "[dim]none")
    return table


def cells(service: dict[str, Any], columns: Sequence[str]) -> list[str]:
    """A replica's cells in these columns."""
    from rich.markup import escape

    texts = {column: escape(listed(service.get(column, ""))) for column in columns}
    texts["digest"] = texts["digest"][:8]
    colour = {"active": "green", "halted": "red"}.get(texts["state"], "yellow")
    texts["state"] = f"[{colour}]{texts['state'] or '?'}"
    return list(texts.values())


def remarks(nodes: Sequence[NodeStatus]) -> list[str]:
    """What does not fit a table: why a node is down, and what a replica waits for."""
    lines = []
    for node in nodes:
        if not node.up and not node.starting:
            lines.append(f"{node.node} is down: {node.why}")
        for service in node.services:
            if service.get("waiting_for"):
                lines.append(f"{service.get('service', '?')} at {node.node} is {state_text(service)}")
    return lines


def state_text(service: dict[str, Any]) -> str:
    """The state of a replica with what it waits for, or with why it halted."""
    state, why = str(service.get("state", "?")), listed(service.get("waiting_for") or "")
    if not why:
        return state
    return f"{state}: {why}" if state == "halted" else f"{state}, waiting for {why}"


def listed(value: Any) -> str:
    """A value for people: a list without its brackets."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
