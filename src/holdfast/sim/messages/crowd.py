"""Who writes, and what: few people, few groups, so that they are in each other's way.

Each text has a word of its own, so that whoever sees it can be asked by what right.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.apps.messages import words
from holdfast.apps.messages.replies import GroupMade, Joined, Sent
from holdfast.kernel.contracts import Person, Reply
from holdfast.sim.audit import Violation

if TYPE_CHECKING:
    from holdfast.apps.messages.rows import Audit
    from holdfast.sim.messages.ward import Ward

NAMES = ("ann", "bob", "cem", "dee", "eva", "gus", "ida", "jan", "kim", "leo")
GROUPS = ("#ward", "#night")
DEVICES = ("tablet", "desk")
SUBJECTS = ("", "", "", "bed 7", "Röntgen")
TAILS = ("", " please", " – sofort", "\nsecond line", " 🩺")
WORDS = {
    "send": 44, "read": 6, "seen": 6, "ack": 11, "got": 4, "delete": 4, "group": 3, "invite": 3, "leave": 2,
    "inbox": 3, "since": 3, "history": 5, "unread": 3, "groups": 2, "states": 4, "audit": 2, "search": 2, "devices": 1,
}  # fmt: skip
QUERIES = ("inbox", "since", "history", "unread", "groups", "states", "audit", "search", "devices")

_TOKEN = re.compile(r"\bt\d+\b")
_PAIR = re.compile(r"\b([a-z]{3})\+([a-z]{3})\b")
_GROUP = re.compile(r"#[a-z]+(?=@)")


class Crowd:
    """Draws what people do, and knows who may have heard of what. `ids`: messages that somebody was shown; `sent`:
    those that they know they have sent, (conversation, number, id); `groups`: those that they know they are in;
    `words`: how often each is drawn.
    `read`: (person, word of a text) of what questions have shown them, each with such an answer."""

    def __init__(self, source: random.Random, count: int) -> None:
        self.source = source
        roles = {
            2: (words.AUDITOR,) if source.random() < 0.5 else (),
            3: (words.ADMINISTRATOR,) if source.random() < 0.5 else (),
        }
        self.people = [Person(name, name.title(), roles.get(place, ())) for place, name in enumerate(NAMES[:count])]
        self.words = WORDS
        self.texts = 0
        self.readers: dict[str, dict[str, None]] = {}
        self.grouped: dict[str, dict[str, None]] = {}
        self.ids: dict[str, list[tuple[int, str]]] = {}
        self.sent: dict[str, list[tuple[str, int, str]]] = {}
        self.groups: dict[str, list[str]] = {}
        self.read: dict[tuple[str, str], Reply] = {}

    def draw(self, person: Person | None = None) -> tuple[Person, Any, bool]:
        """What somebody does next: who, the command or query, and whether it is a query."""
        person = person or self.source.choice(self.people)
        word = self.source.choices(tuple(self.words), tuple(self.words.values()))[0]
        return person, getattr(self, f"_{word}")(person), word in QUERIES

    # ---- commands ----

    def _send(self, person: Person) -> words.Send:
        source = self.source
        self.texts += 1
        token = f"t{self.texts}"
        to = self._address(person)
        named = re.split(r"[+]", to) if "#" not in to else [to.partition("@")[0]]
        self.readers[token] = dict.fromkeys((person.id, *named))
        priority: Any = source.choices(words.Priority.__args__, (6, 2, 2))[0]  # type: ignore[attr-defined]
        return words.Send(to, token + source.choice(TAILS), source.choice(SUBJECTS), priority)

    def _address(self, person: Person) -> str:
        """Mostly somebody else, or a group; now and then a conversation that is one's own or not."""
        die = self.source.random()
        other = self._other(person)
        if die < 0.62:
            return other
        if die < 0.92:
            return self._group_id()
        return self.source.choice(("+".join(sorted((person.id, other))), person.id, self._pair(), "#nobody"))

    def _other(self, person: Person) -> str:
        return self.source.choice([one.id for one in self.people if one is not person])

    def _pair(self) -> str:
        return "+".join(sorted(one.id for one in self.source.sample(self.people, 2)))

    def _group_id(self) -> str:
        """In its long or its short form."""
        name = self.source.choice(GROUPS)
        return name if self.source.random() < 0.5 else f"{name}@{self.source.choice(self.people[:2]).id}"

    def _conversation(self, person: Person) -> str:
        die = self.source.random()
        return self._other(person) if die < 0.45 else self._group_id() if die < 0.85 else self._pair()

    def _number(self) -> int:
        """Small ones are often there, for everybody."""
        return self.source.randint(1, 2 + self.texts // 3)

    def _item(self, person: Person) -> tuple[int, str]:
        """A number of one's inbox, or with it the id of a message that one has seen; its number may be wrong by now."""
        known = self.ids.get(person.id, [])
        if known and self.source.random() < 0.4:
            number, id = self.source.choice(known)
            return max(1, number + self.source.choice((0, 0, 0, -1, 1))), id
        return self._number(), ""

    def _read(self, person: Person) -> words.Read:
        return words.Read(*self._item(person))

    def _seen(self, person: Person) -> words.Seen:
        """Some of them by their ids too; now and then an id is missing."""
        items = [self._item(person) for _ in range(self.source.randint(1, 4))]
        ids = tuple(id for _, id in items) if any(id for _, id in items) else ()
        return words.Seen(tuple(number for number, _ in items), ids[: -1 if self.source.random() < 0.03 else None])

    def _ack(self, person: Person) -> words.Ack:
        return words.Ack(*self._item(person))

    def _got(self, person: Person) -> words.Got:
        return words.Got(self.source.choice(DEVICES), self._number() - 1)

    def _delete(self, person: Person) -> words.Delete:
        """Mostly what they have sent, by its number or by its id too."""
        known = self.sent.get(person.id, [])
        if known and self.source.random() < 0.7:
            conversation, number, id = self.source.choice(known)
            return words.Delete(conversation, number, self.source.choice(("", id)))
        return words.Delete(self._conversation(person), self._number())

    def _group(self, person: Person) -> words.MakeGroup:
        name = self.source.choice(GROUPS)
        members = tuple(one.id for one in self.source.sample(self.people, self.source.randint(1, len(self.people))))
        self.grouped.setdefault(name, {}).update(dict.fromkeys((person.id, *members)))
        return words.MakeGroup(name, members)

    def _invite(self, person: Person) -> words.Invite:
        known, other = self.groups.get(person.id, []), self._other(person)
        group = self.source.choice(known) if known and self.source.random() < 0.7 else self._group_id()
        self.grouped.setdefault(group.partition("@")[0], {})[other] = None
        return words.Invite(group, other)

    def _leave(self, person: Person) -> words.Leave:
        return words.Leave(self._group_id())

    # ---- questions ----

    def _inbox(self, person: Person) -> words.AskInbox:
        return words.AskInbox(self.source.choice((0, 0, self._number())))

    def _since(self, person: Person) -> words.AskSince:
        return words.AskSince(self._number() - 1)

    def _history(self, person: Person) -> words.AskHistory:
        return words.AskHistory(self._conversation(person), self.source.choice((0, 0, self._number())))

    def _unread(self, person: Person) -> words.AskUnread:
        return words.AskUnread()

    def _groups(self, person: Person) -> words.AskGroups:
        return words.AskGroups()

    def _states(self, person: Person) -> words.AskStates:
        return words.AskStates(self._conversation(person), self._number())

    def _audit(self, person: Person) -> words.AskAudit:
        return words.AskAudit()

    def _search(self, person: Person) -> words.Search:
        return words.Search(self.source.choice(("please", "RÖNTGEN", "t1", "sofort bed")))

    def _devices(self, person: Person) -> words.AskDevices:
        return words.AskDevices()

    def questions(self) -> list[tuple[Person, Any]]:
        """Everything that anybody can ask in the end."""
        asked: list[tuple[Person, Any]] = []
        for person in self.people:
            talks = [one.id for one in self.people if one is not person]
            talks += [f"{name}@{one.id}" for name in GROUPS for one in self.people]
            talks += [
                "+".join(sorted((one.id, other.id)))
                for one in self.people
                for other in self.people
                if one.id < other.id
            ]
            fixed = (words.AskInbox(), words.AskSince(), words.AskUnread(), words.AskGroups(), words.AskAudit())
            asked += [(person, query) for query in (*fixed, words.AskDevices())]
            asked += [(person, words.AskHistory(talk)) for talk in talks]
            asked += [(person, words.AskStates(talk, number)) for talk in talks for number in (1, 2, 3)]
        return asked

    # ---- what they are shown ----

    def shown(self, person: Person, reply: Reply) -> None:
        """Learn from what somebody is shown, or told; raise `Violation` if it is not theirs."""
        for item in (*getattr(reply, "items", ()), reply):
            if hasattr(item, "number") and hasattr(item, "sender") and item.id:
                self.ids.setdefault(person.id, []).append((item.number, item.id))
        if isinstance(reply, Sent):
            self.sent.setdefault(person.id, []).append((reply.conversation, reply.number, reply.id))
        elif isinstance(reply, GroupMade | Joined):
            self.groups.setdefault(person.id, []).append(reply.group)
        text = msgspec.json.encode(reply).decode()
        for token in _TOKEN.findall(text):
            if not self._may_read(person.id, token):
                raise Violation(
                    "shown", f"{person.id} is shown {token}, which is for {list(self.readers[token])}: {text}"
                )
        if reply.failed or person.roles:  # a refusal says what was asked; an auditor reads all lines
            return
        for pair in _PAIR.findall(text):
            if person.id not in pair:
                raise Violation("shown", f"{person.id} is shown the conversation of {pair}: {text}")
        for group in _GROUP.findall(text):
            if person.id not in self.grouped.get(group, {}):
                raise Violation("shown", f"{person.id} is shown the group {group}, and was never in it: {text}")

    def answered(self, person: Person, query: Any, reply: Reply) -> None:
        """A question was answered, finally: keep which texts it has shown. `since` is what a device asks."""
        if not isinstance(query, words.AskSince):
            for token in _TOKEN.findall(msgspec.json.encode(reply).decode()):
                self.read.setdefault((person.id, token), reply)

    def judge_read(self, ward: Ward, rows: Iterable[Audit]) -> None:
        """Raise `Violation` if a question has shown somebody a text that they have not sent, and of which the log,
        these rows, does not say that they have read it."""
        log = {(row.conversation, row.message, row.person): None for row in rows if row.what in ("read", "ack")}
        for (who, token), reply in self.read.items():
            letters = ward.written.get(token, [])
            if not any(one.sender == who or (one.talk, one.number, who) in log for one in letters):
                raise Violation("read", f"{who} was shown {token} and has not read it, as the log has it: {reply}")

    def _may_read(self, who: str, token: str) -> bool:
        named = self.readers.get(token, {})
        return any(one == who or who in self.grouped.get(one, {}) for one in named)
