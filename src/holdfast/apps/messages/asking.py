"""The questions about messages. Each looks at a bounded part of the store and says where to go on.

No question shows somebody the text of a message that the audit log does not say they have read, or that they have
not sent: `read`, `seen` and `ack` leave a line there. Only `since` has the texts of all: what fetches it is a device.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any

from holdfast.apps.messages.groups import part_in, parts_of
from holdfast.apps.messages.refusals import NoSuchMessage, WhichGroup
from holdfast.apps.messages.replies import (
    AuditLine,
    AuditLog,
    DeviceAt,
    Devices,
    Found,
    Groups,
    GroupSeen,
    History,
    Inbox,
    People,
    PersonSeen,
    Reach,
    Reached,
    Received,
    Said,
    Since,
    States,
    Unread,
)
from holdfast.apps.messages.rows import Audit, Box, Conversation, Delivery, Device, Item, Membership, Message
from holdfast.apps.messages.words import (
    AUDITOR,
    AskAudit,
    AskDevices,
    AskGroups,
    AskHistory,
    AskInbox,
    AskSince,
    AskStates,
    AskUnread,
    Search,
    Who,
)
from holdfast.kernel.contracts import Refusal
from holdfast.kernel.store import Condition, Select

if TYPE_CHECKING:
    from holdfast.kernel.contracts import Context, Person, Reply
    from holdfast.kernel.store import TupleStore

PAGE_MAX = 50
"""Messages of one answer to `inbox`, `history` and `search`."""
FETCHED_MAX = 100
"""Messages of one answer to `since`."""
PEOPLE_MAX = 200
CONVERSATIONS_MAX = 500
"""Conversations that one answer to `unread` or `groups` tells of."""
LINES_MAX = 100
"""Lines of one answer to `audit`."""
LINES_LOOKED_AT_MAX = 5_000
LOOKED_AT_MAX = 5_000
"""Messages that one search looks at: whoever else asks waits so long, some milliseconds."""
CHARACTERS_MAX = 500_000
"""Characters that it looks through, about."""

_END = 2**62


# -- inbox -----------------------------------------------------------------------------------------


def _inbox(store: TupleStore, query: AskInbox, person: Person, context: Context) -> Reply:
    where = (Condition("person", "=", person.id), Condition("number", "<", query.before or _END))
    rows = store.select(Select(Item.table, where, order=("number",), descending=True, limit=PAGE_MAX + 1))
    box = store.table(Box).get(person.id)
    shown = tuple(_received(store, rows[:PAGE_MAX], context, only_read=True))
    return Inbox(0 if box is None else box.unread, shown, shown[-1].number if len(rows) > PAGE_MAX else 0)


def _since(store: TupleStore, query: AskSince, person: Person, context: Context) -> Reply:
    where = (Condition("person", "=", person.id), Condition("number", ">", query.after))
    rows = store.select(Select(Item.table, where, order=("number",), limit=FETCHED_MAX + 1))
    box = store.table(Box).get(person.id)
    shown = tuple(_received(store, rows[:FETCHED_MAX], context, only_read=False))
    return Since(shown, 0 if box is None else box.last, len(rows) > FETCHED_MAX)


def _received(store: TupleStore, items: list[Item], context: Context, *, only_read: bool) -> Iterator[Received]:
    """`only_read`: of the others without their text."""
    messages = store.table(Message)
    for item in items:
        message = messages.get((item.conversation, item.message))
        if message is not None:
            withheld = only_read and not (item.read_ms or message.deleted_ms)
            text = "" if withheld else message.content
            yield Received(
                *(item.number, message.id, message.conversation, message.number, message.sender, message.subject),
                *(message.priority, text, message.sent_ms, item.repeats, item.read_ms, item.acked_ms),
                *(message.deleted_ms, _is_firm(message, context), withheld),
            )


def _is_firm(message: Message, context: Context) -> bool:
    """Whether its place is final. Several notices come with one command, whose name the id begins with."""
    return context.is_committed(message.id.partition("/")[0])


def _devices(store: TupleStore, query: AskDevices, person: Person, context: Context) -> Reply:
    rows = store.select(Select(Device.table, (Condition("person", "=", person.id),), order=("device",)))
    box = store.table(Box).get(person.id)
    devices = tuple(DeviceAt(row.device, row.cursor, row.seen_ms) for row in rows)
    return Devices(devices, 0 if box is None else box.last)


# -- conversations ---------------------------------------------------------------------------------


def _history(store: TupleStore, query: AskHistory, person: Person, context: Context) -> Reply:
    part = part_in(store, person.id, query.conversation)
    if not isinstance(part, Membership):
        return part
    rows = list(islice(_visible(store, part, query.before or _END), PAGE_MAX + 1))
    shown = rows[:PAGE_MAX]
    said = tuple(_said(store, message, person.id, context) for message in reversed(shown))
    return History(part.conversation, said, shown[-1].number if len(rows) > PAGE_MAX else 0)


def _said(store: TupleStore, message: Message, person: str, context: Context) -> Said:
    """The message as it stands there for this person."""
    number = next((number for recipient, number in message.recipients if recipient == person), 0)
    item = store.table(Item).get((person, number)) if number else None
    is_open = message.sender == person or bool(message.deleted_ms) or (item is not None and item.read_ms > 0)
    return Said(
        *(message.conversation, message.number, message.id, message.sender, message.subject, message.priority),
        *(message.content if is_open else "", message.sent_ms, message.deleted_ms, _is_firm(message, context)),
        *(number, not is_open),
    )


def _visible(store: TupleStore, part: Membership, before: int) -> Iterator[Message]:
    """The messages of a conversation that the person may see, of those before a number, the newest first."""
    get, conversation = store.table(Message).get, store.table(Conversation).get(part.conversation)
    if conversation is None:
        return
    name, behind = conversation.id, min(before, conversation.last + 1)
    for first, last in reversed(part.spans):
        for number in range(min(last, behind - 1), max(first, conversation.first) - 1, -1):
            message = get((name, number))
            if message is not None:
                yield message


def _search(store: TupleStore, query: Search, person: Person, context: Context) -> Reply:
    behind = _come_to(store, query.before, person.id) if query.before else None
    if isinstance(behind, Refusal):
        return behind
    words = tuple(dict.fromkeys(_folded(query.words).split()))
    newest = [_before(store, part, behind) for part in parts_of(store, person.id)]
    found: list[Said] = []
    characters = 0
    for looked, message in enumerate(merge(*newest, key=_place, reverse=True), 1):
        characters += len(message.content)
        text = _folded(f"{message.subject} {message.content}")
        if not message.deleted_ms and all(word in text for word in words):
            said = _said(store, message, person.id, context)
            if not said.withheld or all(_stands_whole(word, text) for word in words):
                found.append(said)
        if len(found) == PAGE_MAX or looked == LOOKED_AT_MAX or characters >= CHARACTERS_MAX:
            return Found(tuple(found), f"{message.conversation}:{message.number}")
    return Found(tuple(found), "")


def _place(message: Message) -> tuple[int, str, int]:
    """Where it stands among all messages."""
    return message.place_ms, message.conversation, message.number


def _come_to(store: TupleStore, written: str, person: str) -> tuple[int, str, int] | Refusal:
    """The place of the message that a search has come to, if the person sees it."""
    name, number = _split(written)
    part = part_in(store, person, name or written)
    if not isinstance(part, Membership):
        return part
    message = store.table(Message).get((part.conversation, number)) if part.sees(number) else None
    return NoSuchMessage(part.conversation, number) if message is None else _place(message)


def _split(written: str) -> tuple[str, int]:
    """(conversation, number) of `alice+bob:17`; the number is 0 for what is not written so."""
    name, _, number = written.rpartition(":")
    return name, int(number) if number.isascii() and number.isdigit() else 0


def _before(store: TupleStore, part: Membership, behind: tuple[int, str, int] | None) -> Iterator[Message]:
    """The messages that the person sees of the conversation, the newest first: all, or those at a lower place."""
    messages, conversation = store.table(Message), store.table(Conversation).get(part.conversation)
    if conversation is None or behind is None:
        return _visible(store, part, _END)
    low, high = conversation.first, conversation.last + 1
    while low < high:  # places grow with the numbers: find the first that is not lower
        middle = (low + high) // 2
        message = messages.get((conversation.id, middle))
        if message is not None and _place(message) < behind:
            low = middle + 1
        else:
            high = middle
    return _visible(store, part, low)


def _folded(text: str) -> str:
    """Text as it is compared: the same for capitals and for composed characters."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


