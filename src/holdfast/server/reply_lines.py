"""Replies as the lines that leave: one of text for people, one of JSON for programs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect
from msgspec.structs import astuple

from holdfast.apps.values import forbidden_character, shown
from holdfast.kernel.contracts import Change, Reply
from holdfast.kernel.replies import Outcome

encode_json = msgspec.json.Encoder().encode


def reply_object(reply: Reply) -> dict[str, Any]:
    """A reply for programs: `{"ok", "text", "type", "reply", "firm"}`.

    `type` is the reply's tag, `reply` its fields by name, those of replies inside it too. An `Outcome`
    shows the reply that it holds and says beside it what it knows itself, as far as there is something
    to say: `firm`, `write`, `firm_by`, `warning`. Any other reply is "committed".
    """
    if type(reply) is not Outcome:
        return _object(reply, "committed")
    fields = _object(reply.reply, reply.firm)
    for name in ("write", "firm_by", "warning"):
        if value := getattr(reply, name):
            fields[name] = value
    return fields


def _object(reply: Reply, firm: str) -> dict[str, Any]:
    tag, named = _form(type(reply))
    fields = named(*astuple(reply)) if named is not None else _fields(reply)
    return {"ok": not reply.failed, "text": reply.text(), "type": tag, "reply": fields, "firm": firm}


@cache
def _form(kind: type[Reply]) -> tuple[Any, Callable[..., Any] | None]:
    """The tag of these replies; and for those that hold nothing but words and numbers how to give their values the
    names that programs see, in one go instead of one by one."""
    fields = inspect.type_info(kind).fields  # type: ignore[attr-defined]
    plain = all(isinstance(_bare(field.type), _PLAIN) for field in fields)
    names = [field.name for field in fields]
    return kind.__struct_config__.tag, msgspec.defstruct(kind.__name__, names, gc=False) if plain else None


_PLAIN = (inspect.StrType, inspect.IntType, inspect.BoolType, inspect.FloatType, inspect.LiteralType)


def _bare(kind: inspect.Type) -> inspect.Type:
    return kind.type if isinstance(kind, inspect.Metadata) else kind


def _fields(reply: Reply) -> dict[str, Any]:
    return {name: _value(getattr(reply, name)) for name in reply.__struct_fields__}


def _value(value: Any) -> Any:
    """A field's value; replies are lists on the wire between nodes, but for programs they have names."""
    if isinstance(value, Reply):
        return _fields(value)
    if isinstance(value, tuple):
        return [_value(item) for item in value]
    return msgspec.to_builtins(value)


def json_line(reply: Reply) -> bytes:
    """A reply as one line of JSON, with its line end."""
    return encode_json(reply_object(reply)) + b"\n"


def text_line(reply: Reply) -> bytes:
    """A reply as the one line that people see, with its line end."""
    return safe_line(reply.text())


class ChangeLines:
    """A change as lines that nobody asked for, each made when somebody first wants it: most changes are told to
    few, and in one form."""

    __slots__ = ("_change", "_for_people", "_for_programs")

    def __init__(self, change: Change) -> None:
        self._change = change
        self._for_people = b""
        self._for_programs = b""

    @property
    def for_people(self) -> bytes:
        """`* changed ...`, with its line end."""
        if not self._for_people:
            change = self._change
            self._for_people = safe_line(f"* changed {change.id} {change.firm}: {change.text}")
        return self._for_people

    @property
    def for_programs(self) -> bytes:
        """`{"change": {...}}`, with its line end."""
        if not self._for_programs:
            change = self._change
            fields = {"id": change.id, "person": change.person, **_object(change.reply, change.firm)}
            self._for_programs = encode_json({"change": fields}) + b"\n"
        return self._for_programs


def missed_line(count: int, *, as_json: bool) -> bytes:
    """What a client is told that did not read so many of its changes in time; 0: nobody knows how many there
    were, as the replica here was away and has taken over another one's state."""
    if count:
        what, why = f"{count} change{'s' * (count > 1)}", "they came faster than they were read"
    else:
        what, why = "changes", "the replica here was away, and has taken over what became of them from another one"
    if as_json:
        return encode_json({"missed": count, "text": f"{why}; ask again."}) + b"\n"
    return safe_line(f"* missed {what}: {why}; ask again.")


def safe_line(text: str) -> bytes:
    """A line of text with its line end. What could forge a second line is escaped."""
    if not text.isprintable():
        text = "".join(c if forbidden_character(c) is None else shown(c)[1:-1] for c in text)
    return text.encode("utf-8", "backslashreplace") + b"\n"
