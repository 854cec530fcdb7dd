"""Messages for Python: `Messenger`, five lines to send and receive. See docs/python.md.

    with Messenger("ann", "ann's token") as ann:
        ann.send("bob", "Room 12 is free.")
        for message in ann:
            print(message.sender, message.text)

It is an `AsyncMessenger` on an event loop of its own, in a thread that also sends what had to be kept.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import wait
from typing import Any, Self, TypeVar, Unpack

from holdfast.apps.messages.replies import (
    Acknowledged,
    AuditLog,
    Deleted,
    DeviceAt,
    GroupSeen,
    Joined,
    Left,
    PersonSeen,
    Shown,
    States,
    Unread,
)
from holdfast.client.blocking import HEARD_S
from holdfast.client.errors import Misuse
from holdfast.client.messenger_async import LAST_WORD_S, AsyncMessenger, MessengerOptions
from holdfast.client.messenger_types import Draft, Kept, Message, Page, Priority, Sent

T = TypeVar("T")


class Messenger:
    """A person's messages on one device. Close it, or use it with `with`; threads may share it.

    `on_news` and `on_note` are called in the messenger's own thread, and must not ask the messenger for anything there.
    See `AsyncMessenger` for everything else.
    """

    def __init__(
        self, person: str | None = None, token: str | None = None, **options: Unpack[MessengerOptions]
    ) -> None:
        """`person`, `token`: who (otherwise HOLDFAST_AS and HOLDFAST_TOKEN)."""
        self._messenger = AsyncMessenger(person, token, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="messenger", daemon=True)
        self._thread.start()
        self._run(self._messenger.__aenter__())

    @property
    def person(self) -> str:
        """Whose messages these are."""
        return self._messenger.person

    @property
    def device(self) -> str:
        """This device's name among the person's own."""
        return self._messenger.device

    @property
    def drafts(self) -> list[Draft]:
        """What waits to be sent, in that order, and what was refused after it had waited."""
        return self._messenger.drafts

    def discard(self, draft: Draft) -> None:
        """Do not send it. It may have been sent already, if a server was reached before."""

        async def discard() -> None:
            self._messenger.discard(draft)

        self._run(discard())

    def send(self, to: str, text: str, subject: str = "", priority: Priority = "routine") -> Sent | Kept:
        """Send to a person or a group. `Kept`: no server answers; it is sent later, once, whatever happens."""
        return self._run(self._messenger.send(to, text, subject, priority))

    def receive(self, wait_s: float | None = None) -> Message | None:
        """The next new message, waiting for it so long (None: for ever), or None. With that, the one before counts as
        received: one whose reader dies before is given out again."""
        try:
            return self._run(self._messenger.receive(wait_s))
        except BaseException:  # whatever interrupts the wait must not lose what has just come
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._messenger.give_back)
            raise

    def report(self, wait_s: float | None = None) -> bool:
        """Tell the servers now what was handed out, not within half a second; False if none has taken it so soon: then
        it is kept on this device, and told later."""
        return self._run(self._messenger.report(wait_s))

    def __iter__(self) -> Iterator[Message]:
        """New messages as they come, each once, in the order of the inbox."""
        while (message := self.receive()) is not None:
            yield message

    def read(self, message: Message | int) -> Message:
        """Open a message of the inbox, by its number there; it counts as read from then on."""
        return self._run(self._messenger.read(message))

    def seen(self, *messages: Message | int) -> Shown:
        """Say that messages of the inbox were shown to one; they count as read from then on."""
        return self._run(self._messenger.seen(*messages))

    def acknowledge(self, message: Message | int) -> Acknowledged:
        """Acknowledge a message of the inbox, and so read it; its sender hears of it."""
        return self._run(self._messenger.acknowledge(message))

    def delete(self, message: Message | Sent) -> Deleted:
        """Delete a message that one has sent; that there was one stays to be seen."""
        return self._run(self._messenger.delete(message))

    def inbox(self, before: int | str = 0) -> Page:
        """The newest messages, or those before a number, the newest first; of those not read the text is withheld."""
        return self._run(self._messenger.inbox(before))

    def history(self, conversation: str, before: int | str = 0) -> Page:
        """The newest messages of a conversation (of a person or a group), or those before a number, in their order;
        of those not read the text is withheld."""
        return self._run(self._messenger.history(conversation, before))

    def search(self, words: str, before: int | str = "") -> Page:
        """Messages that have all these words, in one's own conversations, the newest first; of those not read the text
        is withheld."""
        return self._run(self._messenger.search(words, before))

    def unread(self) -> Unread:
        """How many messages one has not read, in all and by conversation."""
        return self._run(self._messenger.unread())

    def who(self, unit: str = "") -> list[PersonSeen]:
        """The people of the site, or of a unit."""
        return self._run(self._messenger.who(unit))

    def groups(self) -> list[GroupSeen]:
        """The groups that one is in."""
        return self._run(self._messenger.groups())

    def make_group(self, name: str, *members: str) -> str:
        """Make a group of oneself and others, `#ward3`; the id under which all of them may write to it."""
        return self._run(self._messenger.make_group(name, *members))

    def invite(self, group: str, person: str) -> Joined:
        """Take a person into a group that one is in; they see what is sent from then on."""
        return self._run(self._messenger.invite(group, person))

    def leave(self, group: str) -> Left:
        """Leave a group; what was sent until then can still be read."""
        return self._run(self._messenger.leave(group))

    def states(self, message: Message | Sent) -> States:
        """How far a message of one's conversations has got with each of its recipients, and when."""
        return self._run(self._messenger.states(message))

    def devices(self) -> list[DeviceAt]:
        """One's devices, and how far each has got."""
        return self._run(self._messenger.devices())

    def audit(self, after: int | str = 0) -> AuditLog:
        """Who read, acknowledged or deleted what and when, after that line."""
        return self._run(self._messenger.audit(after))

    def close(self, *, handled: bool = True) -> None:
        """End; drafts stay on this device and are sent by its next messenger. `handled`: whether the message that
        was received last is done with."""
        if self._loop.is_closed():
            return
        try:
            self._run(self._end(handled))
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _end(self, handled: bool) -> None:
        """Also let other threads have what they wait for."""
        await self._messenger.close(handled=handled)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=LAST_WORD_S)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise Misuse("this messenger is closed; open another one")
        if threading.current_thread() is self._thread:
            work.close()
            raise Misuse("what on_news calls must not wait for the messenger; hand the news to another thread")
        asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not wait([asked], HEARD_S).done:
                pass
            return asked.result()
        except BaseException:
            asked.cancel()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(handled=kind is None)
