"""Links of a site with a key: who cannot prove it gets no link, hears nothing, and disturbs nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from tests.runtime.test_links import Node, free_addresses, told

from holdfast.runtime import link as link_module
from holdfast.runtime.frames import frame
from holdfast.runtime.greeting import Ear, Hello, Knock, Proof, Refused, Word, spoken
from holdfast.runtime.proofs import KEYLESS, NONCE_BYTES, UNPROVED, Proofs, Role

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NONCE = bytes(range(NONCE_BYTES))
FRAME = frame(b"\x07tickets" + b"forged")


class Stranger:
    """A connection to a node that says whatever it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._ear = Ear()

    @classmethod
    async def to(cls, node: Node) -> Stranger:
        return cls(*await asyncio.open_connection(*node.address))

    def say(self, *words: Word, then: bytes = b"") -> None:
        self.writer.write(b"".join(map(spoken, words)) + then)

    async def hear(self) -> Word:
        data = b""
        while (word := self._ear.hear(data)) is None:
            data = await self.reader.read(1000)
            assert data, "the node has hung up"
        return word

    async def answer(self) -> Hello:
        word = await self.hear()
        assert isinstance(word, Hello)
        return word

    async def rest(self) -> bytes:
        """What else it hears until the node hangs up."""
        data: bytes = await self.reader.read()
        self.writer.close()
        return self._ear.rest + data


def proved(story: Callable[..., Awaitable[None]], *names: str, **options: Any) -> None:
    told(story, *names, secret=KEY, **options)


def undisturbed(a: Node, b: Node) -> None:
    """The link that stood still stands, and nobody has heard anything but what was sent on it."""
    assert a.events == [("b", "PeerConnected")]
    assert b.events == [("a", "PeerConnected")]
    assert a.links.counters["connects"] == b.links.counters["connects"] == 1
    assert a.heard == b.heard == []


@pytest.mark.parametrize("secret", [None, KEY])
def test_nodes_alike_link_and_say_the_first_frames_at_once(secret: bytes | None) -> None:
    async def story(a: Node, b: Node, c: Node) -> None:
        for node in (a, b, c):
            assert node.links.counters["unproved"] == node.links.counters["malformed"] == 0
            for other in "abc":
                assert other == node.name or node.links.send(other, "tickets", node.name.encode())
        for node in (a, b, c):
            others = sorted((other, "tickets", other.encode()) for other in "abc" if other != node.name)
            await node.until(lambda node=node, others=others: sorted(node.heard) == others)

    told(story, "a", "b", "c", secret=secret)


def test_what_is_sent_when_the_link_begins_to_stand_arrives() -> None:
    async def story() -> None:
        addresses = free_addresses("a", "b")
        a, b = (Node(name, addresses, secret=KEY) for name in "ab")
        for node, other in ((a, "b"), (b, "a")):
            node.links.on_event = lambda *_, node=node, other=other: node.links.send(other, "tickets", b"first")
            await node.listen()
        for node in (a, b):
            node.links.start()
        async with asyncio.timeout(10):
            await a.until(lambda: a.heard == [("b", "tickets", b"first")])
            await b.until(lambda: b.heard == [("a", "tickets", b"first")])
            await a.stop()
            await b.stop()

    uvloop.run(story())


