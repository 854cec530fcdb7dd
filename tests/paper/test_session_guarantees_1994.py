"""D. Terry et al., "Session Guarantees for Weakly Consistent Replicated Data", PDIS 1994: the four
guarantees with the paper's examples, each first broken without it, then kept. Rooms stand for the
paper's mailboxes, passwords and calendars. Section numbers are the paper's."""

from __future__ import annotations

import random

import pytest
from tests.replication.bayou.replicas import SECOND_US, Replicas
from tests.replication.bayou.sessions import Session

SCHEDULE = "schedule 2026-12-01"
BEHIND = "Failed: this replica is behind your session ({}): it lacks writes of {} up to {}"


def book(hour: int, purpose: str) -> str:
    return f"reserve Maple 2026-12-01 {hour:02}:00 1h {purpose}"


@pytest.fixture
def apart() -> Replicas:
    """law and music have each a server of their own, which have not met lately."""
    replicas = Replicas("biology law music")
    replicas.isolate("law")
    replicas.isolate("music")
    return replicas


def meet(replicas: Replicas) -> None:
    replicas.connect("law", "music")
    replicas.wait(SECOND_US)
    replicas.disconnect("law", "music")


# -- 3.1, Read Your Writes: the password that was changed, the message that was deleted


def test_3_1_without_read_your_writes_a_changed_password_is_not_accepted_elsewhere(apart: Replicas) -> None:
    session = Session(apart)
    session.submit("law", book(9, "new-password"))
    assert "new-password" not in session.ask("music", SCHEDULE)


def test_3_1_with_it_the_server_that_lacks_the_change_is_not_asked(apart: Replicas) -> None:
    session = Session(apart, "read-your-writes")
    session.submit("law", book(9, "new-password"))
    assert session.ask("music", SCHEDULE).startswith(BEHIND.format("read-your-writes", "law", 1))
    meet(apart)
    assert "new-password" in session.ask("music", SCHEDULE)


def test_3_1_a_deleted_mail_message_does_not_come_back(apart: Replicas) -> None:
    apart.submit("law", book(9, "mail"))
    meet(apart)
    session = Session(apart, "read-your-writes")
    session.submit("law", "cancel law-1")
    assert "mail" not in session.ask("law", SCHEDULE)
    assert session.ask("music", SCHEDULE).startswith(BEHIND.format("read-your-writes", "law", 2))
    assert "mail" in Session(apart).ask("music", SCHEDULE), "as anybody else sees it there"


def test_3_1_it_is_about_the_own_session_only(apart: Replicas) -> None:
    one, other = (Session(apart, "read-your-writes") for _ in range(2))
    one.submit("law", book(9, "mine"))
    assert not other.ask("music", SCHEDULE).startswith("Failed")


# -- 3.2, Monotonic Reads: the calendar, the mailbox


def test_3_2_without_monotonic_reads_an_appointment_disappears_from_the_calendar(apart: Replicas) -> None:
    apart.submit("law", book(9, "appointment"))
    session = Session(apart)
    seen = [session.ask(name, SCHEDULE) for name in ("law", "music", "law")]
    assert ["appointment" in text for text in seen] == [True, False, True]


def test_3_2_with_it_what_was_seen_stays_seen(apart: Replicas) -> None:
    apart.submit("law", book(9, "appointment"))
    session = Session(apart, "monotonic-reads")
    assert "appointment" in session.ask("law", SCHEDULE)
    assert session.ask("music", SCHEDULE).startswith(BEHIND.format("monotonic-reads", "law", 1))
    meet(apart)
    assert "appointment" in session.ask("music", SCHEDULE)


def test_3_2_new_mail_that_is_listed_can_be_read(apart: Replicas) -> None:
    """The list of the mailbox and then the message itself, by its id, at another server."""
    apart.submit("law", book(9, "mail"))
    bare, session = Session(apart), Session(apart, "monotonic-reads")
    for each in (bare, session):
        assert "law-1" in each.ask("law", SCHEDULE)
    assert "there is no request law-1 here" in bare.ask("music", "show law-1")
    assert session.ask("music", "show law-1").startswith(BEHIND.format("monotonic-reads", "law", 1))
    meet(apart)
    assert '"mail"' in session.ask("music", "show law-1")


