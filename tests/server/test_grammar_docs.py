"""docs/line-protocol.md says what the program does."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from tests.apps.ward import Ward

from holdfast.apps.directory import Directory
from holdfast.apps.events import Events
from holdfast.apps.keyvalue import Full, KeyValue
from holdfast.apps.messages import DEVICES_MAX, MEMBERS_MAX, SEEN_MAX, TEXT_CHARACTERS_MAX, Messages, Send
from holdfast.apps.messages.asking import FETCHED_MAX, LOOKED_AT_MAX, PAGE_MAX, PEOPLE_MAX
from holdfast.apps.messages.words import SUBJECT_CHARACTERS_MAX
from holdfast.apps.plans import PLANS_MAX, TOLD_MAX, VENDORS_MAX, Plans
from holdfast.apps.rooms import Rooms
from holdfast.apps.slots import Slots
from holdfast.apps.tickets import Reserve, Reserved, Tickets
from holdfast.kernel.contracts import Command, Context, Person, Query, Reply, Request
from holdfast.kernel.machine import Machine
from holdfast.kernel.notices import NoticesAfter
from holdfast.kernel.store import TupleStore
from holdfast.replication.bayou import words
from holdfast.replication.sequencer import words as sequencer_words
from holdfast.server.grammar import Grammar
from holdfast.server.reply_lines import ChangeLines, json_line

TEXT = (Path(__file__).parents[2] / "docs" / "line-protocol.md").read_text(encoding="utf-8")
GRAMMAR = Grammar(Tickets.commands, Tickets.queries)
ROOMS = Grammar(Rooms.commands, Rooms.queries)
EVENTS = Grammar(Events.commands, Events.queries)
DIRECTORY = Grammar(Directory.commands, Directory.queries)
PLANS = Grammar(Plans.commands, Plans.queries)
SLOTS = Grammar(Slots.commands, Slots.queries)
MESSAGES = Grammar(Messages.commands, Messages.queries)
KEYVALUE = Grammar(KeyValue.commands, KeyValue.queries)
BAYOU = Grammar(words.COMMANDS, words.QUERIES)
SEQUENCER = Grammar(sequencer_words.COMMANDS, sequencer_words.QUERIES)
GRAMMARS = (GRAMMAR, ROOMS, EVENTS, DIRECTORY, SLOTS, PLANS, KEYVALUE, MESSAGES, BAYOU, SEQUENCER)


class Theatre:
    """What a server does with a line, without a server."""

    def __init__(self) -> None:
        self.app = Tickets()
        self.store = TupleStore(self.app.rows)
        self.app.create(self.store)

    def say(self, line: str) -> str:
        made = GRAMMAR.parse(line.encode())
        if isinstance(made, Reply):
            return made.text()
        assert isinstance(made, Request)
        if isinstance(made.command, Command):
            return self.app.apply(self.store, made.command, Context()).text()
        assert isinstance(made.command, Query)
        return self.app.answer(self.store, made.command, Context()).text()


def test_every_word_is_documented_with_its_usage_and_no_other() -> None:
    documented = [usage.replace("\\|", "|") for usage in re.findall(r"^\| `([^`]+)` \|", TEXT, flags=re.MULTILINE)]
    known = {grammar.usage(word) for grammar in GRAMMARS for word in grammar.words}
    assert sorted({*documented}) == sorted(known), "two apps may have the same word"


def test_the_replies_are_those_of_the_program() -> None:
    theatre = Theatre()
    story = [
        ("reserve bob 3", "The seats have been reserved for bob: 1,2,3."),
        ("seats", "497 seats are free: 4-500."),
        ("reserve eve 1", "The seats have been reserved for eve: 4."),
        ("list", "bob: 1,2,3; eve: 4"),
        ("search bob", "1,2,3"),
        ("choose zoe 501", "Failed: there is no seat 501, the seats are numbered from 1 to 500."),
        ("choose zoe 7,7", "Failed: seat 7 is named twice."),
        ("choose ann 7", "The seats have been reserved for ann: 7."),
        ("choose zoe 7", "Failed: seat 7 is taken."),
        ("release bob 7", "Failed: seat 7 is not reserved for bob."),
    ]
    for line, reply in story:
        assert theatre.say(line) == reply
        anybody = reply.replace("bob:", "<name>:").replace("for bob", "for <name>")
        if reply != "The seats have been reserved for eve: 4." and "ann" not in reply:
            assert f"`{reply}`" in TEXT or f"`{anybody}`" in TEXT, reply


SECRETARIES = {
    "fatima": Person("fatima", "Fatima", ("secretary",), "biology"),
    "georg": Person("georg", "Georg", ("secretary",), "chemistry"),
}


class Building:
    """What a replica of the rooms does with a line, a minute after the line before. Its writes are final at once."""

    def __init__(self) -> None:
        self.machine = Machine(Rooms())
        self.now_ms = round(datetime(2026, 11, 20, 9, tzinfo=UTC).timestamp() * 1000)
        self.writes: Counter[str] = Counter()

    def say(self, who: str, line: str) -> str:
        self.now_ms += 60_000
        person = SECRETARIES[who]
        made = ROOMS.parse(line.encode(), person)
        if isinstance(made, Reply):
            return made.text()
        assert isinstance(made, Request)
        if isinstance(made.command, Query):
            return self.machine.answer(made).text()
        refusal = self.machine.admit(made, self.now_ms)
        if refusal is not None:
            return refusal.text()
        self.writes[person.department] += 1
        stamp = (self.now_ms, person.first_name, person.department)
        name = f"{person.department}-{self.writes[person.department]}"
        return self.machine.execute_write(made, stamp, name, late=False).text()


def exchanges(app: str, count: int) -> list[tuple[str, str, str]]:
    """So many lines that the page has of an app, each as (who, line, reply)."""
    told = re.search(rf"```{app}\n(.*?)```", TEXT, flags=re.DOTALL)
    assert told is not None
    found = re.findall(r"^(\w+)> (.*)\n(.*)$", told[1], flags=re.MULTILINE)
    assert len(found) == count
    return found


def says(machine: Machine, grammar: Grammar, person: Person, line: str) -> str:
    """What a machine that nobody else asks says to a line; `notices` is what it has to tell people."""
    made = Request(NoticesAfter()) if line == "notices" else grammar.parse(line.encode(), person)
    assert isinstance(made, Request)
    if isinstance(made.command, Query):
        return machine.answer(made).text()
    return (machine.admit(made, 0) or machine.execute([made], (1, 0))[0]).text()


def test_the_two_secretaries_are_told_what_the_page_says() -> None:
    building = Building()
    for who, line, reply in exchanges("rooms", 10):
        assert building.say(who, line) == reply


def test_customers_and_managers_are_told_what_the_page_says() -> None:
    machine = Machine(Events())
    for who, line, reply in exchanges("events", 13):
        assert says(machine, EVENTS, Person(who), line) == reply


def test_clients_and_the_vendor_are_told_what_the_page_says() -> None:
    machine = Machine(Slots())
    for who, line, reply in exchanges("slots", 13):
        person = Person(who, roles=("vendor",) if who == "gerda" else ())
        assert says(machine, SLOTS, person, line) == reply


def test_planners_are_told_what_the_page_says() -> None:
    machine = Machine(Plans(map(Person, ("alice", "grace"))))
    for who, line, reply in exchanges("plans", 8):
        assert says(machine, PLANS, Person(who), line) == reply
    assert f"at most {VENDORS_MAX} vendors, and {TOLD_MAX} people are told of it; {PLANS_MAX} plans" in TEXT


def test_doctors_and_nurses_are_told_what_the_page_says() -> None:
    people = {name: Person(name) for name in ("alice", "farid", "grace")}
    ward = Ward(tuple(people.values()))
    for who, line, reply in exchanges("messages", 17):
        assert ward.says(people[who], line) == reply
    (pushed, *_) = ward.hear()
    assert f"\n{ChangeLines(pushed).for_people.decode()}" in TEXT


def test_the_limits_of_the_messages_are_those_of_the_page() -> None:
    limits = (TEXT_CHARACTERS_MAX, SUBJECT_CHARACTERS_MAX, MEMBERS_MAX, DEVICES_MAX, LOOKED_AT_MAX, FETCHED_MAX)
    assert limits == (4000, 200, 200, 32, 5_000, 100)
    assert (PAGE_MAX, PEOPLE_MAX, SEEN_MAX) == (50, 200, 100)


def test_the_limits_of_the_state_store_are_those_of_the_page() -> None:
    assert f"`{Full().text()}`" in TEXT


def test_the_example_of_json_is_what_a_reply_looks_like() -> None:
    shown = re.search(r"```json\n(.*?)\n```", TEXT, flags=re.DOTALL)
    assert shown is not None
    assert json.loads(shown[1]) == json.loads(json_line(Reserved("bob", (1, 2, 3))))


def test_the_examples_of_json_lines_are_understood() -> None:
    lines = re.findall(r"^(?:@\S+ )?\[.*\]$", TEXT, flags=re.MULTILINE)
    messages = Grammar((Reserve, Send))
    made = [messages.parse(line.encode()) for line in lines]
    assert [request.command for request in made if isinstance(request, Request)] == [
        Reserve("Mary Ann", 3),
        Send("bob", "two\nlines", "", "urgent"),
    ]


def test_the_examples_of_exact_requests_are_understood() -> None:
    lines = re.findall(r"^@\S+ \w.*$", TEXT, flags=re.MULTILINE)
    requests = [GRAMMAR.parse(line.encode()) for line in lines]
    assert all(isinstance(made, Request) for made in requests)
    assert [(made.number, made.lowest) for made in requests if isinstance(made, Request)] == [(7, 0), (8, 7)]
