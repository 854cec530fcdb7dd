"""The way in for Python: `Site("site.toml").service("tickets").reserve("bob", 3)`."""

from __future__ import annotations

import os
import random
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypedDict, TypeVar, Unpack

from holdfast.client.addresses import Addresses
from holdfast.client.blocking import BlockingChannel
from holdfast.client.branches import LOOK_DEADLINE_S, BranchChannel, server_in
from holdfast.client.errors import Misuse
from holdfast.client.lines import quoted
from holdfast.client.service import AsyncService, Service, checked_view
from holdfast.client.session import MODE, Session
from holdfast.kernel.errors import ConfigurationError, HoldfastError

if TYPE_CHECKING:
    from holdfast.client.asynchronous import AsyncChannel
    from holdfast.client.branches_async import AsyncBranchChannel
    from holdfast.client.events import AsyncEvents, Events
    from holdfast.client.outcomes import Server
    from holdfast.client.person_log import PersonLog

TIMEOUT_S = 5.0
"""How long one server may be silent before another one is asked."""
DEADLINE_S = 30.0
"""How long a request may take, over all servers."""

GUARANTEES = ("read-your-writes", "monotonic-reads", "writes-follow-reads", "monotonic-writes")
"""What a session may ask for where replicas differ for a while; `all` names all four."""

AnyService = TypeVar("AnyService", Service, AsyncService)


class Options(TypedDict, total=False):
    """What a site can be opened with; every one may be left out.

    `as_`, `token`: who asks (otherwise the environment's HOLDFAST_AS, and HOLDFAST_TOKEN or what the file
    HOLDFAST_TOKEN_FILE begins with).
    `timeout_s`: how long one server may be silent. `deadline_s`: how long a request may take in all.
    `chooser` picks the servers. `on_note` gets one line whenever another server is asked.

    `logs`: the folder where each person's requests to services with branches are logged (otherwise the
    environment's HOLDFAST_LOGS, `logs` beside the nodes' data, or the user's state directory).

    Where replicas differ for a while: `at` names the only node to ask (otherwise the one of the
    person's department first, then any). `view`: what questions see, "full" or "committed".
    `guarantees`: what a session is promised across servers, of `GUARANTEES`.
    """

    as_: str | None
    token: str | None
    timeout_s: float
    deadline_s: float
    chooser: random.Random
    on_note: Callable[[str], None]
    at: str
    view: str
    guarantees: Sequence[str]
    logs: str


def checked_guarantees(words: Sequence[str]) -> tuple[str, ...]:
    """The guarantees that these words name; raises `Misuse` for a word that names none."""
    for word in (words,) if isinstance(words, str) else words:
        if word not in (*GUARANTEES, "all"):
            raise Misuse(f"there is no guarantee {word!r}; there are {', '.join(GUARANTEES)}, and all")
    return (words,) if isinstance(words, str) else tuple(words)


def new_client_id() -> str:
    """An id nobody else has, ending in its birth (Unix ms), so that servers may forget it in time."""
    return f"{secrets.token_hex(5)}.{time.time_ns() // 1_000_000:013d}"


def token_of_environment() -> str:
    """The token that the environment gives, or that stands in the file it names."""
    file = os.environ.get("HOLDFAST_TOKEN_FILE")
    return os.environ.get("HOLDFAST_TOKEN", "") or (token_in(file) if file else "")


def token_in(file: str | os.PathLike[str]) -> str:
    """The token in the first line of a file; raises `ConfigurationError` where there is none."""
    try:
        token = Path(file).read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the token file {file} cannot be read: {error}") from error
    if not token:
        raise ConfigurationError(f"the token file {file} has no token in its first line")
    return token


def logs_folder(addresses: Addresses) -> Path:
    """Where people's logs lie if nobody says: `logs` beside the data of the nodes here, or of this user."""
    if addresses.data is not None:
        return addresses.data / "logs"
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "holdfast" / "logs"


