"""Finding a message by its number, and by its name where the number may have changed (under `bayou` it may)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.apps.messages.rows import Item, Message
from holdfast.kernel.store import Condition, Select

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore


def find_item(store: TupleStore, person: str, number: int, id: str) -> tuple[Item, Message] | None:
    """An item of the person's inbox with its message; `id` "" takes the number's word for it."""
    found = _item_at(store, person, number)
    if id and (found is None or found[1].id != id):
        return _item_at(store, person, _number_of(store, person, id))
    return found


def find_message(store: TupleStore, conversation: str, number: int, id: str) -> Message | None:
    """A message of the conversation; see `find_item`."""
    message = store.table(Message).get((conversation, number))
    if not id or (message is not None and message.id == id):
        return message
    message = _named(store, id)
    return message if message is not None and message.conversation == conversation else None


def _item_at(store: TupleStore, person: str, number: int) -> tuple[Item, Message] | None:
    item = store.table(Item).get((person, number))
    message = None if item is None else store.table(Message).get((item.conversation, item.message))
    return None if item is None or message is None else (item, message)


def _number_of(store: TupleStore, person: str, id: str) -> int:
    """Of a message in the person's inbox, 0 if it never was there."""
    message = _named(store, id)
    recipients = () if message is None else message.recipients
    return next((number for recipient, number in recipients if recipient == person), 0)


def _named(store: TupleStore, id: str) -> Message | None:
    return next(iter(store.select(Select(Message.table, (Condition("id", "=", id),), limit=1))), None)
