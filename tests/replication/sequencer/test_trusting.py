"""An operator's word that a replica is right: taken only where the vote cannot decide, and only until it can again."""

from __future__ import annotations

import pytest
from tests.replication.sequencer.nodes import Nodes
from tests.replication.sequencer.test_council import Ordered

from holdfast.kernel.contracts import Person, Request
from holdfast.kernel.replies import Forbidden
from holdfast.replication.sequencer.council import Council, Word
from holdfast.replication.sequencer.messages import DigestAt, NeedCopy, Restored, Silent, Split, Trust
from holdfast.replication.sequencer.words import OPERATOR
from holdfast.replication.sequencer.words import Trust as TrustWord

UNDECIDED = "the vote can decide by itself"


def lost(order: Ordered, *managers: int) -> None:
    """These replicas are gone."""
    for manager in managers:
        order.control(NeedCopy(manager, order.council.lives[manager], "it crashed", True))


def voted(order: Ordered, number: int, **digests: bytes) -> None:
    """`r0=b"x"`: that one says that this is its state as of the number."""
    for name, digest in digests.items():
        manager = int(name[1:])
        order.control(DigestAt(manager, order.council.lives[manager], number, digest))


def trusted(order: Ordered, manager: int) -> str:
    """An operator says so; why it is not taken."""
    order.control(Trust(manager))
    return order.council.refusal


def test_it_is_refused_while_enough_replicas_have_a_state() -> None:
    order = Ordered()
    assert trusted(order, 0) == UNDECIDED
    lost(order, 2)
    assert trusted(order, 0) == UNDECIDED
    assert order.council.word is None
    assert order.council.lives == {0: 0, 1: 0, 2: 1}


def test_it_is_taken_where_one_alone_has_a_state_and_the_others_are_begun_anew_from_it() -> None:
    order = Ordered()
    lost(order, 1, 2)
    assert trusted(order, 0) == ""
    number = order.council.position
    assert order.council.word == Word(0, number, 0, ())
    assert {manager: (copy.number, copy.donor) for manager, copy in order.council.copies.items()} == {
        1: (number, 0),
        2: (number, 0),
    }


def test_it_is_refused_for_one_without_a_state() -> None:
    order = Ordered()
    lost(order, 1, 2)
    assert "no state" in trusted(order, 1)
    assert order.council.word is None


def test_it_is_refused_for_one_that_gives_no_results() -> None:
    order = Ordered()
    lost(order, 1, 2)
    order.control(Silent(0, order.requests()))
    assert "gives no results" in trusted(order, 0)


def test_said_twice_it_changes_nothing_more() -> None:
    order = Ordered()
    lost(order, 1, 2)
    trusted(order, 0)
    before = (order.council.word, dict(order.council.copies), dict(order.council.lives))
    assert trusted(order, 0) == ""
    assert (order.council.word, order.council.copies, order.council.lives) == before


def test_while_one_is_trusted_one_that_has_its_state_is_not() -> None:
    order = Ordered(5, 3)
    lost(order, 3, 4)
    order.control(Silent(2, order.requests()))
    assert trusted(order, 0) == ""
    assert "no state" in trusted(order, 4)
    order.control(Restored(1, order.council.lives[1], order.council.position))
    assert "trusted already" in trusted(order, 1)


def test_who_is_begun_anew_by_the_word_only_keeps_its_state_until_then_and_has_it_when_the_trusted_one_is_gone() -> (
    None
):
    order = Ordered()
    lost(order, 2)
    voted(order, order.council.copies[2].number, r0=b"x", r1=b"y")
    trusted(order, 0)
    assert order.council.word is not None
    assert order.council.word.kept == (1,)
    lost(order, 0)
    assert order.council.word is None
    assert sorted(order.council.copies) == [0, 2]
    assert order.council.copies[0].donor == 1
    assert trusted(order, 1) == ""


def test_a_later_word_for_one_that_has_kept_its_state_takes_the_first_back() -> None:
    order = Ordered()
    lost(order, 2)
    voted(order, order.council.copies[2].number, r0=b"x", r1=b"y")
    trusted(order, 0)
    assert trusted(order, 1) == ""
    assert order.council.word == Word(1, order.council.position, 0, (0,))
    assert sorted(order.council.copies) == [0, 2]
    order.control(Restored(0, order.council.lives[0], order.council.position))
    assert order.council.trusted is None
    assert trusted(order, 0) == UNDECIDED


def test_it_is_taken_where_those_with_a_state_have_voted_and_differ() -> None:
    order = Ordered()
    lost(order, 2)
    number = order.council.copies[2].number
    voted(order, number, r0=b"x")
    assert trusted(order, 1) == UNDECIDED
    voted(order, number, r1=b"y")
    assert trusted(order, 1) == ""
    assert sorted(order.council.copies) == [0, 2]


