"""`holdfast up`: every node of a site as a process of its own, watched and shown until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast.client.picture import listed, ports_text, remarks, state_text, status_table
from holdfast.client.status import NodeStatus, ask_nodes
from holdfast.private import make_file, make_folder

if TYPE_CHECKING:
    from rich.console import Group

    from holdfast.client.outcomes import Server
    from holdfast.site import Site

LOOK_EVERY_S = 0.5
STOP_TIMEOUT_S = 10.0
"""After SIGTERM a node has so long to end by itself before it is killed. Its journal survives either."""
LOG_TAIL_BYTES = 4096


class NodeProcess:
    """One node: where it answers, and the process that was started for it, if any."""

    def __init__(self, server: Server, command: Sequence[str], log: Path) -> None:
        self.server = server
        self.log = log
        self._command = list(command)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it in a session of its own: Ctrl-C in the terminal is for `up`, which then asks it to end."""
        make_folder(self.log.parent)
        make_file(self.log)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def running(self) -> bool:
        """Whether the process started here still runs."""
        return self._process is not None and self._process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.running and self._process is not None:
            self._process.send_signal(number)

    async def ended(self) -> None:
        """Return when the process started here, if any, has ended."""
        if self._process is not None:
            await self._process.wait()

    def seen(self, status: NodeStatus) -> NodeStatus:
        """What it said, with what is known of its process besides."""
        code = None if self._process is None else self._process.returncode
        pid = self._process.pid if self._process is not None and code is None else None
        if status.up:
            return msgspec.structs.replace(status, pid=status.pid or pid)
        if self.running:
            return msgspec.structs.replace(status, starting=True, pid=pid)
        if code is not None:
            return msgspec.structs.replace(status, why=f"{ending(code)}{self._last_words(code)}")
        return status

    def _last_words(self, code: int) -> str:
        """The last line of its log: where it ended by itself, it says there why."""
        if code < 0:
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f": {last.strip()[:200]}" if last else ""


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


class Supervisor:
    """Starts the nodes, looks after them, and ends them."""

    def __init__(self, nodes: Sequence[NodeProcess], heading: str, restart: Callable[[str], str]) -> None:
        """`restart` gives the command that starts a node of that name by hand."""
        self.nodes = list(nodes)
        self.statuses: list[NodeStatus] = []
        self._heading = heading
        self._restart = restart
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until SIGINT or SIGTERM; then every process started here is ended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopping.set)
        try:
            await self._start()
            await self._watch()
        finally:
            await self._stop()

    async def _start(self) -> None:
        """Start those that do not answer already: one started by hand is left to whoever started it."""
        for node, status in zip(self.nodes, await self._ask(), strict=True):
            if not status.up:
                await node.start()

    async def _ask(self) -> list[NodeStatus]:
        return await ask_nodes([node.server for node in self.nodes])

    async def _watch(self) -> None:
        show: Callable[[], None]
        if sys.stdout.isatty():
            from rich.live import Live

            live = Live(auto_refresh=False, vertical_overflow="visible")
            context, show = live, lambda: live.update(self.picture(*live.console.size), refresh=True)
        else:
            context, show = nullcontext(), PlainLines(self._heading).teller(self)  # type: ignore[assignment]
        with context:
            while not self._stopping.is_set():
                answers = await self._ask()
                self.statuses = [node.seen(status) for node, status in zip(self.nodes, answers, strict=True)]
                show()
                try:
                    await asyncio.wait_for(self._stopping.wait(), LOOK_EVERY_S)
                except TimeoutError:
                    continue

    async def _stop(self) -> None:
        """SIGTERM to all, then SIGKILL to whoever has not ended within `STOP_TIMEOUT_S`."""
        for node in self.nodes:
            node.send(signal.SIGTERM)
        if any(node.running for node in self.nodes):
            print("Ending the nodes.", flush=True)
        if await self._all_ended(STOP_TIMEOUT_S):
            return
        for node in self.nodes:
            if node.running:
                print(f"Node {node.server.name} does not end by itself; killing it.", flush=True)
                node.send(signal.SIGKILL)
        await self._all_ended(STOP_TIMEOUT_S)

    async def _all_ended(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(node.ended() for node in self.nodes))
        except TimeoutError:
            return False
        return True

    def picture(self, width: int, height: int = 40) -> Group:
        """What a terminal of `width` columns and `height` lines shows."""
        from rich.console import Group
        from rich.text import Text

        heading = Text(self._heading, style="bold", overflow="ellipsis", no_wrap=True)
        table = status_table(self.statuses, width, height)
        down = [node.node for node in self.statuses if not node.up and not node.starting]
        again = [f"Start {name} again in another terminal: {self._restart(name)}" for name in down]
        notes = [*remarks(self.statuses), *again]
        room = height - len(self._heading.splitlines()) - table.row_count - 5
        shown = fitting_notes(notes, width, room)
        return Group(heading, "", table, "", *map(Text, shown))


