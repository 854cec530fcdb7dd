"""A planner's core with scripted vendors at its elbow: answers are given by hand, time is told."""

from __future__ import annotations

import json
from typing import Any

from holdfast.kernel.contracts import Recovered, Step
from holdfast.planner import Answered, Call, Configuration, PlannerCore, Unanswered, Vendor

SECOND_US = 1_000_000
UNIX_US = 1_800_000_000 * SECOND_US
"""What the vendors' clocks show at 0."""
EMPTY = Recovered(b"", 1, (), fresh=True)


class Desk:
    """The core, its journal (always synced at once), and what it has sent."""

    def __init__(
        self,
        *names: str,
        journal: list[bytes] | None = None,
        longest_delay_us: int | None = 2 * SECOND_US,
        **options: Any,
    ) -> None:
        vendors = tuple(Vendor(name=name, longest_delay_us=longest_delay_us) for name in names or ("band", "hotel"))
        self.core = PlannerCore(Configuration(vendors=vendors, **options))
        self.now_us = 0
        self.journal = journal if journal is not None else []
        self.sent: list[tuple[int, int, Call]] = []
        """(when, to whom, what)."""
        self.events: list[str] = []
        self.wake_us: int | None = None
        self._records = 0
        self._expected: set[int] = set()
        self._answered: set[int] = set()
        self._take(self.core.recover(0, Recovered(b"", 1, tuple(self.journal), fresh=not self.journal)))

    def _take(self, step: Step) -> None:
        while True:
            assert step.halt is None, step.halt
            self.sent += [(self.now_us, number, call) for number, call in step.data]
            self.events += step.events
            self.wake_us = step.wake_us
            if step.reset:
                self.journal.clear()
            self.journal += step.records
            self._records += len(step.records)
            if not step.records or self.core.finished:
                return
            step = self.core.synced(self.now_us, self._records)

    def wait(self, seconds: float) -> None:
        """Let time pass; the core is woken whenever it wants."""
        until_us = self.now_us + int(seconds * SECOND_US)
        while self.wake_us is not None and self.wake_us <= until_us and not self.core.finished:
            self.now_us = max(self.now_us, self.wake_us)
            self._take(self.core.wake(self.now_us))
        self.now_us = until_us

    def next(self) -> tuple[int, Call]:
        """The next request, which must come within a minute, and to whom."""
        seen = len(self.sent)
        for _ in range(600):
            if len(self.sent) > seen:
                break
            self.wait(0.1)
        (_, number, call) = self.sent[seen]
        return number, call

    def open(self) -> tuple[int, Call]:
        """The last request if it has not been answered, or the next one."""
        _, number, call = self.sent[-1]
        return (number, call) if call.id not in self._answered else self.next()

    def next_or_end(self) -> tuple[int, Call]:
        """The next request, or (-1, ...) when the plan is over before."""
        seen = len(self.sent)
        while len(self.sent) == seen and not self.core.finished:
            self.wait(0.1)
        return (-1, Call(0, "ask")) if self.core.finished else self.sent[seen][1:]

    def answer(self, number: int, call: Call, status: int, body: Any = None, **more: Any) -> None:
        """The vendor says this. `body`: bytes as they are, anything else as JSON."""
        self._answered.add(call.id)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        more.setdefault("unix_us", UNIX_US + self.now_us)
        self._take(self.core.receive(self.now_us, number, Answered(call.id, status, data, **more)))

    def fails(self, number: int, call: Call, *, sent: bool) -> None:
        """No answer comes."""
        self._answered.add(call.id)
        self._take(self.core.receive(self.now_us, number, Unanswered(call.id, sent, "gone")))

    def stop(self) -> None:
        """Ctrl-C."""
        self._take(self.core.stop(self.now_us, "told to stop"))

    def expect(self, number: int, verb: str, slot: int = 0) -> Call:
        """The last request that was sent, or the next one, is this."""
        if not self.sent or self.sent[-1][2].id in self._expected | self._answered:
            self.next()
        _, to, call = self.sent[-1]
        assert (to, call.verb, call.slot) == (number, verb, slot), self.events[-6:]
        self._expected.add(call.id)
        return call

    def expires(self, seconds: float) -> float:
        """When a lease ends that lasts so long from now, as a vendor tells it."""
        return (UNIX_US + self.now_us) / 1e6 + seconds

    def leases(self, number: int, slot: int, seconds: float) -> None:
        """It reserves this slot, and gets it for so long."""
        call = self.expect(number, "reserve", slot)
        self.answer(number, call, 200, {"id": str(slot), "expires": self.expires(seconds)})

    def confirms(self, number: int, slot: int, body: Any = None, status: int = 200) -> None:
        """It confirms this slot, which is then its own for good unless the body says otherwise."""
        self.answer(number, self.expect(number, "confirm", slot), status, body or {"id": str(slot)})

    def look(self, number: int, *slots: int) -> None:
        """It looks at this vendor, and sees these."""
        self.answer(number, self.expect(number, "look"), 200, [{"id": str(slot)} for slot in slots])

    def ask(self, number: int, *slots: int) -> None:
        """It asks this vendor what it holds: these."""
        self.answer(number, self.expect(number, "ask"), 200, [{"id": str(slot)} for slot in slots])

    def reserve(self, number: int, slot: int, status: int = 200) -> None:
        """It reserves this slot, with this outcome."""
        self.answer(number, self.expect(number, "reserve", slot), status, {"id": str(slot)})

    def release(self, number: int, slot: int, status: int = 200) -> None:
        """It releases this slot."""
        self.answer(number, self.expect(number, "release", slot), status, {"message": "gone"})
