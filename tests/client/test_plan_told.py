"""What a plan has come to is told once, whatever is cut off when: the client's side, beside the app itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.apps.plans import Plans
from holdfast.client import plan_told
from holdfast.client.errors import LoginRefused, Misuse, NotExecuted
from holdfast.client.lines import request_line
from holdfast.client.outcomes import Answer
from holdfast.client.plan_told import Teller, teller, told_file
from holdfast.kernel.contracts import Person, Request
from holdfast.kernel.machine import Advance, Machine
from holdfast.kernel.notices import Notices, NoticesAfter
from holdfast.planner.shell import Outcome
from holdfast.server.grammar import Grammar

BOB = Person("bob")
PEOPLE = (BOB, Person("alice"), Person("grace"))
NOW_MS = 1_796_115_600_000
DAY_MS = 24 * 3600 * 1000
BOOKED = "bob has booked slot {} at hotel and band."
CHANGED = "bob has booked slot {} instead of {} at hotel and band."
GONE = "bob no longer has slot {} at hotel and band."


class Cut(Exception):
    """The process dies here."""


class House:
    """The service, which this process may lose sight of. `point(where)` is called before and after whatever counts."""

    name = "plans"

    def __init__(self, point: Callable[[], None] = lambda: None) -> None:
        self.machine = Machine(Plans(PEOPLE))
        self.grammar = Grammar(Plans.commands, Plans.queries)
        self.point = point
        self.heard: list[Request] = []
        self.is_lost = False
        self.is_late = False
        """What is said now arrives some other day."""
        self.at(NOW_MS)

    def at(self, now_ms: int) -> None:
        self.machine.execute([Request(Advance(now_ms))], (1, 0))

    def execute(self, request: Request) -> Answer:
        refusal = self.machine.admit(request, NOW_MS)
        reply = refusal or self.machine.execute([request], (1, 0))[0]
        return Answer(not reply.failed, reply.text(), str(reply.__struct_config__.tag))

    def repeat(self, client: str, number: int, *words: Any, lowest: int = 0) -> Answer:
        self.point()
        made = self.grammar.parse(f"@{client}:{number}/{lowest} {request_line(words)}".encode(), BOB)
        assert isinstance(made, Request), made
        self.heard.append(made)
        if self.is_late:
            raise NotExecuted("nobody answers")
        answer = self.execute(made)
        self.point()
        if self.is_lost:
            raise NotExecuted("nobody answers")
        return answer

    @property
    def told(self) -> list[tuple[str, str]]:
        """(to, text) of each notice, in their order."""
        notices = self.machine.answer(Request(NoticesAfter()))
        assert isinstance(notices, Notices)
        return [(to, text) for _, to, text in notices.rows]


@pytest.fixture(autouse=True)
def _born_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Client ids of the time that the machine is at."""
    births = itertools.count(NOW_MS)
    monkeypatch.setattr(plan_told, "new_client_id", lambda: f"c.{next(births)}")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "plan.journal"


def outcome(slot: int | None, **more: Any) -> Outcome:
    held = [slot] if slot else []
    fields: dict[str, Any] = {"complete": True, "held": {"hotel": held, "band": held}, "unknown": [], "denied": []}
    return Outcome(slot=slot, requests=6, seconds=1.0, reason="", expires={}, warnings=[], **(fields | more))


def of(house: House, state: Path, *to: str, said: list[str] | None = None) -> Teller:
    service: Any = house
    return Teller(service, "site.toml", "bob", to, state, (said if said is not None else []).append)


def tell(house: House, state: Path, slot: int | None, *to: str) -> bool:
    return of(house, state, *to).tell(outcome(slot))


def test_a_pair_is_told_once_however_often_the_plan_is_run(state: Path) -> None:
    house = House()
    assert all(tell(house, state, 17, "alice", "grace", "alice") for _ in range(3))
    assert house.told == [("alice", BOOKED.format(17)), ("grace", BOOKED.format(17))]
    assert len(house.heard) == 1


def test_what_changes_is_told_and_what_is_given_back_and_then_the_same_is_news_again(state: Path) -> None:
    house = House()
    for slot, *to in ((17, "alice"), (17, "grace"), (12,), (None,), (None,), (12, "alice")):
        assert tell(house, state, slot, *to)
    assert house.told == [
        ("alice", BOOKED.format(17)),
        ("grace", BOOKED.format(17)),
        ("alice", CHANGED.format(12, 17)),
        ("grace", CHANGED.format(12, 17)),
        ("alice", GONE.format(12)),
        ("grace", GONE.format(12)),
        ("alice", BOOKED.format(12)),
    ]


