"""Take-overs that accept a loss: histories that part, and what becomes of what was lost with one of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.replication.bayou.replicas import SECOND_US, Replicas

from holdfast.kernel.contracts import Reading, Request
from holdfast.replication.bayou.messages import Claim, Undone, Updates, Vow

MINUTE_US = 60 * SECOND_US


def book(hour: int, room: str = "Maple") -> str:
    return f"reserve {room} 2026-12-01 {hour:02}:00 1h Meeting"


class Numbered(Replicas):
    """Users whose commands bear numbers, as those of every client do."""

    number = 0

    def request(self, name: str, line: str, reading: Reading | None = None) -> Request:
        self.number += 1
        return msgspec.structs.replace(super().request(name, line, reading), client=name, number=self.number)


def apart(names: str, *, kind: type[Replicas] = Numbered, **options: Any) -> Replicas:
    """Replicas that commit at once, each cut off from all others."""
    replicas = kind(names, policy="immediate", **options)
    for name in replicas.names:
        replicas.isolate(name)
    return replicas


def take_over(replicas: Replicas, name: str) -> None:
    assert "is the primary now" in replicas.book(name, "take-over --accept-loss")


def commits(replicas: Replicas, name: str) -> list[tuple[str, int]]:
    log = replicas.log(name)
    names = [f"{write.replica}-{write.number}" for write in log.committed]
    return [(text, log.epoch_at(csn)) for csn, text in enumerate(names, log.omitted + 1)]


def settle(replicas: Replicas) -> None:
    replicas.heal()
    replicas.wait(30 * SECOND_US)
    replicas.settled()


def test_of_two_histories_the_one_whose_last_commit_is_of_the_later_epoch_stands() -> None:
    replicas = apart("biology law music")
    replicas.book("biology", book(9))
    replicas.book("biology", book(10))
    take_over(replicas, "law")
    replicas.book("law", book(9, "Oak"))
    settle(replicas)
    assert commits(replicas, "law") == [("law-1", 65), ("biology-1", 65), ("biology-2", 65)]


def test_who_accepts_a_loss_is_told_what_may_clash_and_later_what_was_undone() -> None:
    replicas = Numbered("biology law music", policy="immediate")
    replicas.book("biology", book(9))
    replicas.wait(SECOND_US)
    replicas.isolate("law", "music")
    replicas.book("biology", book(10))
    replicas.submit("music", book(10))
    replicas.deliver_all()
    answer = replicas.book("law", "take-over --accept-loss")
    assert "What biology has confirmed after commit 1, and this replica has not seen, may come out otherwise" in answer
    assert answer.endswith("Tentative here, and to be confirmed without its word: music-1.")
    replicas.crash("law")
    replicas.restart("law")
    replicas.wait(3 * SECOND_US)
    told = replicas.core("law").status()["accepted_loss"]
    assert told.startswith("the loss of biology was accepted after commit 1; biology has not been met since")
    assert told.endswith("confirmed without its word, or to be: music-1")

    settle(replicas)
    told = "the loss of biology was accepted after commit 1; undone, though confirmed before: biology-2"
    assert replicas.core("law").status()["accepted_loss"] == told
    assert any(
        text == "law: undone by the accepted loss, as biology had them as confirmed: biology-2"
        for kind, text in replicas.lines
        if kind == "event"
    )
    for name in ("biology", "law"):
        replicas.crash(name)
        replicas.restart(name)
    settle(replicas)
    assert replicas.core("law").status()["accepted_loss"] == told
    undone = "biology-2 had been confirmed by a primary whose loss an operator has accepted since, and decided anew"
    assert undone in replicas.ask("biology", "mine")
    assert "late: " in replicas.ask("biology", "mine")
    replicas.jump(25 * 60 * MINUTE_US)
    assert undone not in replicas.ask("biology", "mine")
    assert replicas.core("law").status()["accepted_loss"] == ""


def test_where_nothing_was_undone_it_is_told_when_the_old_primary_is_back() -> None:
    replicas = Numbered("biology law", policy="immediate")
    replicas.isolate("biology")
    assert "Nothing here is tentative now." in replicas.book("law", "take-over --accept-loss")
    settle(replicas)
    told = "biology is back, and nothing that it had confirmed is known to be undone"
    assert told in replicas.core("law").status()["accepted_loss"]


def test_where_three_meet_one_stands_though_another_was_later_where_they_parted() -> None:
    replicas = apart("biology law music")
    replicas.book("biology", book(9))
    take_over(replicas, "law")
    replicas.book("law", book(9, "Oak"))
    replicas.connect("biology", "music")
    replicas.wait(2 * SECOND_US)
    replicas.isolate("music")
    take_over(replicas, "music")
    replicas.book("music", book(9, "Elm"))
    assert commits(replicas, "law") == [("law-1", 65)]
    assert commits(replicas, "music") == [("biology-1", 0), ("music-1", 66)]
    settle(replicas)
    assert commits(replicas, "music") == [("biology-1", 0), ("music-1", 66), ("law-1", 66)]


@pytest.mark.parametrize("at", [0, 65])
def test_commits_are_taken_only_where_they_follow_what_their_sender_has(at: int) -> None:
    replicas = apart("biology law")
    replicas.book("biology", book(9))
    take_over(replicas, "law")
    replicas.book("law", book(9, "Oak"))
    replicas.submit("biology", book(10))
    log = replicas.log("law")
    log_before = commits(replicas, "biology")
    late = Updates((("biology", 2),), tuple(log.committed), 2, (("law", 1),), ((3, 65),), 65, 1, at=at)
    replicas.hear("biology", "law", late)
    assert (commits(replicas, "biology") == log_before) == (at == 65), "biology's second commit is of epoch 0"


def test_what_waits_in_quarantine_does_not_come_in_behind_a_gap() -> None:
    replicas = apart("biology law music", forward_bound_ms=5 * 60_000)
    replicas.connect("biology", "law")
    replicas.book("law", book(9))
    replicas["law"].skew_ms = 3_600_000
    replicas.isolate("law")
    replicas.submit("law", book(10))
    replicas.connect("biology", "law")
    replicas.deliver_all()
    assert list(replicas.core("biology").replica.held) == ["law"]
    replicas.isolate("law")
    replicas.book("biology", "truncate")
    take_over(replicas, "music")
    replicas.book("music", book(9, "Elm"))
    replicas.connect("biology", "music")
    replicas.wait(3 * SECOND_US)
    assert not replicas.core("biology").replica.held
    replicas["law"].skew_ms = 0
    replicas.jump(61 * MINUTE_US)
    settle(replicas)
    told = replicas.ask("music", "schedule 2026-12-01", "committed")
    assert "Maple 10:00-11:00 Liam" in told, "law still has it, and made it anew"


def test_what_a_lost_replica_wrote_whose_creation_is_lost_is_made_anew_by_who_has_it() -> None:
    replicas = apart("biology law music +chemistry", committed_kept_max=0)
    replicas.connect("biology", "law")
    replicas.connect("biology", "chemistry")
    replicas.restart("chemistry")
    replicas.wait(2 * SECOND_US)
    assert replicas.core("chemistry").replica.replica == "chemistry~1chemi"
    replicas.isolate("law", "chemistry")
    replicas.connect("law", "chemistry")
    assert "chemistry~1chemi-1" in replicas.book("chemistry", book(9))
    replicas.wait(2 * SECOND_US)
    replicas.crash("chemistry")
    take_over(replicas, "music")
    replicas.book("music", book(10))
    replicas.heal()
    replicas.wait(10 * SECOND_US)
    replicas.settled()
    told = replicas.ask("music", "schedule 2026-12-01", "committed")
    assert "Maple 09:00-10:00" in told
    assert "chemistry~1chemi" not in replicas.log("music").members
    assert replicas.ask("law", "stable chemistry~1chemi-1").startswith("law-1 is committed")
    replicas.restart("chemistry")
    settle(replicas)
    assert told == replicas.ask("chemistry", "schedule 2026-12-01", "committed"), "of two copies one is executed"


def test_who_has_claimed_a_lone_voter_s_word_takes_it_up_again_after_a_restart_also_on_a_new_disk() -> None:
    replicas = Replicas("biology law +music")
    replicas.restart("music")
    replicas.wait(2 * SECOND_US)
    replicas.submit("biology", "hand-over music")
    replicas.deliver("biology", "music")
    replicas.deliver("music", "biology")
    assert replicas.core("biology").replica.vowed > 0
    replicas.crash("music")
    replicas.restart("music")
    assert "about to be" in replicas.book("music", "retire")
    replicas.wait(5 * SECOND_US)
    assert replicas.core("music").replica.is_primary
    replicas.book("law", book(9))
    replicas.wait(SECOND_US)
    replicas.settled()


def test_a_lone_voter_s_word_to_an_earlier_disk_is_not_taken_up_by_the_next_one() -> None:
    replicas = Replicas("biology law music")
    replicas.submit("biology", "hand-over music")
    replicas.deliver("biology", "music")
    replicas.deliver("music", "biology")
    given = replicas.core("biology").replica.vowed
    replicas.crash("music")
    replicas.empty_disk("music")
    replicas.restart("music")
    replicas.wait(5 * SECOND_US)
    assert not replicas.core("music").replica.is_primary
    replicas.submit("music", "take-over")
    replicas.wait(5 * SECOND_US)
    assert [node.core.replica.epoch for node in replicas.running] == [0, 0, 0]
    take_over(replicas, "music")
    replicas.wait(5 * SECOND_US)
    epoch = replicas.core("law").replica.epoch
    assert epoch > given
    assert epoch % 64 == 2


def test_a_claim_is_void_when_another_s_has_come_before_it() -> None:
    replicas = Replicas("biology law music")
    replicas.submit("biology", "hand-over law")
    replicas.deliver("biology", "law")
    replicas.deliver("law", "biology")
    replicas.submit("music", "take-over")
    replicas.wait(5 * SECOND_US)
    assert replicas.told("take-over") == ["Failed: law has become the primary instead."]
    for name in ("music", "biology"):
        assert "may be stopped for good" in replicas.book(name, "retire"), "it is not about to be the primary"


def test_a_lone_voter_gives_its_word_to_who_knows_of_its_epoch_only() -> None:
    """A claim that is overtaken on its way is void where it was made: nobody would take up that word."""
    replicas = Replicas("biology law music")
    assert "epoch 65" in replicas.book("biology", "hand-over law")
    replicas.hear("law", "music", Claim(130, 0, 0))
    replicas.wait(5 * SECOND_US)
    assert replicas.core("law").replica.vowed == 65
    replicas.book("music", book(9))
    replicas.wait(SECOND_US)
    replicas.settled()


def back_and_forth(replicas: Replicas) -> None:
    """law took over with biology's word, though its operator had accepted a loss, and gave the epoch back."""
    assert "epoch 65" in replicas.book("law", "take-over --accept-loss")
    assert replicas.core("law").replica.loss is None
    replicas.book("law", "hand-over biology")
    replicas.wait(5 * SECOND_US)
    assert replicas.core("biology").replica.is_primary


