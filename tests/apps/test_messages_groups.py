"""Groups: who is in them, what of them they see; and that nobody learns anything of what is not theirs."""

from __future__ import annotations

import pytest
from tests.apps.test_messages_properties import check
from tests.apps.ward import ALICE, BOB, CARLA, DAVE, EVE, PEOPLE, ROOT, VERA, Ward

from holdfast.apps.messages import (
    MEMBERS_MAX,
    BadGroupName,
    GroupExists,
    GroupFull,
    GroupMade,
    GroupSeen,
    Invite,
    Joined,
    Left,
    MakeGroup,
    NoSuchConversation,
    NoSuchPerson,
    Send,
    ToYourself,
    WhichGroup,
)
from holdfast.kernel.contracts import Person

GROUP = "#ward3@alice"


@pytest.fixture(name="ward")
def _ward() -> Ward:
    """Alice, Bob and Carla are in a group."""
    ward = Ward()
    assert ward.answers(ALICE, "group #ward3 bob,carla") == GroupMade(GROUP, ("alice", "bob", "carla"))
    ward.hear()
    return ward


def texts(ward: Ward, person: Person, before: str = "") -> list[str]:
    ward.see(person)
    return [message.content for message in ward.answers(person, f"history {GROUP} {before}").messages]


def test_everybody_but_the_sender_gets_what_is_sent_to_a_group(ward: Ward) -> None:
    sent = ward.send(BOB, GROUP, "round at ten")
    assert (sent.conversation, sent.number, sent.to) == (GROUP, 1, GROUP)
    assert [change.person for change in ward.hear()] == ["alice", "carla"]
    assert ward.inbox(ALICE) == ward.inbox(CARLA) == [(1, "bob", "round at ten")]
    assert ward.inbox(BOB) == ward.inbox(DAVE) == []
    assert texts(ward, BOB) == texts(ward, CARLA) == ["round at ten"]
    ward.says(CARLA, "read 1")
    reaches = ward.answers(BOB, f"states {GROUP} 1").recipients
    assert [(reach.person, reach.state) for reach in reaches] == [("alice", "stored"), ("carla", "read")]


def test_those_who_are_taken_into_a_group_are_told() -> None:
    ward = Ward()
    made = ward.answers(ALICE, "group #ward3 bob,carla,bob,alice")
    assert ward.heard() == [("bob", made), ("carla", made)]
    joined = ward.answers(BOB, f"invite {GROUP} dave")
    assert joined == Joined(GROUP, "dave", "bob")
    assert ward.heard() == [("dave", joined)]


def test_a_group_may_be_called_by_its_short_name_where_there_is_one_of_it(ward: Ward) -> None:
    assert ward.send(BOB, "#ward3").to == GROUP
    ward.says(BOB, "group #ward3 dave")
    assert ward.answers(BOB, "send #ward3 hello") == WhichGroup("#ward3", (GROUP, "#ward3@bob"))
    assert ward.send(BOB, GROUP).number == 2
    assert ward.send(DAVE, "#ward3").to == "#ward3@bob"
    ward.says(BOB, "leave #ward3@alice")
    assert ward.send(BOB, "#ward3").to == "#ward3@bob", "who has left is in one of them only"
    assert ward.answers(BOB, "history #ward3").conversation == "#ward3@bob"
    assert ward.answers(ALICE, "history #war") == NoSuchConversation("#war")


def test_two_people_make_groups_of_one_name(ward: Ward) -> None:
    assert ward.answers(DAVE, "group #ward3 eve") == GroupMade("#ward3@dave", ("dave", "eve"))
    assert ward.answers(ALICE, "group #ward3 eve") == GroupExists(GROUP)


def test_groups_tells_those_one_is_in(ward: Ward) -> None:
    ward.send(BOB, GROUP)
    ward.says(CARLA, "group #a2 dave")
    members = ("alice", "bob", "carla")
    assert ward.answers(CARLA, "groups").groups == (
        GroupSeen("#a2@carla", ("carla", "dave"), 0, 0),
        GroupSeen(GROUP, members, 1, 1),
    )
    assert ward.says(BOB, "groups") == f"{GROUP}: alice, bob, carla; 0 unread"
    assert ward.says(EVE, "groups") == "No groups."