# -- 3.3, Writes Follow Reads: the bulletin board


def test_3_3_without_writes_follow_reads_the_reply_is_seen_before_what_it_answers(apart: Replicas) -> None:
    apart.submit("law", book(9, "question"))
    session = Session(apart)
    session.ask("law", SCHEDULE)
    session.submit("music", book(10, "answer"))
    apart.connect("biology", "music")
    apart.wait(SECOND_US)
    seen = apart.ask("biology", SCHEDULE)
    assert ("answer" in seen, "question" in seen) == (True, False)


def test_3_3_with_it_whoever_sees_the_reply_sees_what_it_answers(apart: Replicas) -> None:
    apart.submit("law", book(9, "question"))
    session = Session(apart, "writes-follow-reads")
    session.ask("law", SCHEDULE)
    told = session.submit("music", book(10, "answer"))
    assert told.startswith(BEHIND.format("writes-follow-reads", "law", 1))
    meet(apart)
    assert not session.submit("music", book(10, "answer")).startswith("Failed")
    apart.connect("biology", "music")
    apart.wait(SECOND_US)
    seen = apart.ask("biology", SCHEDULE)
    assert ("answer" in seen, "question" in seen) == (True, True)
    log = apart.log("biology")
    order = [*log.committed, *(entry.write for entry in log.tail)]
    assert [write.replica for write in order] == ["law", "music"], "and in this order, everywhere"


# -- 3.4, Monotonic Writes: the text that is saved twice, the library and the program that uses it


def test_3_4_without_monotonic_writes_the_second_save_comes_before_the_first(apart: Replicas) -> None:
    session = Session(apart)
    session.submit("law", book(9, "library"))
    session.submit("music", book(10, "program"))
    apart.connect("biology", "music")
    apart.wait(SECOND_US)
    seen = apart.ask("biology", SCHEDULE)
    assert ("program" in seen, "library" in seen) == (True, False)


def test_3_4_with_it_nobody_has_the_program_without_the_library(apart: Replicas) -> None:
    session = Session(apart, "monotonic-writes")
    session.submit("law", book(9, "library"))
    told = session.submit("music", book(10, "program"))
    assert told.startswith(BEHIND.format("monotonic-writes", "law", 1))
    meet(apart)
    session.submit("music", book(10, "program"))
    apart.connect("biology", "music")
    apart.wait(SECOND_US)
    seen = apart.ask("biology", SCHEDULE)
    assert ("program" in seen, "library" in seen) == (True, True)


# -- 4 and 5, the guarantees by version vectors, whatever servers a session goes to


@pytest.mark.parametrize("seed", range(6))
def test_4_whatever_servers_a_session_goes_to_what_it_is_promised_holds(seed: int) -> None:
    """A session with all four, which goes to any server; where it is refused it tries the next."""
    chance = random.Random(seed)
    replicas = Replicas("biology law music")
    for name in replicas.names:
        replicas.isolate(name)
    session = Session(replicas, "all")
    written: dict[int, str] = {}
    seen: dict[int, bool] = {}
    refused = 0
    for number in range(60):
        replicas.now_us += 1000
        name = chance.choice(replicas.names)
        if chance.random() < 0.3:
            one, other = chance.sample(replicas.names, 2)
            replicas.connect(one, other)
            replicas.deliver_all()
            replicas.disconnect(one, other)
        elif len(written) < 9 and chance.random() < 0.5:
            hour = 8 + len(written)
            if session.submit(name, book(hour, f"write{number:02}")).startswith("Failed: this replica"):
                refused += 1
            else:
                written[hour] = f"write{number:02}"
        else:
            told = session.ask(name, SCHEDULE)
            if told.startswith("Failed"):
                refused += 1
                continue
            for hour, purpose in written.items():
                assert purpose in told, "read your writes"
                seen[hour] = True
            assert all(written[hour] in told for hour in seen), "monotonic reads"
    assert refused, "it was put to the test"
    assert len(written) > 2
    replicas.heal()
    replicas.wait(3 * SECOND_US)
    replicas.settled()
    bodies = [write.body for write in replicas.log("biology").committed]
    order = [purpose for body in bodies for purpose in written.values() if purpose.encode() in body]
    assert order == list(written.values()), "monotonic writes, in the committed order"
