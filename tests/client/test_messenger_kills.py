"""Servers, senders and readers are killed in the middle: nothing is lost, nothing doubled, all in order."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.client.messages_site import audit_of, messages_site, token_of
from tests.client.real_site import HOLDFAST

from holdfast.client import Kept, Message, Messenger, Sent, messenger_async

WAIT_S = 30.0
SENT = 400
ROOT = Path(__file__).parents[2]


def test_the_server_that_each_speaks_to_hangs_or_is_killed_and_nobody_notices(
    tmp_path: Path, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger_async, "QUIET_S", 0.5)
    hospital = messages_site(tmp_path)
    by_hand: list[subprocess.Popen[bytes]] = []
    try:
        hospital.await_active()
        site = tmp_path / "site.toml"
        with (
            Messenger("ann", token_of("ann"), site=site, folder=tmp_path / "ann", wait_s=WAIT_S) as ann,
            Messenger("bob", token_of("bob"), site=site, folder=tmp_path / "bob", timeout_s=1) as bob,
        ):
            sent: list[str] = []
            received: list[str] = []

            def exchange(count: int) -> None:
                for _ in range(count):
                    text = f"m{len(sent)}"
                    assert isinstance(ann.send("bob", text), Sent)
                    sent.append(text)
                while len(received) < len(sent):
                    message = bob.receive(WAIT_S)
                    assert message is not None
                    received.append(message.text)

            exchange(20)
            hung = hospital.pid(server_of(bob))
            os.kill(hung, signal.SIGSTOP)
            exchange(5)
            os.kill(hung, signal.SIGCONT)
            until(lambda: all(map(hospital.active, "abc")), timeout_s=30)
            for messenger in (bob, ann):
                name = server_of(messenger)
                os.kill(hospital.pid(name), signal.SIGKILL)
                exchange(20)
                by_hand.append(
                    subprocess.Popen(
                        [*HOLDFAST, "node", name], cwd=tmp_path, env=hospital.environment, stderr=subprocess.DEVNULL
                    )
                )
                until(lambda name=name: hospital.active(name), timeout_s=30)
                exchange(20)
                assert received == sent
                if messenger is bob and server_of(ann) == name:
                    break  # a node that was started by hand is no child of `up`
            assert bob.receive(0.3) is None
    finally:
        for process in by_hand:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=20)
        hospital.end()


def server_of(messenger: Messenger) -> str:
    """The node that it hears, or else speaks to."""
    channel = messenger._messenger._channel or messenger._messenger._service._channel
    link = channel._session._link
    assert link is not None
    return link.server.name


def run(program: str, *words: object) -> subprocess.Popen[bytes]:
    path = ROOT / "tests" / "client" / f"messenger_{program}.py"
    return subprocess.Popen([sys.executable, str(path), *map(str, words)])


def kill_now_and_then(
    start: Callable[[], subprocess.Popen[bytes]], chance: random.Random, progress: Path, last: str
) -> int:
    """Kill the process each time it has made some progress, until it ends by itself; how often it was killed. It may
    also be killed at its very end, when the `last` line is written."""
    kills = 0
    while True:
        process = start()
        before = size(progress)
        enough = chance.randrange(50, 400)
        deadline = time.monotonic() + 60
        while process.poll() is None and size(progress) < before + enough:
            assert time.monotonic() < deadline, f"no progress in {progress}"
            time.sleep(0.001)
        if process.poll() is not None:
            assert process.returncode == 0
            return kills
        process.kill()
        process.wait()
        kills += 1
        if lines(progress)[-1:] == [last]:
            return kills


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def lines(path: Path) -> list[str]:
    return path.read_text().split("\n")[:-1]


def read_by_the_log(messenger: Messenger) -> list[int]:
    """The messages of which the log says that they were read."""
    return [line.message for line in audit_of(messenger) if line.what == "read"]


def test_senders_and_readers_are_killed_and_go_on_where_they_were(tmp_path: Path, until: Callable[..., None]) -> None:
    hospital = messages_site(tmp_path)
    try:
        hospital.await_active()
        chance = random.Random(7)
        for folder in ("ann", "bob"):
            (tmp_path / folder).mkdir()
        words = (tmp_path / "ann", tmp_path / "site.toml", token_of("ann"), SENT)
        sender_kills = kill_now_and_then(lambda: run("sender", *words), chance, tmp_path / "ann" / "begun", "")
        sent = [f"m{number}" for number in lines(tmp_path / "ann" / "sent")]
        with Messenger("ann", token_of("ann"), site=tmp_path / "site.toml", folder=tmp_path / "ann" / "device") as ann:
            ann.send("bob", "last")
            assert ann.drafts == []
        words = (tmp_path / "bob", tmp_path / "site.toml", token_of("bob"), "last")
        reader_kills = kill_now_and_then(lambda: run("reader", *words), chance, tmp_path / "bob" / "received", "last")
        check(lines(tmp_path / "bob" / "received"), sent, reader_kills)
        with Messenger("bob", token_of("bob"), site=tmp_path / "site.toml", folder=tmp_path / "bob" / "device") as bob:
            until(lambda: bob.unread().total == 0)
            log = read_by_the_log(bob)
            received = {text for text in lines(tmp_path / "bob" / "received") if text != "begin"}
            assert len(log) == len(set(log)) == len(received), "each message that was handed out is read, once"
        assert min(sender_kills, reader_kills) >= 3
    finally:
        hospital.end()


def check(received: list[str], sent: list[str], kills: int) -> None:
    """What was sent is there; all is there once, in order; of a reader that died at most its last comes again."""
    once: list[str] = []
    again = 0
    for place, text in enumerate(received):
        if text == "begin":
            continue
        if once and text == once[-1]:
            assert received[place - 1] == "begin", f"{text} came twice to one reader"
            again += 1
        else:
            once.append(text)
    assert again <= kills
    assert len(set(once)) == len(once)
    assert once[-1] == "last"
    numbers = [int(text[1:]) for text in once[:-1]]
    assert numbers == sorted(numbers)
    assert set(sent) <= set(once)


class Offices:
    """Three nodes under `bayou`, of which the primary can be paused: without it nothing is final."""

    def __init__(self, folder: Path) -> None:
        self.hospital = messages_site(folder, "bayou")
        self.paused = 0
        try:
            self.hospital.await_active()
        except BaseException:
            self.hospital.end()
            raise

    def pause_primary(self) -> None:
        self.paused = self.hospital.pid("a")
        os.kill(self.paused, signal.SIGSTOP)

    def resume_primary(self) -> None:
        os.kill(self.paused, signal.SIGCONT)
        self.paused = 0

    def close(self) -> None:
        if self.paused:
            self.resume_primary()
        self.hospital.end()


def test_a_wing_that_is_cut_off_goes_on_among_its_own(tmp_path: Path, until: Callable[..., None]) -> None:
    site = tmp_path / "site.toml"
    with contextlib.closing(Offices(tmp_path)) as offices:
        with (
            Messenger("ann", token_of("ann"), site=site, folder=tmp_path / "ann", at="b", wait_s=WAIT_S) as ann,
            Messenger("bob", token_of("bob"), site=site, folder=tmp_path / "bob", at="b", reads=False) as bob,
            Messenger("eve", token_of("eve"), site=site, folder=tmp_path / "eve", at="c", reads=False) as eve,
        ):
            group = ann.make_group("#wing", "bob", "eve")
            assert [message.text for message in texts(ann, bob, eve, group, "together")] == ["together"] * 2
            offices.pause_primary()
            told = texts(ann, bob, eve, group, "alone")
            assert [(message.text, message.firm) for message in told] == [("alone", False)] * 2
            waiting = threading.Thread(target=bob.receive, args=(WAIT_S,))
            waiting.start()
            offices.resume_primary()
            until(lambda: hospital_is_firm(bob), timeout_s=30)
            last = ann.history(group).messages[-1]
            until(lambda: state_of(ann, last, "bob") == "delivered")
            assert state_of(ann, last, "eve") == "stored", "she has not asked for the next one yet"
            assert waiting.is_alive(), "nothing came meanwhile"
            assert ann.send("bob", "go on").is_sent
            waiting.join()
        with Messenger("bob", token_of("bob"), site=site, folder=tmp_path / "bob", at="c") as bob:
            assert bob.receive(1) is None, "what it had while tentative does not come again, from another node neither"


def test_what_was_read_while_it_was_tentative_is_read_when_it_is_final(
    tmp_path: Path, until: Callable[..., None]
) -> None:
    site = tmp_path / "site.toml"
    with (
        contextlib.closing(Offices(tmp_path)) as offices,
        Messenger("ann", token_of("ann"), site=site, folder=tmp_path / "ann", at="b", wait_s=WAIT_S) as ann,
        Messenger("bob", token_of("bob"), site=site, folder=tmp_path / "bob", at="b") as bob,
    ):
        offices.pause_primary()
        assert ann.send("bob", "one").is_sent
        assert ann.send("bob", "two").is_sent
        message = bob.receive(WAIT_S)
        assert (message.text, message.firm) == ("one", False)
        assert bob.report(WAIT_S)
        offices.resume_primary()
        until(lambda: hospital_is_firm(bob), timeout_s=30)
        assert [(each.text, each.withheld) for each in bob.inbox()] == [("", True), ("one", False)]
        assert read_by_the_log(ann) == [message.place]


def texts(ann: Messenger, bob: Messenger, eve: Messenger, group: str, text: str) -> list[object]:
    assert not isinstance(ann.send(group, text), Kept)
    return [bob.receive(WAIT_S), eve.receive(WAIT_S)]


def state_of(ann: Messenger, message: Message, person: str) -> str:
    return next(seen.state for seen in ann.states(message).recipients if seen.person == person)


def hospital_is_firm(bob: Messenger) -> bool:
    return all(message.firm for message in bob.inbox())
