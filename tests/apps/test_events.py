"""The rules of the events: what managers and customers may do, and what comes of it."""

from __future__ import annotations

import pytest
from tests.apps.events_house import ANN, BOB, CID, MAX, MTL, TOR, Company

from holdfast.apps.events import (
    CAPACITY_MAX,
    EVENTS_MAX,
    OFFERED_MAX,
    AddEvent,
    Availability,
    BookEvent,
    Events,
    GetBookingSchedule,
    ListEventAvailability,
    Offer,
    RemoveEvent,
    Schedule,
    branch,
)
from holdfast.apps.events.replies import NAMED_MAX, EventRemoved
from holdfast.apps.events.rows import Account, Booking, Event, Months, Programme
from holdfast.kernel.machine import Machine
from holdfast.kernel.store import TupleStore


@pytest.fixture
def company() -> Company:
    return Company()


# -- adding -----------------------------------------------------------------------------------------


def test_an_event_has_as_many_places_as_it_is_given(company: Company) -> None:
    assert company.says(TOR, "addEvent TORM100519 Seminars 2") == "TORM100519 Seminars is added with 2 places."
    company.holds(f"{ANN} TORM100519 Seminars", f"{BOB} TORM100519 Seminars")
    full = "Failed: TORM100519 Seminars is full; it has 2 places."
    assert company.says(CID, f"bookEvent {CID} TORM100519 Seminars") == full
    assert company.left("Seminars") == "TORM100519 0"


def test_adding_it_again_changes_the_capacity_alone(company: Company) -> None:
    company.has("TORM100519 Seminars 3")
    company.holds(f"{ANN} TORM100519 Seminars", f"{BOB} TORM100519 Seminars")
    more = "TORM100519 Seminars is there already; it has 5 places now (before: 3), 3 left."
    assert company.says(TOR, "addEvent TORM100519 Seminars 5") == more
    fewer = "TORM100519 Seminars is there already; it has 1 place now (before: 5), 0 left."
    assert company.says(TOR, "addEvent TORM100519 Seminars 1") == fewer
    assert company.left("Seminars") == "TORM100519 0"
    assert company.schedule(ANN) == company.schedule(BOB) == "TORM100519 Seminars"


def test_below_what_is_booked_a_place_is_free_only_when_enough_have_cancelled(company: Company) -> None:
    company.has("TORM100519 Seminars 2")
    company.holds(f"{ANN} TORM100519 Seminars", f"{BOB} TORM100519 Seminars")
    company.says(TOR, "addEvent TORM100519 Seminars 1")
    company.says(ANN, f"cancelEvent {ANN} TORM100519")
    assert company.left("Seminars") == "TORM100519 0"
    assert company.says(ANN, f"bookEvent {ANN} TORM100519 Seminars").startswith("Failed: TORM100519 Seminars is full")
    company.says(BOB, f"cancelEvent {BOB} TORM100519")
    assert company.left("Seminars") == "TORM100519 1"


def test_one_id_may_be_an_event_of_each_type(company: Company) -> None:
    company.has("TORM100519 Seminars 1", "TORM100519 TradeShows 2", "TORM100519 Conferences 3")
    assert company.left("Seminars") == "TORM100519 1"
    assert company.left("Trade shows".replace(" ", "")) == "TORM100519 2"
    offered = "Conferences - TORM100519 3; Trade shows - TORM100519 2; Seminars - TORM100519 1."
    assert company.says(ANN, "browse") == offered
    company.holds(f"{ANN} TORM100519 Seminars", f"{ANN} TORM100519 TradeShows")
    assert company.schedule(ANN) == "TORM100519 Trade shows, TORM100519 Seminars"