def test_an_answer_that_is_lost_is_asked_for_again_under_the_same_name(state: Path) -> None:
    house, said = House(), list[str]()
    house.is_lost = True
    for _ in range(3):
        assert not of(house, state, "alice", said=said).tell(outcome(17))
    assert said[-1] == "plans has not heard it yet: nobody answers; the same command tries again"
    house.is_lost = False
    assert tell(house, state, 17, "alice")
    assert house.told == [("alice", BOOKED.format(17))]
    assert len({(request.client, request.number) for request in house.heard}) == 1


def test_what_was_overtaken_is_refused_when_it_comes_at_last(state: Path) -> None:
    house = House()
    for slot in (17, 12, 9):
        house.is_late = slot == 12
        assert tell(house, state, slot, "alice") is not house.is_late
    house.is_late = True
    assert not tell(house, state, 7, "alice")
    house.is_late = False
    assert tell(house, state, None)
    assert tell(house, state, 12, "alice")
    said = [("alice", BOOKED.format(17)), ("alice", CHANGED.format(9, 17)), ("alice", GONE.format(9))]
    assert house.told == [*said, ("alice", BOOKED.format(12))]
    answers = [house.execute(late) for late in house.heard]
    assert [answer.type for answer in answers] == [*["forgotten"] * 4, "withdrawn", "concluded"]
    assert len(house.told) == 4


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_name_that_is_too_old_to_be_known_tells_nobody_twice(state: Path, is_lost: bool) -> None:
    """The answer is lost, and asked for again days later; or the first plan itself is days old."""
    house = House()
    house.is_lost = is_lost
    assert tell(house, state, 17, "alice") is not is_lost
    house.is_lost = False
    house.at(NOW_MS + 3 * DAY_MS)
    births = itertools.count(NOW_MS + 3 * DAY_MS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_told, "new_client_id", lambda: f"d.{next(births)}")
        assert tell(house, state, 17, "alice")
        assert tell(house, state, 12, "alice")
    assert house.told == [("alice", BOOKED.format(17)), ("alice", CHANGED.format(12, 17))]


class Mortal:
    """Dies at the given points, counted over all its lives."""

    def __init__(self, *deaths: int) -> None:
        self.deaths = deaths
        self.passed = 0

    def __call__(self) -> None:
        self.passed += 1
        if self.passed in self.deaths:
            raise Cut

    def around(self, done: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            self()
            result = done(*arguments, **named)
            self()
            return result

        return watched


STORY = ((17, ("alice",)), (12, ("alice", "grace")), (None, ()), (12, ("grace",)), (9, ("grace",)))
TOLD = [
    ("alice", BOOKED.format(17)),
    ("alice", CHANGED.format(12, 17)),
    ("grace", BOOKED.format(12)),
    ("alice", GONE.format(12)),
    ("grace", GONE.format(12)),
    ("grace", BOOKED.format(12)),
    ("grace", CHANGED.format(9, 12)),
]


def live(folder: Path, *deaths: int, again: bool = True) -> tuple[House, Mortal]:
    """The story; a life that ends is followed by another one, which does the same again, or goes on with the next."""
    mortal = Mortal(*deaths)
    house, state = House(mortal), folder / "plan.journal"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", mortal.around(Path.replace))
        patch.setattr(plan_told.os, "fsync", lambda descriptor: None)  # it is the process that dies, not the machine
        patch.setattr(Path, "unlink", mortal.around(Path.unlink))
        for slot, to in STORY:
            for _ in range(len(deaths) + 1):
                try:
                    assert tell(house, state, slot, *to)
                except Cut:
                    if not again and (slot, to) != STORY[-1]:
                        break
                else:
                    break
    return house, mortal


def test_whoever_dies_anywhere_and_does_it_again_tells_each_once(tmp_path: Path) -> None:
    points = live(tmp_path)[1].passed
    assert points == len(STORY) * 6
    pairs = [(first, second) for first in range(1, points + 1) for second in range(first, first + 8)]
    for number, deaths in enumerate(pairs):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert live(folder, *deaths)[0].told == TOLD, deaths


def test_whoever_dies_and_goes_on_with_what_came_of_it_since_tells_nothing_twice(tmp_path: Path) -> None:
    """The next thing that is told fits what its addressee was told before."""
    for death in range(1, len(STORY) * 6 + 1):
        folder = tmp_path / str(death)
        folder.mkdir()
        told = live(folder, death, again=False)[0].told
        for person in ("alice", "grace"):
            now = 0
            for text in (text for to, text in told if to == person):
                possible = [CHANGED.format(slot, now) for slot in (17, 12, 9) if slot != now] if now else []
                possible += [GONE.format(now)] if now else [BOOKED.format(slot) for slot in (17, 12, 9)]
                assert text in possible, (death, told)
                now = 0 if text == GONE.format(now) else next(s for s in (17, 12, 9) if f"booked slot {s} " in text)
            assert person != "grace" or now == 9, (death, told)


def test_who_is_not_of_the_site_is_named_and_who_was_told_stays_so(state: Path) -> None:
    house, said = House(), list[str]()
    assert not of(house, state, "nobody", said=said).tell(outcome(17))
    assert said == [
        "nobody could not be told: Failed: there is nobody with the id 'nobody' who could be told.",
    ]
    assert tell(house, state, 17, "alice")
    assert not tell(house, state, 17, "nobody")
    assert tell(house, state, None)
    assert not told_file(state).exists()
    assert house.told == [("alice", BOOKED.format(17)), ("alice", GONE.format(17))]


def test_what_nobody_was_told_needs_no_taking_back(state: Path) -> None:
    house, said = House(), list[str]()
    assert tell(house, state, None)
    assert not tell(house, state, 17, "nobody")
    assert of(house, state, said=said).tell(outcome(None))
    assert said == ["nobody had been told"]
    assert not told_file(state).exists()


def test_nothing_is_told_that_a_vendor_has_not_confirmed(state: Path) -> None:
    house, said = House(), list[str]()
    assert not of(house, state, "alice", said=said).tell(outcome(17, complete=False))
    assert said == ["nobody is told before every vendor has confirmed what it holds; the same command tries again"]
    assert tell(house, state, 17, "alice")
    assert not of(house, state).tell(outcome(None, denied=["band"]))
    assert house.told == [("alice", BOOKED.format(17))]


def test_a_vendor_with_a_long_name_and_commas_can_be_told_of(state: Path) -> None:
    house = House()
    assert of(house, state, "alice").tell(outcome(3, held={"hall, the old one": [3], "x" * 80: [3]}))
    assert house.told == [("alice", f"bob has booked slot 3 at hall; the old one and {'x' * 63}….")]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"client": 1}', b"\xff"])