@pytest.mark.parametrize(("key_a", "key_b"), [(KEY, OTHER_KEY), (KEY, None), (None, KEY)])
def test_nodes_with_different_keys_do_not_link_and_say_so_once(
    key_a: bytes | None, key_b: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        addresses = free_addresses("a", "b")
        a, b = Node("a", addresses, secret=key_a), Node("b", addresses, secret=key_b)
        for node in (a, b):
            await node.listen()
        a.links.start()
        async with asyncio.timeout(10):
            await a.until(lambda: a.links.counters["refusals"] > 3)
        assert a.links.counters["unproved"] + b.links.counters["unproved"] > 2
        assert a.events == b.events == []
        await a.stop()
        await b.stop()

    with caplog.at_level(logging.ERROR):
        uvloop.run(story())
    complaints = [record.getMessage() for record in caplog.records]
    assert len(complaints) == 2, "once for each side, not at every attempt"
    for text in complaints:
        assert "both nodes need the same site.key" in text
    assert "node a, link with b at" in "".join(complaints)


def test_a_stranger_who_greets_as_a_peer_hears_nothing_and_the_true_link_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(a: Node, b: Node) -> None:
        for _ in range(3):
            stranger = await Stranger.to(b)
            stranger.say(Hello("demo", "a", "b"), then=FRAME)
            assert await stranger.hear() == Refused(UNPROVED)
            assert await stranger.rest() == b""
        assert b.links.counters["unproved"] == 3
        undisturbed(a, b)
        assert b.links.send("a", "tickets", b"secret")
        await a.until(lambda: a.heard == [("b", "tickets", b"secret")])

    with caplog.at_level(logging.ERROR):
        proved(story, "a", "b")
    assert [record.getMessage() for record in caplog.records] == [
        f"node b, link with a caller from 127.0.0.1 as 'a': link refused: {UNPROVED}"
    ]


def a_wrong_proof(answer: Hello) -> Word:
    return Proof(Proofs(OTHER_KEY, "demo").make("hello", "a", "b", (NONCE, answer.nonce)))


def the_answer_sent_back(answer: Hello) -> Word:
    return Proof(answer.proof)


def _right(role: Role, speaker: str, to: str, *, site: str = "demo", turned: bool = False) -> Callable[[Hello], Word]:
    def proof(answer: Hello) -> Word:
        nonces = (answer.nonce, NONCE) if turned else (NONCE, answer.nonce)
        return Proof(Proofs(KEY, site).make(role, speaker, to, nonces))

    return proof


WRONG: list[Callable[[Hello], Word]] = [
    a_wrong_proof,
    the_answer_sent_back,
    lambda _: Proof(b""),
    lambda _: Proof(bytes(4000)),
    _right("hello", "b", "a"),
    _right("knock", "a", "b"),
    _right("answer", "a", "b"),
    _right("hello", "c", "b"),
    _right("hello", "a", "b", site="other"),
    _right("hello", "a", "b", turned=True),
    lambda _: Proof(Proofs(KEY, "demo").make("hello", "a", "b", (NONCE, NONCE))),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_only_the_proof_for_these_nonces_this_role_and_direction_will_do(wrong: Callable[[Hello], Word]) -> None:
    async def story(a: Node, b: Node) -> None:
        stranger = await Stranger.to(b)
        stranger.say(Hello("demo", "a", "b", NONCE))
        answer = await stranger.answer()
        assert len(answer.nonce) == NONCE_BYTES
        stranger.say(wrong(answer), then=FRAME)
        assert await stranger.hear() == Refused(UNPROVED)
        assert await stranger.rest() == b""
        assert b.links.counters["unproved"] == 1
        undisturbed(a, b)

    proved(story, "a", "b")


def test_the_right_proof_replaces_the_link_and_a_recording_of_it_does_not() -> None:
    async def story(a: Node, b: Node) -> None:
        a.links._keepers[0].cancel()  # so that it does not take its link back
        twin = await Stranger.to(b)
        twin.say(Hello("demo", "a", "b", NONCE))
        answer = await twin.answer()
        assert Proofs(KEY, "demo").hold(answer.proof, "answer", "b", "a", (NONCE, answer.nonce))
        assert b.links.counters["connects"] == 1, "not before the proof"
        proof = _right("hello", "a", "b")(answer)
        twin.say(proof, then=FRAME)
        await b.until(lambda: b.heard == [("a", "tickets", b"forged")])
        assert b.links.counters["connects"] == 2
        again = await Stranger.to(b)
        again.say(Hello("demo", "a", "b", NONCE), proof, then=FRAME)
        assert (await again.answer()).nonce != answer.nonce
        assert await again.hear() == Refused(UNPROVED)
        assert await again.rest() == b""
        assert b.links.counters["connects"] == 2
        assert len(b.heard) == 1
        twin.writer.close()

    proved(story, "a", "b")


@pytest.mark.parametrize(
    "words",
    [
        (Hello("demo", "a", "b"),),
        (Hello("demo", "a", "b", b"short"),),
        (Hello("demo", "a", "b", bytes(3000)),),
        (Hello("demo", "a", "b", NONCE), Hello("demo", "a", "b", NONCE)),
        (Hello("demo", "a", "b", NONCE), Knock("demo", "a", "b", NONCE)),
        (Proof(bytes(32)),),
        (Hello("demo", "a", "b", NONCE), Refused("no")),
    ],
)
def test_words_out_of_their_order_end_the_connection_alone(words: tuple[Word, ...]) -> None:
    async def story(a: Node, b: Node) -> None:
        stranger = await Stranger.to(b)
        stranger.say(*words, then=FRAME)
        assert (await stranger.rest()).count(b"demo") <= 1, "one answer, whatever else is asked"
        counters = b.links.counters
        assert counters["unproved"] + counters["malformed"] + counters["refusals"] > 0
        undisturbed(a, b)

    proved(story, "a", "b")


@pytest.mark.parametrize("then", [FRAME, b"\xff" * 100_000, spoken(Proof(bytes(32)))[:-5] + b"\x00" * 9, b"find bob\n"])
def test_bytes_of_any_kind_in_place_of_the_proof_end_the_connection_alone(then: bytes) -> None:
    async def story(a: Node, b: Node) -> None:
        stranger = await Stranger.to(b)
        stranger.say(Hello("demo", "a", "b", NONCE), then=then)
        await stranger.answer()
        await b.until(lambda: b.links.counters["malformed"] + b.links.counters["unproved"] == 1)
        undisturbed(a, b)
        stranger.writer.close()

    proved(story, "a", "b")


def test_a_huge_word_is_refused_by_its_length() -> None:
    async def story(a: Node, b: Node) -> None:
        stranger = await Stranger.to(b)
        stranger.say(Hello("demo", "a", "b", NONCE))
        await stranger.answer()
        stranger.say(then=spoken(Proof(bytes(100_000)))[:50])
        assert await stranger.rest() == b""
        assert b.links.counters["malformed"] == 1
        undisturbed(a, b)

    proved(story, "a", "b")


@pytest.mark.parametrize("length", [0, 20])
def test_a_proof_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    async def story(a: Node, b: Node) -> None:
        monkeypatch.setattr(link_module, "GREETING_TIMEOUT_S", 0.1)
        stranger = await Stranger.to(b)
        stranger.say(Hello("demo", "a", "b", NONCE))
        proof = spoken(_right("hello", "a", "b")(await stranger.answer()))
        stranger.say(then=proof[:length])
        assert await stranger.rest() == b""
        undisturbed(a, b)

    proved(story, "a", "b")


def test_a_slow_proof_is_taken() -> None:
    async def story(a: Node, b: Node) -> None:
        stranger = await Stranger.to(b)
        for byte in spoken(Hello("demo", "a", "b", NONCE)):
            stranger.say(then=bytes((byte,)))
            await stranger.writer.drain()
            await asyncio.sleep(0)
        for byte in spoken(_right("hello", "a", "b")(await stranger.answer())):
            assert b.links.counters["connects"] == 1
            stranger.say(then=bytes((byte,)))
            await stranger.writer.drain()
            await asyncio.sleep(0)
        await b.until(lambda: b.links.counters["connects"] > 1)
        stranger.writer.close()

    proved(story, "a", "b")


def test_a_knock_counts_only_with_its_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(a: Node, b: Node) -> None:
        for node in (a, b):  # whatever was said before the link stood is over
            await node.until(lambda node=node: len(node.links._connections) == 1)
        before = a.links.counters["knocks"]
        monkeypatch.setattr(link_module, "SETTLED_AFTER_S", -1.0)
        for words in ([Knock("demo", "b", "a")], [Knock("demo", "b", "a", NONCE), Proof(bytes(32))]):
            stranger = await Stranger.to(a)
            stranger.say(*words)
            await stranger.rest()
        assert a.links.counters["knocks"] == before
        assert a.links.counters["unproved"] == 2
        undisturbed(a, b)
        stranger = await Stranger.to(a)
        stranger.say(Knock("demo", "b", "a", NONCE))
        stranger.say(_right("hello", "b", "a")(await stranger.answer()))
        assert await stranger.hear() == Refused(UNPROVED), "a knock's proof is no link's"
        assert a.links.counters["knocks"] == before
        await b.links._try(b.links._peers["a"])  # as if b had no link
        await a.until(lambda: a.links.counters["knocks"] > before)
        await a.until(lambda: a.events[-2:] == [("b", "PeerDisconnected"), ("b", "PeerConnected")])
        await b.until(lambda: len(b.links._connections) == 1)  # the old one's end reaches it after the new one stands

    proved(story, "a", "b")


@pytest.mark.parametrize(
    "reply",
    [
        lambda _: Hello("demo", "b", "a"),
        lambda _: Hello("demo", "b", "a", NONCE, bytes(32)),
        lambda word: Hello(
            "demo", "b", "a", word.nonce, Proofs(KEY, "demo").make("hello", "a", "b", (word.nonce,) * 2)
        ),
        lambda word: Knock("demo", "b", "a", word.nonce),
        lambda _: Proof(bytes(32)),
    ],
)
def test_who_dials_says_nothing_before_the_other_side_has_proved_itself(reply: Callable[[Hello], Word]) -> None:
    """Somebody else listens at the address of b."""

    async def story() -> None:
        addresses = free_addresses("a", "b")
        a = Node("a", addresses, secret=KEY)
        after: list[bytes] = []

        async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            stranger = Stranger(reader, writer)
            stranger.say(reply(await stranger.answer()), then=FRAME)
            after.append(await stranger.rest())

        listener = await asyncio.start_server(pretend, *addresses["b"])
        a.links.start()
        async with asyncio.timeout(10):
            await a.until(lambda: len(after) > 1)
        assert set(after) <= {b"", spoken(Refused(UNPROVED))}
        assert a.links.counters["unproved"] + a.links.counters["malformed"] > 1
        assert a.events == a.heard == []
        listener.close()
        await a.stop()

    uvloop.run(story())


def test_a_node_without_a_key_says_that_it_has_none() -> None:
    async def story(a: Node, b: Node) -> None:
        stranger = await Stranger.to(b)
        stranger.say(Hello("demo", "a", "b", NONCE))
        assert await stranger.hear() == Refused(KEYLESS)
        undisturbed(a, b)
        stranger.writer.close()

    told(story, "a", "b")
