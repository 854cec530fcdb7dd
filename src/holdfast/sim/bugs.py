"""Planted bugs: each breaks one law in one small place, to prove that the simulator finds it.

Nothing here is in the product; a bug wraps the gate or the core of a `Setup`.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.sim.host import Setup

BUGS: dict[str, Callable[[Setup], Setup]] = {}
"""By name."""


def plant(name: str, setup: Setup) -> Setup:
    """`setup` with the bug in it; "" plants none."""
    return BUGS[name](setup) if name else setup
