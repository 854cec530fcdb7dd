"""Planted bugs: each breaks one law of the sequencer protocol in one small place, to prove that the simulator finds it.

Nothing here is in the product. A bug bends the parts of a core after they were made, or takes another gate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.kernel.gate import Gate
from holdfast.sim.bugs import HastyGate


class Bug(msgspec.Struct, frozen=True):
    """How it is planted."""

    bend: Callable[[Any], None]
    gate: Callable[[], Gate] = Gate


def _nothing(_core: Any) -> None:
    """The bug is elsewhere, or nowhere."""


NO_BUG = Bug(_nothing)

BUGS: dict[str, Bug] = {
    "hasty-gate": Bug(_nothing, HastyGate),
}
"""By name."""
