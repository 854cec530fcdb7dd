"""Every node tells how the replicas stand, whatever its roles: who is suspected by name, and what was replaced."""

from __future__ import annotations

from typing import Any

import pytest
from tests.replication.sequencer.nodes import Nodes

from holdfast.client.votes import vote_remarks
from holdfast.replication.sequencer.messages import Told
from holdfast.replication.sequencer.outlook import INQUIRE_US


def site() -> Nodes:
    nodes = Nodes("f s a b c", front_ends="f", sequencers="s", managers="abc")
    nodes.start_all()
    return nodes


def votes(nodes: Nodes, name: str) -> str:
    """What the node says to an operator."""
    nodes.replies.clear()
    nodes.ask(name, "votes")
    (text,) = nodes.told("votes")
    return text


def replaced(nodes: Nodes) -> None:
    """c's replica answers wrongly, three times, and is replaced."""
    nodes.submit("c", "fault wrong")
    for number in range(3):
        nodes.submit("f", f"reserve p{number} 1")
        nodes.wait(50_000)
    nodes.wait(1_000_000)


@pytest.mark.parametrize("name", ["f", "s", "a"])
def test_what_was_replaced_is_known_everywhere(name: str) -> None:
    nodes = site()
    assert "0 replicas replaced" in votes(nodes, name)
    replaced(nodes)
    text = votes(nodes, name)
    assert "1 replicas replaced, 0 restarted" in text
    assert "c right, life 1" in text
    assert nodes.core(name).status()["replacements"] == 1
    assert nodes.core(name).status()["position"] == nodes.core("a").manager.log.decided


@pytest.mark.parametrize("name", ["f", "s", "a"])
def test_who_is_suspected_is_told_by_name_everywhere(name: str) -> None:
    nodes = site()
    nodes.crash("c")
    nodes.submit("f", "reserve ann 1")
    nodes.wait(2_000_000)
    assert votes(nodes, name).endswith(" Suspected: c.")
    assert nodes.core(name).status()["suspected"] == ["c"]
    nodes.restart("c")
    nodes.wait(2_000_000)
    assert "Suspected" not in votes(nodes, name)


@pytest.mark.parametrize("name", ["f", "s", "a"])
def test_that_the_vote_cannot_decide_and_who_is_trusted_is_known_everywhere(name: str) -> None:
    nodes = site()
    for lost in ("b", "c"):
        nodes.disconnect("a", lost)  # no state comes from there
        nodes.submit(lost, "fault crash")
    nodes.wait(3_000_000)
    assert "trust NODE" in nodes.core(name).status()["waiting_for"]
    assert nodes.core(name).status()["votes"][1]["state"] == "copying"
    nodes.submit("b", "trust a")
    nodes.wait(1_000_000)
    assert votes(nodes, name).endswith(" Trusted: a.")
    assert nodes.core(name).status()["trusted"] == "a"
    assert nodes.core(name).status()["waiting_for"] == ""


def test_a_manager_that_is_gone_is_passed_over() -> None:
    nodes = site()
    replaced(nodes)
    before = nodes.core("f").outlook.told
    for gone in ("a", "b"):
        nodes.crash(gone)
    nodes.restart("a")
    nodes.submit("f", "reserve ann 1")
    nodes.wait(3 * INQUIRE_US + 100_000)
    assert nodes.core("f").outlook.told.position > before.position


def test_what_is_older_is_not_believed() -> None:
    nodes = site()
    replaced(nodes)
    core = nodes.core("f")
    newest = core.outlook.told
    core.receive(nodes.now_us, 2, Told(newest.position - 1, (0, 0, 0)))
    assert core.outlook.told == newest


def test_the_status_of_a_site_tells_it_though_only_the_front_end_has_answered() -> None:
    class Node:
        def __init__(self, status: dict[str, Any]) -> None:
            self.services = [{"service": "tickets", **status}]

    nodes = site()
    nodes.crash("c")
    nodes.submit("f", "reserve ann 1")
    nodes.wait(2_000_000)
    lines = vote_remarks([Node(nodes.core("f").status())])  # type: ignore[list-item]
    assert lines[0] == "tickets: the sequencer is s; suspected: c"