def test_who_is_invited_sees_what_is_sent_from_then_on(ward: Ward) -> None:
    ward.send(BOB, GROUP, "before")
    ward.says(ALICE, f"invite {GROUP} dave")
    ward.send(BOB, GROUP, "after")
    assert texts(ward, DAVE) == ["after"]
    assert ward.inbox(DAVE) == [(1, "bob", "after")]
    assert ward.says(DAVE, f"states {GROUP} 1") == ward.says(DAVE, f"states {GROUP} 9").replace("9", "1")


def test_who_leaves_sees_what_was_sent_until_then(ward: Ward) -> None:
    ward.send(ALICE, GROUP, "with bob")
    assert ward.answers(BOB, f"leave {GROUP}") == Left(GROUP, "bob")
    ward.send(ALICE, GROUP, "without bob")
    assert texts(ward, BOB) == ["with bob"]
    assert ward.inbox(BOB) == [(1, "alice", "with bob")]
    assert ward.answers(BOB, f"send {GROUP} hello") == NoSuchConversation(GROUP)
    assert ward.answers(BOB, f"invite {GROUP} dave") == NoSuchConversation(GROUP)
    assert ward.answers(BOB, f"leave {GROUP}") == Left(GROUP, "bob"), "again, and nothing changes"
    assert ward.answers(BOB, "groups").groups == ()
    assert [message.content for message in ward.answers(BOB, "search bob").messages] == ["with bob"]


def test_who_comes_back_has_a_gap(ward: Ward) -> None:
    for text in ("one", "two", "three"):
        ward.send(ALICE, GROUP, text)
        ward.says(BOB if text == "one" else ALICE, f"leave {GROUP}" if text == "one" else f"invite {GROUP} bob")
    assert texts(ward, BOB) == ["one", "three"]
    ward.says(BOB, f"leave {GROUP}")
    ward.says(ALICE, f"invite {GROUP} bob")
    ward.send(CARLA, GROUP, "four")
    assert texts(ward, BOB) == ["one", "three", "four"]
    assert texts(ward, BOB, "4") == ["one", "three"]
    assert texts(ward, BOB, "3") == texts(ward, BOB, "2") == ["one"]
    check(ward.store)  # who goes and comes while nothing is said leaves no trace


def test_pages_of_history_skip_what_was_missed(ward: Ward) -> None:
    for number in range(1, 121):
        ward.send(ALICE, GROUP, str(number))
        if number in (40, 100):
            ward.says(BOB, f"leave {GROUP}")
        if number in (60, 110):
            ward.says(ALICE, f"invite {GROUP} bob")
    wanted = [str(number) for number in (*range(1, 41), *range(61, 101), *range(111, 121))]
    ward.see(BOB)
    first = ward.answers(BOB, f"history {GROUP}")
    second = ward.answers(BOB, f"history {GROUP} {first.more_before}")
    assert [message.content for message in (*second.messages, *first.messages)] == wanted
    assert (len(first.messages), second.more_before) == (50, 0)


def test_to_invite_who_is_there_changes_nothing(ward: Ward) -> None:
    digest = ward.machine.digest()
    assert ward.answers(ALICE, f"invite {GROUP} bob") == Joined(GROUP, "bob", "alice")
    assert ward.machine.digest() == digest
    assert ward.hear() == []


def test_the_last_one_may_leave_and_nobody_gets_what_one_says_alone(ward: Ward) -> None:
    for person in (ALICE, BOB):
        ward.says(person, f"leave {GROUP}")
    ward.send(CARLA, GROUP, "anybody?")
    assert ward.hear() == []
    assert texts(ward, CARLA) == ["anybody?"]
    ward.says(CARLA, f"leave {GROUP}")
    assert ward.answers(CARLA, f"send {GROUP} hello") == NoSuchConversation(GROUP)


