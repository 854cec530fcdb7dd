"""A real site of three nodes with messages, as `holdfast up` runs it, and its people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.client.real_site import RealSite
from tests.ports import free_ports

from holdfast.apps.messages.replies import AuditLine
from holdfast.client import Kept, Messenger, Sent
from holdfast.people import TokenHash

PEOPLE = ("ann", "bob", "eve")


def people(names: tuple[str, ...] = PEOPLE) -> str:
    """The tables of people, nurses all of them."""
    return "".join(
        f'[people.{name}]\nfirst_name = "{name.title()}"\nroles = ["nurse"]\nunit = "ward3"\n'
        f'token = "{TokenHash.of(token_of(name)).written()}"\n'
        for name in names
    )


def token_of(name: str) -> str:
    """What proves that it is this person."""
    return f"demo-{name}"


def messages_site(folder: Path, protocol: str = "lamport", *, again: bool = False) -> RealSite:
    """Three nodes with the service `messages`. `again`: those that were there before."""
    ready = "view a,b,c" if protocol == "lamport" else ""
    active = [f"messages at {name}: active{ready and ', ' + ready}" for name in "abc"]
    if again:
        return RealSite(folder, (folder / "site.toml").read_text(), active)
    ports = free_ports(6)
    nodes = "".join(
        f'[nodes.{name}]\nhost = "127.0.0.1"\npeer_port = {port}\n' for name, port in zip("abc", ports[:3], strict=True)
    )
    lines = ", ".join(f"{name} = {port}" for name, port in zip("abc", ports[3:], strict=True))
    model = 'failure_model = "majority"\ntimeout_seconds = 1\n' if protocol == "lamport" else ""
    toml = (
        f'[site]\nname = "hospital"\n{nodes}[services.messages]\napp = "messages"\nprotocol = "{protocol}"\n{model}'
        f'identity = "token"\nnodes = {{ {lines} }}\n{people()}'
    )
    return RealSite(folder, toml, active)


def audit_of(messenger: Messenger, after: str = "") -> Iterator[AuditLine]:
    """What the audit log shows this person, from there on to its end."""
    while True:
        log = messenger.audit(after)
        yield from log.lines
        if not (after := log.more_after):
            return


def lines_about(messenger: Messenger, what: Sent | Kept) -> list[tuple[str, str]]:
    """(who, what) of the audit log about a message."""
    assert isinstance(what, Sent)
    about = (what.conversation, what.place)
    log = audit_of(messenger, f"{what.conversation}:0")
    return [(line.person, line.what) for line in log if (line.conversation, line.message) == about]
