"""What people say to the messages: the commands and the questions.

An *address* is a person's id, or a group's. A *conversation* is named by its id, and one of two also
by the other's id. Numbers of an inbox and of a conversation begin with 1. Under `bayou` the number of
what is tentative may change: give the message's id too, and the one meant is found under its new number.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from holdfast.apps.values import TEXT_CHARACTERS_MAX, Name
from holdfast.kernel.contracts import Command, Query

SUBJECT_CHARACTERS_MAX = 200
GROUP_CHARACTERS_MAX = 33
"""Of a group's name, with its `#`."""
ADDRESS_CHARACTERS_MAX = 160
MEMBERS_MAX = 200
"""People in one group at a time."""
SEEN_MAX = 100
"""Messages of one `seen`."""
ADMINISTRATOR, AUDITOR = "administrator", "auditor"
"""The roles of who may delete any message, and of who may read the whole audit log, and how far any message has got."""

_BIGGEST = 2**62

Priority = Literal["routine", "urgent", "emergency"]
Address = Annotated[str, Meta(min_length=1, max_length=ADDRESS_CHARACTERS_MAX)]
"""`bob`, or the group `#ward3@bob`, or just `#ward3` for who is in one group of that name only."""
Conversation = Annotated[str, Meta(min_length=1, max_length=ADDRESS_CHARACTERS_MAX)]
"""`alice+bob`, or to alice just `bob`; `#ward3@bob`; `service:rooms+bob`, to bob just `service:rooms`."""
Group = Annotated[str, Meta(min_length=2, max_length=ADDRESS_CHARACTERS_MAX)]
GroupName = Annotated[str, Meta(min_length=2, max_length=GROUP_CHARACTERS_MAX)]
Subject = Annotated[str, Meta(max_length=SUBJECT_CHARACTERS_MAX, extra={"option": "subject"})]
Urgency = Annotated[Priority, Meta(extra={"option": "priority"})]
Body = Annotated[
    str, Meta(min_length=1, max_length=TEXT_CHARACTERS_MAX, extra={"kind": "text", "takes": "the rest of the line"})
]
Number = Annotated[int, Meta(ge=1, le=_BIGGEST)]
Page = Annotated[int, Meta(ge=0, le=_BIGGEST)]
Place = Annotated[str, Meta(max_length=ADDRESS_CHARACTERS_MAX + 20)]
"""Where to go on, as the answer before has said: `alice+bob:17`, behind that message or line."""
MessageId = Annotated[str, Meta(max_length=160)]
"""The lasting name of a message, as `Sent` and everything after it tells it; "" where the number will do."""


class Send(Command, frozen=True, tag="send"):
    """Send a text to a person or a group; urgent and emergency ones repeat until they are acknowledged."""

    to: Address
    text: Body
    subject: Subject = ""
    priority: Urgency = "routine"


class Read(Command, frozen=True, tag="read"):
    """Open a message of one's inbox, by its number there; it counts as read from then on."""

    number: Number
    id: MessageId = ""


class Ack(Command, frozen=True, tag="ack"):
    """Acknowledge a message of one's inbox, and so read it; an urgent one is repeated no more, and its sender hears."""

    number: Number
    id: MessageId = ""


class Seen(Command, frozen=True, tag="seen"):
    """Say that messages of one's inbox were shown to one, by their numbers there; they count as read from then on."""

    numbers: Annotated[tuple[Number, ...], Meta(max_length=SEEN_MAX)]
    ids: Annotated[tuple[MessageId, ...], Meta(max_length=SEEN_MAX)] = ()


class Got(Command, frozen=True, tag="got"):
    """Say that a device of one's own has all of the inbox up to a number."""

    device: Name
    number: Page


class Delete(Command, frozen=True, tag="delete"):
    """Delete a message that one has sent, by its number in the conversation; that there was one stays to be seen."""

    conversation: Conversation
    number: Number
    id: MessageId = ""


class MakeGroup(Command, frozen=True, tag="group"):
    """Make a group of oneself and others, or make one's own again that all have left."""

    name: GroupName
    members: Annotated[tuple[Name, ...], Meta(max_length=MEMBERS_MAX - 1)]


class Invite(Command, frozen=True, tag="invite"):
    """Take a person into a group that one is in; they see what is sent from then on."""

    group: Group
    person: Name


class Leave(Command, frozen=True, tag="leave"):
    """Leave a group; what was sent until then can still be read."""

    group: Group


class AskInbox(Query, frozen=True, tag="inbox"):
    """Tell the newest messages of one's inbox, or those before a number, the newest first; the text of those read."""

    before: Page = 0


class AskSince(Query, frozen=True, tag="since"):
    """Tell the messages of one's inbox after a number, the oldest first, as a device fetches them."""

    after: Page = 0


class AskDevices(Query, frozen=True, tag="devices"):
    """Tell one's devices, and how far each has got."""


class AskHistory(Query, frozen=True, tag="history"):
    """Tell the newest messages of a conversation, or those before a number, in their order; the text of those read."""

    conversation: Conversation
    before: Page = 0


class Search(Query, frozen=True, tag="search"):
    """Tell the messages that have all these words, in one's own conversations, the newest first, also those unread."""

    words: Body
    before: Annotated[Place, Meta(extra={"option": "before"})] = ""


class AskUnread(Query, frozen=True, tag="unread"):
    """Count what one has not read, in all and by conversation."""


class Who(Query, frozen=True, tag="who"):
    """Tell who there is, all or those of a unit, with role, unit and when they were last seen."""

    unit: Annotated[str, Meta(max_length=200)] = ""
    after: Annotated[str, Meta(max_length=64)] = ""


class AskGroups(Query, frozen=True, tag="groups"):
    """Tell the groups that one is in, and who else is."""


class AskStates(Query, frozen=True, tag="states"):
    """Tell how far a message has got with each of its recipients, and when: to an auditor of any message."""

    conversation: Conversation
    number: Number


class AskAudit(Query, frozen=True, tag="audit"):
    """Tell who read, acknowledged or deleted what and when: an auditor of all messages, others of their own."""

    after: Place = ""
