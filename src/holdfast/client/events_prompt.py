"""The events on the command line: help for the role of who asks, a manager or a customer."""

from __future__ import annotations

from holdfast.apps.events.names import parse_person
from holdfast.client.speak import Speaker

MANAGERS_ONLY = ("addEvent", "removeEvent", "listEventAvailability")
OPERATORS_ONLY = ("fault", "trust", "votes", "status", "watch")


class EventsSpeaker(Speaker):
    """As any service; who asks sees first what such a person can do."""

    def greet(self) -> None:
        """Who asks, and the words of that role."""
        print(f"{self._role()} Tab completes, `help` lists all of this again, Ctrl-D or `quit` ends.")
        if self._help:
            print("\n".join(f"  {usage}" for usage in self.usages(self._help)))

    def login(self, arguments: list[str]) -> bool:
        """Also tell the words of the new role."""
        is_logged_in = super().login(arguments)
        if is_logged_in:
            self._learn_words()
            self.greet()
        return is_logged_in

    def usages(self, help_text: str) -> list[str]:
        """The words of who asks; to nobody, all of them, and first of all how to say who asks."""
        said = super().usages(help_text)
        person = parse_person(self.site.person)
        if person is None:
            return said if self._is_once else ["login <id>", *said]
        hidden = OPERATORS_ONLY if person.is_manager else (*OPERATORS_ONLY, *MANAGERS_ONLY)
        return [usage for usage in said if usage.split()[0] not in hidden]

    def _role(self) -> str:
        person = parse_person(self.site.person)
        if person is None:
            return "Nobody asks yet: say `login TORC2345`, or give --as."
        if person.is_manager:
            return f"{person.id} is a manager of {person.city} and acts for all customers of {person.city}."
        return f"{person.id} is a customer of {person.city}."
