"""Who is the primary, and what makes a commit firm."""

from __future__ import annotations

import pytest
from tests.replication.bayou.replicas import SECOND_US, Replicas

from holdfast.replication.bayou.messages import Claim, Store, Vow

MINUTE_US = 60 * SECOND_US
VOTERS = ("biology", "law", "music")


def book(hour: int, room: str = "Maple", day: str = "2026-12-01") -> str:
    return f"reserve {room} {day} {hour:02}:00 1h Meeting"


TODAY = "2026-11-30"


@pytest.fixture
def three() -> Replicas:
    return Replicas("biology law music", voters=VOTERS)


def committed(replicas: Replicas, name: str) -> list[str]:
    return [f"{write.replica}-{write.number}" for write in replicas.log(name).committed]


def epochs(replicas: Replicas) -> list[tuple[int, int]]:
    return [(node.core.replica.epoch, node.core.replica.primary) for node in replicas.running]


# -- One voter, the papers' mode


def test_alone_the_primary_s_word_makes_a_commit() -> None:
    replicas = Replicas("biology")
    assert replicas.book("biology", book(9)).endswith("[committed, biology-1]")


def test_a_hand_over_loses_nothing_and_is_known_to_all() -> None:
    replicas = Replicas("biology law music")
    for hour in range(8, 12):
        replicas.submit("music", book(hour))
    assert replicas.book("biology", "hand-over law") == "law is the primary now, in epoch 65."
    replicas.submit("music", book(12))
    replicas.wait(SECOND_US)
    replicas.settled()
    assert committed(replicas, "biology") == [f"music-{number}" for number in range(1, 6)]
    assert epochs(replicas) == [(65, 1)] * 3
    assert replicas.book("law", "hand-over biology") == "biology is the primary now, in epoch 128."


@pytest.mark.parametrize(
    ("name", "line", "why"),
    [
        ("law", "hand-over music", "biology is the primary; say it there"),
        ("biology", "hand-over biology", "is the primary already"),
        ("biology", "hand-over attic", "there is no node 'attic'"),
        ("law", "take-over", None),
        ("biology", "take-over", "is the primary already"),
    ],
)
def test_operators_words_are_carried_out_or_refused_with_a_reason(name: str, line: str, why: str | None) -> None:
    replicas = Replicas("biology law music")
    text = replicas.book(name, line)
    assert (why in text) if why else "this node" in text or "is the primary now" in text


def test_a_hand_over_to_who_is_not_there_changes_nothing() -> None:
    replicas = Replicas("biology law music")
    replicas.isolate("law")
    assert "no connection to law" in replicas.book("biology", "hand-over law")
    replicas.heal()
    replicas.book("law", book(9))
    replicas.wait(SECOND_US)
    assert committed(replicas, "music") == ["law-1"]
    assert epochs(replicas) == [(0, 0)] * 3


def test_a_hand_over_that_nobody_takes_is_given_up_and_the_primary_goes_on() -> None:
    replicas = Replicas("biology law")
    replicas.submit("biology", "hand-over law")
    replicas.lose("biology", "law")
    replicas.submit("law", book(9))
    replicas.wait(12 * SECOND_US)
    assert "has not claimed in time" in replicas.told("hand-over law")[0]
    assert committed(replicas, "law") == ["law-1"]


def test_with_one_voter_that_is_gone_a_take_over_needs_the_operator_s_word() -> None:
    replicas = Replicas("biology law music")
    replicas.crash("biology")
    assert "take-over --accept-loss" in replicas.book("law", "take-over")
    assert "is the primary now" in replicas.book("law", "take-over --accept-loss")
    assert any("may come out otherwise" in text for kind, text in replicas.lines if kind == "event")
    replicas.submit("music", book(9, day=TODAY))
    replicas.jump(70 * MINUTE_US)
    replicas.wait(3 * SECOND_US)
    assert committed(replicas, "music") == ["music-1"]
    replicas.restart("biology")
    replicas.wait(3 * SECOND_US)
    replicas.settled()


# -- Several voters


