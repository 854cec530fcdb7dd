"""Which messages are handed out: each once, in order, whatever is missed and whenever the reader dies."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.client import messenger_feed
from holdfast.client.messenger_feed import AnotherInbox, Feed
from holdfast.client.messenger_types import Message

PAGE = 3


@pytest.fixture(autouse=True, scope="module")
def short_pages() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messenger_feed, "LOOK_BACK", PAGE)
        yield


def message(number: int, id: str = "", *, firm: bool = True) -> Message:
    return Message(
        id or f"id-{number}", "ann+bob", number, "ann", "", "routine", f"text {number}", 0, number, firm=firm
    )


def take_all(feed: Feed) -> list[str]:
    taken = []
    while feed.has_some:
        feed.finish()
        found = feed.take()
        assert found is not None
        taken.append(found.id)
    feed.finish()
    return taken


def answer(feed: Feed, inbox: list[Message]) -> None:
    """Answer one page as a service would."""
    after = feed.ask()
    rest = [item for item in inbox if item.number > after]
    feed.answered(after, rest[:PAGE], inbox[-1].number if inbox else 0, more=len(rest) > PAGE)


def test_it_begins_with_what_there_is_and_goes_on_with_what_is_told() -> None:
    feed = Feed(2)
    inbox = [message(number) for number in range(1, 9)]
    while feed.wants_page:
        answer(feed, inbox)
    feed.heard(message(9))
    feed.heard(message(9))
    feed.heard(message(4))
    assert take_all(feed) == [f"id-{number}" for number in range(3, 10)]
    assert feed.cursor == 9
    assert not feed.wants_page


def test_a_gap_in_what_is_told_is_asked_for() -> None:
    feed = Feed(0)
    answer(feed, [])
    feed.heard(message(1))
    feed.heard(message(3))
    assert feed.wants_page
    answer(feed, [message(1), message(2), message(3)])
    assert take_all(feed) == ["id-1", "id-2", "id-3"]


def test_what_went_by_age_leaves_no_gap() -> None:
    feed = Feed(0)
    answer(feed, [message(4), message(7)])
    feed.heard(message(8))
    assert take_all(feed) == ["id-4", "id-7", "id-8"]
    assert (feed.cursor, feed.wants_page) == (8, False)


def test_the_cursor_moves_when_the_next_is_asked_for() -> None:
    feed = Feed(0)
    answer(feed, [message(1), message(2)])
    assert feed.take() == message(1)
    assert feed.cursor == 0
    feed.finish()
    assert feed.cursor == 1
    assert feed.take() == message(2)
    feed.give_back()
    feed.finish()
    assert (feed.cursor, feed.take()) == (1, message(2))


def test_a_message_that_was_done_with_before_it_was_firm_moves_the_cursor_when_it_is() -> None:
    feed = Feed(0, tentative=True)
    answer(feed, [])
    feed.heard(message(1, firm=False))
    assert take_all(feed) == ["id-1"]
    assert (feed.cursor, feed.has_loose) == (0, True)
    feed.doubt()
    answer(feed, [message(1)])
    assert (feed.cursor, feed.has_loose, feed.has_some) == (1, False, False)


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messenger_feed, "WAITING_MAX", 5)
    feed = Feed(0)
    answer(feed, [])
    inbox = [message(number) for number in range(1, 101)]
    taken = []
    for told in inbox:
        feed.heard(told)
    assert not feed.wants_page, "there is no room"
    while len(taken) < 100:
        while feed.wants_page:
            answer(feed, inbox)
        feed.finish()
        found = feed.take()
        assert found is not None
        taken.append(found.number)
    assert taken == list(range(1, 101))


def test_another_inbox_is_told_not_guessed_at() -> None:
    feed = Feed(57)
    with pytest.raises(AnotherInbox, match="ends at 3, and this device has had 57 messages"):
        answer(feed, [message(3)])


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_firm_messages_come_once_and_in_order_whatever_is_missed(chance: random.Random, count: int) -> None:
    inbox: list[Message] = []
    taken: list[int] = []
    cursor, numbers = 0, iter(range(1, count + 1))
    feed = Feed(0)
    asked: int | None = None
    in_hand = 0
    while len(inbox) < count or feed.has_some or feed.wants_page or asked is not None:
        step = chance.random()
        if step < 0.35 and len(inbox) < count:
            told = message(next(numbers))
            inbox.append(told)
            if chance.random() < 0.7:  # else the link was lost, or it came faster than it was read
                feed.heard(told)
            else:
                feed.doubt()
        elif step < 0.5 and feed.wants_page and asked is None:
            asked = feed.ask()
        elif step < 0.7 and asked is not None:
            rest = [item for item in inbox if item.number > asked]
            feed.answered(asked, rest[:PAGE], len(inbox), more=len(rest) > PAGE)
            asked = None
        elif step < 0.95:
            feed.finish()
            cursor = feed.cursor
            found = feed.take()
            in_hand = 0 if found is None else found.number
            taken += [in_hand] if in_hand else []
        elif step < 0.98:  # the reader dies; what was in its hand comes again
            feed, asked = Feed(cursor), None
            taken = [number for number in taken if number != in_hand]
            in_hand = 0
    assert taken == list(range(1, count + 1))


class Replica:
    """An inbox whose numbers change: committed messages first, in the order of their commit, then tentative ones."""

    def __init__(self) -> None:
        self.committed: list[str] = []
        self.tentative: list[str] = []

    def inbox(self) -> list[Message]:
        ids = [*self.committed, *self.tentative]
        return [message(number, id, firm=number <= len(self.committed)) for number, id in enumerate(ids, 1)]


class Ward:
    """Two replicas that tell each other about writes by and by, the first of which commits, and a reader's feed."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.replicas = [Replica(), Replica()]
        self.order: list[str] = []  # as they are committed
        self.written = 0
        self.at = 0
        self.feed = Feed(0, tentative=True)
        self.cursor = 0
        self.seen: list[str] = []
        self.taken: list[str] = []

    def execute(self, replica: Replica, id: str, *, commit: bool) -> None:
        is_new = id not in replica.committed and id not in replica.tentative
        if commit and id not in replica.committed:
            replica.committed.append(id)
            replica.tentative = [other for other in replica.tentative if other != id]
        elif is_new:
            replica.tentative.insert(self.chance.randrange(len(replica.tentative) + 1), id)
        if is_new and replica is self.replicas[self.at]:
            if self.chance.random() < 0.8:
                self.feed.heard(next(item for item in replica.inbox() if item.id == id))
            else:
                self.feed.doubt()

    def take(self) -> None:
        id = self.feed.finish()
        if id:
            self.seen.append(id)
        self.cursor = self.feed.cursor
        found = self.feed.take()
        if found is not None:
            self.taken.append(found.id)

    def step(self, count: int) -> None:
        chance, (first, second), step = self.chance, self.replicas, self.chance.random()
        here, there = (first, second) if chance.random() < 0.5 else (second, first)
        if step < 0.2 and self.written < count:
            self.written += 1
            self.execute(here, f"id-{self.written}", commit=False)
        elif step < 0.35 and first.tentative:
            self.order.append(first.tentative[0])
            self.execute(first, self.order[-1], commit=True)
        elif step < 0.5 and len(second.committed) < len(self.order):
            self.execute(second, self.order[len(second.committed)], commit=True)
        elif step < 0.6 and here.tentative:
            self.execute(there, chance.choice(here.tentative), commit=False)
        elif step < 0.65:  # to the other replica
            self.at = 1 - self.at
            self.feed.doubt()
        elif step < 0.8 and self.feed.wants_page:
            answer(self.feed, self.replicas[self.at].inbox())
        elif step < 0.97:
            self.take()
        elif self.feed.in_hand is None:  # its reader dies between two messages
            self.feed = Feed(self.cursor, self.seen, tentative=True)

    def end(self) -> None:
        """Everything is known everywhere, committed, and taken."""
        first, second = self.replicas
        for id in second.tentative:
            self.execute(first, id, commit=False)
        self.order += first.tentative
        for replica in self.replicas:
            for id in self.order:
                self.execute(replica, id, commit=True)
        self.feed.doubt()
        while self.feed.wants_page:
            answer(self.feed, self.replicas[self.at].inbox())
        while self.feed.has_some:
            self.take()
        self.take()


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_tentative_messages_come_once_each_whichever_replica_tells(chance: random.Random, count: int) -> None:
    ward = Ward(chance)
    for _ in range(count * 12):
        ward.step(count)
    ward.end()
    assert sorted(ward.taken) == sorted(f"id-{number}" for number in range(1, ward.written + 1))
    assert ward.cursor == ward.written
