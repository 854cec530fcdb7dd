"""Which apps and protocols there are, and what each pair promises. The one place that imports both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import asdict

from holdfast.apps import events, tickets
from holdfast.apps.directory import Directory
from holdfast.apps.keyvalue import KeyValue
from holdfast.apps.messages import DAYS_MAX, REPEAT_SECONDS_MAX, Messages
from holdfast.apps.plans import Plans
from holdfast.apps.rooms import DEPARTMENTS, LEAD_HOURS_MAX, ROOMS, Rooms
from holdfast.apps.slots import HOLDS_MAX, LEASE_SECONDS_MAX, SLOTS_MAX, Slots
from holdfast.apps.values import Name
from holdfast.kernel.contracts import App, Command, Core, Person, Query
from holdfast.kernel.machine import Machine
from holdfast.replication import bayou, sequencer
from holdfast.replication.bayou.configuration import Policy, Seals
from holdfast.replication.bayou.words import FOR_OPERATORS
from holdfast.replication.lamport import Lamport, LamportConfiguration, genesis_records
from holdfast.replication.sequencer import Sequencer, SequencerConfiguration
from holdfast.replication.solo import Solo
from holdfast.vendors import VendorSettings

if TYPE_CHECKING:
    from holdfast.site import Service

FailureModel = Literal["perfect", "majority"]


class TicketsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`seats`: how many the theatre has; fixed with the first start of its data."""

    seats: Annotated[int, Meta(ge=1, le=tickets.SEATS_MAX)] = 500


class RoomsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The building; all but `zone` and `lead_hours` is fixed with the first start of its data.

    `opens`, `closes`: hours of the day. `zone`: an IANA time zone. `lead_hours`: so long before a
    meeting its outcome is final.
    """

    rooms: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=64)] = ROOMS
    departments: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=1000)] = DEPARTMENTS
    opens: Annotated[int, Meta(ge=0, le=23)] = 8
    closes: Annotated[int, Meta(ge=1, le=24)] = 17
    zone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    lead_hours: Annotated[int, Meta(ge=0, le=LEAD_HOURS_MAX)] = 1


class EventsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`branches`: the cities that have one, three capitals each; fixed with the first start of the data.
    `branch_nodes`: where the server of each runs, by city; of those that are not named, the first at the first
    node, and so on. `directory`: the service in which they register (see `holdfast.branches`)."""

    branches: Annotated[tuple[str, ...], Meta(min_length=1, max_length=events.BRANCHES_MAX)] = events.BRANCHES
    branch_nodes: dict[str, str] = {}
    directory: Annotated[str, Meta(min_length=1, max_length=64)] = "directory"


class DirectoryOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class SlotsOptions(VendorSettings, frozen=True, forbid_unknown_fields=True):
    """`slots`: how many there are. `holds`: how many a client holds at most. `lease_seconds`: for how long
    without a confirmation, 0 for good. `vendor`: the department whose people with the role `vendor` are this
    vendor, "" for all of them. These are fixed with the first start of the data; the others are those of
    `holdfast.vendors`."""

    slots: Annotated[int, Meta(ge=1, le=SLOTS_MAX)] = 500
    holds: Annotated[int, Meta(ge=1, le=HOLDS_MAX)] = 2
    lease_seconds: Annotated[float, Meta(ge=0, le=LEASE_SECONDS_MAX)] = 0.0
    vendor: Annotated[str, Meta(max_length=200)] = ""

    def app(self) -> Slots:
        """The app of a vendor on these terms."""
        return Slots(self.slots, self.holds, self.lease_seconds, self.vendor)


class KeyValueOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class PlansOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class MessagesOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`urgent_repeat_seconds`, `emergency_repeat_seconds`: how often such a message is told again until it is
    acknowledged. `retention_days`: after how many days messages go, 0 for never; `audit_days`: likewise what the
    audit log says. All are fixed with the first start of the data."""

    urgent_repeat_seconds: Annotated[float, Meta(ge=1, le=REPEAT_SECONDS_MAX)] = 300.0
    emergency_repeat_seconds: Annotated[float, Meta(ge=1, le=REPEAT_SECONDS_MAX)] = 60.0
    retention_days: Annotated[float, Meta(ge=0, le=DAYS_MAX)] = 0.0
    audit_days: Annotated[float, Meta(ge=0, le=DAYS_MAX)] = 0.0


class AppEntry(msgspec.Struct, frozen=True):
    """`make`: the app with these options, for the people of the site. `options`: the settings a service with
    this app may have beside the common ones. `protocol`: its default. `datagrams`: its faces at several nodes
    speak to each other by UDP, whatever the protocol. `private`: it is to be served only to who has shown a
    token, and tells each what is theirs. `delivers`: it is a `NoticeTaker`, to which other services' notices may go."""

    make: Callable[[Any, Sequence[Person]], App]
    options: type[msgspec.Struct]
    protocol: str
    datagrams: bool = False
    private: bool = False
    delivers: bool = False


class ProtocolOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the settings that a protocol has beside the common ones; here, none."""

    def mistakes(self, nodes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """(setting, why) for each that does not fit the service's nodes."""
        yield from ()


class BayouOptions(ProtocolOptions, frozen=True, forbid_unknown_fields=True):
    """`primary`: the node that commits, the first one for "". `voters`: the nodes that store what is
    committed, the primary alone for (). `commit`, `horizon_hours`: when it commits. `sync_seconds`: how
    often replicas compare what they know. `forward_bound_seconds`: how far ahead a peer's clock may be."""

    primary: str = ""
    voters: tuple[str, ...] = ()
    commit: Policy = "all-heard"
    horizon_hours: Annotated[float, Meta(ge=0.001, le=1000)] = 24.0
    sync_seconds: Annotated[float, Meta(ge=0.05, le=3600)] = 1.0
    forward_bound_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 300.0

    def mistakes(self, nodes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """See the base."""
        primary = self.primary or nodes[0]
        if primary not in nodes:
            yield "primary", f"{primary!r} is none of its nodes, {', '.join(nodes)}"
        for place, voter in enumerate(self.voters):
            if voter not in nodes:
                yield "voters", f"{voter!r} is none of its nodes, {', '.join(nodes)}"
            if voter in self.voters[:place]:
                yield "voters", f"names {voter} twice"
        if self.voters and primary in nodes and primary not in self.voters:
            yield "voters", f"the primary, {primary}, must be one of them, or it could confirm nothing"


class SequencerOptions(ProtocolOptions, frozen=True, forbid_unknown_fields=True):
    """`front_ends`, `sequencers`, `managers`: the nodes with each role, all of them for (); the sequencers
    follow each other in their order. `wrong_max`: how many replicas may be wrong at once (None: one, of
    three or more); one more must agree. `takeover_seconds`: after how long without a word of the
    sequencer the next one takes over. `suspect_seconds`: the least time after which a replica without a
    result is reported."""

    front_ends: tuple[str, ...] = ()
    sequencers: tuple[str, ...] = ()
    managers: tuple[str, ...] = ()
    wrong_max: Annotated[int, Meta(ge=0, le=10)] | None = None
    takeover_seconds: Annotated[float, Meta(ge=0.02, le=60)] = 0.25
    suspect_seconds: Annotated[float, Meta(ge=0.05, le=60)] = 0.5

    def mistakes(self, nodes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """See the base."""
        for role in ("front_ends", "sequencers", "managers"):
            named: tuple[str, ...] = getattr(self, role)
            for place, node in enumerate(named):
                if node not in nodes:
                    yield role, f"{node!r} is none of its nodes, {', '.join(nodes)}"
                if node in named[:place]:
                    yield role, f"names {node} twice"
        managers = len(self.managers or nodes)
        if self.wrong_max is not None and managers <= 2 * self.wrong_max:
            most = (managers - 1) // 2
            yield "wrong_max", f"of {managers} replicas {self.wrong_max} cannot be outvoted; at most {most} can"


class ProtocolEntry(msgspec.Struct, frozen=True):
    """`models`: the failure models to choose from, if there is a choice. `nodes_max`: most servers.
    `options`: the settings a service under it may have beside the common ones. `tentative`: its replies
    may come before they are final. `datagrams`: its messages go by UDP, and may be lost, doubled and overtaken.
    `tells`: whoever watches is told what an app tells people; not where one replica alone is not to be believed."""

    models: tuple[FailureModel, ...]
    nodes_max: int
    options: type[ProtocolOptions] = ProtocolOptions
    tentative: bool = False
    datagrams: bool = False
    tells: bool = True


class Guarantee(msgspec.Struct, frozen=True):
    """What a protocol under a failure model promises, in words for people."""

    protocol: str
    model: FailureModel | None
    promises: str
    tolerates: str
    broken_by: str
    reads: str


APPS: Mapping[str, AppEntry] = {
    "tickets": AppEntry(lambda options, people: tickets.Tickets(seats=options.seats), TicketsOptions, "lamport"),
    "rooms": AppEntry(lambda options, people: Rooms(**asdict(options)), RoomsOptions, "bayou"),
    "events": AppEntry(lambda options, people: events.Events(options.branches), EventsOptions, "sequencer", True),
    "directory": AppEntry(lambda options, people: Directory(), DirectoryOptions, "lamport"),
    "slots": AppEntry(lambda options, people: options.app(), SlotsOptions, "solo"),
    "keyvalue": AppEntry(lambda options, people: KeyValue(), KeyValueOptions, "solo"),
    "plans": AppEntry(lambda options, people: Plans(people), PlansOptions, "solo"),
    "messages": AppEntry(
        lambda options, people: Messages(people, **asdict(options)),
        MessagesOptions,
        "lamport",
        private=True,
        delivers=True,
    ),
}

PROTOCOLS: Mapping[str, ProtocolEntry] = {
    "solo": ProtocolEntry((), 1),
    "lamport": ProtocolEntry(("perfect", "majority"), 64),
    "bayou": ProtocolEntry((), 64, BayouOptions, tentative=True),
    "sequencer": ProtocolEntry((), 64, SequencerOptions, datagrams=True, tells=False),
}

GUARANTEES: tuple[Guarantee, ...] = (
    Guarantee(
        "solo",
        None,
        "what is answered is on this node's disk",
        "crashes and power cuts of the node",
        "the loss of its disk; while it is down nothing is served",
        "linearizable",
    ),
    Guarantee(
        "lamport",
        "perfect",
        "what is answered is on the disk of every live server; the last one left still serves",
        "crashes of all servers but one, in any order, and their return",
        "a network that splits, or a server that hangs past the timeout and is not dead: both sides would go on",
        "linearizable",
    ),
    Guarantee(
        "lamport",
        "majority",
        "what is answered is on the disk of every member of the view, which is a majority at least",
        "crashes, pauses and splits that leave a majority of the servers connected and a majority of the disks whole",
        "the loss of a majority of the disks; a minority refuses to serve",
        "linearizable",
    ),
    Guarantee(
        "bayou",
        None,
        "what is answered is on the disk of the replica that was asked, and may still be decided otherwise; what is"
        " confirmed is final, and the same at every replica",
        "everything that leaves one replica running: each goes on alone, for days if need be, and all end alike",
        "the loss of a disk, for those of its writes that no other replica has yet; while the primary, or a majority"
        " of the voters, is away, nothing is confirmed",
        "what this replica knows, tentative or confirmed as asked; session guarantees across replicas on request",
    ),
    Guarantee(
        "sequencer",
        None,
        "what is answered is in the journals of a majority of the replica managers, and what more replicas than may be"
        " wrong have said alike",
        "of three replicas one that crashes or one that is wrong, of four one of each at once; a wrong one is replaced;"
        " crashes of every front end and sequencer but one",
        "as many wrong replicas as must agree; the loss of a majority of the managers' disks; while a majority of the"
        " managers is away nothing is answered",
        "linearizable",
    ),
)


def guarantee(protocol: str, model: FailureModel | None) -> Guarantee:
    """The row of the table. Every app has it alike: an app's rules do not depend on the protocol."""
    for row in GUARANTEES:
        if (row.protocol, row.model) == (protocol, model):
            return row
    raise KeyError(f"no protocol {protocol} with the failure model {model}")


def make_app(service: Service) -> App:
    """The app of a service, with the service's options (checked when the site was loaded) and people."""
    entry = APPS[service.app]
    return entry.make(msgspec.convert(dict(service.options), entry.options), service.people)


class Replicated(msgspec.Struct, frozen=True):
    """A core with what its shell has to know: its machine, the union of its peers' messages, and the
    words that it understands itself beside those of the app; `for_operators`: those of them that take the role of an
    operator wherever people prove who they are."""

    core: Core
    machine: Machine
    messages: Any
    commands: tuple[type[Command], ...] = ()
    queries: tuple[type[Query], ...] = ()
    for_operators: tuple[type[Command], ...] = ()


def make_core(
    service: Service,
    node: str,
    *,
    disk: str,
    is_copy: bool = False,
    requests_waiting_max: int = 20_000,
    accept_loss: bool = False,
    seals: Seals | None = None,
) -> Replicated:
    """The core of one replica. `disk`: the identity of its disk, should that be an empty one. `is_copy`:
    its disk was copied or restored from elsewhere. `seals`: what proves that a file was written in this site."""
    if service.protocol == "bayou":
        return _make_bayou(
            service, node, disk=disk, is_copy=is_copy, requests_waiting_max=requests_waiting_max, seals=seals
        )
    machine = Machine(make_app(service))
    if service.protocol == "sequencer":
        return _make_sequencer(service, node, machine, disk=disk, requests_waiting_max=requests_waiting_max)
    if service.protocol == "solo":
        return Replicated(Solo(machine, disk=disk, name=node), machine, Solo.messages)
    assert service.failure_model is not None
    configuration = LamportConfiguration(
        me=service.peer(node),
        servers=service.nodes,
        model=service.failure_model,
        disk=disk,
        timeout_us=round(service.timeout_seconds * 1e6),
        deadline_us=round(service.deadline_seconds * 1e6),
        waiting_max=requests_waiting_max,
        accept_loss=accept_loss,
    )
    return Replicated(Lamport(machine, configuration), machine, Lamport.messages)


def _make_bayou(
    service: Service, node: str, *, disk: str, is_copy: bool, requests_waiting_max: int, seals: Seals | None
) -> Replicated:
    options = msgspec.convert(dict(service.protocol_options), BayouOptions)
    machine = bayou.make_machine(make_app(service))
    configuration = bayou.BayouConfiguration(
        me=service.peer(node),
        nodes=service.nodes,
        disk=disk,
        is_copy=is_copy,
        voters=options.voters,
        policy=options.commit,
        horizon_ms=round(options.horizon_hours * 3_600_000),
        forward_bound_ms=round(options.forward_bound_seconds * 1e3),
        sync_us=round(options.sync_seconds * 1e6),
        waiting_max=requests_waiting_max,
        seals=seals,
    )
    core = bayou.Bayou(machine, configuration)
    return Replicated(core, machine, core.messages, core.commands, core.queries, FOR_OPERATORS)


def _make_sequencer(
    service: Service, node: str, machine: Machine, *, disk: str, requests_waiting_max: int
) -> Replicated:
    options = msgspec.convert(dict(service.protocol_options), SequencerOptions)
    configuration = SequencerConfiguration(
        me=service.peer(node),
        nodes=service.nodes,
        disk=disk,
        front_ends=tuple(map(service.peer, options.front_ends)),
        sequencers=tuple(map(service.peer, options.sequencers)),
        managers=tuple(map(service.peer, options.managers)),
        wrong_max=1 if options.wrong_max is None else options.wrong_max,
        takeover_us=round(options.takeover_seconds * 1e6),
        beat_us=round(options.takeover_seconds * 1e5),
        suspect_us=round(options.suspect_seconds * 1e6),
        deadline_us=round(service.deadline_seconds * 1e6),
        waiting_max=requests_waiting_max,
    )
    core = Sequencer(machine, configuration)
    return Replicated(core, machine, core.messages, core.commands, core.queries)


def first_records(service: Service, node: str, disks: Mapping[str, str]) -> list[bytes]:
    """What `holdfast init` writes to the disk of one replica. `disks`: the identities by node, as far
    as they are made together."""
    if service.protocol == "solo":
        return []
    if service.protocol == "bayou":
        primary = msgspec.convert(dict(service.protocol_options), BayouOptions).primary or service.nodes[0]
        created = bayou.make_machine(make_app(service)).store.snapshot()
        me = service.peer(node)
        return bayou.genesis_records(service.nodes, me, disks[node], service.app, service.peer(primary), created)
    known = [disks.get(other, "") for other in service.nodes]
    created = Machine(make_app(service)).store.snapshot()
    if service.protocol == "sequencer":
        return sequencer.genesis_records(disks[node], service.app, created)
    return genesis_records(len(service.nodes), disks[node], service.app, known, created)