def test_an_accepted_loss_is_for_that_claim_alone_and_not_for_a_later_one_that_is_slow() -> None:
    replicas = Numbered("biology law music")
    back_and_forth(replicas)
    replicas.submit("biology", "hand-over law")
    replicas.deliver("biology", "law")
    replicas.submit("biology", book(9))
    for _ in range(9):  # law's claim is 2.2 s on its way
        replicas.now_us += SECOND_US // 4
        replicas.wake("law")
    assert replicas.core("law").replica.loss is None
    assert not replicas.core("law").replica.is_primary


def test_an_accepted_loss_is_for_that_claim_alone_and_not_for_a_later_one_that_is_lost() -> None:
    """Or two primaries would confirm, and nobody has accepted it."""
    replicas = Numbered("biology law music")
    back_and_forth(replicas)
    replicas.submit("biology", "hand-over law")
    replicas.deliver("biology", "law")
    replicas.lose("law", "biology")
    replicas.disconnect("biology", "law")
    replicas.disconnect("law", "music")
    replicas.wait(10 * SECOND_US)
    assert replicas.core("biology").replica.is_primary
    assert not replicas.core("law").replica.is_primary
    replicas.book("biology", book(14))
    replicas.book("law", book(14))
    settle(replicas)
    assert replicas.core("law").replica.loss is None
    assert "confirmed biology-1" in replicas.ask("law", "schedule 2026-12-01", "committed")


