"""D. Terry et al., "Managing Update Conflicts in Bayou, a Weakly Connected Replicated Storage System",
SOSP 1995: its scenarios by name, on replicas that run the whole protocol. Section numbers are the paper's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.replication.bayou.replicas import SECOND_US, Replicas
from tests.replication.bayou.story import GOLDEN, Story

from holdfast.apps.rooms.app import Rooms
from holdfast.apps.rooms.rows import Entry, MeetingHour
from holdfast.apps.rooms.words import Reserve
from holdfast.apps.rooms.writes import BayouWrite, bayou_write, resolve
from holdfast.kernel.contracts import Context
from holdfast.kernel.machine import Machine
from holdfast.kernel.store import TupleStore

DAY = "1995-12-18"
FAR = "2026-12-18"


def book(hour: int, room: str = "Maple", *others: str) -> str:
    return f"reserve {room} {FAR} {hour:02}:00 1h Meeting" + "".join(f" --or {other}" for other in others)


def schedule(replicas: Replicas, name: str, view: str = "full") -> str:
    return replicas.ask(name, f"schedule {FAR}", view)


def told(story: str, *phrases: str) -> None:
    """The golden trace of this name says so, in this order, as it is told now."""
    text = Story((GOLDEN / f"{story}.txt").read_text()).tell()
    place = 0
    for phrase in phrases:
        place = text.find(phrase, place)
        assert place >= 0, f"{story} does not say {phrase!r} in its turn"


# -- 2.1, the meeting room scheduler


def test_2_1_users_may_read_and_write_any_copy_and_see_tentative_reservations_greyed_out() -> None:
    told(
        "06_two_views",
        'schedule 2026-12-01`: 2026-12-01: Oak 09:00-10:00 Liam (law) "Dean" tentative law-2.',
        'schedule 2026-12-01`: 2026-12-01: Maple 09:00-10:00 Liam (law) "Budget" confirmed law-1.',
    )


def test_2_1_a_group_of_disconnected_users_keep_each_other_s_tentative_reservations_apart() -> None:
    """ "Users who are disconnected from the rest of the system but connected to each other"."""
    told(
        "05_disconnected_pair",
        "Oak on 2026-12-01 from 09:00 to 10:00 is reserved, as music-1, moved from Maple",
        '"Budget" tentative law-1; Oak 09:00-10:00 Oscar (music) "Rehearsal" tentative music-1',
        "schedule 2026-12-01`: 2026-12-01: all free.",
        '"Budget" confirmed law-1; Oak 09:00-10:00 Oscar (music) "Rehearsal" confirmed music-1',
    )


# -- 4, figure 3: Bayou_Write(update, dependency_check, mergeproc) of the meeting room scheduler


def figure_3(app: Rooms) -> BayouWrite:
    """ "Budget Meeting" on 12/18/95 from 1:30 to 2:30, or else at 3:00, or the next day at 9:30: here, on the hour."""
    command = Reserve("Oak", DAY, "13:00", "1h", "Budget Meeting", ("Oak@15:00", "Oak@1995-12-19@09:00"))
    made = bayou_write(app.house, command, "law-1")
    assert isinstance(made, BayouWrite)
    return made


@pytest.mark.parametrize(
    ("others", "place"),
    [
        ((), ("Oak", DAY, 13)),
        (((DAY, "13:00"),), ("Oak", DAY, 15)),
        (((DAY, "13:00"), (DAY, "15:00")), ("Oak", "1995-12-19", 9)),
        (((DAY, "13:00"), (DAY, "15:00"), ("1995-12-19", "09:00")), None),
    ],
    ids=["no conflict", "the first alternate", "the second", "errlog: no alternate is left"],
)
def test_4_figure_3_the_write_reserves_a_meeting_with_alternates(
    others: Sequence[tuple[str, str]], place: tuple[str, str, int] | None
) -> None:
    """As data, by queries (`resolve`), and as the app carries it out: the same meeting comes of it."""
    app = Rooms()
    by_query, by_app = Machine(app).store, Machine(app).store
    for number, (day, start) in enumerate(others, 1):
        other = Reserve("Oak", day, start, "1h", "Other")
        for store in (by_query, by_app):
            app.apply(store, other, context(f"music-{number}", number))
    number = resolve(by_query, figure_3(app))
    command = Reserve("Oak", DAY, "13:00", "1h", "Budget Meeting", ("Oak@15:00", "Oak@1995-12-19@09:00"))
    app.apply(by_app, command, context("law-1", 99))
    assert held(by_query) == held(by_app) == place
    assert (number >= 0) is (place is not None)
    entry = by_app.table(Entry).get("law-1")
    assert entry is not None
    assert entry.choice == number


def context(id: str, ms: int) -> Context:
    made = Context()
    made.now_ms, made.name, made.stamp = ms, id, (ms, "Liam", "law")
    made.person = Replicas("law", start=False).person("law")
    made.notify = lambda to, text: None
    return made


def held(store: TupleStore) -> tuple[str, str, int] | None:
    return next(((row.room, row.day, row.hour) for row in store.table(MeetingHour) if row.id == "law-1"), None)


def test_4_conflicts_are_detected_and_resolved_alike_at_every_server_by_the_write_itself() -> None:
    told(
        "04_merge_procedure",
        "law-1 is committed: Ash on 2026-12-01 from 15:00 to 16:00 is reserved, as law-1, moved from Ash",
        "Failed: physics-1 is not granted Ash on 2026-12-01 from 14:00 to 15:00, nor one of its 2 alternatives",
        "cancelled, wanted Ash on 2026-12-01 from 14:00 to 15:00: Georg (chemistry) was earlier",
    )


def test_4_1_the_dependency_check_sees_more_than_two_writes_to_one_item() -> None:
    """Overlap is a matter of the application's meaning: a two-hour meeting and one inside it write different rows."""
    replicas = Replicas("biology law music")
    replicas.isolate("law")
    replicas.isolate("music")
    replicas.submit("law", f"reserve Maple {FAR} 09:00 3h Meeting")
    replicas.wait(SECOND_US)
    replicas.submit("music", f"reserve Maple {FAR} 10:00 1h Meeting")
    replicas.heal()
    replicas.wait(SECOND_US)
    assert "cancelled" in replicas.ask("music", "show music-1")


