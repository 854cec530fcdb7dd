"""One field of a command as the line protocol sees it: how it is written, and what is wrong with a word."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

from holdfast.apps.values import check_exact_text, check_name, check_of, forbidden_character, shown

_WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_WHOLE_NUMBERS = re.compile(r"(-?(0|[1-9][0-9]*),)*-?(0|[1-9][0-9]*)", re.ASCII)


class Refused(Exception):
    """Why a line makes no command. Never leaves the grammar: it becomes a `Malformed`."""


class Field:
    """A field of a command struct, derived from its annotation.

    `is_text`: free text that takes the rest of the line: the last field, or one before fields with options
    that says so with `Meta(extra={"takes": "the rest of the line"})`. `is_list`: one word, items separated by
    commas. `is_number`: a whole number. `option`: an annotation with `Meta(extra={"option": "or"})` lets it be
    written as `--or VALUE` too, anywhere after the command's word; of a list once for each item.
    """

    def __init__(self, struct: type[msgspec.Struct], place: int, field: inspect.Field, annotation: Any) -> None:
        last = place == len(struct.__struct_fields__) - 1
        kind = _kind(field.type)
        bare = _bare(field.type)
        self.name = field.name
        self.required = field.required
        self.annotation = annotation
        self.is_text = kind == "text" and (last or _extra(field.type, "takes") is not None)
        self.is_list = isinstance(bare, inspect.VarTupleType)
        self.is_number = isinstance(bare, inspect.IntType)
        self.option = _extra(field.type, "option")
        self._bare = bare
        self.item = self.name.removesuffix("s") if self.is_list else self.name
        self.usage = self._usage()
        if isinstance(bare, inspect.VarTupleType):
            kind = _kind(bare.item_type)
            self._item_bare = _bare(bare.item_type)
            self._item_annotation = _item_annotation(annotation)
            self._items_annotation: Any = tuple[self._item_annotation, ...]  # type: ignore[name-defined]
        self._check = check_of(kind)
        self._check_exactly = check_exact_text if kind == "text" else self._check_word

    @property
    def check(self) -> Callable[[str], str | None] | None:
        """What a plain word of ASCII must stand besides what the struct says of it."""
        return None if self._check is check_name else self._check

    def _usage(self) -> str:
        literal = self._bare if isinstance(self._bare, inspect.LiteralType) else None
        words = "" if literal is None else "|".join(str(value) for value in literal.values if value != "")
        if self.option is not None:
            usage = f"--{self.option} {words or f'<{self.item}>'}"
            usage = usage if self.required else f"[{usage}]"
            return usage + "..." if self.is_list else usage
        if self.is_list:
            words = f"<{self.item}>,<{self.item}>,..."
        elif not words:
            words = f"<{self.name} ...>" if self.is_text else f"<{self.name}>"
        return words if self.required else f"[{words}]"

    def value(self, word: str) -> Any:
        """The value that `word` writes; raises `Refused` saying what it must be."""
        if not isinstance(self._bare, inspect.VarTupleType):
            return self._one(word, self._bare, self.annotation)
        words = word.split(",")
        most = self._bare.max_length
        if most is not None and len(words) > most:
            where = f"--{self.option}" if self.option is not None else self.usage.strip("[]")
            raise Refused(f"at most {most} items may stand in {where}, not {len(words)}.")
        if isinstance(self._item_bare, inspect.IntType) and self._check is None and _WHOLE_NUMBERS.fullmatch(word):
            try:  # all at once: one by one, a long list would keep the event loop for tens of milliseconds
                return msgspec.convert(words, self._items_annotation, strict=False)
            except msgspec.ValidationError:
                pass  # the first wrong one is told below
        return tuple(self._one(item, self._item_bare, self._item_annotation) for item in words)

    def exactly(self, value: object) -> Any:
        """The value that a value of JSON stands for: a list for a list or else the word that writes it, a number or
        its digits, text exactly as it is. Raises `Refused` saying what it must be."""
        if not isinstance(self._bare, inspect.VarTupleType):
            return self._one_exactly(value, self._bare, self.annotation)
        if isinstance(value, str):
            return self.value(self._checked(value, _check_characters))
        if not isinstance(value, list):
            raise Refused(f"<{self.name}> must be a list, not {_kind_of(value)}.")
        most = self._bare.max_length
        if most is not None and len(value) > most:
            raise Refused(f"at most {most} items may stand in <{self.name}>, not {len(value)}.")
        return tuple(self._one_exactly(item, self._item_bare, self._item_annotation) for item in value)

    def _one_exactly(self, value: object, bare: inspect.Type, annotation: Any) -> Any:
        if isinstance(value, str):
            if isinstance(bare, inspect.StrType):
                return self._converted(self._checked(value, self._check_exactly), bare, annotation)
            return self._one(self._checked(value, _check_characters), bare, annotation)
        if isinstance(value, bool) is isinstance(bare, inspect.BoolType) and not isinstance(bare, inspect.StrType):
            return self._converted(value, bare, annotation)
        raise Refused(f"<{self.item}> must be {_wanted(bare)}, not {_kind_of(value)}.")

    def _checked(self, text: str, check: Callable[[str], str | None]) -> str:
        why = check(text)
        if why is not None:
            raise Refused(f"<{self.item}> {why}.")
        return text

    def _check_word(self, text: str) -> str | None:
        return _check_characters(text) or (None if self._check is None else self._check(text))

    def _converted(self, value: object, bare: inspect.Type, annotation: Any) -> Any:
        if isinstance(value, str) and _fits(value, bare):
            return value
        try:
            return msgspec.convert(value, annotation)
        except msgspec.ValidationError:
            said = shown(value) if isinstance(value, str) else _kind_of(value)
            raise Refused(f"<{self.item}> must be {_wanted(bare)}, not {said}.") from None

    def _one(self, word: str, bare: inspect.Type, annotation: Any) -> Any:
        if self._check is not None:
            why = self._check(word)
            if why is not None:
                raise Refused(f"<{self.item}> {why}.")
        if _fits(word, bare):
            return word
        if not isinstance(bare, inspect.IntType) or _WHOLE_NUMBER.fullmatch(word):
            try:
                return msgspec.convert(word, annotation, strict=False)
            except msgspec.ValidationError:
                pass  # told below, in the protocol's words
        raise Refused(f"<{self.item}> must be {_wanted(bare)}, not {shown(word)}.")


def _fits(word: str, bare: inspect.Type) -> bool:
    """Whether nothing is left to convert. To ask `msgspec` takes ten times as long, for the sake of the annotation."""
    return (
        isinstance(bare, inspect.StrType)
        and bare.pattern is None
        and (bare.min_length or 0) <= len(word)
        and (bare.max_length is None or len(word) <= bare.max_length)
    )


def fields_of(struct: type[msgspec.Struct]) -> tuple[Field, ...]:
    """The fields of a command struct, in the order of the line."""
    hints = get_type_hints(struct, include_extras=True)
    described = inspect.type_info(struct)
    assert isinstance(described, inspect.StructType)
    return tuple(Field(struct, place, field, hints[field.name]) for place, field in enumerate(described.fields))


def _bare(described: inspect.Type) -> inspect.Type:
    return described.type if isinstance(described, inspect.Metadata) else described


def _kind(described: inspect.Type) -> str | None:
    return _extra(described, "kind")


def _extra(described: inspect.Type, key: str) -> str | None:
    """What the annotation's `Meta(extra={key: ...})` says."""
    if not isinstance(described, inspect.Metadata):
        return None
    value = (described.extra or {}).get(key)
    return value if isinstance(value, str) else None


