"""The planner's core: answers and time go in; requests, journal records and what people read come out.

It keeps the caller's duties of `kernel.contracts.Core` and its `Step`, with vendors for peers:
`Step.data` holds (vendor's number, `Call`) to be sent at once. A reservation or release is journaled
before it leaves, so it is sent by `synced`; only then does its place in the rate begin.
"""

from __future__ import annotations

from typing import Any

from holdfast.kernel.contracts import Halt, Recovered, Step
from holdfast.kernel.errors import MalformedInput
from holdfast.planner import records
from holdfast.planner.configuration import Configuration
from holdfast.planner.messages import Answered, Call, Unanswered, moment_text
from holdfast.planner.plan import REOPENED_MAX, Choice, Plan
from holdfast.planner.vendor import Write

FRUITLESS, NOTHING_BETTER, DEADLINE, RELEASED = "no improvement", "nothing better can come", "the deadline", "release"


REOPENING = (FRUITLESS, NOTHING_BETTER)
"""When the search has ended so and the match turns out to be lost, it goes on."""


class PlannerCore:
    """Books the same slot at every vendor. `finished` tells that it is over; `match` is what it came to."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.plan = Plan(configuration)
        self._warned: list[str] = []
        self._step = Step()
        self._records = 0
        """How many this core has asked for."""
        self._id = 0
        self._pending: tuple[Choice, Call, int] | None = None
        """A write whose record is on its way to the disk, and the number of that record."""
        self._written = False
        """Whether the journal knows of this plan. Nothing is sent before: who comes after a crash must know of it."""
        self._over = False
        """Whether the plan that the journal tells of had ended."""
        self._ended = self._complete = False
        self._unknown: list[tuple[str, int]] = []
        self._halted = False

    # ---- inputs ----

    def recover(self, now_us: int, recovered: Recovered) -> Step:
        """First input. After a crash every vendor is asked what it holds before anything else."""
        self._begin(now_us)
        try:
            problem = self._replay(now_us, recovered)
        except MalformedInput as error:
            return self._halt("damaged", f"this is no journal of a plan: {error}")
        if problem:
            return self._halt("configuration", problem)
        configuration, plan = self.configuration, self.plan
        under_way = any(view.writes for view in plan.views)
        if not recovered.records or (self._over and not under_way):
            self._step.reset = bool(recovered.records)  # what is over need not be read again
            self._record(records.Began(self._ids(), configuration.first, configuration.last))
            if plan.best:
                self._record(records.Matched(plan.best, plan.requests))
        self._written = not self._step.records
        if recovered.records or configuration.release:
            plan.recovering = True
            plan.next_us = now_us + configuration.interval_us  # the life before may just have sent one
            for view in plan.views:
                view.must_ask = True
                view.not_before_us = now_us + view.interval_us
            self._tell("begins again: what do the vendors hold for us?")
        if configuration.release:
            plan.reason, plan.over_us = RELEASED, now_us
        return self._go()

    def receive(self, now_us: int, vendor: int, message: Answered | Unanswered) -> Step:
        """An answer of a vendor, in time or late, or the news that none will come."""
        self._begin(now_us)
        plan = self.plan
        if 0 <= vendor < len(plan.views) and not self._ended:
            view = plan.views[vendor]
            known = view.calls.get(message.id)
            looked_us = view.looked_us
            if text := view.hear(message, now_us):
                self._tell(f"{view.name}: {text}")
            self._warn()
            if known and known[0].verb == "look" and view.looked_us > looked_us and not plan.match:
                self._count_fruitless()
        return self._go()

    def synced(self, now_us: int, records: int) -> Step:
        """The first `records` records are on the disk: a write that waited for its own may leave."""
        self._begin(now_us)
        self._written = self._written or records > 0
        if self._pending is not None and records >= self._pending[2]:
            (choice, call, _), self._pending = self._pending, None
            if self._still_wanted(choice):
                self._send(choice, call)
            else:
                self._record(_settled(call.id))
        return self._go()

    def wake(self, now_us: int) -> Step:
        """The time asked for has come."""
        self._begin(now_us)
        return self._go()

    def stop(self, now_us: int, why: str) -> Step:
        """No further search: keep the match, give back what is unmatched, confirm, end."""
        self._begin(now_us)
        self._finish(why)
        if self.plan.reason in REOPENING:
            self.plan.reason = why
        return self._go()

    # ---- what it came to ----

    @property
    def finished(self) -> bool:
        """The plan is over: confirmed by every vendor that can be asked, or its time to end was over too."""
        return self._ended

    @property
    def complete(self) -> bool:
        """It is over, and every vendor that can be asked has confirmed that nothing but the match is held."""
        return self._complete

    @property
    def unknown(self) -> list[tuple[str, int]]:
        """Once it is over: (vendor, slot) of each reservation that the vendor has not confirmed and that may be
        there or not; slot 0 where nothing is known. Who plans again with the journal finishes it."""
        return self._unknown

    @property
    def match(self) -> int:
        """The earliest slot held at every vendor, 0 for none."""
        return self.plan.match

    @property
    def next_text(self) -> str:
        """What is waited for, and what comes next and why, as it looks now."""
        plan = self.plan
        waiting = [f"wait for {view.name} ({view.calls[view.flight][0].text})" for view in plan.views if view.flight]
        choice = None if self._ended else plan.choose()
        if choice is not None:
            call = Call(0, choice.verb, choice.slot)
            return "; ".join([*waiting, f"{choice.view.name}: {call.text} ({choice.why})"])
        if not waiting and not self._ended:
            view = min(plan.views, key=lambda view: view.not_before_us)
            seconds = max(0, -(-(view.not_before_us - plan.now_us) // 1_000_000))
            waiting = [f"{view.name} again in {seconds} s"] if seconds else ["wait until what is in doubt is certain"]
        return "; ".join(waiting)

    @property
    def warnings(self) -> list[str]:
        """What people should know: who does not speak to us, and who may do something so late that nobody sees it."""
        seconds = self.configuration.assumed_delay_us // 1_000_000
        denied = [
            f"{view.name} takes neither key nor request: what it holds for us is not known"
            for view in self.plan.views
            if view.denied
        ]
        return (
            denied
            + self._endings()
            + [
                f"{view.name} names no longest delay: what it does later than {seconds} s after it was asked would leak"
                for view in self.plan.views
                if view.answered and view.longest_delay_us is None
            ]
        )

    def _endings(self) -> list[str]:
        """Once it is over: where the match is held only for a time."""
        match, told = self.match, []
        for view in self.plan.views if self._ended else ():
            if lease := view.leases.get(match):
                how = (
                    "plan again before"
                    if view.confirms
                    else "it takes no confirmations here; ask it how to keep the slot"
                )
                told.append(f"{view.name} holds {match} only until {moment_text(lease.expires)}: {how}")
        return told

    def status(self) -> dict[str, Any]:
        """For people: what is held, the best so far, requests used, the next action and why; JSON-able."""
        plan = self.plan
        state = "recovering" if plan.recovering else "improving" if plan.match else "searching"
        if plan.finishing:
            state = "ended" if self._ended else "finishing"
        return {
            "state": state,
            "slot": plan.match or None,
            "booking": plan.target or None,
            "requests": plan.requests,
            "since_improvement": plan.since,
            "reason": plan.reason,
            "complete": self.complete,
            "unknown": [{"vendor": name, "slot": slot or None} for name, slot in self.unknown],
            "next": self.next_text,
            "vendors": [
                {
                    "name": view.name,
                    "held": sorted(view.held),
                    "leases": {slot: lease.expires for slot, lease in sorted(view.leases.items())},
                    "in_doubt": sorted({write.slot for write in view.writes.values()}),
                    "free": len(view.free) if view.looked_us >= 0 else None,
                    "failures": view.failures,
                    "denied": view.denied,
                    "longest_delay_s": None if view.longest_delay_us is None else view.longest_delay_us / 1e6,
                }
                for view in plan.views
            ],
            "warnings": self.warnings,
        }

    # ---- the journal ----

    def _ids(self) -> tuple[str, ...]:
        return tuple(view.id for view in self.plan.views)

    def _record(self, record: records.Record) -> None:
        self._step.records.append(records.encode(record))
        self._records += 1

    def _replay(self, now_us: int, recovered: Recovered) -> str:
        """Take in the journal; why it is not this plan's, or ""."""
        plan = self.plan
        entries = [records.decode(data) for data in recovered.records]
        last = entries[-1] if entries else None
        self._over = isinstance(last, records.Ended)
        theirs = next((entry.vendors for entry in entries if isinstance(entry, records.Began)), self._ids())
        if theirs != self._ids():
            if isinstance(last, records.Ended) and not last.slot:
                return ""  # it holds nothing any more
            return f"this journal belongs to a plan with {', '.join(theirs)}; release it, or keep this plan elsewhere"
        for record in entries:
            if isinstance(record, records.Intent):
                if not 0 <= record.vendor < len(plan.views):
                    raise MalformedInput(f"a record of vendor {record.vendor} of {len(plan.views)}")
                view = plan.views[record.vendor]
                view.write(Write(record.id, record.reserves, record.slot, now_us))  # sent at the latest just now
                self._id, plan.requests, plan.since = max(self._id, record.id), record.requests, record.since
            elif isinstance(record, records.Settled):
                for view in plan.views:
                    view.writes.pop(record.id, None)
            elif isinstance(record, records.Pursuing):
                plan.target = record.slot
            elif isinstance(record, records.Matched):
                plan.best, plan.secure, plan.since = record.slot, record.slot, 0
        if isinstance(last, records.Ended):  # being started again it counts anew, and looks for a better one
            plan.best = plan.secure = last.slot
            plan.requests = plan.since = 0
        return ""

    # ---- one input ----

    def _begin(self, now_us: int) -> None:
        self._step = Step()
        self.plan.now_us = now_us

    def _tell(self, text: str) -> None:
        self._step.events.append(text)

    def _warn(self) -> None:
        """Each warning once."""
        for text in self.warnings:
            if text not in self._warned:
                self._warned.append(text)
                self._tell(f"warning: {text}")

    def _halt(self, code: str, text: str) -> Step:
        self._halted = True
        self._step.halt = Halt(code, text)
        return self._step

    def _go(self) -> Step:
        """Whatever came in: let time-outs happen, look for an end, send what may be sent, say when to be woken."""
        plan, step = self.plan, self._step
        if self._ended or self._halted:
            return step
        self._time_out()
        self._recovered()
        self._improved()
        self._look_for_an_end()
        was = plan.target
        if told := plan.retarget():
            self._tell(told)
        if plan.target != was:
            self._record(records.Pursuing(plan.target))
        self._act()
        for view in plan.views:
            for id in view.settled:
                self._record(_settled(id))
            view.settled.clear()
        if plan.finished and self._pending is None:
            self._end()
            return step
        if plan.finishing and plan.now_us >= plan.end_us:
            self._leave()
            return step
        future = [moment_us for moment_us in plan.moments() if moment_us > plan.now_us]
        step.wake_us = min(future, default=plan.now_us + self.configuration.timeout_us)
        return step

    def _time_out(self) -> None:
        for view in self.plan.views:
            if view.flight and self.plan.now_us >= view.due_us:
                self._tell(f"{view.name}: {view.time_out(self.plan.now_us)}")

    def _recovered(self) -> None:
        plan = self.plan
        if plan.recovering and all(view.read_us >= 0 or view.denied for view in plan.views):
            plan.recovering = False
            lacking = [view for view in plan.views if plan.target not in view.held]
            if plan.target and len(lacking) < len(plan.views):  # half booked: worth a try before anything is looked at
                for view in lacking:
                    view.free, view.free_set = (plan.target,), frozenset((plan.target,))
            elif plan.target:
                plan.target = 0
                self._record(records.Pursuing(0))

    def _improved(self) -> None:
        plan = self.plan
        if plan.match and plan.match != plan.best and not plan.recovering:
            earlier = f", earlier than {plan.best}" if plan.match < plan.best else ""
            self._tell(f"{plan.match} is ours everywhere{earlier}, after {plan.requests} requests")
            plan.best, plan.since = plan.match, 0
            self._record(records.Matched(plan.best, plan.requests))

    def _count_fruitless(self) -> None:
        """A look without a match: did it leave anything to be booked?"""
        plan = self.plan
        looked = all(view.looked_us >= 0 for view in plan.views)
        if looked and next(plan.candidates(hopeful=True), None) is None:
            plan.since += 1

    def _look_for_an_end(self) -> None:
        plan, configuration = self.plan, self.configuration
        if plan.finishing:
            lost = plan.best and not plan.match and all(view.confirmed() for view in plan.views)
            if lost and plan.reason in REOPENING and plan.reopened < REOPENED_MAX:
                self._tell(f"{plan.best} is not held everywhere any more: the search goes on")
                plan.reason, plan.since, plan.best = "", 0, 0
                plan.reopened += 1
            return
        denying = [view for view in plan.views if view.denied]
        if denying:
            self._finish(f"{denying[0].name} takes neither key nor request")
        elif configuration.deadline_us is not None and plan.now_us >= configuration.deadline_us:
            self._finish(DEADLINE)
        elif plan.recovering:
            return
        elif name := plan.fleeting():
            self._finish(f"{name} takes no confirmations, and {plan.match} would run out there")
        elif plan.nothing_better():
            self._finish(NOTHING_BETTER)
        elif configuration.patience and plan.since >= configuration.patience and not plan.target:
            self._finish(FRUITLESS)

    def _finish(self, why: str) -> None:
        if not self.plan.finishing:
            self.plan.reason, self.plan.over_us = why, self.plan.now_us
            self._tell(f"the search is over: {why}")

    def _end(self) -> None:
        plan = self.plan
        self._ended = self._complete = True
        self._record(records.Ended(plan.match, plan.reason))
        self._tell(f"ended with {plan.match or 'nothing'}, after {plan.requests} requests: {plan.reason}")
        self._warn()

    def _leave(self) -> None:
        """The time to end is over, and some vendor has not confirmed what it holds. The journal stays as it
        is, without an end: whoever begins again with it asks first, and finishes this."""
        plan = self.plan
        self._ended, self._pending = True, None
        self._unknown = [(view.name, slot) for view, slots in plan.unconfirmed() for slot in slots or (0,)]
        for name, slot in self._unknown:
            self._tell(f"{name}: {slot or 'what it holds for us'} is unknown")
        self._tell(f"left with {plan.match or 'nothing'} after {plan.requests} requests, not confirmed: {plan.reason}")

    # ---- sending ----

    def _act(self) -> None:
        """Send the most urgent request, if the rate allows one."""
        plan = self.plan
        if not self._written or self._pending is not None or plan.now_us < plan.next_us:
            return
        choice = plan.choose()
        if choice is None:
            return
        self._id += 1
        call = Call(self._id, choice.verb, choice.slot)
        if not call.writes:
            self._send(choice, call)
            return
        intent = records.Intent(
            call.id, choice.view.number, choice.verb == "reserve", choice.slot, plan.requests + 1, plan.since
        )
        self._record(intent)
        self._pending = (choice, call, self._records)

    def _still_wanted(self, choice: Choice) -> bool:
        """Whether what was decided before the disk had it still holds."""
        plan, view = self.plan, choice.view
        if not view.ready(plan.now_us) or view.must_ask:
            return False
        if choice.verb == "reserve":
            return choice.slot == plan.target and choice.slot not in view.held
        return choice.slot in view.held and (plan.recovering or plan.is_too_much(choice.slot))

    def _send(self, choice: Choice, call: Call) -> None:
        plan = self.plan
        plan.requests += 1
        if plan.match:
            plan.since += 1
        plan.next_us = plan.now_us + self.configuration.interval_us
        choice.view.sent(call, plan.now_us)
        self._step.data.append((choice.view.number, call))
        self._tell(f"{choice.view.name} <- {call.text} ({choice.why})")


def _settled(id: int) -> records.Settled:
    return records.Settled(id)
