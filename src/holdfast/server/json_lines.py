"""Request lines of JSON, for programs: an array of the word and its values, with the options as a last object.

    ["send", "bob", "two\\nlines", {"priority": "urgent"}]

What it says is what a plain line says; only its text is taken exactly as it is (see `Field.exactly`),
so that it can carry what no plain line can.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from holdfast.apps.values import shown
from holdfast.server.fields import Field, Refused

_NAMES = re.compile(r'(?<!\\)"\s*:')
"""Where a name of an object ends (but for one that ends in a backslash, which no option has): quick to count."""
_decode = msgspec.json.Decoder(list[Any]).decode


def decoded(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """(word, values, options) of a line that begins with `[`. Raises `Refused`."""
    try:
        values = _decode(text)
    except RecursionError:
        raise Refused("the array is nested too deeply.") from None
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise Refused(_why_not(text, error)) from None
    if not values or type(values[0]) is not str:
        raise Refused('the array must begin with a word, as in ["help"].')
    word: str = values.pop(0)
    options: dict[str, Any] = {}
    if values and type(values[-1]) is dict:
        options = values.pop()
        if len(_NAMES.findall(text)) != len(options) and (twice := _twice(text)):
            raise Refused(f"{shown(twice)} is given twice.")
    return word, values, options


def _why_not(text: str, error: Exception) -> str:
    """The decoder's own words mislead about half a character: they are found here."""
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "the array has half a character, an escaped surrogate without the other one."
    except (ValueError, RecursionError):
        pass  # no JSON for either decoder: the first one has said why
    return f"the line begins with [ and is no JSON array: {error}."


def _twice(text: str) -> str:
    """A name that an object of the array has twice, or ""."""
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        names: dict[str, None] = {}
        for name, _ in pairs:
            if name in names:
                found.append(name)
            names[name] = None

    json.loads(text, object_pairs_hook=note)
    return found[0] if found else ""


def arguments(
    usage: str, fields: Sequence[Field], options: Mapping[str, Field], values: Sequence[Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The values of a command's fields. `options`: by `--NAME`; `given`: those of the line. Raises `Refused`."""
    if len(values) > len(fields):
        raise Refused(f"too many words; usage: {usage}.")
    made = {field.name: field.exactly(value) for field, value in zip(fields, values, strict=False)}
    for name, value in given.items():
        field = options.get(f"--{name}")
        if field is None:
            raise Refused(f"{usage.split()[0]} has no option {shown(name)}; usage: {usage}.")
        if field.name in made:
            raise Refused(f"<{field.name}> is given twice.")
        made[field.name] = field.exactly(value)
    if any(field.required and field.name not in made for field in fields):
        raise Refused(f"too few words; usage: {usage}.")
    return made
