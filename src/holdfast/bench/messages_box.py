"""An inbox with a million messages: how long its first page takes, and any other, while more arrive.

The journal is written by the node's own core in a process of its own, batch after batch, without the
waiting; then a node starts from it, and is asked over its line port as any client asks.

    python -m holdfast.bench.messages_box '{"site": "site.toml", "messages": 1000000}'

writes the journal.
"""

from __future__ import annotations

import gc
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from holdfast.apps.messages import Seen, Send
from holdfast.apps.messages.asking import PAGE_MAX
from holdfast.bench.cluster import HOST, ClusterError, SiteCluster, free_ports, people_lines
from holdfast.bench.load import quantile_ms
from holdfast.bench.measure import Progress
from holdfast.bench.messages_load import TEXT, TOKEN
from holdfast.catalog import make_core
from holdfast.kernel.contracts import Request, Step
from holdfast.kernel.gate import Gate
from holdfast.kernel.machine import Advance
from holdfast.runtime.journal import Journal
from holdfast.runtime.node import journal_path
from holdfast.site import load_site

NODE, SERVICE = "a", "messages"
OWNER = "owner"
SENDERS = 100
BATCH = 1_000
BORN_MS = 1_700_000_000_000
START_SECONDS = 600.0
"""A million messages are executed again, and the machine may be slow."""
ANSWER_SECONDS = 60.0
PAGE_MS_MAX = 20.0


class BoxOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the filling process is told."""

    site: str
    messages: int


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One question, asked several times. `first_ms`: the first time of all, right after the start of the node;
    `arriving`: between messages that arrived."""

    question: str
    as_json: bool
    arriving: bool
    items: int
    first_ms: float
    p50_ms: float
    p99_ms: float
    max_ms: float


class BoxFound(msgspec.Struct, frozen=True, kw_only=True):
    """`fill_seconds`: until the journal was written; `start_seconds`: until the node served from it."""

    messages: int
    fill_seconds: float
    start_seconds: float
    memory_mb: float
    pages: list[Page]
    errors: list[str]


class BoxNode(SiteCluster):
    """One node, one service of messages under `solo`, its owner of the inbox and who writes to it."""

    system = "messages"
    names = (NODE,)

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port, peer_port = free_ports(2)
        self.addresses = ((HOST, self.port),)
        lines = ['[site]\nname = "box"\ndata = "data"', f'[nodes.{NODE}]\nhost = "{HOST}"\npeer_port = {peer_port}']
        lines += [f'[services.{SERVICE}]\napp = "messages"\nprotocol = "solo"\nnodes = {{ {NODE} = {self.port} }}']
        lines += people_lines([OWNER, *(sender(number) for number in range(SENDERS))], TOKEN)
        self.found(lines)

    def __enter__(self) -> Self:
        return self  # it is filled first

    def serve(self) -> float:
        """Start the node; seconds until it answers."""
        begin = time.monotonic()
        self.start(NODE)
        self.wait_until_served()
        return time.monotonic() - begin

    def wait_until_served(self, names: Sequence[str] = (NODE,)) -> None:
        self.wait_for(self._serves, "an answer", START_SECONDS)

    def _serves(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), 5.0) as connection:
                connection.sendall(b"status\n")
                return bool(connection.makefile("rb").readline())
        except OSError:
            return False  # not yet


def sender(number: int) -> str:
    """The id of one of those who write to the owner."""
    return f"sender{number:03}"


