"""The planner's shell against a small vendor of the tests' own: statuses, headers, keys, the rate on a real clock."""

from __future__ import annotations

import asyncio
import io
import json
import re
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from tests.planner.vendors import Desk

from holdfast.client import Planner
from holdfast.client.errors import Misuse
from holdfast.client.plan import moment, picture, report
from holdfast.kernel.errors import ConfigurationError
from holdfast.kernel.gate import Group
from holdfast.planner import Answered, Call, Unanswered
from holdfast.planner.shell import Outcome, PlanStopped
from holdfast.planner.shell.http import BODY_BYTES_MAX, VendorDoor, clock_us, microseconds
from holdfast.planner.shell.keys import address, is_open_to_others, keys_for, names_of, read_keys
from holdfast.planner.shell.planner import recorded_vendors
from holdfast.runtime.journal import Journal, JournalInUse

Handler = Callable[[str, str], tuple[int, bytes, str]]


class TinyVendor:
    """Speaks just enough HTTP/1.1: `handler(method, path)` gives status, body and further header lines."""

    def __init__(self, handler: Handler | None = None) -> None:
        self.free = {3, 5, 9}
        self.held: set[int] = set()
        self.handler = handler or self._keep_to_the_rules
        self.times: list[float] = []
        self.heads: list[str] = []
        self.url = ""

    def _keep_to_the_rules(self, method: str, path: str) -> tuple[int, bytes, str]:
        place = path.removeprefix("/inn/api/reservation").strip("/")
        if method == "GET":
            slots = self.free if place == "available" else self.held
            return 200, json.dumps([{"id": str(slot)} for slot in sorted(slots)]).encode(), ""
        slot = int(place)
        source, target = (self.free, self.held) if method == "POST" else (self.held, self.free)
        if slot not in source:
            return 409, b'{"code": 409, "message": "no"}', ""
        source.remove(slot)
        target.add(slot)
        return 200, b'{"id": "%d"}' % slot, "Longest-Delay: 0.2\r\n"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                self.times.append(time.monotonic())
                self.heads.append(head)
                method, path, _ = head.split(" ", 2)
                status, body, more = self.handler(method, path)
                if not status:
                    return  # the connection ends without an answer
                length = f"Content-Length: {len(body)}\r\n"
                writer.write(f"HTTP/1.1 {status} x\r\n{length}{more}\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return
        finally:
            writer.close()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[TinyVendor]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/inn/api"
        try:
            yield self
        finally:
            server.close()


def called(handler: Handler, call: Call) -> Answered | Unanswered:
    async def one() -> Answered | Unanswered:
        async with TinyVendor(handler).open() as vendor, httpx.AsyncClient() as client:
            return await VendorDoor(client, vendor.url, "k3y").call(call)

    return asyncio.run(one())


def test_an_answer_brings_status_body_and_the_two_headers() -> None:
    seen = []

    def handler(method: str, path: str) -> tuple[int, bytes, str]:
        seen.append((method, path))
        return 429, b"busy", "Retry-After: 2\r\nLongest-Delay: 1.5\r\n"

    answer = called(handler, Call(7, "release", 56))
    assert isinstance(answer, Answered)
    assert (answer.status, answer.body) == (429, b"busy")
    assert (answer.retry_after_us, answer.longest_delay_us) == (2_000_000, 1_500_000)
    assert seen == [("DELETE", "/inn/api/reservation/56")]


@pytest.mark.parametrize(
    ("call", "request_line"),
    [
        (Call(1, "look"), ("GET", "/inn/api/reservation/available")),
        (Call(1, "ask"), ("GET", "/inn/api/reservation")),
        (Call(1, "reserve", 4), ("POST", "/inn/api/reservation/4")),
        (Call(1, "confirm", 4), ("POST", "/inn/api/reservation/4/confirm")),
    ],
)
def test_each_call_is_the_request_of_the_api(call: Call, request_line: tuple[str, str]) -> None:
    seen = []

    def handler(method: str, path: str) -> tuple[int, bytes, str]:
        seen.append((method, path))
        return 200, b"[]", ""

    called(handler, call)
    assert seen == [request_line]


def test_a_redirect_is_not_followed_and_an_endless_body_not_read() -> None:
    count = []

    def handler(method: str, path: str) -> tuple[int, bytes, str]:
        count.append(path)
        return 302, b"", "Location: /elsewhere\r\n"

    answer = called(handler, Call(1, "look"))
    assert isinstance(answer, Answered)
    assert (answer.status, len(count)) == (302, 1)
    big = called(lambda method, path: (200, b" " * (BODY_BYTES_MAX + 1), ""), Call(1, "look"))
    assert isinstance(big, Answered)
    assert big.body == b""


def test_a_broken_connection_may_have_been_heard_and_a_refused_one_was_not() -> None:
    broken = called(lambda method, path: (0, b"", ""), Call(1, "reserve", 3))
    assert isinstance(broken, Unanswered)
    assert broken.sent

    async def refused() -> Answered | Unanswered:
        async with TinyVendor().open() as vendor:
            url = vendor.url
        async with httpx.AsyncClient() as client:
            return await VendorDoor(client, url, "k3y").call(Call(1, "look"))

    answer = asyncio.run(refused())
    assert isinstance(answer, Unanswered)
    assert not answer.sent


@pytest.mark.parametrize(
    ("text", "us"),
    [("2", 2_000_000), ("0.5", 500_000), ("-1", None), ("nan", None), ("Sat, 21 Nov 2026", None), (None, None)],
)
def test_headers_of_seconds(text: str | None, us: int | None) -> None:
    assert microseconds(text) == us
    assert microseconds("inf") == 10**15


def test_the_vendors_clock_is_its_header_or_else_ours() -> None:
    assert clock_us("Sat, 21 Nov 2026 18:00:00 GMT") == 1_795_284_001_000_000
    for nothing in (None, "", "today"):
        assert abs(clock_us(nothing) - time.time_ns() // 1000) < 60_000_000


def test_a_plan_keeps_the_rate_at_the_vendors_doors(tmp_path: Path) -> None:
    async def plan() -> tuple[list[float], list[str], int | None]:
        async with TinyVendor().open() as inn, TinyVendor().open() as hall:
            hall.free = {5, 9}
            keys = {inn.url + "/": "one", hall.url: "two"}
            planner = Planner([inn.url, hall.url], keys, state=tmp_path / "journal", rate=20, patience=6, last=20)
            outcome = await planner.arun()
            assert (inn.held, hall.held) == ({5}, {5})
            return sorted(inn.times + hall.times), inn.heads, outcome.slot

    times, heads, slot = asyncio.run(plan())
    assert slot == 5
    assert times[-1] - times[0] > 0.06 * (len(times) - 1)  # 0.07 s apart as they leave, on the whole
    assert all("Authorization: Bearer one\r\n" in head for head in heads)
    journal = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"one" not in journal


def test_two_plans_cannot_have_one_journal(tmp_path: Path) -> None:
    async def both() -> None:
        async with TinyVendor().open() as inn:
            planners = [
                Planner([inn.url], {inn.url: "k"}, state=tmp_path / "journal", rate=50, patience=3) for _ in range(2)
            ]
            ended = await asyncio.gather(*(planner.arun() for planner in planners), return_exceptions=True)
            assert sum(isinstance(end, JournalInUse) for end in ended) == 1

    asyncio.run(both())


def test_another_plans_journal_is_refused_in_words(tmp_path: Path) -> None:
    async def two() -> None:
        async with TinyVendor().open() as inn, TinyVendor().open() as hall:
            await Planner([inn.url], {inn.url: "k"}, state=tmp_path / "journal", rate=50, patience=3).arun()
            other = Planner([hall.url], {hall.url: "k"}, state=tmp_path / "journal", rate=50)
            with pytest.raises(PlanStopped, match="belongs to a plan with"):
                await other.arun()
            assert recorded_vendors(tmp_path / "journal") == (inn.url,)

    asyncio.run(two())
    with pytest.raises(PlanStopped, match="there is no plan"):
        recorded_vendors(tmp_path / "none")


def test_a_stop_before_the_run_has_begun_is_heard_and_one_after_it_is_not(tmp_path: Path) -> None:
    async def plan() -> tuple[Outcome, Outcome]:
        async with TinyVendor().open() as inn:
            planner = Planner([inn.url], {inn.url: "k"}, state=tmp_path / "journal", rate=50, patience=0)
            planner.stop("too early")
            first = await planner.arun()  # it would look for slots 1 and 2 for ever
            planner.stop("too late")
            planner.on_event = lambda text: planner.stop("in time") if "is ours everywhere" in text else None
            return first, await planner.arun()

    first, second = asyncio.run(plan())
    assert (first.slot, first.reason) == (None, "too early")
    assert (second.slot, second.reason) == (3, "in time")


def test_a_state_file_that_is_none_of_a_plan_is_refused_in_words_about_plans(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n")
    journal = Journal.open(tmp_path / "other")
    journal.recover()
    group = Group(1)
    group.records, group.records_upto = [b"\x93\x01\x02\x03"], 1
    journal.write(group)
    journal.close()
    wrong = {
        "": "is a folder",
        "text": "no journal of a plan",
        "other": "no journal of a plan",
        "text/below": "cannot keep its journal",
    }
    for name, words in wrong.items():
        state = tmp_path / name
        with pytest.raises(PlanStopped, match=words) as told:
            Planner(["http://h/api"], {"http://h/api": "key"}, state=state).run()
        assert str(state) in str(told.value)
        assert "server" not in str(told.value)
        if state.is_file():
            with pytest.raises(PlanStopped, match=words):
                recorded_vendors(state)


def test_release_does_not_claim_what_a_vendor_refuses_to_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def both() -> Outcome:
        async with TinyVendor().open() as inn, TinyVendor(lambda method, path: (401, b"{}", "")).open() as hall:
            keys = {inn.url: "k", hall.url: "wrong"}
            planner = Planner([inn.url, hall.url], keys, state=tmp_path / "journal", rate=50)
            return await planner.arun(release=True)

    outcome = asyncio.run(both())
    assert len(outcome.denied) == 1
    report(outcome, as_json=False, sought=False)
    said = capsys.readouterr().out
    assert "Not all is known to be given back; nothing is held elsewhere." in said
    assert "takes neither key nor request" in said


def test_a_vendor_that_is_silent_at_the_end_is_named_and_the_same_journal_finishes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def plan() -> tuple[Outcome, Outcome]:
        async with TinyVendor().open() as inn, TinyVendor().open() as hall:
            rules = hall.handler

            def silent_once_booked(method: str, path: str) -> tuple[int, bytes, str]:
                return (0, b"", "") if hall.held else rules(method, path)

            hall.handler = silent_once_booked
            keys = {inn.url: "k", hall.url: "k"}
            planner = Planner([inn.url, hall.url], keys, state=tmp_path / "journal", rate=50, patience=5, grace_s=0.3)
            planner.on_event = lambda text: planner.stop() if "is ours everywhere" in text else None
            left = await planner.arun()
            hall.handler = rules
            return left, await planner.arun(release=True)

    left, released = asyncio.run(plan())
    assert not left.complete
    assert (left.slot, [(each.vendor.split(" ")[0], each.slot) for each in left.unknown]) == (3, [("inn", 3)])
    report(left, as_json=False, sought=True)
    assert capsys.readouterr().out.startswith("Not confirmed: slot 3 was yours everywhere; held are 3 at inn")
    assert released.complete
    assert not any(released.held.values())


def test_addresses_in_one_form_and_short_names() -> None:
    assert address(" http://127.0.0.1:8001/hotel/api/ ") == "http://127.0.0.1:8001/hotel/api"
    for wrong in ("ftp://a/b", "hotel", "http://bob:secret@a/api", "http://a/api?key=1"):
        with pytest.raises(ConfigurationError) as told:
            address(wrong)
        assert "secret" not in str(told.value)
    assert names_of(["http://a/hotel/api", "http://a/band/api"]) == ("hotel", "band")
    assert names_of(["http://a/v/api", "http://b/v/api"]) == ("v at a", "v at b")
    assert names_of(["http://a:1", "http://a:2"]) == ("a:1", "a:2")


def test_keys_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text("# mine\nhttp://a/hotel/api/ one\n\nhttp://a/band/api two\n")
    monkeypatch.delenv("HOLDFAST_VENDOR_KEYS", raising=False)
    addresses = ("http://a/band/api", "http://a/hotel/api")
    assert keys_for(addresses, read_keys(file)) == ("two", "one")
    with pytest.raises(ConfigurationError, match="no key for http://a/hall/api"):
        keys_for(("http://a/hall/api",), read_keys(file))
    file.chmod(0o644)
    assert is_open_to_others(file)
    file.chmod(stat.S_IRUSR)
    assert not is_open_to_others(file)
    monkeypatch.setenv("HOLDFAST_VENDOR_KEYS", "x y")
    assert keys_for(addresses, {}) == ("x", "y")
    with pytest.raises(ConfigurationError, match="2 keys for 1 vendors"):
        keys_for(addresses[:1], {})
    file.chmod(0o600)
    file.write_text("http://a/hotel/api\n")
    with pytest.raises(ConfigurationError, match="line 1"):
        read_keys(file)


def test_moments_for_until() -> None:
    now = datetime(2026, 11, 21, 18, 0)
    assert moment("", now) is None
    assert moment("90s", now) == now + timedelta(seconds=90)
    assert moment("1.5h", now) == now + timedelta(minutes=90)
    assert moment("18:30", now) == datetime(2026, 11, 21, 18, 30)
    assert moment("17:30", now) == datetime(2026, 11, 22, 17, 30)
    assert moment("2026-12-01T18:30", now) == datetime(2026, 12, 1, 18, 30)
    for wrong in ("soon", "25:00", "10d"):
        with pytest.raises(Misuse, match="--until"):
            moment(wrong, now)


def test_the_picture_of_a_plan_tells_what_is_held_and_what_comes_next() -> None:
    desk = Desk()
    desk.look(0, 5)
    desk.look(1, 5)
    desk.leases(0, 5, 90)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(picture(desk.core.status(), "1 to 500"))
    shown = console.export_text()
    assert "best so far: none yet, booking 5; 3 requests" in shown
    assert re.search(r"band +│ 5 until \d\d:\d\d:\d\d +│", shown)
    assert "next: hotel: reserve 5 (the earliest that is free everywhere)" in shown


@pytest.mark.parametrize("wrong", ["http://h:abc/api", "http://[::1 ", "ftp://h/api", "http://me@h/api"])
def test_an_address_that_is_none_is_refused_at_once(wrong: str) -> None:
    with pytest.raises(ConfigurationError):
        Planner([wrong], {})


@pytest.mark.parametrize(
    "options",
    [{"rate": float("nan")}, {"vendor_rate": float("nan")}, {"timeout_s": float("inf")}, {"longest_delay_s": -5.0}],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Planner(["http://h/api"], {"http://h/api": "key"}, **options)  # type: ignore[arg-type]


def test_a_key_that_no_header_can_hold_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no key has"):
        Planner(["http://h/api"], {"http://h/api": "k\u00e9y"})