def _item_annotation(annotation: Any) -> Any:
    """T of `tuple[T, ...]`, also inside `Annotated`."""
    if get_origin(annotation) is not tuple:
        annotation = get_args(annotation)[0]
    return get_args(annotation)[0]


def _check_characters(text: str) -> str | None:
    forbidden = forbidden_character(text)
    return forbidden and f"must have no control characters such as {forbidden}"


def _kind_of(value: object) -> str:
    """What a value of JSON is, for people."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return shown(json.dumps(value))[1:-1] if isinstance(value, int | float | None) else "text"


def _wanted(bare: inspect.Type) -> str:
    """What a word must be, for people: `a whole number from 1 to 500`."""
    if isinstance(bare, inspect.IntType):
        least = bare.ge if bare.ge is not None else None if bare.gt is None else bare.gt + 1
        most = bare.le if bare.le is not None else None if bare.lt is None else bare.lt - 1
        low = "" if least is None else f" from {least}"
        return f"a whole number{low}" + ("" if most is None else f" to {most}" if low else f" of at most {most}")
    if isinstance(bare, inspect.LiteralType):
        return " or ".join(str(value) for value in bare.values if value != "")
    if isinstance(bare, inspect.StrType):
        return f"a word of {bare.min_length or 0} to {bare.max_length or 'any number of'} characters"
    if isinstance(bare, inspect.FloatType):
        return "a number"
    if isinstance(bare, inspect.BoolType):
        return "true or false"
    return "well formed"
