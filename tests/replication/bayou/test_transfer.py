"""The tuple store for a replica that is below its peer's log."""

from __future__ import annotations

from typing import Any

import pytest
from tests.replication.bayou.replicas import SECOND_US, Replicas

from holdfast.replication.bayou import transfer
from holdfast.replication.bayou.messages import StateNext, StatePart

HOUR_US = 3600 * SECOND_US


def book(hour: int, room: str = "Maple", *others: str) -> str:
    return f"reserve {room} 2026-12-01 {hour:02}:00 1h Meeting" + "".join(f" --or {other}" for other in others)


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> Replicas:
    """music is away with two writes of its own; biology and law have committed nine, and dropped them."""
    monkeypatch.setattr(transfer, "STATE_PART_BYTES", 400)
    replicas = Replicas("biology law music")
    replicas.isolate("music")
    replicas.submit("music", book(9, "Maple", "Oak@09:00"), book(10, "Elm"))
    for hour in range(8, 17):
        replicas.submit("law", book(hour))
    replicas.deliver_all()
    replicas.jump(24 * HOUR_US)
    replicas.wait(3 * SECOND_US)
    for name in ("biology", "law"):
        assert replicas.book(name, "truncate") == "9 committed writes were dropped from the log."
    assert replicas.log("biology").omitted == 9
    return replicas


def parts(replicas: Replicas) -> list[StatePart]:
    """A whole state, as music would fetch it from biology."""
    got: list[Any] = []
    message: Any = None
    while not got or not got[-1].last:
        if not got:
            core = replicas.core("biology")
            core._begin(replicas.now_us)
            core.transfer.offer(2)
            step = core.replica.step
        else:
            step = replicas.core("biology").receive(replicas.now_us, 2, message)
        (part,) = [sent for _, sent in step.promises if isinstance(sent, StatePart)]
        got.append(part)
        message = StateNext(part.csn, part.epoch, part.index + 1)
    return got


def test_it_gets_the_state_and_keeps_its_own_tentative_writes(behind: Replicas) -> None:
    behind.connect("biology", "music")
    behind.wait(3 * SECOND_US)
    assert behind.log("music").csn == behind.log("biology").csn == 11
    assert behind.log("music").omitted == 9
    told = behind.ask("music", "schedule 2026-12-01")
    assert "Oak 09:00-10:00 Oscar" in told
    assert "Elm 10:00-11:00 Oscar" in told
    behind.heal()
    behind.wait(3 * SECOND_US)
    behind.settled()


def test_the_state_comes_in_several_pieces_and_is_taken_when_it_is_whole(behind: Replicas) -> None:
    pieces = parts(behind)
    assert len(pieces) > 3
    for piece in pieces[:-1]:
        behind.hear("music", "biology", piece)
    assert behind.log("music").csn == 0
    behind.hear("music", "biology", pieces[-1])
    assert (behind.log("music").csn, len(behind.log("music").tail)) == (9, 2)


def test_pieces_out_of_order_doubled_or_of_two_givers_are_no_harm(behind: Replicas) -> None:
    pieces = parts(behind)
    for piece in (pieces[1], pieces[0], pieces[2], pieces[0], pieces[1], pieces[1]):
        behind.hear("music", "biology", piece)
    behind.hear("music", "law", pieces[2])
    assert behind.log("music").csn == 0
    for piece in pieces:
        behind.hear("music", "biology", piece)
    assert behind.log("music").csn == 9


def test_a_state_that_is_behind_is_not_taken(behind: Replicas) -> None:
    pieces = parts(behind)
    behind.heal()
    behind.wait(3 * SECOND_US)
    digest = behind.core("music").replica.views.digest()
    for piece in pieces:
        behind.hear("music", "biology", piece)
    assert behind.core("music").replica.views.digest() == digest
    behind.settled()


def test_a_fetch_that_breaks_off_begins_again(behind: Replicas) -> None:
    behind.connect("biology", "music")
    for _ in range(4):
        if behind.channels[2, 0]:
            behind.deliver("music", "biology")
        if behind.channels[0, 2]:
            behind.deliver("biology", "music")
    assert behind.log("music").csn == 0
    behind.disconnect("biology", "music")
    behind.wait(SECOND_US)
    behind.heal()
    behind.wait(4 * SECOND_US)
    behind.settled()