def test_a_commit_is_confirmed_when_a_majority_of_the_voters_have_stored_it(three: Replicas) -> None:
    three.autosync = False
    three.submit("law", book(9))
    for _ in range(4):  # until the proposal is on law's way to biology's disk
        for name in three.names:
            while three[name].writing:
                three.sync(name)
        three.deliver("law", "biology") if three.channels[1, 0] else None
        three.deliver("biology", "music") if three.channels[0, 2] else None
        three.deliver("music", "biology") if three.channels[2, 0] else None
    assert three.log("biology").csn == 0
    three.autosync = True
    for name in three.names:
        while three[name].writing:
            three.sync(name)
    three.deliver_all()
    three.wait(SECOND_US)
    three.settled()
    assert three.log("music").csn == 1


def test_with_a_minority_nothing_is_confirmed(three: Replicas) -> None:
    three.isolate("biology")
    three.submit("biology", book(10, day=TODAY))
    three.jump(70 * MINUTE_US)
    three.jump(24 * 60 * MINUTE_US)
    assert three.log("biology").csn == 0
    three.heal()
    three.wait(3 * SECOND_US)
    three.settled()
    assert committed(three, "law") == ["biology-1"]


def test_a_take_over_needs_a_majority_of_the_voters(three: Replicas) -> None:
    three.isolate("law")
    refused = three.book("law", "take-over")
    why = "it takes a majority of the voters, and there is no connection to biology, music now; nothing was changed."
    assert refused == f"Failed: {why}"
    assert (three.core("law").epochs.claimed, three.core("law").replica.vowed) == (0, 0)
    assert "a majority of biology, law, music" in three.book("law", "take-over --accept-loss")


def test_a_claim_that_no_majority_answers_is_given_up_before_who_waits_for_it_gives_up(three: Replicas) -> None:
    """The links stand, and nobody answers: the processes hang."""
    three.submit("law", "take-over")
    assert three.core("law").status()["waiting_for"] == "the word of biology, music, to become the primary"
    for _ in range(18):
        for name in ("biology", "music"):
            three.lose("law", name)
        three.now_us += SECOND_US // 4
        three.wake("law")
    why = "it takes a majority of the voters, and biology, music did not answer; the claim is given up."
    assert three.told("take-over") == [f"Failed: {why}"]
    three.heal()
    three.submit("music", book(9))
    three.wait(60 * SECOND_US)
    three.settled()
    assert epochs(three) == [(0, 0)] * 3, "nobody becomes the primary by itself"
    assert committed(three, "law") == ["music-1"]
    assert "epoch 65" in three.book("law", "take-over")


def test_a_voter_whose_vow_came_too_late_does_not_stop_the_primary_for_long(three: Replicas) -> None:
    """Both voters' vows are lost on their way: they store nothing of the old epoch, and law has given its claim up."""
    three.submit("law", "take-over")
    for name in ("biology", "music"):
        three.deliver("law", name)
        three.lose(name, "law")
    three.isolate("law")
    three.wait(5 * SECOND_US)
    assert "did not answer" in three.told("take-over")[0]
    three.heal()
    three.submit("music", book(9))
    three.wait(30 * SECOND_US)
    three.settled()
    assert epochs(three) == [(128, 0)] * 3, "biology has claimed a later one"
    assert committed(three, "law") == ["music-1"]


def test_who_has_vowed_to_a_later_claim_gives_its_own_up(three: Replicas) -> None:
    """What law would adopt and store now, music would not know of."""
    three.submit("law", "take-over")
    three.submit("music", "take-over")
    three.deliver("music", "law")
    three.deliver("law", "biology")
    three.deliver("biology", "law")
    assert not three.core("law").replica.is_primary
    assert "a later epoch, 66, has been claimed" in three.told("take-over")[0]
    three.wait(10 * SECOND_US)
    assert epochs(three) == [(66, 2)] * 3


def test_an_old_primary_that_is_cut_off_confirms_nothing(three: Replicas) -> None:
    three.isolate("biology")
    three.submit("biology", book(10, day=TODAY))
    assert "is the primary now" in three.book("law", "take-over")
    three.jump(70 * MINUTE_US)
    three.submit("music", book(12, day=TODAY))
    three.jump(110 * MINUTE_US)
    three.wait(3 * SECOND_US)
    assert three.log("biology").csn == 0
    assert committed(three, "law") == ["music-1"]
    three.heal()
    three.wait(3 * SECOND_US)
    three.settled()
    assert committed(three, "biology") == ["music-1", "biology-1"]