def test_a_later_vote_that_has_not_come_in_does_not_hide_that_they_differ_and_one_that_is_alike_does() -> None:
    order = Ordered()
    lost(order, 2)
    voted(order, order.council.copies[2].number, r0=b"x", r1=b"y")
    later = order.requests()
    voted(order, later, r0=b"z")
    assert order.council.is_undecided
    voted(order, later, r1=b"z")
    assert not order.council.is_undecided


def test_one_that_is_suspected_is_not_waited_for_and_one_that_has_voted_again_is() -> None:
    order = Ordered()
    lost(order, 2)
    order.control(Silent(1, order.requests()))
    assert order.council.is_undecided
    voted(order, order.requests(), r1=b"x")
    assert trusted(order, 0) == UNDECIDED


def test_it_is_taken_where_all_that_have_a_state_have_answered_and_too_few_alike() -> None:
    order = Ordered()
    order.control(Split(order.requests(), (0, 1)))
    assert trusted(order, 0) == UNDECIDED
    order.control(Split(order.requests(), (0, 1, 2)))
    assert trusted(order, 0) == ""
    assert sorted(order.council.copies) == [1, 2]


def test_results_that_differ_while_a_copy_is_on_its_way_are_waited_out() -> None:
    order = Ordered()
    lost(order, 2)
    order.control(Split(order.requests(), (0, 1)))
    assert trusted(order, 0) == UNDECIDED
    order.control(Silent(2, order.council.position))
    assert order.council.is_undecided
    order.control(Restored(2, 1, order.council.copies[2].number))
    assert trusted(order, 0) == UNDECIDED


def test_its_vote_counts_alone_from_its_number_on_until_enough_are_restored() -> None:
    order = Ordered()
    lost(order, 1, 2)
    before = order.council.position
    voted(order, before, r0=b"x")
    trusted(order, 0)
    since = order.council.position
    voted(order, since, r0=b"x")
    between = order.requests()
    voted(order, between, r0=b"x")
    assert order.council.agreed(between) == b"x"
    assert order.council.agreed(before) is None
    assert order.council.agreed(since) == b"x"
    assert order.council.stable == between
    order.control(Restored(1, order.council.lives[1], since))
    assert order.council.trusted is None
    assert order.council.agreed(since) == b"x"  # whoever else is copying the state as of then
    assert order.council.agreed(between) is None
    voted(order, between, r1=b"y")  # it has come there, and goes on otherwise: the vote tells who is right
    assert order.council.copies.keys() == {2}


def test_who_differs_from_the_trusted_one_is_replaced() -> None:
    order = Ordered(5, 3)
    lost(order, 3, 4)
    number = order.requests()
    voted(order, number, r0=b"x", r1=b"x", r2=b"y")
    assert trusted(order, 0) == ""
    assert sorted(order.council.copies) == [2, 3, 4]  # 1 is known to be like it
    voted(order, order.council.position, r0=b"v", r1=b"w")
    assert sorted(order.council.copies) == [1, 2, 3, 4]
    assert order.council.replacements == 1
    assert {copy.donor for copy in order.council.copies.values()} == {0}


def test_the_word_is_over_when_the_trusted_one_is_gone() -> None:
    order = Ordered()
    lost(order, 1, 2)
    trusted(order, 0)
    lost(order, 0)
    assert order.council.trusted is None
    assert "no state" in trusted(order, 0)
    assert all(manager in order.council.copies for manager in (0, 1, 2))


def test_one_that_only_lags_can_be_trusted_and_needs_no_copy_then() -> None:
    order = Ordered()
    lost(order, 1, 2)
    order.control(NeedCopy(0, 0, "it lags", False))
    assert trusted(order, 0) == ""
    assert sorted(order.council.copies) == [1, 2]


def test_a_standing_of_before_there_were_such_words_is_read() -> None:
    order = Ordered()
    order.requests()
    council = Council((0, 1, 2), 2)
    council.adopt(order.council.standing())
    whole = order.council.standing()
    assert whole.endswith(b"\xc0\x90")
    council.adopt(bytes([whole[0] - 2]) + whole[1:-2])
    assert council.word is None
    assert council.standing() == whole


# -- At the port


def broken(**options: object) -> Nodes:
    """b's state is wrong, c's replica is gone: nobody can tell who is right."""
    nodes = Nodes("a b c", **options)
    nodes.start_all()
    nodes.submit("a", "reserve ann 1")
    nodes.wait(50_000)
    nodes.submit("b", "fault state")
    nodes.submit("a", "reserve bob 1")
    nodes.wait(50_000)
    nodes.submit("c", "fault crash")
    nodes.wait(3_000_000)
    return nodes