def test_who_made_a_group_makes_it_again_when_all_have_left_it(ward: Ward) -> None:
    ward.send(BOB, GROUP, "before")
    for person in (ALICE, BOB):
        ward.says(person, f"leave {GROUP}")
    ward.send(CARLA, GROUP, "to nobody")
    refused = ward.answers(ALICE, "group #ward3 dave")
    assert refused == GroupExists(GROUP), "Carla is in it"
    assert ward.answers(ALICE, f"invite {GROUP} dave") == NoSuchConversation(GROUP)
    ward.says(CARLA, f"leave {GROUP}")
    ward.hear()
    made = ward.answers(ALICE, "group #ward3 dave,bob")
    assert made == GroupMade(GROUP, ("alice", "bob", "dave"))
    assert ward.heard() == [("dave", made), ("bob", made)]
    assert ward.answers(ALICE, "group #ward3 eve") == GroupExists(GROUP)
    assert ward.send(DAVE, GROUP, "after").number == 3
    assert texts(ward, DAVE) == ["after"]
    assert texts(ward, ALICE) == texts(ward, BOB) == ["before", "after"]
    assert texts(ward, CARLA) == ["before", "to nobody"]
    assert ward.answers(ALICE, f"invite {GROUP} carla") == Joined(GROUP, "carla", "alice")
    assert [seen.members for seen in ward.answers(CARLA, "groups").groups] == [("alice", "bob", "carla", "dave")]
    check(ward.store)


def test_a_group_that_all_have_left_is_made_again_by_nobody_else(ward: Ward) -> None:
    for person in (ALICE, BOB, CARLA):
        ward.says(person, f"leave {GROUP}")
    assert ward.answers(BOB, "group #ward3 dave") == GroupMade("#ward3@bob", ("bob", "dave"))
    assert ward.answers(BOB, f"invite {GROUP} dave") == NoSuchConversation(GROUP)


def test_a_group_has_members_and_not_too_many() -> None:
    many = tuple(Person(f"p{number}") for number in range(MEMBERS_MAX + 1))
    ward = Ward((ALICE, *many))
    assert ward.do(ALICE, MakeGroup("#all", tuple(person.id for person in many))) == GroupFull(MEMBERS_MAX)
    others = tuple(person.id for person in many[2:])
    assert isinstance(ward.do(ALICE, MakeGroup("#all", others)), GroupMade)
    assert ward.do(ALICE, Invite("#all", "p0")) == GroupFull(MEMBERS_MAX)
    assert ward.do(ALICE, MakeGroup("#me", ("alice",))) == ToYourself()
    assert ward.do(ALICE, MakeGroup("#nobody", ())) == ToYourself()
    ward.hear()
    ward.send(ALICE, "#all", "hello")
    assert [change.person for change in ward.hear()] == sorted(others)


@pytest.mark.parametrize("name", ["#", "ward3", "#a@b", "#a+b", "#a:b", "##a", "#a,b", "#a b", "#\u202ea", "#a\u200b"])
def test_names_that_no_group_can_have(ward: Ward, name: str) -> None:
    reply = ward.answers(ALICE, f'group "{name}" bob')
    assert reply.failed
    executed = ward.do(ALICE, MakeGroup(name, ("bob",)))
    assert executed == BadGroupName(name) or name in ("#\u202ea", "#a\u200b"), "what only the door knows"


def test_groups_may_be_called_as_people_speak(ward: Ward) -> None:
    assert ward.says(ALICE, "group #Größe-3_a.b bob") == "#Größe-3_a.b@alice is made, with alice, bob."
    assert ward.says(ALICE, "group #心臓 bob") == "#心臓@alice is made, with alice, bob."


# -- what is not for somebody ----------------------------------------------------------------------


@pytest.fixture(name="hidden")
def _hidden(ward: Ward) -> Ward:
    """The same group with messages, and two people who write to each other."""
    for _ in range(3):
        ward.send(BOB, GROUP, "secret")
        ward.send(ALICE, "bob", "secret", "--priority urgent")
    ward.says(ALICE, "read 1")
    ward.says(BOB, "read 1")
    ward.says(CARLA, "got phone 2")
    ward.hear()
    return ward


