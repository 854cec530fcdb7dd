"""What can be simulated, and what becomes of one run."""

from __future__ import annotations

import msgspec

from holdfast.sim import bugs
from holdfast.sim.bayou import bugs as bayou_bugs
from holdfast.sim.bayou import ground
from holdfast.sim.bayou.workloads import OFFICES
from holdfast.sim.messages import bugs as messages_bugs
from holdfast.sim.nemesis import FAULTS
from holdfast.sim.notices import bugs as notices_bugs
from holdfast.sim.notices import models as notices_models
from holdfast.sim.planner import bugs as planner_bugs
from holdfast.sim.planner import faults as planner_faults
from holdfast.sim.protocols import PROTOCOLS
from holdfast.sim.sequencer import bugs as sequencer_bugs
from holdfast.sim.sequencer import ground as sequencer_ground
from holdfast.sim.sequencer import weather as sequencer_weather
from holdfast.sim.workloads import WORKLOADS


class Kind(msgspec.Struct, frozen=True):
    """What the options of a protocol may name, the default first."""

    apps: tuple[str, ...]
    models: tuple[str, ...]
    faults: tuple[str, ...]
    transports: tuple[str, ...]
    bugs: tuple[str, ...]


MESSAGES = "messages"
"""The app that has a site, and planted bugs, of its own."""
PLANS = "plans"
"""The app that gives notices; where another is named, it is a desk that does."""
TRANSPORTS = ("stream", "lossy", "datagram")

KINDS: dict[str, Kind] = {
    **{
        name: Kind((*WORKLOADS, MESSAGES), protocol.models, tuple(FAULTS), TRANSPORTS, tuple(bugs.BUGS))
        for name, protocol in PROTOCOLS.items()
    },
    "sequencer": Kind(
        tuple(WORKLOADS),
        sequencer_ground.MODELS,
        sequencer_weather.FAULTS,
        ("datagram", "lossy", "stream"),
        tuple(sequencer_bugs.BUGS),
    ),
    "bayou": Kind((*OFFICES, MESSAGES), ground.MODELS, ground.FAULTS, TRANSPORTS, tuple(bayou_bugs.BUGS)),
    "notices": Kind(
        (MESSAGES, PLANS),
        notices_models.MODELS,
        tuple(dict.fromkeys((*FAULTS, *ground.FAULTS))),
        ("stream",),
        tuple(notices_bugs.BUGS),
    ),
    "planner": Kind(("slots",), planner_faults.MODELS, planner_faults.FAULTS, ("stream",), tuple(planner_bugs.BUGS)),
}
"""By the protocol's name."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to simulate. `servers` 0, an empty `model` and `transport` mean the protocol's own choice; no `faults`
    means all that the model tolerates; `bug` plants one, to prove that it is found."""

    app: str = "tickets"
    protocol: str = "lamport"
    model: str = ""
    servers: int = 0
    faults: tuple[str, ...] = ()
    transport: str = ""
    bug: str = ""

    def __post_init__(self) -> None:
        _check(self.protocol, tuple(KINDS), "protocol")
        kind = KINDS[self.protocol]
        _check(self.app, kind.apps, f"app under {self.protocol}")
        _check(self.model or kind.models[0], kind.models, f"model of {self.protocol}")
        _check(self.transport or kind.transports[0], kind.transports, "transport")
        if not self.transport:
            msgspec.structs.force_setattr(self, "transport", kind.transports[0])
        is_own = self.app == MESSAGES and self.protocol != "notices"
        known = tuple(messages_bugs.BUGS) if is_own else kind.bugs
        _check(self.bug or "none", (*known, "none"), f"bug in {self.app} under {self.protocol}")
        for fault in self.faults:
            _check(fault, kind.faults, f"fault under {self.protocol}")

    @property
    def failure_model(self) -> str:
        """The model to use."""
        return self.model or KINDS[self.protocol].models[0]


def _check(given: str, known: tuple[str, ...], what: str) -> None:
    if given not in known:
        raise ValueError(f"no {what} {given!r} to simulate, only {', '.join(known)}")


def models_of(protocol: str) -> tuple[str, ...]:
    """The models that a protocol has; none for an unknown one, which `Options` refuses."""
    return KINDS[protocol].models if protocol in KINDS else ("",)


def first_app(protocol: str) -> str:
    """The app that a protocol runs by itself; none for an unknown one, which `Options` refuses."""
    return KINDS[protocol].apps[0] if protocol in KINDS else ""


class Result(msgspec.Struct, frozen=True):
    """What became of one run. `kind` and `text` are empty if all is well; `lines` is the trace, if it was
    wanted; `figures`: (name, count) of what the run counted beside, to be summed over many."""

    seed: int
    kind: str
    text: str
    faults: int
    operations: int
    events: int
    virtual_us: int
    lines: tuple[str, ...] = ()
    figures: tuple[tuple[str, int], ...] = ()

    @property
    def ok(self) -> bool:
        """No law was broken."""
        return not self.kind
