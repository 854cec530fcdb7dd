"""What becomes of a message when servers drop it, hang, babble, or say that they do not know."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.client.conftest import item_of

from holdfast.client import Kept, LoginRefused, Messenger, Misuse, News, Sent, messenger_async
from holdfast.client.addresses import Addresses
from holdfast.client.messenger_feed import AnotherInbox


def messenger(house: Any, folder: Path, **options: Any) -> Messenger:
    """Ann's, at the servers of the house."""
    addresses = Addresses.of_servers([server.address for server in house.servers])
    return Messenger("ann", **{"token": "t", "site": addresses, "folder": folder, "timeout_s": 0.2, **options})


FAULTS = [
    "drop",
    "drop-after",
    "silence",
    "silence-after",
    "unavailable",
    "overloaded",
    "unknown",
    "unknown-after",
    "garbage",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_a_server_does_the_message_is_sent_once(house: Any, tmp_path: Path, fault: str) -> None:
    for _ in range(2):
        house.server(fault, fault, login="login ann t")
    with messenger(house, tmp_path) as ann:
        for number in range(1, 6):
            what = ann.send("bob", f"m{number}")
            assert what == Sent("bob", f"1-{number}", "a+b", number)
        assert ann.drafts == []
    assert house.theatre.messages == [f"m{number}" for number in range(1, 6)]


def test_one_that_was_executed_so_long_ago_that_its_answer_is_forgotten_is_sent(house: Any, tmp_path: Path) -> None:
    server = house.server("silence-after", login="login ann t")
    with messenger(house, tmp_path, wait_s=0.1) as ann:
        assert isinstance(ann.send("bob", "m1"), Kept)
    server.faults.clear()
    server.faults.append("forgotten")
    with messenger(house, tmp_path) as ann:
        assert ann.send("bob", "m2") == Sent("bob", "1-2", "a+b", 2)
        assert ann.drafts == []
    assert house.theatre.messages == ["m1", "m2"]
    names = [line.split()[0].split("/") for line in server.requests()]
    assert names[0][0] == names[1][0] != names[-1][0], "sent again under its own name"


def test_each_message_says_that_those_before_it_are_answered(house: Any, tmp_path: Path) -> None:
    server = house.server(login="login ann t")
    with messenger(house, tmp_path) as ann:
        for number in range(3):
            ann.send("bob", f"m{number}")
    client = server.requests()[0][1:].partition(":")[0]
    assert [line.split()[0] for line in server.requests()] == [f"@{client}:{n}/{n}" for n in (1, 2, 3)]
    assert client[-14] != ".", "an id without a birth never expires"


def test_a_login_that_is_refused_later_leaves_what_was_kept(house: Any, tmp_path: Path) -> None:
    server = house.server(always="silence", login="login ann t")
    with messenger(house, tmp_path, wait_s=0.1) as ann:
        assert isinstance(ann.send("bob", "m1"), Kept)
    server.login = "login ann other"
    with messenger(house, tmp_path) as ann:
        with pytest.raises(LoginRefused):
            ann.send("bob", "m2")
        assert [draft.text for draft in ann.drafts] == ["m1"], "m1 may have been sent, m2 certainly was not"
    server.always = ""
    with messenger(house, tmp_path, token="other") as ann:
        assert ann.send("bob", "m3").is_sent
    assert house.theatre.messages == ["m1", "m3"]


def test_while_nothing_answers_send_does_not_wait_long(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    monkeypatch.setattr(messenger_async, "ATTEMPT_S", 0.1)
    monkeypatch.setattr(messenger_async, "CUT_OFF_WAIT_S", 0.05)
    server = house.server(always="unavailable", login="login ann t")
    with messenger(house, tmp_path, wait_s=0.2) as ann:
        assert "Failed" not in ann.send("bob", "m0").why
        ann._messenger._wait_s = 60
        kept = [ann.send("bob", f"m{number}") for number in range(1, 10)]
        assert all(isinstance(what, Kept) for what in kept)
        server.always = ""
        until(lambda: ann.drafts == [])
    assert house.theatre.messages == [f"m{number}" for number in range(10)]


def test_on_news_cannot_hang_the_messenger(house: Any, tmp_path: Path) -> None:
    house.server(always="silence", login="login ann t")
    heard = threading.Event()
    failed: list[BaseException] = []

    def ask(news: News) -> None:
        try:
            ann.unread()
        except Misuse as misuse:
            failed.append(misuse)
        heard.set()

    with messenger(house, tmp_path, wait_s=0.1) as ann:
        ann.send("bob", "m1")
        ann._messenger._on_news = ask
        house.servers[0].always = ""
        assert heard.wait(10)
    assert "hand the news to another thread" in str(failed[0])


def test_what_a_device_cannot_be_called(house: Any, tmp_path: Path) -> None:
    house.server()
    for device in (" phone", "a\nb", "x" * 65):
        with pytest.raises(Misuse, match="the name of a device"):
            messenger(house, tmp_path, device=device)


def test_what_was_cancelled_while_it_was_sent_is_sent(house: Any, tmp_path: Path) -> None:
    server = house.server(always="silence", login="login ann t")

    async def give_up() -> None:
        addresses = Addresses.of_servers([server.address])
        async with messenger_async.AsyncMessenger("ann", "t", site=addresses, folder=tmp_path, timeout_s=0.2) as ann:
            sending = asyncio.ensure_future(ann.send("bob", "m1"))
            while not server.requests():
                await asyncio.wait([sending], timeout=0.01)
            sending.cancel()
            await asyncio.wait([sending])
            server.always = ""
            assert [draft.text for draft in ann.drafts] == ["m1"]
            assert (await ann.send("bob", "m2")).is_sent

    asyncio.run(give_up())
    assert house.theatre.messages == ["m1", "m2"]


def test_when_one_thread_closes_it_the_others_wait_no_more(house: Any, tmp_path: Path) -> None:
    server = house.server(always="silence", login="login ann t")
    ended: list[object] = []

    def ends(use: Callable[[], object]) -> None:
        try:
            ended.append(use())
        except Misuse as misuse:
            ended.append(str(misuse))

    with messenger(house, tmp_path, wait_s=60, timeout_s=60) as ann:
        uses = (lambda: ann.send("bob", "m1"), ann.receive)
        threads = [threading.Thread(target=ends, args=(use,)) for use in uses]
        for thread in threads:
            thread.start()
        server.hear(2)  # the draft, and the question how far this device has got
    for thread in threads:
        thread.join(timeout=10)
    assert sorted(type(each).__name__ for each in ended) == ["Kept", "str"]
    assert "this messenger is closed; open another one" in ended


def test_what_was_handed_out_is_said_to_whichever_server_answers(
    house: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    server, read = house.server(login="login ann t"), house.theatre.read
    house.theatre.messages += ["m1", "m2", "m3"]
    with messenger(house, tmp_path) as ann:
        assert ann.receive(10).number == 1
        until(lambda: read == [1])
        server.faults += ["drop", "silence", "unavailable", "drop-after"]
        assert ann.receive(10).number == 2
        assert ann.report(10)
        assert read == [1, 2]
        assert ann.report(10)
        assert read == [1, 2], "once is enough"
        assert ann.receive(10).number == 3
        server.always = "silence"
        assert not ann.report(0.1)
    assert read == [1, 2]
    server.always = ""
    with messenger(house, tmp_path):
        until(lambda: read == [1, 2, 3])  # though nobody asks for a message


def test_when_it_is_closed_nobody_waits_any_more_until_something_is_said(
    house: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    server = house.server(login="login ann t")
    house.theatre.messages.append("m1")
    ended: list[bool] = []
    with messenger(house, tmp_path, timeout_s=60) as ann:
        assert ann.receive(10).number == 1
        server.always = "silence"
        reporting = threading.Thread(target=lambda: ended.append(ann.report()))
        reporting.start()
        until(lambda: any('["seen"' in line for line in server.requests()))
    reporting.join(timeout=10)
    assert ended == [False]


def told(text: str, number: int, **more: object) -> dict[str, object]:
    """How a server pushes a message."""
    fields = {"ok": True, "text": text, "type": "arrived", "reply": item_of(text, number) | more, "firm": "committed"}
    return {"change": {"id": f"1-{number}", "person": "ann", **fields}}


def asked(server: Any) -> int:
    """How often it was asked for a page of the inbox."""
    return sum(" since " in line for line in server.requests())


def test_only_what_may_have_been_missed_is_asked_for(house: Any, tmp_path: Path, until: Callable[..., None]) -> None:
    server, inbox = house.server(login="login ann t"), house.theatre.messages
    inbox.append("m1")
    with messenger(house, tmp_path) as ann:

        def receives(*texts: str) -> None:
            found = [ann.receive(10) for _ in texts]
            assert [message and message.text for message in found] == list(texts)

        receives("m1")
        until(lambda: asked(server) == 1)
        for number in range(2, 6):  # as it comes, some of it twice
            inbox.append(f"m{number}")
            for _ in range(number % 2 + 1):
                server.push(told(f"m{number}", number))
        receives("m2", "m3", "m4", "m5")
        assert asked(server) == 1, "nobody polls"
        inbox += ["m6", "m7"]
        server.push(told("m7", 7))  # a gap
        receives("m6", "m7")
        assert asked(server) == 2
        inbox.append("m8")
        server.push({"missed": 1})
        receives("m8")
        assert asked(server) == 3
        inbox.append("m9")
        server.drop_connections()
        receives("m9")
        assert asked(server) == 4
        server.push(told("m9", 9, repeats=1))
        assert ann.receive(0.1) is None
    with messenger(house, tmp_path) as ann:
        inbox.append("m10")
        receives_once = ann.receive(10)
        assert receives_once is not None
        assert receives_once.text == "m10"


def test_an_inbox_that_is_not_the_one_of_before_is_told(house: Any, tmp_path: Path) -> None:
    house.server(login="login ann t")
    house.theatre.messages += ["m1", "m2", "m3"]
    with messenger(house, tmp_path) as ann:
        assert [ann.receive(10).number for _ in range(3)] == [1, 2, 3]
    del house.theatre.messages[1:]
    with messenger(house, tmp_path) as ann, pytest.raises(AnotherInbox, match="ends at 1, and this device has had 3"):
        ann.receive(10)


def test_what_no_service_would_take_is_not_kept(house: Any, tmp_path: Path) -> None:
    house.server(always="silence", login="login ann t")
    wrong: list[tuple[Any, ...]] = [
        (5, "x"),
        (["bob"], "x"),
        ("", "x"),
        ("b" * 161, "x"),
        ("bo\nb", "x"),
        ("bob", 7),
        ("bob", None),
        ("bob", ""),
        ("bob", "x", 5),
        ("bob", "x", "s" * 201),
        ("bob", "x", "a\nb"),
        ("bob", "x", "", "high"),
        ("bob", "x", "", "Urgent"),
        ("bob", "x", "", ["urgent"]),
    ]
    with messenger(house, tmp_path, wait_s=0.1) as ann:
        assert isinstance(ann.send("bob", "before", "s" * 200, "emergency"), Kept)
        for words in wrong:
            with pytest.raises(Misuse):
                ann.send(*words)
        assert isinstance(ann.send("#" + "b" * 159, "after"), Kept)
    with messenger(house, tmp_path) as ann:
        assert [(draft.number, draft.text) for draft in ann.drafts] == [(1, "before"), (2, "after")]