def test_4_2_a_merge_procedure_runs_again_with_each_replay_and_may_come_out_otherwise() -> None:
    replicas = Replicas("biology law music physics")
    for name in replicas.names[1:]:
        replicas.isolate(name)
    for name in ("law", "music", "physics"):
        replicas.wait(SECOND_US)
        replicas.submit(name, book(9, "Maple", "Oak@09:00", "Elm@09:00"))
    rooms = [schedule(replicas, "physics")]
    for name in ("music", "law"):
        replicas.connect("physics", name)
        replicas.wait(SECOND_US)
        rooms.append(schedule(replicas, "physics"))
    assert ["Maple 09:00-10:00 Priya" in rooms[0], "Oak 09:00-10:00 Priya" in rooms[1]] == [True] * 2
    assert "Elm 09:00-10:00 Priya" in rooms[2]


# -- 5, replica consistency


def test_5_1_all_servers_move_towards_eventual_consistency_by_a_global_order_of_writes() -> None:
    """Any two that have the same writes have the same data, in whatever order they got them."""
    replicas = Replicas("biology law music physics")
    for name in replicas.names:
        replicas.isolate(name)
    for hour in (9, 10):
        for name in replicas.names:
            replicas.now_us += 1000
            replicas.submit(name, book(hour, "Maple", "Oak@09:00"))
    replicas.connect("law", "music")
    replicas.wait(SECOND_US)
    replicas.disconnect("law", "music")
    replicas.connect("music", "physics")
    replicas.wait(SECOND_US)
    replicas.disconnect("music", "physics")
    replicas.connect("physics", "law")
    replicas.wait(SECOND_US)
    replicas.disconnect("physics", "law")
    replicas.connect("law", "music")
    replicas.wait(SECOND_US)
    digests = {replicas.core(name).status()["full_digest"] for name in ("law", "music", "physics")}
    assert len(digests) == 1


