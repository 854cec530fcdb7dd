"""Putting a message into a conversation and into inboxes, and what happens to it there. See `rows`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from holdfast.apps.messages.replies import AckHeard, Arrived, Deleted
from holdfast.apps.messages.rows import (
    OPEN,
    Audit,
    Box,
    Conversation,
    Counts,
    Item,
    Membership,
    Message,
    Oldest,
    Reminder,
)
from holdfast.apps.messages.words import Priority

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.kernel.contracts import Context
    from holdfast.kernel.store import TupleStore

SEEN_MS = 60_000
"""How exactly it is kept when somebody was seen."""
SERVICE = "service:"
"""What a sender's name begins with that is a service."""

_ROUTINE: Priority = "routine"


def time_of(context: Context) -> int:
    """The time of what happens now; 1 while nobody knows it, as 0 means that it has not happened."""
    return context.now_ms or 1


def pair(one: str, other: str) -> str:
    """The id of the conversation of two."""
    return f"{one}+{other}" if one < other else f"{other}+{one}"


def is_address(text: str) -> bool:
    """Whether this can be a person's id as far as conversations can be told apart by it."""
    return not ("+" in text or ":" in text or "#" in text or "@" in text)


def open_conversation(store: TupleStore, id: str, members: tuple[str, ...]) -> Conversation:
    """A new conversation. `members`: who gets what is sent, and sees it."""
    conversation = Conversation(id, members)
    memberships = store.table(Membership)
    for person in members:
        memberships.put(Membership(person, id, 0, ((1, OPEN),)))
    return conversation


def post(
    store: TupleStore,
    conversation: Conversation,
    sender: str,
    recipients: Iterable[str],
    text: str,
    context: Context,
    id: str,
    subject: str = "",
    priority: Priority = _ROUTINE,
    repeat_ms: int = 0,
) -> int:
    """Put a message at the end of the conversation and into the inbox of each recipient, and tell them; its
    number. `repeat_ms`: after how long it is told again, 0 for never. Every recipient is a reader of it."""
    boxes, items, memberships = store.table(Box), store.table(Item), store.table(Membership)
    name, number, now_ms = conversation.id, conversation.last + 1, context.now_ms
    due_ms = now_ms + repeat_ms if repeat_ms else 0
    tell = context.tell
    reached = []
    for person in recipients:
        box = boxes.get(person)
        if box is None:
            box = Box(person)
        place = box.last + 1
        boxes.put(Box(person, place, box.delivered, box.unread + 1, box.seen_ms))
        items.put(Item(person, place, name, number, 0, 0, 0, due_ms))
        part = memberships.get((person, name))
        if part is not None:
            memberships.put(Membership(person, name, part.unread + 1, part.spans))
        if due_ms:
            store.table(Reminder).put(Reminder(due_ms, person, place))
        reached.append((person, place))
        tell(person, id, Arrived(place, id, name, number, sender, subject, priority, text, now_ms, 0))
    place_ms = now_ms if now_ms > conversation.place_ms else conversation.place_ms
    message = Message(name, number, id, sender, subject, priority, text, now_ms, 0, place_ms, tuple(reached))
    store.table(Message).put(message)
    store.table(Conversation).put(
        Conversation(name, conversation.members, number, conversation.first, place_ms, conversation.audits)
    )
    if conversation.first == number:
        store.table(Oldest).put(Oldest(now_ms, name))
    return number


def see(store: TupleStore, person: str, now_ms: int) -> None:
    """They are there."""
    boxes = store.table(Box)
    box = boxes.get(person) or Box(person)
    if now_ms - box.seen_ms >= SEEN_MS:
        boxes.put(replace(box, seen_ms=now_ms))


def count_read(store: TupleStore, item: Item) -> None:
    """One message less that its person has not read."""
    boxes, memberships = store.table(Box), store.table(Membership)
    box, part = boxes.get(item.person), memberships.get((item.person, item.conversation))
    if box is not None:
        boxes.put(replace(box, unread=box.unread - 1))
    if part is not None:
        memberships.put(replace(part, unread=part.unread - 1))


def stop_repeating(store: TupleStore, item: Item) -> None:
    """It is not told again; the item itself is the caller's to put."""
    if item.due_ms:
        store.table(Reminder).delete((item.due_ms, item.person, item.number))


def open_item(store: TupleStore, item: Item, message: Message, context: Context) -> Item:
    """The item, read. What was deleted before there is nothing to read of."""
    if item.read_ms or message.deleted_ms:
        return item
    at_ms = time_of(context)
    count_read(store, item)
    _audit(store, item.person, "read", message, at_ms)
    opened = replace(item, read_ms=at_ms)
    store.table(Item).put(opened)
    return opened


def acknowledge(store: TupleStore, item: Item, message: Message, context: Context) -> Item:
    """The item, acknowledged, and so read; its sender is told. Not for what was deleted before that."""
    if item.acked_ms:
        return item
    at_ms = time_of(context)
    read_ms = item.read_ms
    if not read_ms:
        count_read(store, item)
        read_ms = at_ms
    stop_repeating(store, item)
    _audit(store, item.person, "ack", message, at_ms)
    if not message.sender.startswith(SERVICE):
        heard = AckHeard(message.conversation, message.number, message.id, item.person, at_ms)
        context.tell(message.sender, message.id, heard)
    acked = replace(item, read_ms=read_ms, acked_ms=at_ms, due_ms=0)
    store.table(Item).put(acked)
    return acked


def bury(store: TupleStore, message: Message, person: str, context: Context) -> Message:
    """Leave a tombstone; nobody has to read or acknowledge it any more. Who watches is told."""
    if message.deleted_ms:
        return message
    at_ms = time_of(context)
    stone = replace(message, subject="", content="", deleted_ms=at_ms)
    store.table(Message).put(stone)
    _audit(store, person, "delete", message, at_ms)
    items = store.table(Item)
    deleted = Deleted(message.conversation, message.number, message.id, at_ms)
    for recipient, number in message.recipients:
        item = items.get((recipient, number))
        if item is not None:
            if not item.read_ms:
                count_read(store, item)
            stop_repeating(store, item)
            items.put(replace(item, due_ms=0))
        context.tell(recipient, message.id, deleted)
    return stone


def _audit(store: TupleStore, person: str, what: str, message: Message, at_ms: int) -> None:
    counts = store.table(Counts)
    count = counts.get(0) or Counts(0)
    counts.put(Counts(0, count.audits + 1))
    conversations = store.table(Conversation)
    about = conversations.get(message.conversation) or Conversation(message.conversation, ())
    conversations.put(replace(about, audits=about.audits + 1))
    line = Audit(about.id, about.audits + 1, count.audits + 1, at_ms, person, what, message.number)
    store.table(Audit).put(line)