def test_a_branch_has_a_bounded_number_of_events_of_a_type(company: Company) -> None:
    days = [f"{day:02}{month:02}{year:02}" for year in range(50) for month in range(1, 13) for day in range(1, 29)]
    for day in days[:EVENTS_MAX]:
        assert not company.do(TOR, AddEvent(f"TORM{day}", "Seminars", 1)).failed
    told = f"Failed: TOR has {EVENTS_MAX} events of type Seminars, which is all; remove one first."
    assert company.says(TOR, f"addEvent TORM{days[EVENTS_MAX]} Seminars 1") == told
    assert not company.do(TOR, AddEvent(f"TORM{days[EVENTS_MAX]}", "Conferences", 1)).failed
    assert not company.do(TOR, AddEvent(f"TORM{days[0]}", "Seminars", 9)).failed
    offer = company.do(ANN, company.app.queries[2]())
    assert isinstance(offer, Offer)
    assert offer.is_cut
    assert sum(len(part) for listing in offer.types for _, part in listing.parts) == OFFERED_MAX
    assert offer.text().endswith(". There are more: name a city and a type.")
    company.do(TOR, RemoveEvent(f"TORM{days[0]}", "Seminars"))
    assert not company.do(TOR, AddEvent(f"TORM{days[EVENTS_MAX]}", "Seminars", 1)).failed


# -- removing ---------------------------------------------------------------------------------------


def test_an_event_without_bookings_is_just_gone(company: Company) -> None:
    company.has("TORM100519 Seminars 1")
    assert company.says(TOR, "removeEvent TORM100519 seminars") == "TORM100519 Seminars is removed."
    assert company.says(TOR, "removeEvent TORM100519 seminars") == "Failed: there is no event TORM100519 Seminars."
    assert company.left("Seminars") == "no events"
    assert company.notices() == []


def test_its_customers_move_to_the_next_event_in_the_order_of_booking(company: Company) -> None:
    company.has("TORM100519 Seminars 3", "TORE100519 Seminars 2", "TORM110519 Seminars 1")
    company.holds(*(f"{who} TORM100519 Seminars" for who in (BOB, CID, ANN)))
    said = company.says(TOR, "removeEvent TORM100519 Seminars")
    moves = f"{BOB} to TORE100519, {CID} to TORE100519, {ANN} to TORM110519"
    assert said == f"TORM100519 Seminars is removed; moved: {moves}."
    gone = "TORM100519 Seminars is removed; you are booked for"
    assert company.notices() == [
        (BOB, f"{gone} TORE100519 Seminars instead."),
        (CID, f"{gone} TORE100519 Seminars instead."),
        (ANN, f"{gone} TORM110519 Seminars instead."),
    ]
    assert company.schedule(ANN) == "TORM110519 Seminars"
    assert company.left("Seminars") == "TORE100519 0, TORM110519 0"


def test_next_is_later_and_of_the_same_type_and_city(company: Company) -> None:
    company.has("TORA100519 Seminars 1", "TORM100519 Seminars 9", "TORE100519 Conferences 9", "MTLE100519 Seminars 9")
    company.holds(f"{ANN} TORA100519 Seminars")
    said = company.says(TOR, "removeEvent TORA100519 Seminars")
    assert said == f"TORA100519 Seminars is removed; cancelled: {ANN}."
    why = "no later event has a place for you, so your booking is cancelled."
    assert company.notices() == [(ANN, f"TORA100519 Seminars is removed; {why}")]
    assert company.schedule(ANN) == "no bookings"


def test_who_moves_cannot_break_a_rule_by_it(company: Company) -> None:
    company.has(
        *("TORM100519 Seminars 9", "TORA100519 Seminars 9", "TORE100519 Seminars 9"),
        *("TORM010619 Seminars 9", "TORM020619 Seminars 9", "OTWM010619 Seminars 9", "OTWA010619 Seminars 9"),
        "OTWM010519 Seminars 9",
    )
    # Ann has the next one already, so the one after it is hers.
    company.holds(f"{ANN} TORM100519 Seminars", f"{ANN} TORA100519 Seminars")
    # Cid has three in May, the one to be removed among them: one leaves, so another one of May fits.
    company.holds(*(f"{CID} {event} Seminars" for event in ("TORM100519", "OTWM010519", "TORA100519")))
    said = company.says(TOR, "removeEvent TORM100519 Seminars")
    assert said == f"TORM100519 Seminars is removed; moved: {ANN} to TORE100519, {CID} to TORE100519."
    # With June full for Cid too, there is nothing left to move to, until there is something in July.
    company.holds(*(f"{CID} {event} Seminars" for event in ("TORM010619", "OTWM010619", "OTWA010619")))
    said = company.says(TOR, "removeEvent TORA100519 Seminars")
    assert said == f"TORA100519 Seminars is removed; moved: {ANN} to TORM010619; cancelled: {CID}."
    company.has("TORM010719 Seminars 1")
    said = company.says(TOR, "removeEvent TORE100519 Seminars")
    assert said == f"TORE100519 Seminars is removed; moved: {ANN} to TORM020619, {CID} to TORM010719."


