"""The state store over HTTP: the form of the exercise, limits, and everything that can be wrong with a request."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.cluster import HOST
from tests.server.state_house import content_of, says, site_of
from tests.server.vendor_house import House, Story, tell

from holdfast.apps import keyvalue
from holdfast.apps.keyvalue import VALUE_CHARACTERS_MAX
from holdfast.apps.values import NAME_CHARACTERS_MAX
from holdfast.people import TokenHash
from holdfast.runtime.node import initialise
from holdfast.server.state import ADDRESS_BYTES_MAX, FORM_BYTES_MAX, PARAMETERS_MAX, State

LONGEST = "\U0001f642" * VALUE_CHARACTERS_MAX
"""Each character takes 12 bytes of an address."""
BOTH = pytest.mark.parametrize("method", ["GET", "POST"])


def play(directory: Path, *stories: Story, **options: Any) -> None:
    """Tell stories to a node with a state store, which stops and starts again between them."""
    site = site_of(directory, **options)
    initialise(site)
    for story in stories:
        tell(site, story)


@BOTH
def test_the_actions_of_the_exercise(tmp_path: Path, method: str) -> None:
    async def story(house: House) -> None:
        async def answer(**given: str) -> str:
            status, content = await says(house, method=method, **given)
            assert status == 200
            return content

        assert await answer(action="keys") == ""
        assert await answer(action="get", key="colour") == "", "one newline"
        for key, value in (("colour", "blue"), ("size", "12 feet"), ("shape", "round"), ("colour", "red")):
            assert await answer(action="set", key=key, value=value) == ""
        assert await answer(action="get", key="colour") == "red"
        assert await answer(action="keys") == "colour\nsize\nshape", "in the order in which they were first set"
        assert await answer(action="unset", key="colour") == ""
        assert await answer(action="unset", key="colour") == ""
        assert await answer(action="set", key="colour", value="green") == ""
        assert await answer(action="keys") == "size\nshape\ncolour"
        assert await says(house, "eve", method, action="keys") == (200, ""), "each user has keys of their own"
        assert await answer(action="clear") == ""
        assert await answer(action="keys") == ""
        assert await answer(action="get", key="size") == ""

    play(tmp_path, story)


VALUES = (
    *(
        "",
        " ",
        "\n",
        "two\nlines",
        "ends in one\n",
        "\r\n",
        "a&b=c",
        "+",
        "%",
        "%25",
        "100 %",
        "tab\there",
        "\x00\x1b[31m",
    ),
    *("Grüße", "e\u0301", "\u202eabc", "\u2028", "<b>bold</b>", '"quoted"', "\U0001f642", LONGEST),
)


@BOTH
def test_a_value_comes_back_as_it_went_in(tmp_path: Path, method: str) -> None:
    async def story(house: House) -> None:
        for value in VALUES:
            assert await says(house, method=method, action="set", key="k", value=value) == (200, "")
            assert await says(house, method=method, action="get", key="k") == (200, value)
        assert await says(house, action="keys") == (200, "k")

    play(tmp_path, story)


def test_parameters_may_stand_in_the_address_and_in_the_form(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        response = await house.client.post("/state/bob?action=set&key=a", data={"value": "1"})
        assert (response.status_code, content_of(response)) == (200, "")
        response = await house.client.post("/state/bob?action=get&key=a")
        assert (response.status_code, content_of(response)) == (200, "1")
        response = await house.client.post("/state/bob?action=get&key=a", data={"key": "a"})
        assert (response.status_code, content_of(response)) == (400, "the parameter 'key' stands there twice")

    play(tmp_path, story)


def test_users_and_keys_are_names_in_any_script(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for user, key in (("J%C3%BCrgen", "größe"), ("a%2Fb", "a b"), ("api", "action"), ("x" * 64, "\u9f8d" * 64)):
            assert await says(house, user, action="set", key=key, value=user) == (200, "")
            assert await says(house, user, action="keys") == (200, key)
        assert await says(house, "//bob/", action="keys") == (200, ""), "slashes that say nothing"

    play(tmp_path, story)


# -- what is refused --------------------------------------------------------------------------------

WRONG: tuple[tuple[str, int, str], ...] = (
    ("", 400, "the action is missing; it is one of set, get, unset, keys, clear"),
    ("?", 400, "the action is missing"),
    ("?key=a", 400, "the action is missing"),
    ("?action", 400, "there is no action ''"),
    ("?action=fly", 400, "there is no action 'fly'; there are set, get, unset, keys, clear"),
    ("?action=SET&key=a&value=b", 400, "there is no action 'SET'"),
    ("?Action=keys", 400, "the action is missing"),
    ("?action=set", 400, "the key is missing; set takes a key and a value"),
    ("?action=set&value=b", 400, "the key is missing"),
    ("?action=set&key=a", 400, "the value is missing"),
    ("?action=get", 400, "the key is missing; get takes a key"),
    ("?action=unset", 400, "the key is missing"),
    ("?action=get&key=", 400, "the key must not be empty"),
    ("?action=get&key=" + "k" * 65, 400, f"the key must have at most {NAME_CHARACTERS_MAX} characters, not 65"),
    ("?action=get&key=a%0Ab", 400, "the key must have no invisible characters such as U+000A"),
    ("?action=get&key=%20a", 400, "the key must not begin or end with a blank"),
    ("?action=get&key=%e2%80%ae", 400, "the key must have no invisible characters such as U+202E"),
    ("?action=get&key=%ff", 400, "the parameter 'key' cannot be read: it is no UTF-8 text"),
    ("?action=get&key=%ed%a0%80", 400, "it is no UTF-8 text"),
    ("?action=get&key=%c0%af", 400, "it is no UTF-8 text"),
    ("?action=get&key=%zz", 400, "the parameter 'key' cannot be read: a per cent sign stands there without two"),
    ("?action=get&key=%", 400, "a per cent sign"),
    ("?action=get&key=%e", 400, "a per cent sign"),
    ("?action=get&key=%u00e9", 400, "a per cent sign"),
    ("?action=keys&%ff=1", 400, "the name of a parameter cannot be read"),
    ("?action=get&key=a&key=a", 400, "the parameter 'key' stands there twice"),
    ("?action=get&action=set&key=a&value=b", 400, "the parameter 'action' stands there twice"),
    ("?action=get&key=a&%6bey=b", 400, "the parameter 'key' stands there twice"),
    (
        "?action=set&key=a&value=" + "v" * (VALUE_CHARACTERS_MAX + 1),
        413,
        "a value has at most 4000 characters, not 4001",
    ),
    ("?action=keys" + "".join(f"&p{n}" for n in range(PARAMETERS_MAX)), 400, "more than 64 parameters"),
)


def test_every_mistake_is_told_in_one_line_and_nothing_is_done(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await says(house, action="set", key="a", value="first")
        for query, status, why in WRONG:
            for method in ("GET", "POST"):
                response = await house.client.request(method, f"/state/bob{query}")
                assert response.status_code == status, query
                assert why in content_of(response)
            if len(query) > 1:
                response = await house.client.post(
                    "/state/bob", content=query[1:], headers={"Content-Type": "application/x-www-form-urlencoded"}
                )
                assert (response.status_code, why in content_of(response)) == (status, True), query
        assert await says(house, action="keys") == (200, "a")
        assert await says(house, action="get", key="a") == (200, "first")

    play(tmp_path, story)


PATHS = (
    *(("", 404), ("/", 404), ("/bob/keys", 404), ("/bob/a/b", 404), ("/" + "a/" * 500, 404), ("%2Fbob", 404)),
    *(("/%ff", 400), ("/%zz", 400), ("/%", 400), ("/%20", 400), ("/a%00", 400), ("/" + "b" * 65, 400), ("/%0A", 400)),
)


def test_addresses_that_are_of_no_user(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for path, status in PATHS:
            for method in ("GET", "POST"):
                response = await house.client.request(method, f"/state{path}?action=keys")
                assert response.status_code == status, path
                assert content_of(response)
        response = await house.client.get("/stateful/bob?action=keys")
        assert (response.status_code, response.headers["content-type"]) == (404, "application/json"), "it is no store's"
        assert (await house.client.get("/status")).json()["services"][0]["service"] == "state"

    play(tmp_path, story)


def test_other_methods(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        await says(house, action="set", key="a", value="1")
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "HEAD"):
            response = await house.client.request(method, "/state/bob?action=clear")
            assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")
            assert method == "HEAD" or content_of(response) == f"the method is GET or POST, not '{method}'"
        assert await says(house, action="keys") == (200, "a")

    play(tmp_path, story)


def test_bodies_that_are_no_form(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for options in ({"json": {"action": "clear"}}, {"files": {"key": b"a"}}, {"content": b"action=clear"}):
            response = await house.client.post("/state/bob", **options)
            assert response.status_code == 415
            assert content_of(response) == "a form comes as application/x-www-form-urlencoded"
        response = await house.client.request("GET", "/state/bob?action=keys", content=b"x" * 200_000)
        assert (response.status_code, content_of(response)) == (200, ""), "nobody reads the body of a GET"

    play(tmp_path, story)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_form_is_refused_and_the_connection_goes_on(tmp_path: Path, chunked: bool) -> None:
    async def pieces() -> Any:
        for _ in range(100):
            yield b"x" * 40_000

    async def story(house: House) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        for _ in range(3):
            content: Any = pieces() if chunked else b"x" * 4_000_000
            response = await house.client.post("/state/bob", content=content, headers=headers)
            assert response.status_code == 413
            assert content_of(response) == f"a form has at most {FORM_BYTES_MAX} bytes"
        assert await says(house, action="keys") == (200, "")

    play(tmp_path, story)


async def raw(house: House, data: bytes, *, end: bool = False) -> str:
    """What comes back for these bytes on a connection of their own, until the server ends it."""
    reader, writer = await asyncio.open_connection(HOST, house.port)
    writer.write(data)
    if end:
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer.decode()


def test_a_form_that_breaks_off_changes_nothing(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        head = b"POST /state/bob HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        body = b"action=set&key=a&value=half of"
        _, writer = await asyncio.open_connection(HOST, house.port)
        writer.write(head + b"Content-Length: 200\r\n\r\n" + body)
        await writer.drain()
        writer.close()
        await raw(house, head + b"Content-Length: 200\r\n\r\n" + body, end=True)
        await raw(house, head + b"Transfer-Encoding: chunked\r\n\r\n1e\r\n" + body + b"\r\n", end=True)
        assert await says(house, action="keys") == (200, "")

    play(tmp_path, story)


def test_what_is_no_http_gets_a_line_too(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        longest = b"GET /state/bob?action=set&key=a&value=" + b"x" * (20 * ADDRESS_BYTES_MAX)
        nonsense = (b"nonsense\r\n\r\n", b"GET /state/b\xff HTTP/1.1\r\n\r\n", b"GET /state/a b HTTP/1.1\r\n\r\n")
        for request in (*nonsense, longest, longest + b" HTTP/1.1\r\nHost: x\r\n\r\n"):
            said = await raw(house, request)
            assert said.startswith("HTTP/1.1 400 ")
            assert said.endswith(
                "\r\n\r\nthis is no HTTP request, or its first line and headers have more than 65536 bytes\n"
            )
        assert await says(house, action="keys") == (200, "")

    play(tmp_path, story)


def test_who_was_told_so_and_stays_does_not_hold_the_node_up(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        reader, writer = await asyncio.open_connection(HOST, house.port)
        for _ in range(2):
            writer.write(b"nonsense\r\n\r\n")
        assert (await reader.read()).count(b"HTTP/1.1 400 ") == 1
        kept.append(writer)

    kept: list[asyncio.StreamWriter] = []
    began = time.monotonic()
    play(tmp_path, story)
    assert time.monotonic() - began < 15


def test_an_address_too_long_that_came_in_at_once(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        state = State(house.node.faces["state"], house.site.people, 1.0)
        query = b"action=keys&" + b"x" * ADDRESS_BYTES_MAX
        await state({"method": "GET", "headers": [], "raw_path": b"/state/bob", "query_string": query}, no_body, send)
        assert sent[0]["status"] == 414
        assert sent[1]["body"] == f"an address has at most {ADDRESS_BYTES_MAX} bytes\n".encode()

    async def no_body() -> None:
        raise AssertionError("nobody reads the body of a GET")

    play(tmp_path, story)


# -- limits -----------------------------------------------------------------------------------------


def test_how_many_keys_there_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyvalue, "KEYS_MAX", 3)
    monkeypatch.setattr(keyvalue, "ALL_KEYS_MAX", 4)

    async def story(house: House) -> None:
        full = (507, "a user has at most 3 keys, and all together 4; unset one first.")
        for key in "abc":
            assert await says(house, action="set", key=key, value="1") == (200, "")
        assert await says(house, action="set", key="d", value="1") == full
        assert await says(house, action="set", key="a", value="2") == (200, "")
        assert await says(house, "eve", action="set", key="d", value="1") == (200, "")
        assert await says(house, "ann", action="set", key="e", value="1") == full
        assert await says(house, action="unset", key="b") == (200, "")
        assert await says(house, "ann", action="set", key="e", value="1") == (200, "")
        assert await says(house, action="keys") == (200, "a\nc")

    play(tmp_path, story)


# -- retries, restarts ------------------------------------------------------------------------------


def test_the_same_request_with_the_same_key_is_done_once(tmp_path: Path) -> None:
    name = {"Idempotency-Key": f"mine.{round(time.time() * 1000)}"}

    async def send(house: House, query: str, headers: Any = name) -> int:
        response = await house.client.get(f"/state/bob?{query}", headers=headers)
        assert content_of(response) == "" or response.status_code != 200
        return response.status_code

    async def before(house: House) -> None:
        assert await send(house, "action=set&key=a&value=1") == 200
        assert await send(house, "action=set&key=a&value=2", None) == 200
        assert await send(house, "action=set&key=a&value=1") == 200
        assert await says(house, action="get", key="a") == (200, "2"), "the first was not done again"

    async def after(house: House) -> None:
        assert await send(house, "action=set&key=a&value=1") == 200
        assert await says(house, action="get", key="a") == (200, "2")
        assert await send(house, "action=set&key=a&value=3") == 200, "something else is another request"
        assert await says(house, action="get", key="a") == (200, "3")
        for key in ("a", "x" * 300, f"old.{1_500_000_000_000}", "\xe4.1796115600000"):
            assert await send(house, "action=clear", {"Idempotency-Key": key.encode("latin-1")}) == 400
        twice = [("Idempotency-Key", name["Idempotency-Key"])] * 2
        assert await send(house, "action=clear", twice) == 400
        assert await says(house, action="keys") == (200, "a")

    play(tmp_path, before, after)


# -- who asks ---------------------------------------------------------------------------------------


def test_a_page_of_another_site_may_not_ask(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        own = f"http://{HOST}:{house.port}"
        for headers, status in (
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
            ({"Origin": "http://elsewhere.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": "http://[broken"}, 403),
            ({"Sec-Fetch-Site": "none"}, 200),
            ({"Sec-Fetch-Site": "same-origin", "Origin": own}, 200),
        ):
            for method in ("GET", "POST"):
                response = await house.client.request(method, "/state/bob?action=keys", headers=headers)
                assert response.status_code == status, headers
                content_of(response)

    play(tmp_path, story)


def test_where_tokens_are_wanted_nothing_is_told_without_one(tmp_path: Path) -> None:
    people = f'[people.bob]\ntoken = "{TokenHash.of("open sesame").written()}"\n[people.eve]\n'

    async def story(house: House) -> None:
        async def status(**options: Any) -> int:
            response = await house.client.get("/state/bob?action=set&key=a&value=1", **options)
            assert content_of(response) == "" or response.status_code != 200
            if response.status_code == 401:
                assert response.headers["www-authenticate"].startswith("Basic ")
            return response.status_code

        wrong = (("bob", "sesame"), ("eve", "open sesame"), ("", "open sesame"), ("bob", ""), ("bob", "x" * 5000))
        assert [await status(auth=each) for each in wrong] == [401] * len(wrong)
        for authorization in (
            "",
            "Basic",
            "Basic !",
            "Bearer open sesame",
            f"Basic {base64.b64encode(b'bob').decode()}",
        ):
            assert await status(headers={"Authorization": authorization}) == 401
        assert await status() == 401
        assert await status(auth=("bob", "open sesame")) == 200
        response = await house.client.get("/state/bob?action=keys", auth=("bob", "open sesame"))
        assert content_of(response) == "a"

    play(tmp_path, story, more=people)


def test_a_node_without_the_store_says_who_has_it(tmp_path: Path) -> None:
    site = site_of(tmp_path, beside="b")
    initialise(site)

    async def story(house: House) -> None:
        response = await house.client.get("/state/bob?action=keys")
        assert response.status_code == 404
        assert content_of(response) == "state is not served by this node, but by a"

    tell(site, story, node="b")


def test_answers_are_counted(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        for action in ("keys", "keys", "fly", "get"):
            await says(house, action=action)
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families((await house.client.get("/metrics")).text)
            for sample in family.samples
        }
        assert samples["holdfast_state_answers_total", "200", "state"] == 2
        assert samples["holdfast_state_answers_total", "400", "state"] == 2

    play(tmp_path, story)


def test_a_client_of_two_lines_works(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        def client() -> tuple[str, str]:
            with httpx.Client(base_url=f"http://{HOST}:{house.port}") as session:
                session.get("/state/bob", params={"action": "set", "key": "to", "value": "dr. eve"}).raise_for_status()
                return session.get("/state/bob?action=get&key=to").text, session.get("/state/bob?action=keys").text

        assert await asyncio.to_thread(client) == ("dr. eve\n", "to\n")

    play(tmp_path, story)
