"""Messages looked for, and looked after: search, and the audit log."""

from __future__ import annotations

import pytest
from tests.apps.ward import ALICE, BOB, CARLA, DAVE, NINE, ROOT, VERA, Ward

from holdfast.apps.messages import NoSuchConversation, NoSuchMessage
from holdfast.apps.messages.asking import PAGE_MAX
from holdfast.kernel.contracts import Person

# -- searching -------------------------------------------------------------------------------------


def found(ward: Ward, words: str, before: str = "") -> list[str]:
    ward.see(BOB)
    reply = ward.answers(BOB, f"search --before {before} {words}" if before else f"search {words}")
    return [message.content for message in reply.messages]


def test_search_finds_all_words_in_text_or_subject_the_newest_first() -> None:
    ward = Ward()
    ward.send(ALICE, "bob", "potassium of bed 12 is 5.9", "--subject lab")
    ward.at(2)
    ward.send(CARLA, "bob", "Bed 12 has no POTASSIUM drip")
    ward.at(4)
    ward.send(BOB, "alice", "Kalium? Größe?")
    assert found(ward, "potassium bed") == ["Bed 12 has no POTASSIUM drip", "potassium of bed 12 is 5.9"]
    assert found(ward, "LAB") == ["potassium of bed 12 is 5.9"]
    assert found(ward, "GRÖSSE") == found(ward, "gro\u0308ße") == ["Kalium? Größe?"]
    assert found(ward, "bed 13") == []
    assert ward.says(BOB, "search bed 13") == "Nothing found."


def test_of_what_is_not_read_a_search_finds_whole_words_only() -> None:
    ward = Ward()
    ward.send(ALICE, "bob", "Kalium 5.9: zq7-Secret! aab aa, कि किताब", "--subject Labor")
    ward.send(ALICE, "bob", "O'Brien (bed 12)")

    def numbers(person: Person, words: str) -> list[int]:
        return [message.message for message in ward.answers(person, f"search {words}").messages]

    parts = ("zq", "zq7-s", "-s", "ecret", "q", "kali", "lab", "aa aab a", "क", "कित", ":", "!", "' bed", "brie")
    whole = {
        "ZQ7": [1],
        "zq7-secret": [1],
        "secret!": [1],
        "5.9": [1],
        "9": [1],
        "aa": [1],
        "कि": [1],
        "LABOR kalium": [1],
    }
    whole |= {"o'brien": [2], "brien": [2], "(bed": [2], "12)": [2], "bed 12": [2], "bed 1": []}
    assert {words: numbers(BOB, words) for words in whole} == whole
    assert {words: numbers(BOB, words) for words in parts} == {words: [] for words in parts}
    assert all(numbers(ALICE, words) for words in parts), "she has written it"
    assert ward.says(BOB, "audit") == "Nothing."
    ward.see(BOB)
    assert all(numbers(BOB, words) for words in parts)


def test_search_sees_only_ones_own_conversations_and_nothing_deleted() -> None:
    ward = Ward()
    ward.send(ALICE, "carla", "secret")
    ward.send(ALICE, "bob", "secret too")
    ward.send(ALICE, "bob", "secret three")
    ward.says(ALICE, "delete bob 1")
    assert found(ward, "secret") == ["secret three"]


def test_search_goes_on_where_it_has_stopped() -> None:
    ward = Ward()
    for number in range(2 * PAGE_MAX + 5):
        if number % 7 == 0:
            ward.at(number)
        ward.send((ALICE, CARLA, DAVE)[number % 3], "bob", f"needle {number}")
    ward.see(BOB)
    seen: list[str] = []
    before = ""
    while True:
        line = f"search --before {before} needle" if before else "search needle"
        reply = ward.answers(BOB, line)
        seen += [message.content for message in reply.messages]
        if not (before := reply.more_before):
            break
    assert sorted(seen, key=lambda text: int(text.split()[1])) == [f"needle {n}" for n in range(2 * PAGE_MAX + 5)]
    times = [int(text.split()[1]) // 7 for text in seen]
    assert times == sorted(times, reverse=True), "of one second they come conversation by conversation"


@pytest.mark.parametrize(("bound", "most"), [("LOOKED_AT_MAX", 10), ("CHARACTERS_MAX", 3 * 10)])
def test_search_looks_at_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch, bound: str, most: int) -> None:
    """Ten messages with three letters each."""
    monkeypatch.setattr(f"holdfast.apps.messages.asking.{bound}", most)
    ward = Ward()
    ward.send(ALICE, "bob", "needle")
    for _ in range(25):
        ward.send(ALICE, "bob", "hay")
    calls, before = 0, ""
    while True:
        calls += 1
        reply = ward.answers(BOB, f"search --before {before} needle" if before else "search needle")
        if reply.messages:
            break
        assert reply.text().startswith("Nothing found. More: search --before alice+bob:")
        before = reply.more_before
    assert calls == 3


