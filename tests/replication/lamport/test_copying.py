"""Copying the state, when something comes between two slices."""

from __future__ import annotations

from typing import Any

from tests.replication.lamport.servers import Servers

from holdfast.replication.lamport.messages import Fetch, StatePart


def behind(**options: Any) -> Servers:
    """c is down; a and b have gone on without it, and a remembers no batch."""
    servers = Servers("a b c", snapshot_rows_a_slice=4, **options)
    servers.start_all()
    servers.crash("c")
    servers.refuse("a", "c")
    servers.refuse("b", "c")
    servers.deliver_all()
    for line in ("reserve bob 3", "reserve eve 1", "reserve joe 1", "reserve ann 1"):
        servers.submit("a", line)
        servers.deliver_all()
    servers.core("a").replica.forget_history()
    return servers


def slices(servers: Servers) -> list[StatePart]:
    """The whole state of a, as c would fetch it."""
    parts: list[StatePart] = []
    message = Fetch(0, -1, 0)
    while not parts or not parts[-1].last:
        step = servers.core("a").receive(servers.now_us, 2, message)
        (part,) = (sent for _, sent in step.promises if isinstance(sent, StatePart))
        parts.append(part)
        message = Fetch(0, part.snapshot, part.index + 1)
    return parts


def hear(servers: Servers, name: str, source: int, message: Any) -> None:
    servers._input(servers[name], "receive", source, message)


def test_a_state_that_lies_behind_us_by_its_last_slice_is_not_taken() -> None:
    servers = behind()
    parts = slices(servers)
    servers.submit("b", "reserve ian 1")
    servers.deliver_all()
    servers.disconnect("a", "c")
    servers.disconnect("b", "c")
    servers.restart("c")
    for part in parts[:-1]:
        hear(servers, "c", 0, part)
    tail = servers.core("b").receive(servers.now_us, 2, Fetch(0, -1, 0)).promises[-1][1]
    hear(servers, "c", 1, tail)
    assert servers.core("c").replica.position == 5
    hear(servers, "c", 0, parts[-1])
    assert servers.core("c").replica.position == 5
    servers.connect("a", "c")
    servers.connect("b", "c")
    servers.deliver_all()
    servers.wait(1_000_000)
    assert [servers.core(name).replica.state for name in servers.names] == ["active"] * 3


def test_a_server_that_was_paused_amid_a_copy_begins_it_anew() -> None:
    """Its new start is a record of the same step that would begin the journal anew: two numbers for one place."""
    servers = behind(history_bytes_max=60)
    parts = slices(servers)
    servers.disconnect("a", "c")
    servers.disconnect("b", "c")
    servers.restart("c")
    for part in parts[:-1]:
        hear(servers, "c", 0, part)
    servers.now_us += 2_600_000
    hear(servers, "c", 0, parts[-1])
    assert servers.core("c").replica.number == servers["c"].disk.last
    for name in ("a", "b"):  # nobody else was paused
        servers.core(name).replica.now_us = servers.now_us
    servers.connect("a", "c")
    servers.connect("b", "c")
    servers.deliver_all()
    servers.wait(3_000_000)
    replicas = [servers.core(name).replica for name in servers.names]
    assert [(replica.state, replica.position) for replica in replicas] == [("active", 4)] * 3
    assert replicas[2].number == servers["c"].disk.last


def test_a_request_that_a_copied_log_has_left_out_is_never_made() -> None:
    """Made after all, by who goes on alone from this disk, it would stand behind later stamps."""
    servers = Servers("a b c")
    servers.start_all()
    servers.submit("c", "reserve ghost 1")  # its own disk alone ever holds it
    for name in ("a", "b"):
        servers.lose("c", name)
    servers.crash("c")
    servers.refuse("a", "c")
    servers.refuse("b", "c")
    servers.deliver_all()
    for line in ("reserve bob 3", "reserve eve 1"):
        servers.submit("a", line)
        servers.deliver_all()
    servers.disconnect("a", "c")
    servers.disconnect("b", "c")
    servers.restart("c")
    hear(servers, "c", 0, servers.core("a").receive(servers.now_us, 2, Fetch(0, -1, 0)).promises[-1][1])
    released = servers.core("c").replica.released
    assert servers.core("c").replica.position == 2
    for name in servers.names:
        servers.crash(name)
    servers.restart("c", accept_loss=True)
    servers.wait(6_000_000)
    replica = servers.core("c").replica
    assert (replica.state, replica.position, replica.released) == ("active", 2, released)
    servers.ask("c", "list")
    assert servers.told("list") == ["bob: 1,2,3; eve: 4"]
