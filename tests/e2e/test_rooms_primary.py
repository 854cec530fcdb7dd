"""Who confirms bookings: handed over under load, killed, cut off, and taken over with accepted loss."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.offices import DAY, Offices, Secretary, overlapping, wanted_by, wired, working

ALL = ("biology", "chemistry", "law")
ROOMS = ("Ash", "Elm", "Maple", "Oak")


def primaries(offices: Offices, *names: str) -> set[str]:
    """Whom these take for the primary."""
    return {offices.status(name).get("primary", "") for name in names or offices.names}


def test_a_planned_hand_over_under_load_loses_nothing(tmp_path: Path) -> None:
    offices = Offices(tmp_path, ALL)
    with working(offices):
        secretaries = [Secretary(offices, name, wanted_by(name, 150, ROOMS, (DAY,), 1)) for name in ALL]
        for secretary in secretaries:
            secretary.start()
        for place, (old, new) in enumerate((("biology", "law"), ("law", "chemistry"), ("chemistry", "biology")), 1):
            offices.wait(lambda place=place: len(secretaries[0].answers) >= 30 * place, "some are booked")
            (answer,) = offices.tell(old, f"hand-over {new}")
            assert answer["ok"], answer["text"]
            assert answer["text"].startswith(f"{new} is the primary now")
            offices.wait(lambda new=new: primaries(offices) == {new}, f"all take {new} for the primary")
        booked = [line.split('"')[1] for secretary in secretaries for line, _ in secretary.finished()]
        offices.wait_firm()
        requests = [request for name in ALL for request in offices.requests("law", name)]
        assert sorted(request["purpose"] for request in requests) == sorted(booked)
        assert overlapping(offices.schedule("chemistry", DAY)) == []


def test_a_killed_primary_is_taken_over_by_a_voter_and_follows_when_it_returns(tmp_path: Path) -> None:
    offices = Offices(tmp_path, ALL, 'voters = ["biology", "chemistry", "law"]')
    with working(offices):
        for name in ALL:
            offices.tell_one(name, f"reserve Oak {DAY} 09:00 1h {name} --or Oak@10:00 --or Oak@11:00")
        offices.wait_firm()
        offices.kill("biology")
        waiting = offices.tell_one("chemistry", f"reserve Elm {DAY} 09:00 1h meanwhile")
        assert waiting["firm"] == "tentative"
        (answer,) = offices.tell("law", "take-over")
        assert answer["ok"], answer["text"]
        offices.wait(lambda: primaries(offices, "chemistry", "law") == {"law"}, "law is the primary")
        retired = offices.tell_one("law", "retire biology")
        assert retired["ok"], "so that nobody waits for its promises until the horizon"
        offices.wait_firm("chemistry", "law")
        assert offices.tell_one("law", f"stable {waiting['write']}")["reply"]["number"] > 0
        before = offices.schedule("law", DAY)
        offices.start("biology")
        offices.wait(lambda: primaries(offices) == {"law"}, "the old primary follows")
        offices.wait_firm()
        assert offices.schedule("biology", DAY) == before
        assert len(before) == 4


def test_a_take_over_without_a_majority_says_who_is_missing_and_is_no_claim(tmp_path: Path) -> None:
    offices = Offices(tmp_path, ALL, 'voters = ["biology", "chemistry", "law"]')
    with working(offices):
        offices.tell_one("chemistry", f"reserve Oak {DAY} 09:00 1h before")
        offices.wait_firm()
        offices.kill("biology", "law")
        missing = "there is no connection to biology, law now; nothing was changed"
        said: list[str] = []
        for words in (("take-over",), ("take-over", "--accept-loss")):
            done = offices.command("rooms", "--as", "georg", "--at", "chemistry", *words)
            assert done.returncode == 1, done.stdout + done.stderr
            assert "Trying" not in done.stderr
            said.append(done.stdout)
        assert missing in said[0] or "biology, law did not answer" in said[0]
        assert "a majority of biology, chemistry, law" in said[1]
        offices.start("biology", "law")
        offices.wait_serving()
        offices.tell_one("law", f"reserve Elm {DAY} 09:00 1h after")
        offices.wait_firm()
        assert primaries(offices) == {"biology"}, "nobody becomes the primary by itself"


def test_voters_that_hang_are_named_in_time_and_wake_to_no_new_primary(tmp_path: Path) -> None:
    """They find the claim when they go on, and vow to it; it was given up long before."""
    offices = Offices(tmp_path, ALL, 'voters = ["biology", "chemistry", "law"]')
    with working(offices):
        offices.tell_one("chemistry", f"reserve Oak {DAY} 09:00 1h before")
        offices.wait_firm()
        for name in ("biology", "law"):
            offices.pause(name)
        done = offices.command("rooms", "--as", "georg", "--at", "chemistry", "take-over")
        assert (done.returncode, done.stderr) == (1, ""), "it has not stopped waiting"
        assert "biology, law did not answer; the claim is given up" in done.stdout
        assert offices.status("chemistry")["waiting_for"] == ""
        for name in ("biology", "law"):
            offices.resume(name)
        offices.tell_one("law", f"reserve Elm {DAY} 09:00 1h after")
        offices.wait_firm()
        assert primaries(offices) == {"biology"}


def test_an_isolated_primary_confirms_nothing_that_its_successor_does_not_know(tmp_path: Path) -> None:
    """With three voters, `immediate`: alone it goes on taking bookings, and none of them is firm."""
    offices = Offices(tmp_path, ALL, 'voters = ["biology", "chemistry", "law"]', 'commit = "immediate"')
    with wired(offices) as wires, working(offices):
        wires.split(("biology",), ("chemistry", "law"))
        alone = offices.tell_one("biology", f"reserve Oak {DAY} 09:00 1h alone --or Oak@10:00")
        (answer,) = offices.tell("law", "take-over")
        assert answer["ok"], answer["text"]
        other = offices.tell_one("law", f"reserve Oak {DAY} 09:00 1h other --or Oak@11:00")
        offices.wait(lambda: offices.tell_one("law", f"stable {other['write']}")["reply"]["number"], "it is firm")
        assert offices.status("biology")["position"] == 0
        assert offices.tell_one("biology", f"stable {alone['write']}")["reply"]["number"] == 0
        wires.split(ALL)
        offices.wait_firm()
        places = {one["purpose"]: one["start"] for one in offices.schedule("biology", DAY)}
        assert places == {"other": "09:00", "alone": "10:00"}, "what was confirmed stands, though stamped later"
        (moved,) = offices.requests("chemistry", "biology")
        assert (moved["outcome"], moved["lost"]["late"]) == ("moved", True)
        assert "late: Liam (law)" in moved["why"]


def test_with_one_voter_a_take_over_is_refused_unless_its_loss_is_accepted(tmp_path: Path) -> None:
    """What only the old primary had confirmed is kept, though it may come out otherwise."""
    offices = Offices(tmp_path, ALL, 'commit = "immediate"')
    with working(offices):
        offices.tell_one("law", f"reserve Elm {DAY} 09:00 1h shared")
        offices.wait_firm()
        offices.kill("chemistry", "law")
        only = offices.tell_one("biology", f"reserve Oak {DAY} 09:00 1h only --or Oak@10:00")
        offices.wait(lambda: offices.tell_one("biology", f"stable {only['write']}")["reply"]["number"], "firm there")
        offices.kill("biology")
        offices.start("chemistry", "law")
        offices.wait_serving("chemistry", "law")
        refused = offices.tell_one("law", "take-over")
        assert not refused["ok"]
        assert "take-over --accept-loss" in refused["text"]
        done = offices.command("rooms", "--as", "liam", "--at", "law", "take-over", "--accept-loss")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "law is the primary now" in done.stdout
        assert "What biology has confirmed after commit 1, and this replica has not seen, may come out" in done.stdout
        assert "biology has not been met since" in offices.status("law")["accepted_loss"]
        assert "accepted loss after commit 1" in offices.log("law")
        other = offices.tell_one("law", f"reserve Oak {DAY} 09:00 1h other --or Oak@11:00")
        offices.wait(lambda: offices.tell_one("law", f"stable {other['write']}")["reply"]["number"], "firm again")
        offices.start("biology")
        offices.wait_serving()
        offices.wait_firm()
        places = {one["purpose"]: one["start"] for one in offices.schedule("biology", DAY)}
        assert places == {"shared": "09:00", "other": "09:00", "only": "10:00"}
        assert primaries(offices) == {"law"}
        told = "confirmed under a primary whose loss was accepted, and may come out otherwise now: biology-1"
        assert told in offices.log("biology")
        undone = "undone, though confirmed before: biology-1"
        offices.wait(lambda: undone in offices.status("law")["accepted_loss"], "law has heard of it")
        mine = offices.tell_one("biology", "mine")
        assert mine["warning"].startswith("biology-1 had been confirmed by a primary whose loss")
