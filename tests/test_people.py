"""Who somebody is, and how they prove it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from holdfast.kernel.contracts import Person
from holdfast.kernel.replies import Forbidden, Overloaded
from holdfast.people import WAITING_MAX, People, TokenHash, new_token

ANN = Person("ann", "Ann", ("manager",), "office", "Montreal")
BOB = Person("bob", "Bob")


@pytest.fixture(name="people")
def _people() -> Iterator[People]:
    people = People([ANN, BOB], {"ann": TokenHash.of("open sesame")})
    yield people
    people.close()


def test_a_trusted_service_believes_the_id_of_anybody_it_knows(people: People) -> None:
    assert people.login("bob", identity="trusted") == BOB
    assert isinstance(people.login("eve", identity="trusted"), Forbidden)


def test_a_token_service_wants_the_right_token(people: People) -> None:
    assert people.login("ann", "open sesame", identity="token") == ANN
    for id, token in [("ann", "open sesamf"), ("ann", ""), ("bob", ""), ("eve", "open sesame"), ("ann", "x" * 5000)]:
        assert isinstance(people.login(id, token, identity="token"), Forbidden)


def test_wrong_token_and_unknown_id_are_told_in_the_same_words(people: People) -> None:
    wrong, unknown = (people.login(id, "no", identity="token") for id in ("ann", "eve"))
    assert wrong == unknown


def test_a_hash_survives_being_written_and_holds_no_token() -> None:
    token = new_token()
    written = TokenHash.of(token).written()
    assert token not in written
    assert TokenHash.parse(written).matches(token)
    assert not TokenHash.parse(written).matches(token + "x")
    assert TokenHash.of(token).written() != written


def test_a_new_token_comes_with_the_line_for_the_file() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "holdfast.people"], capture_output=True, text=True, check=True, timeout=60
    )
    token, line = made.stdout.splitlines()
    assert TokenHash.parse(line.split('"')[1]).matches(token.split(": ")[1])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "scrypt$1$2",
        "scrypt$16383$8$1$AAAA$AAAA",
        "scrypt$16384$8$1$!!$AA",
        "scrypt$99999999999$8$1$AAAA$AAAA",
        "scrypt$16384$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAA",
    ],
)
def test_what_is_no_hash_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"token hash|power of two|salt"):
        TokenHash.parse(text)


def test_hashing_leaves_the_event_loop_free(people: People) -> None:
    async def story() -> float:
        longest, last = 0.0, time.perf_counter()
        verifying = asyncio.ensure_future(people.verify("ann", "open sesame", identity="token"))
        while not verifying.done():
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        assert verifying.result() == ANN
        return longest

    hashing = min(_seconds_of_one_hash() for _ in range(3))
    assert min(asyncio.run(story()) for _ in range(5)) < hashing / 2


def _seconds_of_one_hash() -> float:
    start = time.perf_counter()
    TokenHash.of("open sesame")
    return time.perf_counter() - start


def test_a_flood_of_logins_is_refused_not_queued(people: People) -> None:
    async def story() -> list[Person | Forbidden | Overloaded]:
        logins = (people.verify("ann", "no", identity="token") for _ in range(WAITING_MAX + 3))
        return await asyncio.gather(*logins)

    answers = asyncio.run(story())
    assert answers.count(Overloaded(WAITING_MAX)) == 3
    assert sum(isinstance(answer, Forbidden) for answer in answers) == WAITING_MAX
