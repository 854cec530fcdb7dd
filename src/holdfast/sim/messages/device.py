"""A device, as the client's messenger is one: pushed in order, it takes what comes; where something is missing,
it fetches from its cursor on. What it has taken and its cursor lie on its disk, and change together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from holdfast.apps.messages import words
from holdfast.apps.messages.replies import AckHeard, Arrived, Since
from holdfast.kernel.contracts import Person, Reply
from holdfast.sim.audit import Violation
from holdfast.sim.host import Host
from holdfast.sim.trace import render
from holdfast.sim.world import World

if TYPE_CHECKING:
    from holdfast.sim.messages.caller import Caller
    from holdfast.sim.messages.crowd import Crowd
    from holdfast.sim.messages.post import Post

MESSAGE_FIELDS = ("number", "id", "conversation", "message", "sender", "priority", "sent_ms")


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """`lost`: the share of what is pushed that never comes; `dies`: chance of its own death at each message; times
    in microseconds. `reports`: how often it says how far it has got."""

    lost: float
    dies: float
    way_us_max: int
    back_us_max: int
    reports: float


class Keeper(Protocol):
    """What is judged of a device. `reminded`: (number, repeats) of what it was told again."""

    name: str
    person: Person
    taken: list[Any]
    reminded: list[tuple[int, int]]


class Device:
    """One device of one person. `taken`: what it has, oldest first, and `cursor`: the number of the last, both on its
    disk. `reminded`: (number, repeats) of what it was told again. `steady`: watching since then, nothing lost."""

    def __init__(
        self, name: str, person: Person, world: World, posts: list[Post], caller: Caller, crowd: Crowd, habits: Habits
    ) -> None:
        self.name = name
        self.person = person
        self.world = world
        self.posts = posts
        self.caller = caller
        self.crowd = crowd
        self.habits = habits
        self.taken: list[Any] = []
        self.cursor = 0
        self.reminded: list[tuple[int, int]] = []
        self.steady = False
        self.calm = False
        self.post: Post | None = None
        self._life = 0
        self._fetching = False
        self._again = False

    # ---- the line ----

    def begin(self) -> None:
        """Look for somebody to watch at."""
        self.world.after(self.world.between(0, self.habits.back_us_max), self._connect, self._life)

    def _connect(self, life: int) -> None:
        if life != self._life or self.post is not None:
            return
        post = self.world.random.choice(self.posts)
        if post.state != "up":
            self.begin()
            return
        self.post = post
        self.steady = True
        post.devices[self] = None
        if self.world.tracing:
            self.world.note(f"{self.name} watches at {post.name}, has {self.cursor}")
        self.fetch()

    def hang_up(self) -> None:
        """The line breaks; it looks for another post."""
        if self.post is not None:
            self.post.devices.pop(self, None)
        self.post = None
        self.steady = False
        self._life += 1
        self._fetching = self._again = False
        self.begin()

    def cut_off(self, post: Host, silent: bool) -> None:
        """The process at the other end is gone; it hears of it soon, or finds out."""
        self.steady = False
        self.world.after(self.world.between(100, 1_000_000 if silent else 2_000), self._gone, post, self._life)

    def _gone(self, post: Host, life: int) -> None:
        if self.post is post and life == self._life:
            self.hang_up()

    def travels(self, post: Host, told: Reply | None) -> None:
        """Something is pushed to it; None: that there was something which it is not told."""
        if not self.calm and self.world.chance(self.habits.lost):
            self.steady = False
            return
        self.world.after(self.world.between(20, self.habits.way_us_max), self._arrives, post, told, self._life)

    def _arrives(self, post: Host, told: Reply | None, life: int) -> None:
        if self.post is not post or life != self._life:
            return
        if told is None:
            self.fetch()
            return
        self.crowd.shown(self.person, told)
        if isinstance(told, AckHeard):
            return
        if isinstance(told, Arrived):
            self.pushed(told)

    # ---- what it does with it ----

    def pushed(self, told: Arrived) -> None:
        """In order it is taken; what it has is old, or told again; after a gap it asks."""
        if told.number <= self.cursor:
            if told.repeats:
                self.reminded.append((told.number, told.repeats))
        elif told.number == self.cursor + 1:
            self.take(told)
        else:
            self.fetch()

    def take(self, item: Any) -> None:
        """Keep it, and move the cursor: one write of the disk."""
        if not self.calm and self.world.chance(self.habits.dies):
            self.hang_up()  # it died before the write, and starts again
            return
        self.taken.append(item)
        self.cursor = item.number
        if self.world.tracing:
            self.world.note(f"{self.name} takes {render(item)}")
        if self.world.chance(self.habits.reports):
            device = self.name.partition("-")[2]
            self.caller.run((self.person, words.Got(device, self.cursor)), words.Got(device, self.cursor), False)

    def fetch(self, then: Callable[[], None] | None = None) -> None:
        """Ask for what came after the cursor."""
        if self._fetching:
            self._again = True
            return
        self._fetching, self._again = True, False
        query, life = words.AskSince(self.cursor), self._life
        self.caller.run((self.person, query), query, True, then=lambda: self._fetched(life))

    def _fetched(self, life: int) -> None:
        if life != self._life:
            return
        self._fetching = False
        reply = self.caller.heard
        if not isinstance(reply, Since):
            raise Violation("device", f"{self.name} asked for what is new and is told {render(reply)}")
        for item in reply.items:
            if item.number > self.cursor and life == self._life:
                self.take(item)
        if life == self._life and (reply.more or self._again):
            self.fetch()

    @property
    def idle(self) -> bool:
        """It watches, and waits for nothing."""
        return self.post is not None and not self._fetching
