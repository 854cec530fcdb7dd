"""What the messages refuse. A refusal says the same about what there is not and about what is not for whoever asks."""

from __future__ import annotations

from holdfast.apps.values import shown
from holdfast.kernel.contracts import Refusal


class NobodyNamed(Refusal, frozen=True, tag="nobody_named"):
    """Nobody is logged in, and messages are somebody's."""

    def text(self) -> str:
        return "Failed: messages want to know who you are; write login ID TOKEN."


class NoSuchPerson(Refusal, frozen=True, tag="no_such_person"):
    """None of the site's people."""

    person: str

    def text(self) -> str:
        return f"Failed: there is nobody with the id {shown(self.person)}; who lists the people."


class ToYourself(Refusal, frozen=True, tag="to_yourself"):
    """A message, or a group, of oneself alone."""

    def text(self) -> str:
        return "Failed: this takes somebody else than you."


class NoSuchConversation(Refusal, frozen=True, tag="no_such_conversation"):
    """There is none, or whoever asks has no part in it."""

    conversation: str

    def text(self) -> str:
        return f"Failed: you have no conversation {shown(self.conversation)}; groups lists your groups."


class NoSuchMessage(Refusal, frozen=True, tag="no_such_message"):
    """There is none, or it is not for whoever asks. `conversation`: "" for the own inbox."""

    conversation: str
    number: int

    def text(self) -> str:
        where = f"in {shown(self.conversation)}" if self.conversation else "in your inbox"
        return f"Failed: there is no message {self.number} {where} with which you may do this."


class IdsMissing(Refusal, frozen=True, tag="ids_missing"):
    """Ids were given with some of the numbers only, and nobody can tell with which."""

    numbers: int
    ids: int

    def text(self) -> str:
        return f"Failed: there are {self.numbers} numbers and {self.ids} ids; write an id for each number, or none."


class WhichGroup(Refusal, frozen=True, tag="which_group"):
    """Whoever asks is in several groups of this name; `groups` are their ids."""

    name: str
    groups: tuple[str, ...]

    def text(self) -> str:
        return f"Failed: you are in several groups called {shown(self.name)}; write {' or '.join(self.groups)}."


class BadGroupName(Refusal, frozen=True, tag="bad_group_name"):
    """No group can be called so."""

    name: str

    def text(self) -> str:
        return (
            f"Failed: no group can be called {shown(self.name)}; write # and then up to 32 letters, digits, "
            "'-', '_' or '.', as #ward3."
        )


class GroupExists(Refusal, frozen=True, tag="group_exists"):
    """Whoever asks has made a group of this name before, and somebody is in it. They need not be in it any more."""

    group: str

    def text(self) -> str:
        return (
            f"Failed: you have made {self.group} before, and somebody is still in it, who can invite others; or use "
            "another name."
        )


class GroupFull(Refusal, frozen=True, tag="group_full"):
    """A group has as many members as it can have."""

    members_max: int

    def text(self) -> str:
        return f"Failed: a group has at most {self.members_max} members."


class BadText(Refusal, frozen=True, tag="bad_text"):
    """The text cannot be one."""

    why: str

    def text(self) -> str:
        return f"Failed: the text {self.why}."