def test_with_the_voter_s_word_in_hand_no_loss_is_taken() -> None:
    """What it has confirmed is on its way, and takes longer than an answer is waited for."""
    replicas = Numbered("biology law music", policy="immediate")
    replicas.isolate("law")
    replicas.book("music", book(9))
    replicas.deliver_all()
    assert commits(replicas, "biology") == [("music-1", 0)]
    replicas.disconnect("biology", "music")
    replicas.connect("biology", "law")
    replicas.submit("law", "take-over --accept-loss")
    law = replicas.core("law")
    while not (words := [it for it in replicas.on_the_way("biology", "law") if isinstance(it, Vow)]):
        replicas.deliver("law", "biology")
    replicas.hear("law", "biology", words[0])  # before what it has confirmed
    assert law.epochs.vows
    assert law.replica.log.csn == 0
    for _ in range(12):
        replicas.now_us += SECOND_US // 4
        replicas.wake("law")
    assert not law.replica.is_primary
    replicas.deliver_all()
    assert law.replica.is_primary
    assert law.replica.loss is None
    assert commits(replicas, "law") == [("music-1", 0)]


def parted() -> Replicas:
    """biology, the primary, is cut off, and law has taken over, accepting its loss."""
    replicas = Numbered("biology law music", policy="immediate")
    replicas.book("music", book(9))
    replicas.isolate("biology")
    take_over(replicas, "law")
    return replicas


