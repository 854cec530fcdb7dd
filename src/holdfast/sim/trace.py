"""Traces that people read: inputs and outputs of cores as lines of text, the same bytes for the same run."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

BYTES_SHOWN_MAX = 6
ITEMS_SHOWN_MAX = 8


def host_name(number: int) -> str:
    """Servers are called a, b, c, ... in traces, in the order of their numbers."""
    return chr(ord("a") + number) if 0 <= number < 26 else f"s{number}"


def render(value: Any) -> str:
    """A message, reply or command in one line: its type, then its fields by name."""
    if isinstance(value, msgspec.Struct):
        fields = " ".join(f"{name}={_inner(getattr(value, name))}" for name in value.__struct_fields__)
        return f"{type(value).__name__} {fields}".rstrip()
    return _inner(value)


def _inner(value: Any) -> str:
    if isinstance(value, msgspec.Struct):
        return f"({render(value)})"
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        shown = data[:BYTES_SHOWN_MAX].hex()
        return f"{len(data)}b:{shown}{'..' if len(data) > BYTES_SHOWN_MAX else ''}"
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, dict):
        return "{" + ",".join(f"{_inner(key)}:{_inner(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        items = [_inner(item) for item in value[:ITEMS_SHOWN_MAX]]
        if len(value) > ITEMS_SHOWN_MAX:
            items.append(f"..{len(value) - ITEMS_SHOWN_MAX} more")
        return "[" + ",".join(items) + "]"
    return str(value)
