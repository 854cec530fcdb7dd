"""The final pair of a plan is told once, whatever is cut off when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.client.errors import Misuse, NotExecuted
from holdfast.client.outcomes import Answer
from holdfast.client.plan_told import forget, tell, told_file

PAIR = "Slot 56 is yours at hotel and band."


class Messages:
    """Takes requests as the service does: one of the same name gets the first answer again."""

    def __init__(self) -> None:
        self.inbox: list[tuple[Any, ...]] = []
        self.known: dict[tuple[str, int], Answer] = {}
        self.is_lost = False
        self.refusal = ""

    def repeat(self, client: str, number: int, *words: Any) -> Answer:
        if (client, number) not in self.known:
            if self.refusal:
                return Answer(False, "Failed: no.", self.refusal)
            self.inbox.append(words)
            self.known[client, number] = Answer(True, "Sent.", "sent")
        if self.is_lost:
            raise NotExecuted("nobody answers")
        return self.known[client, number]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "plan.journal"


def test_a_pair_is_told_once_however_often_the_plan_is_run(state: Path) -> None:
    messages: Any = Messages()
    told = tell(messages, "alice", PAIR, state)
    assert told is not None
    assert told.ok
    assert tell(messages, "alice", PAIR, state) is None
    assert messages.inbox == [("send", "alice", PAIR)]


def test_an_answer_that_is_lost_is_asked_for_again_under_the_same_name(state: Path) -> None:
    messages: Any = Messages()
    messages.is_lost = True
    for _ in range(3):
        with pytest.raises(NotExecuted):
            tell(messages, "alice", PAIR, state)
    messages.is_lost = False
    told = tell(messages, "alice", PAIR, state)
    assert told is not None
    assert told.ok
    assert messages.inbox == [("send", "alice", PAIR)]


def test_another_pair_and_another_person_are_told_anew_and_so_is_the_same_pair_after_a_release(state: Path) -> None:
    messages: Any = Messages()
    tell(messages, "alice", PAIR, state)
    tell(messages, "grace", PAIR, state)
    tell(messages, "grace", "Slot 7 is yours at hotel and band.", state)
    forget(state)
    forget(state)
    tell(messages, "grace", "Slot 7 is yours at hotel and band.", state)
    assert [words[1:] for words in messages.inbox] == [
        ("alice", PAIR),
        ("grace", PAIR),
        ("grace", "Slot 7 is yours at hotel and band."),
        ("grace", "Slot 7 is yours at hotel and band."),
    ]


def test_what_is_refused_is_not_done_and_what_is_too_old_to_be_known_is_not_done_again(state: Path) -> None:
    messages: Any = Messages()
    messages.refusal = "no_such_person"
    told = tell(messages, "nobody", PAIR, state)
    assert told is not None
    assert not told.ok
    assert not told_file(state).exists()
    messages.refusal = "expired"
    tell(messages, "alice", PAIR, state)
    name = told_file(state).read_bytes()
    tell(messages, "alice", PAIR, state)
    assert told_file(state).read_bytes() == name
    assert messages.inbox == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"client": 1}', b"\xff"])
def test_a_file_that_says_nothing_is_named(state: Path, content: bytes) -> None:
    told_file(state).write_bytes(content)
    messages: Any = Messages()
    with pytest.raises(Misuse, match="remove it to tell it anew"):
        tell(messages, "alice", PAIR, state)
    assert messages.inbox == []
