"""What can be asked about one's messages, each question with a typed answer; awaited."""

from __future__ import annotations

from typing import TypeVar

import msgspec

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
from holdfast.apps.messages.words import SEEN_MAX
from holdfast.client.errors import Misuse
from holdfast.client.lines import Word
from holdfast.client.messenger_types import Message, Page, Refused, Sent
from holdfast.client.outcomes import Answer
from holdfast.client.service import AsyncService
from holdfast.kernel.contracts import Reply

R = TypeVar("R", bound=Reply)


class Questions:
    """The questions and the small commands about messages. They raise `Refused`, and what a service's `call` does."""

    _service: AsyncService

    async def read(self, message: Message | int) -> Message:
        """Open a message of the inbox, by its number there; it counts as read from then on."""
        return msgspec.convert((await self._ask("read", *_number(message))).reply, Message)

    async def seen(self, *messages: Message | int) -> Shown:
        """Say that messages of the inbox were shown to one; they count as read from then on."""
        read: tuple[int, ...] = ()
        missing: tuple[int, ...] = ()
        for first in range(0, len(messages), SEEN_MAX):
            named = [_number(message) for message in messages[first : first + SEEN_MAX]]
            numbers, ids = [number for number, _ in named], [id for _, id in named]
            shown = _typed(await self._ask("seen", numbers, ids, {}), Shown)
            read, missing = (*read, *shown.numbers), (*missing, *shown.missing)
        return Shown(read, missing)

    async def acknowledge(self, message: Message | int) -> Acknowledged:
        """Acknowledge a message of the inbox, and so read it; its sender hears of it."""
        return _typed(await self._ask("ack", *_number(message)), Acknowledged)

    async def delete(self, message: Message | Sent) -> Deleted:
        """Delete a message that one has sent; that there was one stays to be seen."""
        return _typed(await self._ask("delete", message.conversation, message.place, message.id), Deleted)

    async def inbox(self, before: int | str = 0) -> Page:
        """The newest messages, or those before a number, the newest first; of those not read the text is withheld."""
        return _page(await self._ask("inbox", before), "items")

    async def history(self, conversation: str, before: int | str = 0) -> Page:
        """The newest messages of a conversation (of a person or a group), or those before a number, in their order;
        of those not read the text is withheld."""
        return _page(await self._ask("history", conversation, before), "messages")

    async def search(self, words: str, before: int | str = "") -> Page:
        """Messages that have all these words, in one's own conversations, the newest first; of those not read the text
        is withheld."""
        return _page(await self._ask("search", words, {"before": before or ""}), "messages")

    async def unread(self) -> Unread:
        """How many messages one has not read, in all and by conversation."""
        return _typed(await self._ask("unread"), Unread)

    async def who(self, unit: str = "") -> list[PersonSeen]:
        """The people of the site, or of a unit."""
        people: list[PersonSeen] = []
        after = ""
        while True:
            reply = (await self._ask("who", unit, after)).reply
            people += msgspec.convert(reply["people"], list[PersonSeen])
            after = reply["more_after"]
            if not after:
                return people

    async def groups(self) -> list[GroupSeen]:
        """The groups that one is in."""
        return msgspec.convert((await self._ask("groups")).reply["groups"], list[GroupSeen])

    async def make_group(self, name: str, *members: str) -> str:
        """Make a group of oneself and others, `#ward3`; the id under which all of them may write to it."""
        return str((await self._ask("group", name, members)).reply["group"])

    async def invite(self, group: str, person: str) -> Joined:
        """Take a person into a group that one is in; they see what is sent from then on."""
        return _typed(await self._ask("invite", group, person), Joined)

    async def leave(self, group: str) -> Left:
        """Leave a group; what was sent until then can still be read."""
        return _typed(await self._ask("leave", group), Left)

    async def states(self, message: Message | Sent) -> States:
        """How far a message of one's conversations has got with each of its recipients, and when."""
        return _typed(await self._ask("states", message.conversation, message.place), States)

    async def devices(self) -> list[DeviceAt]:
        """One's devices, and how far each has got."""
        return msgspec.convert((await self._ask("devices")).reply["devices"], list[DeviceAt])

    async def audit(self, after: int | str = 0) -> AuditLog:
        """Who read, acknowledged or deleted what and when, after that line."""
        return _typed(await self._ask("audit", after), AuditLog)

    async def _ask(self, *words: Word) -> Answer:
        answer = await self._service.call(*words)
        if not answer.ok:
            raise Refused(answer)
        return answer


def _number(message: Message | int) -> tuple[int, str]:
    """A message of the inbox, also by its id where it is known: its number may have changed."""
    if isinstance(message, int):
        return message, ""
    if not message.number:
        raise Misuse("this message is not from one's inbox: one has sent it")
    return (message.number, message.id)


def _page(answer: Answer, name: str) -> Page:
    reply = answer.reply
    messages = msgspec.convert(reply[name], tuple[Message, ...])
    return Page(messages, reply["more_before"], reply.get("unread", 0))


def _typed(answer: Answer, kind: type[R]) -> R:
    """The reply as the app's own type."""
    fields = (answer.reply[name] for name in kind.__struct_fields__)
    return msgspec.convert((kind.__struct_config__.tag, *fields), kind)
