"""Planted mistakes, filled in when the core stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def none(_core: Any) -> None:
    """No bug."""


BUGS: dict[str, Callable[[Any], None]] = {}
