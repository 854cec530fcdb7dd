"""The Python client and the command line at real replicas: sessions that move, changes told, a booking's way drawn."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.e2e.offices import DAY, Offices, person, wired, working

from holdfast.client import Site

ALL = ("biology", "chemistry", "law")


def test_a_session_that_moves_sees_its_own_writes_or_is_told_that_the_server_is_behind(tmp_path: Path) -> None:
    offices = Offices(tmp_path, ALL)
    with (
        wired(offices) as wires,
        working(offices),
        Site(offices.site, as_=person("law"), guarantees=["all"], timeout_s=2.0) as site,
    ):
        wires.split(("biology", "chemistry"), ("law",))
        rooms = site.service("rooms")
        booked = rooms.reserve("Oak", DAY, "09:00", "1h", "mine alone")
        assert (booked.firm, booked.write) == ("tentative", "law-1")
        assert [one["purpose"] for one in rooms.mine().reply["requests"]] == ["mine alone"]

        offices.kill("law")
        behind = rooms.mine()
        assert (behind.ok, behind.type) == (False, "behind")
        assert behind.reply["missing"] == [["law", 1]]
        refused = rooms.reserve("Elm", DAY, "09:00", "1h", "too early")
        assert (refused.ok, refused.type) == (False, "behind")
        with site.but(guarantees=[]) as careless:
            assert careless.service("rooms").mine().reply["requests"] == [], "without guarantees it is an answer"

        wires.split(ALL)
        offices.start("law")
        offices.wait_firm()
        offices.kill("law")
        assert [one["purpose"] for one in rooms.mine().reply["requests"]] == ["mine alone"], "kept, elsewhere"
        assert rooms.reserve("Elm", DAY, "09:00", "1h", "in time").ok


def test_a_watch_tells_when_a_booking_is_moved_and_when_it_is_confirmed(tmp_path: Path) -> None:
    offices = Offices(tmp_path, ALL)
    with wired(offices) as wires, working(offices), Site(offices.site, as_=person("chemistry")) as site:
        wires.split(("biology", "chemistry"), ("law",))
        first = offices.tell_one("law", f"reserve Oak {DAY} 09:00 1h earlier")
        rooms = site.service("rooms")
        with rooms.watch() as watch:
            mine = rooms.reserve("Oak", DAY, "09:00", "1h", "later", ["Elm@09:00"])
            assert (mine.type, mine.firm) == ("granted", "tentative")
            wires.split(ALL)
            told = []
            for change in watch:
                told.append(change)
                if change.firm == "committed":
                    break
        assert {change.id for change in told} == {mine.write}
        assert "moved from Oak" in told[-1].text
        assert "Liam (law) was earlier" in told[-1].text
        notices = offices.tell_one("chemistry", "notices")["reply"]["rows"]
        assert [(to, first["write"] in text or "Liam (law)" in text) for _, to, text in notices] == [("georg", True)]


def test_a_watch_goes_on_at_another_replica(tmp_path: Path) -> None:
    offices = Offices(tmp_path, ALL)
    with (
        working(offices),
        Site(offices.site, as_=person("law"), timeout_s=2.0) as site,
        site.service("rooms").watch() as watch,
    ):
        offices.kill("law")
        assert "what changed until another server is found is not told" in watch.arrived(30)[0].text
        booked = offices.tell_one("chemistry", f"reserve Oak {DAY} 09:00 1h elsewhere", as_="law")
        assert booked["ok"]
        offices.start("law")
        assert next(iter(watch)).id == booked["write"]


def test_a_trace_shows_the_six_steps_over_real_nodes(tmp_path: Path) -> None:
    """Without anti-entropy beside them, which might bring the commit to somebody first."""
    offices = Offices(tmp_path, ALL, sync_s=3600)
    with working(offices):
        offices.tell_one("law", f"reserve Oak {DAY} 08:00 1h before")
        offices.wait_firm()  # so all are connected
        booked = offices.tell_one("law", f"reserve Oak {DAY} 09:00 1h traced")
        offices.wait_firm()

        def events() -> list[tuple[str, str, str]]:
            done = offices.command("trace", "rooms", booked["write"], "--json")
            assert done.returncode == 0, done.stdout + done.stderr
            return [(row["message"], row["source"], row["target"]) for row in json.loads(done.stdout)["events"]]

        steps = [
            ("Write", "user", "law"),
            ("Request", "law", "biology"),
            ("Reply", "biology", "law"),
            ("Update", "law", "law"),
            ("Release", "law", "biology"),
            ("Released", "biology", "chemistry"),
        ]
        offices.wait(lambda: set(steps) <= set(events()), "all six steps are remembered")
        happened = events()
        assert sorted(steps, key=happened.index) == steps
        text = offices.command("trace", "rooms", booked["write"]).stdout
        labels = re.findall(r"  (Write|Request|Reply|Update|Release|Released)\b", text)
        assert labels == [step for step, _, _ in steps], text
        mermaid = offices.command("trace", "rooms", booked["write"], "--mermaid").stdout
        assert mermaid.startswith("sequenceDiagram")
        names = dict(re.findall(r"(?:participant|actor) (p\d) as (\w+)", mermaid))
        arrows = re.findall(r"(p\d)->>(p\d): (\w+)", mermaid)
        told = [(message, names[source], names[target]) for source, target, message in arrows]
        assert [step for step in told if step in steps] == [step for step in steps if step[0] != "Update"]
        assert "Update" in mermaid
        offices.kill("chemistry")
        partial = offices.command("trace", "rooms", booked["write"])
        assert partial.returncode == 0
        assert "chemistry is not in it" in partial.stderr
