"""Notices on their way between real nodes: from each protocol to each, whatever is down, and from nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.kernel.postbox import Letter
from tests.server.post_offices import Offices, apps, run
from tests.waiting import until

from holdfast.kernel.notices import TEXT_MAX, Notice, Outbox, TakeNotices
from holdfast.server.calls import Calls
from holdfast.server.notices.messages import CHANNEL, Answered, Carried, decode, encode

__all__ = ["apps"]
pytestmark = pytest.mark.usefixtures("apps")


def service(app: str, protocol: str, nodes: str, *more: str) -> list[str]:
    """The lines of a service."""
    names = ", ".join(f'"{node}"' for node in nodes)
    return [f'app = "{app}"', f'protocol = "{protocol}"', f"nodes = [{names}]", *more]


QUICK = {"bayou": ("sync_seconds = 0.1",)}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("solo", "solo"),
        ("lamport", "lamport"),
        ("bayou", "lamport"),
        ("lamport", "bayou"),
        ("bayou", "bayou"),
        ("sequencer", "lamport"),
        ("bayou", "sequencer"),
    ],
)
def test_from_one_service_to_another_on_other_nodes(tmp_path: Path, source: str, target: str) -> None:
    places = {"solo": ("a", "d")}
    bell = service("bell", source, places.get(source, ("abc", ""))[0], *QUICK.get(source, ()))
    post = service("postbox", target, places.get(target, ("", "cd"))[1], *QUICK.get(target, ()))
    offices = Offices(tmp_path, "abcd", {"bell": bell, "post": post})

    async def story(offices: Offices) -> None:
        for number in range(5):
            await offices.ring("a", f"p{number}")
        await offices.all_arrived("d", source="a")
        await offices.ring("a", "one-more")
        await offices.all_arrived("d", source="a")

    run(offices, story)


def test_on_one_node_alone_they_go_from_replica_to_replica(tmp_path: Path) -> None:
    services = {"bell": service("bell", "solo", "a"), "post": service("postbox", "solo", "a")}
    offices = Offices(tmp_path, "a", services)

    async def story(offices: Offices) -> None:
        assert offices.nodes["a"].datagrams is None
        await offices.ring("a", "ann")
        await offices.all_arrived("a", source="a")
        assert offices.status("a", "bell")["counters"]["notices_carried"] == 1
        assert offices.status("a", "post")["notices_waiting"] == 0

    run(offices, story)


def test_a_hundred_long_ones_get_through(tmp_path: Path) -> None:
    services = {"bell": service("bell", "solo", "a"), "post": service("postbox", "lamport", "bc")}
    offices = Offices(tmp_path, "abc", services)

    async def story(offices: Offices) -> None:
        for number in range(100):
            offices.nodes["a"].drivers["bell"].machine._notify(f"n{number}", "ö" * TEXT_MAX)
        await offices.ring("a", "last")
        offices.rung[:0] = [f"n{number}" for number in range(100)]
        await offices.all_arrived("b", source="a")
        texts = [row.text for row in offices.nodes["b"].drivers["post"].machine.store.table(Letter)]
        assert texts.count("ö" * TEXT_MAX) == 100

    run(offices, story)


def test_without_a_receiver_they_wait_and_a_status_says_so(tmp_path: Path) -> None:
    services = {"bell": service("bell", "solo", "a"), "post": service("postbox", "solo", "b")}
    offices = Offices(tmp_path, "ab", services)

    async def story(offices: Offices) -> None:
        await offices.ring("a", "ann")
        await until(lambda: offices.status("a", "bell")["notices_complaint"])
        assert offices.status("a", "bell")["notices_waiting"] == 1
        await offices.ring("a", "bob")
        offices.start("b")
        await offices.all_arrived("b", source="a")
        assert offices.status("a", "bell")["notices_complaint"] == ""

    run(offices, story, start="a")


def test_another_node_of_the_receiver_is_tried_and_another_of_the_source_carries(tmp_path: Path) -> None:
    services = {"bell": service("bell", "lamport", "abc"), "post": service("postbox", "lamport", "cde")}
    offices = Offices(tmp_path, "abcde", services)

    async def story(offices: Offices) -> None:
        await offices.ring("b", "ann")
        await offices.all_arrived("e", source="b")
        await offices.end("a", "c")
        await offices.ring("b", "bob")
        await offices.ring("b", "eve")
        await offices.all_arrived("e", source="b")
        assert offices.status("b", "bell")["counters"]["notices_carried"] >= 2
        await offices.ring("b", "joe")
        await offices.all_arrived("d", source="b")

    run(offices, story)


def test_a_front_end_without_a_state_asks_what_there_is(tmp_path: Path) -> None:
    roles = ('front_ends = ["a"]', 'sequencers = ["b"]', 'managers = ["b", "c", "d"]')
    services = {"bell": service("bell", "sequencer", "abcd", *roles), "post": service("postbox", "solo", "d")}
    offices = Offices(tmp_path, "abcd", services)

    async def story(offices: Offices) -> None:
        await offices.ring("a", "ann")
        await until(lambda: offices.letters("d") == ["ann"])
        await until(lambda: offices.status("b", "bell")["notices_waiting"] == 0)
        assert offices.status("a", "bell")["counters"]["notices_carried"] == 1
        assert "notices_carried" not in offices.status("b", "bell")["counters"]

    run(offices, story)


def test_what_one_replica_alone_believes_is_not_carried(tmp_path: Path) -> None:
    services = {"bell": service("bell", "sequencer", "abc"), "post": service("postbox", "solo", "d")}
    offices = Offices(tmp_path, "abcd", services)

    async def story(offices: Offices) -> None:
        await offices.ring("a", "ann")
        await until(lambda: offices.letters("d") == ["ann"])
        wrong = offices.nodes["a"].drivers["bell"].machine
        wrong.store.table(Outbox).put(Outbox(0, 1, 40))
        wrong.store.table(Notice).put(Notice(41, "eve", "nobody has said so"))
        assert wrong.notice_first == 41
        await offices.ring("b", "bob")
        await until(lambda: len(offices.letters("d")) >= 2)
        await until(lambda: offices.status("b", "bell")["notices_waiting"] == 0)
        assert offices.letters("d") == ["ann", "bob"]

    run(offices, story)


def test_a_service_may_be_called_notices_too(tmp_path: Path) -> None:
    services = {"notices": service("bell", "sequencer", "abc"), "post": service("postbox", "solo", "d")}
    offices = Offices(tmp_path, "abcd", services)

    async def story(offices: Offices) -> None:
        await offices.ring("a", "ann", "notices")
        await until(lambda: offices.letters("d") == ["ann"])

    run(offices, story)


def test_a_link_is_made_to_no_node_that_has_nothing_else_in_common(tmp_path: Path) -> None:
    services = {"bell": service("bell", "solo", "a"), "post": service("postbox", "lamport", "bc")}
    offices = Offices(tmp_path, "abc", services)

    async def story(offices: Offices) -> None:
        await offices.ring("a", "ann")
        await offices.all_arrived("c", source="a")
        assert offices.nodes["a"].links.counters["dials"] == 0
        assert offices.nodes["b"].links.connected("c")

    run(offices, story)


# -- Who may bring them


@pytest.mark.parametrize("source", ["bell", "post", "nobody"])
def test_a_node_brings_only_what_is_served_there(tmp_path: Path, source: str) -> None:
    """Node c has a replica of the chimes; it speaks for the bells, for the receiver itself, for nobody known."""
    services = {
        "bell": service("bell", "solo", "a"),
        "chime": service("bell", "solo", "c"),
        "post": service("postbox", "solo", "b"),
    }
    offices = Offices(tmp_path, "abc", services)

    async def story(offices: Offices) -> None:
        await offices.ring("c", "ann", "chime")
        await until(lambda: offices.letters("b") == ["ann"])
        taker, bringer = offices.nodes["b"], offices.nodes["c"].datagrams
        assert taker.datagrams is not None
        assert bringer is not None
        before = taker.datagrams.counters["malformed"]
        bad = Carried(1, TakeNotices(source, 5, 1, (("bob", "not mine to tell"),)))
        bringer.send("b", f"{CHANNEL}/post", encode(bad))
        bringer.send("b", f"{CHANNEL}/post", b"no message at all")
        bringer.send("b", f"{CHANNEL}/other", encode(bad))
        taker.datagrams.send("a", f"{CHANNEL}/post", encode(bad))  # where nobody takes any
        await until(lambda: taker.datagrams and taker.datagrams.counters["malformed"] == before + 3)
        other = offices.nodes["a"].datagrams
        assert other is not None
        await until(lambda: other.counters["malformed"] == 1)
        await offices.ring("c", "eve", "chime")
        await until(lambda: offices.letters("b") == ["ann", "eve"])

    run(offices, story)


def test_what_is_asked_again_while_the_answer_takes_long_is_done_once(tmp_path: Path) -> None:
    services = {"bell": service("bell", "solo", "a"), "post": service("postbox", "solo", "b")}
    offices = Offices(tmp_path, "ab", services)

    async def story(offices: Offices) -> None:
        answers: list[Answered] = []
        datagrams = offices.nodes["a"].datagrams
        assert datagrams is not None

        def hear(node: str, channel: str, payload: bytes) -> None:
            answer = decode(payload)
            assert isinstance(answer, Answered)
            answers.append(answer)

        datagrams.handlers[CHANNEL] = hear
        await until(lambda: all(node.datagrams and node.datagrams._socket for node in offices.nodes.values()))
        driver = offices.nodes["b"].drivers["post"]
        commands = driver.counters["commands"]
        question = encode(Carried(7, TakeNotices("bell", 5, 1, (("ann", "ding"),))))
        for _ in range(20):
            datagrams.send("b", f"{CHANNEL}/post", question)
        await until(lambda: answers)
        assert answers[0].reply.text() == "The notices up to 1 are in."
        assert driver.counters["commands"] < commands + 20
        assert offices.letters("b") == ["ann"]

    run(offices, story)


def test_a_question_ends_when_its_node_is_gone() -> None:
    async def story() -> None:
        sent: list[str] = []
        calls = Calls(lambda node, message: sent.append(node))
        asking = asyncio.create_task(calls.ask("b", lambda id: Carried(id, TakeNotices("bell", 5, 1, ())), 60.0))
        await until(lambda: sent)
        calls.gone("c")
        assert not asking.done()
        calls.gone("b")
        assert await asking is None

    asyncio.run(story())
