"""Whatever a peer sends, it is a message that is taken in or one that is dropped and counted: never an exception."""

from __future__ import annotations

from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.replication.bayou.replicas import SECOND_US, Replicas

from holdfast.kernel.contracts import Vector
from holdfast.kernel.errors import MalformedInput
from holdfast.replication.bayou import Bayou, messages
from holdfast.replication.bayou.messages import (
    CREATION,
    RETIREMENT,
    Creation,
    Have,
    Name,
    Proposal,
    Retirement,
    Updates,
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


def several(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(strategy, max_size=3).map(tuple)


KINDS: dict[Any, st.SearchStrategy[Any]] = {
    int: numbers,
    str: names,
    bool: st.booleans(),
    bytes: st.binary(max_size=20),
    Name: st.tuples(names, numbers),
    Vector: several(st.tuples(names, numbers)),
    tuple[int, ...]: several(numbers),
    tuple[tuple[int, int], ...]: several(st.tuples(numbers, numbers)),
    tuple[Write, ...]: several(writes),
    tuple[Proposal, ...]: several(st.tuples(numbers, writes)),
}
FIELDS = {"primary": st.sampled_from([0, 1, 2, 99, -1]), "ms": times, "yours_ms": times, "unix_ms": times}


def made(message: Any) -> st.SearchStrategy[Any]:
    """Messages of one kind: each field of its type, and more often than not of some sense."""
    hints = get_type_hints(message)
    fields = {name: FIELDS[name] if name in FIELDS else KINDS[hints[name]] for name in message.__struct_fields__}
    return st.builds(message, **fields)


KINDS[Updates] = made(Updates)
KINDS[Have] = made(Have)
received = st.one_of([made(message) for message in Bayou.messages.__args__])


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
def test_no_message_raises_an_exception_or_spoils_the_journal(sent: list[tuple[str, Any]], has_voters: bool) -> None:
    """At worst, where voters contradict what is confirmed, the replica stops, and says so."""
    replicas = site(voters=("biology", "law", "music") if has_voters else ())
    music = replicas["music"]
    for source, message in sent:
        replicas.hear("music", source, message)
        if music.runs:
            replicas.ask("music", "schedule 2026-12-01")
    halts = [text for kind, text in replicas.lines if kind == "halt"]
    assert all(text.startswith("music halts (invariant)") for text in halts)
    if music.runs:
        replicas.crash("music")
    replicas.restart("music")
    assert music.halted == "", "what it has journaled it can read"


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
        Write(5, "", "nobody", 1, encode(Creation("nobody", "music", ())), CREATION),
    ],
    ids=[
        "nobody's",
        "a gap",
        "of a kind of tomorrow",
        "no creation",
        "no retirement",
        "too long",
        "before time",
        "its own creation",
    ],
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