def test_5_2_rollback_and_redo() -> None:
    """Figure 4: a write set from another server; the tuple store is rolled back to the insertion point."""
    told(
        "27_rollback_and_redo",
        "physics executes law-1:",
        "physics executes music-1: Failed",
        "physics executes physics-1: Oak on 2026-12-01 from 09:00 to 10:00 is reserved, as physics-1, moved",
    )


def test_5_2_a_write_appended_to_the_log_of_its_own_server_rolls_nothing_back() -> None:
    replicas = Replicas("biology law")
    replicas.isolate("law")
    for hour in range(8, 17):
        replicas.submit("law", book(hour))
    assert replicas.core("law").replica.views.executions == 9


def test_5_3_a_server_answers_which_writes_are_stable() -> None:
    replicas = Replicas("biology law music")
    replicas.isolate("law")
    replicas.submit("law", book(9))
    assert "is tentative, firm by" in replicas.ask("law", "stable law-1")
    assert "is not known here" in replicas.ask("music", "stable law-1")
    replicas.heal()
    replicas.wait(SECOND_US)
    assert replicas.ask("music", "stable law-1") == "law-1 is committed, as number 1."


def test_5_3_the_primary_commits_and_the_others_learn_it_by_anti_entropy() -> None:
    told(
        "07_immediate",
        "biology -> law Reply commit 1 law-1",
        "law tells that law-1 is committed",
        "music tells that law-1 is committed",
        "biology executes music-1 late: Oak on 2026-12-01",
    )


def test_5_3_who_is_apart_from_the_primary_goes_on_but_commits_nothing() -> None:
    replicas = Replicas("biology law music", policy="immediate")
    replicas.isolate("law", "music")
    replicas.submit("law", book(9))
    replicas.wait(2 * SECOND_US)
    assert "tentative" in schedule(replicas, "music")
    assert schedule(replicas, "music", "committed").endswith("all free.")
    replicas.heal()
    replicas.wait(SECOND_US)
    replicas.settled()


@pytest.mark.parametrize("policy", ["immediate", "all-heard"])
def test_5_3_the_committed_order_agrees_with_the_order_of_each_server_s_own_writes(policy: str) -> None:
    replicas = Replicas("biology law music", policy=policy)
    replicas.isolate("music")
    for hour in range(8, 12):
        replicas.wait(SECOND_US)
        replicas.submit("music", book(hour))
        replicas.submit("law", book(hour))
        replicas.deliver_all()
    replicas.heal()
    replicas.wait(2 * SECOND_US)
    replicas.settled()
    for name in ("law", "music"):
        numbers = [write.number for write in replicas.log("biology").committed if write.replica == name]
        assert numbers == [1, 2, 3, 4]


# -- 6, storage system: the tuple store holds the full and the committed view at once


def test_6_both_views_can_be_read_at_any_time_and_a_crash_loses_neither() -> None:
    replicas = Replicas("biology law music")
    replicas.book("law", book(9))
    replicas.isolate("law")
    replicas.submit("law", book(10))
    before = schedule(replicas, "law"), schedule(replicas, "law", "committed")
    replicas.crash("law")
    replicas.restart("law")
    assert (schedule(replicas, "law"), schedule(replicas, "law", "committed")) == before
    assert before[0].count("Maple") == 2 > before[1].count("Maple") == 1


def test_6_the_log_is_truncated_at_the_committed_prefix_and_the_store_goes_on() -> None:
    replicas = Replicas("biology law")
    for hour in range(8, 17):
        replicas.book("law", book(hour))
    replicas.wait(SECOND_US)
    digest = replicas.core("law").replica.views.digest()
    assert replicas.book("law", "truncate") == "9 committed writes were dropped from the log."
    assert replicas.core("law").replica.views.digest() == digest
    assert "is reserved" in replicas.book("law", book(8, "Oak"))
