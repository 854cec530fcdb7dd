"""Logs for people and programs: lines of fields with tabs between them, in files of a bounded size."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from holdfast.server.reply_lines import safe_line

FILE_BYTES_MAX = 64 << 20
"""A larger file gives way to a new one: `TOR.log.1` is the one before, and so on."""
FILES_KEPT = 3
"""Files that are kept besides the newest."""
FIELD_CHARACTERS_MAX = 2_000
"""A longer field is cut."""


def append(path: Path, data: bytes, *, bytes_max: int = FILE_BYTES_MAX, kept: int = FILES_KEPT) -> None:
    """Add to a file, or, if it is as large as it may be, to a new one. Raises `OSError`."""
    with path.open("ab") as file:
        file.write(data)
        size = file.tell()
    if size >= bytes_max:
        for number in range(kept, 1, -1):
            older = path.with_name(f"{path.name}.{number - 1}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number}"))
        path.replace(path.with_name(f"{path.name}.1"))


def line_of(fields: Sequence[str]) -> bytes:
    """The fields of a line, each with a tab before it, and its end. What could forge more of them is escaped."""
    together = "".join(fields)
    if together.isprintable() and len(together) <= FIELD_CHARACTERS_MAX:
        return ("\t" + "\t".join(fields) + "\n").encode()
    return b"".join(b"\t" + safe_line(field[:FIELD_CHARACTERS_MAX])[:-1] for field in fields) + b"\n"


def time_text(unix_s: float) -> bytes:
    """2026-12-01 09:00:00.000Z"""
    whole = int(unix_s)
    return _second_text(whole) + b".%03dZ" % int((unix_s - whole) * 1000)


@lru_cache(maxsize=8)
def _second_text(unix_s: int) -> bytes:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(unix_s)).encode()


def parameters_of(request: Any) -> str:
    """The fields of a command or query: `customerID=TORC2345 eventID=MTLE190519 eventType="Trade shows"`."""
    return " ".join([f"{name}={_quoted(getattr(request, name))}" for name in request.__struct_fields__])


def _quoted(value: object) -> str:
    text = str(value)
    if text.isalnum():
        return text
    return text if text and " " not in text and '"' not in text else '"' + text.replace('"', '\\"') + '"'