def test_an_old_primary_that_missed_the_take_over_is_refused_by_the_voters(three: Replicas) -> None:
    """It is not told of the new epoch; its proposals reach a voter all the same."""
    three.disconnect("biology", "law")
    assert "is the primary now" in three.book("law", "take-over")
    three.isolate("biology")
    replica = three.core("music").replica
    vowed = replica.vowed
    write = three.log("biology").tail
    assert write == []
    three.hear("music", "biology", Store(0, 0, 0, (), 0))
    assert replica.vowed == vowed == 65
    assert replica.proposed == []


def test_what_a_majority_may_have_stored_survives_its_primary(three: Replicas) -> None:
    """biology confirmed it with law's vote, told nobody, and is gone."""
    three.submit("law", book(9))
    three.deliver("law", "biology")
    three.deliver("biology", "music")
    three.deliver("music", "biology")
    three.deliver("biology", "law")
    three.deliver("law", "biology")
    assert committed(three, "biology") == ["law-1"]
    three.isolate("biology")
    assert three.log("law").csn == 0
    assert "is the primary now" in three.book("music", "take-over")
    three.wait(SECOND_US)
    assert committed(three, "music") == ["law-1"]
    assert three.log("music").epoch_at(1) == 0, "adopted as it was first proposed"
    three.heal()
    three.wait(3 * SECOND_US)
    three.settled()


def test_a_voter_vows_once_and_to_later_epochs_only(three: Replicas) -> None:
    three.hear("music", "law", Claim(65, 0))
    three.hear("music", "biology", Claim(64, 0))
    said = [text for kind, text in three.lines if kind in ("Vow", "ClaimRefused")]
    assert said == ["music -> law Vow epoch 65, nothing after 0", "music -> biology ClaimRefused for epoch 65"]
    three.hear("music", "law", Claim(65, 0))
    assert [text for kind, text in three.lines if kind == "Vow"] == [said[0]] * 2, "asked again, told again"


def test_a_vow_is_on_the_disk_before_it_is_told(three: Replicas) -> None:
    three.autosync = False
    three.hear("music", "law", Claim(65, 0))
    assert not [text for kind, text in three.lines if kind == "Vow"]
    three.sync("music")
    assert [text for kind, text in three.lines if kind == "Vow"]
    three.autosync = True
    three.crash("music")
    three.restart("music")
    assert three.core("music").replica.vowed == 65


def test_a_vow_of_a_later_claim_s_voter_counts_for_that_claim_only(three: Replicas) -> None:
    three.submit("law", "take-over")
    three.lose("law", "biology")
    three.lose("law", "music")
    three.hear("law", "music", Vow(64, 0, (), ()))
    assert not three.core("law").replica.is_primary
    three.hear("law", "music", Vow(65, 0, (), ()))
    assert three.core("law").replica.is_primary


def test_a_claim_ends_with_the_state_that_tells_of_a_later_epoch(three: Replicas) -> None:
    """law vows to it while music lacks what law knows to be confirmed: the claim waits, and is forgotten elsewhere."""
    three.isolate("music")
    three.submit("law", book(9))
    three.deliver_all()
    three.wait(SECOND_US)
    three.jump(24 * 60 * MINUTE_US)
    for voter in ("biology", "law"):
        three.connect("music", voter)
    three.submit("music", "take-over")
    three.isolate("music")
    for voter in ("biology", "law"):
        three.hear("music", voter, Vow(66, 1, (), ()))
    three.wait(5 * SECOND_US)
    assert "So the claim stands: this node becomes the primary when that comes" in three.told("take-over")[0]
    waiting_for = "what the voters have confirmed, to become the primary"
    assert three.core("music").status()["waiting_for"] == waiting_for
    assert "is the primary now" in three.book("biology", "hand-over law")
    assert "is the primary now" in three.book("law", "hand-over biology")
    for name in ("biology", "law"):
        assert "dropped" in three.book(name, "truncate")
    three.hear("music", "biology", three.core("biology").transfer.freeze(1 << 20).part(0))
    three.wait(3 * SECOND_US)
    assert three.log("music").omitted == three.log("biology").csn == 1, "it has taken the state"
    assert epochs(three) == [(128, 0)] * 3
    three.heal()
    three.wait(3 * SECOND_US)
    three.settled()


