"""What is kept of plans."""

from __future__ import annotations

from holdfast.kernel.store import Row


class Plan(Row, frozen=True):
    """What a plan has come to. `place`: it grows with each conclusion of the person. `told`: everybody who has been
    told of the plan, none twice; the last that each of them was told is this slot at these vendors."""

    table = "plans"
    key = ("person", "name")
    indexes = (("person", "place"),)

    person: str
    name: str
    place: int
    slot: int
    vendors: tuple[str, ...]
    told: tuple[str, ...]
