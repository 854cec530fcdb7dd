"""The client's own reading of an inbox, as devices of the simulated people: each message once, whatever comes how."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.apps.messages import words
from holdfast.apps.messages.replies import Arrived, Received, Since
from holdfast.client.messenger_feed import Feed
from holdfast.client.messenger_types import Message
from holdfast.sim.audit import Violation
from holdfast.sim.messages.bugs import Bug
from holdfast.sim.messages.device import Device
from holdfast.sim.messages.site import MessagesSite, MessagesWork
from holdfast.sim.messages.ward import Ward
from holdfast.sim.messages.wing import WingDevice, WingSite
from holdfast.sim.options import Options


def message_of(item: Received | Arrived, firm: bool) -> Message:
    return Message(
        item.id, item.conversation, item.message, item.sender, item.subject, item.priority, item.content, item.sent_ms,
        item.number, item.repeats, firm=firm,
    )  # fmt: skip


def item_of(message: Message) -> Received:
    return Received(
        *(message.number, message.id, message.conversation, message.place, message.sender, message.subject),
        *(message.priority, message.text, message.sent_ms, message.repeats, 0, 0, 0),
    )


class FeedDevice(Device):
    """Asks when its feed wants to, and takes what that hands out."""

    feed = Feed(0)
    deaths = 0

    def begin(self) -> None:
        if self._life == 0:
            self.feed = Feed(0)
        super().begin()

    def pushed(self, told: Arrived) -> None:
        self.feed.heard(message_of(told, True))
        self._hand_out()

    def fetch(self, then: Callable[[], None] | None = None) -> None:
        self.feed.doubt()
        self._ask()

    def _ask(self) -> None:
        if self._fetching or not self.feed.wants_page:
            return
        self._fetching = True
        after, life = self.feed.ask(), self._life
        query = words.AskSince(after)
        self.caller.run((self.person, query), query, True, then=lambda: self._came(after, life))

    def _came(self, after: int, life: int) -> None:
        reply = self.caller.heard
        if life != self._life:
            return
        self._fetching = False
        assert isinstance(reply, Since)
        self.feed.answered(after, [message_of(item, True) for item in reply.items], reply.last, more=reply.more)
        self._hand_out()

    def _hand_out(self) -> None:
        while self.feed.has_some:
            message = self.feed.take()
            assert message is not None
            if not self.calm and self.world.chance(self.habits.dies):
                self.deaths += 1
                self.feed = Feed(self.cursor)  # it starts again with what its disk knows
                self.hang_up()
                return
            self.taken.append(item_of(message))
            self.feed.finish()
            self.cursor = self.feed.cursor
        self._ask()


class FeedSite(MessagesSite):
    def _draw_workload(self, source: random.Random) -> MessagesWork:
        work = super()._draw_workload(source)
        self.bug = Bug(device=FeedDevice)
        return work


class FeedWingDevice(WingDevice):
    """The same where outcomes are tentative: what is handed out is known by its id."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: dict[str, None] = {}
        self.feed = Feed(0, tentative=True)
        self.handed: list[str] = []
        self.after = 0

    def _what_next(self) -> tuple[int, str]:
        self.feed.doubt()
        self.after = self.feed.ask()
        return self.after, "full"

    def page(self, since: Since) -> None:
        self.feed.answered(
            self.after, [message_of(item, item.firm) for item in since.items], since.last, more=since.more
        )
        self._hand_out()

    def pushed(self, told: Arrived) -> None:
        self.feed.heard(message_of(told, False))
        self._hand_out()
        self.ask()

    def _hand_out(self) -> None:
        while self.feed.has_some:
            message = self.feed.take()
            assert message is not None
            if not self.calm and self.world.chance(0.05):
                self.feed = Feed(self.cursor, self.seen, tentative=True)
                return
            self.handed.append(message.id)
            if not message.firm:
                self.shown[message.id] = None
            self.seen[self.feed.finish()] = None
        self.cursor = self.feed.cursor

    def judge(self, ward: Ward) -> None:
        """Each message of the inbox was handed out once."""
        twice = [id for id, times in Counter(self.handed).items() if times > 1]
        if twice:
            raise Violation("device", f"{self.name} was handed {twice} twice")
        for copy in ward.box(self.person.id):
            if copy.letter.id not in self.handed and not copy.letter.removed:
                raise Violation("device", f"{self.name} was never handed {copy.number}: {copy.letter}")


class FeedWingSite(WingSite):
    device = FeedWingDevice


def options(protocol: str, model: str) -> Options:
    return Options(app="messages", protocol=protocol, model=model)


@pytest.mark.parametrize(
    ("chosen", "seeds"),
    [(options("solo", "alone"), 15), (options("lamport", "majority"), 10), (options("lamport", "perfect"), 5)],
    ids=("solo", "majority", "perfect"),
)
def test_every_message_is_handed_out_once_and_in_order(chosen: Options, seeds: int) -> None:
    deaths = 0
    for seed in range(90_000, 90_000 + seeds):
        site = FeedSite(chosen, seed, False)
        try:
            site.play()
        except Violation as violation:
            raise AssertionError(f"seed {seed}: {violation}") from violation
        deaths += sum(device.deaths for device in site.devices if isinstance(device, FeedDevice))
    assert deaths


@pytest.mark.parametrize("model", ["all-heard", "immediate"])
def test_what_is_tentative_is_handed_out_once_and_nothing_is_left_out(model: str) -> None:
    for seed in range(90_000, 90_004):
        site = FeedWingSite(options("bayou", model), seed, False)
        try:
            site.play()
        except Violation as violation:
            raise AssertionError(f"seed {seed}: {violation}") from violation
        assert any(len(device.handed) > 1 for device in site.devices if isinstance(device, FeedWingDevice))
