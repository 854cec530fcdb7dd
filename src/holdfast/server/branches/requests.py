"""What a request says about itself."""

from __future__ import annotations

from holdfast.apps.events import BookEvent, CancelEvent, SwapEvent
from holdfast.apps.events.names import city_of, parse_event
from holdfast.kernel.contracts import Person, Request


def id_of(person: Person | None) -> str:
    """The id of who asks, "" for nobody."""
    return "" if person is None else person.id


def branch_of(person: Person | None) -> str:
    """The city of the branch that serves the person; "" for nobody known."""
    return "" if person is None else city_of(person.id)


def cities_of(request: Request) -> tuple[str, ...]:
    """The cities whose events a command is about, each once."""
    command = request.command
    if isinstance(command, SwapEvent):
        return tuple(dict.fromkeys((city_of_event(command.newEventID), city_of_event(command.oldEventID))))
    return (city_of_event(command.eventID),) if isinstance(command, BookEvent | CancelEvent) else ()


def city_of_event(id: str) -> str:
    """The city in an event's id, "" for what is none."""
    event = parse_event(id)
    return "" if event is None else event.city


def word_of(request: Request) -> str:
    """The request's word on the line protocol."""
    return str(request.command.__struct_config__.tag)
