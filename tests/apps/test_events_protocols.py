"""Events and the directory, made as a site makes them: under each protocol, behind the line grammar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.apps.events_house import ANN, TOR

from holdfast.apps.directory import Directory
from holdfast.apps.events import Events
from holdfast.catalog import APPS, PROTOCOLS, Replicated, make_app, make_core
from holdfast.kernel.contracts import Person, Query, Recovered, Request
from holdfast.server.grammar import Grammar
from holdfast.settings import Mistakes
from holdfast.site import Service, load_site

TRUSTED = 'identity = "trusted"\n'


def service_of(directory: Path, app: str, protocol: str, more: str = "") -> Service:
    nodes = "abc"[: min(3, PROTOCOLS[protocol].nodes_max)]
    tables = [f'[nodes.{node}]\nhost = "127.0.0.1"\npeer_port = {7501 + place}' for place, node in enumerate(nodes)]
    service = f'[services.x]\napp = "{app}"\nprotocol = "{protocol}"\nnodes = {list(nodes)}\n{TRUSTED}{more}'
    path = directory / "site.toml"
    path.write_text("\n".join([*tables, service]))
    return load_site(path).services["x"]


def grammar_of(replicated: Replicated) -> Grammar:
    app = replicated.machine.app
    return Grammar((*app.commands, *replicated.commands), (*app.queries, *replicated.queries))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("app", ["events", "directory"])
def test_every_protocol_takes_them(tmp_path: Path, app: str, protocol: str) -> None:
    replicated = make_core(service_of(tmp_path, app, protocol), "a", disk="disk")
    assert replicated.machine.app.name == app
    assert replicated.machine.app.check(replicated.machine.store) is None
    assert {"events": "bookEvent", "directory": "lookup"}[app] in grammar_of(replicated).words


def test_their_defaults() -> None:
    assert APPS["directory"].protocol == "lamport"
    assert isinstance(APPS["directory"].make(APPS["directory"].options(), ()), Directory)
    events = APPS["events"].make(APPS["events"].options(), ())
    assert isinstance(events, Events)
    assert events.branches == ("MTL", "OTW", "TOR")


def test_the_branches_are_a_setting(tmp_path: Path) -> None:
    app = make_app(service_of(tmp_path, "events", "solo", 'branches = ["YYZ", "ABC"]'))
    assert isinstance(app, Events)
    assert app.branches == ("ABC", "YYZ")


@pytest.mark.parametrize(
    ("branches", "why"),
    [
        ('["Toronto"]', "a branch is called by three capitals such as TOR, not 'Toronto'"),
        ('["TOR", "TOR"]', "a branch is named twice"),
        ("[]", "length >= 1"),
        ('"TOR"', "expected array"),
    ],
)
def test_branches_that_cannot_be_are_named_with_the_service(tmp_path: Path, branches: str, why: str) -> None:
    with pytest.raises(Mistakes, match=r"services\.x") as caught:
        service_of(tmp_path, "events", "solo", f"branches = {branches}")
    assert why in str(caught.value)


def test_a_life_under_solo_and_after_a_restart(tmp_path: Path) -> None:
    service = service_of(tmp_path, "events", "solo")
    first = make_core(service, "a", disk="disk")
    records = list(first.core.recover(0, Recovered(b"", 1, (), True)).records)

    def say(replicated: Replicated, who: str, line: str) -> str:
        request = grammar_of(replicated).parse(line.encode(), Person(who))
        assert isinstance(request, Request)
        core: Any = replicated.core
        step = (core.ask if isinstance(request.command, Query) else core.submit)(1, [("token", request)])
        records.extend(step.records)
        ((_, reply),) = [*step.replies, *step.settled_replies]
        return str(reply.text())

    assert say(first, TOR, "addEvent TORM100519 Seminars 1") == "TORM100519 Seminars is added with 1 place."
    booked = f"TORM100519 Seminars is booked for {ANN}."
    assert say(first, ANN, f"@phone:1 bookEvent {ANN} TORM100519 Seminars") == booked
    again = make_core(service, "a", disk="disk")
    again.core.recover(0, Recovered(b"", 1, tuple(records), False))
    assert again.machine.digest() == first.machine.digest()
    assert say(again, ANN, f"@phone:1 bookEvent {ANN} TORM100519 Seminars") == booked
    assert say(again, ANN, f"getBookingSchedule {ANN}") == f"{ANN} - TORM100519 Seminars."
