"""Three server processes on this machine, durable, in a directory of their own: ours, or the ceiling's."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from holdfast.bench.ceiling import FRAME_BYTES, CeilingOptions
from holdfast.people import TokenHash

HOST = "127.0.0.1"
NAMES = ("a", "b", "c")
PORTS = (10_000, 32_000)
START_SECONDS = 60.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.01


class ClusterError(Exception):
    """A server did not start, or did not come back; the text ends with the last lines it wrote."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the system gives to outgoing connections: who is killed and
    started again finds them free. All are held until all are found, so no two are equal."""
    chance, ports = random.SystemRandom(), list[int]()
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            candidate = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):  # somebody has it: the next one
                candidate.bind((HOST, chance.randrange(*PORTS)))
                ports.append(int(candidate.getsockname()[1]))
    return ports


def people_lines(people: Iterable[str], token: str) -> list[str]:
    """The tables of these people in a site file, who all have the same token. It is hashed at the least cost that
    there is: what a login costs is not what is measured."""
    salt = bytes(16)
    digest = hashlib.scrypt(token.encode(), salt=salt, n=2, r=1, p=1, dklen=32)
    written = TokenHash(2, 1, 1, salt, digest).written()
    return [f'[people.{person}]\ntoken = "{written}"' for person in people]


def family(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


class Cluster(ABC):
    """Server processes by name. Use as a context manager: entering it starts them, leaving it ends them all."""

    system: str
    """What they are called in what people read."""
    names: Sequence[str] = NAMES

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.addresses: tuple[tuple[str, int], ...] = ()

    @abstractmethod
    def command(self, name: str) -> list[str]:
        """What starts this server."""

    @abstractmethod
    def wait_until_served(self, names: Sequence[str] = NAMES) -> None:
        """Return when all these servers serve; raises `ClusterError` after a minute."""

    def start(self, name: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.command(name), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def kill(self, name: str) -> None:
        """End a server with SIGKILL, if it still runs."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """Ask all servers to end, then make them."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and any(process.poll() is None for process in self.processes.values()):
            time.sleep(POLL_SECONDS)
        for name in list(self.processes):
            self.kill(name)

    def wait_for(self, is_so: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
        """Look again and again until it is so; raises `ClusterError` where a server has ended, or it takes longer."""
        deadline = time.monotonic() + seconds
        while not is_so():
            self.check_running(deadline, what)
            time.sleep(POLL_SECONDS)

    def check_running(self, deadline: float, waiting_for: str) -> None:
        """Raise where a server has ended by itself or the time is over."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise ClusterError(
                    f"{self.system} server {name} ended with {process.returncode}: {self.last_words(name)}"
                )
        if time.monotonic() > deadline:
            words = " | ".join(f"{name}: {self.last_words(name)}" for name in self.processes)
            raise ClusterError(f"{self.system}: {waiting_for} did not come in {START_SECONDS:.0f} s; {words}")

    def last_words(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")[-800:].strip()

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time of each server so far, with the processes that write its journals."""
        ticks = os.sysconf("SC_CLK_TCK")
        found = {}
        for name, process in self.processes.items():
            stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in family(process.pid)]
            found[name] = sum(int(fields[11]) + int(fields[12]) for fields in stats) / ticks
        return found

    def memory_bytes(self) -> dict[str, int]:
        """Resident memory of each server, with the processes that write its journals."""
        pages = {
            name: sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in family(process.pid))
            for name, process in self.processes.items()
        }
        return {name: count * os.sysconf("SC_PAGE_SIZE") for name, count in pages.items()}

    def __enter__(self) -> Self:
        try:
            for name in self.names:
                self.start(name)
            self.wait_until_served(self.names)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class CeilingCluster(Cluster):
    """The bare servers of `holdfast.bench.ceiling`. `tells`: what is for a client that watches is pushed to it."""

    system = "ceiling"

    def __init__(self, directory: Path, *, frame_bytes: int = FRAME_BYTES, tells: bool = False) -> None:
        super().__init__(directory)
        self.frame_bytes = frame_bytes
        self.tells = tells
        a, b, c, *peers = free_ports(6)
        self.clients = (a, b, c)
        self.peers = (peers[0], peers[1], peers[2])
        self.addresses = tuple((HOST, port) for port in self.clients)

    def command(self, name: str) -> list[str]:
        options = CeilingOptions(
            me=NAMES.index(name),
            clients=self.clients,
            peers=self.peers,
            journal=str(self.directory / f"{name}.journal"),
            frame_bytes=self.frame_bytes,
            tells=self.tells,
        )
        return [sys.executable, "-m", "holdfast.bench.ceiling", msgspec.json.encode(options).decode()]

    def wait_until_served(self, names: Sequence[str] = NAMES) -> None:
        self.wait_for(lambda: all("ready" in self.last_words(name) for name in names), "the word `ready`")


