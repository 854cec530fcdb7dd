"""Finding a message by its number, and by its name where the number may have changed (under `bayou` it may)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.apps.messages.rows import Item, Message
from holdfast.kernel.store import Condition, Select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.kernel.store import TupleStore

Found = tuple[Item, Message] | tuple[None, None]
"""An item with its message, if it is there."""


def find_item(store: TupleStore, person: str, number: int, id: str) -> tuple[Item, Message] | None:
    """An item of the person's inbox with its message; `id` "" takes the number's word for it."""
    item, message = find_items(store, person, ((number, id),))[0]
    return None if item is None or message is None else (item, message)


def find_items(store: TupleStore, person: str, named: Sequence[tuple[int, str]]) -> list[Found]:
    """The same for some (number, id), in their order."""
    found: list[Found] = []
    for number, id in named:
        item, message = _item_at(store, person, number)
        if id and (message is None or message.id != id):
            item, message = _item_at(store, person, _number_of(store, person, id))
        found.append((None, None) if item is None or message is None else (item, message))
    return found


def find_message(store: TupleStore, conversation: str, number: int, id: str) -> Message | None:
    """A message of the conversation; see `find_item`."""
    message = store.table(Message).get((conversation, number))
    if not id or (message is not None and message.id == id):
        return message
    message = _named(store, id)
    return message if message is not None and message.conversation == conversation else None


def _item_at(store: TupleStore, person: str, number: int) -> Found:
    item = store.table(Item).get((person, number))
    message = None if item is None else store.table(Message).get((item.conversation, item.message))
    return (None, None) if item is None or message is None else (item, message)


def _number_of(store: TupleStore, person: str, id: str) -> int:
    """Of a message in the person's inbox, 0 if it never was there."""
    message = _named(store, id)
    recipients = () if message is None else message.recipients
    return next((number for recipient, number in recipients if recipient == person), 0)


def _named(store: TupleStore, id: str) -> Message | None:
    return next(iter(store.select(Select(Message.table, (Condition("id", "=", id),), limit=1))), None)