class _Place(ABC, Generic[AnyService]):
    """What the synchronous and the asynchronous site share: where, who, how long."""

    def __init__(self, path: str | os.PathLike[str] | None = None, **options: Unpack[Options]) -> None:
        """`path`: the site file; otherwise HOLDFAST_SITE, `./site.toml`, or the demo site."""
        self._open(Addresses.of_site(path), options)

    @classmethod
    def from_servers(
        cls, servers: str | os.PathLike[str] | Sequence[tuple[str, int]], **options: Unpack[Options]
    ) -> Self:
        """A site known by the plain list of its servers: a file of `address port` lines, or pairs."""
        return cls.at(Addresses.of_servers(servers), **options)

    @classmethod
    def at(cls, addresses: Addresses, **options: Unpack[Options]) -> Self:
        """A site whose addresses are known already."""
        site = cls.__new__(cls)
        site._open(addresses, options)
        return site

    def _open(self, addresses: Addresses, options: Options) -> None:
        unknown = set(options) - set(Options.__annotations__)
        if unknown:
            raise Misuse(f"unknown option {min(unknown)!r}; known: {', '.join(Options.__annotations__)}")
        self.addresses = addresses
        self._options = options
        self.person = options.get("as_") or os.environ.get("HOLDFAST_AS", "")
        token = options.get("token")
        self.token = token_of_environment() if token is None else token
        self._timeout_s = options.get("timeout_s", TIMEOUT_S)
        self._deadline_s = options.get("deadline_s", DEADLINE_S)
        if self._timeout_s <= 0 or self._deadline_s <= 0:
            raise Misuse("timeout_s and deadline_s must be above 0")
        self._chooser = options.get("chooser") or random.Random()
        self._on_note = options.get("on_note")
        self.node = options.get("at", "")
        """The only node to ask, or ""."""
        self._view = checked_view(options.get("view", "full"))
        self._guarantees = checked_guarantees(options.get("guarantees", ()))
        self._services: dict[str, AnyService] = {}
        self._others: dict[str, Any] = {}
        """This site for other people, by their ids."""

    def service(self, name: str) -> AnyService:
        """The service of that name; the same object every time. Raises `Misuse` for an unknown one."""
        if name not in self._services:
            self._services[name] = self._make(name)
        return self._services[name]

    def but(self, **options: Unpack[Options]) -> Self:
        """The same site opened anew with some options changed: `site.but(as_="mary")`."""
        return self.at(self.addresses, **(self._options | options))

    def _looking(self) -> Options:
        """The options under which a directory is asked: it does not matter which replica, and it must not take long."""
        quiet: Options = {"deadline_s": LOOK_DEADLINE_S, "timeout_s": LOOK_DEADLINE_S / 2, "on_note": lambda note: None}
        return self._options | quiet

    @abstractmethod
    def _make(self, name: str) -> AnyService:
        """A service of this name, as it is asked for the first time."""

    def _log(self, name: str) -> PersonLog | None:
        """The log of who asks, for a service with branches; None for people of no branch."""
        self.addresses.servers(name)  # what cannot be reached at all is told at once
        if not self.person or not self.addresses.has_branches(name):
            return None
        from holdfast.apps.events.names import city_of
        from holdfast.client.person_log import PersonLog

        if not city_of(self.person):
            return None
        given = self._options.get("logs") or os.environ.get("HOLDFAST_LOGS")
        folder = Path(given) if given else logs_folder(self.addresses)
        return PersonLog(folder, self.person, self._on_note)

    def _directory(self, name: str) -> tuple[str, str] | None:
        """(directory, name in it) of the server of who asks; None where any server is as good."""
        directory = self.addresses.directory(name)
        return None if directory is None or self.node else (directory, f"{name}/{self.person[:3]}")

    def _session(self, name: str, watch: str = "", home: Server | None = None) -> Session:
        """A session with a service; with `watch` ("mine", "all") one for its changes only. `home`: the server to
        ask first, where the site's file does not tell."""
        if watch == "mine" and not self.person:
            raise Misuse("whose changes are yours? Say who asks (as_=ID, --as ID), or watch all")
        find = self.addresses
        servers: tuple[Server, ...] = find.servers_at(name, self.node) if self.node else find.servers(name)
        if home is not None and home not in servers:
            servers = (home, *servers)
        return Session(
            servers,
            identify=new_client_id,
            chooser=self._chooser,
            greeting=[*self._greeting(name), *([f"watch {watch}"] if watch else [])],
            home=home or find.home(name, self.person),
            guarantees=() if watch else self._guarantees,
            watches=bool(watch),
            timeout_us=int(self._timeout_s * 1e6),
        )

    def _greeting(self, name: str) -> list[str]:
        lines = [MODE]
        if self.addresses.common(name):
            lines.append(f"use {quoted(name)}")
        if self.person:
            token = f" {quoted(self.token)}" if self.token else ""
            lines.append(f"login {quoted(self.person)}{token}")
        return lines


