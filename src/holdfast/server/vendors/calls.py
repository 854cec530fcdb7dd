"""The calls of the API as commands and queries of the slots, and their replies as status and body."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import msgspec

from holdfast.apps import slots
from holdfast.kernel import replies
from holdfast.kernel.contracts import Person, Reply, Request
from holdfast.server.idempotency import client_of

BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_PROCESSED, CONFLICT = 400, 401, 403, 404, 409
TOO_MANY_REQUESTS, MOST_HELD, UNAVAILABLE = 429, 451, 503
PATH_CHARACTERS_MAX = 1000
RETRY_AFTER_SECONDS = 1

Headers = tuple[tuple[bytes, bytes], ...]

JSON = (b"content-type", b"application/json")

CALLS = "POST or DELETE reservation/{id}, GET reservation/available, GET reservation"
KEY_OF_ANOTHER_TIME = (
    "the Idempotency-Key is more than 24 hours old, or of a time that has not come; nothing was done; make a new one"
)
FIND_OUT = "ask what you hold, or send the same Idempotency-Key again"
_NUMBER = re.compile(r"-?[1-9][0-9]{0,17}|0", re.ASCII)
_LONG_NUMBER = re.compile(r"-?[1-9][0-9]*", re.ASCII)
_encode = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, frozen=True):
    """What goes back: a status, a body of JSON, further headers. `hangs_up`: nothing goes back, the connection ends."""

    status: int
    body: bytes
    headers: Headers = ()
    hangs_up: bool = False


class Call(msgspec.Struct, frozen=True):
    """What is asked for. `command`: of the slots; None for the vendor's own calls about its faults."""

    command: Any
    changes_faults: bool = False


def error(status: int, message: str, *headers: tuple[bytes, bytes]) -> Answer:
    """`{"code": <int>, "message": "..."}`."""
    return Answer(status, _encode({"code": status, "message": message}), headers)


UNKNOWN_KEY = error(
    UNAUTHORIZED, "the token is missing or invalid: send Authorization: Bearer <key>", (b"www-authenticate", b"Bearer")
)


def call_of(method: str, parts: Sequence[str]) -> Call | Answer:
    """The call that a method and the parts of a path, those behind `/<vendor>/api`, mean."""
    match (method, *parts):
        case ("GET", "reservation"):
            return Call(slots.Mine())
        case ("GET", "reservation", "available"):
            return Call(slots.Available())
        case ("POST", "reservation", id):
            return _about(id, slots.Reserve)
        case ("DELETE", "reservation", id):
            return _about(id, slots.Release)
        case ("POST", "reservation", id, "confirm"):
            return _about(id, slots.Confirm)
        case ("POST", "block", id):
            return _about(id, slots.Block)
        case ("DELETE", "block", id):
            return _about(id, slots.Unblock)
        case ("GET", "faults"):
            return Call(None)
        case ("PUT", "faults"):
            return Call(None, changes_faults=True)
    return error(BAD_REQUEST, f"there is no such call; the calls are {CALLS}")


def _about(id: str, command: Callable[[int], Any]) -> Call | Answer:
    """A call about one slot. What is no number is a bad request; a number may be of no slot at all."""
    if _NUMBER.fullmatch(id):
        return Call(command(int(id)))
    if _LONG_NUMBER.fullmatch(id):
        return error(FORBIDDEN, "there is no slot of that number")
    return error(BAD_REQUEST, "a slot's id is a decimal number, as 56")


def request_of(command: Any, person: Person, idempotency_key: str) -> Request | Answer:
    """The request of a client, with what makes a retry exact where the client has sent such a thing."""
    if not idempotency_key:
        return Request(command, person=person)
    try:
        client = client_of(idempotency_key, person.id, type(command).__name__, msgspec.structs.astuple(command))
    except ValueError as problem:
        return error(BAD_REQUEST, str(problem))
    return Request(command, client, 1, 1, person)


# -- replies ------------------------------------------------------------------------------------


def answer_to(reply: Reply) -> Answer:
    """What a reply is on the wire."""
    if isinstance(reply, replies.Outcome):
        reply = reply.reply
    made = _ANSWERS.get(type(reply)) or _SAID_OTHERWISE.get(type(reply))
    if made is not None:
        return made(reply)
    status = _STATUS.get(type(reply), BAD_REQUEST if reply.failed else 200)
    text = reply.text().removeprefix("Failed: ")
    if not reply.failed:
        return Answer(status, _encode({"message": text}))
    return error(status, text, *_RETRY_LATER if status == UNAVAILABLE else ())


_RETRY_LATER: Headers = ((b"retry-after", str(RETRY_AFTER_SECONDS).encode()),)


@cache
def _id(slot: int) -> bytes:
    """A slot as `{"id":"56"}`; there are not more of them than a vendor may have slots."""
    return b'{"id":"%d"}' % slot


def _held_slot(slot: int, until_ms: int) -> dict[str, Any]:
    """A slot, and when its lease ends if it has one (Unix seconds)."""
    return {"id": str(slot), "expires": until_ms / 1000} if until_ms else {"id": str(slot)}


_ANSWERS: dict[type, Callable[[Any], Answer]] = {
    slots.Reserved: lambda reply: Answer(200, _encode(_held_slot(reply.slot, reply.until_ms))),
    slots.Confirmed: lambda reply: Answer(200, _id(reply.slot)),
    slots.Held: lambda reply: Answer(200, _encode([_held_slot(slot, until_ms) for slot, until_ms in reply.slots])),
    slots.Free: lambda reply: Answer(200, b"[" + b",".join(map(_id, reply.numbers())) + b"]"),
}

_SAID_OTHERWISE: dict[type, Callable[[Any], Answer]] = {
    replies.Expired: lambda reply: error(BAD_REQUEST, KEY_OF_ANOTHER_TIME),
    replies.Unknown: lambda reply: error(
        UNAVAILABLE, f"it may have been done ({reply.why}); {FIND_OUT}", *_RETRY_LATER
    ),
}
"""Replies whose own words speak of what this API does not have."""

_STATUS: dict[type, int] = {
    slots.NobodyNamed: UNAUTHORIZED,
    slots.NoSuchSlot: FORBIDDEN,
    slots.VendorOnly: FORBIDDEN,
    slots.NotAvailable: CONFLICT,
    slots.NotYours: CONFLICT,
    slots.MostHeld: MOST_HELD,
    replies.Unavailable: UNAVAILABLE,
    replies.Overloaded: UNAVAILABLE,
}


def too_early(seconds: float, requests_a_second: float) -> Answer:
    """429, with when to come again."""
    wait = str(max(1, math.ceil(seconds))).encode()
    why = f"more than {requests_a_second:g} requests a second; nothing was done"
    return error(TOO_MANY_REQUESTS, why, (b"retry-after", wait))
