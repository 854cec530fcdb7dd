"""What planners have come to: who is told what, refusals and bounds, and any row of commands against a model."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.apps import plans
from holdfast.apps.plans import (
    PLANS_MAX,
    TOLD_MAX,
    VENDORS_MAX,
    Conclude,
    Mine,
    NobodyNamed,
    NoSuchPerson,
    NoSuchPlan,
    PlanList,
    Plans,
    TooManyTold,
    Withdraw,
)
from holdfast.catalog import APPS, PROTOCOLS, make_core
from holdfast.kernel.contracts import Command, Person, Query, Reply, Request
from holdfast.kernel.machine import Advance, Machine
from holdfast.kernel.notices import TEXT_MAX, DropNotices, Notices, NoticesAfter
from holdfast.server.grammar import Grammar
from holdfast.sim.notices.planners import Hearsay
from holdfast.site import load_site

BOB, EVE = Person("bob"), Person("eve")
PEOPLE = (BOB, EVE, Person("alice"), Person("grace"), *(Person(f"p{number}") for number in range(30)))
NINE = 1_796_115_600_000
GRAMMAR = Grammar(Plans.commands, Plans.queries)
PAIR = ("hotel", "band")


class House:
    """The service, which nobody else asks."""

    def __init__(self) -> None:
        self.machine = Machine(Plans(PEOPLE))
        self.machine.execute([Request(Advance(NINE))], (1, 0))

    def do(self, asked: Command | Query, person: Person | None = BOB) -> Reply:
        request = Request(asked, person=person)
        if isinstance(asked, Query):
            return self.machine.answer(request)
        return self.machine.admit(request, NINE) or self.machine.execute([request], (1, 0))[0]

    def says(self, line: str, person: Person | None = BOB) -> str:
        made = GRAMMAR.parse(line.encode(), person)
        if isinstance(made, Request):
            return self.do(made.command, person).text()
        assert isinstance(made, Reply)
        return made.text()

    def news(self) -> list[str]:
        """`to: text` of all notices so far, taken away."""
        told, after = [], 0
        while rows := self._page(after):
            told += [f"{to}: {text}" for _, to, text in rows]
            after = rows[-1][0]
        self.machine.execute([Request(DropNotices(after))], (1, 0))
        return told

    def _page(self, after: int) -> tuple[tuple[int, str, str], ...]:
        reply = self.machine.answer(Request(NoticesAfter(after)))
        assert isinstance(reply, Notices)
        return reply.rows


def test_whoever_is_told_hears_of_what_changes_and_of_nothing_else() -> None:
    house = House()
    assert house.says("conclude wedding 17 hotel,band alice") == "Slot 17 at hotel and band: alice is told."
    assert house.news() == ["alice: bob has booked slot 17 at hotel and band."]
    assert house.says("conclude wedding 17 hotel,band alice") == "Slot 17 at hotel and band: alice knows it already."
    assert house.says("conclude wedding 17 band,hotel alice") == "Slot 17 at hotel and band: alice knows it already."
    assert house.news() == []
    told = "Slot 17 at hotel and band: grace is told; alice knows it already."
    assert house.says("conclude wedding 17 hotel,band grace,alice,grace") == told
    assert house.news() == ["grace: bob has booked slot 17 at hotel and band."]
    assert (
        house.says("conclude wedding 12 hotel,band bob") == "Slot 12 at hotel and band: alice, grace and bob are told."
    )
    assert house.news() == [
        "alice: bob has booked slot 12 instead of 17 at hotel and band.",
        "grace: bob has booked slot 12 instead of 17 at hotel and band.",
        "bob: bob has booked slot 12 at hotel and band.",
    ]
    house.says("conclude wedding 12 hotel,band,hall bob")
    assert (
        house.news()[0] == "alice: bob has booked slot 12 at hotel, band and hall instead of slot 12 at hotel and band."
    )
    gone = "Slot 12 at hotel, band and hall is withdrawn: alice, grace and bob are told."
    assert house.says("withdraw wedding") == gone
    assert house.news() == [
        f"{who}: bob no longer has slot 12 at hotel, band and hall." for who in ("alice", "grace", "bob")
    ]
    assert house.says("conclude wedding 12 hotel,band alice") == "Slot 12 at hotel and band: alice is told."
    assert house.news() == ["alice: bob has booked slot 12 at hotel and band."]


def test_a_plan_is_its_owners_alone() -> None:
    house = House()
    house.says("conclude wedding 17 hotel,band alice")
    house.says("conclude party 3 hall grace,alice")
    assert (
        house.says("withdraw wedding", EVE)
        == "Failed: no plan 'wedding' of yours has come to anything; mine lists them."
    )
    assert house.says("mine", EVE) == "No plan of yours has come to anything."
    assert house.says("conclude wedding 17 hotel,band alice", EVE) == "Slot 17 at hotel and band: alice is told."
    assert house.do(Mine()) == PlanList(
        (("party", 3, ("hall",), ("grace", "alice")), ("wedding", 17, PAIR, ("alice",)))
    )
    mine = "wedding: slot 12 at hotel and band, told to alice; party: slot 3 at hall, told to grace and alice"
    house.says("conclude wedding 12 hotel,band alice")
    assert house.says("mine") == mine


def test_what_is_refused_changes_nothing() -> None:
    house = House()
    assert house.do(Conclude("wedding", 17, PAIR, ("alice", "nobody"))) == NoSuchPerson("nobody")
    assert house.do(Withdraw("wedding")) == NoSuchPlan("wedding")
    for nobody in (Conclude("wedding", 17, PAIR, ("alice",)), Withdraw("wedding"), Mine()):
        assert house.do(nobody, None) == NobodyNamed()
        if isinstance(nobody, Command):
            assert house.machine.execute([Request(nobody)], (1, 0)) == [NobodyNamed()]
    crowd = tuple(person.id for person in PEOPLE[4:])
    house.do(Conclude("wedding", 17, PAIR, crowd[: TOLD_MAX - 1]))
    assert len(house.news()) == TOLD_MAX - 1
    assert house.do(Conclude("wedding", 17, PAIR, ("alice", "grace"))) == TooManyTold(TOLD_MAX - 1)
    assert house.do(Conclude("wedding", 12, PAIR, crowd[:2])).text().endswith(f"{crowd[TOLD_MAX - 2]} are told.")
    assert len(house.news()) == TOLD_MAX - 1


@pytest.mark.parametrize(
    "line",
    [
        "conclude wedding 0 hotel alice",
        "conclude wedding 17 hotel",
        f"conclude wedding 17 {','.join(f'v{number}' for number in range(VENDORS_MAX + 1))} alice",
        f"conclude wedding 17 hotel {','.join(f'p{number}' for number in range(TOLD_MAX + 1))}",
        f"conclude {'w' * 65} 17 hotel alice",
        'conclude wedding 17 "hotel," alice',
        "withdraw",
    ],
)
def test_what_makes_no_sense_is_no_command(line: str) -> None:
    house = House()
    assert house.says(line).startswith("Failed: ")
    assert house.news() == []


def test_the_longest_news_still_says_what_is_booked() -> None:
    house = House()
    for slot in (17, 12):
        vendors = tuple(f"{number:02}-{slot}".ljust(64, "x") for number in range(VENDORS_MAX))
        house.do(Conclude("w" * 64, slot, vendors, ("alice",)))
    booked, changed = house.news()
    assert booked.endswith(f"{'15-17'.ljust(64, 'x')}.")
    assert f"{'15-12'.ljust(64, 'x')} instead of slot 17 at 00-17" in changed
    assert len(changed) == TEXT_MAX + len("alice: ")


def test_the_plans_that_were_concluded_last_are_kept() -> None:
    house = House()
    for number in range(PLANS_MAX):
        house.do(Conclude(f"plan{number}", 17, PAIR, ("alice",)))
    house.do(Conclude("plan0", 12, PAIR, ("alice",)))
    house.do(Conclude("one more", 17, PAIR, ("alice",)))
    house.do(Conclude("one more", 17, PAIR, ("alice",)), EVE)
    mine = house.do(Mine())
    assert isinstance(mine, PlanList)
    assert [plan for plan, *_ in mine.plans[:2]] == ["one more", "plan0"]
    assert len(mine.plans) == PLANS_MAX
    assert house.do(Withdraw("plan1")) == NoSuchPlan("plan1")


NAMES, CALLED = ("bob", "eve", "alice", "grace"), ("wedding", "party", "fair")
CONCLUSIONS = st.builds(
    Conclude,
    st.sampled_from(CALLED),
    st.integers(1, 3),
    st.lists(st.sampled_from((*PAIR, "hall")), min_size=1, max_size=3, unique=True).map(tuple),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple),
)
COMMANDS = st.tuples(st.sampled_from((BOB, EVE)), CONCLUSIONS | st.builds(Withdraw, st.sampled_from(CALLED)))


@given(st.lists(COMMANDS, max_size=30))
@settings(max_examples=150, deadline=None)
def test_whatever_is_said_who_is_told_what_is_as_the_model_has_it(said: list[tuple[Person, Command]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans.app, "PLANS_MAX", 2)
        house, model = House(), Hearsay(2)
        for person, command in said:
            house.do(command, person)
            model.do(person.id, command)
            model.compare(house.machine.store)
        assert house.news() == [f"{to}: {text}" for to, text in model.told]


@given(st.lists(COMMANDS, max_size=12), st.data())
@settings(max_examples=100, deadline=None)
def test_to_say_the_last_thing_again_tells_nobody(said: list[tuple[Person, Command]], data: st.DataObject) -> None:
    """However often, and in whatever other words for the same."""
    house = House()
    for person, command in said:
        house.do(command, person)
        house.news()
        for _ in range(data.draw(st.integers(1, 2))):
            before = house.machine.digest()
            house.do(command, person)
            assert house.news() == []
            if isinstance(command, Conclude):
                turned = Conclude(command.plan, command.slot, command.vendors[::-1], command.persons[::-1])
                house.do(turned, person)
            assert house.news() == []
            assert house.machine.digest() == before


def test_what_was_undone_is_told_to_nobody() -> None:
    house = House()
    house.do(Conclude("wedding", 17, PAIR, ("alice",)))
    before, mark = house.machine.digest(), house.machine.store.mark()
    for command in (
        Conclude("wedding", 12, PAIR, ("grace",)),
        Withdraw("wedding"),
        Conclude("party", 1, PAIR, ("bob",)),
    ):
        house.do(command)
    house.machine.store.rollback(mark)
    assert house.machine.digest() == before
    assert house.news() == ["alice: bob has booked slot 17 at hotel and band."]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_takes_them(tmp_path: Path, protocol: str) -> None:
    nodes = "abc"[: min(3, PROTOCOLS[protocol].nodes_max)]
    tables = [f'[nodes.{node}]\nhost = "127.0.0.1"\npeer_port = {7501 + place}' for place, node in enumerate(nodes)]
    tables.append(f'[services.p]\napp = "plans"\nprotocol = "{protocol}"\nnodes = {list(nodes)}')
    path = tmp_path / "site.toml"
    path.write_text("\n".join([*tables, "[people.alice]", "[people.bob]"]))
    replicated = make_core(load_site(path).services["p"], "a", disk="disk")
    app = replicated.machine.app
    assert isinstance(app, Plans)
    assert app.people == {"alice", "bob"}
    assert app.check(replicated.machine.store) is None
    words = Grammar((*app.commands, *replicated.commands), (*app.queries, *replicated.queries)).words
    assert {"conclude", "withdraw", "mine"} <= set(words)


def test_their_defaults() -> None:
    assert (APPS["plans"].protocol, APPS["plans"].private, APPS["plans"].delivers) == ("solo", False, False)
