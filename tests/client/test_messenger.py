"""Messengers on a real site of three nodes: what is sent arrives once and in order, on each device."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.client.messages_site import lines_about, messages_site, token_of
from tests.client.real_site import RealSite

from holdfast.client import (
    AsyncMessenger,
    Kept,
    LoginRefused,
    Messenger,
    Misuse,
    News,
    Refused,
    Sent,
)
from holdfast.client.messenger_folder import FolderInUse

WAIT_S = 20.0


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSite]:
    hospital = messages_site(tmp_path_factory.mktemp("hospital"))
    try:
        hospital.await_active()
        yield hospital
    finally:
        hospital.end()


Opens = Callable[..., Messenger]


@pytest.fixture
def opened(hospital: RealSite, tmp_path: Path) -> Iterator[Opens]:
    """Opens a messenger of a person, whose device lies in a folder of this test."""
    messengers: list[Messenger] = []

    def opens(person: str, device: str = "phone", **options: Any) -> Messenger:
        given = {"site": hospital.folder / "site.toml", "device": f"{tmp_path.name}-{device}", "from_now": True}
        folder = tmp_path / f"{person}-{device}"
        messengers.append(Messenger(person, **(given | {"folder": folder, "token": token_of(person)} | options)))
        return messengers[-1]

    yield opens
    for messenger in messengers:
        messenger.close()


def begun(messenger: Messenger) -> Messenger:
    """Once it hears what is sent from now on."""
    deadline = time.monotonic() + WAIT_S
    while messenger._messenger._folder.cursor is None:
        assert messenger.receive(0.01) is None
        assert time.monotonic() < deadline
    return messenger


def test_what_is_sent_arrives_as_it_was_and_in_order(opened: Opens) -> None:
    ann, bob = opened("ann"), begun(opened("bob"))
    texts = [
        "Room 12 is free.",
        "two\nlines\tand a tab",
        "👩🏽‍⚕️ \u200fשלום Zoe\u0308",
        "--priority",
        '"quoted" \\',
        "x" * 4000,
    ]
    sent = [ann.send("bob", text, f"on {place}", "urgent") for place, text in enumerate(texts)]
    received = [bob.receive(WAIT_S) for _ in texts]
    for place, (text, what, message) in enumerate(zip(texts, sent, received, strict=True)):
        assert isinstance(what, Sent)
        assert message is not None
        assert (message.text, message.sender, message.subject, message.priority) == (
            text,
            "ann",
            f"on {place}",
            "urgent",
        )
        assert (message.id, message.conversation, message.place) == (what.id, "ann+bob", what.place)
        assert message.sent_at.timestamp() * 1000 == message.sent_ms
    assert bob.receive(0.2) is None


def test_a_message_is_handed_out_again_only_if_its_reader_died(opened: Opens) -> None:
    ann, bob = opened("ann"), begun(opened("bob"))
    for number in range(5):
        ann.send("bob", f"m{number}")
    for message in bob:
        assert message.text == "m0"
        break
    bob.close()
    with opened("bob") as bob:
        assert bob.receive(WAIT_S).text == "m1"
        assert bob.receive(WAIT_S).text == "m2"
        bob.close(handled=False)  # as `with` does when it ends by an exception
    with opened("bob") as bob:
        assert [bob.receive(WAIT_S).text for _ in range(3)] == ["m2", "m3", "m4"]
    with opened("bob") as bob:
        assert bob.receive(0.5) is None


def test_each_device_has_its_own_place_and_the_service_knows_it(
    opened: Opens, until: Callable[..., None], tmp_path: Path
) -> None:
    ann = opened("ann")
    phone, desk = begun(opened("bob", reads=False)), begun(opened("bob", "desk", reads=False))
    sent = [ann.send("bob", f"m{number}") for number in range(250)]
    assert [phone.receive(WAIT_S).text for _ in sent] == [f"m{number}" for number in range(250)]
    last = ann.states(sent[-1])
    assert last.recipients[0].state == "stored"
    assert phone.receive(0.1) is None
    until(lambda: ann.states(sent[-1]).recipients[0].state == "delivered")
    assert [desk.receive(WAIT_S).text for _ in range(3)] == ["m0", "m1", "m2"]
    phone.close()
    desk.close()
    ends = {known.device: known.cursor for known in devices_of_bob(opened)}
    assert ends[phone.device] == ends[desk.device] + 247
    with opened("bob", "desk") as desk:
        assert desk.receive(WAIT_S).text == "m3"
    with opened("bob", "desk", folder=tmp_path / "lost", from_now=False) as found:
        assert found.receive(WAIT_S).text == "m4", "a device whose folder is lost goes on where it said it was"


def devices_of_bob(opened: Opens) -> list[Any]:
    with opened("bob", "other") as bob:
        return bob.devices()


def test_acknowledging_reading_and_deleting(opened: Opens, until: Callable[..., None]) -> None:
    news: list[News] = []
    ann, bob = opened("ann", on_news=news.append), begun(opened("bob", reads=False))
    begun(ann)
    sent = ann.send("bob", "Potassium is 5.9.", "bed 12", "urgent")
    message = bob.receive(WAIT_S)
    assert message is not None
    assert isinstance(sent, Sent)
    unread = bob.unread().total
    assert bob.acknowledge(message).sender == "ann"
    until(lambda: [told.type for told in news] == ["ack_heard"])
    assert news[0].reply["by"] == "bob"
    assert bob.unread().total == unread - 1
    assert bob.read(message.number).acked_ms == bob.read(message).read_ms > 0
    assert ann.states(sent).recipients[0].state == "acknowledged"
    assert lines_about(ann, sent) == [("bob", "ack")]
    assert ann.search("potassium bed").messages[0].id == sent.id
    ann.delete(sent)
    assert bob.read(message).is_deleted
    assert ann.history("bob").messages[-1].text == ""
    with pytest.raises(Misuse, match="one has sent it"):
        ann.read(ann.history("bob").messages[-1])


def test_what_was_handed_out_counts_as_read_and_the_log_says_so(opened: Opens, until: Callable[..., None]) -> None:
    ann, eve = opened("ann"), begun(opened("eve"))
    first, second, third = (ann.send("eve", f"m{number}") for number in range(3))
    assert eve.receive(WAIT_S).text == "m0"
    until(lambda: lines_about(ann, first) == [("eve", "read")])
    assert lines_about(ann, second) == [], "it was not handed out"
    (m0, m1, _) = eve.history("ann").messages[-3:]
    assert ((m0.text, m0.withheld), (m1.text, m1.withheld)) == (("m0", False), ("", True))
    assert eve.receive(WAIT_S).text == "m1"
    assert eve.report(WAIT_S)
    assert lines_about(ann, second) == [("eve", "read")]
    assert eve.receive(WAIT_S).text == "m2"
    eve.close()
    assert lines_about(ann, third) == [("eve", "read")], "also the last one, as the messenger ends"


def test_a_program_that_hands_messages_on_says_itself_what_was_read(opened: Opens) -> None:
    ann, eve = opened("ann"), begun(opened("eve", reads=False))
    first, second = (ann.send("eve", f"m{number}") for number in range(2))
    messages = [eve.receive(WAIT_S) for _ in range(2)]
    assert eve.report(WAIT_S)
    assert eve.inbox().messages[0].withheld
    eve.close()
    assert (lines_about(ann, first), lines_about(ann, second)) == ([], [])
    with opened("eve", reads=False) as eve:
        assert eve.seen(*messages) == eve.seen(messages[0].number, messages[1].number)
        assert lines_about(ann, first) == lines_about(ann, second) == [("eve", "read")]
        assert [message.text for message in eve.inbox()][:2] == ["m1", "m0"]
        assert eve.seen(7_000_000).missing == (7_000_000,)


def test_pages_groups_and_people(opened: Opens) -> None:
    ann, bob = opened("ann"), opened("bob")
    group = ann.make_group("#round", "bob")
    for number in range(60):
        bob.send(group, f"m{number}")
    heads = ann.inbox()
    assert [(message.text, message.withheld) for message in heads] == 50 * [("", True)]
    assert str(heads.messages[0]).endswith(f" bob: (not read yet: read {heads.messages[0].number})")
    numbers = range(heads.messages[0].number, heads.messages[0].number - 60, -1)
    assert ann.seen(*heads, *numbers).missing == ()
    page = ann.inbox()
    assert [message.text for message in page][:2] == ["m59", "m58"]
    assert len(page) == 50
    assert [message.text for message in ann.inbox(page.more_before)][:10] == [f"m{9 - number}" for number in range(10)]
    said = ann.history(group)
    assert [message.text for message in said] == [f"m{number}" for number in range(10, 60)]
    assert [message.text for message in ann.history(group, said.more_before)] == [f"m{number}" for number in range(10)]
    found = ann.search("m")
    assert ann.search("m", found.more_before).messages[0].sent_ms <= found.messages[-1].sent_ms
    assert [person.id for person in ann.who("ward3")] == ["ann", "bob", "eve"]
    ann.invite(group, "eve")
    assert next(seen.members for seen in bob.groups() if seen.group == group) == ("ann", "bob", "eve")
    bob.leave(group)
    with pytest.raises(Refused) as refused:
        bob.send(group, "still there?")
    assert refused.value.type == "no_such_conversation"
    assert bob.drafts == []


def test_what_is_refused_is_raised_and_not_kept(opened: Opens, hospital: RealSite, tmp_path: Path) -> None:
    ann = opened("ann")
    with pytest.raises(Refused, match="there is nobody with the id 'nobody'") as refused:
        ann.send("nobody", "Hello?")
    assert (refused.value.type, refused.value.reply) == ("no_such_person", {"person": "nobody"})
    for wrong in ("", " \n ", "x" * 4001, "\0", "\ud800"):
        with pytest.raises(Misuse):
            ann.send("bob", wrong)
    assert ann.drafts == []
    with pytest.raises(FolderInUse):
        opened("ann")
    for method in ("send", "receive"):
        with opened("eve", "stolen" + method, token="guessed") as eve, pytest.raises(LoginRefused):
            eve.send("bob", "I am eve") if method == "send" else eve.receive(WAIT_S)
        assert eve.drafts == []
    with pytest.raises(Misuse, match="unknown option 'devise'"):
        Messenger("ann", "x", devise="phone")
    with pytest.raises(Misuse, match="whose messages"):
        Messenger("", "x", site=hospital.folder / "site.toml")
    ann.close()
    for use in (lambda: ann.send("bob", "x"), ann.receive, ann.unread):
        with pytest.raises(Misuse, match="is closed"):
            use()


def test_asynchronously_the_same(hospital: RealSite, tmp_path: Path) -> None:
    async def talk() -> list[str]:
        site = hospital.folder / "site.toml"
        async with (
            AsyncMessenger("ann", token_of("ann"), site=site, folder=tmp_path / "ann") as ann,
            AsyncMessenger("eve", token_of("eve"), site=site, folder=tmp_path / "eve", from_now=True) as eve,
        ):
            while eve._folder.cursor is None:
                assert await eve.receive(0.01) is None
            coming = asyncio.ensure_future(anext(aiter(eve)))
            sent = await asyncio.gather(*(ann.send("eve", f"m{number}") for number in range(20)))
            places = [what.place for what in sent if isinstance(what, Sent)]
            assert places == list(range(places[0], places[0] + 20))
            texts = [(await coming).text]
            async for message in eve:
                texts.append(message.text)
                if len(texts) == 20:
                    break
            assert await eve.receive(0.1) is None
            return texts

    assert asyncio.run(talk()) == [f"m{number}" for number in range(20)]


def test_while_no_server_answers_messages_are_kept_and_then_sent_by_themselves(
    tmp_path: Path, until: Callable[..., None]
) -> None:
    hospital = messages_site(tmp_path)
    site = tmp_path / "site.toml"
    hospital.await_active()
    with Messenger("bob", token_of("bob"), site=site, folder=tmp_path / "bob") as bob:
        begun(bob)
        hospital.end()
        with Messenger("ann", token_of("ann"), site=site, folder=tmp_path / "ann", wait_s=0.3) as ann:
            kept = [ann.send("bob", f"m{number}") for number in range(3)]
            assert all(isinstance(what, Kept) and not what.is_sent for what in kept)
            assert [draft.text for draft in ann.drafts] == ["m0", "m1", "m2"]
        news: list[News] = []
        with Messenger(
            "ann", token_of("ann"), site=site, folder=tmp_path / "ann", wait_s=0.3, on_news=news.append
        ) as ann:
            assert [draft.text for draft in ann.drafts] == ["m0", "m1", "m2"]
            assert isinstance(ann.send("nobody", "x"), Kept)
            assert isinstance(ann.send("bob", "m3"), Kept)
            ann.discard(ann.drafts[1])
            hospital = messages_site(tmp_path, again=True)
            try:
                until(lambda: [draft.refused != "" for draft in ann.drafts] == [True], timeout_s=30)
                assert [told.type for told in news] == ["sent", "sent", "refused", "sent"]
                assert [bob.receive(WAIT_S).text for _ in range(3)] == ["m0", "m2", "m3"]
                assert isinstance(ann.send("bob", "m4"), Sent)
                assert bob.receive(WAIT_S).text == "m4"
                assert ann.drafts[0].refused.startswith("there is nobody with the id 'nobody'")
                ann.discard(ann.drafts[0])
                assert ann.drafts == []
            finally:
                hospital.end()
