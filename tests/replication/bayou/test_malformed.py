"""Whatever a peer sends, it is a message that is taken in or one that is dropped and counted: never an exception."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.replication.bayou.replicas import SECOND_US, Replicas

from holdfast.kernel.errors import MalformedInput
from holdfast.replication.bayou import Bayou, messages
from holdfast.replication.bayou.messages import (
    CREATION,
    RETIREMENT,
    Ask,
    Creation,
    Have,
    Retirement,
    StatePart,
    Store,
    Updates,
    Vow,
    Write,
    decode_record,
    encode,
)

decode = msgspec.msgpack.Decoder(Bayou.messages).decode
EXAMPLES = settings().max_examples // 2

names = st.sampled_from(["biology", "law", "music", "nobody", ""])
numbers = st.sampled_from([0, 1, 2, 3, 64, 65, 2**40, -1])
times = st.sampled_from([0, 1, 1_796_025_600_000, 1_796_025_600_001, 2**61, -5])
bodies = st.sampled_from(
    [b"", b"\x90", encode(Creation("x", "music", ("law",))), encode(Retirement("law")), encode(Retirement("nobody"))]
)
writes = st.builds(Write, times, st.just("Liam"), names, numbers, bodies, st.sampled_from([0, 1, 2, 3, -1]))
vectors = st.lists(st.tuples(names, numbers), max_size=3).map(tuple)
several = st.lists(writes, max_size=3).map(tuple)
commits = st.lists(st.tuples(names, numbers), max_size=3).map(tuple)
pairs = st.lists(st.tuples(numbers, numbers), max_size=2).map(tuple)
peers = st.sampled_from([0, 1, 2, 99, -1])
updates = st.builds(Updates, vectors, several, numbers, commits, pairs, numbers, peers, st.booleans(), st.booleans())
haves = st.builds(
    Have,
    replica=names,
    vector=vectors,
    csn=numbers,
    at=numbers,
    epoch=numbers,
    primary=peers,
    yours_ms=times,
    unix_ms=times,
    vowed=numbers,
)
proposals = st.lists(st.tuples(numbers, writes), max_size=3).map(tuple)
received = st.one_of(
    haves,
    updates,
    st.builds(messages.Request, updates),
    st.builds(messages.Reply, updates),
    st.builds(messages.Released, updates),
    st.builds(Ask, times, haves),
    st.builds(messages.Promise, times, numbers, haves, updates),
    st.builds(messages.Release, numbers),
    st.builds(StatePart, numbers, numbers, numbers, st.booleans(), st.binary(max_size=20)),
    st.builds(messages.StateNext, numbers, numbers, numbers),
    st.builds(Store, numbers, peers, numbers, proposals, numbers),
    st.builds(messages.Stored, numbers, numbers, st.booleans()),
    st.builds(messages.Claim, numbers, numbers),
    st.builds(Vow, numbers, numbers, numbers, proposals),
    st.builds(messages.ClaimRefused, numbers),
    st.builds(messages.Yield, numbers),
    st.builds(messages.Create, names, names),
    st.builds(messages.Created, names, names, numbers),
)


def book(hour: int) -> str:
    return f"reserve Maple 2026-12-01 {hour:02}:00 1h Meeting"


def site(**options: Any) -> Replicas:
    replicas = Replicas("biology law music", **options)
    replicas.submit("law", book(9))
    replicas.wait(SECOND_US)
    replicas.isolate("law", "music")
    replicas.submit("law", book(10))
    replicas.deliver_all()
    return replicas


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(st.sampled_from(["biology", "law"]), received), max_size=6), st.booleans())
def test_no_message_raises_an_exception(sent: list[tuple[str, Any]], has_voters: bool) -> None:
    replicas = site(voters=("biology", "law", "music") if has_voters else ())
    for source, message in sent:
        replicas.hear("music", source, message)
        replicas.ask("music", "schedule 2026-12-01")
    replicas.crash("music")
    replicas.restart("music")
    assert replicas["music"].halted == "", "what it has journaled it can read"


@given(st.binary(max_size=80))
def test_bytes_are_a_message_or_malformed(data: bytes) -> None:
    try:
        message = decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    assert type(message) in set(Bayou.messages.__args__)


@given(st.binary(max_size=80))
def test_bytes_are_a_record_or_malformed(data: bytes) -> None:
    try:
        record = decode_record(data)
    except MalformedInput:
        return
    assert type(record) in set(messages.AnyRecord.__args__)


@given(received)
def test_every_message_survives_the_wire(message: Any) -> None:
    assert decode(encode(message)) == message


BASIS = (("biology", 0), ("law", 0), ("music", 0))


@pytest.mark.parametrize(
    "write",
    [
        Write(5, "", "nobody", 1, b""),
        Write(5, "", "biology", 7, b""),
        Write(5, "", "biology", 1, b"", 9),
        Write(5, "", "biology", 1, b"nonsense", CREATION),
        Write(5, "", "biology", 1, b"nonsense", RETIREMENT),
        Write(5, "", "biology", 1, b" " * 70_000),
        Write(-5, "", "biology", 1, b""),
    ],
    ids=["nobody's", "a gap", "of a kind of tomorrow", "no creation", "no retirement", "too long", "before time"],
)
def test_a_write_that_makes_no_sense_is_dropped_counted_and_told(write: Write) -> None:
    replicas = site()
    core = replicas.core("music")
    before = (core.status(), core.replica.records_written)
    replicas.hear("music", "biology", Updates(BASIS, (write,), 0, (), (), 0, 0))
    assert core.replica.malformed == 1
    assert (core.status(), core.replica.records_written) == before
    assert any("music: dropped a Updates of biology" in text for kind, text in replicas.lines if kind == "event")


def test_a_command_of_tomorrow_is_the_same_refusal_everywhere() -> None:
    """It is in the log, and so it is executed, to a refusal; the log goes on."""
    replicas = Replicas("biology law music")
    replicas.isolate("biology")
    write = Write(1_796_025_600_500, "", "biology", 1, b"\x93\x91\xa5dance\x00\x00", 0)
    for name in ("law", "music"):
        replicas.hear(name, "biology", Updates(BASIS, (write,), 0, (), (), 0, 0))
    replicas.submit("law", book(9))
    replicas.wait(SECOND_US)
    replies = [entry.reply.text() for entry in replicas.log("music").tail]
    assert "does not decode" in replies[0]
    assert "is reserved" in replies[1]
    assert replicas.core("law").status()["full_digest"] == replicas.core("music").status()["full_digest"]
