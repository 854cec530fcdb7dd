"""Seed 000, the shared meeting rooms, sentence by sentence, on replicas that run the whole protocol.

Each test quotes what it shows. The stories named here are golden traces (tests/replication/bayou/golden).
"""

from __future__ import annotations

import random

import pytest
from tests.replication.bayou.replicas import SECOND_US, SECRETARIES, Replicas
from tests.replication.bayou.story import GOLDEN, Story

from holdfast.apps.rooms import DEPARTMENTS, ROOMS
from holdfast.apps.rooms.rows import MeetingHour
from holdfast.kernel.replies import Malformed
from holdfast.sim.rooms_model import Asked, Fate, RoomsModel, asked, fate_of

HOUR_US = 3600 * SECOND_US
DAY = "2026-12-01"


def book(hour: int, room: str = "Maple", *others: str) -> str:
    return f"reserve {room} {DAY} {hour:02}:00 1h Meeting" + "".join(f" --or {other}" for other in others)


def schedule(replicas: Replicas, name: str) -> str:
    return replicas.ask(name, f"schedule {DAY}")


# -- "In a building, there are eight meeting rooms, which are shared by 10 departments on an as-needed basis"


def test_there_are_eight_rooms_and_ten_departments_with_one_secretary_each() -> None:
    assert (len(ROOMS), len(DEPARTMENTS), len(SECRETARIES)) == (8, 10, 10)
    replicas = Replicas(" ".join(DEPARTMENTS))
    for room, department in zip(ROOMS, DEPARTMENTS, strict=False):
        assert f"{room} on {DAY} from 09:00 to 10:00 is reserved" in replicas.book(department, book(9, room))
    replicas.wait(SECOND_US)
    replicas.settled()
    assert schedule(replicas, "physics").count("confirmed") == 8


# -- "Each reservation slot is of 1 h duration, and rooms can only be reserved between 8 a.m. and 5 p.m."


@pytest.mark.parametrize("hour", range(24))
def test_a_slot_lies_between_eight_and_five(hour: int) -> None:
    replicas = Replicas("biology law")
    told = replicas.book("law", book(hour))
    if 8 <= hour < 17:
        assert "is reserved" in told
    else:
        assert "is outside the hours; meetings begin on the hour from 08:00 to 16:00" in told
        assert replicas.log("law").tail == [], "refused at once, never logged"


@pytest.mark.parametrize(
    "line",
    [
        f"reserve Maple {DAY} 09:30 1h Meeting",
        f"reserve Maple {DAY} 16:00 2h Meeting",
        f"reserve Mahple {DAY} 09:00 1h Meeting",
        "reserve Maple 2026-11-31 09:00 1h Meeting",
        "reserve Maple 2026-11-29 09:00 1h Meeting",
    ],
    ids=["not on the hour", "past closing", "no such room", "no such day", "past"],
)
def test_what_makes_no_sense_is_refused_at_once_and_never_logged(line: str) -> None:
    replicas = Replicas("biology law")
    parsed = replicas.grammar.parse(line.encode(), replicas.person("law"))
    told = parsed.text() if isinstance(parsed, Malformed) else replicas.book("law", line)
    assert told.startswith("Failed: ")
    assert replicas.log("law").tail == replicas.log("law").committed == []


# -- "If multiple appointments overlap, the earliest entry for that slot prevails and others are cancelled"


@pytest.mark.parametrize(
    "order", [("law", "music", "physics"), ("physics", "law", "music"), ("music", "physics", "law")]
)
def test_the_earliest_entry_prevails_and_the_others_are_cancelled(order: tuple[str, ...]) -> None:
    """Whoever reaches the primary first."""
    replicas = Replicas("biology law music physics")
    for name in order:
        replicas.isolate(name)
    for name in order:
        replicas.wait(SECOND_US)
        replicas.submit(name, book(9))
    for name in reversed(order):
        replicas.connect("biology", name)
        replicas.wait(2 * SECOND_US)
    replicas.settled()
    assert f"{SECRETARIES[order[0]]} ({order[0]})" in schedule(replicas, "biology")
    for name in order[1:]:
        told = replicas.ask("biology", f"show {name}-1")
        assert "cancelled" in told
        assert f"{SECRETARIES[order[0]]} ({order[0]}) was earlier, at 2026-11-30 " in told
        assert f"{name}-1 is not granted" in replicas.ask("biology", "notices")


# -- "If there is a tie for the earliest entry, the secretaries' first names will be used to break the tie"


