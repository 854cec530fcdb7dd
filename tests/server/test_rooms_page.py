"""The rooms' page as a browser without JavaScript sees it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import uvloop
from tests.e2e.cluster import HOST
from tests.ports import free_ports
from tests.server.rooms_office import (
    FATIMA,
    GEORG,
    PATIENCE_S,
    TOKEN,
    Office,
    Replica,
    day,
    hidden,
    open_office,
    place,
    said,
)

from holdfast.apps.rooms import Cancel, Change
from holdfast.runtime.node import Node, initialise
from holdfast.site import Site, load_site

EMPTY = {"br", "input", "link", "meta"}


class Balanced(HTMLParser):
    """Checks that every element is closed in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not [name for name, _ in attrs if name == "style" or name.startswith("on")], attrs
        assert len({name for name, _ in attrs}) == len(attrs), attrs
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.open)


def check_html(page: str) -> set[str]:
    """The kinds of elements of a well-formed page."""
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser.seen


def test_free_tentative_and_confirmed_are_told_apart_in_words_and_everything_is_escaped() -> None:
    def story(office: Office) -> None:
        firm = office.replica.reserve(GEORG, "Maple", day(7), "09:00", "2h", "Budget")
        office.replica.reserve(FATIMA, "Oak", day(7), "10:00", "1h", '<script>alert("1")</script>')
        office.replica.committed = {firm}
        page = office.look(day=day(7))
        assert "script" not in check_html(page)
        assert "&lt;script&gt;" in page
        cells = re.findall(
            r'<td class="booked" role="cell"(?: colspan="(\d)")?.*?<div class="cell ([a-z ]+)".*?</td>', page, re.S
        )
        assert cells == [("2", "confirmed"), ("", "tentative own")]
        assert page.count(">✓ confirmed<") == 1
        assert page.count("pick=") == 8 * 9 - 3
        assert "Georg, chemistry" in page
        for room in ("Ash", "Willow"):
            assert f'<th scope="row" role="rowheader">{room}</th>' in page
        assert "primary biology; 3 tentative writes here" in page

    open_office(story)