ASKED = (
    *("inbox", "inbox 9", "since", "since 9", "unread", "groups", "devices", "audit", "search secret"),
    *("read 1", "ack 1", "read 1 9-0-0", "seen 1,2", "seen 1 9-0-0", "got phone 3"),
    *("history alice+bob", "history bob", f"history {GROUP}", "history #ward3", "history alice"),
    *("states alice+bob 1", f"states {GROUP} 1", "states #ward3 1", "states bob 99"),
    *("delete alice+bob 1", f"delete {GROUP} 1", "delete #ward3 2", "delete bob 1"),
    *(f"send {GROUP} hello", "send #ward3 hello", "send alice+bob hello"),
    *(f"invite {GROUP} dave", f"leave {GROUP}", f"invite {GROUP} eve", "audit alice+bob:0", f"audit {GROUP}:1"),
    *(f"search --before {GROUP}:3 secret", "search --before alice+bob:1 x"),
)


@pytest.mark.parametrize("line", ASKED)
@pytest.mark.parametrize("person", [DAVE, EVE])
def test_a_stranger_hears_the_same_whether_there_is_something_or_not(hidden: Ward, person: Person, line: str) -> None:
    assert hidden.says(person, line) == Ward().says(person, line)


@pytest.mark.parametrize("line", ASKED)
def test_an_auditor_reads_the_log_how_far_messages_have_got_and_nothing_else(hidden: Ward, line: str) -> None:
    if line in ("states alice+bob 1", f"states {GROUP} 1"):
        assert hidden.says(VERA, line).startswith(f"Message 1 of {line.split()[1]}, sent ")
    elif not line.startswith("audit"):
        assert hidden.says(VERA, line) == Ward().says(VERA, line)
    assert "secret" not in hidden.says(VERA, line).replace(line, "")


def test_an_administrator_deletes_and_reads_nothing(hidden: Ward) -> None:
    for line in ASKED:
        assert "secret" not in hidden.says(ROOT, line).replace(line, "").replace("search secret", "")
    assert hidden.says(ROOT, "delete alice+bob 1").startswith("Message 1 of alice+bob is deleted")


def test_nobody_is_told_what_is_not_theirs(hidden: Ward) -> None:
    hidden.send(ALICE, "bob")
    hidden.send(CARLA, GROUP)
    hidden.says(BOB, "ack 2")
    assert {change.person for change in hidden.hear()} <= {"alice", "bob"}


def test_what_others_say_changes_no_number_that_one_sees() -> None:
    """Two worlds that differ only in what strangers do look the same to who is no part of it."""
    quiet, busy = Ward(), Ward()
    for number in range(5):
        for ward in (quiet, busy):
            ward.send(ALICE, "bob", str(number))
            ward.says(BOB, f"read {number + 1}")
        busy.send(CARLA, "dave")
        busy.says(DAVE, f"ack {number + 1}")
        busy.says(CARLA, f"group #g{number} dave")
    for person in (ALICE, BOB):
        for line in (
            "inbox",
            "since",
            "unread",
            "groups",
            "devices",
            "audit",
            "history alice+bob",
            "states alice+bob 3",
        ):
            assert busy.says(person, line) == quiet.says(person, line)
        seen = busy.answers(person, "search 3"), quiet.answers(person, "search 3")
        assert [found.more_before for found in seen] == ["", ""]


def test_whom_the_site_does_not_know_the_door_refuses_and_nobody_else(ward: Ward) -> None:
    assert ward.answers(ALICE, "send nobody hello") == NoSuchPerson("nobody")
    assert ward.answers(ALICE, "send service:rooms hello") == NoSuchPerson("service:rooms")
    assert ward.answers(ALICE, "group #x bob,nobody") == NoSuchPerson("nobody")
    assert ward.answers(ALICE, f"invite {GROUP} nobody") == NoSuchPerson("nobody")
    late = ward.do(ALICE, Send("newcomer", "a replica that knows fewer people executes it all the same"))
    assert not late.failed
    for id in ("service:rooms", "a:b", "service:rooms+alice"):
        assert ward.do(ALICE, Send(id, "x")) == NoSuchConversation(id)
    for id in ("a+b", "#g", "a@b", "service:x"):
        assert ward.do(ALICE, MakeGroup("#y", (id,))) == NoSuchPerson(id)
        assert ward.do(ALICE, Invite(GROUP, id)) == NoSuchPerson(id)
    assert len(PEOPLE) == len(ward.app.people)
