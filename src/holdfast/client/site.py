"""The way in for Python: `Site("site.toml").service("tickets").reserve("bob", 3)`."""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Self, TypedDict, TypeVar, Unpack

from holdfast.client.addresses import Addresses
from holdfast.client.blocking import BlockingChannel
from holdfast.client.errors import Misuse
from holdfast.client.lines import quoted
from holdfast.client.service import AsyncService, Service, checked_view
from holdfast.client.session import MODE, Session

if TYPE_CHECKING:
    from holdfast.client.asynchronous import AsyncChannel
    from holdfast.client.outcomes import Server

TIMEOUT_S = 5.0
"""How long one server may be silent before another one is asked."""
DEADLINE_S = 30.0
"""How long a request may take, over all servers."""

GUARANTEES = ("read-your-writes", "monotonic-reads", "writes-follow-reads", "monotonic-writes")
"""What a session may ask for where replicas differ for a while; `all` names all four."""

AnyService = TypeVar("AnyService", Service, AsyncService)


class Options(TypedDict, total=False):
    """What a site can be opened with; every one may be left out.

    `as_`, `token`: who asks (otherwise the environment's HOLDFAST_AS and HOLDFAST_TOKEN).
    `timeout_s`: how long one server may be silent. `deadline_s`: how long a request may take in all.
    `chooser` picks the servers. `on_note` gets one line whenever another server is asked.

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


def checked_guarantees(words: Sequence[str]) -> tuple[str, ...]:
    """The guarantees that these words name; raises `Misuse` for a word that names none."""
    for word in (words,) if isinstance(words, str) else words:
        if word not in (*GUARANTEES, "all"):
            raise Misuse(f"there is no guarantee {word!r}; there are {', '.join(GUARANTEES)}, and all")
    return (words,) if isinstance(words, str) else tuple(words)


def new_client_id() -> str:
    """An id nobody else has, ending in its birth (Unix ms), so that servers may forget it in time."""
    return f"{secrets.token_hex(5)}.{time.time_ns() // 1_000_000:013d}"


class _Place(Generic[AnyService]):
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
        self._token = os.environ.get("HOLDFAST_TOKEN", "") if token is None else token
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

    def service(self, name: str) -> AnyService:
        """The service of that name; the same object every time. Raises `Misuse` for an unknown one."""
        if name not in self._services:
            self._services[name] = self._make(name)
        return self._services[name]

    def but(self, **options: Unpack[Options]) -> Self:
        """The same site opened anew with some options changed: `site.but(as_="mary")`."""
        return self.at(self.addresses, **(self._options | options))

    def _make(self, name: str) -> AnyService:
        raise NotImplementedError

    def _session(self, name: str, watch: str = "") -> Session:
        """A session with a service; with `watch` ("mine", "all") one for its changes only."""
        if watch == "mine" and not self.person:
            raise Misuse("whose changes are yours? Say who asks (as_=ID, --as ID), or watch all")
        find = self.addresses
        servers: tuple[Server, ...] = find.servers_at(name, self.node) if self.node else find.servers(name)
        return Session(
            servers,
            identify=new_client_id,
            chooser=self._chooser,
            greeting=[*self._greeting(name), *([f"watch {watch}"] if watch else [])],
            home=find.home(name, self.person),
            guarantees=() if watch else self._guarantees,
            watches=bool(watch),
            timeout_us=int(self._timeout_s * 1e6),
        )

    def _greeting(self, name: str) -> list[str]:
        lines = [MODE]
        if self.addresses.common(name):
            lines.append(f"use {quoted(name)}")
        if self.person:
            token = f" {quoted(self._token)}" if self._token else ""
            lines.append(f"login {quoted(self.person)}{token}")
        return lines


class Site(_Place[Service]):
    """The synchronous way in. Close it, or use it with `with`."""

    def _make(self, name: str) -> Service:
        channel = BlockingChannel(self._session(name), self._on_note)
        return Service(name, channel, self._deadline_s, self._view, lambda whose: self._watch(name, whose))

    def _watch(self, name: str, whose: str) -> BlockingChannel:
        session = self._session(name, whose or ("mine" if self.person else "all"))
        return BlockingChannel(session, self._on_note)

    def close(self) -> None:
        """Close every connection."""
        for service in self._services.values():
            service.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncSite(_Place[AsyncService]):
    """The asynchronous way in, for one event loop. Close it, or use it with `async with`."""

    def _make(self, name: str) -> AsyncService:
        from holdfast.client.asynchronous import AsyncChannel  # asyncio is slow to import, and not everyone's

        channel = AsyncChannel(self._session(name), self._on_note)
        return AsyncService(name, channel, self._deadline_s, self._view, lambda whose: self._watch(name, whose))

    def _watch(self, name: str, whose: str) -> AsyncChannel:
        from holdfast.client.asynchronous import AsyncChannel

        session = self._session(name, whose or ("mine" if self.person else "all"))
        return AsyncChannel(session, self._on_note)

    async def close(self) -> None:
        """Close every connection."""
        for service in self._services.values():
            await service.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()