def fitting_notes(notes: Sequence[str], width: int, lines: int) -> list[str]:
    """As many notes as so many lines have room for, and how many are left out. One at least."""
    shown: list[str] = []
    for place, note in enumerate(notes):
        lines -= -(-len(note) // width)
        left = len(notes) - place
        if shown and (lines < 0 or (lines < 1 and left > 1)):
            return [*shown, f"... and {left} more: see holdfast status"]
        shown.append(note)
    return shown


class PlainLines:
    """For a log instead of a terminal: one line whenever a node or a replica changes."""

    def __init__(self, heading: str) -> None:
        self._known: dict[str, str] = {}
        print(heading, flush=True)

    def teller(self, supervisor: Supervisor) -> Callable[[], None]:
        return lambda: self.tell(supervisor.statuses)

    def tell(self, statuses: Sequence[NodeStatus]) -> None:
        for node in statuses:
            down = "starting" if node.starting else f"down: {node.why}"
            self._changed(f"node {node.node}", f"up at {node.address}" if node.up else down)
            for service in node.services:
                text = f"{state_text(service)}, view {listed(service.get('view', []))}"
                self._changed(f"{service.get('service', '?')} at {node.node}", text)

    def _changed(self, what: str, text: str) -> None:
        if self._known.get(what) != text:
            self._known[what] = text
            print(f"{what}: {text}", flush=True)


HTTP_FACES = {"rooms": ("Page", ""), "slots": ("API", "/api"), "keyvalue": ("Form", "/USER")}
"""What an app shows over HTTP, and how its address goes on behind the service's name."""


def page_addresses(site: Site) -> list[str]:
    """Where the services' pages, APIs and forms are, a line for each service and host."""
    lines = []
    for service in site.services.values():
        hosts: dict[str, list[int]] = {}
        what, end = HTTP_FACES.get(service.app, ("", ""))
        for node in (site.nodes[name] for name in service.nodes if what):
            if node.http_port is not None:
                hosts.setdefault(node.host, []).append(node.http_port)
        for host, ports in hosts.items():
            first, *more = sorted(ports)
            also = f", and at the port{'s' * (len(more) > 1)} {ports_text(more)}" if more else ""
            lines.append(f"{what} of {service.name}: http://{host}:{first}/{service.name}{end}{also}")
    return lines


def port_addresses(site: Site) -> list[str]:
    """Where the services take lines (`nc HOST PORT`), a line for each host."""
    hosts: dict[str, dict[str, list[int]]] = {}
    for service in site.services.values():
        for node, port in service.ports.items():
            if port is not None:
                hosts.setdefault(site.nodes[node].host, {}).setdefault(service.name, []).append(port)
    return [
        f"Lines at {host}: {'; '.join(f'{name} {ports_text(ports)}' for name, ports in services.items())}"
        for host, services in hosts.items()
    ]


def run_up(path: str) -> int:
    """The command `holdfast up`; its exit status."""
    from holdfast.client.processes import find_site, first_start, node_command, node_command_shown, node_servers

    site = find_site(path)
    first_start(site)
    nodes = [
        NodeProcess(server, node_command(site, server.name), site.node_data(server.name) / "log.txt")
        for server in node_servers(site)
    ]
    heading = f"Site {site.name}. Ctrl-C ends all. Data and logs (<node>/log.txt): {site.data}"
    heading += "".join(f"\n{line}" for line in (*port_addresses(site), *page_addresses(site)))
    asyncio.run(Supervisor(nodes, heading, lambda name: node_command_shown(site, name)).run())
    return 0
