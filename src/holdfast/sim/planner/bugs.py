"""Planted bugs: each breaks one rule of the planner in one small place, to prove that the simulator finds it.

Nothing here is in the product. A bug bends the parts of a core after they were made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.kernel.contracts import Recovered, Step
from holdfast.planner import records
from holdfast.planner.configuration import Configuration
from holdfast.planner.core import PlannerCore
from holdfast.planner.plan import Choice
from holdfast.planner.vendor import VendorView

Bend = Callable[[PlannerCore], None]


def _put(owner: object, name: str, method: Callable[..., Any]) -> None:
    """Put a method of one instance in the place of its class's."""
    setattr(owner, name, method)


def _let_go_first(core: PlannerCore) -> None:
    """Gives its match back as soon as it goes for a better one."""
    plan = core.plan
    release = plan._release

    def bent(ready: list[VendorView]) -> Choice | None:
        for view in ready:
            if plan.target and plan.match and plan.match in view.held:
                return Choice(view, "release", plan.match, "a better one is near")
        return release(ready)

    _put(plan, "_release", bent)
    _put(core, "_still_wanted", lambda choice: choice.view.ready(plan.now_us))


def _blind_retry(core: PlannerCore) -> None:
    """Takes a reservation that was not answered in time for one that was not made."""
    for view in core.plan.views:
        _blind(view)


def _blind(view: VendorView) -> None:
    time_out = view.time_out

    def bent(now_us: int) -> str:
        must_ask, id = view.must_ask, view.flight
        told = time_out(now_us)
        view.must_ask = must_ask
        view.writes.pop(id, None)
        return told

    _put(view, "time_out", bent)


def _forgotten_hold(core: PlannerCore) -> None:
    """Begins again as if it held nothing."""
    recover = core.recover

    def bent(now_us: int, recovered: Recovered) -> Step:
        step = recover(now_us, recovered)
        core.plan.recovering = False
        for view in core.plan.views:
            view.must_ask, view.read_us = False, now_us
        return step

    _put(core, "recover", bent)
    for view in core.plan.views:
        _put(view, "confirmed", lambda view=view: not view.writes and not view.must_ask)


def _free_retry(core: PlannerCore) -> None:
    """Does not count what failed against the rate."""
    plan = core.plan
    for view in plan.views:
        fail = view.fail

        def bent(now_us: int, retry_after_us: int = 0, fail: Callable[..., None] = fail) -> None:
            fail(now_us, retry_after_us)
            plan.next_us = now_us

        _put(view, "fail", bent)


def _no_last_look(core: PlannerCore) -> None:
    """Ends when it knows of nothing too much, without asking again after the longest delay."""
    for view in core.plan.views:
        _put(view, "confirmed", lambda view=view: not view.must_ask)


def _third_hold(core: PlannerCore) -> None:
    """Books on before it gives back what it has too much, whatever the vendors may count already."""
    plan = core.plan
    choose = plan.choose
    for view in plan.views:
        _put(view, "possible", lambda: 0)
    _put(plan, "choose", lambda: (None if plan.recovering else plan._book()) or choose())


def _old_list(core: PlannerCore) -> None:
    """Believes a list of its holds that was asked for before its last write."""
    for view in core.plan.views:
        hear = view._hear_ask

        def bent(message: Any, sent_us: int, now_us: int, hear: Any = hear, view: VendorView = view) -> str:
            wrote_us, read_us, view.wrote_us, view.read_us = view.wrote_us, view.read_us, -1, -1
            told: str = hear(message, sent_us, now_us)
            view.wrote_us, view.read_us = wrote_us, max(read_us, view.read_us)
            return told

        _put(view, "_hear_ask", bent)


def _odd_is_no(core: PlannerCore) -> None:
    """Takes any odd answer to a write for "not done"."""
    for view in core.plan.views:
        hear = view._hear_write

        def bent(call: Any, message: Any, *rest: Any, hear: Any = hear, view: VendorView = view) -> str:
            must_ask = view.must_ask
            told: str = hear(call, message, *rest)
            if message.status >= 500:
                view.must_ask = must_ask
                view.writes.pop(call.id, None)
            return told

        _put(view, "_hear_write", bent)


def _unwritten_intent(core: PlannerCore) -> None:
    """Sends its writes without a word in the journal; what was under way at a crash is forgotten."""
    record = core._record

    def bent(written: records.Record) -> None:
        if isinstance(written, records.Intent):
            written = records.Settled(written.id)
        record(written)

    _put(core, "_record", bent)


def _tired(core: PlannerCore) -> None:
    """Counts every request as a vain one, also those that failed, before there is a match."""
    send = core._send

    def bent(choice: Choice, call: Any) -> None:
        send(choice, call)
        core.plan.since += 0 if core.plan.match else 1

    _put(core, "_send", bent)


def _endless(core: PlannerCore) -> None:
    """Waits for a vendor's last word however long it takes."""
    core.configuration = core.plan.configuration = msgspec.structs.replace(core.configuration, grace_us=10**12)


def _deaf_end(core: PlannerCore) -> None:
    """When its time is over it says that all is well."""
    leave = core._leave

    def bent() -> None:
        leave()
        core._complete, core._unknown = True, []

    _put(core, "_leave", bent)


def _never_confirms(core: PlannerCore) -> None:
    """Lets every lease run out."""
    for view in core.plan.views:
        view.confirms = False


def _late_keeper(core: PlannerCore) -> None:
    """Confirms what it holds only at the end."""
    plan = core.plan
    keep = plan._keep

    def bent(ready: list[VendorView], *, urgently: bool) -> Choice | None:
        return keep(ready, urgently=urgently) if plan.finishing else None

    _put(plan, "_keep", bent)


def _hoarder(core: PlannerCore) -> None:
    """Gives back what is not matched only when there is nothing else to do."""
    plan = core.plan
    release = plan._release

    def bent(ready: list[VendorView]) -> Choice | None:
        return plan._book() or plan._confirm(ready) or plan._look(ready) or release(ready)

    _put(plan, "_release", bent)


def _never_lets_go(core: PlannerCore) -> None:
    """Waits with half a pair for a vendor that cannot say yes or no."""
    core.configuration = core.plan.configuration = msgspec.structs.replace(core.configuration, unmatched_us=10**12)


def _content(core: PlannerCore) -> None:
    """Once it has a match it looks at the first vendor only."""
    plan = core.plan
    look = plan._look

    def bent(ready: list[VendorView]) -> Choice | None:
        return look([view for view in ready if not plan.match or view is plan.views[0]])

    _put(plan, "_look", bent)


BUGS: dict[str, Bend] = {
    "let-go-first": _let_go_first,
    "blind-retry": _blind_retry,
    "forgotten-hold": _forgotten_hold,
    "free-retry": _free_retry,
    "no-last-look": _no_last_look,
    "third-hold": _third_hold,
    "old-list": _old_list,
    "odd-is-no": _odd_is_no,
    "unwritten-intent": _unwritten_intent,
    "tired": _tired,
    "endless": _endless,
    "deaf-end": _deaf_end,
    "never-confirms": _never_confirms,
    "late-keeper": _late_keeper,
    "hoarder": _hoarder,
    "never-lets-go": _never_lets_go,
    "content": _content,
}
"""By name."""


def maker(bug: str) -> Callable[[Configuration], PlannerCore]:
    """Makes cores with the bug in them; "" plants none."""

    def make(configuration: Configuration) -> PlannerCore:
        core = PlannerCore(configuration)
        if bug:
            BUGS[bug](core)
        return core

    return make
