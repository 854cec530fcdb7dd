"""What the messages' store holds. Times are Unix milliseconds of the replicated clock; 0 stands for not (yet)."""

from __future__ import annotations

from holdfast.apps.messages.words import Priority
from holdfast.kernel.store import Row

OPEN = 2**62
"""The end of a span that has none yet."""


class Conversation(Row, frozen=True):
    """`members`: who gets what is sent to it, in order; of a service's notices only their reader. `last`: the
    highest number that it ever had, `first`: the lowest that it may still have. `place_ms`: that of the newest.
    `audits`: lines ever written to the audit log about it."""

    table = "conversations"
    key = ("id",)

    id: str
    members: tuple[str, ...]
    last: int = 0
    first: int = 1
    place_ms: int = 0
    audits: int = 0


class Membership(Row, frozen=True):
    """A person's part in a conversation. `unread`: how many of its messages they have not read. `spans`: (first,
    last) of the messages that they may see, of each time that they were in it; the last is `OPEN` while they are."""

    table = "memberships"
    key = ("person", "conversation")
    ordered = True

    person: str
    conversation: str
    unread: int
    spans: tuple[tuple[int, int], ...]

    @property
    def is_present(self) -> bool:
        """Whether they get what is sent now."""
        return bool(self.spans) and self.spans[-1][1] == OPEN

    def sees(self, number: int) -> bool:
        """Whether a message of the conversation is one for them."""
        return any(first <= number <= last for first, last in self.spans)


class Message(Row, frozen=True):
    """A message, by its number in its conversation. `id`: its lasting name. `place_ms`: when it was sent, or the
    one before it if that is later (under `bayou` it may be): what it is sorted by among those of other
    conversations. `recipients`: each with its number in their inbox."""

    table = "messages"
    key = ("conversation", "number")
    indexes = ("id",)
    ordered = True

    conversation: str
    number: int
    id: str
    sender: str
    subject: str
    priority: Priority
    content: str
    sent_ms: int
    deleted_ms: int
    place_ms: int
    recipients: tuple[tuple[str, int], ...]


class Item(Row, frozen=True):
    """A message in an inbox, by its number there. `repeats`: how often it was told again; `due_ms`: when it will be."""

    table = "items"
    key = ("person", "number")
    ordered = True

    person: str
    number: int
    conversation: str
    message: int
    read_ms: int = 0
    acked_ms: int = 0
    repeats: int = 0
    due_ms: int = 0


class Box(Row, frozen=True):
    """A person's inbox. `last`: its highest number so far. `delivered`: up to where some device of theirs has it.
    `unread`: messages that are neither read nor deleted. `seen_ms`: when they last did something, to the minute."""

    table = "boxes"
    key = ("person",)

    person: str
    last: int = 0
    delivered: int = 0
    unread: int = 0
    seen_ms: int = 0


class Device(Row, frozen=True):
    """Up to where a device has its person's inbox, and when it said so last."""

    table = "devices"
    key = ("person", "device")
    ordered = True

    person: str
    device: str
    cursor: int
    seen_ms: int


class Delivery(Row, frozen=True):
    """When the inbox up to `upto`, from behind the row before, came to a device of the person."""

    table = "deliveries"
    key = ("person", "upto")
    ordered = True

    person: str
    upto: int
    at_ms: int


class Reminder(Row, frozen=True):
    """A message of an inbox that is to be told again, then."""

    table = "reminders"
    key = ("due_ms", "person", "number")
    ordered = True

    due_ms: int
    person: str
    number: int


class Oldest(Row, frozen=True):
    """When the first message was sent that a conversation still has; of each that has one."""

    table = "oldest"
    key = ("sent_ms", "conversation")
    ordered = True

    sent_ms: int
    conversation: str


class Audit(Row, frozen=True):
    """Who did what with a message: "read", "ack" or "delete". `number`: of the line among those about the
    conversation; `place`: among all."""

    table = "audit"
    key = ("conversation", "number")
    indexes = ("place",)
    ordered = True

    conversation: str
    number: int
    place: int
    at_ms: int
    person: str
    what: str
    message: int


class Counts(Row, frozen=True):
    """The one row of counters: of lines ever written to the audit log."""

    table = "counts"
    key = ("id",)

    id: int
    audits: int = 0


class Terms(Row, frozen=True):
    """The one row about the service, fixed with the first start of its data."""

    table = "terms"
    key = ("id",)

    id: int
    urgent_repeat_ms: int
    emergency_repeat_ms: int
    retention_ms: int
    audit_ms: int