class SiteCluster(Cluster):
    """Nodes of a site of our own, which lies in `site`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.site = directory / "site.toml"

    @property
    def program(self) -> list[str]:
        return [sys.executable, "-m", "holdfast.client.cli"]

    def command(self, name: str) -> list[str]:
        return [*self.program, "node", name, "--site", str(self.site)]

    def found(self, lines: Sequence[str]) -> None:
        """Write the site's file and its first disks."""
        self.site.write_text("\n".join(lines) + "\n")
        subprocess.run([*self.program, "init", str(self.site)], check=True, stdout=subprocess.DEVNULL)


class HoldfastCluster(SiteCluster):
    """Three nodes of a site with one service; by default tickets under Lamport's order. `service`: the lines
    of its table, but for `nodes`; `more`: what else stands in the site file."""

    system = "holdfast"

    def __init__(
        self,
        directory: Path,
        *,
        seats: int = 100_000,
        failure_model: str = "perfect",
        name: str = "tickets",
        identity: str = "trusted",
        service: Sequence[str] = (),
        more: Sequence[str] = (),
    ) -> None:
        super().__init__(directory)
        ports = free_ports(9)
        self.addresses = tuple((HOST, port) for port in ports[:3])
        lines = ["[site]", 'name = "bench"', 'data = "data"']
        for place, node in enumerate(NAMES):
            lines += [f"[nodes.{node}]", f'host = "{HOST}"']
            lines += [f"peer_port = {ports[3 + place]}", f"http_port = {ports[6 + place]}"]
        tickets = ('app = "tickets"', 'protocol = "lamport"', f'failure_model = "{failure_model}"', f"seats = {seats}")
        lines += [f"[services.{name}]", f'identity = "{identity}"', *(service or tickets)]
        lines += [f"nodes = {{ {', '.join(f'{node} = {port}' for node, port in zip(NAMES, ports, strict=False))} }}"]
        self.found([*lines, *more])

    def status(self, name: str) -> dict[str, Any] | None:
        """What the node says of its replica, None while it does not answer."""
        try:
            line = self.ask(name, "status")
        except OSError:
            return None
        services = json.loads(line)["services"] if line else []
        return services[0] if services else None

    def ask(self, name: str, *lines: str) -> str:
        """Send lines to one server; its reply to the last of them."""
        with socket.create_connection(self.addresses[NAMES.index(name)], 5.0) as connection:
            connection.sendall("".join(f"{line}\n" for line in lines).encode())
            replies = connection.makefile("r", encoding="utf-8", newline="\n")
            return [replies.readline() for _ in lines][-1]

    def seats_free(self, name: str) -> int:
        """How many seats are free, asked at this server."""
        return int(json.loads(self.ask(name, "mode json", "seats"))["reply"]["free"])

    def wait_until_served(self, names: Sequence[str] = NAMES) -> None:
        """All these nodes are active members of the same view, and none lags."""

        def is_served() -> bool:
            found = [self.status(name) for name in names]
            return all(one and one["state"] == "active" and set(names) <= set(one["view"]) for one in found)

        self.wait_for(is_served, f"an active view of {', '.join(names)}")
