"""What the messages answer. Times are Unix milliseconds of the replicated clock; 0 stands for not (yet).

`number` counts a person's inbox, `message` a conversation, both from 1. `id` is a message's lasting name.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from holdfast.apps.messages.words import Priority
from holdfast.kernel.contracts import Reply
from holdfast.kernel.stamps import utc_text

Reached = Literal["stored", "delivered", "read", "acknowledged"]
"""How far a message has got: it lies in the inbox; a device has it; it was opened; it was acknowledged."""


# -- messages as they are shown ------------------------------------------------------------------


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message as it lies in an inbox. `content`: its text. `repeats`: how often it was told again.
    `deleted_ms`: if not 0, content and subject are empty. `firm`: false while its numbers may still change.
    `withheld`: content is left out, as its person has not read it."""

    number: int
    id: str
    conversation: str
    message: int
    sender: str
    subject: str
    priority: Priority
    content: str
    sent_ms: int
    repeats: int
    read_ms: int
    acked_ms: int
    deleted_ms: int
    firm: bool = True
    withheld: bool = False

    def line(self) -> str:
        """As the part of a sentence."""
        new = "" if self.read_ms or self.deleted_ms else "new "
        text = unread_text(self.number) if self.withheld else self.content
        said = _said(self.sender, self.subject, self.priority, text, self.sent_ms, self.deleted_ms)
        return f"{self.number} {new}in {self.conversation} {said}{_tentative(self.firm)}"


class Said(msgspec.Struct, frozen=True, gc=False):
    """A message as it stands in a conversation. See `Received`. `number`: in the inbox of who asks, 0 of what they
    have sent."""

    conversation: str
    message: int
    id: str
    sender: str
    subject: str
    priority: Priority
    content: str
    sent_ms: int
    deleted_ms: int
    firm: bool = True
    number: int = 0
    withheld: bool = False

    def line(self) -> str:
        """As the part of a sentence; the conversation is left out."""
        text = unread_text(self.number) if self.withheld else self.content
        said = _said(self.sender, self.subject, self.priority, text, self.sent_ms, self.deleted_ms)
        return f"{self.message} {said}{_tentative(self.firm)}"


def _said(sender: str, subject: str, priority: str, text: str, sent_ms: int, deleted_ms: int) -> str:
    how = "" if priority == "routine" else f" {priority}"
    about = f" ({subject})" if subject else ""
    said = f"deleted, {utc_text(deleted_ms)}" if deleted_ms else text
    return f"{utc_text(sent_ms)} {sender}{how}{about}: {said}"


def unread_text(number: int) -> str:
    """What stands in the place of a text that its reader has not opened, of that number in the inbox."""
    return f"not read yet: read {number}"


def _tentative(firm: bool) -> str:
    return "" if firm else " [tentative]"


# -- answers to commands ---------------------------------------------------------------------------


class Sent(Reply, frozen=True, tag="sent"):
    """The message is stored, as number `number` of the conversation. `to`: the person, or the group's id."""

    conversation: str
    number: int
    id: str
    to: str

    def text(self) -> str:
        return f"Sent to {self.to}, as {self.number} of {self.conversation}, {self.id}."


class Opened(Reply, frozen=True, tag="opened"):
    """A message, read now or before (`read_ms`). The fields are those of `Received`."""

    number: int
    id: str
    conversation: str
    message: int
    sender: str
    subject: str
    priority: Priority
    content: str
    sent_ms: int
    repeats: int
    read_ms: int
    acked_ms: int
    deleted_ms: int

    def text(self) -> str:
        said = _said(self.sender, self.subject, self.priority, self.content, self.sent_ms, self.deleted_ms)
        return f"{self.number} in {self.conversation} {said}"


class Shown(Reply, frozen=True, tag="shown"):
    """They count as read, now or before; of a deleted one there is nothing to read. `missing`: numbers, as they were
    given, of what the inbox has not, or no more."""

    numbers: tuple[int, ...]
    missing: tuple[int, ...]

    def text(self) -> str:
        read = f"Read: {', '.join(map(str, self.numbers))}." if self.numbers else "Nothing is read."
        return f"{read} Not in your inbox: {', '.join(map(str, self.missing))}." if self.missing else read


