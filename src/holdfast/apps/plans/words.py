"""What planners say, and how much of it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from holdfast.apps.values import Name
from holdfast.kernel.contracts import Command, Query

SLOT_MAX = 10**9
VENDORS_MAX = 16
"""Vendors of one plan."""
TOLD_MAX = 20
"""People who are told of one plan, all that were ever told of it."""
PLANS_MAX = 50
"""Plans of one person that are kept: those that were concluded last."""

Slot = Annotated[int, Meta(ge=1, le=SLOT_MAX)]
Vendors = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=VENDORS_MAX)]
Persons = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=TOLD_MAX)]


class Conclude(Command, frozen=True, tag="conclude"):
    """Say which slot a plan of one's own has come to, where, and who is to be told; whoever was told before is too."""

    plan: Name
    slot: Slot
    vendors: Vendors
    persons: Persons


class Withdraw(Command, frozen=True, tag="withdraw"):
    """Say that the slot of a plan of one's own is held no longer; whoever was told of it is told that."""

    plan: Name


class Mine(Query, frozen=True, tag="mine"):
    """Tell what one's own plans have come to, the latest first."""
