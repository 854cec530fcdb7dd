"""The distributed event management system, sentence by sentence: the rules of its branches, one machine for all.

Each test quotes what it shows. (What keeps the system available has tests of its own, and so have
the servers of the branches, their logs and the clients'.)
"""

from __future__ import annotations

import pytest
from tests.apps.events_house import Company

from holdfast.apps.events import BRANCHES, TYPES, Events
from holdfast.server.grammar import Grammar

MANAGER = "TORM2345"
CUSTOMER = "TORC2345"
OTHER = "TORC1111"
ABROAD = "MTLC2345"


@pytest.fixture
def company() -> Company:
    return Company()


# -- "consider three branches in different cities: Toronto (TOR), Montreal (MTL) and Ottawa (OTW)"


def test_three_branches_in_different_cities(company: Company) -> None:
    assert BRANCHES == ("TOR", "MTL", "OTW")
    for city in BRANCHES:
        assert company.says(f"{city}M2345", f"addEvent {city}M100519 Seminars 1").endswith("is added with 1 place.")
    assert company.says("XYZM2345", "addEvent XYZM100519 Seminars 1").startswith("Failed: 'XYZM2345' is neither")


# -- "identified by a unique managerID and customerID, ... the acronym of their branch's city and a 4-digit number"


def test_the_id_says_the_city_and_whether_manager_or_customer(company: Company) -> None:
    company.has("TORM100519 Seminars 1", "MTLM100519 Seminars 1")
    assert not company.says(MANAGER, "addEvent TORM100519 Seminars 2").startswith("Failed")
    assert company.says(CUSTOMER, "addEvent TORM100519 Seminars 2").startswith("Failed: only managers")
    assert company.says("MTLM2345", "addEvent TORM100519 Seminars 2").startswith("Failed: MTLM2345 manages MTL only")
    assert company.says("TORC234", "browse").startswith("Failed: 'TORC234' is neither a manager nor a customer")


# -- "there are three event types for which event slots can be created, Conferences, Trade shows and Seminars"


def test_three_event_types(company: Company) -> None:
    assert TYPES == ("Conferences", "Trade shows", "Seminars")
    for kind in ("Conferences", '"Trade shows"', "Seminars"):
        assert "is added" in company.says(MANAGER, f"addEvent TORM100519 {kind} 1")
    assert company.says(MANAGER, "addEvent TORM100519 Concerts 1").startswith("Failed: there are no events of type")


# -- "a customer can book an event in any branch of the company, for any event type, if the event is available"


def test_a_customer_books_in_any_branch_for_any_type(company: Company) -> None:
    company.has("TORM100519 Seminars 1", "MTLM100519 Conferences 1", "OTWM100519 TradeShows 1")
    for event in ("TORM100519 Seminars", "MTLM100519 Conferences", "OTWM100519 TradeShows"):
        assert company.says(CUSTOMER, f"bookEvent {CUSTOMER} {event}").endswith(f"is booked for {CUSTOMER}.")


# -- "a customer can not book more than one event with the same event id and same event type"


def test_not_more_than_one_with_the_same_id_and_the_same_type(company: Company) -> None:
    company.has("TORM100519 Seminars 5", "TORM100519 Conferences 5")
    company.holds(f"{CUSTOMER} TORM100519 Seminars")
    told = f"Failed: {CUSTOMER} has booked TORM100519 Seminars already."
    assert company.says(CUSTOMER, f"bookEvent {CUSTOMER} TORM100519 Seminars") == told
    company.holds(f"{CUSTOMER} TORM100519 Conferences")


# -- "three time slots available for each event type on a day - Morning (M), Afternoon (A) and Evening (E)"


def test_three_slots_a_day_for_each_type(company: Company) -> None:
    for slot in "MAE":
        assert "is added" in company.says(MANAGER, f"addEvent TOR{slot}100519 Seminars 1")
    assert company.says(MANAGER, "addEvent TORN100519 Seminars 1").startswith("Failed: 'TORN100519' is no event id")


# -- "an event id is a combination of city, time slot and event date (e.g. TORM100519 ... OTWA100519 ... MTLE100519)"


