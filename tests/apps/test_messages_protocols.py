"""Messages, made as a site makes them: under each protocol, and over a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.apps.messages import Messages
from holdfast.catalog import APPS, PROTOCOLS, make_core
from holdfast.kernel.contracts import Change, Person, Query, Recovered, Request, Timely
from holdfast.kernel.machine import Advance
from holdfast.server.grammar import Grammar
from holdfast.site import Service, load_site

NINE = 1_796_115_600_000


def service_of(directory: Path, protocol: str) -> Service:
    nodes = "abc"[: min(3, PROTOCOLS[protocol].nodes_max)]
    tables = [f'[nodes.{node}]\nhost = "127.0.0.1"\npeer_port = {7501 + place}' for place, node in enumerate(nodes)]
    tables.append(f'[services.m]\napp = "messages"\nprotocol = "{protocol}"\nnodes = {list(nodes)}')
    path = directory / "site.toml"
    path.write_text("\n".join([*tables, "[people.alice]", "[people.bob]"]))
    return load_site(path).services["m"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_takes_them(tmp_path: Path, protocol: str) -> None:
    replicated = make_core(service_of(tmp_path, protocol), "a", disk="disk")
    app = replicated.machine.app
    assert isinstance(app, Messages)
    assert isinstance(app, Timely)
    assert set(app.people) == {"alice", "bob"}
    assert app.check(replicated.machine.store) is None
    words = Grammar((*app.commands, *replicated.commands), (*app.queries, *replicated.queries)).words
    seed = ("login", "send", "inbox", "read", "ack", "history", "who", "watch", "quit")
    assert set(seed) <= set(words)


def test_their_defaults() -> None:
    entry = APPS["messages"]
    assert (entry.protocol, entry.private) == ("lamport", True)
    app = entry.make(entry.options(), (Person("alice"),))
    assert isinstance(app, Messages)
    assert list(app.people) == ["alice"]


def test_a_life_under_solo_and_after_a_restart(tmp_path: Path) -> None:
    service = service_of(tmp_path, "solo")
    first = make_core(service, "a", disk="disk")
    records = list(first.core.recover(0, Recovered(b"", 1, (), True)).records)
    grammar = Grammar(Messages.commands, Messages.queries)

    def step(replicated: Any, request: Request) -> tuple[str, list[Change]]:
        asks = isinstance(request.command, Query)
        done = (replicated.core.ask if asks else replicated.core.submit)(1, [("token", request)])
        records.extend(done.records)
        ((_, reply),) = [*done.replies, *done.settled_replies]
        return str(reply.text()), [*done.changes, *done.settled_changes]

    def say(replicated: Any, who: str, line: str) -> tuple[str, list[Change]]:
        request = grammar.parse(line.encode(), Person(who))
        assert isinstance(request, Request)
        return step(replicated, request)

    step(first, Request(Advance(NINE)))
    sent, told = say(first, "alice", "@phone:1 send --priority urgent bob hello")
    assert [(change.person, change.reply.__struct_config__.tag) for change in told] == [("bob", "arrived")]
    assert say(first, "bob", "read 1")[1] == []

    again = make_core(service, "a", disk="disk")
    recovered = again.core.recover(0, Recovered(b"", 1, tuple(records), False))
    assert [*recovered.changes, *recovered.settled_changes] == [], "what was told once is not told again"
    assert again.machine.digest() == first.machine.digest()
    assert say(again, "alice", "@phone:1 send --priority urgent bob hello") == (sent, [])
    assert say(again, "bob", "unread")[0] == "0 unread."
    repeated = step(again, Request(Advance(NINE + 300_000)))[1]
    assert [(change.person, change.reply.repeats) for change in repeated] == [("bob", 1)]  # type: ignore[attr-defined]
