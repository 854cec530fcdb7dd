"""Telling people what a plan has come to, through the site's service of plans, however often the plan is run again.

Before anything is said, what is to be said stands in a file beside the plan's journal, and under which request (a
client id and a number). So whoever runs the plan again after a crash sends the same request again, and gets the
first answer; and a request that is still on its way when the next one was answered is refused. Where the name of a
request is too old to be known, the same is said under a new one: the service tells nobody the same twice.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from holdfast.apps.values import NAME_CHARACTERS_MAX
from holdfast.client.addresses import Addresses, demo_file, site_file
from holdfast.client.errors import DeadlineExceeded, LoginRefused, Misuse
from holdfast.client.outcomes import Answer
from holdfast.client.service import Service
from holdfast.client.site import Options, Site, new_client_id
from holdfast.planner.shell import Outcome
from holdfast.private import make_file

APP = "plans"
DEADLINE_S = 15.0
"""How long the service may take to hear it."""
AGAIN = "the same command tries again"
TOO_OLD = ("expired", "forgotten")
"""Of a request of that name it is not known any more whether it was executed."""


class Telling(msgspec.Struct, frozen=True):
    """What the service is to hear, and under which request. `site`: the site's file. `person`: whose plan it is;
    `plan`: its name there. `slot` 0: that it is held no longer. `to`: who is to be told. `is_done`: it has heard."""

    site: str
    person: str
    plan: str
    client: str
    number: int = 1
    slot: int = 0
    vendors: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    is_done: bool = False


class Teller:
    """Says what one plan has come to. `to`: whom the service is to tell of it, nobody for those it was to tell before.
    `say` hears a line about it."""

    def __init__(
        self, service: Service, site: str, person: str, to: Sequence[str], state: Path, say: Callable[[str], object]
    ) -> None:
        self._service = service
        self._site = site
        self._person = person
        self._to = tuple(dict.fromkeys(to))
        self._file = told_file(state)
        self._say = say

    def tell(self, outcome: Outcome) -> bool:
        """Tell it to whoever has not been told; whether nothing is left to be told. Raises `Misuse`."""
        telling = _read(self._file)
        if telling is None and (outcome.slot is None or not self._to):
            return True
        if not outcome.complete or outcome.denied:
            self._say(f"nobody is told before every vendor has confirmed what it holds; {AGAIN}")
            return False
        wanted = self._wanted(telling, outcome)
        if wanted.is_done:
            self._say(f"{' and '.join(wanted.to)} had been told before")
            return True
        if wanted != telling:
            _write(self._file, wanted)
        return self._send(wanted)

    def _wanted(self, telling: Telling | None, outcome: Outcome) -> Telling:
        """What is to be heard of this outcome: the same as last time, under the same name, if nothing has changed."""
        slot = outcome.slot or 0
        vendors = tuple(map(_short, outcome.held)) if slot else ()
        if telling is None:
            plan = f"plan-{secrets.token_hex(5)}"
            return Telling(self._site, self._person, plan, new_client_id(), 1, slot, vendors, self._to)
        to = self._to or telling.to
        if (telling.slot, telling.vendors) == (slot, vendors) and set(to) <= set(telling.to):
            return telling
        number = telling.number + 1
        changed = {"number": number, "slot": slot, "vendors": vendors, "to": to, "is_done": False}
        return msgspec.structs.replace(telling, site=self._site, **changed)

    def _send(self, telling: Telling) -> bool:
        try:
            answer = self._said(telling)
            if answer.type in TOO_OLD:
                telling = msgspec.structs.replace(telling, client=new_client_id(), number=1)
                _write(self._file, telling)
                answer = self._said(telling)
        except (DeadlineExceeded, LoginRefused) as error:
            self._say(f"{self._service.name} has not heard it yet: {error}; {AGAIN}")
            return False
        is_known = answer.ok or (not telling.slot and answer.type == "no_such_plan")
        if not is_known:
            self._say(f"{' and '.join(telling.to)} could not be told: {answer.text}")
            return False
        if telling.slot:
            _write(self._file, msgspec.structs.replace(telling, is_done=True))
        else:
            self._file.unlink()
        self._say(answer.text if answer.ok else "nobody had been told")
        return True

    def _said(self, telling: Telling) -> Answer:
        words = ("conclude", telling.plan, telling.slot, telling.vendors, telling.to)
        said = words if telling.slot else ("withdraw", telling.plan)
        return self._service.repeat(telling.client, telling.number, *said, lowest=telling.number)


def teller(
    state: Path, to: Sequence[str], *, site: str, as_: str, token: str, say: Callable[[str], object]
) -> Teller | None:
    """Who tells of the plan with this journal; None where there is nobody to be told, and nobody was.

    A wrong token is heard of now, not at the plan's end; that nobody answers now is only said. Raises `Misuse`
    where the site has no such service or nobody is named, and `LoginRefused`.
    """
    known = _read(told_file(state))
    if known is None and not to:
        return None
    if known is not None:
        site = site or known.site
        if as_ and as_ != known.person:
            raise Misuse(f"{told_file(state)} says that the plan is of {known.person}, not of {as_}")
        as_ = known.person
    addresses = Addresses.of_site(site or None)
    opened = Site.at(addresses, **_options(as_, token))
    if not opened.person:
        raise Misuse("--tell needs to know whose plan it is: --as ID, with --token or HOLDFAST_TOKEN")
    service: Service = opened.service(_service_of(addresses, told_file(state)))
    try:
        service.call("mine")
    except DeadlineExceeded as error:
        say(f"{service.name} cannot be reached now, and is to hear it at the end: {error}")
    file = site_file(site or None) or demo_file()
    return Teller(service, str(file.resolve()), opened.person, to, state, say)


def told_file(state: Path) -> Path:
    """Where it stands, of the plan with this journal."""
    return state.with_name(f"{state.name}.told")


def _options(as_: str, token: str) -> Options:
    options: Options = {"deadline_s": DEADLINE_S}
    if as_:
        options["as_"] = as_
    if token:
        options["token"] = token
    return options


def _service_of(addresses: Addresses, file: Path) -> str:
    found = [name for name in addresses.names() if addresses.app(name) == APP]
    if len(found) != 1:
        which = f"has several: {', '.join(found)}" if found else "has none"
        told = f"to tell people of a plan, as --tell asks or {file} has it from before,"
        raise Misuse(f"{told} a site needs one service of the app {APP}, and this one {which}")
    return found[0]


def _short(vendor: str) -> str:
    """A vendor's name as the service takes it, in a list with commas: its address may be a long one."""
    name = vendor.replace(",", ";")
    return name if len(name) <= NAME_CHARACTERS_MAX else f"{name[: NAME_CHARACTERS_MAX - 1]}…"


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
