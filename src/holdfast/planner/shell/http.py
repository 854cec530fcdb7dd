"""One vendor over HTTP: a call becomes a request, its answer or failure a message for the core.

Nothing is retried, redirected or interpreted here: each call is one request, or the rate would be broken.
"""

from __future__ import annotations

import asyncio
import math
import time
from email.utils import parsedate_to_datetime

import httpx

from holdfast.planner.messages import Answered, Call, Unanswered

GIVEN_UP_SECONDS = 60.0
"""A connection is kept so long for a late answer; the core has gone on long before."""
BODY_BYTES_MAX = 1 << 20
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""With these the request has surely not left."""
METHODS = {"look": "GET", "ask": "GET", "reserve": "POST", "release": "DELETE", "confirm": "POST"}
PLACES = {"look": "/available", "ask": "", "reserve": "/{slot}", "release": "/{slot}", "confirm": "/{slot}/confirm"}


class VendorDoor:
    """Speaks to one vendor at `address` (without a final slash) with a key."""

    def __init__(self, client: httpx.AsyncClient, address: str, key: str) -> None:
        self._client = client
        self._address = address
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}

    def url(self, call: Call) -> str:
        """Where this call goes."""
        return f"{self._address}/reservation{PLACES[call.verb].format(slot=call.slot)}"

    async def call(self, call: Call) -> Answered | Unanswered:
        """Send it once; what became of it. Takes up to `GIVEN_UP_SECONDS`."""
        try:
            async with (
                asyncio.timeout(GIVEN_UP_SECONDS),
                self._client.stream(METHODS[call.verb], self.url(call), headers=self._headers) as response,
            ):
                body = bytearray()
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > BODY_BYTES_MAX:
                        return Answered(call.id, response.status_code, b"")  # no list of slots is so long
                return Answered(
                    call.id,
                    response.status_code,
                    bytes(body),
                    microseconds(response.headers.get("retry-after")) or 0,
                    microseconds(response.headers.get("longest-delay")),
                    clock_us(response.headers.get("date")),
                )
        except NOT_SENT as error:
            return Unanswered(call.id, sent=False, why=_why(error))
        except (httpx.HTTPError, TimeoutError) as error:
            return Unanswered(call.id, sent=True, why=_why(error))


def clock_us(date: str | None) -> int:
    """What the vendor's clock showed (Unix microseconds), not less: its header tells whole seconds. Without
    one it is taken to show what ours does."""
    try:
        return int((parsedate_to_datetime(date or "").timestamp() + 1) * 1e6)
    except (ValueError, OverflowError):
        return time.time_ns() // 1000


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__


def microseconds(seconds: str | None) -> int | None:
    """A header's number of seconds; None for anything else, as a date."""
    try:
        value = float(seconds) if seconds else math.nan
    except ValueError:
        return None
    return int(min(value, 1e9) * 1e6) if value >= 0 else None
