"""When tentative writes become firm, and who hears of it in which order."""

from __future__ import annotations

import pytest
from tests.replication.bayou.replicas import SECOND_US, Node, Replicas

from holdfast.replication.bayou.messages import Ask, Release, Reply
from holdfast.replication.bayou.primary import NEWS_BYTES_MAX

MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US


def book(hour: int, room: str = "Maple", day: str = "2026-12-01") -> str:
    return f"reserve {room} {day} {hour:02}:00 1h Meeting"


def committed(replicas: Replicas, name: str) -> list[str]:
    return [f"{write.replica}-{write.number}" for write in replicas.log(name).committed]


def sent(replicas: Replicas, *kinds: str) -> list[str]:
    return [" ".join(text.split()[:4]) for kind, text in replicas.lines if kind in kinds]


@pytest.mark.parametrize("silent", ["law", "music", "physics"])
def test_nothing_is_firm_before_every_member_has_promised(silent: str) -> None:
    replicas = Replicas("biology law music physics")
    replicas.submit("biology", book(9))
    for name in ("law", "music", "physics"):
        while replicas.channels[0, replicas[name].number]:
            replicas.deliver("biology", name)
        while name != silent and replicas.channels[replicas[name].number, 0]:
            replicas.deliver(name, "biology")
    assert replicas.log("biology").csn == 0
    replicas.deliver_all()
    assert committed(replicas, silent) == ["biology-1"]


def test_a_promise_is_on_the_disk_before_it_is_told_and_kept_ever_after() -> None:
    replicas = Replicas("biology law")
    replicas["law"].skew_ms = -60_000
    replicas.submit("biology", book(9))
    replicas.autosync = False
    while replicas.channels[0, 1]:
        replicas.deliver("biology", "law")
    assert sent(replicas, "Promise") == []
    replicas.autosync = True
    while replicas["law"].writing:
        replicas.sync("law")
    assert sent(replicas, "Promise") == ["law -> biology Promise"]
    promised = replicas.core("law").replica.promised_ms
    replicas.submit("law", book(10))
    assert replicas.log("law").last_ms["law"] > promised >= replicas.log("biology").last_ms["biology"]


def test_a_primary_whose_clock_is_far_ahead_is_promised_no_more_than_is_believed() -> None:
    """More would carry this replica's clock away."""
    replicas = Replicas("biology law")
    replica = replicas.core("law").replica
    have = replicas.core("biology").replica.have(1, wants=True)
    replicas.hear("law", "biology", Ask(replica.wall_ms + 24 * 3_600_000, have))
    assert replica.promised_ms <= replica.bound_ms


def test_writes_up_to_the_promise_come_with_it() -> None:
    """law's own write was on its way, and lost; the promise brings it, and it stands before biology's."""
    replicas = Replicas("biology law")
    replicas.submit("law", book(9))
    replicas.lose("law", "biology")
    replicas.now_us += 1000
    replicas.submit("biology", book(9))
    replicas.deliver_all()
    assert committed(replicas, "biology") == ["law-1", "biology-1"]


def test_the_earliest_entry_prevails_whatever_arrives_first() -> None:
    replicas = Replicas("biology law music")
    replicas.submit("law", book(9))
    replicas.now_us += 1000
    replicas.submit("music", book(9))
    replicas.deliver("music", "biology")
    assert replicas.log("biology").csn == 0
    replicas.deliver_all()
    assert committed(replicas, "biology") == ["law-1", "music-1"]


@pytest.mark.parametrize(
    ("line", "at_us"),
    [
        (book(12, day="2026-11-30"), 3 * HOUR_US),  # one hour before the meeting
        (f"{book(16, day='2026-12-20')} --or Oak@2026-11-30@14:00", 5 * HOUR_US),  # of the earliest alternative
        (book(9, day="2027-03-01"), 24 * HOUR_US),  # the horizon
        ("cancel law-9", 24 * HOUR_US),
    ],
    ids=["before the meeting", "before its earliest alternative", "the horizon", "a cancellation"],
)
def test_while_a_member_is_away_a_write_is_firm_at_its_deadline_not_before(line: str, at_us: int) -> None:
    replicas = Replicas("biology law music")
    replicas.isolate("music")
    replicas.submit("law", line)
    entered_us = replicas.now_us
    replicas.jump(at_us - MINUTE_US)
    replicas.wait(SECOND_US)
    assert committed(replicas, "law") == []
    replicas.jump(entered_us + at_us - replicas.now_us + 1000)
    replicas.wait(3 * SECOND_US)
    assert committed(replicas, "law") == ["law-1"]


