"""The rooms' page on a real port, before a replica whose writes stay tentative until the test says so."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from types import SimpleNamespace
from typing import Any

import httpx
import uvloop

from holdfast.apps.rooms import Reserve, Rooms
from holdfast.kernel.contracts import Person, Query, Reply, Request
from holdfast.kernel.machine import Machine
from holdfast.kernel.replies import Outcome
from holdfast.people import Identity, People, TokenHash
from holdfast.server.face import Face
from holdfast.server.grammar import Grammar
from holdfast.server.http import HttpFace

HOST = "127.0.0.1"
PATIENCE_S = 60.0
TOKEN = "correct horse"
SECRETARY = ("secretary",)
FATIMA = Person("fatima", "Fatima", SECRETARY, "biology")
GEORG = Person("georg", "Georg", SECRETARY, "chemistry")
DEADLINE_S = 0.3


def place(room: str, ahead: int, hours: str) -> str:
    """A room at a time as the page writes it, so many days from today."""
    when = datetime.fromisoformat(day(ahead))
    return f"{room}, {when:%a} {when.day} {when:%b} {when.year}, {hours}"


def day(ahead: int) -> str:
    """So many days from today."""
    return (datetime.now(UTC) + timedelta(days=ahead)).date().isoformat()


class Replica:
    """Executes at once. `is_silent`: it takes requests and never answers. `firm_by`: when each write that is not
    committed is firm at the latest, and whether that is over; nobody can say of the others."""

    def __init__(self) -> None:
        self.machine = Machine(Rooms())
        self.committed: set[str] = set()
        self.executed: list[Request] = []
        self.heard = 0
        self.is_silent = False
        self.firm_by: dict[str, tuple[str, bool]] = {}
        self.warning = ""

    def run(self, request: Request) -> Reply:
        if isinstance(request.command, Query):
            reply = self.machine.answer(
                request, self.committed.__contains__, firm_by=lambda id: self.firm_by.get(id, ("", False))
            )
            return Outcome(reply, "full", warning=self.warning)
        now_ms = time.time_ns() // 1_000_000
        refusal = self.machine.admit(request, now_ms)
        if refusal is not None:
            return refusal
        self.executed.append(request)
        name = f"biology-{len(self.executed)}"
        assert request.person is not None
        stamp = (now_ms, request.person.first_name, "biology")
        return Outcome(self.machine.execute_write(request, stamp, name, False), "tentative", name)

    def submit(self, waiter: Any, request: Request) -> None:
        self.heard += 1
        if not self.is_silent:
            asyncio.get_running_loop().call_soon(lambda: waiter.deliver(self.run(request)))

    ask = submit

    def reserve(self, person: Person, *words: Any) -> str:
        """Somebody else's request; its id."""
        outcome = self.run(Request(Reserve(*words), person=person))
        assert isinstance(outcome, Outcome), outcome
        return outcome.write

    def wishes(self) -> list[tuple[str, str, str]]:
        """(room, day, start) of every reservation that was executed."""
        commands = [request.command for request in self.executed]
        return [(command.room, command.day, command.start) for command in commands if isinstance(command, Reserve)]


class Office:
    """What a story needs: the replica, and a browser at the page."""

    def __init__(self, replica: Replica, port: int) -> None:
        self.replica = replica
        self.origin = f"http://{HOST}:{port}"
        self.browser = httpx.Client(base_url=self.origin, headers={"Origin": self.origin}, timeout=20)

    def look(self, address: str = "/rooms", status: int = 200, **query: str) -> str:
        """The page's text."""
        answer = self.browser.get(address, params=query or None, follow_redirects=True)
        assert answer.status_code == status, said(answer.text)
        return answer.text

    def send(self, status: int = 303, /, **fields: str) -> httpx.Response:
        """Send a form."""
        answer = self.browser.post("/rooms", data=fields)
        assert answer.status_code == status, said(answer.text)
        return answer

    def form(self, **fields: str) -> dict[str, str]:
        """The fields of a request for Maple at 9 in a week, or with these fields instead."""
        page = self.look(day=day(7), book="1")
        typed = {"purpose": "Budget", "hours": "2", "weeks": "1", "day1": day(7), "room1": "Maple", "start1": "09:00"}
        return {"action": "reserve", "request": hidden(page, "request"), "day": day(7)} | typed | fields

    def outcome(self, answer: httpx.Response) -> str:
        """What the page says where the answer to a form leads."""
        return said(self.look(answer.headers["location"]))


def said(page: str) -> str:
    """The outcomes at the top of a page, and what is wrong with its form."""
    return unescape(
        " ".join("".join(found) for found in re.findall(r'<li[^>]*>([✓✗].*?)</li>|class="why".*?>(.*?)</p>', page))
    )


def hidden(page: str, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'type="hidden" name="{name}" value="([^"]+)"', page)
    assert found is not None, page
    return found[1]


def open_office(story: Callable[[Office], None], *, identity: Identity = "trusted") -> None:
    """Run the page; the story is told on a thread, as by a browser."""
    people = People([FATIMA, GEORG, Person("eve", "Eve", ("customer",))], {"fatima": TokenHash.of(TOKEN)})

    async def main() -> None:
        with socket.socket() as free:
            free.bind((HOST, 0))
            port = free.getsockname()[1]
        replica = Replica()
        grammar = Grammar(Rooms.commands, Rooms.queries)
        service = SimpleNamespace(name="rooms", app="rooms", deadline_seconds=DEADLINE_S)
        site = SimpleNamespace(
            name="house",
            file="site.toml",
            people=people,
            services={"rooms": service},
            services_of=lambda node: [service],
        )
        status = {"protocol": "bayou", "state": "active", "primary": "biology", "tentative": 3}
        node: Any = SimpleNamespace(
            name="biology",
            site=site,
            faces={"rooms": Face("rooms", replica, grammar, identity, tentative=True)},
            drivers={"rooms": SimpleNamespace(machine=replica.machine, status=lambda: status)},
            vendors={},
        )
        face = HttpFace(node, HOST, port)
        await face.start()
        office = Office(replica, port)
        try:
            await asyncio.wait_for(asyncio.to_thread(story, office), PATIENCE_S)
        finally:
            office.browser.close()
            await face.stop()
            people.close()

    uvloop.run(main())