class Site(_Place[Service]):
    """The synchronous way in. Close it, or use it with `with`."""

    def events(self, as_: str = "", service: str = "events") -> Events:
        """A service of events, with a typed method for each of its words: `site.events("TORC2345")`. `as_`: who
        asks, if another one than the site's own."""
        from holdfast.client.events import Events

        if not as_ or as_ == self.person:
            return Events(self.service(service).call)
        if as_ not in self._others:
            self._others[as_] = self.but(as_=as_)
        events: Events = self._others[as_].events(service=service)
        return events

    def _make(self, name: str) -> Service:
        log = self._log(name)
        channel: BlockingChannel | BranchChannel
        if log is None:
            channel = self._channel(name)
        else:
            channel = BranchChannel(partial(self._channel, name), partial(self._look, name), log)
        return Service(name, channel, self._deadline_s, self._view, lambda whose: self._watch(name, whose))

    def _channel(self, name: str, home: Server | None = None) -> BlockingChannel:
        return BlockingChannel(self._session(name, home=home), self._on_note)

    def _look(self, name: str) -> Server | None:
        """Ask the directory for the server of the person's branch."""
        entry = self._directory(name)
        if entry is None:
            return None
        try:
            with self.at(self.addresses, **self._looking()) as site:
                return server_in(site.service(entry[0]).call("lookup", entry[1]))
        except HoldfastError:
            return None  # every server serves

    def _watch(self, name: str, whose: str) -> BlockingChannel:
        session = self._session(name, whose or ("mine" if self.person else "all"))
        return BlockingChannel(session, self._on_note)

    def close(self) -> None:
        """Close every connection."""
        for service in self._services.values():
            service.close()
        for other in self._others.values():
            other.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncSite(_Place[AsyncService]):
    """The asynchronous way in, for one event loop. Close it, or use it with `async with`."""

    def events(self, as_: str = "", service: str = "events") -> AsyncEvents:
        """See `Site.events`; its methods are awaited."""
        from holdfast.client.events import AsyncEvents

        if not as_ or as_ == self.person:
            return AsyncEvents(self.service(service).call)
        if as_ not in self._others:
            self._others[as_] = self.but(as_=as_)
        events: AsyncEvents = self._others[as_].events(service=service)
        return events

    def _make(self, name: str) -> AsyncService:
        # asyncio is slow to import, and not everyone's
        log = self._log(name)
        channel: AsyncChannel | AsyncBranchChannel
        if log is None:
            channel = self._channel(name)
        else:
            from holdfast.client.branches_async import AsyncBranchChannel

            channel = AsyncBranchChannel(partial(self._channel, name), partial(self._look, name), log)
        return AsyncService(name, channel, self._deadline_s, self._view, lambda whose: self._watch(name, whose))

    def _channel(self, name: str, home: Server | None = None) -> AsyncChannel:
        from holdfast.client.asynchronous import AsyncChannel

        return AsyncChannel(self._session(name, home=home), self._on_note)

    async def _look(self, name: str) -> Server | None:
        """See `Site._look`."""
        entry = self._directory(name)
        if entry is None:
            return None
        try:
            async with self.at(self.addresses, **self._looking()) as site:
                return server_in(await site.service(entry[0]).call("lookup", entry[1]))
        except HoldfastError:
            return None

    def watching(self, name: str) -> AsyncChannel:
        """A connection to a service that hears what is told to who asks; it may be asked questions too."""
        return self._watch(name, "mine")

    def _watch(self, name: str, whose: str) -> AsyncChannel:
        from holdfast.client.asynchronous import AsyncChannel

        session = self._session(name, whose or ("mine" if self.person else "all"))
        return AsyncChannel(session, self._on_note)

    async def close(self) -> None:
        """Close every connection."""
        for service in self._services.values():
            await service.close()
        for other in self._others.values():
            await other.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()