def test_only_a_voter_may_lead() -> None:
    replicas = Replicas("biology law music physics", voters=VOTERS)
    assert "none of the voters" in replicas.book("physics", "take-over")
    assert "none of the voters" in replicas.book("biology", "hand-over physics")


def test_proposals_outlive_a_crash_of_all_voters(three: Replicas) -> None:
    three.submit("law", book(9))
    three.deliver("law", "biology")
    three.deliver("biology", "music")
    three.deliver("music", "biology")
    three.deliver("biology", "law")
    assert [len(three.core(name).replica.proposed) for name in three.names] == [1, 1, 0]
    three.crash(*three.names)
    for name in three.names:
        three.restart(name)
    three.wait(5 * SECOND_US)
    three.settled()
    assert committed(three, "music") == ["law-1"]


def test_a_voter_s_empty_disk_votes_when_it_has_learnt_what_the_others_know(three: Replicas) -> None:
    three.book("law", book(9))
    three.crash("music")
    three.empty_disk("music")
    three.isolate("music")
    three.restart("music")
    assert not three.core("music").replica.votes
    three.heal()
    three.wait(5 * SECOND_US)
    assert three.core("music").replica.votes
    three.settled()


def test_the_primary_s_own_empty_disk_is_no_primary_any_more() -> None:
    replicas = Replicas("biology law music")
    replicas.book("law", book(9))
    replicas.crash("biology")
    replicas.empty_disk("biology")
    replicas.restart("biology")
    replicas.wait(5 * SECOND_US)
    assert not replicas.core("biology").replica.is_primary
    replicas.submit("law", book(10))
    replicas.wait(SECOND_US)
    assert replicas.log("law").csn == 1
    assert "is the primary now" in replicas.book("biology", "take-over --accept-loss")
    replicas.wait(3 * SECOND_US)
    replicas.settled()


def test_two_empty_disks_of_five_learn_nothing_from_each_other() -> None:
    names = ("biology", "law", "music", "physics", "history")
    replicas = Replicas(" ".join(names), voters=names)
    replicas.book("law", book(9))
    replicas.crash("law", "music")
    for name in ("law", "music"):
        replicas.empty_disk(name)
        replicas.restart(name)
    replicas.isolate("history")
    replicas.wait(10 * SECOND_US)
    assert [replicas.core(name).replica.votes for name in names] == [True, False, False, True, True]
    replicas.heal()
    replicas.wait(10 * SECOND_US)
    assert all(replicas.core(name).replica.votes for name in names)
    replicas.submit("music", book(10))
    replicas.wait(3 * SECOND_US)
    replicas.settled()


def test_site_files_that_name_other_voters_are_told_at_both_ends_until_they_are_alike() -> None:
    """A node that missed the change confirms by itself while the others confirm by their majority."""
    voters = ("biology", "law", "music")
    replicas = Replicas("biology law music", voters=voters)
    replicas.crash("biology")
    replicas.restart("biology", voters=())
    replicas.wait(2 * SECOND_US)
    for name, other in (("biology", "law, music"), ("law", "biology"), ("music", "biology")):
        assert f"the site file of {other} names other voters" in replicas.core(name).status()["warning"]
    assert "make them alike" in replicas.book("law", book(9))
    replicas.crash("biology")
    replicas.restart("biology", voters=("music", "biology", "law"))
    replicas.wait(2 * SECOND_US)
    assert [replicas.core(name).status()["warning"] for name in replicas.names] == ["", "", ""]


def test_a_voter_under_a_new_id_counts_at_once_and_not_when_it_happens_to_be_asked() -> None:
    """Its word is of a replica that the primary knows there as soon as it takes part; music is away."""
    replicas = Replicas(
        "biology law music", voters=("biology", "law", "music"), policy="immediate", sync_us=60 * MINUTE_US
    )
    replicas.isolate("law")
    assert "law is waited for no longer" in replicas.book("biology", "retire law")
    replicas.connect("law", "biology")
    replicas.crash("music")
    replicas.wait(10 * SECOND_US)
    assert replicas.core("law").replica.state == "active"
    assert replicas.core("law").replica.replica != "law"
    assert "is reserved" in replicas.book("law", book(9))
    replicas.wait(10 * SECOND_US)
    assert replicas.log("biology").tail == []
