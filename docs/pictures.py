"""Makes the README's pictures from the program itself: `make pictures`.

Starts the demo site in a temporary directory, books some seats, kills a server, and saves what
`holdfast up` shows at that moment. Then three departments book rooms while another is away, and a
browser (Chromium, where there is one) takes a picture of a replica's page.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
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


BOOKINGS = (
    ("georg", "reserve Ash {day} 09:00 2h Examinations --or Beech@09:00"),
    ("fatima", "reserve Maple {day} 10:00 3h Budget"),
    ("fatima", "reserve Ash {day} 10:00 2h Interviews --or Cedar@10:00"),
)
BOOKINGS_IN_DOUBT = (
    ("fatima", "reserve Oak {day} 13:00 2h Seminar"),
    ("georg", "reserve Willow {day} 09:00 1h Tutorial"),
    ("fatima", "reserve Ash {day} 10:00 1h Lunch"),
)
ROOMS_SITE = """
[site]
name = "demo"
[nodes]
biology = { host = "127.0.0.1", peer_port = %d, http_port = %d }
chemistry = { host = "127.0.0.1", peer_port = %d }
history = { host = "127.0.0.1", peer_port = %d }
[services.rooms]
app = "rooms"
identity = "trusted"
nodes = { biology = %d, chemistry = %d, history = %d }
[people]
fatima = { first_name = "Fatima", roles = ["secretary"], department = "biology" }
georg = { first_name = "Georg", roles = ["secretary"], department = "chemistry" }
"""
PAGE_SIZE = "1200,1180"


def free_ports(count: int) -> tuple[int, ...]:
    """Ports where nobody listens: the pictures leave a site that is running alone."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return tuple(one.getsockname()[1] for one in sockets)


async def say(port: int, *lines: str) -> list[str]:
    """As `nc`: the replies to these lines."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("".join(f"{line}\n" for line in lines).encode())
    replies = [(await reader.readline()).decode().rstrip() for _ in lines]
    writer.close()
    return replies


async def settled(port: int, holds: Callable[[dict[str, object]], bool]) -> None:
    """Ask the replica of the rooms behind this port until it holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(OSError):  # it does not listen yet
                (line,) = await say(port, "status")
                if holds(next(one for one in msgspec.json.decode(line)["services"] if one["service"] == "rooms")):
                    return
            await asyncio.sleep(0.1)


def photograph(browser: str, address: str) -> None:
    """What a browser shows at this address."""
    with tempfile.TemporaryDirectory() as profile:
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}")
        picture = (f"--screenshot={IMAGES / 'rooms.png'}", f"--window-size={PAGE_SIZE}", address)
        subprocess.run([browser, *options, *picture], check=True, capture_output=True, timeout=PATIENCE_SECONDS)


async def picture_of_the_rooms(site: Site, command: Callable[[str], list[str]], browser: str) -> None:
    """Two departments book with all three there, then with one of them away."""
    first_start(site)
    nodes = [
        NodeProcess(server, command(server.name), site.node_data(server.name) / "log.txt")
        for server in node_servers(site)
    ]
    day = (datetime.now(UTC) + timedelta(days=7)).date().isoformat()
    biology, chemistry, history = (port for _, port in site.line_addresses("rooms"))
    ports = {"fatima": biology, "georg": chemistry}
    for node in nodes:
        await node.start()
    try:
        for port in (biology, chemistry, history):
            await settled(port, lambda status: status["state"] == "active")
        for person, words in BOOKINGS:
            await say(ports[person], f"login {person}", words.format(day=day))
        for port in (biology, chemistry, history):
            await settled(port, lambda status: status["position"] == len(BOOKINGS))
        nodes[-1].send(signal.SIGTERM)
        await nodes[-1].ended()
        for person, words in BOOKINGS_IN_DOUBT:
            await say(ports[person], f"login {person}", words.format(day=day))
        await settled(biology, lambda status: status["tentative"] == len(BOOKINGS_IN_DOUBT))
        await asyncio.to_thread(
            photograph, browser, f"http://127.0.0.1:{site.nodes['biology'].http_port}/rooms?day={day}"
        )
    finally:
        for node in nodes:
            node.send(signal.SIGTERM)
        await asyncio.gather(*(node.ended() for node in nodes))


def main() -> None:
    """Make every picture."""
    from holdfast.client.processes import node_command

    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "site.toml"
        file.write_text(ROOMS_SITE % free_ports(7))
        rooms = load_site(file)
        if browser is None:
            sys.stderr.write("no Chromium here, so docs/images/rooms.png stays as it is; CHROMIUM=... names one\n")
        else:
            asyncio.run(picture_of_the_rooms(rooms, lambda name: node_command(rooms, name), browser))

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "site.toml"
        file.write_text(demo_toml())
        site = load_site(file)
        asyncio.run(picture_of_a_kill(site, lambda name: node_command(site, name)))


if __name__ == "__main__":
    main()
