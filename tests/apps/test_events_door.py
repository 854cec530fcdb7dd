"""What the door of the events refuses, and `apply` too: who may not, and words that mean nothing."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.apps.events_house import ANN, BOB, CID, MTL, OTW, TOR, Company

from holdfast.apps.events import (
    CAPACITY_MAX,
    TYPES,
    AddEvent,
    BookEvent,
    Browse,
    CancelEvent,
    Events,
    GetBookingSchedule,
    ListEventAvailability,
    RemoveEvent,
    SwapEvent,
    city_of,
    parse_event,
    parse_person,
    parse_type,
)
from holdfast.apps.events.replies import ManagersOnly, NobodyKnown, NotForOthers, OtherCity, Senseless
from holdfast.kernel.contracts import Command, Person, Query, Request
from holdfast.kernel.replies import Malformed
from holdfast.server.grammar import Grammar
from holdfast.server.reply_lines import json_line

GRAMMAR = Grammar(Events.commands, Events.queries)

NO_PEOPLE = (
    *("", "TOR", "TORM123", "TORM12345", "TORX1234", "torm1234", "TORm1234", "TO1M1234", " TORM1234", "TORM1234 "),
    *("TORM1234\n", "TORM١٢٣٤", "TORM１２３４", "TÖRM1234", "TORM-123", "TORM12.4", "1234TORM", "ТORM1234"),
)
NO_EVENTS = (
    *("", "TOR", "TORM10051", "TORM1005190", "TORX100519", "torm100519", "TORm100519", "TORM 10519", "TORM100519\n"),
    *("TORM300219", "TORM310419", "TORM290219", "TORM000519", "TORM320519", "TORM100019", "TORM101319", "TORM991399"),
    *(
        "TORM-10519",
        "TORM1.0519",
        "TORM١٠٠٥١٩",
        "TORM１００５１９",
        "TOR100519M",
        "M100519TOR",
        "TORTM00519",
        "ТORM100519",
    ),
)
NO_TYPES = ("", " ", "Parties", "Semi", "Seminarss", "Trade-shows", "TradeShow,s", "Séminars", "ſeminars", "s" * 10_000)


# -- names ------------------------------------------------------------------------------------------


def test_an_id_says_who_and_where() -> None:
    manager, customer = parse_person("TORM2345"), parse_person("MTLC0000")
    assert manager is not None
    assert customer is not None
    assert (manager.city, manager.is_manager) == ("TOR", True)
    assert (customer.city, customer.is_manager) == ("MTL", False)
    assert (city_of("OTWC9999"), city_of("XYZM0001"), city_of("bob")) == ("OTW", "XYZ", "")


@pytest.mark.parametrize("id", NO_PEOPLE)
def test_what_is_no_person(id: str) -> None:
    assert parse_person(id) is None
    assert city_of(id) == ""


def test_an_event_id_says_where_and_when() -> None:
    event = parse_event("OTWE290224")
    assert event is not None
    assert (event.city, event.slot, event.day, event.month) == ("OTW", "E", "2024-02-29", "2024-02")
    days = ["TORM311298", "TORM010199", "TORA010199", "TORE010199", "TORM020199", "TORM010299"]
    orders = [event.order for event in map(parse_event, days) if event]
    assert orders == sorted(orders)
    assert len(set(orders)) == len(days)
    century = parse_event("TORM290200")
    assert century is not None
    assert century.day == "2000-02-29"


@pytest.mark.parametrize("id", NO_EVENTS)
def test_what_is_no_event(id: str) -> None:
    assert parse_event(id) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Conferences", "Conferences"),
        ("conference", "Conferences"),
        ("TradeShows", "Trade shows"),
        ("tradeshows", "Trade shows"),
        ("Trade shows", "Trade shows"),
        ("  TRADE   Shows ", "Trade shows"),
        ("tradeshow", "Trade shows"),
        ("SEMINARS", "Seminars"),
        ("s e m i n a r", "Seminars"),
    ],
)
def test_case_and_blanks_of_a_type_do_not_matter(text: str, kind: str) -> None:
    assert parse_type(text) == kind
    assert kind in TYPES


@pytest.mark.parametrize("text", NO_TYPES)
def test_what_is_no_type(text: str) -> None:
    assert parse_type(text) is None


# -- words that mean nothing ------------------------------------------------------------------------


def commands_with(customer: str = ANN, event: str = "TORM100519", kind: str = "Seminars") -> list[Command]:
    """Commands that name these, each in each place."""
    good = "TORM100519"
    return [
        BookEvent(customer, event, kind),
        CancelEvent(customer, event, kind),
        SwapEvent(customer, event, kind, good, "Seminars"),
        SwapEvent(customer, good, "Seminars", event, kind),
    ]


def refused_everywhere(company: Company, who: str, command: Command) -> Senseless:
    """The refusal, the same at the door and in the execution, which changes nothing."""
    before = company.machine.digest()
    refusal = company.refused(who, command)
    assert isinstance(refusal, Senseless)
    assert company.do(who, command) == refusal
    assert company.machine.digest() == before
    assert refusal.text().startswith("Failed: ")
    assert refusal.text().isprintable()
    assert len(refusal.text()) < 250
    return refusal


@pytest.mark.parametrize("id", [*NO_EVENTS, "XYZM100519"])
def test_a_wrong_event_id_is_refused_at_the_door_and_in_the_execution(id: str) -> None:
    company = Company()
    company.has("TORM100519 Seminars 1")
    company.holds(f"{ANN} TORM100519 Seminars")
    for command in commands_with(event=id):
        assert refused_everywhere(company, ANN, command).field == "eventID"
    for command in (AddEvent(id, "Seminars", 1), RemoveEvent(id, "Seminars")):
        assert refused_everywhere(company, TOR, command).field == "eventID"


@pytest.mark.parametrize("text", NO_TYPES)
def test_so_is_a_wrong_type(text: str) -> None:
    company = Company()
    for command in commands_with(kind=text):
        if not isinstance(command, CancelEvent) or text:
            assert refused_everywhere(company, ANN, command).field == "eventType"
    for command in (AddEvent("TORM100519", text, 1), RemoveEvent("TORM100519", text)):
        assert refused_everywhere(company, TOR, command).field == "eventType"
    assert company.do(TOR, ListEventAvailability(text)).failed
    assert company.do(TOR, Browse("TOR", text)).failed is (text != "")


@pytest.mark.parametrize("id", [*NO_PEOPLE, "TORM0002", "XYZC0001"])
def test_so_is_a_wrong_customer(id: str) -> None:
    company = Company()
    for command in commands_with(customer=id):
        assert refused_everywhere(company, TOR, command).field == "customerID"
    assert isinstance(company.do(TOR, GetBookingSchedule(id)), Senseless)


@pytest.mark.parametrize("capacity", [0, -1, CAPACITY_MAX + 1, 2**63 - 1, -(2**63)])
def test_so_is_a_wrong_capacity(capacity: int) -> None:
    refusal = refused_everywhere(Company(), TOR, AddEvent("TORM100519", "Seminars", capacity))
    assert refusal.text() == f"Failed: a capacity is a whole number from 1 to {CAPACITY_MAX}, not {capacity}."


def test_a_wrong_city_to_browse() -> None:
    company = Company()
    assert company.says(ANN, "browse XYZ") == "Failed: there is no branch 'XYZ'; the branches are MTL, OTW, TOR."
    assert company.says(ANN, "browse tor seminars").startswith("Failed: there is no branch 'tor'")
    assert company.says(ANN, "browse trade fairs").startswith("Failed: there is no branch 'trade'")


def test_a_refusal_says_what_to_write() -> None:
    company = Company()
    form = "city, slot (M, A, E) and a day of the calendar as ddmmyy, in capitals: TORM100519"
    told = f"Failed: 'TORM310419' is no event id; it is written {form}."
    assert company.says(TOR, "addEvent TORM310419 Seminars 1") == told
    told = "Failed: there are no events of type 'Parties', only Conferences, Trade shows and Seminars."
    assert company.says(TOR, "addEvent TORM300419 Parties 1") == told
    told = "Failed: 'TORM0001' is no customer's id; it is written city, C and four digits, in capitals: TORC2345."
    assert company.says(TOR, f"bookEvent {TOR} TORM300419 Seminars") == told


# -- who may do what --------------------------------------------------------------------------------


FOR_ANN = (*commands_with(), CancelEvent(ANN, "TORM100519"), GetBookingSchedule(ANN))
FOR_MANAGERS = (AddEvent("TORM100519", "Seminars", 1), RemoveEvent("TORM100519", "Seminars"))


@pytest.mark.parametrize("who", NO_PEOPLE)
def test_nobody_in_particular_may_do_anything(who: str) -> None:
    company = Company()
    for asked in (*FOR_ANN, *FOR_MANAGERS, ListEventAvailability("Seminars"), Browse()):
        reply = company.do(who, asked)
        assert isinstance(reply, NobodyKnown)
        assert reply.text().isprintable()
        if isinstance(asked, Command):
            assert company.refused(who, asked) == reply
    assert company.do("", Browse()).text() == "Failed: nobody is logged in; say who you are, as in login TORC2345."


def test_a_customer_may_do_no_managers_operation() -> None:
    company = Company()
    for asked in (*FOR_MANAGERS, ListEventAvailability("Seminars")):
        assert isinstance(company.do(ANN, asked), ManagersOnly)
    told = f"Failed: only managers may do addEvent, and {ANN} is a customer."
    assert company.says(ANN, "addEvent TORM100519 Seminars 1") == told
    assert company.says(ANN, "removeEvent TORM100519 Seminars").startswith("Failed: only managers may do removeEvent")


@pytest.mark.parametrize("who", [BOB, CID])
def test_a_customer_acts_for_nobody_else(who: str) -> None:
    company = Company()
    for asked in FOR_ANN:
        assert company.do(who, asked) == NotForOthers(who, ANN)


def test_a_manager_acts_for_every_customer_of_the_own_city_and_for_no_other() -> None:
    company = Company()
    company.has("TORM100519 Seminars 9", "MTLM100519 Seminars 9")
    assert company.says(TOR, f"bookEvent {ANN} MTLM100519 Seminars") == f"MTLM100519 Seminars is booked for {ANN}."
    assert not company.says(TOR, f"swapEvent {ANN} TORM100519 Seminars MTLM100519 Seminars").startswith("Failed")
    assert company.says("TORM7777", f"getBookingSchedule {ANN}") == f"{ANN} - TORM100519 Seminars."
    assert company.says("TORM7777", f"cancelEvent {ANN} TORM100519") == f"TORM100519 Seminars is cancelled for {ANN}."
    for asked, who in product(FOR_ANN, (MTL, OTW)):
        assert company.do(who, asked) == OtherCity(who, ANN, "TOR")
    told = f"Failed: {MTL} manages MTL only, and {ANN} is of TOR."
    assert company.says(MTL, f"getBookingSchedule {ANN}") == told


def test_a_manager_changes_events_of_the_own_city_only_and_sees_all() -> None:
    company = Company()
    company.has("TORM100519 Seminars 9")
    for asked in FOR_MANAGERS:
        assert company.do(MTL, asked) == OtherCity(MTL, "TORM100519", "TOR")
    assert company.says(MTL, "listEventAvailability Seminars") == "Seminars - TORM100519 9."


# -- the lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("addEvent TORM100519 Seminars 3", AddEvent("TORM100519", "Seminars", 3)),
        ('addEvent TORM100519 "Trade shows" 3', AddEvent("TORM100519", "Trade shows", 3)),
        ("removeEvent TORM100519 TradeShows", RemoveEvent("TORM100519", "TradeShows")),
        ("listEventAvailability seminars", ListEventAvailability("seminars")),
        ("bookEvent TORC2345 TORM100519 tradeshows", BookEvent("TORC2345", "TORM100519", "tradeshows")),
        ("getBookingSchedule TORC2345", GetBookingSchedule("TORC2345")),
        ("cancelEvent TORC2345 TORM100519", CancelEvent("TORC2345", "TORM100519")),
        ("cancelEvent TORC2345 TORM100519 Seminars", CancelEvent("TORC2345", "TORM100519", "Seminars")),
        (
            "swapEvent TORC2345 TORM100519 Seminars MTLM100519 Conferences",
            SwapEvent("TORC2345", "TORM100519", "Seminars", "MTLM100519", "Conferences"),
        ),
        ("browse", Browse()),
        ("browse TOR", Browse("TOR")),
        ('browse TOR "trade shows"', Browse("TOR", "trade shows")),
    ],
)
def test_each_operation_is_a_line(line: str, made: Command | Query) -> None:
    request = GRAMMAR.parse(line.encode(), Person(ANN))
    assert request == Request(made, person=Person(ANN))


def test_the_parameters_are_flat_and_typed() -> None:
    """Strings and whole numbers, nothing inside another: what any interface language can say."""
    for struct in (*Events.commands, *Events.queries):
        for field in msgspec.inspect.type_info(struct).fields:  # type: ignore[attr-defined]
            kind = field.type.type if isinstance(field.type, msgspec.inspect.Metadata) else field.type
            assert isinstance(kind, msgspec.inspect.StrType | msgspec.inspect.IntType), (struct, field.name)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("addEvent TORM100519 Seminars", "too few words; usage: addEvent <eventID> <eventType> <capacity>."),
        ("addEvent TORM100519 Seminars 0", f"<capacity> must be a whole number from 1 to {CAPACITY_MAX}, not '0'."),
        ("addEvent TORM100519 Seminars -5", f"<capacity> must be a whole number from 1 to {CAPACITY_MAX}, not '-5'."),
        ("addEvent TORM100519 Seminars ten", f"<capacity> must be a whole number from 1 to {CAPACITY_MAX}, not 'ten'."),
        ("addEvent TORM100519 Seminars ٣", f"<capacity> must be a whole number from 1 to {CAPACITY_MAX}, not '٣'."),
        (
            "addEvent TORM100519 Seminars 99999999999999999999",
            f"<capacity> must be a whole number from 1 to {CAPACITY_MAX}, not '99999999999999999999'.",
        ),
        ('bookEvent TORC2345 TORM100519 ""', "<eventType> must be a word of 1 to 64 characters, not ''."),
        ("BookEvent TORC2345 TORM100519 Seminars", "no command 'BookEvent'; did you mean bookEvent?"),
        ("cancelEvent TORC2345", "too few words; usage: cancelEvent <customerID> <eventID> [<eventType>]."),
        ("getBookingSchedule TORC2345 x", "too many words; usage: getBookingSchedule <customerID>."),
    ],
)
def test_a_line_that_makes_no_operation_says_why(line: str, why: str) -> None:
    made = GRAMMAR.parse(line.encode())
    assert isinstance(made, Malformed)
    assert made.text().startswith(f"Failed: {why}")


# -- everything -------------------------------------------------------------------------------------

ANY_WORD = st.one_of(
    st.text(max_size=12), st.sampled_from(["TORM100519", "MTLA290219", "Seminars", "trade shows", ANN, TOR, CID, "TOR"])
)


@st.composite
def anything(draw: st.DrawFn) -> Command | Query:
    kind = draw(st.sampled_from([*Events.commands, *Events.queries]))
    words = [draw(ANY_WORD) for field in kind.__struct_fields__]
    return kind(*words[:2], draw(st.integers(-5, 10))) if kind is AddEvent else kind(*words)


@given(anything(), st.one_of(ANY_WORD, st.sampled_from([TOR, MTL, OTW])))
def test_whatever_is_asked_is_answered_in_one_line(asked: Command | Query, who: str) -> None:
    company = Company()
    company.has("TORM100519 Seminars 1")
    before = company.machine.digest()
    reply = company.do(who, asked)
    assert reply.text().startswith("Failed: ") == reply.failed
    assert reply.text().isprintable()
    assert json_line(reply).endswith(b"}\n")
    assert type(reply) in Events.replies
    if reply.failed:
        assert company.machine.digest() == before
    if isinstance(asked, Command):
        refusal = company.refused(who, asked)
        assert refusal is None or refusal == reply
