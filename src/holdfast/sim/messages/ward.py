"""Messages as their pages tell them: a model of the whole service, one command after the other.

Written from the words of the design and of the help texts, apart from the app, so that the two can
disagree. Nothing is counted along: every number in an answer is counted anew from the letters. An
answer says which fields of the app's reply it knows; the others are not judged.
"""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.apps.messages import words
from holdfast.kernel.contracts import Person

SERVICE = "service:"


class Answer(msgspec.Struct, frozen=True):
    """What the reply must be: the name of its type, and of its fields those that are known."""

    kind: str
    fields: dict[str, Any] = {}

    def fits(self, reply: Any) -> bool:
        """Whether the app says the same."""
        return type(reply).__name__ == self.kind and _fits(self.fields, reply)


def _fits(expected: Any, actual: Any) -> bool:
    if isinstance(expected, dict):
        return all(_fits(value, getattr(actual, name)) for name, value in expected.items())
    if isinstance(expected, list):
        return len(expected) == len(actual) and all(map(_fits, expected, actual))
    return bool(expected == actual)


class Letter(msgspec.Struct, eq=False):
    """A message. `readers`: who may see it, whoever comes later. `copies`: recipient -> number in their inbox.
    `place_ms`: when it was sent, but not before the one that it follows in its conversation."""

    talk: str
    number: int
    id: str
    sender: str
    subject: str
    priority: str
    text: str
    sent_ms: int
    readers: tuple[str, ...]
    copies: dict[str, int]
    place_ms: int
    deleted_ms: int = 0
    removed: bool = False

    def shown(self) -> dict[str, Any]:
        """As everybody sees it who may."""
        return {
            "id": self.id, "conversation": self.talk, "message": self.number, "sender": self.sender,
            "subject": self.subject, "priority": self.priority, "content": self.text, "sent_ms": self.sent_ms,
        }  # fmt: skip


class Copy(msgspec.Struct, eq=False):
    """A message in somebody's inbox."""

    letter: Letter
    number: int
    read_ms: int = 0
    acked_ms: int = 0
    repeats: int = 0
    due_ms: int = 0

    @property
    def withheld(self) -> bool:
        """Whether its owner sees only its head, where a question is answered."""
        return not (self.read_ms or self.letter.deleted_ms)

    @property
    def unread(self) -> bool:
        return not (self.read_ms or self.letter.deleted_ms or self.letter.removed)

    def shown(self) -> dict[str, Any]:
        """As its owner sees it."""
        told = {"number": self.number, "repeats": self.repeats, "read_ms": self.read_ms, "acked_ms": self.acked_ms}
        return {**self.letter.shown(), **told, "deleted_ms": self.letter.deleted_ms}


class Talk(msgspec.Struct, eq=False):
    """A conversation. `members`: who is in it now, `ever`: who has ever been."""

    id: str
    members: list[str]
    ever: dict[str, None]
    letters: list[Letter] = []

    @property
    def is_group(self) -> bool:
        return self.id.startswith("#")


class Terms(msgspec.Struct, frozen=True):
    """Milliseconds; `kept_ms` 0: for good, `audit_ms` likewise."""

    urgent_ms: int
    emergency_ms: int
    kept_ms: int = 0
    audit_ms: int = 0


Told = tuple[str, str, Answer]
"""To whom, about which id, what."""


