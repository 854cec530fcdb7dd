"""The vendors' API as an ASGI application before that of the node's pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.server.idempotency import IDEMPOTENCY_KEY_CHARACTERS_MAX
from holdfast.server.vendors import calls
from holdfast.server.vendors.calls import JSON, Answer, error
from holdfast.server.vendors.vendor import FAULTS_BYTES_MAX, Vendor
from holdfast.vendors import VENDORS_APP

if TYPE_CHECKING:
    from holdfast.site import Service

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

HANG_UP = "holdfast.hang_up"
"""In a scope's state: what ends its connection without an answer."""


class Vendors(msgspec.Struct, frozen=True):
    """Those that this node serves, by name; and every service of the site with its nodes, to say who serves another."""

    here: Mapping[str, Vendor]
    services: Mapping[str, Service] = {}

    def nowhere(self, path: str) -> Answer | None:
        """The answer to a call of a vendor that is not here, or that lacks its `/api`; None for a path that
        is of no vendor."""
        parts = [part for part in path.split("/", 64) if part]
        if len(parts) < 2:
            return None
        service, is_call = self.services.get(parts[0]), parts[1] == "api"
        if service is None:
            return error(calls.BAD_REQUEST, "there is no vendor of that name") if is_call else None
        if service.app != VENDORS_APP:
            return None
        if not is_call:
            return error(
                calls.BAD_REQUEST, f"there is no such call; {service.name}'s calls are under /{service.name}/api"
            )
        return error(calls.BAD_REQUEST, f"{service.name} is not served by this node, but by {', '.join(service.nodes)}")


def vendor_path(path: str, vendors: Mapping[str, Vendor]) -> tuple[Vendor, list[str]] | None:
    """The vendor that a path is about, and its parts behind `/<vendor>/api`. Slashes that say nothing (of a base
    address that ends in one) are left out."""
    parts = [part for part in path.split("/", 64) if part]
    vendor = vendors.get(parts[0]) if len(parts) > 1 and parts[1] == "api" else None
    return None if vendor is None else (vendor, parts[2:])


def key_of(authorization: str) -> str:
    """The key in `Bearer <key>`, or ""."""
    scheme, _, key = authorization.strip().partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


class VendorsApplication:
    """Answers what is about a vendor; everything else goes on to `others`."""

    def __init__(self, vendors: Vendors, others: Application) -> None:
        self.vendors = vendors
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._others(scope, receive, send)
            return
        found = vendor_path(scope["path"], self.vendors.here)
        if found is not None:
            vendor, parts = found
            answer = await self._answer(vendor, parts, scope, receive)
            if answer.hangs_up:
                await _hang_up(scope, receive)
            else:
                await _send(send, answer, vendor.common_headers)
        elif (nowhere := self.vendors.nowhere(scope["path"])) is not None:
            await _send(send, nowhere, (JSON,))
        else:
            await self._others(scope, receive, send)

    async def _answer(self, vendor: Vendor, parts: list[str], scope: Scope, receive: Receive) -> Answer:
        given: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            given.setdefault(name, []).append(value)
        keys, exactly_once = given.get(b"authorization", []), given.get(b"idempotency-key", [])
        if len(scope["path"]) > calls.PATH_CHARACTERS_MAX:
            return error(calls.BAD_REQUEST, f"a path has at most {calls.PATH_CHARACTERS_MAX} characters")
        if len(exactly_once) > 1 or len(b"".join(exactly_once)) > IDEMPOTENCY_KEY_CHARACTERS_MAX:
            return error(calls.BAD_REQUEST, f"one Idempotency-Key of {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters")
        body = await _body(receive) if scope["method"] == "PUT" else b""
        if body is None:
            return error(calls.BAD_REQUEST, f"a body has at most {FAULTS_BYTES_MAX} bytes")
        key = key_of(keys[0].decode("latin-1")) if len(keys) == 1 else ""
        return await vendor.answer(scope["method"], parts, key, b"".join(exactly_once).decode("latin-1"), body)


async def _send(send: Send, answer: Answer, common: calls.Headers) -> None:
    headers = [*common, *answer.headers, (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _body(receive: Receive) -> bytes | None:
    """The body; None when it is too long."""
    body: bytes = b""
    while len(body) <= FAULTS_BYTES_MAX:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body
    return None


async def _hang_up(scope: Scope, receive: Receive) -> None:
    """End the connection, and wait until it has ended: without it, the server would send an answer of its own."""
    scope["state"][HANG_UP]()
    while (await receive())["type"] != "http.disconnect":
        pass
