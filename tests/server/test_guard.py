"""Before a private service: client ids are a person's own, and a protocol's words are for operators."""

from __future__ import annotations

from typing import Any

from holdfast.apps.messages import AskInbox, Messages, Read, Send
from holdfast.kernel.contracts import Person, Query, Reply, Request
from holdfast.kernel.machine import Advance, Machine
from holdfast.kernel.replies import Forbidden
from holdfast.kernel.sessions import birth_ms
from holdfast.replication.bayou.words import COMMANDS, QUERIES, Export, Import, Retire, Stable
from holdfast.server.guard import Guard, own_client

ALICE, BOB, EVE = Person("alice"), Person("bob"), Person("eve")
OPS = Person("ops", roles=("operator",))
NINE = 1_796_115_600_000


class Waiter:
    """Keeps the reply."""

    def __init__(self) -> None:
        self.reply: Reply | None = None

    def deliver(self, reply: Reply) -> None:
        self.reply = reply


class Replica:
    """A machine that answers at once, and what it was handed."""

    def __init__(self) -> None:
        self.machine = Machine(Messages((ALICE, BOB, EVE)))
        self.machine.execute([Request(Advance(NINE))], (1, 0))
        self.heard: list[Request] = []

    def submit(self, waiter: Any, request: Request) -> None:
        self.heard.append(request)
        if type(request.command) in Messages.commands:
            waiter.deliver(self.machine.execute([request], (len(self.heard) + 1, 0))[0])

    def ask(self, waiter: Any, request: Request) -> None:
        self.heard.append(request)
        if type(request.command) in Messages.queries:
            waiter.deliver(self.machine.answer(request))


def say(guard: Guard, person: Person | None, command: Any, client: str = "", number: int = 0) -> Any:
    waiter, request = Waiter(), Request(command, client, number, 0, person)
    (guard.ask if isinstance(command, Query) else guard.submit)(waiter, request)
    return waiter.reply


def test_nobody_hears_the_answer_to_somebody_elses_request() -> None:
    guard = Guard(Replica(), (*COMMANDS, *QUERIES))
    say(guard, ALICE, Send("bob", "secret"), "phone", 1)
    opened = say(guard, BOB, Read(1), "phone", 1)
    assert opened.content == "secret"
    assert say(guard, BOB, Read(1), "phone", 1) == opened, "one's own retry gets the first answer"
    for client in ("phone", "bob:phone", "bob.phone"):
        assert say(guard, EVE, Read(1), client, 1).failed
    assert say(guard, EVE, Send("bob", "mine"), "phone", 2).number == 1


def test_nobody_makes_anothers_requests_too_old() -> None:
    guard = Guard(Replica(), ())
    first = say(guard, ALICE, Send("bob", "one"), "phone", 1)
    waiter = Waiter()
    guard.submit(waiter, Request(Send("bob", "x"), "phone", 900, 900, EVE))
    assert say(guard, ALICE, Send("bob", "one"), "phone", 1) == first
    assert say(guard, ALICE, Send("bob", "two"), "phone", 2).number == 2


def test_a_client_id_still_tells_its_birth() -> None:
    client = f"k3f9a2c1.{NINE}"
    assert birth_ms(own_client(ALICE, client)) == birth_ms(client) == NINE
    assert len({client, *(own_client(person, client) for person in (ALICE, BOB))}) == 3


def test_who_names_no_client_is_handed_on_as_they_are() -> None:
    replica = Replica()
    guard = Guard(replica, ())
    say(guard, ALICE, Send("bob", "hello"))
    say(guard, BOB, AskInbox())
    assert replica.heard == [Request(Send("bob", "hello"), person=ALICE), Request(AskInbox(), person=BOB)]


def test_the_words_of_a_protocol_are_for_operators() -> None:
    replica = Replica()
    guard = Guard(replica, (*COMMANDS, *QUERIES))
    for command in (Export(), Import("x"), Retire(), Stable("a-1")):
        for person in (ALICE, None):
            refused = say(guard, person, command)
            assert isinstance(refused, Forbidden)
            assert refused.text().startswith(f"Failed: {command.__struct_config__.tag} ")
    assert replica.heard == []
    say(guard, OPS, Export())
    say(guard, OPS, Retire(), "x", 1)
    assert [type(request.command) for request in replica.heard] == [Export, Retire]
