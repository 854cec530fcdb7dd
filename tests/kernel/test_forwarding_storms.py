"""Forwarders of a service, and all that can happen to them at once: each notice arrives once, and in order."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.conftest import LONG
from tests.kernel.bell import Bells, ring
from tests.kernel.postbox import Post

from holdfast.kernel.contracts import Reply, Request
from holdfast.kernel.forwarding import Action, Carry, Forwarder, Own
from holdfast.kernel.notices import Outbox, OutboxAfter, Source, TakeNotices, TakenUpto
from holdfast.kernel.replies import Outcome, Unavailable, Unknown

LIFE = 1000


@dataclass
class Message:
    """Something on its way: an action of a forwarder, or the reply to one."""

    forwarder: Forwarder
    action: Action
    reply: Reply | None = None
    is_reply: bool = False


class World:
    """Three nodes of a service carry its notices to three of another, some of which answer before it is final;
    actions and replies are lost, doubled and late, forwarders die, what is not final comes to nothing.

    The service and the receiver are machines; that they agree about themselves is their protocols' affair. What a
    node has taken and not committed is committed later, in any order, or lost with its disk.
    """

    def __init__(self, *, is_tentative: bool) -> None:
        self.is_tentative = is_tentative
        self.source = Bells()
        self.source.advance(LIFE)
        self.post = Post()
        self.now_us = 0
        self.forwarders = [Forwarder("bells", rank, 3) for rank in range(3)]
        self.under_way: list[Message] = []
        self.uncommitted: list[TakeNotices] = []
        self.sent: list[str] = []

    # -- What happens

    def notify(self, count: int) -> None:
        people = [f"p{len(self.sent) + place}" for place in range(count)]
        self.source.do(*(ring(to=person) for person in people))
        self.sent += people

    def pass_time(self, ms: int) -> None:
        self.now_us += 1000 * ms
        for forwarder in self.forwarders:
            actions = forwarder.look(self.now_us, self.source.machine.notice_first)
            self.under_way += [Message(forwarder, action) for action in actions]

    def go_on(self, count: int) -> None:
        """So many things arrive, in order."""
        for _ in range(min(count, len(self.under_way))):
            self.arrive(0, is_doubled=False)

    def arrive(self, place: int, *, is_doubled: bool) -> None:
        message = self.under_way[place] if is_doubled else self.under_way.pop(place)
        forwarder, action = message.forwarder, message.action
        if not message.is_reply:
            reply = self._own(action) if isinstance(action, Own) else self._receive(action)
            self.under_way.append(Message(forwarder, action, reply, True))
        elif forwarder in self.forwarders:
            actions = forwarder.answered(self.now_us, action.id, message.reply)
            self.under_way += [Message(forwarder, following) for following in actions]

    def fail(self, place: int, reply: Reply | None) -> None:
        message = self.under_way.pop(place)
        if not message.is_reply:
            self.under_way.append(Message(message.forwarder, message.action, reply, True))

    def lose(self, place: int) -> None:
        self.under_way.pop(place)

    def die(self, rank: int) -> None:
        """What it has sent may still arrive; what comes back finds nobody."""
        self.forwarders[rank] = Forwarder("bells", rank, 3)

    def commit(self, place: int, *, is_lost: bool) -> None:
        take = self.uncommitted.pop(place)
        if not is_lost:
            self.post.do(take)

    def _own(self, action: Own) -> Reply:
        if isinstance(action.command, OutboxAfter):
            return self.source.machine.answer(Request(action.command))
        return self.source.one(Request(action.command))

    def _receive(self, action: Carry) -> Reply:
        machine = self.post.machine
        if isinstance(action.command, TakenUpto):
            return machine.answer(Request(action.command))
        if not self.is_tentative:
            return self.post.do(action.command)[0]
        self.uncommitted.append(action.command)
        mark = machine.store.mark()
        reply = self.post.do(action.command)[0]
        machine.store.rollback(mark)
        machine.store.forget()
        return Outcome(reply, "tentative")

    # -- What must hold

    def check(self) -> None:
        arrived = self.post.letters()
        assert [to for _, _, to, _ in arrived] == self.sent[: len(arrived)], "not once each, or not in order"
        outbox = self.source.machine.store.table(Outbox).get(0)
        source = self.post.machine.store.table(Source).get("bells")
        assert (outbox.dropped if outbox else 0) <= (source.upto if source else 0), "removed, and not arrived"

    def end(self) -> None:
        """When nothing fails any more all of it arrives, and the outbox is empty."""
        until_us = self.now_us + 10 * 60_000_000 * (1 + len(self.sent) // 100)
        while self.source.machine.notice_first is not None:
            assert self.now_us < until_us, "notices stay in the outbox"
            self.pass_time(200)
            self.go_on(100)
            while self.uncommitted:
                self.commit(0, is_lost=False)
        self.check()
        assert len(self.post.letters()) == len(self.sent)


BAD: list[Reply | None] = [None, Unavailable("down"), Unknown("late")]
TIMES_MS = [200, 1_000, 2_000, 20_000, 40_000]


@pytest.mark.parametrize("is_tentative", [False, True], ids=["final", "tentative"])
@pytest.mark.parametrize("seed", range(200 if LONG else 12))
def test_in_any_storm_each_arrives_once_and_in_order(seed: int, is_tentative: bool) -> None:
    world, chance = World(is_tentative=is_tentative), random.Random(seed)
    calm = chance.choice((0.5, 0.8, 0.95))
    for _ in range(600):
        if chance.random() < calm:
            world.pass_time(200)
            world.go_on(chance.randrange(8))
        elif world.under_way and chance.random() < 0.6:
            place = chance.randrange(len(world.under_way))
            match chance.randrange(4):
                case 0:
                    world.arrive(place, is_doubled=chance.random() < 0.5)
                case 1:
                    world.lose(place)
                case 2:
                    world.fail(place, chance.choice(BAD))
                case 3:
                    world.pass_time(chance.choice(TIMES_MS))
        elif world.uncommitted and chance.random() < 0.6:
            world.commit(chance.randrange(len(world.uncommitted)), is_lost=chance.random() < 0.3)
        elif chance.random() < 0.2:
            world.die(chance.randrange(3))
        else:
            world.notify(chance.choice((1, 1, 3, 120)))
        world.check()
    assert world.source.machine.store.table(Outbox).get(0).dropped > 0  # type: ignore[union-attr]
    world.end()


places = st.integers(0, 7)


class Carrying(RuleBasedStateMachine):
    """The same world, where what goes wrong is made small."""

    @initialize(is_tentative=st.booleans())
    def begin(self, is_tentative: bool) -> None:
        self.world = World(is_tentative=is_tentative)
        self.world.notify(2)

    @rule(count=st.integers(1, 120))
    def notify(self, count: int) -> None:
        self.world.notify(count)

    @rule(ms=st.sampled_from(TIMES_MS), count=st.integers(0, 12))
    def go_on(self, ms: int, count: int) -> None:
        self.world.pass_time(ms)
        self.world.go_on(count)

    @precondition(lambda self: self.world.under_way)
    @rule(place=places, is_doubled=st.booleans())
    def arrive(self, place: int, is_doubled: bool) -> None:
        self.world.arrive(place % len(self.world.under_way), is_doubled=is_doubled)

    @precondition(lambda self: self.world.under_way)
    @rule(place=places, reply=st.sampled_from(BAD))
    def fail(self, place: int, reply: Reply | None) -> None:
        self.world.fail(place % len(self.world.under_way), reply)

    @precondition(lambda self: self.world.under_way)
    @rule(place=places)
    def lose(self, place: int) -> None:
        self.world.lose(place % len(self.world.under_way))

    @rule(rank=st.integers(0, 2))
    def die(self, rank: int) -> None:
        self.world.die(rank)

    @precondition(lambda self: self.world.uncommitted)
    @rule(place=places, is_lost=st.booleans())
    def commit(self, place: int, is_lost: bool) -> None:
        self.world.commit(place % len(self.world.uncommitted), is_lost=is_lost)

    @invariant()
    def all_is_well(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.end()


TestCarrying = Carrying.TestCase
TestCarrying.settings = settings(max_examples=2000 if LONG else 40, stateful_step_count=60, deadline=None)