class Acknowledged(Reply, frozen=True, tag="acknowledged"):
    """The message is acknowledged, now or before, and its sender knows."""

    number: int
    id: str
    sender: str
    at_ms: int

    def text(self) -> str:
        return f"Message {self.number} of {self.sender} is acknowledged, {utc_text(self.at_ms)}."


class CursorMoved(Reply, frozen=True, tag="got"):
    """How far the device has got: never less than before, never more than the inbox has."""

    device: str
    cursor: int

    def text(self) -> str:
        return f"{self.device} has all up to {self.cursor}."


class Deleted(Reply, frozen=True, tag="deleted"):
    """The message's text and subject are gone, now or before; that there was a message stays. The recipients
    who watch are told it too."""

    conversation: str
    number: int
    id: str
    at_ms: int

    def text(self) -> str:
        return f"Message {self.number} of {self.conversation} is deleted, {utc_text(self.at_ms)}."


class GroupMade(Reply, frozen=True, tag="group_made"):
    """The group, under the id that everybody in it may write, and who is in it. They are told it too, if they watch."""

    group: str
    members: tuple[str, ...]

    def text(self) -> str:
        return f"{self.group} is made, with {', '.join(self.members)}."


class Joined(Reply, frozen=True, tag="joined"):
    """The person is in the group, now or before. They are told it too, if they watch."""

    group: str
    person: str
    by: str

    def text(self) -> str:
        return f"{self.person} is in {self.group}."


class Left(Reply, frozen=True, tag="left"):
    """The person sees what was sent to the group until now, and no more."""

    group: str
    person: str

    def text(self) -> str:
        return f"{self.person} has left {self.group}."


# -- what watchers are told ------------------------------------------------------------------------


class Arrived(Reply, frozen=True, tag="arrived"):
    """A message for whoever watches: new (`repeats` 0), or again, as they have not acknowledged it.
    The fields are those of `Received`."""

    number: int
    id: str
    conversation: str
    message: int
    sender: str
    subject: str
    priority: Priority
    content: str
    sent_ms: int
    repeats: int

    def text(self) -> str:
        again = f", told again, {self.repeats}" if self.repeats else ""
        said = _said(self.sender, self.subject, self.priority, self.content, self.sent_ms, 0)
        return f"{self.number} in {self.conversation}{again} {said}"


class AckHeard(Reply, frozen=True, tag="ack_heard"):
    """Told to the sender: the recipient has acknowledged it."""

    conversation: str
    message: int
    id: str
    by: str
    at_ms: int

    def text(self) -> str:
        return f"{self.by} has acknowledged message {self.message} of {self.conversation}, {utc_text(self.at_ms)}."


# -- answers to questions --------------------------------------------------------------------------


class Inbox(Reply, frozen=True, tag="inbox"):
    """The newest first. `unread`: how many of the whole inbox. `more_before`: what to ask before for the rest, or 0."""

    unread: int
    items: tuple[Received, ...]
    more_before: int

    def text(self) -> str:
        more = f" More: inbox {self.more_before}" if self.more_before else ""
        lines = "; ".join(item.line() for item in self.items)
        return f"{self.unread} unread. {lines or 'No messages.'}{more}"


class Since(Reply, frozen=True, tag="since"):
    """The oldest first. `last`: the highest number of the inbox. `more`: whether there are some after these.
    Numbers that are missing were removed by age."""

    items: tuple[Received, ...]
    last: int
    more: bool

    def text(self) -> str:
        more = f" More: since {self.items[-1].number}" if self.more and self.items else ""
        return ("; ".join(item.line() for item in self.items) or "Nothing new.") + more


class DeviceAt(msgspec.Struct, frozen=True, gc=False):
    """A device, how far it has got, and when it said so last."""

    device: str
    cursor: int
    seen_ms: int


class Devices(Reply, frozen=True, tag="devices"):
    """One's devices, by name; `last`: the highest number of the inbox."""

    devices: tuple[DeviceAt, ...]
    last: int

    def text(self) -> str:
        lines = (f"{at.device} has {at.cursor} of {self.last}, seen {utc_text(at.seen_ms)}" for at in self.devices)
        return "; ".join(lines) or "No devices."


class History(Reply, frozen=True, tag="history"):
    """A part of a conversation, in its order. `more_before`: what to ask before for what was said earlier, or 0."""

    conversation: str
    messages: tuple[Said, ...]
    more_before: int

    def text(self) -> str:
        more = f" More: history {self.conversation} {self.more_before}" if self.more_before else ""
        said = "; ".join(message.line() for message in self.messages)
        return f"{self.conversation}: {said or 'no messages.'}{more}"