def test_a_file_that_says_nothing_is_named(state: Path, content: bytes) -> None:
    told_file(state).write_bytes(content)
    house = House()
    with pytest.raises(Misuse, match="remove it to tell it anew"):
        tell(house, state, 17, "alice")
    assert house.told == []


# ---- how the service is found

NODE = '[nodes.a]\nhost = "127.0.0.1"\npeer_port = 7501\n[people.bob]\n'
SERVICE = '[services.{}]\napp = "plans"\nidentity = "trusted"\nnodes = {{ a = {} }}\n'


def opened(site: Path, state: Path, *to: str, as_: str = "bob") -> Teller | None:
    return teller(state, to, site=str(site), as_=as_, token="", say=lambda text: None)


def test_the_site_has_one_service_of_plans_and_it_is_known_whose_the_plan_is(tmp_path: Path, state: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(NODE)
    with pytest.raises(Misuse, match="needs one service of the app plans, and this one has none"):
        opened(site, state, "alice")
    site.write_text(NODE + SERVICE.format("one", 7901) + SERVICE.format("two", 7902))
    with pytest.raises(Misuse, match="this one has several: one, two"):
        opened(site, state, "alice")
    site.write_text(NODE + SERVICE.format("one", 7901))
    with pytest.raises(Misuse, match="--as ID"):
        opened(site, state, "alice", as_="")


def test_with_nobody_to_tell_no_service_is_looked_for_unless_somebody_was_told(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site.toml"
    site.write_text(NODE + SERVICE.format("one", 7901))
    assert opened(tmp_path / "nowhere.toml", state) is None
    service: Any = House()
    Teller(service, str(site), "bob", ("alice",), state, lambda text: None).tell(outcome(17))
    with pytest.raises(Misuse, match="the plan is of bob, not of eve"):
        opened(site, state, as_="eve")

    def refused(self: Any, *words: str) -> Answer:
        raise LoginRefused(f"{self.name}: {words}")

    monkeypatch.setattr(plan_told.Service, "call", refused)
    with pytest.raises(LoginRefused, match=r"one: \('mine',\)"):  # where it was told, as who told it
        teller(state, (), site="", as_="", token="", say=lambda text: None)
