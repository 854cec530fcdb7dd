"""Telling somebody the final pair of a plan, once, through the site's messages, however often the plan is run again.

Before the message leaves, its name (a client id and the number 1) stands in a file beside the plan's journal.
So whoever runs the plan again after a crash sends the same request again, and gets the first answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from holdfast.client.addresses import Addresses
from holdfast.client.errors import DeadlineExceeded, LoginRefused, Misuse
from holdfast.client.outcomes import Answer
from holdfast.client.service import Service
from holdfast.client.site import Options, Site, new_client_id
from holdfast.planner.shell import Outcome
from holdfast.private import make_file

APP = "messages"
DEADLINE_S = 15.0
"""How long the service may take to be told."""


class Telling(msgspec.Struct, frozen=True):
    """What is to be told to whom, under which client id. `is_done`: the messages' service has it."""

    client: str
    to: str
    text: str
    is_done: bool = False


def messages(site: str, *, as_: str, token: str, say: Callable[[str], object]) -> Service:
    """The site's service of messages, as this person. A wrong token is heard of now, not at the plan's end; that
    nobody answers now is only said. Raises `Misuse` where there is no such service or nobody is named, and
    `LoginRefused`."""
    addresses = Addresses.of_site(site)
    found = [name for name in addresses.names() if addresses.app(name) == APP]
    if len(found) != 1:
        which = f"has several: {', '.join(found)}" if found else "has none"
        raise Misuse(f"--tell needs the site's service of messages, and the site {which}")
    options: Options = {"deadline_s": DEADLINE_S}
    if as_:
        options["as_"] = as_
    if token:
        options["token"] = token
    opened = Site.at(addresses, **options)
    if not opened.person:
        raise Misuse("--tell needs to know who tells: --as ID, with --token or HOLDFAST_TOKEN")
    service: Service = opened.service(found[0])
    try:
        service.call("unread")
    except DeadlineExceeded as error:
        say(f"{found[0]} cannot be reached now, and is to be told at the end: {error}")
    return service


def tell_outcome(service: Service, to: str, outcome: Outcome, state: Path, say: Callable[[str], object]) -> bool:
    """Tell the pair of a plan, if it has one; whether nothing is left to be told."""
    if outcome.slot is None:
        return True
    again = "the same command tries again"
    try:
        answer = tell(service, to, f"Slot {outcome.slot} is booked at {' and '.join(outcome.held)}.", state)
    except (DeadlineExceeded, LoginRefused) as error:
        say(f"{to} is not told yet: {error}; {again}")
        return False
    if answer is None:
        say(f"{to} has been told before")
    elif answer.ok:
        say(f"{to} is told")
    elif answer.type == "expired":
        say(f"whether {to} was told is not known any more; remove {told_file(state)} to tell it anew")
    else:
        say(f"{to} could not be told: {answer.text}")
    return answer is None or answer.ok


def told_file(state: Path) -> Path:
    """Where it stands, of the plan with this journal."""
    return state.with_name(f"{state.name}.told")


def tell(service: Service, to: str, text: str, state: Path) -> Answer | None:
    """Tell it; None if that was done before. Raises what `Service.call` raises: then the same may be called again."""
    file = told_file(state)
    telling = _read(file)
    if telling is None or (telling.to, telling.text) != (to, text):
        telling = Telling(new_client_id(), to, text)
        _write(file, telling)
    elif telling.is_done:
        return None
    answer = service.repeat(telling.client, 1, "send", to, text)
    if answer.ok:
        _write(file, msgspec.structs.replace(telling, is_done=True))
    elif answer.type != "expired":  # of that it is not known whether it was done before
        file.unlink()  # it was refused, and nobody was told; whatever is told next is something new
    return answer


def forget(state: Path) -> None:
    """The pair is given back: the next one is told anew, be it the same."""
    told_file(state).unlink(missing_ok=True)


def _read(file: Path) -> Telling | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Telling)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Misuse(f"{file} does not say whom this plan has told: {error}; remove it to tell it anew") from error


def _write(file: Path, telling: Telling) -> None:
    """Whole or not at all, and on the disk before anything leaves."""
    fresh = file.with_name(f"{file.name}.new")
    make_file(fresh)
    with fresh.open("wb") as writing:
        writing.write(msgspec.json.encode(telling))
        writing.flush()
        os.fsync(writing.fileno())
    fresh.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
