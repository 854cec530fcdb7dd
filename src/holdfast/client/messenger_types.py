"""What a messenger gives and takes: messages, what became of one that was sent, drafts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal, get_args

import msgspec

from holdfast.apps.messages.replies import unread_text
from holdfast.apps.messages.words import ADDRESS_CHARACTERS_MAX, SUBJECT_CHARACTERS_MAX
from holdfast.apps.values import check_exact_text, forbidden_character, shown
from holdfast.client.errors import Misuse
from holdfast.client.lines import exact
from holdfast.client.outcomes import Answer, one_line
from holdfast.kernel.errors import HoldfastError

Priority = Literal["routine", "urgent", "emergency"]


class Message(msgspec.Struct, frozen=True, rename={"place": "message", "text": "content"}):
    """A message. `number`: in one's inbox, 0 of what one has sent; `place`: in its conversation; `id`: its lasting
    name. Times are Unix milliseconds, 0 for not (yet). `repeats`: how often it was told again, as nobody has
    acknowledged it. `firm`: false while its numbers may still change. Of a deleted one, text and subject are empty.
    `withheld`: the text is left out, as one has not read it; `read` has it."""

    id: str
    conversation: str
    place: int
    sender: str
    subject: str
    priority: Priority
    text: str
    sent_ms: int
    number: int = 0
    repeats: int = 0
    read_ms: int = 0
    acked_ms: int = 0
    deleted_ms: int = 0
    firm: bool = True
    withheld: bool = False

    @property
    def sent_at(self) -> datetime:
        """When it was sent, in UTC."""
        return datetime.fromtimestamp(self.sent_ms / 1000, UTC)

    @property
    def is_deleted(self) -> bool:
        """Whether only a tombstone is left of it."""
        return self.deleted_ms > 0

    def __str__(self) -> str:
        """As people see it, in one line."""
        how = "" if self.priority == "routine" else f" {self.priority}"
        about = f" ({one_line(self.subject)})" if self.subject else ""
        text = f"({unread_text(self.number)})" if self.withheld else one_line(self.text)
        said = "(deleted)" if self.is_deleted else text
        return f"{self.sent_at:%Y-%m-%d %H:%M} {self.sender}{how}{about}: {said}"


class Page(msgspec.Struct, frozen=True):
    """Some messages, and what to ask before for those that were sent earlier (0 or "": there are none). `unread`: of an
    inbox, how many of the whole are unread."""

    messages: tuple[Message, ...]
    more_before: int | str = 0
    unread: int = 0

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)


class Draft(msgspec.Struct, frozen=True):
    """A message that waits on this device. (`client`, `number`) is its name at the servers, whatever crashes.
    `kept_ms`: since when. `refused`: why the service did not take it; "" while it is still to be sent."""

    client: str
    number: int
    to: str
    text: str
    subject: str = ""
    priority: Priority = "routine"
    kept_ms: int = 0
    refused: str = ""


class Sent(msgspec.Struct, frozen=True):
    """The service has the message, as number `place` of the conversation. `firm`: "tentative" while that may change.
    `id` is "" and `place` 0 of one that was sent so long ago that its answer is forgotten."""

    to: str
    id: str = ""
    conversation: str = ""
    place: int = 0
    firm: str = "committed"
    is_sent: bool = True

    def __str__(self) -> str:
        return f"Sent to {self.to}."


class Kept(msgspec.Struct, frozen=True):
    """No server has taken the message yet. It lies on this device and is sent as soon as one does. `why`: what was
    last heard of them."""

    draft: Draft
    why: str = ""
    is_sent: bool = False

    def __str__(self) -> str:
        return f"Kept for {self.draft.to}, to be sent as soon as a server takes it."


class News(msgspec.Struct, frozen=True):
    """What else a messenger hears: `type` "ack_heard" (somebody has acknowledged a message of one's own), "arrived"
    (one's own acknowledgement is still awaited; without the text, which `read` has), "deleted", "group_made",
    "joined", "sent" or "refused" (what became of a draft). `reply`: its fields by name."""

    type: str
    text: str
    reply: dict[str, object] = {}


class Refused(HoldfastError):
    """The service has refused. `type` says what, `reply` has its fields, `answer` is all of it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text.removeprefix("Failed: "))
        self.answer = answer
        self.type = answer.type
        self.reply = answer.reply


def check_message(to: str, text: str, subject: str, priority: str) -> None:
    """Raises `Misuse` for what no service would take as a message, whoever it is for."""
    for name, word in (("to", to), ("text", text), ("subject", subject), ("priority", priority)):
        if not isinstance(word, str):
            raise Misuse(f"{name} must be text, not {shown(repr(word))}")
        exact(word)
    if priority not in get_args(Priority):
        raise Misuse(f"priority must be routine, urgent or emergency, not {shown(priority)}")
    for name, word, most in (("to", to, ADDRESS_CHARACTERS_MAX), ("subject", subject, SUBJECT_CHARACTERS_MAX)):
        if len(word) > most:
            raise Misuse(f"{name} must have at most {most} characters, not {len(word)}")
        if found := forbidden_character(word):
            raise Misuse(f"{name} must have no control characters such as {found}")
    if not to:
        raise Misuse("to must name a person or a group, and is empty")
    if why := check_exact_text(text):
        raise Misuse(f"the text {why}")