def test_a_primary_whose_loss_was_accepted_confirms_nothing_once_a_file_tells_it() -> None:
    """Epochs do not go back along the commits, whatever way they come."""
    replicas = parted()
    replicas.book("law", book(14, "Oak"))
    assert commits(replicas, "law") == [("music-1", 0), ("law-1", 65)]
    for part in replicas.export("law"):
        replicas.take("biology", part)
    assert commits(replicas, "biology") == commits(replicas, "law")
    replicas.book("biology", book(15, "Elm"))
    assert not replicas.core("biology").replica.is_primary
    assert commits(replicas, "biology") == commits(replicas, "law")
    settle(replicas)
    assert commits(replicas, "law") == [("music-1", 0), ("law-1", 65), ("biology-1", 65)]


def test_what_was_undone_is_told_again_where_the_link_broke_as_it_was_told() -> None:
    replicas = parted()
    replicas.book("biology", book(14, "Oak"))
    replicas.book("law", book(14, "Elm"))
    replicas.connect("biology", "law")
    pairs = (("law", "biology"), ("biology", "law"))
    while not any(isinstance(message, Undone) for message in replicas.on_the_way("biology", "law")):
        assert replicas.now_us < 60 * SECOND_US, "biology never tells"
        for one, other in pairs:
            if replicas.on_the_way(one, other):
                replicas.deliver(one, other)
        replicas.now_us += SECOND_US // 4
        for one, _ in pairs:
            replicas.wake(one)
    replicas.disconnect("biology", "law")
    settle(replicas)
    assert "undone, though confirmed before: biology-1" in replicas.core("law").status()["accepted_loss"]
