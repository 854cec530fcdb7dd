"""A primary whose part is on its way to another: what it may still confirm, and who may take it."""

from __future__ import annotations

from tests.replication.bayou.replicas import SECOND_US, Replicas

VOTERS = ("biology", "law", "music", "physics", "history")


def book(hour: int, room: str = "Maple") -> str:
    return f"reserve {room} 2026-12-01 {hour:02}:00 1h Meeting"


def committed(replicas: Replicas, name: str) -> list[str]:
    return [f"{write.replica}-{write.number}" for write in replicas.log(name).committed]


def kinds(replicas: Replicas, one: str, other: str) -> list[str]:
    """What is on its way from one to the other."""
    return [type(message).__name__ for message in replicas.on_the_way(one, other)]


# -- One voter, the papers' mode


def test_a_primary_that_has_given_its_word_away_confirms_nothing_more() -> None:
    """The vow says what it has confirmed; the new primary numbers its own commits from there on."""
    replicas = Replicas("biology law music", policy="immediate")
    replicas.book("biology", book(9))
    replicas.submit("law", "take-over")
    while kinds(replicas, "law", "biology"):
        replicas.deliver("law", "biology")
    assert kinds(replicas, "biology", "law") == ["Vow"]
    csn = replicas.log("biology").csn
    replicas.submit("biology", book(10))
    assert replicas.log("biology").csn == csn == 1
    assert replicas.told(book(10)) != []
    assert "tentative" in replicas.told(book(10))[0]

    replicas.crash("biology")
    replicas.restart("biology")
    replicas.submit("biology", book(11))
    assert replicas.log("biology").csn == csn, "nor after a restart"
    replicas.wait(5 * SECOND_US)
    replicas.settled()
    assert committed(replicas, "biology") == ["biology-1", "biology-2", "biology-3"]
    assert [replicas.log("law").epoch_at(number) for number in (1, 2, 3)] == [0, 65, 65]


def test_a_primary_that_hands_over_confirms_nothing_until_it_knows_what_became_of_it() -> None:
    replicas = Replicas("biology law music", policy="immediate")
    replicas.submit("biology", "hand-over law")
    assert kinds(replicas, "biology", "law") == ["Yield"]
    replicas.submit("biology", book(9))
    assert replicas.log("biology").csn == 0
    replicas.deliver_all()
    assert replicas.told("hand-over law") == ["law is the primary now, in epoch 65."]
    replicas.settled()
    assert committed(replicas, "biology") == ["biology-1"]
    assert replicas.log("biology").epoch_at(1) == 65, "by the new primary's word"


def test_who_is_handed_the_part_waits_for_the_primary_s_word_whoever_has_not_said_that_a_loss_is_accepted() -> None:
    """The word is lost on its way, and then the primary is gone: nobody else knows what it has confirmed."""
    replicas = Replicas("biology law music", policy="immediate")
    replicas.submit("biology", "hand-over law")
    replicas.deliver("biology", "law")
    replicas.isolate("biology")
    replicas.wait(60 * SECOND_US)
    assert [replicas.core(name).replica.epoch for name in replicas.names] == [0, 0, 0]
    assert replicas.core("law").status()["waiting_for"] == "the word of biology, to become the primary"
    assert replicas.core("law").status()["accepted_loss"] == ""
    replicas.heal()
    replicas.wait(5 * SECOND_US)
    assert [replicas.core(name).replica.epoch for name in replicas.names] == [65, 65, 65]
    replicas.settled()


# -- Several voters


def test_a_new_disk_votes_only_when_the_primary_has_heard_of_it() -> None:
    """The primary may still count what the old disk has stored; with the new one's vote as well, a majority that
    knows nothing of it could begin an epoch without it."""
    replicas = Replicas(" ".join(VOTERS), voters=VOTERS)
    replicas.crash("history")
    replicas.empty_disk("history")
    replicas.disconnect("biology", "history")
    replicas.restart("history")
    replicas.wait(10 * SECOND_US)
    new = replicas.core("history").replica
    assert new.state == "active", "three others have told it all that they know"
    assert not new.votes
    replicas.isolate("law", "music", "history")
    replicas.submit("law", "take-over")
    replicas.wait(10 * SECOND_US)
    assert not replicas.core("law").replica.is_primary
    assert "history did not answer" in replicas.told("take-over")[0]
    replicas.heal()
    replicas.wait(10 * SECOND_US)
    assert new.votes
    replicas.settled()


def test_what_a_voter_has_stored_behind_another_s_commit_is_worth_nothing() -> None:
    """music has stored biology's two bookings as the first commits; a majority has confirmed another one instead.
    The second of them cannot be adopted without the first."""
    replicas = Replicas(" ".join(VOTERS), voters=VOTERS, policy="immediate")
    replicas.isolate("biology", "music")
    replicas.submit("biology", book(9), book(10))
    replicas.deliver_all()
    replicas.isolate("music")
    music = replicas.core("music").replica
    assert [(write.replica, write.number) for _, write in music.proposed] == [("biology", 1), ("biology", 2)]
    assert replicas.log("biology").csn == 0, "two of five have stored them"

    assert "is the primary now" in replicas.book("law", "take-over")
    replicas.book("law", book(11))
    replicas.wait(SECOND_US)
    replicas.isolate("law")
    replicas.connect("music", "history")
    replicas.wait(3 * SECOND_US)
    assert committed(replicas, "music") == committed(replicas, "history") == ["law-1"]
    assert (music.proposed, music.ballots) == ([], [])
    replicas.connect("music", "physics")
    assert "is the primary now" in replicas.book("music", "take-over")
    replicas.heal()
    replicas.wait(5 * SECOND_US)
    replicas.settled()
    assert committed(replicas, "biology") == ["law-1", "biology-1", "biology-2"]
