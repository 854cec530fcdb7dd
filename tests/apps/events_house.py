"""A company for tests: its branches on a machine, and whoever speaks to them."""

from __future__ import annotations

from typing import Any

from holdfast.apps.events import Events
from holdfast.kernel.contracts import Person, Query, Refusal, Reply, Request
from holdfast.kernel.machine import Machine
from holdfast.kernel.notices import Notices, NoticesAfter
from holdfast.server.grammar import Grammar

TOR, MTL, OTW = "TORM0001", "MTLM0001", "OTWM0001"
"""A manager of each branch."""
ANN, BOB, CID, MAX = "TORC0001", "TORC0002", "MTLC0001", "OTWC0001"
"""Two customers of Toronto, one of Montreal and one of Ottawa."""


class Company:
    """Branches that nobody else uses. Who asks is named by id, "" for nobody."""

    def __init__(self, *branches: str) -> None:
        self.app = Events(branches) if branches else Events()
        self.machine = Machine(self.app)
        self.store = self.machine.store
        self._grammar = Grammar(Events.commands, Events.queries)

    def do(self, who: str, asked: Any) -> Reply:
        """Execute a command, or answer a query."""
        request = Request(asked, person=Person(who) if who else None)
        if isinstance(asked, Query):
            return self.machine.answer(request)
        return self.machine.execute([request], (1, 0))[0]

    def says(self, who: str, line: str) -> str:
        """The text of the answer to a line, as the line protocol takes it."""
        made = self._grammar.parse(line.encode(), Person(who) if who else None)
        if isinstance(made, Reply):
            return made.text()
        assert isinstance(made, Request)
        return self.do(who, made.command).text()

    def has(self, *events: str) -> None:
        """Events that managers of their cities add, each as `TORM100519 Seminars 3`."""
        for event in events:
            assert not self.says(f"{event[:3]}M9999", f"addEvent {event}").startswith("Failed")

    def holds(self, *bookings: str) -> None:
        """Bookings that customers make, each as `TORC0001 TORM100519 Seminars`."""
        for booking in bookings:
            said = self.says(booking[:8], f"bookEvent {booking}")
            assert not said.startswith("Failed"), said

    def schedule(self, customer: str) -> str:
        """What a customer has booked, as the answer says it behind the name."""
        return self.says(customer, f"getBookingSchedule {customer}").removeprefix(f"{customer} - ").removesuffix(".")

    def left(self, kind: str) -> str:
        """The places left at all events of a type, as the answer says it behind the type."""
        return self.says(TOR, f"listEventAvailability {kind}").partition(" - ")[2].removesuffix(".")

    def refused(self, who: str, command: Any, now_ms: int = 0) -> Refusal | None:
        """What the door says to a command."""
        return self.machine.admit(Request(command, person=Person(who) if who else None), now_ms)

    def notices(self) -> list[tuple[str, str]]:
        """(addressee, text) of everything in the outbox."""
        told = self.machine.answer(Request(NoticesAfter()))
        assert isinstance(told, Notices)
        return [(to, text) for _, to, text in told.rows]