def test_at_its_deadline_a_write_waits_for_those_who_are_there() -> None:
    """The meeting begins within the hour: its deadline lies before its stamp."""
    replicas = Replicas("biology law music")
    today = "2026-11-30"
    replicas.submit("law", book(9, day=today))
    replicas.now_us += 2_000
    replicas.submit("biology", book(9, day=today))
    replicas.deliver("biology", "music")
    assert replicas.log("biology").csn == 0
    replicas.deliver_all()
    assert committed(replicas, "music") == ["law-1", "biology-1"]


def test_at_its_deadline_a_write_waits_for_those_who_are_away_no_longer_than_for_an_answer() -> None:
    replicas = Replicas("biology law music")
    replicas.isolate("music")
    replicas.submit("law", book(9, day="2026-11-30"))
    replicas.wait(SECOND_US)
    assert committed(replicas, "law") == []
    replicas.wait(2 * SECOND_US)
    assert committed(replicas, "law") == ["law-1"]


def test_a_clock_that_is_set_forward_takes_nobody_the_time_to_answer() -> None:
    """The primary's clock jumps over the deadline while law's earlier write is on its way."""
    replicas = Replicas("biology law music")
    today = "2026-11-30"
    replicas.jump(HOUR_US - 30 * SECOND_US)
    replicas.submit("law", book(10, day=today))
    replicas.now_us += 2_000
    replicas.submit("biology", book(10, day=today))
    replicas["biology"].skew_ms = 60_000
    replicas.now_us += 2_000
    replicas.submit("biology", book(9, day="2027-03-01"))
    replicas.deliver("biology", "music")
    assert replicas.log("biology").csn == 0
    replicas.deliver_all()
    assert committed(replicas, "music")[:2] == ["law-1", "biology-1"]


def test_a_deadline_takes_along_what_stands_before_it_and_leaves_what_stands_behind() -> None:
    replicas = Replicas("biology law music")
    replicas.isolate("music")
    replicas.submit("law", book(9, day="2027-03-01"))
    replicas.wait(SECOND_US)
    replicas.submit("law", book(12, day="2026-11-30"))
    replicas.wait(SECOND_US)
    replicas.submit("law", book(10, day="2027-03-01"))
    replicas.jump(3 * HOUR_US)
    replicas.wait(3 * SECOND_US)
    assert committed(replicas, "law") == ["law-1", "law-2"]


def test_the_deadline_wakes_the_primary_by_itself() -> None:
    """It looks around every 25 minutes, and the deadline comes after three hours: in between."""
    patience_us = 100 * MINUTE_US
    replicas = Replicas("biology law music", sync_us=patience_us, patience_us=patience_us)
    tick_us = replicas.core("biology").configuration.tick_us
    assert (3 * HOUR_US) % tick_us == 5 * MINUTE_US
    replicas.isolate("music")
    replicas.submit("law", book(12, day="2026-11-30"))
    replicas.wait(3 * HOUR_US - SECOND_US)
    assert replicas.log("biology").csn == 0
    replicas.wait(SECOND_US + 1000)
    assert replicas.log("biology").csn == 1


def test_what_waits_for_voters_does_not_keep_the_primary_busy() -> None:
    """Its deadline is past and nothing can be done about it."""
    replicas = Replicas("biology law music", voters=("biology", "law", "music"))
    replicas.isolate("biology")
    replicas.submit("biology", book(10, day="2026-11-30"))
    replicas.jump(2 * HOUR_US)
    wake_us = replicas["biology"].gate.wake_us
    assert wake_us > replicas.now_us


def test_whoever_has_retired_or_was_replaced_is_not_waited_for() -> None:
    replicas = Replicas("biology law music physics")
    assert "has retired" in replicas.book("music", "retire")
    replicas.crash("music")
    replicas.crash("physics")
    assert "waited for no longer" in replicas.book("law", "retire physics")
    replicas.submit("law", book(9))
    replicas.wait(SECOND_US)
    assert replicas.log("law").committed_vector["law"] == replicas.log("law").vector["law"]


def test_step_6_waits_for_step_5_and_not_for_ever() -> None:
    """The others hear of a commit when its author's replica has it, or has had time to."""
    replicas = Replicas("biology law music")
    replicas.submit("law", book(9))
    while replicas.channels[0, 2] or replicas.channels[2, 0] or replicas.channels[1, 0]:
        for one, other in (("law", "biology"), ("biology", "music"), ("music", "biology")):
            if replicas.channels[replicas[one].number, replicas[other].number]:
                replicas.deliver(one, other)
    assert replicas.log("biology").csn == 1
    assert sent(replicas, "Reply") == ["biology -> law Reply"]
    assert sent(replicas, "Released") == []
    replicas.disconnect("law", "biology")
    replicas.wait(3 * SECOND_US)
    assert committed(replicas, "music") == ["law-1"]


