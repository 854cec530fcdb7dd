"""What the model answers to questions: everything is looked up and counted anew. Pages are not turned here: the
runs are short, and a run's answers fit one page."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from holdfast.apps.messages import words
from holdfast.kernel.contracts import Person
from holdfast.sim.messages.ward import Answer, Copy, Letter, Talk, Ward


def ask(ward: Ward, person: Person, query: Any) -> Answer:
    """What is answered to this person."""
    who = person.id
    match query:
        case words.AskInbox():
            items = [copy for copy in reversed(_there(ward, who)) if not query.before or copy.number < query.before]
            heads = [{**copy.shown(), **_withheld(copy)} for copy in items]
            return Answer("Inbox", {"unread": _unread(ward, who).total(), "items": heads})
        case words.AskSince():
            items = [copy for copy in _there(ward, who) if copy.number > query.after]
            return Answer("Since", {"items": [copy.shown() for copy in items], "last": len(ward.box(who))})
        case words.AskUnread():
            counts = _unread(ward, who)
            return Answer("Unread", {"total": counts.total(), "conversations": tuple(sorted(counts.items()))})
        case words.AskHistory():
            return _history(ward, who, query)
        case words.AskStates():
            return _states(ward, person, query)
        case words.AskGroups():
            return _groups(ward, who)
        case words.AskDevices():
            known = [(device, cursor) for (owner, device), cursor in sorted(ward.cursors.items()) if owner == who]
            devices = [{"device": device, "cursor": cursor} for device, cursor in known]
            return Answer("Devices", {"devices": devices, "last": len(ward.box(who))})
        case words.Search():
            return _search(ward, who, query)
    raise AssertionError(f"nobody has told what is answered to {query!r}")


def is_right(ward: Ward, person: Person, query: Any, reply: Any) -> bool:
    """Whether the app has answered what the model would have."""
    if isinstance(query, words.AskAudit):
        lines = [(line.conversation, line.message, line.person, line.what, line.at_ms) for line in reply.lines]
        return sorted(lines) == audit_lines(ward, person)
    return ask(ward, person, query).fits(reply)


def audit_lines(ward: Ward, person: Person) -> list[tuple[str, int, str, str, int]]:
    """The lines of the audit log that this person may read: (conversation, message, who, what, when), sorted."""
    who, sees_all = person.id, words.AUDITOR in person.roles
    mine = [
        (letter, by, what, at_ms)
        for letter, by, what, at_ms in ward.lines
        if sees_all or who in letter.readers or (by == who and who in ward.talks[letter.talk].ever)
    ]
    return sorted((letter.talk, letter.number, by, what, at_ms) for letter, by, what, at_ms in mine)


def _there(ward: Ward, who: str) -> list[Copy]:
    return [copy for copy in ward.box(who) if not copy.letter.removed]


def _unread(ward: Ward, who: str) -> Counter[str]:
    return Counter(copy.letter.talk for copy in ward.box(who) if copy.unread)


def _withheld(copy: Copy) -> dict[str, Any]:
    return {"withheld": True, "content": ""} if copy.withheld else {"withheld": False}


def _said(ward: Ward, letter: Letter, who: str) -> dict[str, Any]:
    number = letter.copies.get(who, 0)
    own = _withheld(ward.box(who)[number - 1]) if number else {"withheld": False}
    return {**letter.shown(), "deleted_ms": letter.deleted_ms, "number": number, **own}


def _visible(talk: Talk, who: str) -> list[Letter]:
    return [letter for letter in talk.letters if who in letter.readers and not letter.removed]


def _history(ward: Ward, who: str, query: words.AskHistory) -> Answer:
    talk = ward._named(who, query.conversation)
    if isinstance(talk, Answer):
        return talk
    letters = [letter for letter in _visible(talk, who) if not query.before or letter.number < query.before]
    return Answer("History", {"conversation": talk.id, "messages": [_said(ward, letter, who) for letter in letters]})


def _states(ward: Ward, person: Person, query: words.AskStates) -> Answer:
    is_auditor = words.AUDITOR in person.roles
    named = ward._named(person.id, query.conversation)
    if isinstance(named, Answer) and not (is_auditor and named.kind != "WhichGroup"):
        return named
    talk = ward.talks.get(query.conversation) if isinstance(named, Answer) else named
    there = [] if talk is None else talk.letters if is_auditor else _visible(talk, person.id)
    letter = next((one for one in there if one.number == query.number and not one.removed), None)
    if letter is None or talk is None:
        return Answer("NoSuchMessage")
    reaches = [_reach(ward, person, number) for person, number in letter.copies.items()]
    said = {"conversation": talk.id, "number": letter.number, "id": letter.id, "sent_ms": letter.sent_ms}
    return Answer("States", {**said, "recipients": reaches})


def _reach(ward: Ward, person: str, number: int) -> dict[str, Any]:
    copy = ward.box(person)[number - 1]
    delivered_ms = next((at_ms for upto, at_ms in ward.arrivals.get(person, ()) if upto >= number), 0)
    state = "delivered" if delivered_ms else "stored"
    state = "acknowledged" if copy.acked_ms else "read" if copy.read_ms else state
    times = {"delivered_ms": delivered_ms, "read_ms": copy.read_ms, "acked_ms": copy.acked_ms}
    return {"person": person, "state": state, **times, "repeats": copy.repeats}


def _groups(ward: Ward, who: str) -> Answer:
    unread = _unread(ward, who)
    groups = [
        {"group": id, "members": tuple(talk.members), "last": len(talk.letters), "unread": unread[id]}
        for id, talk in sorted(ward.talks.items())
        if talk.is_group and who in talk.members
    ]
    return Answer("Groups", {"groups": groups})


def _search(ward: Ward, who: str, query: words.Search) -> Answer:
    wanted = query.words.lower().split()
    letters = [letter for talk in ward.talks.values() for letter in _visible(talk, who) if not letter.deleted_ms]
    found = []
    for one in letters:
        text = f"{one.subject} {one.text}".lower()
        is_open = not _said(ward, one, who)["withheld"]  # of what is not read only whole words count
        if all(word in (text if is_open else re.findall(r"[^\W_]+", text)) for word in wanted):
            found.append(one)
    found.sort(key=lambda one: (one.place_ms, one.talk, one.number), reverse=True)
    return Answer("Found", {"messages": [_said(ward, one, who) for one in found]})
