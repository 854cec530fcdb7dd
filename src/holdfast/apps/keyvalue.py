"""A state store, the smallest app: each user has values by key, the keys in the order in which they were first set."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from holdfast.apps.values import Name
from holdfast.kernel.contracts import App, Command, Context, Query, Refusal, Reply
from holdfast.kernel.store import Condition, Row, Select, TupleStore

KEYS_MAX, ALL_KEYS_MAX, VALUE_CHARACTERS_MAX = 1_000, 100_000, 4_000


class Entry(Row, frozen=True):
    """A value, and at which place its key stands among the user's."""

    table, key, indexes = "entries", ("user", "name"), (("user", "place"),)

    user: str
    name: str
    place: int
    value: str


class Clear(Command, frozen=True, tag="clear"):
    """Forget all keys of a user."""

    user: Name


class Unset(Clear, frozen=True, tag="unset"):
    """Forget a key of a user, if there is such a one."""

    key: Name


class Set(Unset, frozen=True, tag="set"):
    """Keep a value under a key of a user, instead of the one before."""

    value: Annotated[str, Meta(max_length=VALUE_CHARACTERS_MAX, extra={"kind": "text"})]


class Keys(Query, frozen=True, tag="keys"):
    """Tell the keys of a user, in the order in which they were first set."""

    user: Name


class Get(Keys, frozen=True, tag="get"):
    """Tell the value under a key of a user."""

    key: Name


class Done(Reply, frozen=True, tag="done"):
    """It is as the command has it."""

    def text(self) -> str:
        return "Done."


class Told(Reply, frozen=True, tag="told"):
    """A value, or keys; none where there is none."""

    lines: tuple[str, ...]

    def text(self) -> str:
        return ", ".join(self.lines)


class Full(Refusal, frozen=True, tag="full"):
    """A new key would be one too many; nothing was changed."""

    def text(self) -> str:
        return f"Failed: a user has at most {KEYS_MAX} keys, and all together {ALL_KEYS_MAX}; unset one first."


class KeyValue(App):
    """The app. It has no configuration."""

    name = "keyvalue"
    rows, commands, queries, replies = (Entry,), (Set, Unset, Clear), (Get, Keys), (Done, Told, Full)

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        entries = store.table(Entry)
        match command:
            case Set(user, key, value):
                old = entries.get((user, key))
                others = [] if old else entries_of(store, user)
                if len(others) >= KEYS_MAX or (not old and len(entries) >= ALL_KEYS_MAX):
                    return Full()
                place = old.place if old else others[-1].place + 1 if others else 1
                entries.put(Entry(user, key, place, value))
            case Unset(user, key):
                entries.delete((user, key))
            case Clear(user):
                for entry in entries_of(store, user):
                    entries.delete((user, entry.name))
        return Done()

    def answer(self, store: TupleStore, query: Any, context: Context) -> Reply:
        if isinstance(query, Get):
            entry = store.table(Entry).get((query.user, query.key))
            return Told((entry.value,) if entry else ())
        return Told(tuple(entry.name for entry in entries_of(store, query.user)))


def entries_of(store: TupleStore, user: str) -> list[Entry]:
    """Everything of a user, in the order of the keys."""
    return store.select(Select(Entry.table, (Condition("user", "=", user),), ("place",)))