def test_a_month_is_counted_once_the_removed_booking_is_gone(company: Company) -> None:
    company.has("TORM100519 Seminars 9", "TORM110519 Seminars 9", "TORM120519 Seminars 9", "TORM130519 Seminars 9")
    company.holds(*(f"{CID} TORM1{day}0519 Seminars" for day in "012"))
    assert company.says(TOR, "removeEvent TORM100519 Seminars").endswith(f"moved: {CID} to TORM130519.")
    assert company.says(TOR, "removeEvent TORM110519 Seminars").endswith(f"cancelled: {CID}.")


def test_of_many_customers_the_answer_names_the_first(company: Company) -> None:
    company.has("TORM100519 Seminars 200", "TORA100519 Seminars 60")
    everybody = [f"TORC{number:04}" for number in range(140)]
    company.holds(*(f"{who} TORM100519 Seminars" for who in everybody))
    removed = company.do(TOR, RemoveEvent("TORM100519", "Seminars"))
    assert isinstance(removed, EventRemoved)
    assert (removed.moved_count, removed.cancelled_count) == (60, 80)
    assert removed.moved == tuple((who, "TORA100519") for who in everybody[:NAMED_MAX])
    assert removed.cancelled == tuple(everybody[60 : 60 + NAMED_MAX])
    assert "TORC0049 to TORA100519 and 10 more; cancelled: TORC0060," in removed.text()
    assert removed.text().endswith(" TORC0109 and 30 more.")
    assert all(company.schedule(who) == "TORA100519 Seminars" for who in everybody[:60])


# -- booking ----------------------------------------------------------------------------------------


def test_one_booking_for_each_customer_event_and_type(company: Company) -> None:
    company.has("TORM100519 Seminars 9", "TORM100519 Conferences 9")
    said = company.says(ANN, f"bookEvent {ANN} TORM100519 Seminars")
    assert said == f"TORM100519 Seminars is booked for {ANN}."
    twice = f"Failed: {ANN} has booked TORM100519 Seminars already."
    assert company.says(ANN, f"bookEvent {ANN} TORM100519 SEMINARS") == twice
    company.holds(f"{ANN} TORM100519 Conferences", f"{BOB} TORM100519 Seminars")


def test_there_is_no_booking_of_what_is_not_there(company: Company) -> None:
    company.has("TORM100519 Seminars 9")
    told = "Failed: there is no event TORM100519 Conferences."
    assert company.says(ANN, f"bookEvent {ANN} TORM100519 Conferences") == told


def test_any_number_in_the_own_city_and_three_a_month_in_all_others_together(company: Company) -> None:
    days = range(1, 8)
    company.has(*(f"{city}M{day:02}0519 Seminars 9" for city in ("TOR", "MTL", "OTW") for day in days))
    company.holds(*(f"{ANN} TORM{day:02}0519 Seminars" for day in days))
    company.holds(f"{ANN} MTLM010519 Seminars", f"{ANN} OTWM010519 Seminars", f"{ANN} MTLM020519 Seminars")
    told = f"Failed: {ANN} has 3 bookings outside TOR in 2019-05 already, which is all that one may have."
    assert company.says(ANN, f"bookEvent {ANN} OTWM020519 Seminars") == told
    assert company.says(ANN, f"bookEvent {ANN} MTLM030519 Seminars") == told
    company.has("OTWM010619 Seminars 9", "TORE010519 Seminars 9")
    company.holds(f"{ANN} OTWM010619 Seminars", f"{ANN} TORE010519 Seminars")
    company.says(ANN, f"cancelEvent {ANN} MTLM020519")
    company.holds(f"{ANN} OTWM020519 Seminars")


def test_the_month_is_the_events_also_of_another_year(company: Company) -> None:
    company.has(*(f"MTLM0{day}0519 Seminars 9" for day in "123"), "MTLM010520 Seminars 9")
    company.holds(*(f"{ANN} MTLM0{day}0519 Seminars" for day in "123"), f"{ANN} MTLM010520 Seminars")