class Found(Reply, frozen=True, tag="found"):
    """What a search has found, the newest first. `more_before`: where to go on (`--before`), or "" at the end."""

    messages: tuple[Said, ...]
    more_before: str

    def text(self) -> str:
        more = f" More: search --before {self.more_before}" if self.more_before else ""
        said = "; ".join(f"{message.conversation} {message.line()}" for message in self.messages)
        return f"{said or 'Nothing found.'}{more}"


class Unread(Reply, frozen=True, tag="unread"):
    """How many messages one has not read: in all, and (conversation, how many) by conversation."""

    total: int
    conversations: tuple[tuple[str, int], ...]

    def text(self) -> str:
        each = ", ".join(f"{conversation} {count}" for conversation, count in self.conversations)
        return f"{self.total} unread{': ' if each else ''}{each}."


class PersonSeen(msgspec.Struct, frozen=True, gc=False):
    """One of the site's people. `seen_ms`: when they last did something here, about to the minute, or 0."""

    id: str
    first_name: str
    roles: tuple[str, ...]
    department: str
    unit: str
    seen_ms: int

    def line(self) -> str:
        """As the part of a sentence."""
        name = f" {self.first_name}" if self.first_name else ""
        what = ", ".join(word for word in (*self.roles, self.unit) if word)
        seen = f", seen {utc_text(self.seen_ms)}" if self.seen_ms else ""
        return f"{self.id}{name}{f' ({what})' if what else ''}{seen}"


class People(Reply, frozen=True, tag="people"):
    """The people, in the order of the site's file. `more_after`: after whom to ask for the rest, or ""."""

    people: tuple[PersonSeen, ...]
    more_after: str

    def text(self) -> str:
        more = f" More after {self.more_after}." if self.more_after else ""
        return ("; ".join(person.line() for person in self.people) or "Nobody.") + more


class GroupSeen(msgspec.Struct, frozen=True, gc=False):
    """A group that one is in. `last`: the number of its newest message."""

    group: str
    members: tuple[str, ...]
    last: int
    unread: int


class Groups(Reply, frozen=True, tag="groups"):
    """The groups that one is in, by id."""

    groups: tuple[GroupSeen, ...]

    def text(self) -> str:
        lines = (f"{seen.group}: {', '.join(seen.members)}; {seen.unread} unread" for seen in self.groups)
        return ". ".join(lines) or "No groups."


class Reach(msgspec.Struct, frozen=True, gc=False):
    """How far a message has got with one recipient, and when each step was."""

    person: str
    state: Reached
    delivered_ms: int
    read_ms: int
    acked_ms: int
    repeats: int

    def line(self) -> str:
        """As the part of a sentence."""
        since = {"delivered": self.delivered_ms, "read": self.read_ms, "acknowledged": self.acked_ms}.get(self.state, 0)
        again = f", told again {self.repeats} times" if self.repeats else ""
        return f"{self.person} {self.state}{f' {utc_text(since)}' if since else ''}{again}"


class States(Reply, frozen=True, tag="states"):
    """How far a message has got with each of its recipients."""

    conversation: str
    number: int
    id: str
    sent_ms: int
    recipients: tuple[Reach, ...]

    def text(self) -> str:
        each = "; ".join(reach.line() for reach in self.recipients) or "no recipients"
        return f"Message {self.number} of {self.conversation}, sent {utc_text(self.sent_ms)}: {each}."


class AuditLine(msgspec.Struct, frozen=True, gc=False):
    """Who did what with which message, and when. `number`: of this line among those of the conversation, from 1.
    `what`: "read", "ack" or "delete"."""

    conversation: str
    number: int
    at_ms: int
    person: str
    what: str
    message: int


class AuditLog(Reply, frozen=True, tag="audit"):
    """For an auditor the oldest first, for others conversation by conversation, as the one knows how many there
    are and the others must not. `more_after`: what to ask after for the rest, or ""."""

    lines: tuple[AuditLine, ...]
    more_after: str

    def text(self) -> str:
        lines = "; ".join(
            f"{utc_text(line.at_ms)} {line.person} {line.what} {line.message} of {line.conversation}"
            for line in self.lines
        )
        more = f" More: audit {self.more_after}" if self.more_after else ""
        return (lines or "Nothing.") + more
