"""Whatever a peer sends is taken in, or dropped and counted, or stops the node with a reason: it never raises."""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.replication.sequencer.nodes import Nodes

from holdfast.apps.tickets import Reserve
from holdfast.kernel.contracts import Request
from holdfast.replication.sequencer import Sequencer
from holdfast.replication.sequencer.messages import (
    CONTROL,
    DigestAt,
    Message,
    NeedCopy,
    Order,
    Recall,
    Restored,
    Run,
    Silent,
    Split,
    StatePart,
    Submit,
    Told,
    Trust,
    Wrong,
    encode_control,
)

decode = msgspec.msgpack.Decoder(Sequencer.messages).decode
encode = msgspec.msgpack.Encoder().encode
EXAMPLES = settings().max_examples

numbers = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 9, 40, 2**40, 2**60])
peers = st.sampled_from([0, 1, 2, 3, 99, -1])
controls = st.one_of(
    st.builds(Wrong, peers, st.lists(numbers, max_size=4).map(tuple)),
    st.builds(Silent, peers, numbers),
    st.builds(DigestAt, peers, numbers, numbers, st.binary(max_size=16)),
    st.builds(NeedCopy, peers, numbers, st.text(max_size=3), st.booleans()),
    st.builds(Restored, peers, numbers, numbers),
    st.builds(Split, numbers, st.lists(peers, max_size=4).map(tuple)),
    st.builds(Trust, peers),
)
batches = st.one_of(
    st.binary(max_size=12),
    st.builds(lambda name: encode([Request(Reserve(name, 1))]), st.sampled_from(["ann", "bob"])),
    controls.map(encode_control),
)
runs = st.builds(
    Run, st.sampled_from([0, 1, 2, 3, 7]), peers, numbers, numbers, st.sampled_from([1, 1, 1, 2, 5]), batches
)


def of_kind(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, more often than not of some sense."""
    if get_origin(hint) is Annotated:
        return numbers
    if hint is Run:
        return runs
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if inner[-1] is Ellipsis:
            return st.lists(of_kind(inner[0]), max_size=3).map(tuple)
        return st.tuples(*(of_kind(each) for each in inner))
    kinds: dict[Any, st.SearchStrategy[Any]] = {
        int: peers,
        bool: st.booleans(),
        bytes: st.binary(max_size=20),
        str: st.sampled_from(["", "disk-a-1", "disk-c-1", "disk-c-2"]),
    }
    return kinds[hint]


def made(message: type[Message]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(message, include_extras=True)
    return st.builds(message, **{name: of_kind(hints[name]) for name in message.__struct_fields__})


received = st.one_of([made(message) for message in get_args(Sequencer.messages)])


def site() -> Nodes:
    nodes = Nodes("a b c", kept_numbers_max=3, digest_every=4)
    nodes.start_all()
    nodes.submit("a", "reserve ann 1")
    nodes.submit("b", "reserve bob 1")
    nodes.deliver_all()
    nodes.submit("a", "reserve cem 1")
    return nodes


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0, 1, 2]), received), min_size=1, max_size=6))
def test_no_message_raises_and_whatever_is_answered_can_be_sent(given: list[tuple[str, int, Any]]) -> None:
    nodes = site()
    for name, peer, message in given:
        server = nodes[name]
        if not server.runs or peer == server.number:
            continue
        step = server.core.receive(nodes.now_us, peer, decode(encode(message)))
        for _, answer in (*step.data, *step.promises):
            decode(encode(answer))
        if step.halt is not None:
            assert step.halt.code in ("invariant", "defect")
            assert step.halt.text
            nodes.crash(name)
        else:
            server.core.wake(nodes.now_us + 50_000)


@pytest.mark.parametrize(
    "message",
    [
        {"epoch": -1},
        {"first": 2**62},
        {"decided": 2**63},
        {"runs": [[0, 0, 1, 1, 0, b""]]},
        {"runs": [[0, 0, 1, 1, 2**20, b""]]},
    ],
    ids=str,
)
def test_numbers_out_of_all_bounds_are_no_message(message: dict[str, Any]) -> None:
    good = {"epoch": 1, "first": 1, "runs": [], "decided": 0}
    decode(encode(["order", *good.values()]))
    with pytest.raises(msgspec.ValidationError):
        decode(encode(["order", *(good | message).values()]))


def test_a_control_that_makes_no_sense_is_passed_over_by_all_alike() -> None:
    nodes = site()
    nodes.deliver_all()
    submitter = nodes.core("b").submitter
    submitter.submit(CONTROL, 1, b"\xc1")
    nodes.wait(100_000)
    assert [nodes.core(name).replica.state for name in "abc"] == ["right"] * 3
    assert any("passed over" in text for _, text in nodes.lines)


def test_requests_that_make_no_sense_are_answered_as_malformed_by_all_alike() -> None:
    nodes = site()
    nodes.deliver_all()
    core = nodes.core("b")
    core.submitter.submit(0, 2, b"\xc1\xc1")
    nodes.wait(100_000)
    assert len({nodes.core(name).machine.digest() for name in "abc"}) == 1
    assert not core.manager.council.replacements


def test_a_recall_of_everything_is_bounded() -> None:
    nodes = site()
    nodes.core("a").receive(nodes.now_us, 1, Recall(1, 1, 0, 2**60))


def test_submissions_in_the_name_of_another_get_no_number() -> None:
    nodes = site()
    nodes.deliver_all()
    sequencer = nodes.core("a")
    before = sequencer.sequencer.log.last
    sequencer.receive(nodes.now_us, 1, Submit((Run(0, 2, 2**59, 1, 1, b""),)))
    assert sequencer.sequencer.log.last == before


def test_what_is_told_of_replicas_that_are_not_there_is_dropped() -> None:
    nodes = Nodes("f a b c", front_ends="f", sequencers="abc", managers="abc")
    nodes.start_all()
    front = nodes.core("f")
    before = front.outlook.told
    for message in (
        Told(2**40, (0, 0)),
        Told(2**40, (0, 0, 0), copied=(0,)),
        Told(2**40, (0, 0, 0), suspected=(9,)),
        Told(2**40, (0, 0, 0), trusted=-2),
    ):
        front.receive(nodes.now_us, 1, message)
        assert front.outlook.told == before
    assert front.shared.malformed == 4
    front.receive(nodes.now_us, 0, Told(2**40, (0, 0, 0)))  # of one that manages no replica
    assert front.outlook.told == before


def test_parts_of_a_state_that_nobody_asked_for_are_dropped() -> None:
    nodes = site()
    nodes.core("a").receive(nodes.now_us, 1, StatePart(3, 0, b"x", True))
    assert nodes.core("a").manager.copying.taking is None


def test_an_order_of_an_epoch_that_is_over_is_refused() -> None:
    nodes = site()
    nodes.deliver_all()
    step = nodes.core("b").receive(nodes.now_us, 2, Order(1, 1, (), 0))
    assert [type(message).__name__ for _, message in step.data] == ["Refused"]
