"""One vendor's HTTP API at one node, apart from how bytes come and go.

The life of a call: the key says who asks; the client's rate is counted; the call is understood; chance
draws its fate; what is to be done is done by the replica, which answers when it is on the disk; and the
answer goes back, or is lost on purpose. The vendor's own calls know neither rate nor fate.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from holdfast.apps.slots import VENDOR
from holdfast.kernel.contracts import Person
from holdfast.people import People
from holdfast.server.asking import answer_of
from holdfast.server.face import Service
from holdfast.server.vendors import calls
from holdfast.server.vendors.calls import Answer, Call, error
from holdfast.server.vendors.faults import NONE, Chance, Fate
from holdfast.server.vendors.rates import Rate
from holdfast.vendors import KEY_CHARACTERS_MAX, Faults, clients_of, key_hash, settings_of

FAULTS_BYTES_MAX = 10_000
_STOPPING = error(calls.UNAVAILABLE, "the vendor is closing; nothing was done")
_OUTAGE = error(calls.UNAVAILABLE, "the vendor is unavailable")
_UNPROCESSED = error(calls.NOT_PROCESSED, "not processed: nothing was done, try again")


class Vendor:
    """The API of one service. `options`: the service's (see `vendors.VendorSettings`). `department`: whose people
    may change its faults, "" for everybody with the role. `is_alone`: no other node has a replica."""

    def __init__(
        self,
        name: str,
        service: Service,
        options: Mapping[str, Any],
        people: People,
        deadline_seconds: float,
        *,
        is_alone: bool = True,
    ) -> None:
        settings = settings_of(options)
        self.name = name
        self.answers: Counter[int] = Counter()
        self.rates: dict[str, Rate] = {}
        self._service = service
        self._clients = clients_of(settings, people)
        self._department: str = options.get("vendor", "")
        self._per_second = settings.requests_a_second
        self._refuse_excess = settings.refuse_excess
        self._deadline_seconds = deadline_seconds
        # A question at this node comes after all that was handed in here; at another one only after the deadline.
        self._settled_seconds = 0.0 if is_alone else deadline_seconds
        self._longest_delay_seconds = 0.0
        self._down_until = 0.0
        self._arrivals = 0
        self._overtaken: dict[int, asyncio.Event] = {}
        self._closing = asyncio.Event()
        self.set_faults(settings.faults)

    # -- faults

    @property
    def faults(self) -> Faults:
        """Those in force."""
        return self.chance.faults

    def set_faults(self, faults: Faults) -> None:
        """From now on these, their streams from the beginning; an outage ends."""
        self.chance = Chance(faults, self.name)
        self._down_until = 0.0
        # What waits already still waits as long as it was told to.
        self._longest_delay_seconds = max(self._longest_delay_seconds, faults.longest_delay_seconds)
        self.common_headers: calls.Headers = (
            calls.JSON,
            (b"longest-delay", f"{self._longest_delay_seconds + self._settled_seconds:g}".encode()),
        )

    # -- the life of a call

    async def answer(self, method: str, parts: list[str], key: str, idempotency_key: str, body: bytes) -> Answer:
        """The answer to one request. `parts`: of the path, behind `/<vendor>/api`; `key`: as it was sent, or ""."""
        answer = await self._answer(method, parts, key, idempotency_key, body)
        self.answers[answer.status] += 1
        return answer

    async def _answer(self, method: str, parts: list[str], key: str, idempotency_key: str, body: bytes) -> Answer:
        person = self._clients.get(key_hash(key)) if 0 < len(key) <= KEY_CHARACTERS_MAX else None
        call = calls.call_of(method, parts)
        if isinstance(call, Call) and call.command is None:
            return calls.UNKNOWN_KEY if person is None else self._about_faults(person, call, body)
        if time.monotonic() < self._down_until:
            return _OUTAGE
        if person is None:
            return calls.UNKNOWN_KEY
        early = self._rate(person.id).take(time.monotonic(), 1 / self._per_second, refuse=self._refuse_excess)
        if early and self._refuse_excess:
            return calls.too_early(early, self._per_second)
        if isinstance(call, Answer):
            return call
        request = calls.request_of(call.command, person, idempotency_key)
        if isinstance(request, Answer):
            return request
        fate = self.chance.draw()
        if fate.outage is not None:
            self._down_until = time.monotonic() + fate.outage
            return _OUTAGE
        if fate.unprocessed:
            return _UNPROCESSED
        self._arrivals = place = self._arrivals + 1
        if fate is not NONE and not await self._waited_before(fate, place):
            return _STOPPING
        answer = calls.answer_to(await answer_of(self._service, request, self._deadline_seconds))
        for earlier, event in self._overtaken.items():
            if earlier < place:
                event.set()
        late = fate.lost if fate.lost is not None else fate.wait_after
        if late is not None:
            await self._passes(late)
        return answer if fate.lost is None else Answer(answer.status, b"", hangs_up=True)

    def _rate(self, client: str) -> Rate:
        rate = self.rates.get(client)
        if rate is None:
            rate = self.rates[client] = Rate()
        return rate

    async def _waited_before(self, fate: Fate, place: int) -> bool:
        """Wait as fate has it: for a delay, or until a later request than this, the `place`th, has been done.
        Whether there is still time to do it."""
        if fate.wait_before is not None:
            await self._passes(fate.wait_before)
        if fate.overtaken is not None:
            event = self._overtaken[place] = asyncio.Event()
            await self._passes(fate.overtaken - (fate.wait_before or 0.0), event)
            del self._overtaken[place]
        return not self._closing.is_set()

    async def _passes(self, seconds: float, event: asyncio.Event | None = None) -> None:
        """So much time passes, less if the event comes or the vendor closes."""
        waits = [asyncio.ensure_future(each.wait()) for each in (self._closing, event) if each is not None]
        await asyncio.wait(waits, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _about_faults(self, person: Person, call: Call, body: bytes) -> Answer:
        if VENDOR not in person.roles or self._department not in ("", person.department):
            return error(calls.FORBIDDEN, f"{person.id} is not the vendor, and only the vendor may do this")
        if call.changes_faults:
            try:
                faults = msgspec.json.decode(body, type=Faults)
            except (msgspec.DecodeError, UnicodeDecodeError) as problem:
                return error(calls.BAD_REQUEST, f"these are no faults: {problem}")
            self.set_faults(faults)
        return Answer(200, msgspec.json.encode(self.faults))

    # -- life and state

    def close(self) -> None:
        """What waits on purpose waits no more: what was done is answered, what was not is not done."""
        self._closing.set()

    def status(self) -> dict[str, Any]:
        """For operators; JSON-able."""
        clients = {
            client: {"requests": rate.requests, "too_fast": rate.too_fast} for client, rate in self.rates.items()
        }
        return {
            "clients": clients,
            "answers": {str(code): count for code, count in sorted(self.answers.items())},
            "faults": msgspec.to_builtins(self.faults),
            "struck": self.chance.counts,
        }

    def warning(self) -> str:
        """Who asks too often, or ""."""
        fast = [f"{client} ({rate.too_fast} times)" for client, rate in self.rates.items() if rate.too_fast]
        if not fast:
            return ""
        return f"more than {self._per_second:g} requests a second: {', '.join(fast[:5])}{' ...' if fast[5:] else ''}"