def test_the_past_may_be_booked(company: Company) -> None:
    assert company.refused(TOR, AddEvent("TORM010100", "Seminars", 1), now_ms=1_795_000_000_000) is None
    company.has("TORM010100 Seminars 1")
    company.holds(f"{ANN} TORM010100 Seminars")


# -- cancelling and swapping ------------------------------------------------------------------------


def test_only_what_the_customer_has_booked_can_be_cancelled(company: Company) -> None:
    company.has("TORM100519 Seminars 1")
    company.holds(f"{ANN} TORM100519 Seminars")
    assert company.says(BOB, f"cancelEvent {BOB} TORM100519") == f"Failed: {BOB} has not booked TORM100519."
    told = f"Failed: {BOB} has not booked TORM100519 Seminars."
    assert company.says(BOB, f"cancelEvent {BOB} TORM100519 Seminars") == told
    told = f"Failed: {BOB} is a customer and acts for nobody else, so not for {ANN}."
    assert company.says(BOB, f"cancelEvent {ANN} TORM100519") == told
    told = f"TORM100519 Seminars is cancelled for {ANN}."
    assert company.says(ANN, f"cancelEvent {ANN} TORM100519") == told
    assert company.left("Seminars") == "TORM100519 1"


def test_where_two_types_match_the_request_must_name_one(company: Company) -> None:
    company.has("TORM100519 Seminars 1", "TORM100519 Conferences 1")
    company.holds(f"{ANN} TORM100519 Seminars", f"{ANN} TORM100519 Conferences")
    told = f"Failed: {ANN} has booked TORM100519 as Conferences and Seminars; say which of them."
    assert company.says(ANN, f"cancelEvent {ANN} TORM100519") == told
    told = f"Failed: {ANN} has not booked TORM100519 Trade shows."
    assert company.says(ANN, f"cancelEvent {ANN} TORM100519 TradeShows") == told
    told = f"TORM100519 Seminars is cancelled for {ANN}."
    assert company.says(ANN, f"cancelEvent {ANN} TORM100519 seminars") == told
    assert company.schedule(ANN) == "TORM100519 Conferences"


def test_a_swap_does_both(company: Company) -> None:
    company.has("TORM100519 Seminars 1", "MTLM100519 Conferences 1")
    company.holds(f"{ANN} TORM100519 Seminars")
    said = company.says(ANN, f"swapEvent {ANN} MTLM100519 conferences TORM100519 seminars")
    assert said == f"MTLM100519 Conferences is booked for {ANN}, and TORM100519 Seminars is cancelled."
    assert company.schedule(ANN) == "MTLM100519 Conferences"
    assert (company.left("Seminars"), company.left("Conferences")) == ("TORM100519 1", "MTLM100519 0")


@pytest.mark.parametrize(
    ("new", "old", "why"),
    [
        ("TORA100519 Seminars", "TORM100519 Seminars", "TORA100519 Seminars is full; it has 1 place"),
        ("TORE100519 Seminars", "TORM100519 Seminars", "there is no event TORE100519 Seminars"),
        ("TORM110519 Seminars", "TORM100519 Seminars", "TORC0001 has booked TORM110519 Seminars already"),
        ("TORM100519 Seminars", "TORM100519 Seminars", "TORC0001 has booked TORM100519 Seminars already"),
        ("TORM120519 Seminars", "TORA100519 Seminars", "TORC0001 has not booked TORA100519 Seminars"),
        ("TORM120519 Seminars", "TORM100519 Conferences", "TORC0001 has not booked TORM100519 Conferences"),
        ("TORM120519 Seminars", "TORE100519 Seminars", "TORC0001 has not booked TORE100519 Seminars"),
    ],
)
def test_or_a_swap_does_neither(company: Company, new: str, old: str, why: str) -> None:
    company.has("TORM100519 Seminars 1", "TORA100519 Seminars 1", "TORM110519 Seminars 1", "TORM120519 Seminars 1")
    company.holds(f"{ANN} TORM100519 Seminars", f"{BOB} TORA100519 Seminars", f"{ANN} TORM110519 Seminars")
    before = company.machine.digest()
    assert company.says(ANN, f"swapEvent {ANN} {new} {old}") == f"Failed: {why}."
    assert company.machine.digest() == before