def _stands_whole(word: str, text: str) -> bool:
    """Whether a text has the word whole, between what is neither letter nor digit; one without any has none whole.
    Letter by letter a text would be told that nobody has read; whole words have to be known to be found."""
    joins = [_joins(character) for character in word]
    if not any(joins):
        return False
    step = len(word) if all(joins) else 1  # where a word overlaps itself, it is not between others
    begin = text.find(word)
    while begin >= 0:
        end = begin + len(word)
        is_begun = joins[0] and begin > 0 and _joins(text[begin - 1])
        if not is_begun and not (joins[-1] and end < len(text) and _joins(text[end])):
            return True
        begin = text.find(word, begin + step)
    return False


def _joins(character: str) -> bool:
    """Whether it is a part of a word: a letter, a digit, or a mark on one."""
    return character.isalnum() or (not character.isascii() and unicodedata.category(character)[0] == "M")


def _unread(store: TupleStore, query: AskUnread, person: Person, context: Context) -> Reply:
    where = (Condition("person", "=", person.id), Condition("unread", ">", 0))
    parts = store.select(Select(Membership.table, where, order=("conversation",), limit=CONVERSATIONS_MAX))
    box = store.table(Box).get(person.id)
    return Unread(0 if box is None else box.unread, tuple((part.conversation, part.unread) for part in parts))


