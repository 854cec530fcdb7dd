"""L. Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System", CACM 21(7), 1978:
its clauses by name, each shown on the servers that run it. Page numbers are the paper's."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.replication.lamport.servers import Servers

from holdfast.kernel.machine import Machine
from holdfast.kernel.stamps import LamportStamp
from holdfast.replication.lamport import Lamport, LamportConfiguration
from holdfast.replication.lamport.messages import ReleaseResource, RequestResource

EXAMPLES = settings().max_examples // 4
"""Each starts three servers."""

Stamp = tuple[int, int]

stamps = st.builds(LamportStamp, st.integers(0, 5), st.integers(0, 3))


class Observed(Lamport):
    """A server that is watched: `requests` holds each request with those its server knew of when it made it."""

    requests: ClassVar[dict[Stamp, set[Stamp]]] = {}

    def __init__(self, machine: Machine, configuration: LamportConfiguration) -> None:
        super().__init__(machine, configuration)
        request = self.exclusion.request

        def observed(requests: Any, tokens: Any) -> None:
            known = {*self.replica.queue, *((time, server) for time, server, _ in self.replica.history)}
            request(requests, tokens)
            self.requests[(self.exclusion.requested, self.replica.me)] = known

        self.exclusion.request = observed  # type: ignore[method-assign]


def granted(servers: Servers, name: str) -> list[Stamp]:
    """The requests that were granted, as this server saw it: each was made, and over, before the next."""
    return [(time, server) for time, server, _ in servers.core(name).replica.history]


@pytest.fixture
def three() -> Servers:
    servers = Servers("a b c", seats=1000)
    servers.start_all()
    return servers


def queue(servers: Servers, name: str) -> list[Stamp]:
    return list(servers.core(name).replica.queue)


# -- Page 560, the clock condition


@settings(max_examples=EXAMPLES)
@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=8))
def test_ir1_each_process_increments_its_clock_between_successive_events(order: list[str]) -> None:
    servers = Servers("a b c", seats=1000)
    servers.start_all()
    servers.lines.clear()
    for number, name in enumerate(order):
        servers.submit(name, f"reserve guest{number} 1")
    servers.deliver_all()
    for name in "abc":
        times = []
        for kind in ("RequestResource", "Acknowledge", "ReleaseResource"):
            texts = [text for said, text in servers.lines if said == kind and text.startswith(f"{name} -> ")]
            events = dict.fromkeys(text.split(" ", 3)[3] for text in texts)
            of_kind = [int(event.split("time=")[1].split()[0]) for event in events]
            assert of_kind == sorted(of_kind)
            times += of_kind
        assert len(times) == len(set(times)), "two events at the same time"


def test_ir2_a_received_stamp_moves_the_clock_beyond_it(three: Servers) -> None:
    for number in range(5):
        three.submit("a", f"reserve guest{number} 1")
        three.deliver_all()
    behind = three.core("b").replica
    three.submit("a", "reserve late 1")
    three.deliver("a", "b")
    time, _ = three.core("a").replica.queue[-1]
    assert behind.clock > time


# -- Page 561, ordering the events totally


@given(stamps, stamps, stamps)
def test_the_relation_is_a_total_order_and_the_number_of_the_process_breaks_ties(
    one: LamportStamp, two: LamportStamp, three: LamportStamp
) -> None:
    assert (one < two) + (two < one) + (one == two) == 1
    assert not (one < two < three) or one < three
    assert (one < two) == (one.time < two.time or (one.time == two.time and one.server < two.server))


def test_requests_with_equal_times_stand_in_every_queue_in_the_order_of_their_servers(three: Servers) -> None:
    for name in "cba":
        three.submit(name, f"reserve {name} 1")
    for one, other in ("ab", "ac", "ba", "bc", "ca", "cb"):
        three.deliver(one, other)
    assert [queue(three, name) for name in "abc"] == [[(1, 0), (1, 1), (1, 2)]] * 3


# -- Page 561, the five rules


def test_rule_1_to_request_the_resource_a_process_sends_the_stamped_request_to_every_other_and_queues_it(
    three: Servers,
) -> None:
    core = three.core("a")
    step = core.submit(three.now_us, [("token", three.grammar.parse(b"reserve bob 3"))])
    assert [(peer, type(message), message.time) for peer, message in step.data] == [
        (1, RequestResource, 1),
        (2, RequestResource, 1),
    ]
    assert core.replica.queue == [(1, 0)]


def test_rule_2_who_receives_a_request_queues_it_and_sends_an_acknowledgement_stamped_later(three: Servers) -> None:
    request = RequestResource(64, 7, 0, Machine(three.app()).encode([three._request("reserve bob 3")]))
    three._input(three["b"], "receive", 0, request)
    assert queue(three, "b") == [(7, 0)]
    acknowledgements = [text for kind, text in three.lines if kind == "Acknowledge"]
    assert acknowledgements == ["b -> a Acknowledge time=8 upto=7:a", "b -> c Acknowledge time=8 upto=7:a"]


def granted_to_a(three: Servers) -> None:
    """a requests, all acknowledge, and a knows it."""
    three.submit("a", "reserve bob 3")
    for name in "bc":
        three.deliver("a", name)
        three.deliver(name, "a")


def test_rule_3_to_release_the_resource_a_process_removes_its_request_and_sends_a_stamped_release(
    three: Servers,
) -> None:
    granted_to_a(three)
    assert queue(three, "a") == []
    three.submit("a", "reserve eve 1")
    releases = [text for kind, text in three.lines if kind == "ReleaseResource"]
    assert releases == ["a -> b ReleaseResource time=4 upto=1:a", "a -> c ReleaseResource time=4 upto=1:a"]


def test_rule_4_who_receives_a_release_removes_that_request_from_its_queue(three: Servers) -> None:
    granted_to_a(three)
    assert queue(three, "b") == [(1, 0)]
    replica = three.core("b").replica
    three._input(three["b"], "receive", 0, ReleaseResource(replica.epoch, 9, 1, 0, 1))
    assert queue(three, "b") == []
    assert queue(three, "c") == [(1, 0)]
    assert three.core("a").replica.machine.digest() == replica.machine.digest()


def test_rule_5_i_a_process_is_not_granted_the_resource_before_its_request_is_the_first_on_its_queue(
    three: Servers,
) -> None:
    three.submit("a", "reserve ann 1")
    three.submit("b", "reserve bob 1")
    three.deliver("a", "b")
    for name in "ac":
        three.deliver("b", name)
    for name in "ac":
        while three.channels[three[name].number, 1]:
            three.deliver(name, "b")
    core = three.core("b")
    assert all(core.exclusion.on_disk[server][1] >= 1 for server in (0, 1, 2))
    assert queue(three, "b") == [(1, 0), (1, 1)]
    assert not core.exclusion.granted()
    assert three.told("reserve bob 1") == []
    three.deliver_all()
    assert three.told("reserve bob 1") == ["The seats have been reserved for bob: 2."]


@pytest.mark.parametrize("late", ["b", "c"])
def test_rule_5_ii_nor_before_every_other_process_has_sent_something_stamped_later(three: Servers, late: str) -> None:
    early = "c" if late == "b" else "b"
    three.submit("a", "reserve bob 1")
    three.deliver("a", early)
    three.deliver(early, "a")
    assert not three.core("a").exclusion.granted()
    assert three.replies == []
    three.deliver("a", late)
    three.deliver(late, "a")
    assert three.told("reserve bob 1") == ["The seats have been reserved for bob: 1."]


def test_rule_5_is_tested_locally_by_every_process_and_any_may_be_granted(three: Servers) -> None:
    for name in "abc":
        three.submit(name, f"reserve {name} 1")
        three.deliver_all()
        assert three.told(f"reserve {name} 1")[0].startswith("The seats have been reserved")


# -- Page 560, conditions I to III, in any schedule

pairs = [(one, other) for one in "abc" for other in "abc" if one != other]
acts = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from("abc")), st.tuples(st.just("deliver"), st.sampled_from(pairs))
)


def played(schedule: list[Any]) -> Servers:
    """Requests and deliveries in the given order, then everything is delivered."""
    Observed.requests.clear()
    servers = Servers("a b c", seats=1000, core=Observed)
    servers.start_all()
    for number, (act, what) in enumerate(schedule):
        if act == "submit":
            servers.submit(what, f"reserve guest{number} 1")
        else:
            servers.deliver_any(*what)
    servers.deliver_all()
    return servers


@settings(max_examples=EXAMPLES)
@given(st.lists(acts, max_size=60))
def test_condition_i_who_is_granted_the_resource_releases_it_before_it_is_granted_to_another(
    schedule: list[Any],
) -> None:
    servers = played(schedule)
    assert granted(servers, "a") == granted(servers, "b") == granted(servers, "c")
    assert len(set(granted(servers, "a"))) == len(granted(servers, "a"))
    assert len({servers.core(name).replica.machine.digest() for name in "abc"}) == 1


@settings(max_examples=EXAMPLES)
@given(st.lists(acts, max_size=60))
def test_condition_ii_requests_are_granted_in_the_order_in_which_they_are_made(schedule: list[Any]) -> None:
    order = granted(played(schedule), "a")
    place = {stamp: index for index, stamp in enumerate(order)}
    assert all(place[before] < place[stamp] for stamp, known in Observed.requests.items() for before in known)
    assert order == sorted(order)


@settings(max_examples=EXAMPLES)
@given(st.lists(acts, max_size=60))
def test_condition_iii_every_request_is_eventually_granted(schedule: list[Any]) -> None:
    servers = played(schedule)
    assert granted(servers, "c") == sorted(Observed.requests)
    submitted = [f"reserve guest{number} 1" for number, (act, _) in enumerate(schedule) if act == "submit"]
    assert all(len(servers.told(line)) == 1 for line in submitted)
    assert [queue(servers, name) for name in "abc"] == [[], [], []]


# -- Page 560, what is assumed of the channels: order and delivery, kept here by the servers themselves

faults = st.lists(
    st.tuples(st.sampled_from(["drop", "swap", "repeat", "deliver"]), st.sampled_from(pairs)), max_size=40
)


@settings(max_examples=EXAMPLES)
@given(faults)
def test_the_order_of_messages_and_their_delivery_are_made_good_where_the_channel_breaks_them(
    mishaps: list[tuple[str, tuple[str, str]]],
) -> None:
    servers = Servers("a b c", seats=1000)
    servers.start_all()
    lines = [(name, f"reserve {name}{number} 1") for number in range(3) for name in "abc"]
    for name, line in lines:
        servers.submit(name, line)
    for mishap, (one, other) in mishaps:
        channel = servers.channels[servers[one].number, servers[other].number]
        if not channel:
            continue
        if mishap == "drop":
            channel.popleft()
        elif mishap == "swap":
            channel.rotate(1)
        elif mishap == "repeat":
            channel.append(channel[0])
        else:
            servers.deliver_any(one, other)
    servers.wait(2_000_000)
    assert all(len(servers.told(line)) == 1 for _, line in lines)
    assert len({servers.core(name).replica.machine.digest() for name in "abc"}) == 1
    assert servers.core("a").replica.position >= 6


def test_a_release_of_the_old_order_says_nothing_in_the_new_one(three: Servers) -> None:
    three.submit("a", "reserve bob 1")
    three.deliver("a", "b")
    late = ReleaseResource(three.core("b").replica.epoch - 1, 9, 1, 0, 1)
    three.core("b").receive(three.now_us, 0, late)
    assert queue(three, "b") == [(1, 0)]
