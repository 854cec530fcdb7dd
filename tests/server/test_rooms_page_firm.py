"""By when what is tentative is firm, on the rooms' page."""

from __future__ import annotations

import re

from tests.server.rooms_office import Office, hidden, open_office

SOON, LATER = "2026-12-01 08:00", "2026-12-02 09:00"


def notes(page: str) -> list[str]:
    """What is said of the own requests, each without its id and when it was entered."""
    own = page.partition('<ul class="mine">')[2].partition("</ul>")[0]
    return [said for said in re.findall(r'<p class="soft">(.*?)</p>', own) if ", entered at " not in said]


def test_a_tentative_request_says_by_when_it_is_firm_and_the_page_asks_no_more_for_that() -> None:
    def story(office: Office) -> None:
        office.replica.firm_by = {"biology-1": (SOON, False)}
        answer = office.send(**office.form())
        assert f"Firm by {SOON} at the latest. (biology-1)" in office.outcome(answer)
        office.replica.heard = 0
        assert notes(office.look()) == [f"Firm by {SOON} at the latest."]
        assert office.replica.heard == 2, "the day and the own requests"

    open_office(story)


def test_what_is_overdue_says_so() -> None:
    def story(office: Office) -> None:
        office.replica.firm_by = {"biology-1": (SOON, True)}
        answer = office.send(**office.form())
        over = f"It was to be firm by {SOON}; what came of it has not been heard here."
        assert f"{over} (biology-1)" in office.outcome(answer)
        assert notes(office.look()) == [over]

    open_office(story)


def test_nothing_is_said_of_what_is_firm_or_of_what_nobody_can_say() -> None:
    def story(office: Office) -> None:
        answer = office.send(**office.form())
        assert "is tentative" in office.outcome(answer)
        assert "firm by" not in office.look(answer.headers["location"]).lower()
        office.replica.firm_by, office.replica.committed = {"biology-1": (SOON, False)}, {"biology-1"}
        assert "is confirmed" in office.outcome(answer)
        assert "firm by" not in office.look(answer.headers["location"]).lower()

    open_office(story)


def test_of_a_tentative_cancellation_its_own_time_is_said() -> None:
    """Not that of the request, which may be firm for long."""

    def story(office: Office) -> None:
        office.send(**office.form())
        office.replica.firm_by = {"biology-1": (SOON, False), "biology-2": (LATER, False)}
        office.replica.committed = {"biology-1"}
        told = office.outcome(office.send(action="cancel", id="biology-1", request=hidden(office.look(), "request")))
        assert f"Firm by {LATER} at the latest. (biology-1)" in told
        (said,) = notes(office.look())
        assert said.startswith("The cancellation is tentative. ")
        assert said.endswith(f" Firm by {LATER} at the latest.")

    open_office(story)
