"""A state store hears anything at all, over real sockets: it always answers in text, with one newline behind it."""

from __future__ import annotations

import contextlib
import http.client
import urllib.parse
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.e2e.cluster import HOST, PATIENCE_S, Process, until
from tests.server.state_house import site_of

from holdfast.runtime.node import initialise

BYTES_OF_A_TARGET = bytes(range(0x21, 0x7F))
STATUSES = {200, 400, 404, 405, 413, 414, 415}
WORDS = (
    *("action", "key", "value", "set", "get", "unset", "keys", "clear", "bob", "a"),
    *(
        "=",
        "&",
        "&",
        "=",
        "%",
        "%2",
        "%00",
        "%0a",
        "%ff",
        "%C3%A4",
        "+",
        "?",
        "#",
        ";",
        "/",
        "%26",
        "%3D",
        "[]",
        "..",
        "x" * 70,
    ),
)


def ask(port: int, method: str, target: str, body: bytes | None = None) -> tuple[int, bytes]:
    """The status and the body of the answer to a request with exactly this target."""
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=PATIENCE_S)) as connection:
        connection.putrequest(method, target, skip_accept_encoding=True)
        if body is not None:
            connection.putheader("Content-Type", "application/x-www-form-urlencoded")
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("state")
    site = site_of(folder)
    initialise(site)
    process = Process(["node", "a", "--site", str(site.file)], folder / "a.log")
    try:
        number = site.nodes["a"].http_port or 0
        until(lambda: "listens" in process.said() or not process.running, "node a")
        assert process.running, process.said()
        yield number
        assert process.running
        assert "Traceback" not in process.said()
    finally:
        process.kill()


def check(status: int, body: bytes) -> None:
    assert status in STATUSES
    text = body.decode()
    assert text.endswith("\n")
    assert status == 200 or (text.count("\n") == 1 and text[:-1].isprintable())


QUERIES = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=25).map("".join),
    st.text(st.sampled_from(BYTES_OF_A_TARGET.decode()), max_size=60),
)
FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(QUERIES, st.sampled_from(["GET", "POST", "PUT", "DELETE"]))
@example("action=set&key=a&value=%0A", "GET")
@example("action=get&key=a", "GET")
@example("&&&==&&action=keys&", "GET")
def test_any_query(port: int, query: str, method: str) -> None:
    check(*ask(port, method, f"/state/bob?{query}"))


@FUZZ
@given(st.one_of(st.binary(max_size=80), QUERIES.map(str.encode)))
@example(b"action=set&key=\xc3\xa4&value=\xc3\xa4")
@example(b"action=set&key=\xff&value=b")
def test_any_form(port: int, form: bytes) -> None:
    check(*ask(port, "POST", "/state/bob", form))


@FUZZ
@given(st.text(st.sampled_from(BYTES_OF_A_TARGET.decode().replace("?", "").replace("#", "")), min_size=1, max_size=80))
def test_any_user(port: int, user: str) -> None:
    status, body = ask(port, "GET", f"/state/{user}?action=keys")
    check(status, body)
    assert status in (200, 400, 404)


KEYS = st.text(min_size=1, max_size=5).map(str.strip).filter(lambda key: key.isascii() and key.isprintable() and key)


@FUZZ
@given(st.lists(st.tuples(KEYS, st.text(max_size=40)), max_size=8), st.sampled_from(["GET", "POST"]))
def test_whatever_is_set_comes_back_in_its_place(port: int, pairs: list[tuple[str, str]], method: str) -> None:
    def say(**given: str) -> str:
        said = urllib.parse.urlencode(given)
        target = "/state/eve" if method == "POST" else f"/state/eve?{said}"
        status, body = ask(port, method, target, said.encode() if method == "POST" else None)
        assert status == 200
        assert body.endswith(b"\n")
        return body[:-1].decode()

    assert say(action="clear") == ""
    for key, value in pairs:
        assert say(action="set", key=key, value=value) == ""
    expected = dict(pairs)
    assert say(action="keys") == "\n".join(expected)
    for key, value in expected.items():
        assert say(action="get", key=key) == value