def test_a_swap_counts_the_month_without_the_old_event(company: Company) -> None:
    company.has(*(f"MTLM0{day}0519 Seminars 9" for day in "1234"), "MTLM010619 Seminars 9", "TORM010519 Seminars 9")
    company.holds(*(f"{ANN} MTLM0{day}0519 Seminars" for day in "123"), f"{ANN} MTLM010619 Seminars")
    company.holds(f"{ANN} TORM010519 Seminars")
    told = f"Failed: {ANN} has 3 bookings outside TOR in 2019-05 already, which is all that one may have."
    for old in ("MTLM010619", "TORM010519"):  # of another month, and of the own city
        assert company.says(ANN, f"swapEvent {ANN} MTLM040519 Seminars {old} Seminars") == told
    assert not company.says(ANN, f"swapEvent {ANN} MTLM040519 Seminars MTLM030519 Seminars").startswith("Failed")


# -- asking -----------------------------------------------------------------------------------------


def test_lists_are_in_the_order_of_city_date_slot_and_type(company: Company) -> None:
    company.has(
        *("TORE010120 Seminars 1", "TORA311219 Seminars 1", "TORE311219 Seminars 1", "TORM311219 Seminars 1"),
        *("OTWM010119 Seminars 1", "MTLM311229 Seminars 1", "TORM311219 Conferences 1", "TORM311219 TradeShows 1"),
    )
    order = ["MTLM311229", "OTWM010119", "TORM311219", "TORA311219", "TORE311219", "TORE010120"]
    assert company.left("Seminars") == ", ".join(f"{event} 1" for event in order)
    for event in reversed(order):
        company.holds(f"{ANN} {event} Seminars")
    company.holds(f"{ANN} TORM311219 TradeShows", f"{ANN} TORM311219 Conferences")
    expected = [f"{event} Seminars" for event in order]
    expected[2:2] = ["TORM311219 Conferences", "TORM311219 Trade shows"]
    assert company.schedule(ANN) == ", ".join(expected)


def test_customers_browse_by_city_and_type(company: Company) -> None:
    company.has("TORM100519 Seminars 1", "MTLM100519 Seminars 2", "MTLM100519 TradeShows 3")
    for words, said in (
        ("", "Trade shows - MTLM100519 3; Seminars - MTLM100519 2, TORM100519 1."),
        ("MTL", "Trade shows - MTLM100519 3; Seminars - MTLM100519 2."),
        ("TOR seminar", "Seminars - TORM100519 1."),
        ("tradeshows", "Trade shows - MTLM100519 3."),
        ("Trade shows", "Trade shows - MTLM100519 3."),
        ("trade SHOW", "Trade shows - MTLM100519 3."),
        ('"" seminars', "Seminars - MTLM100519 2, TORM100519 1."),
        ("OTW", "No events."),
        ("TOR conferences", "No events."),
    ):
        assert company.says(ANN, f"browse {words}".strip()) == said
        assert company.says(MTL, f"browse {words}".strip()) == said


def test_an_answer_holds_the_part_of_each_branch(company: Company) -> None:
    company.has("TORM100519 Seminars 1", "MTLM100519 Seminars 2", "TORA100519 Seminars 3")
    company.holds(f"{ANN} TORA100519 Seminars")
    listed = company.do(TOR, ListEventAvailability("Seminars"))
    assert isinstance(listed, Availability)
    tor, mtl = (("TORM100519", 1), ("TORA100519", 2)), (("MTLM100519", 2),)
    assert listed.parts == (("MTL", mtl), ("OTW", ()), ("TOR", tor))
    schedule = company.do(ANN, GetBookingSchedule(ANN))
    assert isinstance(schedule, Schedule)
    assert schedule.parts == (("MTL", ()), ("OTW", ()), ("TOR", (("TORA100519", "Seminars"),)))
    for city, part in listed.parts:
        assert branch.availability(company.store, city, "Seminars") == part
        assert Availability("Seminars", ((city, part),)).parts[0] == (city, part)


