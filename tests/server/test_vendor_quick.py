"""The quick way reads a request exactly as the careful parser does, or leaves it to that."""

from __future__ import annotations

from typing import Any, cast

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.server.vendors.asgi import key_of, vendor_path
from holdfast.server.vendors.quick import REQUEST_BYTES_MAX, plain_request
from holdfast.server.vendors.vendor import Vendor

VENDORS = cast("dict[str, Vendor]", {"hotel": object(), "band": object()})
POST = b"POST /hotel/api/reservation/56 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n\r\n"


def carefully(data: bytes) -> Any:
    """(method, vendor, parts, key, idempotency key) as h11 reads them, None for what it refuses or finds unfinished."""
    connection = h11.Connection(h11.SERVER)
    try:
        connection.receive_data(data)
        request = connection.next_event()
        if not isinstance(request, h11.Request) or type(connection.next_event()) is not h11.EndOfMessage:
            return None
        if connection.trailing_data[0]:
            return None
    except h11.RemoteProtocolError:
        return None
    about = vendor_path(request.target.decode("ascii"), VENDORS)
    if about is None:
        return None
    headers = dict(request.headers)
    said = [headers.get(name, b"").decode("ascii") for name in (b"authorization", b"idempotency-key")]
    return request.method.decode(), about[0], about[1], key_of(said[0]), said[1]


def quickly(data: bytes) -> Any:
    plain = plain_request(data, VENDORS)
    return plain and (plain.method, plain.vendor, plain.parts, plain.key, plain.idempotency_key)


def test_what_programs_send_goes_the_quick_way() -> None:
    assert quickly(POST) == ("POST", VENDORS["hotel"], ["reservation", "56"], "k", "")
    by_httpx = POST.replace(
        b"Host: x\r\n",
        b"Host: 127.0.0.1:8001\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
        b"User-Agent: python-httpx/0.28.1\r\nContent-Length: 0\r\nidempotency-key: a.1234567890123\r\n",
    )
    assert quickly(by_httpx) == ("POST", VENDORS["hotel"], ["reservation", "56"], "k", "a.1234567890123")
    assert quickly(POST.replace(b"/hotel/api/", b"//band/api//"))[1] is VENDORS["band"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        POST[:-2],
        POST + b"x",
        POST + POST,
        POST.replace(b"Host: x\r\n", b""),
        POST.replace(b"Host: x\r\n", b"Host: x\r\nHost: y\r\n"),
        POST.replace(b"Host: x\r\n", b"Host: x\r\nX-Unusual: 1\r\n"),
        POST.replace(b"Host: x\r\n", b"Host: x\r\nTransfer-Encoding: chunked\r\n"),
        POST.replace(b"Host: x\r\n", b"Host: x\r\nContent-Length: 5\r\n"),
        POST.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n"),
        POST.replace(b"Host: x\r\n", b"Host: x\r\nExpect: 100-continue\r\n"),
        POST.replace(b"Host: x\r\n", b"Host: x\r\n folded: y\r\n"),
        POST.replace(b"Host: x\r\n", b"Host : x\r\n"),
        POST.replace(b"Bearer k", b"Bearer \xc3\xa9"),
        POST.replace(b"Bearer k", b"Bearer \x00"),
        POST.replace(b"Bearer k", b"Bearer " + b"k" * REQUEST_BYTES_MAX),
        POST.replace(b"56", b"%35"),
        POST.replace(b"56", b"56?a=1"),
        POST.replace(b"POST", b"PUT"),
        POST.replace(b"POST", b"post"),
        POST.replace(b"1.1", b"1.0"),
        POST.replace(b"hotel", b"status"),
        POST.replace(b"/hotel/api", b""),
        POST.replace(b"\r\n", b"\n"),
        POST.replace(b"56", b"5" * 5000),
    ],
)
def test_what_is_unusual_goes_the_careful_way(data: bytes) -> None:
    assert quickly(data) is None


PIECES = st.sampled_from(
    [
        *(b"GET", b"POST", b"DELETE", b"PUT", b" ", b"  ", b"/", b"//", b"/hotel", b"/band", b"/api", b"/reservation"),
        *(
            b"/available",
            b"/56",
            b"%35",
            b"?",
            b" HTTP/1.1",
            b" HTTP/1.0",
            b"\r\n",
            b"\n",
            b"\r",
            b"\r\n\r\n",
            b":",
            b"\t",
        ),
        *(
            b"Host: x\r\n",
            b"host:\r\n",
            b"Authorization: Bearer k\r\n",
            b"authorization:k\r\n",
            b"AUTHORIZATION:  Bearer  k \r\n",
        ),
        *(b"Content-Length: 0\r\n", b"Content-Length: 00\r\n", b"Content-Length: 4\r\n", b"Connection: close\r\n"),
        *(
            b"Connection: Keep-Alive\r\n",
            b"Idempotency-Key: a b\r\n",
            b"Accept: */*\r\n",
            b"X: y\r\n",
            b"\x00",
            b"\xe9",
            b"k",
        ),
    ]
)
REQUESTS = st.one_of(
    st.lists(PIECES, max_size=14).map(b"".join),
    st.tuples(
        st.sampled_from([b"GET", b"POST", b"DELETE"]),
        st.lists(
            st.sampled_from([b"/", b"/hotel", b"/api", b"/reservation", b"/56", b"/available", b".", b"-"]), max_size=6
        ),
        st.lists(PIECES, max_size=6),
    ).map(
        lambda each: (
            each[0] + b" /hotel/api" + b"".join(each[1]) + b" HTTP/1.1\r\nHost: x\r\n" + b"".join(each[2]) + b"\r\n"
        )
    ),
)


@settings(max_examples=1500, deadline=None)
@given(data=REQUESTS)
@example(data=POST)
def test_both_ways_read_the_same(data: bytes) -> None:
    quick = quickly(data)
    if quick is not None:
        assert quick == carefully(data)


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, len(POST) - 1), byte=st.integers(0, 255))
def test_one_wrong_byte_is_never_read_otherwise(place: int, byte: int) -> None:
    data = POST[:place] + bytes([byte]) + POST[place + 1 :]
    quick = quickly(data)
    if quick is not None:
        assert quick == carefully(data)