@pytest.mark.parametrize("event", ["TORM100519", "OTWA100519", "MTLE100519"])
def test_the_examples_of_event_ids(company: Company, event: str) -> None:
    assert (
        company.says(f"{event[:3]}M2345", f"addEvent {event} Seminars 1") == f"{event} Seminars is added with 1 place."
    )


@pytest.mark.parametrize("event", ["TORM300219", "TORM100019", "TOR100519", "TORM1005", "torm100519"])
def test_what_is_no_such_combination_is_no_event_id(company: Company, event: str) -> None:
    assert company.says(MANAGER, f"addEvent {event} Seminars 1").startswith(f"Failed: '{event}' is no event id")


# -- "if the availability of an event is full, more customers cannot book the event"


def test_more_customers_than_places_cannot_book(company: Company) -> None:
    company.has("TORM100519 Seminars 1")
    company.holds(f"{CUSTOMER} TORM100519 Seminars")
    told = "Failed: TORM100519 Seminars is full; it has 1 place."
    assert company.says(OTHER, f"bookEvent {OTHER} TORM100519 Seminars") == told
    assert company.says(ABROAD, f"bookEvent {ABROAD} TORM100519 Seminars") == told


# -- "as many events in his/her own city, but only at most 3 events from other cities overall in a month"


def test_as_many_as_one_likes_in_the_own_city_and_at_most_three_from_others_in_a_month(company: Company) -> None:
    days = [f"{day:02}0519" for day in range(1, 6)]
    company.has(*(f"{city}M{day} Seminars 5" for city in BRANCHES for day in days), "MTLM010619 Seminars 5")
    company.holds(*(f"{CUSTOMER} TORM{day} Seminars" for day in days))
    company.holds(*(f"{CUSTOMER} {event} Seminars" for event in ("MTLM010519", "OTWM010519", "MTLM020519")))
    for event in ("MTLM030519", "OTWM030519"):
        assert company.says(CUSTOMER, f"bookEvent {CUSTOMER} {event} Seminars").startswith(f"Failed: {CUSTOMER} has 3")
    company.holds(f"{CUSTOMER} MTLM010619 Seminars")


# -- addEvent: "if an event already exists for same event type, ... the new bookingCapacity is updated"


def test_add_event_adds_it_if_it_does_not_exist_and_else_updates_the_capacity(company: Company) -> None:
    assert company.says(MANAGER, "addEvent TORM100519 Seminars 2") == "TORM100519 Seminars is added with 2 places."
    company.holds(f"{CUSTOMER} TORM100519 Seminars")
    told = "TORM100519 Seminars is there already; it has 7 places now (before: 2), 6 left."
    assert company.says(MANAGER, "addEvent TORM100519 Seminars 7") == told
    assert company.schedule(CUSTOMER) == "TORM100519 Seminars"


# -- removeEvent: "if an event does not exist, then obviously there is no deletion performed"


def test_remove_event_deletes_what_exists(company: Company) -> None:
    company.has("TORM100519 Seminars 2", "TORM100519 Conferences 2")
    assert company.says(MANAGER, "removeEvent TORM100519 Seminars") == "TORM100519 Seminars is removed."
    told = "Failed: there is no event TORM100519 Seminars."
    assert company.says(MANAGER, "removeEvent TORM100519 Seminars") == told
    assert company.left("Conferences") == "TORM100519 2"


# -- removeEvent: "if an event exists and a client has booked that event, then, delete the event and take the
#    necessary actions"


def test_the_necessary_actions_are_to_book_the_next_event_or_else_to_cancel_and_to_tell(company: Company) -> None:
    company.has("TORM100519 Seminars 2", "TORA100519 Seminars 1")
    company.holds(f"{OTHER} TORM100519 Seminars", f"{CUSTOMER} TORM100519 Seminars")
    said = company.says(MANAGER, "removeEvent TORM100519 Seminars")
    assert said == f"TORM100519 Seminars is removed; moved: {OTHER} to TORA100519; cancelled: {CUSTOMER}."
    assert (company.schedule(OTHER), company.schedule(CUSTOMER)) == ("TORA100519 Seminars", "no bookings")
    assert [who for who, _ in company.notices()] == [OTHER, CUSTOMER]