# -- the records ------------------------------------------------------------------------------------


def test_each_branch_has_records_of_its_own(company: Company) -> None:
    """The branch comes first in every key: a booking abroad is on record there, and nowhere else."""
    assert all(row.key[0] == "city" for row in (Event, Programme, Booking, Account, Months))
    company.has("TORM100519 Seminars 1", "MTLM100519 Seminars 1")
    company.holds(f"{ANN} MTLM100519 Seminars")
    store = company.store
    assert [row.city for row in store.table(Booking)] == ["MTL"]
    assert branch.booking_count(store, "MTL", ANN, "2019-05") == 1
    assert branch.booking_count(store, "TOR", ANN, "2019-05") == 0
    assert branch.schedule(store, "MTL", ANN) == (("MTLM100519", "Seminars"),)


def test_what_is_over_leaves_no_rows(company: Company) -> None:
    empty = company.machine.digest()
    company.has("TORM100519 Seminars 2", "TORM100519 Conferences 2")
    company.holds(*(f"{who} TORM100519 Seminars" for who in (ANN, MAX)), f"{ANN} TORM100519 Conferences")
    company.says(ANN, f"cancelEvent {ANN} TORM100519 Conferences")
    company.says(MAX, f"cancelEvent {MAX} TORM100519")
    company.says(ANN, f"cancelEvent {ANN} TORM100519")
    company.says(TOR, "removeEvent TORM100519 Seminars")
    company.says(TOR, "removeEvent TORM100519 Conferences")
    assert company.machine.digest() == empty


def test_a_booking_does_not_get_dearer_with_the_number_of_bookings(company: Company) -> None:
    """It reads a handful of rows by key, however many there are, and never goes through a table."""
    company.has(f"TORM100519 Seminars {CAPACITY_MAX}", "MTLM100519 Seminars 9")
    for number in range(1, 2000):
        company.do(f"TORC{number:04}", BookEvent(f"TORC{number:04}", "TORM100519", "Seminars"))
    reads = 0
    for table in company.store.tables:
        original = table.get

        def counting(key: object, original: object = original) -> object:
            nonlocal reads
            reads += 1
            return original(key)  # type: ignore[operator]

        table.get = counting
    company.do("OTWC7777", BookEvent("OTWC7777", "TORM100519", "Seminars"))
    assert 4 <= reads <= 16


# -- the configuration ------------------------------------------------------------------------------


def test_a_company_of_other_cities() -> None:
    company = Company("YYZ", "ABC")
    company.has("YYZM100519 Seminars 1", "ABCM100519 Seminars 1")
    said = "Seminars - ABCM100519 1, YYZM100519 1."
    assert company.says("YYZM0001", "listEventAvailability Seminars") == said
    told = "Failed: 'TORM0001' is neither a manager nor a customer of a branch here (ABC, YYZ)."
    assert company.says("TORM0001", "listEventAvailability Seminars") == told
    told = "Failed: TORM100519 is of no branch; the branches are ABC, YYZ."
    assert company.says("YYZM0001", "addEvent TORM100519 Seminars 1") == told


@pytest.mark.parametrize(
    ("branches", "why"),
    [
        ((), "1 to 64 branches, not 0"),
        (("TOR", "TOR"), "named twice"),
        (("TO",), "three capitals such as TOR, not 'TO'"),
        (("tor",), "three capitals"),
        (("TÖR",), "three capitals"),
        (("TOR\n",), "three capitals"),
        (tuple(f"{a}{b}A" for a in "ABCDEFGHIJ" for b in "ABCDEFG"), "1 to 64 branches, not 70"),
    ],
)
def test_branches_that_cannot_be(branches: tuple[str, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Events(branches)


def test_the_branches_belong_to_the_data() -> None:
    machine = Machine(Events())
    assert machine.replace_store(machine.store) is None
    assert Events(("OTW", "TOR", "MTL")).check(machine.store) is None
    other = Events(("TOR", "MTL"))
    told = other.check(machine.store)
    assert told is not None
    assert "the data was begun with branches = ['MTL', 'OTW', 'TOR'] but the configuration says ['MTL', 'TOR']" in told
    assert "set it aside" in (other.check(TupleStore(other.rows)) or "")