def test_the_policy_lets_nothing_run_and_only_the_pages_own_style_apply() -> None:
    def story(office: Office) -> None:
        answer = office.browser.get("/rooms")
        style = answer.text.partition("<style>")[2].partition("</style>")[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = answer.headers["content-security-policy"]
        assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', answer.text)
        assert '<html lang="en">' in answer.text

    open_office(story)


def test_the_schedule_reloads_itself_but_not_while_the_form_is_open() -> None:
    def story(office: Office) -> None:
        assert '<meta http-equiv="refresh" content="10">' in office.look(day=day(7))
        assert "As of" in office.look(day=day(7))
        for query in ({"live": "0"}, {"book": "1"}, {"pick": "Oak@08:00"}):
            assert 'http-equiv="refresh"' not in office.look(day=day(7), **query)

    open_office(story)


def test_days_follow_each_other_and_a_day_that_does_not_exist_is_said() -> None:
    def story(office: Office) -> None:
        page = office.look(day="2027-02-28")
        assert "Sunday, 28 February 2027" in page
        assert "day=2027-02-27" in page
        assert "day=2027-03-01" in page
        wrong = unescape(office.look(day="2027-02-30"))
        assert "There is no day '2027-02-30'; this is today." in wrong
        assert wrong.count("pick=") <= 8 * 9
        assert "day=2027" not in wrong
        assert "There is no day" in unescape(office.look(day='"><b>'))

    open_office(story)


def test_hours_that_are_over_cannot_be_chosen() -> None:
    def story(office: Office) -> None:
        page = office.look(day=day(-1))
        assert page.count('class="cell over"') == 8 * 9
        assert "pick=" not in page

    open_office(story)


def test_a_form_is_sent_on_and_its_outcome_asked_of_the_replica() -> None:
    def story(office: Office) -> None:
        answer = office.send(**office.form())
        assert answer.headers["location"] == f"/rooms?day={day(7)}&told=biology-1"
        assert f"is tentative: {place('Maple', 7, '09:00–11:00')}. (biology-1)" in office.outcome(answer)
        office.replica.committed = {"biology-1"}
        assert "“Budget” is confirmed: Maple, " in office.outcome(answer)
        assert said(office.look(told="<b>,a\u202eb,biology-1")).count("✓") == 1
        assert "no request biology-7 here" in said(office.look(told="biology-7"))
        for field in ("told", "change", "before", "book", "live"):
            page = office.look(day=day(7), **{field: '"><b>\u202e'})
            assert "<b>" not in page
            assert "\u202e" not in page

    open_office(story)


def test_a_form_sent_twice_is_one_request_and_with_other_words_another() -> None:
    def story(office: Office) -> None:
        form = office.form()
        first, again = office.send(**form), office.send(**form)
        assert first.headers["location"] == again.headers["location"]
        assert len(re.findall('class="cell tentative', office.look(day=day(7)))) == 1
        other = office.send(**form | {"room1": "Oak"})
        assert "is tentative: Oak, " in office.outcome(other)
        georg = office.send(action="who", person="georg", day=day(7))
        assert georg.headers["location"].endswith(day(7))
        assert "not granted yet" in office.outcome(office.send(**form))
        assert [request.person for request in office.replica.executed[-1:]] == [GEORG]

    open_office(story)


@pytest.mark.parametrize(
    ("fields", "field", "why"),
    [
        ({"day1": day(-2)}, "wishes", "is past"),
        ({"day1": "2027-02-30"}, "wishes", "must be a day of the calendar"),
        ({"start1": "16:00"}, "wishes", "beyond 17:00"),
        ({"start1": "09:30"}, "wishes", "not on the hour"),
        ({"room1": "Attic"}, "wishes", "there is no room 'Attic'"),
        ({"room1": "", "start1": ""}, "wishes", "Choose a room"),
        ({"room1": ""}, "wishes", "Choice 1"),
        ({"room2": "Oak", "start2": "20:00", "day2": day(7)}, "wishes", "outside the hours"),
        ({"purpose": "  "}, "purpose", "must not be empty"),
        ({"purpose": "a\u202eb"}, "purpose", "U+202E"),
        ({"purpose": "x" * 201}, "purpose", "200 characters"),
        ({"hours": "10"}, "hours", "longer than the day"),
        ({"hours": "two"}, "hours", "whole hours"),
        ({"weeks": "0"}, "weeks", "1 to 52"),
        ({"weeks": "many"}, "weeks", "1 to 52"),
        ({"request": "7"}, "form", "not made here"),
    ],
)
def test_bad_input_is_said_beside_the_form_which_keeps_what_was_typed(
    fields: dict[str, str], field: str, why: str
) -> None:
    def story(office: Office) -> None:
        page = office.send(422, **office.form(purpose="The <budget>") | fields).text
        check_html(page)
        found = re.search(rf'<p class="why" id="why-{field}">(.*?)</p>', page)
        assert found is not None, page
        assert why.lower() in unescape(found[1]).lower()
        if "purpose" not in fields:
            assert 'value="The &lt;budget&gt;"' in page
        assert office.replica.executed == []

    open_office(story)


def test_every_week_is_looked_at_before_the_first_is_sent() -> None:
    def story(office: Office) -> None:
        page = unescape(office.send(422, **office.form(day1=day(700), weeks="9")).text)
        assert "Week 6:" in page
        assert "too far ahead" in page
        assert office.replica.executed == []
        answer = office.send(**office.form(room2="Oak", start2="09:00", day2=day(7), weeks="3"))
        assert office.replica.wishes() == [("Maple", day(ahead), "09:00") for ahead in (7, 14, 21)]
        assert [request.command.alternatives for request in office.replica.executed] == [
            (f"Oak@{day(ahead)}@09:00",) for ahead in (7, 14, 21)
        ]
        assert office.outcome(answer).count("is tentative: Maple") == 3

    open_office(story)


def test_each_week_has_its_own_outcome() -> None:
    def story(office: Office) -> None:
        office.replica.reserve(GEORG, "Maple", day(14), "10:00", "1h", "Exam")
        told = office.outcome(office.send(**office.form(weeks="2")))
        assert f"✓ “Budget” is tentative: {place('Maple', 7, '09:00–11:00')}" in told
        assert f"✗ “Budget” is not granted yet: {place('Maple', 14, '09:00–11:00')}" in told
        assert "Georg (chemistry) was earlier" in told

    open_office(story)


def test_what_the_replica_says_beside_an_answer_is_told_once() -> None:
    def story(office: Office) -> None:
        office.replica.warning = "biology-1 had been confirmed"
        assert office.look().count("Biology-1 had been confirmed.") == 1
        office.replica.warning = ""
        assert "had been confirmed" not in office.look()

    open_office(story)


def test_clicked_hours_become_numbered_choices_and_what_was_typed_stays() -> None:
    def story(office: Office) -> None:
        typed = {"day": day(7), "purpose": "The <budget>", "hours": "3"}
        page = office.look(**typed, pick=f"Oak@{day(7)}@08:00")
        assert 'value="The &lt;budget&gt;"' in page
        assert '<option value="3" selected>' in page
        assert "Oak 08:00, choice 1, take it back" in page
        one = {"room1": "Oak", "day1": day(7), "start1": "08:00"}
        page = office.look(**typed, **one, go=day(8), pick=f"Ash@{day(8)}@09:00")
        assert "Ash 09:00, choice 2, take it back" in page
        assert f'name="day2" type="date" value="{day(8)}"' in page
        page = office.look(**typed, **one, pick=f"Oak@{day(7)}@08:00")
        assert "take it back" not in page
        full = {
            f"{name}{n}": value
            for n in range(1, 7)
            for name, value in (("room", "Ash"), ("day", day(n)), ("start", "08:00"))
        }
        assert "There are 6 choices already" in office.look(**typed, **full, pick=f"Oak@{day(7)}@08:00")
        assert office.replica.executed == []

    open_office(story)


def test_the_own_bookings_can_be_changed_and_cancelled_and_no_others() -> None:
    def story(office: Office) -> None:
        theirs = office.replica.reserve(GEORG, "Ash", day(7), "08:00", "1h", "Exam")
        mine = office.replica.reserve(FATIMA, "Oak", day(7), "10:00", "2h", "Review")
        page = office.look(day=day(7))
        assert f"change={mine}" in page
        assert f"change={theirs}" not in page
        page = office.look(day=day(7), change=mine)
        assert f"Change {mine}" in page
        assert '<option value="2" selected>' in page
        assert "<option selected>Oak</option>" in page
        fields = {"action": "change", "change": mine, "request": hidden(page, "request"), "hours": "1"}
        told = office.outcome(office.send(**fields, day1=day(8), room1="Elm", start1="11:00"))
        assert f"“Review” is tentative: {place('Elm', 8, '11:00–12:00')}" in told
        assert isinstance(office.replica.executed[-1].command, Change)
        cancel = {"action": "cancel", "request": hidden(office.look(), "request"), "day": day(8)}
        assert "cancelled" in office.outcome(office.send(**cancel, id=mine))
        assert isinstance(office.replica.executed[-1].command, Cancel)
        assert "is a request of chemistry" in office.send(422, **cancel, id=theirs).text
        assert f"change={mine}" not in office.look()

    open_office(story)


def test_a_moved_request_says_from_where_to_where_and_why() -> None:
    def story(office: Office) -> None:
        office.replica.reserve(GEORG, "Maple", day(7), "10:00", "1h", "Exam")
        office.send(**office.form(room2="Oak", start2="09:00", day2=day(7)))
        page = office.look(day=day(7))
        assert "◌ → moved" in page
        assert re.search(r"Moved from Maple, .*09:00–11:00 to Oak, .*09:00–11:00", page)
        assert "Georg (chemistry) was earlier" in page

    open_office(story)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://[broken"},
        {"Origin": "", "Referer": "http://elsewhere.example/rooms"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_form_of_another_site_does_nothing(headers: dict[str, str]) -> None:
    def story(office: Office) -> None:
        answer = office.browser.post("/rooms", data=office.form(), headers=headers)
        assert answer.status_code == 403
        assert "did not come from this page" in answer.text
        assert office.replica.executed == []

    open_office(story)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"a=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
        (b"{}", "application/json", 400),
        (b"purpose=%ff", "application/x-www-form-urlencoded", 400),
        (b"purpose=\xff", "application/x-www-form-urlencoded", 400),
        (b"a=1&a=2", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"f%d=1" % number for number in range(99)), "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 422),
        (b"action=dance", "application/x-www-form-urlencoded", 422),
        (b"action=cancel&id=x", "application/x-www-form-urlencoded", 422),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, kind: str, status: int) -> None:
    def story(office: Office) -> None:
        answer = office.browser.post("/rooms", content=body, headers={"Content-Type": kind})
        assert answer.status_code == status
        assert office.replica.executed == []

    open_office(story)


def test_where_people_are_believed_the_nodes_own_secretary_is_and_another_can_be_chosen() -> None:
    def story(office: Office) -> None:
        page = office.look()
        assert '<option value="fatima" selected>Fatima (biology)</option>' in page
        assert 'value="eve"' not in page
        answer = office.send(action="who", person="georg")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert '<option value="georg" selected>' in office.look()
        assert "nobody here has the id" in unescape(office.send(403, action="who", person="nobody").text).lower()
        office.browser.cookies.clear()
        office.browser.cookies.set("holdfast-rooms-biology", "eve")
        assert "only a secretary" in said(office.send(422, **office.form()).text).lower()

    open_office(story)


def test_with_tokens_nothing_is_shown_before_one_is_proved() -> None:
    def story(office: Office) -> None:
        office.replica.reserve(GEORG, "Ash", day(7), "08:00", "1h", "Exam")
        page = office.look(day=day(7))
        assert "sign in" in page
        assert "Exam" not in page
        assert "<table" not in page
        assert office.replica.heard == 0
        for id, token in (("fatima", "wrong"), ("georg", TOKEN), ("nobody", TOKEN)):
            assert "do not belong together" in office.send(403, action="sign-in", id=id, token=token).text
        assert office.send(303, action="sign-in", id="fatima", token=TOKEN, day=day(7))
        assert "Exam" in office.look(day=day(7))
        assert "is tentative: Maple" in office.outcome(office.send(**office.form()))
        proof = office.browser.cookies["holdfast-rooms-biology"]
        office.send(303, action="sign-out")
        id, until, mark = proof.split(".")
        for forged in (
            "fatima",
            f"georg.{until}.{mark}",
            f"{id}.{int(until) + 1}.{mark}",
            f"{id}.{until}.{'0' * 64}",
            ".",
        ):
            office.browser.cookies.set("holdfast-rooms-biology", forged)
            assert "<table" not in office.look()
        office.send(422, action="cancel", id="biology-1", request="0")
        assert len(office.replica.executed) == 2

    open_office(story, identity="token")


def test_a_replica_that_does_not_answer_is_said_and_the_same_form_can_be_sent_again() -> None:
    def story(office: Office) -> None:
        form = office.form()
        office.replica.is_silent = True
        assert "no answer within 0.3 s" in office.look(status=503)
        page = office.send(503, **form).text
        assert "outcome unknown" in page.lower()
        assert "Send the form again as it is" in page
        office.replica.is_silent = False
        assert hidden(page, "request") == form["request"]
        assert "is tentative: Maple" in office.outcome(office.send(**form))

    open_office(story)


def test_a_form_that_was_open_for_too_long_is_made_anew() -> None:
    def story(office: Office) -> None:
        office.replica.reserve(GEORG, "Ash", day(7), "08:00", "1h", "Exam")
        form = office.form()
        old = f"{form['request'].partition('.')[0]}.1000000000000"
        page = office.send(422, **form | {"request": old}).text
        assert "open for too long" in page
        assert hidden(page, "request") != old

    open_office(story)


def test_a_real_node_serves_the_page_and_keeps_what_was_booked(tmp_path: Path) -> None:
    peer, http = free_ports(2)
    file = tmp_path / "site.toml"
    file.write_text(f"""
[nodes.biology]
host = "{HOST}"
peer_port = {peer}
http_port = {http}
[services.rooms]
app = "rooms"
protocol = "solo"
identity = "trusted"
nodes = ["biology"]
[people.fatima]
first_name = "Fatima"
roles = ["secretary"]
department = "biology"
""")
    site = load_site(file)
    initialise(site)

    def story() -> None:
        office = Office(Replica(), http)
        told = office.outcome(office.send(**office.form(weeks="2")))
        assert f"is confirmed: {place('Maple', 7, '09:00–11:00')}" in told
        assert f"is confirmed: {place('Maple', 14, '09:00–11:00')}" in told
        assert office.browser.get("/").headers["location"] == "/rooms"
        office.browser.close()

    def look_again() -> None:
        office = Office(Replica(), http)
        assert ">✓ confirmed<" in office.look(day=day(14))
        office.browser.close()

    for told in (story, look_again):
        assert run_node(site, "biology", told) == 0


def run_node(site: Site, name: str, story: Callable[[], None]) -> int:
    """Run a node while the story is told on a thread, and end it as by Ctrl-C. Returns its exit status."""

    async def main() -> int:
        node = Node(site, name)
        running = asyncio.create_task(node.run())
        try:
            async with asyncio.timeout(PATIENCE_S):
                while node.drivers["rooms"].status()["state"] != "active":  # noqa: ASYNC110 - any condition
                    await asyncio.sleep(0.002)
                await asyncio.to_thread(story)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
        return await running

    return uvloop.run(main())


def test_a_node_without_pages_does_not_load_what_they_need() -> None:
    code = "import sys, holdfast.runtime.node, holdfast.server.http; print('holdfast.server.pages' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "False\n"