# -- listEventAvailability: "the number of spaces available for each event in all the servers, for only the given
#    eventType. Eg: Seminars - MTLE130519 3, OTWA060519 6, TORM180519 0, MTLE190519 2."


def test_the_example_of_availability_in_the_order_of_city_date_and_slot(company: Company) -> None:
    company.has("TORM180519 Seminars 1", "MTLE190519 Seminars 2", "OTWA060519 Seminars 6", "MTLE130519 Seminars 3")
    company.has("TORM180519 Conferences 9")
    company.holds(f"{CUSTOMER} TORM180519 Seminars")
    said = company.says(MANAGER, "listEventAvailability Seminars")
    assert said == "Seminars - MTLE130519 3, MTLE190519 2, OTWA060519 6, TORM180519 0."


# -- bookEvent: "attempts to book the event for the customer and change the capacity left in that event"


def test_book_event_changes_the_capacity_left(company: Company) -> None:
    company.has("TORM100519 Seminars 2")
    assert company.says(CUSTOMER, f"bookEvent {CUSTOMER} TORM100519 Seminars").startswith(
        "TORM100519 Seminars is booked"
    )
    assert company.left("Seminars") == "TORM100519 1"


# -- getBookingSchedule: "bookings from all the cities, Ottawa, Montreal and Toronto, should be displayed"


def test_the_schedule_has_bookings_from_all_the_cities(company: Company) -> None:
    events = ["MTLM100519 Seminars", "OTWM100519 Conferences", "TORM100519 Trade shows"]
    company.has("MTLM100519 Seminars 1", "OTWM100519 Conferences 1", "TORM100519 TradeShows 1")
    company.holds(*(f"{CUSTOMER} {event.replace('Trade s', 'TradeS')}" for event in events))
    assert company.says(CUSTOMER, f"getBookingSchedule {CUSTOMER}") == f"{CUSTOMER} - {', '.join(events)}."


# -- cancelEvent: "the event can only be removed if it was booked by the same customer who sends cancel request"


def test_only_who_booked_an_event_can_cancel_it(company: Company) -> None:
    company.has("TORM100519 Seminars 2")
    company.holds(f"{CUSTOMER} TORM100519 Seminars")
    assert company.says(OTHER, f"cancelEvent {OTHER} TORM100519") == f"Failed: {OTHER} has not booked TORM100519."
    assert company.says(OTHER, f"cancelEvent {CUSTOMER} TORM100519").startswith(f"Failed: {OTHER} is a customer")
    told = f"TORM100519 Seminars is cancelled for {CUSTOMER}."
    assert company.says(CUSTOMER, f"cancelEvent {CUSTOMER} TORM100519") == told


# -- "a customer can only perform a customer operation and cannot perform any event manager operation, but an event
#    manager can perform all operations"


def test_customers_perform_customer_operations_and_managers_all(company: Company) -> None:
    for line in ("addEvent TORM100519 Seminars 5", "removeEvent TORM100519 Seminars", "listEventAvailability Seminars"):
        assert company.says(CUSTOMER, line).startswith("Failed: only managers may do")
    for line in (
        *("addEvent TORM100519 Seminars 5", "addEvent TORA100519 Seminars 5", "listEventAvailability Seminars"),
        *(f"bookEvent {CUSTOMER} TORM100519 Seminars", f"getBookingSchedule {CUSTOMER}"),
        f"swapEvent {CUSTOMER} TORA100519 Seminars TORM100519 Seminars",
        *(f"cancelEvent {CUSTOMER} TORA100519", "browse", "removeEvent TORA100519 Seminars"),
    ):
        assert not company.says(MANAGER, line).startswith("Failed"), line


def test_every_operation_of_the_seed_has_its_name() -> None:
    words = {str(struct.__struct_config__.tag) for struct in (*Events.commands, *Events.queries)}
    managers = {"addEvent", "removeEvent", "listEventAvailability"}
    customers = {"bookEvent", "getBookingSchedule", "cancelEvent"}
    assert words == managers | customers | {"swapEvent", "browse"}
    assert Grammar(Events.commands, Events.queries).usage("addEvent") == "addEvent <eventID> <eventType> <capacity>"