def test_the_secretaries_first_names_break_a_tie() -> None:
    """All ten at the same millisecond: Fatima's name is the first of all, wherever her replica stands in the list."""
    for names in (DEPARTMENTS, tuple(reversed(DEPARTMENTS))):
        replicas = Replicas(" ".join(names))
        for name in names:
            replicas.isolate(name)
        for name in names:
            replicas.submit(name, book(9))
        replicas.heal()
        replicas.wait(2 * SECOND_US)
        replicas.settled()
        winners = [write.first_name for write in replicas.log(names[0]).committed]
        assert winners == sorted(SECRETARIES.values())
        assert "Fatima (biology)" in schedule(replicas, names[0])
        assert "Fatima (biology) entered at 2026-11-30 08:00:00.000 UTC too and comes first by name" in replicas.ask(
            names[0], "show physics-1"
        )


def test_the_tie_as_a_golden_trace() -> None:
    told = Story((GOLDEN / "02_tie.txt").read_text()).tell()
    assert 'Maple 09:00-10:00 Hana (history) "Archive" confirmed history-1; Oak 09:00-10:00 Ines (computing)' in told


# -- "Each secretary will work on a separate replica of the schedule and enter the reservation request stamped by
#     the clock time. The clocks are synchronized"


def test_a_request_is_stamped_by_the_clock_time_of_its_replica() -> None:
    replicas = Replicas("biology law")
    replicas.wait(12_345_000)
    replicas.book("law", book(9))
    assert "Liam" in schedule(replicas, "law")
    assert replicas.log("law").last_ms["law"] == replicas.unix_ms(replicas["law"])


# -- "Dependency checks will be done during the anti-entropy sessions as in Bayou. The goal is eventual consistency"


def test_dependency_checks_are_done_during_anti_entropy_sessions() -> None:
    """Each was granted what it wanted; when two replicas meet, the check of the later one fails at both."""
    replicas = Replicas("biology law music")
    replicas.isolate("law")
    replicas.isolate("music")
    assert "is reserved" in replicas.book("law", book(9))
    replicas.wait(SECOND_US)
    assert "is reserved" in replicas.book("music", book(9))
    replicas.connect("law", "music")
    replicas.wait(SECOND_US)
    assert schedule(replicas, "law") == schedule(replicas, "music")
    assert replicas.ask("music", "show music-1").count("not granted yet") == 1


# -- The sequence of message exchange: Write, Request, Reply, Update, Release, Release to all


def test_the_six_steps_as_a_golden_trace() -> None:
    told = Story((GOLDEN / "01_six_steps.txt").read_text()).tell()
    steps = [
        "submit law reserve Maple",  # 1, Write: the secretary to her replica
        "law -> biology Request ",  # 2, Request: stamped, to the primary
        "law-1 at 08:00:00.000",
        "biology -> law Reply commit 1 law-1",  # 3
        "law writes Committed 1 law-1",  # 4, Update
        "law -> biology Release 1 committed",  # 5
        "biology -> music Released",  # 6, Release to all
        "music writes Committed 1 law-1",
    ]
    place = 0
    for step in steps:
        place = told.find(step, place)
        assert place >= 0, f"{step} does not come in its turn"


def test_the_six_steps_need_no_timer() -> None:
    """From tentative to confirmed everywhere while time stands still."""
    replicas = Replicas(" ".join(DEPARTMENTS))
    before = replicas.now_us
    assert "[tentative, law-1" in replicas.book("law", book(9))
    assert replicas.now_us == before
    replicas.settled()
    assert all(replicas.log(name).csn == 1 for name in replicas.names)


def test_the_trace_of_a_booking_shows_the_six_steps_in_their_order() -> None:
    told = Story((GOLDEN / "01_six_steps.txt").read_text()).tell().split("trace law-1")[1]
    words = [
        "Write",
        "Request write law-1",
        "Reply commit law-1 as 1",
        "Update confirmed",
        "Release has 1",
        "Released write law-1",
    ]
    places = [told.find(f"{word}") for word in words]
    assert all(place > 0 for place in places)
    assert places == sorted(places)


# -- Ten secretaries on ten replicas book eight rooms, some of them offline for hours

OFFLINE = ("history", "music", "physics")