class Ward:
    """One copy of everything. `told`: what watchers are to be told since `take_told`. `written`: the letters by the
    first word of their text, as it was sent."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.talks: dict[str, Talk] = {}
        self.boxes: dict[str, list[Copy]] = {}
        self.cursors: dict[tuple[str, str], int] = {}
        self.arrivals: dict[str, list[tuple[int, int]]] = {}
        self.lines: list[tuple[Letter, str, str, int]] = []
        self.told: list[Told] = []
        self.written: dict[str, list[Letter]] = {}

    def take_told(self) -> list[Told]:
        """What was told since the last time."""
        told, self.told = self.told, []
        return told

    def box(self, person: str) -> list[Copy]:
        """Everything that ever came to a person, oldest first: number n stands at n - 1."""
        return self.boxes.setdefault(person, [])

    # ---- commands ----

    def do(self, person: Person, command: Any, id: str, now_ms: int) -> Answer:
        """What one command does, and what is said to it. `id`: its name; `now_ms`: its time."""
        match command:
            case words.Send():
                return self._send(person.id, command, id, now_ms)
            case words.Read():
                return self._read(person.id, command, now_ms or 1)
            case words.Seen():
                return self._seen(person.id, command, now_ms or 1)
            case words.Ack():
                return self._ack(person.id, command, now_ms or 1)
            case words.Got():
                return self._got(person.id, command, now_ms or 1)
            case words.Delete():
                return self._delete(person, command, now_ms or 1)
            case words.MakeGroup():
                return self._group(person.id, command, id)
            case words.Invite():
                return self._invite(person.id, command, id)
            case words.Leave():
                return self._leave(person.id, command)
        raise AssertionError(f"nobody has told what {command!r} does")

    def _send(self, who: str, command: words.Send, id: str, now_ms: int) -> Answer:
        to = command.to
        if to == who:
            return Answer("ToYourself")
        if not any(sign in to for sign in "+:#@"):
            name = "+".join(sorted((who, to)))
            talk = self.talks.setdefault(name, Talk(name, sorted((who, to)), {who: None, to: None}))
        else:
            found = self._named(who, to)
            if isinstance(found, Answer):
                return found
            if who not in found.members or found.id.startswith(SERVICE):
                return Answer("NoSuchConversation", {"conversation": to})
            talk = found
        others = [person for person in talk.members if person != who]
        repeat_ms = {"urgent": self.terms.urgent_ms, "emergency": self.terms.emergency_ms}.get(command.priority, 0)
        letter = self._post(talk, who, others, command.text, command.subject, command.priority, id, now_ms, repeat_ms)
        said = {"conversation": talk.id, "number": letter.number, "id": id}
        return Answer("Sent", {**said, "to": talk.id if talk.is_group else others[0]})

    def _post(
        self, talk: Talk, sender: str, to: list[str], text: str, subject: str, priority: str, id: str, now_ms: int,
        repeat_ms: int,
    ) -> Letter:  # fmt: skip
        readers = tuple(dict.fromkeys((*talk.members, *to)))
        number = len(talk.letters) + 1
        place_ms = max(now_ms, talk.letters[-1].place_ms if talk.letters else 0)
        letter = Letter(talk.id, number, id, sender, subject, priority, text, now_ms, readers, {}, place_ms)
        talk.letters.append(letter)
        self.written.setdefault(text.split()[0], []).append(letter)
        for person in to:
            box = self.box(person)
            copy = Copy(letter, len(box) + 1, due_ms=now_ms + repeat_ms if repeat_ms else 0)
            box.append(copy)
            letter.copies[person] = copy.number
            told = {"number": copy.number, "repeats": 0}
            self.told.append((person, id, Answer("Arrived", {**letter.shown(), **told})))
        return letter

    def notice(self, source: str, to: str, text: str, id: str, now_ms: int) -> None:
        """A notice of a service arrives."""
        sender = f"{SERVICE}{source}"
        name = f"{sender}+{to}"
        talk = self.talks.setdefault(name, Talk(name, [to], {to: None}))
        self._post(talk, sender, [to], text, "", "routine", id, now_ms, 0)

    def _item(self, who: str, number: int, id: str) -> Copy | None:
        box = self.box(who)
        there = [copy for copy in box if not copy.letter.removed]
        if id:
            return next((copy for copy in there if copy.letter.id == id), None)
        return next((copy for copy in there if copy.number == number), None)

    def _read(self, who: str, command: words.Read, now_ms: int) -> Answer:
        copy = self._item(who, command.number, command.id)
        if copy is None:
            return Answer("NoSuchMessage")
        self._open(who, copy, now_ms)
        return Answer("Opened", copy.shown())

    def _open(self, who: str, copy: Copy, now_ms: int) -> None:
        if copy.unread:
            copy.read_ms = now_ms
            self.lines.append((copy.letter, who, "read", now_ms))

    def _seen(self, who: str, command: words.Seen, now_ms: int) -> Answer:
        if command.ids and len(command.ids) != len(command.numbers):
            return Answer("IdsMissing")
        read: dict[int, None] = {}
        missing: dict[int, None] = {}
        for number, id in zip(command.numbers, command.ids or [""] * len(command.numbers), strict=True):
            copy = self._item(who, number, id)
            if copy is None:
                missing[number] = None
            else:
                self._open(who, copy, now_ms)
                read[copy.number] = None
        return Answer("Shown", {"numbers": tuple(read), "missing": tuple(missing)})

    def _ack(self, who: str, command: words.Ack, now_ms: int) -> Answer:
        copy = self._item(who, command.number, command.id)
        if copy is None:
            return Answer("NoSuchMessage")
        letter = copy.letter
        if letter.deleted_ms and not copy.acked_ms:
            return Answer("NoSuchMessage")
        if not copy.acked_ms:
            copy.read_ms = copy.read_ms or now_ms
            copy.acked_ms, copy.due_ms = now_ms, 0
            self.lines.append((letter, who, "ack", now_ms))
            if not letter.sender.startswith(SERVICE):
                heard = {"conversation": letter.talk, "message": letter.number, "id": letter.id, "by": who}
                self.told.append((letter.sender, letter.id, Answer("AckHeard", {**heard, "at_ms": now_ms})))
        said = {"number": copy.number, "id": letter.id, "sender": letter.sender, "at_ms": copy.acked_ms}
        return Answer("Acknowledged", said)

    def _got(self, who: str, command: words.Got, now_ms: int) -> Answer:
        key = (who, command.device)
        cursor = max(self.cursors.get(key, 0), min(command.number, len(self.box(who))))
        self.cursors[key] = cursor
        arrivals = self.arrivals.setdefault(who, [])
        if cursor > max((upto for upto, _ in arrivals), default=0):
            arrivals.append((cursor, now_ms))
        return Answer("CursorMoved", {"device": command.device, "cursor": cursor})

    def _delete(self, person: Person, command: words.Delete, now_ms: int) -> Answer:
        may_all = words.ADMINISTRATOR in person.roles
        found = self._named(person.id, command.conversation)
        if isinstance(found, Answer):
            talk = self.talks.get(command.conversation) if may_all else None
            if talk is None:
                return Answer("NoSuchMessage") if may_all else found
            found = talk
        letter = self._letter(found, command.number, command.id)
        if letter is None or not (may_all or letter.sender == person.id):
            return Answer("NoSuchMessage")
        if not letter.deleted_ms:
            letter.deleted_ms, letter.text, letter.subject = now_ms, "", ""
            self.lines.append((letter, person.id, "delete", now_ms))
            said = {"conversation": letter.talk, "number": letter.number, "id": letter.id, "at_ms": now_ms}
            for to, number in letter.copies.items():
                self.box(to)[number - 1].due_ms = 0
                self.told.append((to, letter.id, Answer("Deleted", said)))
        said = {"conversation": letter.talk, "number": letter.number, "id": letter.id, "at_ms": letter.deleted_ms}
        return Answer("Deleted", said)

    def _letter(self, talk: Talk, number: int, id: str) -> Letter | None:
        there = [letter for letter in talk.letters if not letter.removed]
        if id:
            return next((letter for letter in there if letter.id == id), None)
        return next((letter for letter in there if letter.number == number), None)

    # ---- groups ----

    def _named(self, who: str, named: str) -> Talk | Answer:
        """The conversation that somebody means, in which they have or had a part."""
        if named.startswith("#"):
            talk = self.talks.get(named)
            if talk is not None and who in talk.ever:
                return talk
            known = [talk for id, talk in sorted(self.talks.items()) if id.startswith(f"{named}@") and who in talk.ever]
            found = [talk for talk in known if who in talk.members] or known
            if len(found) > 1:
                return Answer("WhichGroup", {"groups": tuple(talk.id for talk in found)})
            return found[0] if found else Answer("NoSuchConversation", {"conversation": named})
        if "+" in named:
            name = named
        else:
            name = f"{named}+{who}" if named.startswith(SERVICE) else "+".join(sorted((who, named)))
        talk = self.talks.get(name)
        return talk if talk is not None and who in talk.ever else Answer("NoSuchConversation", {"conversation": named})

    def _group(self, who: str, command: words.MakeGroup, id: str) -> Answer:
        others = [person for person in dict.fromkeys(command.members) if person != who]
        if not others:
            return Answer("ToYourself")
        name = f"{command.name}@{who}"
        talk = self.talks.setdefault(name, Talk(name, [], {}))
        if talk.members:
            return Answer("GroupExists", {"group": name})
        members = sorted((who, *others))
        talk.members = members
        talk.ever.update(dict.fromkeys(members))
        made = Answer("GroupMade", {"group": name, "members": tuple(members)})
        self.told += [(person, id, made) for person in others]
        return made

    def _invite(self, who: str, command: words.Invite, id: str) -> Answer:
        talk = self._named(who, command.group)
        if isinstance(talk, Answer):
            return talk
        if not talk.is_group or who not in talk.members:
            return Answer("NoSuchConversation", {"conversation": command.group})
        joined = Answer("Joined", {"group": talk.id, "person": command.person, "by": who})
        if command.person not in talk.members:
            talk.members = sorted((*talk.members, command.person))
            talk.ever[command.person] = None
            self.told.append((command.person, id, joined))
        return joined

    def _leave(self, who: str, command: words.Leave) -> Answer:
        talk = self._named(who, command.group)
        if isinstance(talk, Answer):
            return talk
        if not talk.is_group:
            return Answer("NoSuchConversation", {"conversation": command.group})
        talk.members = [person for person in talk.members if person != who]
        return Answer("Left", {"group": talk.id, "person": who})

    # ---- time ----

    @property
    def due_ms(self) -> int | None:
        """When the first message is to be told again."""
        return min((copy.due_ms for box in self.boxes.values() for copy in box if copy.due_ms), default=None)

    def pass_time(self, now_ms: int) -> None:
        """What is due by then happens: urgent ones are told again, what is too old goes."""
        for person, box in self.boxes.items():
            for copy in box:
                if copy.due_ms and copy.due_ms <= now_ms:
                    self._repeat(person, copy, now_ms)
        if self.terms.kept_ms:
            for talk in self.talks.values():
                self._remove(talk, now_ms - self.terms.kept_ms)
        while self.terms.audit_ms and self.lines and self.lines[0][3] <= now_ms - self.terms.audit_ms:
            del self.lines[0]

    def _repeat(self, person: str, copy: Copy, now_ms: int) -> None:
        terms, letter = self.terms, copy.letter
        copy.repeats += 1
        copy.due_ms = now_ms + (terms.emergency_ms if letter.priority == "emergency" else terms.urgent_ms)
        told = {"number": copy.number, "repeats": copy.repeats}
        self.told.append((person, letter.id, Answer("Arrived", {**letter.shown(), **told})))

    def _remove(self, talk: Talk, upto_ms: int) -> None:
        for letter in talk.letters:
            if letter.sent_ms > upto_ms:
                break
            letter.removed = True
            for person, number in letter.copies.items():
                self.box(person)[number - 1].due_ms = 0
