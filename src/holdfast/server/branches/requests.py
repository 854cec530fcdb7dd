"""What a request says about itself."""

from __future__ import annotations

from holdfast.apps.events.names import city_of
from holdfast.kernel.contracts import Person, Request


def id_of(person: Person | None) -> str:
    """The id of who asks, "" for nobody."""
    return "" if person is None else person.id


def branch_of(person: Person | None) -> str:
    """The city of the branch that serves the person; "" for nobody known."""
    return "" if person is None else city_of(person.id)


def word_of(request: Request) -> str:
    """The request's word on the line protocol."""
    return str(request.command.__struct_config__.tag)
