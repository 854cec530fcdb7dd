"""Which messages are handed out, and in which order: a core without I/O.

A feed hears two things: what the service tells as it happens (`heard`), and pages of the inbox
(`answered`), which it asks for when `wants_page` says so: at the beginning, and where something may have been
missed. Numbers of an inbox have no gaps but those left by age, and those only an answered page can
have; so a number that is told and is not the next one means that something was missed.

What is handed out is *in hand* until the next is asked for; only then the `cursor` moves. Where outcomes are
*tentative*, a message is handed out as soon as it is known, by its id, whatever its number; the cursor follows
when it is firm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from holdfast.client.messenger_types import Message
from holdfast.kernel.errors import HoldfastError

WAITING_MAX = 500
"""Messages that wait to be handed out; what is told beyond them is asked for later."""
SEEN_MAX = 10_000
LOOK_BACK = 100
"""As many messages as an answered page has."""


class AnotherInbox(HoldfastError):
    """The inbox is not the one that this device has read so far."""


class Feed:
    """The messages of one person for one device. `cursor`: up to which number it had them. `seen`: ids of those above
    it that it had too. `tentative`: whether numbers may change until a message is firm."""

    def __init__(self, cursor: int, seen: Iterable[str] = (), *, tentative: bool = False) -> None:
        self.cursor = cursor
        self.in_hand: Message | None = None
        self._tentative = tentative
        self._begin = self._upto = cursor  # how far messages are known in the order of their final numbers
        self._waiting: deque[Message] = deque()
        self._done: dict[str, None] = dict.fromkeys(seen)
        self._known: dict[str, None] = dict.fromkeys(seen)
        self._firm: deque[tuple[int, str]] = deque()
        self._loose: dict[str, None] = {}
        self._behind = True
        self._page: int | None = None  # after which number to go on, between two pages
        self._looks_back = False

    @property
    def has_some(self) -> bool:
        """Whether a message waits to be handed out."""
        return bool(self._waiting)

    @property
    def wants_page(self) -> bool:
        """Whether a page has to be asked for, and there is room for it."""
        return (self._behind or self._page is not None) and len(self._waiting) < WAITING_MAX

    @property
    def has_loose(self) -> bool:
        """Whether a message is known that is not firm yet: that it has become so nobody tells, one has to ask."""
        return bool(self._loose)

    def doubt(self) -> None:
        """Something may have been missed."""
        self._behind = True

    def heard(self, message: Message) -> None:
        """The service has told a message as it came."""
        if message.firm and message.number <= self._upto:
            return
        if len(self._waiting) >= WAITING_MAX or (message.firm and message.number > self._upto + 1):
            self._behind = True
        elif message.firm:
            self._pass(message)
        else:
            self._offer(message)

    def ask(self) -> int:
        """After which number to ask for a page, now. What is missed from now on wants another one."""
        if self._page is None:
            self._behind = False
            return self._upto
        return self._page

    def answered(self, after: int, messages: Sequence[Message], last: int, *, more: bool) -> None:
        """A page: the messages after that number, the oldest first. `last`: the highest number of the inbox."""
        if not self._tentative and last < self._begin:
            raise AnotherInbox(
                f"the inbox ends at {last}, and this device has had {self._begin} messages: it is the inbox of another "
                "service, or the service's data is gone; give this device another folder"
            )
        for message in messages:
            if not message.firm:
                self._offer(message)
            elif after > self._upto:  # what was skipped as tentative is firm by now, and may be something else
                self._page, self._looks_back, self._behind = None, False, True
                return
            elif message.number > self._upto:
                self._pass(message)
        self._page = self._next_page(after, messages, last, more=more)
        self._looks_back = self._looks_back and self._page is not None

    def _next_page(self, after: int, messages: Sequence[Message], last: int, *, more: bool) -> int | None:
        if more and messages and not self._looks_back:
            return messages[-1].number
        start = min(last, after)
        if not self._tentative or last >= self._upto or start <= 0:
            return None
        # This replica knows less than another one did: what is new here has lower numbers than were seen there.
        if self._looks_back and (not messages or messages[0].firm):
            return None
        self._looks_back = True
        return max(0, start - LOOK_BACK)

    def take(self) -> Message | None:
        """The next message, in hand from now on, or None; the one before must be finished."""
        self.in_hand = self._waiting.popleft() if self._waiting else None
        return self.in_hand

    def finish(self) -> str:
        """The message in hand is done; its id where that has to be remembered beside the cursor, else ""."""
        message, self.in_hand = self.in_hand, None
        if message is not None:
            self._done[message.id] = None
        self._advance()
        return message.id if message is not None and self._tentative else ""

    def give_back(self) -> None:
        """Nobody has got the message in hand: it is the next one again."""
        if self.in_hand is not None:
            self._waiting.appendleft(self.in_hand)
            self.in_hand = None

    def _pass(self, message: Message) -> None:
        self._upto = message.number
        self._firm.append((message.number, message.id))
        self._loose.pop(message.id, None)
        self._offer(message)

    def _offer(self, message: Message) -> None:
        if self._tentative:
            if not message.firm:
                self._loose[message.id] = None
            if message.id in self._known:
                self._advance()
                return
            self._known[message.id] = None
        self._waiting.append(message)

    def _advance(self) -> None:
        while self._firm and self._firm[0][1] in self._done:
            self.cursor, id = self._firm.popleft()
            if not self._tentative:
                del self._done[id]
        while len(self._done) > SEEN_MAX:
            forgotten = next(iter(self._done))
            del self._done[forgotten]
            self._known.pop(forgotten, None)
            self._loose.pop(forgotten, None)
