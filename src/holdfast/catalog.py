"""Which apps and protocols there are, and what each pair promises. The one place that imports both sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from holdfast.apps import tickets
from holdfast.apps.rooms import DEPARTMENTS, LEAD_HOURS_MAX, ROOMS, Rooms
from holdfast.apps.values import Name
from holdfast.kernel.contracts import App, Core
from holdfast.kernel.machine import Machine
from holdfast.replication.lamport import Lamport, LamportConfiguration, genesis_records
from holdfast.replication.solo import Solo

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


class AppEntry(msgspec.Struct, frozen=True):
    """`options`: the settings a service with this app may have beside the common ones. `protocol`: its default."""

    make: Callable[[Any], App]
    options: type[msgspec.Struct]
    protocol: str


class ProtocolEntry(msgspec.Struct, frozen=True):
    """`models`: the failure models to choose from, none for a protocol of one node. `nodes_max`: most servers."""

    models: tuple[FailureModel, ...]
    nodes_max: int


class Guarantee(msgspec.Struct, frozen=True):
    """What a protocol under a failure model promises, in words for people."""

    protocol: str
    model: FailureModel | None
    promises: str
    tolerates: str
    broken_by: str
    reads: str


APPS: Mapping[str, AppEntry] = {
    "tickets": AppEntry(lambda options: tickets.Tickets(seats=options.seats), TicketsOptions, "lamport"),
    "rooms": AppEntry(lambda options: Rooms(**msgspec.structs.asdict(options)), RoomsOptions, "bayou"),
}

PROTOCOLS: Mapping[str, ProtocolEntry] = {
    "solo": ProtocolEntry((), 1),
    "lamport": ProtocolEntry(("perfect", "majority"), 64),
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
)


def guarantee(protocol: str, model: FailureModel | None) -> Guarantee:
    """The row of the table. Every app has it alike: an app's rules do not depend on the protocol."""
    for row in GUARANTEES:
        if (row.protocol, row.model) == (protocol, model):
            return row
    raise KeyError(f"no protocol {protocol} with the failure model {model}")


def make_app(service: Service) -> App:
    """The app of a service, with the service's options (checked when the site was loaded)."""
    entry = APPS[service.app]
    return entry.make(msgspec.convert(dict(service.options), entry.options))


class Replicated(msgspec.Struct, frozen=True):
    """A core with what its shell has to know: its machine, and the union of its peers' messages."""

    core: Core
    machine: Machine
    messages: Any


def make_core(
    service: Service, node: str, *, disk: str, requests_waiting_max: int = 20_000, accept_loss: bool = False
) -> Replicated:
    """The core of one replica. `disk`: the identity of its disk, should that be an empty one."""
    machine = Machine(make_app(service))
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


def first_records(service: Service, node: str, disks: Mapping[str, str]) -> list[bytes]:
    """What `holdfast init` writes to the disk of one replica. `disks`: the identities by node, as far
    as they are made together."""
    if service.protocol == "solo":
        return []
    known = [disks.get(other, "") for other in service.nodes]
    created = Machine(make_app(service)).store.snapshot()
    return genesis_records(len(service.nodes), disks[node], service.app, known, created)