def test_of_a_heap_a_reply_tells_the_beginning_and_the_release_follows_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Anti-entropy brings the rest, which others may be bringing already; nobody waits for patience to end."""
    replicas = Replicas("biology law music", policy="immediate")
    for author, room in (("law", "Maple"), ("music", "Oak")):
        replicas.isolate(author)
        for hour in range(9, 17):
            for day in range(1, 21):
                replicas.submit(author, f"reserve {room} 2026-12-{day:02} {hour:02}:00 1h {'Meeting' * 20}")
    messages: list[tuple[str, object]] = []
    send = replicas._send

    def noted(node: Node, peer: int, message: object) -> None:
        messages.append((node.name, message))
        send(node, peer, message)

    monkeypatch.setattr(replicas, "_send", noted)
    begun_us = replicas.now_us
    replicas.heal()
    assert [replicas.log(name).csn for name in replicas.names] == [320] * 3
    assert replicas.now_us == begun_us
    replies = [message for _, message in messages if isinstance(message, Reply)]
    assert max(sum(len(write.body) for write in reply.updates.writes) for reply in replies) <= NEWS_BYTES_MAX + 1_000
    parts = [reply.updates for reply in replies if reply.updates.more]
    assert parts
    released = {name: message.csn for name, message in messages if isinstance(message, Release)}
    assert max(released.values()) == 320 > parts[-1].csn + len(parts[-1].commits)
    assert not any(replicas.core("biology").primary.unreleased.values())


@pytest.mark.parametrize("policy", ["all-heard", "immediate"])
def test_a_primary_s_own_write_is_confirmed_to_its_user_and_to_all(policy: str) -> None:
    replicas = Replicas("biology law music", policy=policy)
    told = replicas.book("biology", book(9))
    assert ("committed" in told) is (policy == "immediate")
    assert [committed(replicas, name) for name in replicas.names] == [["biology-1"]] * 3


def test_immediate_knows_no_deadline() -> None:
    replicas = Replicas("biology law", policy="immediate")
    replicas.isolate("law")
    assert "firm by" not in replicas.book("law", book(9))
    assert replicas.ask("law", "stable law-1") == "law-1 is tentative."


def test_immediate_asks_for_no_promises() -> None:
    replicas = Replicas("biology law music", policy="immediate")
    replicas.book("law", book(9))
    assert sent(replicas, "Ask", "Promise") == []
    replicas.settled()


def test_a_retry_is_the_first_write_again_and_says_how_firm_that_is() -> None:
    replicas = Replicas("biology law")
    line, granted = f"@liam:1 {book(9)}", "Maple on 2026-12-01 from 09:00 to 10:00 is reserved, as law-1."
    for _ in range(2):
        replicas.submit("law", line)
    replicas.deliver_all()
    replicas.submit("law", line)
    assert [reply.text() for _, _, reply in replicas.replies] == [
        f"{granted} [tentative, law-1, firm by 2026-12-01 08:00 at the latest]",
        f"{granted} [tentative]",
        granted,
    ]
    assert committed(replicas, "law") == ["law-1"], "the retries made no writes of their own"


def test_what_is_tentative_says_by_when_it_is_firm_wherever_it_is_shown() -> None:
    replicas = Replicas("biology law music")
    replicas.isolate("law")
    replicas.submit("law", "reserve Maple 2026-12-01 10:00 1h Meeting")
    by = "2026-12-01 08:00"
    for line in ("show law-1", "mine"):
        assert f"tentative, firm by {by} at the latest, Maple on" in replicas.ask("law", line)
    replicas.jump(25 * 3600 * SECOND_US)
    overdue = f"tentative, was to be firm by {by} (what came of it has not been heard here), Maple on"
    assert overdue in replicas.ask("law", "show law-1")
    replicas.heal()
    replicas.wait(3 * SECOND_US)
    assert "confirmed, Maple on" in replicas.ask("law", "mine")
    assert "firm by" not in replicas.ask("law", "mine")


def test_a_primary_that_got_a_new_id_watches_the_deadlines_of_its_epoch() -> None:
    """Somebody retired its replica while it was away; its process began again before it had a new one."""
    replicas = Replicas("biology law music")
    replicas.isolate("biology")
    assert "biology is waited for no longer" in replicas.book("law", "retire biology")
    replicas.crash("music")
    replicas.connect("biology", "law")
    while replicas.core("biology").replica.state != "joining":
        for one, other in (("law", "biology"), ("biology", "law")):
            if replicas.on_the_way(one, other):
                replicas.deliver(one, other)
    replicas.crash("biology")
    replicas.restart("biology")
    replicas.wait(10 * SECOND_US)
    assert replicas.core("biology").replica.is_primary
    replicas.submit("law", book(12, day="2026-11-30"))
    replicas.jump(4 * HOUR_US)
    replicas.wait(5 * SECOND_US)
    assert "law-1" in committed(replicas, "biology")
    assert replicas.log("biology").tail == []
