"""Makes the README's pictures from the program itself: `make pictures`.

Starts the demo site in a temporary directory, books some seats, kills a server, and saves what
`holdfast up` shows at that moment.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from holdfast.client import AsyncSite
from holdfast.client.processes import first_start, node_servers
from holdfast.client.status import ask_nodes
from holdfast.client.up import NodeProcess, Supervisor
from holdfast.site import Site, demo_toml, load_site

COLUMNS = 118
PATIENCE_SECONDS = 30
IMAGES = Path(__file__).parent / "images"
FONTLESS = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""rich's own frame, less the fonts that it would fetch from elsewhere."""


def save(console: Console, name: str, title: str) -> None:
    """One picture."""
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / name).write_text(console.export_svg(title=title, code_format=FONTLESS, unique_id=name.partition(".")[0]))


async def until(supervisor: Supervisor, holds: Callable[[Supervisor], bool]) -> None:
    """Look again and again until it holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answers = await ask_nodes([node.server for node in supervisor.nodes])
            supervisor.statuses = [node.seen(answer) for node, answer in zip(supervisor.nodes, answers, strict=True)]
            if holds(supervisor):
                return
            await asyncio.sleep(0.1)


def views(supervisor: Supervisor) -> list[int]:
    """The size of the view at every node that is up."""
    return [len(status.services[0]["view"]) for status in supervisor.statuses if status.up and status.services]


async def picture_of_a_kill(site: Site, command: Callable[[str], list[str]]) -> None:
    """Three servers, one of them killed."""
    first_start(site)
    nodes = [
        NodeProcess(server, command(server.name), site.node_data(server.name) / "log.txt")
        for server in node_servers(site)
    ]
    heading = "Site demo. Data: data/demo. Logs: <node>/log.txt there. Ctrl-C ends all."
    supervisor = Supervisor(nodes, heading, lambda name: f"holdfast node {name}")
    for node in nodes:
        await node.start()
    try:
        await until(supervisor, lambda seen: views(seen) == [3, 3, 3])
        async with AsyncSite(str(site.file)) as client:
            tickets = client.service("tickets")
            for name in ("ann", "bob", "eve"):
                await tickets.call("reserve", name, 2)
            killed = next(status.pid for status in supervisor.statuses if status.node == "b")
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            await until(supervisor, lambda seen: views(seen) == [2, 2])
            await tickets.call("reserve", "joe", 2)
        await until(supervisor, lambda seen: views(seen) == [2, 2])
    finally:
        for node in nodes:
            node.send(signal.SIGTERM)
        await asyncio.gather(*(node.ended() for node in nodes))
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(supervisor.picture(COLUMNS))
    save(console, "up.svg", "make up")


def main() -> None:
    """Make every picture."""
    from holdfast.client.processes import node_command

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "site.toml"
        file.write_text(demo_toml())
        site = load_site(file)
        asyncio.run(picture_of_a_kill(site, lambda name: node_command(site, name)))


if __name__ == "__main__":
    main()
