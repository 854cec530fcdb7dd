"""HTTP connections of a node with vendors: the quick way for the requests that a program sends.

A request for a vendor that arrives in one piece, in plain ASCII, without a body and with none but well-known
headers, is read here in a few steps; uvicorn's own parser takes ten times as long. Everything else, every
mistake above all, goes the careful way, through uvicorn and `asgi`. Both come to the same answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import h11

from holdfast.server.http_connection import Connection
from holdfast.server.idempotency import IDEMPOTENCY_KEY_CHARACTERS_MAX
from holdfast.server.vendors.asgi import HANG_UP, Vendors, VendorsApplication, key_of, vendor_path
from holdfast.server.vendors.calls import PATH_CHARACTERS_MAX, Answer
from holdfast.server.vendors.vendor import Vendor

REQUEST_BYTES_MAX = 8192
BACKLOG_BYTES_MAX = 65_536

_FIRST_LINE = re.compile(rf"(GET|POST|DELETE) (/[A-Za-z0-9/._-]{{0,{PATH_CHARACTERS_MAX - 1}}}) HTTP/1\.1")
_KNOWN = frozenset(
    (
        *("host", "authorization", "idempotency-key", "content-length", "connection"),
        *("accept", "accept-encoding", "accept-language", "user-agent", "content-type", "cache-control"),
    )
)
_VALUE = re.compile(r"[ \t\x21-\x7e]*")
_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus if status >= 200
}


class Plain:
    """A request that goes the quick way: a method, the parts of a path with its vendor, and what its headers say."""

    __slots__ = ("idempotency_key", "key", "method", "parts", "vendor")

    def __init__(self, vendor: Vendor, method: str, parts: list[str], key: str, idempotency_key: str) -> None:
        self.vendor = vendor
        self.method = method
        self.parts = parts
        self.key = key
        self.idempotency_key = idempotency_key


def plain_request(data: bytes, vendors: Mapping[str, Vendor]) -> Plain | None:
    """The request that `data` is, if it is exactly one that may go the quick way."""
    if len(data) > REQUEST_BYTES_MAX or not data.endswith(b"\r\n\r\n") or not data.isascii():
        return None
    first, *lines = data[:-4].decode("ascii").split("\r\n")
    found = _FIRST_LINE.fullmatch(first)
    about = vendor_path(found[2], vendors) if found is not None else None
    if found is None or about is None:
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or name not in _KNOWN or name in headers or not _VALUE.fullmatch(value):
            return None
        headers[name] = value.strip(" \t")
    exactly_once = headers.get("idempotency-key", "")
    if (
        not headers.get("host")
        or headers.get("content-length", "0") != "0"
        or headers.get("connection", "keep-alive").lower() != "keep-alive"
        or len(exactly_once) > IDEMPOTENCY_KEY_CHARACTERS_MAX
    ):
        return None
    return Plain(about[0], found[1], about[1], key_of(headers.get("authorization", "")), exactly_once)


class VendorsProtocol(Connection):
    """One connection. While a request is answered the quick way, what else arrives waits."""

    def __init__(self, vendors: Vendors, **options: Any) -> None:
        super().__init__(**options)
        self.app = self._with_state
        self._application = VendorsApplication(vendors, options["config"].loaded_app)
        self._vendors = vendors.here
        self._task: asyncio.Task[None] | None = None
        self._backlog = b""
        self._is_ending = False

    async def _with_state(self, scope: Any, receive: Any, send: Any) -> None:
        scope["state"][HANG_UP] = self.transport.abort
        await self._application(scope, receive, send)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._task is not None:
            self._backlog += data
            if len(self._backlog) > BACKLOG_BYTES_MAX:
                self.flow.pause_reading()
            return
        if self._is_between_requests():
            plain = plain_request(data, self._vendors)
            if plain is not None:
                self._unset_keepalive_if_required()
                self._task = task = self.loop.create_task(self._answer(plain))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
                return
        super().data_received(data)

    def _is_between_requests(self) -> bool:
        conn = self.conn
        return conn.their_state is h11.IDLE and conn.our_state is h11.IDLE and not conn.trailing_data[0]

    async def _answer(self, plain: Plain) -> None:
        vendor = plain.vendor
        answer = await vendor.answer(plain.method, plain.parts, plain.key, plain.idempotency_key, b"")
        self._task = None
        if self.transport.is_closing():
            return
        if answer.hangs_up:
            self.transport.abort()
            return
        self.transport.write(self._encoded(vendor, answer))
        if self._is_ending:
            self.transport.close()
            return
        self.on_response_complete()
        backlog, self._backlog = self._backlog, b""
        if backlog:
            self.data_received(backlog)

    def _encoded(self, vendor: Vendor, answer: Answer) -> bytes:
        headers = [*self.server_state.default_headers, *vendor.common_headers, *answer.headers]
        if self._is_ending:
            headers.append((b"connection", b"close"))
        lines = [b"%b: %b\r\n" % header for header in headers]
        length = b"content-length: %d\r\n\r\n" % len(answer.body)
        return b"".join((_STATUS_LINES[answer.status], *lines, length, answer.body))

    def shutdown(self) -> None:
        """The server ends: this connection after what it is being answered."""
        if self._task is None:
            super().shutdown()
        else:
            self._is_ending = True
