"""Which conversation somebody means, and groups: who is in them, and what of them they see.

A group's id is its name with the one who has made it, `#ward3@bob`: so two people, or two wings of a
hospital that do not hear each other, make groups of one name without learning of each other's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from holdfast.apps.messages.posting import SERVICE, is_address, pair, see, time_of
from holdfast.apps.messages.refusals import (
    BadGroupName,
    GroupExists,
    GroupFull,
    NoSuchConversation,
    NoSuchPerson,
    ToYourself,
    WhichGroup,
)
from holdfast.apps.messages.replies import GroupMade, Joined, Left
from holdfast.apps.messages.rows import OPEN, Conversation, Membership
from holdfast.apps.messages.words import MEMBERS_MAX, Invite, Leave, MakeGroup
from holdfast.apps.values import check_name
from holdfast.kernel.store import Condition, Select

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.kernel.contracts import Context, Refusal, Reply
    from holdfast.kernel.store import TupleStore


def part_in(store: TupleStore, person: str, named: str) -> Membership | Refusal:
    """The part that the person has, or had, in the conversation that they name."""
    memberships = store.table(Membership)
    if named.startswith("#"):
        part = memberships.get((person, named))
        return part if part is not None else _by_name(store, person, named)
    if "+" in named:
        part = memberships.get((person, named))
    elif named.startswith(SERVICE):
        part = memberships.get((person, f"{named}+{person}"))
    else:
        part = memberships.get((person, pair(person, named)))
    return part if part is not None else NoSuchConversation(named)


def _by_name(store: TupleStore, person: str, name: str) -> Membership | Refusal:
    """The group of this name that the person is in, or else the one that they were in."""
    known = parts_of(store, person, f"{name}@", f"{name}A")  # "A" follows "@"
    present = [part for part in known if part.is_present]
    found = present or known
    if len(found) == 1:
        return found[0]
    return WhichGroup(name, tuple(part.conversation for part in found)) if found else NoSuchConversation(name)


def parts_of(store: TupleStore, person: str, first: str = "", behind: str = "") -> list[Membership]:
    """The person's part in each of their conversations from `first` to before `behind`, by id."""
    where = [Condition("person", "=", person), Condition("conversation", ">=", first)]
    if behind:
        where.append(Condition("conversation", "<", behind))
    return store.select(Select(Membership.table, tuple(where), order=("conversation",)))


def is_group_name(text: str) -> bool:
    """Whether a group can be called so: what `apply` can tell on every machine alike."""
    return len(text) > 1 and text[0] == "#" and is_address(text[1:]) and "," not in text and " " not in text


def group_name_refusal(text: str) -> Refusal | None:
    """What the door refuses beside that: what people cannot tell from another name."""
    rest = text[1:]
    is_word = all(character.isalnum() or character in "-_." or not character.isascii() for character in rest)
    return None if is_group_name(text) and is_word and check_name(rest) is None else BadGroupName(text)


def make_group(store: TupleStore, command: MakeGroup, me: str, context: Context) -> Reply:
    """A group of oneself and others. One that all have left is made again, by who has made it before; what was said
    in it is for those only who were there."""
    if not is_group_name(command.name):
        return BadGroupName(command.name)
    others = [person for person in dict.fromkeys(command.members) if person != me]
    if not others:
        return ToYourself()
    for person in others:
        if not is_address(person):
            return NoSuchPerson(person)
    if len(others) >= MEMBERS_MAX:
        return GroupFull(MEMBERS_MAX)
    id = f"{command.name}@{me}"
    group = store.table(Conversation).get(id) or Conversation(id, ())
    if group.members:
        return GroupExists(id)
    see(store, me, time_of(context))
    members = tuple(sorted((me, *others)))
    _take_in(store, group, members)
    made = GroupMade(id, members)
    for person in others:
        context.tell(person, context.id, made)
    return made


def invite(store: TupleStore, command: Invite, me: str, context: Context) -> Reply:
    """Who is in a group takes somebody else in."""
    group = _present(store, me, command.group)
    if not isinstance(group, Conversation):
        return group
    person = command.person
    if not is_address(person):
        return NoSuchPerson(person)
    joined = Joined(group.id, person, me)
    if person in group.members:
        return joined
    if len(group.members) >= MEMBERS_MAX:
        return GroupFull(MEMBERS_MAX)
    see(store, me, time_of(context))
    _take_in(store, group, (person,))
    context.tell(person, context.id, joined)
    return joined


def _take_in(store: TupleStore, group: Conversation, persons: Iterable[str]) -> None:
    """From now on these are in the group too, and see what is sent."""
    store.table(Conversation).put(replace(group, members=tuple(sorted((*group.members, *persons)))))
    memberships = store.table(Membership)
    for person in persons:
        part = memberships.get((person, group.id)) or Membership(person, group.id, 0, ())
        first, spans = group.last + 1, part.spans
        if spans and spans[-1][1] + 1 == first:  # they have missed nothing
            first, spans = spans[-1][0], spans[:-1]
        memberships.put(replace(part, spans=(*spans, (first, OPEN))))


def leave(store: TupleStore, command: Leave, me: str, context: Context) -> Reply:
    """What was sent until now stays to be seen."""
    part = part_in(store, me, command.group)
    if not isinstance(part, Membership):
        return part
    group = store.table(Conversation).get(part.conversation)
    if group is None or group.id[0] != "#":
        return NoSuchConversation(command.group)
    left = Left(group.id, me)
    if not part.is_present:
        return left
    see(store, me, time_of(context))
    store.table(Conversation).put(replace(group, members=tuple(person for person in group.members if person != me)))
    first = part.spans[-1][0]
    last_span = ((first, group.last),) if first <= group.last else ()
    store.table(Membership).put(replace(part, spans=(*part.spans[:-1], *last_span)))
    return left


def _present(store: TupleStore, me: str, named: str) -> Conversation | Refusal:
    """The group that somebody names who is in it now."""
    part = part_in(store, me, named)
    if not isinstance(part, Membership):
        return part
    group = store.table(Conversation).get(part.conversation)
    if group is None or group.id[0] != "#" or not part.is_present:
        return NoSuchConversation(named)
    return group