def test_a_search_goes_on_only_from_what_one_sees() -> None:
    ward = Ward()
    ward.send(ALICE, "carla", "secret")
    ward.send(ALICE, "bob", "needle one")
    ward.send(ALICE, "bob", "needle two")
    for name in ("alice+carla", "carla", "x", "#ward3", "#ward3@alice", "service:rooms"):
        for number in (1, 2):
            said = ward.says(BOB, f"search --before {name}:{number} x")
            assert said == ward.says(BOB, f"history {name} {number}") == NoSuchConversation(name).text()
    for line in ("alice+carla", "nonsense", ":"):
        assert ward.answers(BOB, f"search --before {line} x") == NoSuchConversation(line)
    assert ward.answers(BOB, "search --before alice:7 x") == NoSuchMessage("alice+bob", 7)
    assert ward.answers(BOB, "search --before alice+bob:x x") == NoSuchMessage("alice+bob", 0)
    assert found(ward, "needle", "alice:2") == found(ward, "needle", "alice+bob:2") == ["needle one"]


# -- the audit log ---------------------------------------------------------------------------------


def test_the_audit_log_says_who_did_what_with_which_message_and_when() -> None:
    ward = Ward()
    ward.send(ALICE, "bob")
    ward.send(ALICE, "bob")
    for second, (person, line) in enumerate(
        [(BOB, "read 1"), (BOB, "read 1"), (BOB, "ack 2"), (BOB, "ack 2"), (ALICE, "delete bob 1")]
    ):
        ward.at(second)
        ward.says(person, line)
    lines = [(line.at_ms - NINE, line.person, line.what, line.message) for line in ward.answers(VERA, "audit").lines]
    assert lines == [
        (0, "bob", "read", 1),
        (2000, "bob", "ack", 2),
        (4000, "alice", "delete", 1),
    ]
    assert ward.says(VERA, "audit").startswith("2026-12-01 09:00 UTC bob read 1 of alice+bob; ")


def test_others_than_auditors_read_only_what_concerns_their_messages() -> None:
    ward = Ward()
    ward.send(ALICE, "bob")
    ward.send(CARLA, "dave")
    ward.says(BOB, "read 1")
    ward.says(DAVE, "read 1")
    assert [line.person for line in ward.answers(VERA, "audit").lines] == ["bob", "dave"]
    for person in (ALICE, BOB):
        assert [line.person for line in ward.answers(person, "audit").lines] == ["bob"]
    assert ward.says(ROOT, "audit") == "Nothing."


def test_of_a_group_one_reads_in_the_log_only_of_what_one_saw() -> None:
    ward = Ward()
    ward.says(ALICE, "group #g bob")
    ward.send(ALICE, "#g")
    ward.says(BOB, "read 1")
    ward.says(ALICE, "invite #g carla")
    ward.send(ALICE, "#g")
    ward.says(BOB, "read 2")
    assert [line.message for line in ward.answers(CARLA, "audit").lines] == [2]
    assert [line.message for line in ward.answers(ALICE, "audit").lines] == [1, 2]


def test_the_audit_log_comes_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.apps.messages.asking.LINES_MAX", 4)
    ward = Ward()
    for number in range(1, 11):
        ward.send(ALICE, "bob")
        ward.send(CARLA, "bob")
        ward.says(BOB, f"read {2 * number - 1}")
        ward.says(BOB, f"read {2 * number}")
    for person, count in ((VERA, 20), (BOB, 20), (ALICE, 10)):
        seen: list[tuple[str, int]] = []
        after = ""
        while True:
            reply = ward.answers(person, f"audit {after}" if after else "audit")
            assert len(reply.lines) <= 4
            seen += [(line.conversation, line.message) for line in reply.lines]
            if not (after := reply.more_after):
                break
        assert len(set(seen)) == len(seen) == count
