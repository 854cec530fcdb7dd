"""The vendors' HTTP API: every call and code, by a real client, the quick way and the careful way."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.cluster import HOST
from tests.server.vendor_house import CAREFULLY, House, key_of, play, site_of

from holdfast.server.vendors.asgi import Vendors
from holdfast.settings import Mistakes
from holdfast.vendors import key_hash

WAYS = pytest.mark.parametrize("way", [{}, CAREFULLY], ids=["quickly", "carefully"])


@WAYS
def test_the_calls_of_the_exercise(tmp_path: Path, way: dict[str, str]) -> None:
    async def story(house: House) -> None:
        async def says(who: str, method: str, path: str) -> tuple[int, Any]:
            return await house.says(who, method, path, headers=way)

        assert await says("ann", "GET", "/reservation") == (200, [])
        assert await says("ann", "POST", "/reservation/56") == (200, {"id": "56"})
        assert await says("ann", "POST", "/reservation/7") == (200, {"id": "7"})
        assert await says("ann", "GET", "/reservation") == (200, [{"id": "7"}, {"id": "56"}])
        free = [{"id": str(slot)} for slot in range(1, 501) if slot not in (7, 56)]
        assert await says("bob", "GET", "/reservation/available") == (200, free)
        status, body = await says("ann", "DELETE", "/reservation/56")
        assert (status, body.keys()) == (200, {"message"})
        assert await says("ann", "GET", "/reservation") == (200, [{"id": "7"}])

    play(tmp_path, story)


@WAYS
def test_every_code(tmp_path: Path, way: dict[str, str]) -> None:
    async def story(house: House) -> None:
        async def code(who: str, method: str, path: str, headers: dict[str, str] | None = None) -> int:
            return (await house.says(who, method, path, headers={**way, **(headers or {})}))[0]

        assert await code("ann", "POST", "/reservation/abc") == 400
        assert await code("", "GET", "/reservation") == 401
        assert await code("ann", "POST", "/reservation/501") == 403
        await house.faults(unprocessed=1)
        assert await code("ann", "POST", "/reservation/1") == 404
        await house.faults()
        assert await code("bob", "POST", "/reservation/1") == 200, "it was not done"
        assert await code("ann", "POST", "/reservation/1") == 409
        assert await code("ann", "DELETE", "/reservation/1") == 409
        assert await code("ann", "DELETE", "/reservation/2") == 409
        for slot in (2, 3):
            assert await code("ann", "POST", f"/reservation/{slot}") == 200
        assert await code("ann", "POST", "/reservation/4") == 451
        await house.faults(unavailable=1)
        assert await code("ann", "GET", "/reservation") == 503

    play(tmp_path, story)


NUMBERS_OF_NO_SLOT = ("0", "501", "-1", "-501", "9" * 18, "9" * 19, "9" * 300, "-" + "9" * 300)
NO_NUMBERS = (
    *("abc", "5.0", "+5", "05", "-0", "00", "0x5", "1e2", "5_0", "5,6", "--5", "5a", "null", ".", "5;", "5%"),
    *("\u0665", "\uff15", "\u00b2", "\U0001f642", "5%00", "%20", "5%20", "%0A5", "5%2F6", "..%2f", "%ff", "5%c0%b5"),
)


@WAYS
def test_ids_that_are_none(tmp_path: Path, way: dict[str, str]) -> None:
    async def story(house: House) -> None:
        for ids, status in ((NUMBERS_OF_NO_SLOT, 403), (NO_NUMBERS, 400)):
            for id in ids:
                for method in ("POST", "DELETE"):
                    said, _ = await house.says("ann", method, f"/reservation/{id}", headers=way)
                    assert said == status, (method, id)
        assert await house.says("ann", "GET", "/reservation") == (200, [])

    play(tmp_path, story)


def test_an_id_may_be_written_in_per_cents_and_a_query_says_nothing(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        assert await house.says("ann", "POST", "/reservation/%35%36") == (200, {"id": "56"})
        assert await house.says("ann", "GET", "/reservation?page=2") == (200, [{"id": "56"}])

    play(tmp_path, story)


@WAYS
def test_a_base_may_end_in_a_slash(tmp_path: Path, way: dict[str, str]) -> None:
    async def story(house: House) -> None:
        for path in ("//reservation", "/reservation/", "///reservation//"):
            assert await house.says("ann", "GET", path, headers=way) == (200, [])
            assert await house.says("ann", "POST", f"{path}/5/", headers=way) == (200, {"id": "5"})
            assert (await house.says("ann", "DELETE", f"{path}//5", headers=way))[0] == 200

    play(tmp_path, story)


OTHER_CALLS = (
    *(("POST", "/reservation"), ("DELETE", "/reservation"), ("POST", "/reservation/available"), ("GET", "")),
    *(("GET", "/reservation/5"), ("GET", "/reservations"), ("GET", "/Reservation"), ("GET", "/reservation/5/6")),
    *(("POST", "/reservation/5/keep"), ("GET", "/" + "a/" * 600), ("GET", "/" + "a" * 1100), ("GET", "/block/5")),
    *((method, "/reservation/5") for method in ("PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW")),
    *((method, "/reservation") for method in ("PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW")),
)


def test_other_paths_and_methods_are_bad_requests_and_never_safe_to_try_again(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for method, path in OTHER_CALLS:
            assert (await house.call("ann", method, path)).status_code == 400, (method, path)
        assert await house.says("ann", "GET", "/reservation") == (200, [])

    play(tmp_path, story)


# -- who asks ---------------------------------------------------------------------------------------

KEY = key_of("ann")


WRONG = (
    *(None, "", "Bearer", KEY, f"Basic {KEY}", f"Token {KEY}", f"Bearer {KEY}x", f"Bearer {KEY} {KEY}"),
    *(f"Bearer{KEY}", "Bearer " + "k" * 5000, f"Bearer {key_of('ann', 'band0')}", f"Bearer {key_hash(KEY)}"),
)


@WAYS
def test_no_key_or_a_wrong_one(tmp_path: Path, way: dict[str, str]) -> None:
    async def story(house: House) -> None:
        for authorization in WRONG:
            headers = way if authorization is None else {**way, "Authorization": authorization}
            for method, path in (("GET", "/reservation"), ("POST", "/reservation/5"), ("POST", "/reservation/abc")):
                response = await house.call("", method, path, headers=headers)
                assert response.status_code == response.json()["code"] == 401, authorization
                assert response.headers["www-authenticate"] == "Bearer"
            assert (await house.says("", "PUT", "/faults", headers=headers, content="{}"))[0] == 401

    play(tmp_path, story, bands=1)


def test_the_scheme_is_the_same_in_any_letters_and_two_keys_are_none(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        url = "/hotel/api/reservation"
        for scheme in ("bearer", "BEARER", "Bearer  "):
            assert (await house.client.get(url, headers={"Authorization": f"{scheme} {KEY}"})).status_code == 200
        twice = [("Authorization", f"Bearer {KEY}"), ("Authorization", f"Bearer {KEY}")]
        assert (await house.client.get(url, headers=twice)).status_code == 401

    play(tmp_path, story)


def test_each_vendor_has_keys_and_slots_of_its_own(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for vendor in ("hotel", "band0", "band1"):
            assert await house.says("ann", "POST", "/reservation/5", vendor=vendor) == (200, {"id": "5"})
        for vendor in ("band0", "band1"):
            assert await house.says("ann", "GET", "/reservation", vendor=vendor) == (200, [{"id": "5"}])
        status, body = await house.says("ann", "GET", "/reservation", vendor="band2")
        assert (status, body["message"]) == (400, "there is no vendor of that name"), "404 would mean: try again"
        astray = await house.client.get("/hotel/reservation", headers={"Authorization": f"Bearer {KEY}"})
        assert (astray.status_code, astray.json()["code"]) == (400, 400)
        assert (await house.client.get("/band2")).status_code == 404, "what is no call of an API is the node's own"

    play(tmp_path, story, bands=2)


def test_mistakes_in_keys_are_named(tmp_path: Path) -> None:
    for entry, why in (
        ('eve = "secret"', r"keys\.eve: must be sha256: and 64 digits"),
        (f'"eve !" = "{key_hash("x")}"', r"a client's id must match"),
        (f'eve = "{key_hash(KEY)}"', r"keys\.eve: is the key of ann at hotel"),
        (f'eve = "{key_hash(key_of("bob", "band0"))}"', r"is the key of bob at band0|has a key of its own"),
    ):
        path = site_of(tmp_path, bands=1).file
        path.write_text(path.read_text().replace("[services.hotel.keys]", f"[services.hotel.keys]\n{entry}"))
        with pytest.raises(Mistakes, match=why):
            site_of_again(path)


def test_no_api_where_nothing_is_final(tmp_path: Path) -> None:
    with pytest.raises(Mistakes, match="which nothing is under bayou when it is answered"):
        site_of(tmp_path, 'protocol = "bayou"')


def site_of_again(path: Path) -> None:
    from holdfast.site import load_site

    load_site(path)


# -- rivals, restarts, retries ----------------------------------------------------------------------


def test_of_two_who_race_for_a_slot_one_gets_it(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for slot in range(1, 41):
            codes = await asyncio.gather(
                *((house.says(who, "POST", f"/reservation/{slot}", headers=way)) for who, way in RIVALS)
            )
            winner = [who for (code, _), (who, _) in zip(codes, RIVALS, strict=True) if code == 200]
            assert sorted(code for code, _ in codes) == [200, 409, 409, 409]
            await house.says(winner[0], "DELETE", f"/reservation/{slot}")

    play(tmp_path, story)


RIVALS = [(who, way) for who in ("ann", "bob") for way in ({}, CAREFULLY)]


def test_a_restart_keeps_who_holds_what(tmp_path: Path) -> None:
    async def before(house: House) -> None:
        for who, slot in (("ann", 5), ("ann", 6), ("bob", 7)):
            assert (await house.says(who, "POST", f"/reservation/{slot}"))[0] == 200
        assert (await house.says("gerda", "POST", "/block/9"))[0] == 200

    async def after(house: House) -> None:
        assert await house.says("ann", "GET", "/reservation") == (200, [{"id": "5"}, {"id": "6"}])
        assert await house.says("bob", "GET", "/reservation") == (200, [{"id": "7"}])
        assert (await house.says("bob", "POST", "/reservation/9"))[0] == 409
        assert (await house.says("ann", "POST", "/reservation/8"))[0] == 451

    play(tmp_path, before, "", after)


def uuid7(ms: int) -> str:
    return str(uuid.UUID(int=(ms << 80) | (7 << 76) | (2 << 62) | uuid.uuid4().int & ((1 << 62) - 1)))


@WAYS
@pytest.mark.parametrize("kind", ["uuid", "birth"])
def test_the_same_call_with_the_same_key_is_done_once(tmp_path: Path, kind: str, way: dict[str, str]) -> None:
    now_ms = round(time.time() * 1000)
    name = uuid7(now_ms) if kind == "uuid" else f"my own key.{now_ms}".replace(" ", "-")
    headers = {"Idempotency-Key": name, **way}

    async def before(house: House) -> None:
        assert await house.says("ann", "POST", "/reservation/5", headers=headers) == (200, {"id": "5"})
        assert await house.says("ann", "POST", "/reservation/5", headers=headers) == (200, {"id": "5"})
        assert (await house.says("bob", "POST", "/reservation/5", headers=headers))[0] == 409, "a key is one client's"
        assert (await house.says("ann", "DELETE", "/reservation/5", headers=headers))[0] == 200
        assert await house.says("ann", "POST", "/reservation/6", headers=headers) == (200, {"id": "6"})

    async def after(house: House) -> None:
        assert await house.says("ann", "POST", "/reservation/5", headers=headers) == (200, {"id": "5"}), (
            "the first answer"
        )
        assert await house.says("ann", "GET", "/reservation") == (200, [{"id": "6"}]), "and nothing is done again"

    play(tmp_path, before, "", after)


AGELESS = ("a", "7", str(uuid.UUID(int=4)), "x" * 300, "a." + "1" * 12)
TOO_OLD_OR_YOUNG = (f"old.{1_500_000_000_000}", f"ahead.{9_500_000_000_000}", uuid7(1_500_000_000_000))


@WAYS
def test_a_key_that_does_not_tell_its_age_or_is_too_old_is_refused(tmp_path: Path, way: dict[str, str]) -> None:
    async def story(house: House) -> None:
        assert (await house.says("ann", "POST", "/reservation/1"))[0] == 200  # the replicas know the time from here on
        for key in AGELESS + TOO_OLD_OR_YOUNG:
            headers = {**way, "Idempotency-Key": key}
            status, body = await house.says("ann", "POST", "/reservation/5", headers=headers)
            assert (status, "Idempotency-Key" in body["message"]) == (400, True), key
            assert "session" not in body["message"]
            assert ("24 hours" in body["message"]) == (key in TOO_OLD_OR_YOUNG)
        assert await house.says("ann", "GET", "/reservation") == (200, [{"id": "1"}])

    play(tmp_path, story)


# -- how often --------------------------------------------------------------------------------------


def test_who_asks_too_often_is_counted_and_shown_and_served(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for _ in range(5):
            assert (await house.says("ann", "GET", "/reservation"))[0] == 200
        assert (await house.says("bob", "GET", "/reservation"))[0] == 200
        (service,) = (await house.client.get("/status")).json()["services"]
        assert service["vendor"]["clients"] == {
            "ann": {"requests": 5, "too_fast": 4},
            "bob": {"requests": 1, "too_fast": 0},
        }
        assert service["vendor"]["answers"] == {"200": 6}
        assert service["warning"] == "more than 1 requests a second: ann (4 times)"
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families((await house.client.get("/metrics")).text)
            for sample in family.samples
        }
        assert samples["holdfast_vendor_too_fast_total", "ann", "hotel"] == 4
        assert samples["holdfast_vendor_requests_total", "bob", "hotel"] == 1
        assert samples["holdfast_vendor_answers_total", "200", "hotel"] == 6
        assert samples["holdfast_vendor_faults_total", "lost", "hotel"] == 0

    play(tmp_path, story)


@WAYS
def test_by_choice_they_are_refused_and_told_when_to_come_again(tmp_path: Path, way: dict[str, str]) -> None:
    async def story(house: House) -> None:
        assert await house.says("ann", "POST", "/reservation/1", headers=way) == (200, {"id": "1"})
        refused = await house.call("ann", "POST", "/reservation/2", headers=way)
        assert refused.status_code == refused.json()["code"] == 429
        assert int(refused.headers["retry-after"]) in range(1, 3)
        assert await house.says("bob", "GET", "/reservation", headers=way) == (200, []), "others are not concerned"
        assert (
            (await house.says("gerda", "GET", "/faults"))[0] == (await house.says("gerda", "GET", "/faults"))[0] == 200
        )
        await house.until(lambda: house.node.vendors["hotel"].rates["ann"].due < time.monotonic())
        assert await house.says("ann", "GET", "/reservation", headers=way) == (200, [{"id": "1"}]), "2 was not done"

    play(tmp_path, story, "refuse_excess = true\nrequests_a_second = 0.9")


# -- leases -----------------------------------------------------------------------------------------


def test_a_lease_is_told_confirmed_and_runs_out_while_nobody_commands(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        before = time.time()
        status, held = await house.says("ann", "POST", "/reservation/5")
        assert (status, held["id"]) == (200, "5")
        assert before - 1.1 < held["expires"] - 1.5 < time.time()
        await house.says("ann", "POST", "/reservation/6")
        assert await house.says("ann", "POST", "/reservation/6/confirm") == (200, {"id": "6"})
        assert await house.says("ann", "GET", "/reservation") == (200, [held, {"id": "6"}])
        while await house.says("ann", "GET", "/reservation") != (200, [{"id": "6"}]):
            assert time.time() < held["expires"] + 10
            await asyncio.sleep(0.02)
        assert time.time() >= held["expires"]
        assert (await house.says("ann", "POST", "/reservation/5/confirm"))[0] == 409
        assert (await house.says("bob", "POST", "/reservation/5"))[0] == 200

    play(tmp_path, story, "lease_seconds = 1.5")


# -- the connection ---------------------------------------------------------------------------------


def test_requests_in_pieces_and_many_at_once_are_answered_in_their_order(tmp_path: Path) -> None:
    head = f"Host: x\r\nAuthorization: Bearer {KEY}\r\n\r\n"
    requests = [
        f"{method} /hotel/api/reservation/{slot} HTTP/1.1\r\n{head}" for method in ("POST", "DELETE") for slot in (5, 6)
    ]
    text = "".join(requests).encode()

    async def answers(house: House, pieces: list[bytes]) -> list[int]:
        reader, writer = await asyncio.open_connection(HOST, house.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        codes = []
        for _ in requests:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"\r\ncontent-length: (\d+)\r\n", head)
            assert length is not None
            await reader.readexactly(int(length[1]))
            codes.append(int(head.split()[1]))
        writer.close()
        return codes

    async def story(house: House) -> None:
        each = [request.encode() for request in requests]
        for pieces in ([text], each, [text[:100], text[100:]], [text[i : i + 7] for i in range(0, len(text), 7)]):
            assert await answers(house, pieces) == [200] * 4
        with_body = f"POST /hotel/api/reservation/8 HTTP/1.1\r\nContent-Length: 3\r\n{head}{{}}\n".encode()
        assert await answers(house, [with_body, *each[1:]]) == [200, 200, 409, 200]

    play(tmp_path, story)


def test_a_body_too_long_for_faults_is_a_bad_request_and_others_are_not_read(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        assert (await house.says("gerda", "PUT", "/faults", content="x" * 20_000))[0] == 400
        assert (await house.says("ann", "POST", "/reservation/5", content="x" * 200_000))[0] == 200

    play(tmp_path, story)


def test_a_node_without_the_vendor_says_who_serves_it(tmp_path: Path) -> None:
    site = site_of(tmp_path, 'failure_model = "perfect"\nprotocol = "lamport"')
    nowhere = Vendors({}, {**site.services, "rooms": SimpleNamespace(app="rooms")}).nowhere  # type: ignore[dict-item]
    answer = nowhere("/hotel/api/reservation")
    assert answer is not None
    assert (answer.status, b"hotel is not served by this node, but by a" in answer.body) == (400, True)
    astray = nowhere("/hotel/reservation/5")
    assert astray is not None
    assert (astray.status, b"hotel's calls are under /hotel/api" in astray.body) == (400, True)
    for path in ("/", "/hotel", "/status", "/rooms/api/x", "/rooms/reservation"):
        assert nowhere(path) is None