def test_commits_made_while_a_state_is_fetched_follow_it(behind: Replicas) -> None:
    behind.connect("biology", "music")
    for _ in range(3):
        behind.deliver("music", "biology") if behind.channels[2, 0] else None
        behind.deliver("biology", "music") if behind.channels[0, 2] else None
    behind.submit("law", book(16, "Ash"))
    behind.heal()
    behind.wait(4 * SECOND_US)
    behind.settled()
    assert "Ash 16:00" in behind.ask("music", "schedule 2026-12-01", "committed")


def test_it_outlives_a_crash_and_is_all_or_nothing(behind: Replicas) -> None:
    pieces = parts(behind)
    behind.autosync = False
    for piece in pieces:
        behind.hear("music", "biology", piece)
    assert behind.log("music").csn == 9
    behind.crash("music")
    behind.autosync = True
    behind.restart("music")
    assert (behind.log("music").csn, len(behind.log("music").tail)) == (0, 2)
    for piece in pieces:
        behind.hear("music", "biology", piece)
    behind.crash("music")
    behind.restart("music")
    assert (behind.log("music").csn, len(behind.log("music").tail)) == (9, 2)
    assert behind.core("music").replica.views.digest() == behind.core("biology").replica.views.digest()


@pytest.mark.parametrize("data", [b"", b"\x00\x00\x00\x05hello", b"\xff" * 40])
def test_what_is_no_state_is_dropped_and_counted(data: bytes) -> None:
    replicas = Replicas("biology law")
    replicas.book("law", book(9))
    before = replicas.core("law").status()
    replicas.hear("law", "biology", StatePart(99, 0, 0, True, data))
    assert replicas.core("law").replica.malformed == 1
    assert replicas.core("law").status() == before


def test_a_state_of_another_app_is_refused() -> None:
    tickets, rooms = Replicas("biology law", app="tickets"), Replicas("biology law")
    tickets.book("biology", "reserve bob 2")
    foreign = tickets.core("biology").transfer.freeze(1 << 20).parts[0]
    rooms.hear("law", "biology", StatePart(99, 0, 0, True, foreign))
    assert rooms.core("law").replica.malformed == 1
    assert any("a state of the app 'tickets'" in text for kind, text in rooms.lines if kind == "event")


def test_a_state_says_of_the_replicas_what_is_committed_and_the_tail_tells_the_rest() -> None:
    replicas = Replicas("biology law music +physics")
    replicas.book("law", book(9))
    replicas.isolate("law", "physics")
    replicas.book("law", "retire music")
    replicas.book("law", "truncate")
    replicas.restart("physics")
    replicas.lose("law", "physics")
    (part,) = replicas.core("law").transfer.freeze(1 << 20).parts
    replicas.hear("physics", "law", StatePart(replicas.log("law").csn, 0, 0, True, part))
    assert replicas.log("law").members["music"].state == "replaced", "tentatively"
    assert replicas.log("physics").members["music"].state == "live"
    replicas.wait(3 * SECOND_US)
    assert replicas.log("physics").members["music"].state == "replaced"
    replicas.crash("law")
    replicas.restart("law")
    assert replicas.log("law").members["music"].state == "replaced", "after a restart too"


def test_it_keeps_what_waits_in_quarantine_and_follows_the_state(behind: Replicas) -> None:
    """It came by a file, and nobody may bring it again."""
    behind.isolate("law")
    behind["law"].skew_ms = 26 * HOUR_US // 1000
    behind.submit("law", "reserve Elm 2026-12-05 14:00 1h Meeting")
    for part in behind.export("law"):
        behind.take("music", part)
    held = behind.core("music").replica.aside()
    assert list(held) == ["law"]
    behind.submit("biology", "reserve Ash 2026-12-06 09:00 1h Meeting")
    behind.jump(25 * HOUR_US)
    behind.wait(3 * SECOND_US)
    assert behind.book("biology", "truncate") == "1 committed writes were dropped from the log."
    for part in behind.export("biology"):
        behind.take("music", part)
    assert behind.log("music").csn == 10
    assert behind.core("music").replica.aside() == held
