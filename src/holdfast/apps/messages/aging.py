"""What happens because time has passed: urgent messages are told again, old ones go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from holdfast.apps.messages.posting import count_read, stop_repeating
from holdfast.apps.messages.replies import Arrived
from holdfast.apps.messages.rows import Audit, Box, Conversation, Delivery, Item, Message, Oldest, Reminder, Terms
from holdfast.kernel.store import Condition, Select

if TYPE_CHECKING:
    from holdfast.kernel.contracts import Context
    from holdfast.kernel.store import TupleStore

REMINDERS_MAX = 1_000
"""Messages that are told again at one time; the others at the next."""
REMOVALS_MAX = 2_000
"""Rows of what is too old that go at one time, about."""
HOUR_MS = 3600 * 1000


def due_ms(store: TupleStore, terms: Terms) -> int | None:
    """When `pass_time` has something to do, None for never. What goes by age goes at the full hour: it need
    not cost a command for each message."""
    times = []
    reminder = store.table(Reminder).first()
    if reminder is not None:
        times.append(reminder.due_ms)
    oldest = store.table(Oldest).first() if terms.retention_ms else None
    if oldest is not None:
        times.append(_hour_after(oldest.sent_ms + terms.retention_ms))
    for line in _oldest_lines(store, 1) if terms.audit_ms else ():
        times.append(_hour_after(line.at_ms + terms.audit_ms))
    return min(times, default=None)


def _hour_after(ms: int) -> int:
    return -(-ms // HOUR_MS) * HOUR_MS


def pass_time(store: TupleStore, terms: Terms, context: Context) -> None:
    """Do what is due, as much of it as may be done at once."""
    now_ms = context.now_ms
    reminder = store.table(Reminder).first()
    if reminder is not None and reminder.due_ms <= now_ms:
        _remind(store, terms, context)
    if terms.retention_ms:
        _remove(store, now_ms - terms.retention_ms)
    if terms.audit_ms:
        _forget(store, now_ms - terms.audit_ms)


def _remind(store: TupleStore, terms: Terms, context: Context) -> None:
    """Tell again what is due; the next time is counted from now, as nobody is helped by what was missed."""
    reminders, items, messages = store.table(Reminder), store.table(Item), store.table(Message)
    where = (Condition("due_ms", "<=", context.now_ms),)
    for reminder in store.select(Select(Reminder.table, where, order=("due_ms",), limit=REMINDERS_MAX)):
        reminders.delete((reminder.due_ms, reminder.person, reminder.number))
        item = items.get((reminder.person, reminder.number))
        message = None if item is None else messages.get((item.conversation, item.message))
        if item is None or message is None:
            continue
        repeat_ms = terms.emergency_repeat_ms if message.priority == "emergency" else terms.urgent_repeat_ms
        item = replace(item, repeats=item.repeats + 1, due_ms=context.now_ms + repeat_ms)
        items.put(item)
        reminders.put(Reminder(item.due_ms, item.person, item.number))
        told = Arrived(
            *(item.number, message.id, message.conversation, message.number, message.sender, message.subject),
            *(message.priority, message.content, message.sent_ms, item.repeats),
        )
        context.tell(item.person, message.id, told)


def _remove(store: TupleStore, upto_ms: int) -> None:
    """Remove the oldest messages of those sent until then, with what lies of them in inboxes."""
    oldest, left = store.table(Oldest), REMOVALS_MAX
    touched: dict[str, None] = {}
    while left > 0:
        first = oldest.first()
        if first is None or first.sent_ms > upto_ms:
            break
        left -= _remove_from(store, first, upto_ms, left, touched)
    for person in touched:
        _trim(store, person)


def _remove_from(store: TupleStore, oldest: Oldest, upto_ms: int, most: int, touched: dict[str, None]) -> int:
    """Remove the first messages of one conversation; how many rows."""
    conversations, messages, items = store.table(Conversation), store.table(Message), store.table(Item)
    conversation = conversations.get(oldest.conversation)
    removed, first = 1, 0 if conversation is None else conversation.first
    message = messages.get((oldest.conversation, first))
    while message is not None and message.sent_ms <= upto_ms and removed <= most:
        for person, number in message.recipients:
            item = items.get((person, number))
            if item is None:
                continue
            if not item.read_ms and not message.deleted_ms:
                count_read(store, item)
            stop_repeating(store, item)
            items.delete((person, number))
            touched[person] = None
        messages.delete((message.conversation, message.number))
        removed += 1 + len(message.recipients)
        first += 1
        message = messages.get((oldest.conversation, first))
    store.table(Oldest).delete((oldest.sent_ms, oldest.conversation))
    if conversation is not None:
        conversations.put(replace(conversation, first=first))
    if message is not None:
        store.table(Oldest).put(Oldest(message.sent_ms, message.conversation))
    return removed


def _trim(store: TupleStore, person: str) -> None:
    """Drop the times of delivery of what the inbox has no more."""
    first = store.select(Select(Item.table, (Condition("person", "=", person),), order=("number",), limit=1))
    box = store.table(Box).get(person)
    behind = first[0].number if first else 0 if box is None else box.last + 1
    where = (Condition("person", "=", person), Condition("upto", "<", behind))
    for row in store.select(Select(Delivery.table, where)):
        store.table(Delivery).delete((person, row.upto))


def _forget(store: TupleStore, upto_ms: int) -> None:
    """Remove the oldest lines of the audit log."""
    if all(line.at_ms > upto_ms for line in _oldest_lines(store, 1)):
        return
    for line in _oldest_lines(store, REMOVALS_MAX):
        if line.at_ms > upto_ms:
            break
        store.table(Audit).delete((line.conversation, line.number))


def _oldest_lines(store: TupleStore, most: int) -> list[Audit]:
    return store.select(Select(Audit.table, order=("place",), limit=most))
