"""Finding a message by its number, and by its name where the number may have changed (under `bayou` it may)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.apps.messages.rows import Item, Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.kernel.store import TupleStore

NEAR_MAX = 1_000
"""How far from its number a message is looked for that is named by its id too."""
LOOKED_AT_MAX = 5_000
"""Places of an inbox that one command looks at: everybody else waits meanwhile."""

Found = tuple[Item, Message] | tuple[None, None]
"""An item with its message, if it is there."""


def find_item(store: TupleStore, person: str, number: int, id: str) -> tuple[Item, Message] | None:
    """An item of the person's inbox with its message; `id` "" takes the number's word for it."""
    item, message = find_items(store, person, ((number, id),))[0]
    return None if item is None or message is None else (item, message)


def find_items(store: TupleStore, person: str, named: Sequence[tuple[int, str]]) -> list[Found]:
    """The same for some (number, id), in their order. What is elsewhere is looked for around all their numbers at
    once: what came before one of them came before its neighbours too."""
    found = [_item_at(store, person, number) for number, _ in named]
    lost: dict[str, list[int]] = {}
    for place, ((_, id), (_, message)) in enumerate(zip(named, found, strict=True)):
        if id and (message is None or message.id != id):
            found[place] = (None, None)
            lost.setdefault(id, []).append(place)
    for number in _around([named[place][0] for places in lost.values() for place in places]):
        item, message = _item_at(store, person, number)
        if item is not None and message is not None and message.id in lost:
            for place in lost.pop(message.id):
                if abs(named[place][0] - number) <= NEAR_MAX:
                    found[place] = (item, message)
            if not lost:
                break
    return found


def find_message(store: TupleStore, conversation: str, number: int, id: str) -> Message | None:
    """A message of the conversation; see `find_item`."""
    messages = store.table(Message)
    for at in (number, *_around([number])) if id else (number,):
        message = messages.get((conversation, at))
        if message is not None and id in ("", message.id):
            return message
    return None


def _item_at(store: TupleStore, person: str, number: int) -> Found:
    item = store.table(Item).get((person, number))
    message = None if item is None else store.table(Message).get((item.conversation, item.message))
    return (None, None) if item is None or message is None else (item, message)


def _around(numbers: Sequence[int]) -> Iterator[int]:
    """The numbers beside these, each once, the nearest first."""
    looked: dict[int, None] = {}
    for distance in range(1, NEAR_MAX + 1):
        for number in numbers:
            for at in (number + distance, number - distance):
                if at > 0 and at not in looked:
                    looked[at] = None
                    yield at
                    if len(looked) == LOOKED_AT_MAX:
                        return