@pytest.mark.parametrize("right", ["a", "b"])
def test_the_service_goes_on_with_whichever_state_is_trusted(right: str) -> None:
    nodes = broken()
    nodes.submit("b", "fault none")  # its state stays wrong
    assert "trust NODE" in nodes.core("a").status()["waiting_for"]
    nodes.submit("c", f"trust {right}")
    nodes.wait(100_000)
    assert [text for text in nodes.told(f"trust {right}") if f"The replica of {right} is taken to be right" in text]
    nodes.wait(3_000_000)
    nodes.submit("b", "reserve cem 1")
    nodes.wait(100_000)
    assert nodes.told("reserve cem 1") == ["The seats have been reserved for cem: 3."]
    nodes.wait(3_000_000)
    assert len({nodes.core(name).machine.digest() for name in "abc"}) == 1
    assert not nodes.core("a").manager.council.copies
    assert nodes.core("a").status()["waiting_for"] == ""


def test_when_the_trusted_replica_is_lost_before_anybody_has_its_state_the_others_have_what_they_had() -> None:
    nodes = broken()
    nodes.submit("b", "fault none")
    for name in "bc":
        nodes.disconnect("a", name)  # the order goes on without it, and its state does not come
    nodes.wait(1_000_000)
    nodes.submit("b", "trust a")
    nodes.wait(1_000_000)
    assert nodes.core("b").replica.state == "copying"
    nodes.submit("a", "fault crash")
    for name in "bc":
        nodes.connect("a", name)
    nodes.wait(2_000_000)
    assert nodes.core("b").replica.state == "right"
    assert nodes.core("b").replica.position == nodes.core("b").manager.log.decided
    assert nodes.core("c").manager.council.word is None
    nodes.submit("c", "trust b")
    nodes.wait(3_000_000)
    assert not nodes.core("a").manager.council.copies
    assert len({nodes.core(name).machine.digest() for name in "abc"}) == 1
    nodes.submit("a", "reserve cem 1")
    nodes.wait(100_000)
    assert nodes.told("reserve cem 1") == ["The seats have been reserved for cem: 3."]


def test_without_a_majority_of_the_managers_nothing_is_said_about_what_becomes_of_it() -> None:
    nodes = broken()
    nodes.crash("b")
    nodes.crash("c")
    nodes.submit("a", "trust a")
    nodes.wait(9_000_000)
    assert nodes.told("trust a") == []
    nodes.wait(2_000_000)
    assert len(nodes.told("trust a")) == 1
    assert "deadline" in nodes.told("trust a")[0]


def test_only_operators_say_it_where_people_say_who_they_are() -> None:
    nodes = broken()
    core = nodes.core("a")
    step = core.submit(nodes.now_us, [("t", Request(TrustWord("a"), person=Person("eve")))])
    assert [type(reply) for _, reply in step.settled_replies] == [Forbidden]
    step = core.submit(nodes.now_us, [("t", Request(TrustWord("a"), person=Person("ope", roles=(OPERATOR,))))])
    assert not step.settled_replies
    nodes.wait(100_000)
    assert core.manager.council.word is not None


def test_it_is_about_a_node_with_a_replica_and_said_at_one() -> None:
    nodes = Nodes("f a b c", managers="abc")
    nodes.start_all()
    nodes.submit("a", "trust f")
    nodes.submit("a", "trust nobody")
    nodes.submit("f", "trust a")
    assert nodes.told("trust f") == ["Failed: f manages no replica; name a node that does."]
    assert nodes.told("trust nobody") == ["Failed: nobody manages no replica; name a node that does."]
    (text,) = nodes.told("trust a")
    assert "say it at a" in text


def test_the_word_survives_a_restart_of_everybody() -> None:
    nodes = broken()
    for name in "bc":
        nodes.disconnect("a", name)  # the order goes on without it, and its state does not come
    nodes.wait(1_000_000)
    nodes.submit("b", "trust a")
    nodes.wait(1_000_000)
    assert nodes.core("b").manager.council.trusted == nodes.core("c").manager.council.trusted == 0
    for name in "abc":
        nodes.crash(name)
    for name in "bc":
        nodes.connect("a", name)
    for name in "abc":
        nodes.restart(name)
    nodes.wait(8_000_000)
    assert len({nodes.core(name).machine.digest() for name in "abc"}) == 1
    word = nodes.core("a").manager.council.word
    assert word is not None
    assert word.until > word.since