def _groups(store: TupleStore, query: AskGroups, person: Person, context: Context) -> Reply:
    conversations = store.table(Conversation)
    seen: list[GroupSeen] = []
    for part in parts_of(store, person.id, "#", "$"):  # "$" follows "#"
        group = conversations.get(part.conversation)
        if group is not None and part.is_present and len(seen) < CONVERSATIONS_MAX:
            seen.append(GroupSeen(group.id, group.members, group.last, part.unread))
    return Groups(tuple(seen))


# -- people, states, audit -------------------------------------------------------------------------


def who(store: TupleStore, query: Who, people: Mapping[str, Person]) -> Reply:
    """The site's people, or those of a unit, from behind a person on."""
    boxes = store.table(Box)
    ids = list(people)
    start = ids.index(query.after) + 1 if query.after in people else 0
    chosen = [person for id in ids[start:] if query.unit in ("", (person := people[id]).unit)]
    shown = []
    for person in chosen[:PEOPLE_MAX]:
        box = boxes.get(person.id)
        about = (person.id, person.first_name, person.roles, person.department, person.unit)
        shown.append(PersonSeen(*about, 0 if box is None else box.seen_ms))
    return People(tuple(shown), shown[-1].id if len(chosen) > PEOPLE_MAX else "")


def _states(store: TupleStore, query: AskStates, person: Person, context: Context) -> Reply:
    part = part_in(store, person.id, query.conversation)
    is_auditor = AUDITOR in person.roles
    if isinstance(part, Membership):
        name, sees = part.conversation, is_auditor or part.sees(query.number)
    elif is_auditor and not isinstance(part, WhichGroup):
        name, sees = query.conversation, True
    else:
        return part
    message = store.table(Message).get((name, query.number)) if sees else None
    if message is None:
        return NoSuchMessage(query.conversation, query.number)
    reaches = tuple(_reach(store, recipient, number) for recipient, number in message.recipients)
    return States(message.conversation, message.number, message.id, message.sent_ms, reaches)


def _reach(store: TupleStore, person: str, number: int) -> Reach:
    item = store.table(Item).get((person, number)) or Item(person, number, "", 0)
    where = (Condition("person", "=", person), Condition("upto", ">=", number))
    deliveries = store.select(Select(Delivery.table, where, order=("upto",), limit=1))
    delivered_ms = deliveries[0].at_ms if deliveries else 0
    state: Reached = "delivered" if delivered_ms else "stored"
    if item.acked_ms:
        state = "acknowledged"
    elif item.read_ms:
        state = "read"
    return Reach(person, state, delivered_ms, item.read_ms, item.acked_ms, item.repeats)


def _audit(store: TupleStore, query: AskAudit, person: Person, context: Context) -> Reply:
    if AUDITOR in person.roles:
        after = int(query.after) if query.after.isascii() and query.after.isdigit() else 0
        where = (Condition("place", ">", after),)
        rows = store.select(Select(Audit.table, where, order=("place",), limit=LINES_MAX + 1))
        shown = rows[:LINES_MAX]
        more = str(shown[-1].place) if len(rows) > LINES_MAX else ""
        return AuditLog(tuple(map(_line, shown)), more)
    lines: list[AuditLine] = []
    for looked, (row, part) in enumerate(_lines(store, query.after, person.id), 1):
        if row.person == person.id or part.sees(row.message):
            lines.append(_line(row))
        if len(lines) == LINES_MAX or looked == LINES_LOOKED_AT_MAX:
            return AuditLog(tuple(lines), f"{row.conversation}:{row.number}")
    return AuditLog(tuple(lines), "")


def _lines(store: TupleStore, after: str, person: str) -> Iterator[tuple[Audit, Membership]]:
    """The lines about the person's conversations, one conversation after the other, behind one of them."""
    name, number = _split(after)
    for part in parts_of(store, person, name):
        start = number if part.conversation == name else 0
        while True:
            where = (Condition("conversation", "=", part.conversation), Condition("number", ">", start))
            rows = store.select(Select(Audit.table, where, order=("number",), limit=LINES_MAX))
            for row in rows:
                yield row, part
            if len(rows) < LINES_MAX:
                break
            start = rows[-1].number


def _line(row: Audit) -> AuditLine:
    return AuditLine(row.conversation, row.number, row.at_ms, row.person, row.what, row.message)


ANSWERS: dict[type, Callable[[TupleStore, Any, Person, Context], Reply]] = {
    AskInbox: _inbox,
    AskSince: _since,
    AskHistory: _history,
    Search: _search,
    AskUnread: _unread,
    AskGroups: _groups,
    AskStates: _states,
    AskDevices: _devices,
    AskAudit: _audit,
}
