"""One run: a site in virtual time, faults, clients, a calm at the end, and the verdict.

A run is a function of its options and its seed alone.
"""

from __future__ import annotations

import traceback

from holdfast.sim.audit import Violation
from holdfast.sim.bayou.site import BayouSite
from holdfast.sim.messages.site import MessagesSite
from holdfast.sim.messages.wing import WingSite
from holdfast.sim.notices.site import NoticesSite
from holdfast.sim.options import MESSAGES, Options, Result, first_app, models_of
from holdfast.sim.planner.site import PlannerSite
from holdfast.sim.sequencer.site import SequencerSite
from holdfast.sim.site import Site
from holdfast.sim.world import Endless

__all__ = ["Options", "Result", "first_app", "models_of", "run"]

AnySite = Site | BayouSite | PlannerSite | NoticesSite

SITES: dict[str, type[AnySite]] = {
    "bayou": BayouSite,
    "notices": NoticesSite,
    "planner": PlannerSite,
    "sequencer": SequencerSite,
}
"""By the protocol's name; every other protocol's is a `Site`."""


def _site_of(options: Options) -> type[AnySite]:
    if options.app == MESSAGES and options.protocol not in SITES:
        return MessagesSite
    if options.app == MESSAGES and options.protocol == "bayou":
        return WingSite
    return SITES.get(options.protocol, Site)


def run(options: Options, seed: int, tracing: bool = False) -> Result:
    """Simulate one seed. Whatever goes wrong, in a law or in a core's own code, is in the result."""
    site = _site_of(options)(options, seed, tracing)
    kind = text = ""
    try:
        site.play()
    except Violation as violation:
        kind, text = violation.kind, str(violation)
    except Endless as endless:
        kind, text = "endless", str(endless)
    except Exception:  # a core that raises has failed, whatever it raised; the report says where
        kind, text = "exception", traceback.format_exc()
    world = site.world
    if kind:
        world.note(f"FAILED {text}")
    return Result(
        seed, kind, text, site.faults, site.operations, world.events_done, world.now_us,
        tuple(world.lines), site.figures,
    )  # fmt: skip