class Office:
    """Ten replicas and their secretaries, who enter whatever they like; and the plain list of what they entered."""

    def __init__(self, seed: int, **options: object) -> None:
        self.chance = random.Random(seed)
        self.replicas = Replicas(" ".join(DEPARTMENTS), **options)  # type: ignore[arg-type]
        self.entered: list[Asked] = []
        self.count = dict.fromkeys(DEPARTMENTS, 0)

    def enter(self, name: str) -> None:
        """One request, entered at the time that the clock shows."""
        chance, replicas = self.chance, self.replicas
        own = [entry.id for entry in self.entered if entry.department == name and entry.word == "reserve"]
        kind = chance.random()
        if own and kind < 0.1:
            line = f"cancel {chance.choice(own)}"
        elif own and kind < 0.2:
            line = f"change {chance.choice(own)} {self.place()}"
        else:
            line = f"reserve {self.place()} Meeting"
            line += "".join(f" --or {self.alternative()}" for _ in range(chance.randrange(3)))
        replicas.submit(name, line)
        self.count[name] += 1
        stamp = (replicas.unix_ms(replicas[name]), SECRETARIES[name], name)
        command = replicas.request(name, line).command
        self.entered.append(asked(f"{name}-{self.count[name]}", stamp, False, replicas.person(name), command))

    def place(self) -> str:
        hour = self.chance.randrange(8, 16)
        day, duration = self.chance.choice(["2026-12-02", "2026-12-03"]), self.chance.choice(["1h", "2h"])
        return f"{self.chance.choice(ROOMS)} {day} {hour:02}:00 {duration}"

    def alternative(self) -> str:
        return f"{self.chance.choice(ROOMS)}@{self.chance.randrange(8, 16):02}:00"

    def spend(self, rounds: int) -> None:
        """Everybody enters something now and then: the offline ones at times in the very same millisecond."""
        for _ in range(rounds):
            self.replicas.now_us += self.chance.randrange(1, 4) * 60_000_000
            together = [name for name in OFFLINE if self.chance.random() < 0.5]
            for name in together:
                self.enter(name)
            self.replicas.now_us += 5_000
            for name in DEPARTMENTS:
                if name not in OFFLINE and self.chance.random() < 0.5:
                    self.replicas.now_us += 2_000
                    self.enter(name)
            self.replicas.deliver_all()

    def by_the_rule(self) -> tuple[RoomsModel, dict[str, Fate]]:
        """What comes of it all by the stated rule: first come, first served, by (time, first name)."""
        model = RoomsModel(ROOMS, 8, 17)
        return model, {entry.id: model.do(entry) for entry in sorted(self.entered, key=lambda entry: entry.stamp)}


def grid(replicas: Replicas, name: str) -> dict[tuple[str, str, int], str]:
    """Which request has which hour, at this replica."""
    meetings = replicas.core(name).replica.machine.store.table(MeetingHour)
    return {(row.room, row.day, row.hour): row.id for row in meetings}


@pytest.mark.parametrize("seed", range(4))
def test_ten_secretaries_some_offline_for_hours_end_with_the_same_schedule_by_the_stated_rule(seed: int) -> None:
    office = Office(seed)
    replicas = office.replicas
    for name in OFFLINE:
        replicas.isolate(name)
    office.spend(60)  # two hours
    assert len({tuple(sorted(grid(replicas, name).items())) for name in OFFLINE}) == 3, "as yet they differ"
    for name in OFFLINE:
        for other in DEPARTMENTS:
            if other != name:
                replicas.connect(name, other)
        office.spend(2)
    replicas.wait(10 * SECOND_US)
    replicas.settled()
    model, fates = office.by_the_rule()
    assert len({entry.stamp[0] for entry in office.entered}) < len(office.entered), "there were ties"
    for name in DEPARTMENTS:
        assert grid(replicas, name) == model.grid()
    finals = {
        text.split(" tells that ")[1].split(" is committed")[0]
        for kind, text in replicas.lines
        if kind == "change" and " is committed" in text
    }
    assert {entry.id for entry in office.entered} <= finals, "each of them was told what finally came of it"
    assert {fate.state for fate in fates.values()} >= {"granted", "moved", "not granted", "cancelled"}


def test_each_one_s_final_outcome_and_its_reason_are_those_of_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(7)
    replicas = office.replicas
    outcomes: dict[str, Fate] = {}
    settle = type(replicas.core("biology").replica)._settle

    def noted(self: object, entry: object) -> None:
        write = entry.write  # type: ignore[attr-defined]
        outcomes[f"{write.replica}-{write.number}"] = fate_of(entry.reply)  # type: ignore[attr-defined]
        settle(self, entry)

    monkeypatch.setattr(type(replicas.core("biology").replica), "_settle", noted)
    for name in OFFLINE:
        replicas.isolate(name)
    office.spend(40)
    replicas.heal()
    replicas.wait(10 * SECOND_US)
    replicas.settled()
    assert outcomes == office.by_the_rule()[1]