def fill(options: BoxOptions) -> None:
    """Write the journal of the node: so many messages, of all senders in turn; of them their reader has read what
    pages of the inbox are asked for, so that these are pages with texts."""
    gc.disable()
    site = load_site(options.site)
    journal = Journal.open(journal_path(site, NODE, SERVICE))
    replicated = make_core(site.services[SERVICE], NODE, disk="box")
    people = [site.people.get(sender(number)) for number in range(SENDERS)]
    gate = Gate()

    def write(step: Step) -> None:
        gate.absorb(step)
        while (group := gate.next_group()) is not None:
            journal.write(group)
            gate.written()
        gate.replies.clear()
        gate.changes.clear()

    try:
        write(replicated.core.recover(0, journal.recover()))
        for first in range(0, options.messages, BATCH):
            numbers = range(first, min(first + BATCH, options.messages))
            requests = [Request(Advance(BORN_MS + first * 100))]
            requests += [
                Request(Send(OWNER, f"{TEXT}{number + 1:010}"), person=people[number % SENDERS]) for number in numbers
            ]
            write(replicated.core.submit(0, [(None, request) for request in requests]))
        reader = site.people.get(OWNER)
        read = [Seen(page) for page in (newest(options.messages), newest(options.messages // 2 - 1)) if page]
        write(replicated.core.submit(0, [(None, Request(seen, person=reader)) for seen in read]))
    finally:
        journal.close()


def newest(last: int) -> tuple[int, ...]:
    """The numbers of the page of an inbox that ends there, the newest first."""
    return tuple(range(last, max(last - PAGE_MAX, 0), -1))


class Asker:
    """A person's connection to the node."""

    def __init__(self, port: int, person: str, *, as_json: bool) -> None:
        self._socket = socket.create_connection((HOST, port), ANSWER_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = self._socket.makefile("rb")
        for line in ("mode json" if as_json else "mode text", f"login {person} {TOKEN}"):
            reply = self.ask(line)
            if reply.startswith((b"Failed", b'{"ok":false')):
                raise ClusterError(f"{line!r} was answered {reply!r}")

    def ask(self, line: str) -> bytes:
        """The reply to one line."""
        self._socket.sendall(line.encode() + b"\n")
        return self._replies.readline()

    def close(self) -> None:
        """End the connection."""
        self._replies.close()
        self._socket.close()


def measure_box(messages: int, times: int, directory: Path, progress: Progress) -> BoxFound:
    """Fill an inbox, start its node, ask each question so often, all data in `directory`."""
    with BoxNode(directory / "box") as node:
        begin = time.monotonic()
        options = msgspec.json.encode(BoxOptions(site=str(node.site), messages=messages)).decode()
        filled = subprocess.run(
            [sys.executable, "-m", "holdfast.bench.messages_box", options], capture_output=True, check=False
        )
        if filled.returncode:
            raise ClusterError(filled.stderr.decode().strip())
        fill_seconds = time.monotonic() - begin
        progress(f"an inbox of {messages:,} messages written in {fill_seconds:.0f} s")
        start_seconds = node.serve()
        progress(f"its node serves after {start_seconds:.1f} s")
        errors: list[str] = []
        pages = ask_pages(node, messages, times, errors)
        for page in pages:
            progress(f"{page.question}: first {page.first_ms:.2f} ms, p50 {page.p50_ms:.2f}, p99 {page.p99_ms:.2f}")
        return BoxFound(
            messages=messages,
            fill_seconds=fill_seconds,
            start_seconds=start_seconds,
            memory_mb=sum(node.memory_bytes().values()) / 1e6,
            pages=pages,
            errors=errors,
        )


def ask_pages(node: BoxNode, messages: int, times: int, errors: list[str]) -> list[Page]:
    """The first page as devices and as people see it, and pages from the middle; then between new messages, each of
    which its reader has read."""
    middle = messages // 2
    questions = (
        ("inbox", True, False, newest(messages)),
        ("since 0", True, False, tuple(range(1, 101))),
        (f"since {middle}", True, False, tuple(range(middle + 1, middle + 101))),
        (f"inbox {middle}", True, False, newest(middle - 1)),
        ("inbox", False, False, ()),
        ("inbox", True, True, ()),
        ("since", True, True, ()),
    )
    return [_ask_page(node, times, errors, *question) for question in questions]


def _ask_page(
    node: BoxNode, times: int, errors: list[str], question: str, as_json: bool, arriving: bool, wanted: tuple[int, ...]
) -> Page:
    owner, colleague = Asker(node.port, OWNER, as_json=as_json), Asker(node.port, sender(0), as_json=True)
    last = int(json.loads(colleague_last(node))["reply"]["last"])
    taken, items = [], 0
    for _ in range(times):
        if arriving:
            last += 1
            sent = colleague.ask(f"send {OWNER} {TEXT}{last:010}")
            if b'"type":"sent"' not in sent:
                errors.append(f"a message was answered {sent!r}")
            if question == "inbox" and b'"type":"shown"' not in owner.ask(f"seen {last}"):
                errors.append(f"{last} was not read")
        line = f"since {last - 1}" if question == "since" else question
        begin = time.perf_counter()
        reply = owner.ask(line)
        taken.append(time.perf_counter() - begin)
        if not as_json:
            items = 50 if f"{TEXT}{last:010}".encode() in reply else 0
            numbers = []
        else:
            found = json.loads(reply)["reply"]["items"]
            items, numbers = len(found), [item["number"] for item in found]
            if any(item["content"] != f"{TEXT}{item['number']:010}" for item in found):
                errors.append(f"{line}: a message has a text that is not its own")
        if not items or (arriving and last not in numbers) or (wanted and numbers != list(wanted[:items])):
            errors.append(f"{line} was answered {reply[:200]!r} ...")
            break
    owner.close()
    colleague.close()
    ascending = sorted(taken[1:] or taken)
    return Page(
        question=question,
        as_json=as_json,
        arriving=arriving,
        items=items,
        first_ms=taken[0] * 1e3,
        p50_ms=statistics.median(ascending) * 1e3,
        p99_ms=quantile_ms(ascending, 0.99),
        max_ms=quantile_ms(ascending, 1.0),
    )


def colleague_last(node: BoxNode) -> bytes:
    """What the node answers the owner about what is behind everything."""
    owner = Asker(node.port, OWNER, as_json=True)
    try:
        return owner.ask(f"since {2**62}")
    finally:
        owner.close()


if __name__ == "__main__":
    fill(msgspec.json.decode(sys.argv[1], type=BoxOptions))
