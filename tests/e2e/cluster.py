"""Real node processes of one site on free loopback ports: started, killed, stopped, asked, waited for.

Waiting is always for a condition, never for a time; its bounds are generous, because the machine may
be slow, and passing them is a failure that shows what every node said last.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.ports import free_ports

from holdfast.runtime.node import initialise, journal_path
from holdfast.site import load_site

HOST = "127.0.0.1"
PATIENCE_S = 60.0
"""How long a condition may take to come true before the test fails."""
SOURCE = Path(__file__).parents[2] / "src"
RETRY_ELSEWHERE = ("Failed: not served here now", "Failed: outcome unknown", "Failed: overloaded")


def until(condition: Callable[[], Any], what: str, *, timeout_s: float = PATIENCE_S) -> Any:
    """The first true value of `condition()`."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {timeout_s} s still not so: {what}"
        time.sleep(0.02)
    return value


def say(port: int, text: str, *, timeout_s: float = 15.0) -> str:
    """As `printf text | nc`: everything the server answers. Raises `OSError` when it cannot be reached."""
    with socket.create_connection((HOST, port), timeout=timeout_s) as connection:
        connection.sendall(text.encode())
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts).decode()


def environment(**more: str) -> dict[str, str]:
    """That of a child process: this checkout's source, nobody's site."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    return {**kept, "PYTHONPATH": str(SOURCE), **more}


class Process:
    """One process that surely ends with its test."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "holdfast.client.cli", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(),
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def ended(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for its end; its exit status."""
        return self._child.wait(timeout_s)

    def kill(self) -> None:
        """At once, be it stopped or not."""
        self._child.kill()
        self._child.wait(PATIENCE_S)

    def writers(self) -> list[int]:
        """The processes that write this node's journals."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def said(self) -> str:
        return self.log.read_text()


class Cluster:
    """The processes of one theatre."""

    service = "tickets"

    def __init__(
        self,
        directory: Path,
        *,
        names: Sequence[str] = "abc",
        model: str = "perfect",
        timeout_s: float = 2.0,
        seats: int = 500,
        http: bool = False,
    ) -> None:
        self.directory = directory
        self.names = list(names)
        self.model = model
        self.timeout_s = timeout_s
        self.seats = seats
        ports = free_ports(3 * len(names))
        self.line_ports = dict(zip(names, ports, strict=False))
        self.peer_ports = dict(zip(names, ports[len(names) :], strict=False))
        self.http_ports = dict(zip(names, ports[2 * len(names) :], strict=False)) if http else {}
        self.processes: dict[str, Process] = {}
        self.site = self.write_site("site.toml", self.peer_ports)
        self.sites = dict.fromkeys(names, self.site)
        """The file that each node reads: the same, unless a test puts something between them."""
        initialise(load_site(self.site))

    def write_site(self, file: str, peer_ports: dict[str, int]) -> Path:
        """A site file in which the nodes are reached at these peer ports."""
        lines = ["[site]", 'name = "stage"', 'data = "data"']
        for name in self.names:
            lines += [f"[nodes.{name}]", f'host = "{HOST}"', f"peer_port = {peer_ports[name]}"]
            if name in self.http_ports:
                lines.append(f"http_port = {self.http_ports[name]}")
        ports = ", ".join(f"{name} = {self.line_ports[name]}" for name in self.names)
        lines += [f"[services.{self.service}]", 'identity = "trusted"', f"nodes = {{ {ports} }}"]
        path = self.directory / file
        path.write_text("\n".join([*lines, *self.service_lines()]) + "\n")
        return path

    def service_lines(self) -> list[str]:
        """The service's other settings, and what follows them in the file."""
        return [
            'app = "tickets"',
            'protocol = "lamport"',
            f'failure_model = "{self.model}"',
            f"timeout_seconds = {self.timeout_s}",
            f"seats = {self.seats}",
        ]

    # -- Processes

    def start(self, *names: str, more: Sequence[str] = ()) -> None:
        """Start these nodes, all when none is named, with `more` words; does not wait."""
        for name in names or self.names:
            words = ["node", name, "--site", str(self.sites[name]), *more]
            self.processes[name] = Process(words, self.directory / f"{name}.log")

    def kill(self, *names: str) -> None:
        """kill -9."""
        for name in names:
            self.processes[name].kill()

    def stop(self, name: str) -> int:
        """As Ctrl-C; its exit status."""
        self.processes[name].send(signal.SIGINT)
        return self.processes[name].ended()

    def pause(self, name: str) -> None:
        self.processes[name].send(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self.processes[name].send(signal.SIGCONT)

    def log(self, name: str) -> str:
        return self.processes[name].said()

    def journal(self, name: str) -> Path:
        return journal_path(load_site(self.site), name, self.service)

    # -- Questions

    def say(self, name: str, text: str, *, timeout_s: float = 15.0) -> str:
        """What `nc` to this node prints."""
        return say(self.line_ports[name], text, timeout_s=timeout_s)

    def status(self, name: str) -> dict[str, Any]:
        """The state of its replica, empty when it cannot be asked."""
        try:
            answer = json.loads(self.say(name, "status\n", timeout_s=5))
        except (OSError, ValueError):
            return {}
        found: dict[str, Any] = answer["services"][0]
        return found

    def serving(self, *names: str) -> bool:
        """Whether these are active in one view of exactly them."""
        statuses = [self.status(name) for name in names]
        return all(status.get("state") == "active" and status["view"] == sorted(names) for status in statuses)

    def wait_serving(self, *names: str) -> None:
        """Until these, and no others, make the view."""
        wanted = names or tuple(self.names)
        self.wait(lambda: self.serving(*wanted), f"view of {', '.join(wanted)}")

    def wait_equal(self, *names: str) -> None:
        """Until these stand at the same position with the same state."""

        def equal() -> bool:
            statuses = [self.status(name) for name in names or self.names]
            return len({(status.get("position"), status.get("digest")) for status in statuses}) == 1

        self.wait(equal, "equal digests")

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Until the condition is true; a failure tells what every node says."""
        try:
            return until(condition, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.report()}") from error

    def ask(self, name: str, line: str) -> str:
        """The final reply to one line at this node; a refusal to serve for the moment is asked again."""

        def answer() -> str:
            try:
                reply = self.say(name, f"{line}\n").rstrip("\n")
            except OSError:
                return ""
            return "" if reply.startswith(RETRY_ELSEWHERE) else reply

        reply: str = self.wait(answer, f"a final answer to {line!r} at {name}")
        return reply

    def bookings(self, name: str) -> dict[str, list[int]]:
        """Every reservation, as this node lists them, page by page."""
        found: dict[str, list[int]] = {}
        after = ""
        while True:
            page = parse_bookings(self.ask(name, f"list {after}".rstrip()))
            following = page.pop("more", None)
            found |= {guest: seats for guest, seats in page.items() if isinstance(seats, list)}
            if not isinstance(following, str):
                return found
            after = following

    def report(self) -> str:
        """What every node said last."""
        return "\n".join(
            f"-- {name}: {'running' if process.running else 'ended'}\n" + "\n".join(process.said().splitlines()[-15:])
            for name, process in self.processes.items()
        )

    def close(self) -> None:
        """End every process, be it running, stopped or dead."""
        for process in self.processes.values():
            process.kill()


def parse_bookings(text: str) -> dict[str, list[int] | str]:
    """The reply to `list` as seats by name; `more` is the name after which the next page begins."""
    found: dict[str, list[int] | str] = {}
    for item in text.split("; "):
        name, separator, seats = item.partition(": ")
        if name == "more":
            found[name] = seats.removeprefix("list ")
        elif separator:
            found[name] = [int(seat) for seat in seats.split(",")]
    return found


@contextlib.contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """All nodes started and serving; all processes ended afterwards, whatever happens."""
    try:
        cluster.start()
        cluster.wait_serving()
        yield cluster
    finally:
        cluster.close()
        print(cluster.report())
