"""Before a service: nobody gets at what is others' by going around the app.

- The answer to (client, number) is given to whoever sends that again. So each person has client ids of
  their own: `@phone:1` of one is not `@phone:1` of another, who could only guess at it.
- A protocol's own words go around the app. Those that change what is others' (its words say which: `retire` or
  `take-over` of `bayou`) are for operators wherever people prove who they are. Through a private app all of them
  see: an export of `bayou` is the whole write log. There they all are.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from holdfast.kernel.contracts import Person, Request
from holdfast.kernel.replies import Forbidden
from holdfast.people import OPERATOR
from holdfast.server.face import Service


class Guard:
    """Hands on to the service what who asks may say there. `words`: those that are
    for operators alone, () where nobody proves who they are."""

    def __init__(self, service: Service, words: tuple[type, ...]) -> None:
        self._service = service
        self._words = frozenset(words)

    def submit(self, waiter: Any, request: Request) -> None:
        """Take a command."""
        if self._lets_in(waiter, request):
            if request.client and request.person is not None:
                request = replace(request, client=own_client(request.person, request.client))
            self._service.submit(waiter, request)

    def ask(self, waiter: Any, request: Request) -> None:
        """Take a query."""
        if self._lets_in(waiter, request):
            self._service.ask(waiter, request)

    def _lets_in(self, waiter: Any, request: Request) -> bool:
        person = request.person
        if type(request.command) not in self._words or (person is not None and OPERATOR in person.roles):
            return True
        word = request.command.__struct_config__.tag
        waiter.deliver(Forbidden(f"{word} shows or changes what is others'; it takes the role {OPERATOR}."))
        return False


def own_client(person: Person, client: str) -> str:
    """The client id as the service knows it; it still ends in its birth, if it tells one. No client id on the wire
    has a colon, so that nobody's is another's."""
    return f"{person.id}:{client}"
