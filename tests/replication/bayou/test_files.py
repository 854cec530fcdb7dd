"""Anti-entropy through files."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.replication.bayou.replicas import SECOND_US, Replicas

from holdfast.kernel.errors import MalformedInput
from holdfast.replication.bayou import files
from holdfast.replication.bayou.files import read, written

HOUR_US = 3600 * SECOND_US
NOTHING = "0 new writes, 0 new commits."


def book(hour: int, room: str = "Maple") -> str:
    return f"reserve {room} 2026-12-01 {hour:02}:00 1h Meeting"


@pytest.fixture
def laptop(monkeypatch: pytest.MonkeyPatch) -> Replicas:
    """music never sees the network; law has eighteen bookings, nine of them committed."""
    monkeypatch.setattr(files, "EXPORT_BYTES_MAX", 500)
    replicas = Replicas("biology law music")
    replicas.isolate("music")
    for hour in range(8, 17):
        replicas.submit("law", book(hour))
    replicas.deliver_all()
    replicas.jump(24 * HOUR_US)
    replicas.wait(3 * SECOND_US)
    for hour in range(8, 17):
        replicas.submit("law", f"reserve Oak 2026-12-05 {hour:02}:00 1h Meeting")
    replicas.deliver_all()
    assert (replicas.log("law").csn, len(replicas.log("law").tail)) == (9, 9)
    return replicas


def same(replicas: Replicas, one: str, other: str) -> bool:
    log, its = replicas.log(one), replicas.log(other)
    return (log.csn, log.vector) == (its.csn, its.vector)


def test_all_parts_in_their_order_bring_everything(laptop: Replicas) -> None:
    parts = laptop.export("law")
    assert len(parts) > 3
    told = [laptop.take("music", part) for part in parts]
    assert not any(text.startswith("Failed") for text in told)
    assert same(laptop, "law", "music")
    laptop.agree()


def test_parts_may_be_repeated_also_all_of_them(laptop: Replicas) -> None:
    parts = laptop.export("law")
    for part in parts:
        laptop.take("music", part)
        assert laptop.take("music", part) == NOTHING
    assert [laptop.take("music", part) for part in parts] == [NOTHING] * len(parts)
    assert [laptop.take("law", part) for part in parts] == [NOTHING] * len(parts)


def test_a_part_that_follows_one_that_is_missing_says_which_and_changes_nothing(laptop: Replicas) -> None:
    parts = laptop.export("law")
    before = laptop.core("music").replica.records_written
    for part in reversed(parts[1:]):
        assert "follows one that is not here yet" in laptop.take("music", part)
    assert laptop.core("music").replica.records_written == before
    for _ in range(len(parts)):  # in any order, again and again, they all come in
        for part in reversed(parts):
            laptop.take("music", part)
    assert same(laptop, "law", "music")


def test_there_and_back_makes_it_firm(laptop: Replicas) -> None:
    laptop.now_us += SECOND_US
    laptop.submit("music", "reserve Oak 2026-12-05 09:00 1h Choir --or Elm@2026-12-05@09:00")
    for part in laptop.export("music"):
        laptop.take("law", part)
    laptop.wait(2 * SECOND_US)
    laptop.jump(25 * HOUR_US)
    laptop.wait(3 * SECOND_US)
    for part in laptop.export("law"):
        laptop.take("music", part)
    assert 'Elm 09:00-10:00 Oscar (music) "Choir" confirmed' in laptop.ask("music", "schedule 2026-12-05")
    assert laptop.log("music").tail == []


def test_what_changed_between_two_exports_is_no_harm(laptop: Replicas) -> None:
    old = laptop.export("law")
    laptop.submit("law", "reserve Ash 2026-12-06 09:00 1h New")
    new = laptop.export("law")
    for part in new:
        laptop.take("music", part)
    assert [laptop.take("music", part) for part in old] == [NOTHING] * len(old)


def test_the_log_may_grow_while_it_is_exported(laptop: Replicas) -> None:
    parts, cursor = [], ""
    while not parts or cursor:
        laptop.ask("law", f"export {cursor}".rstrip())
        reply = laptop.replies.pop()[2]
        parts.append(reply.part)  # type: ignore[attr-defined]
        cursor = reply.cursor  # type: ignore[attr-defined]
        if len(parts) < 4:
            laptop.submit("law", f"reserve Ash 2026-12-06 {8 + len(parts):02}:00 1h New")
    for part in parts:
        assert not laptop.take("music", part).startswith("Failed")
    assert same(laptop, "law", "music")


def test_below_the_log_the_state_is_exported_and_own_tentative_writes_stay(laptop: Replicas) -> None:
    laptop.book("law", "truncate")
    laptop.submit("music", "reserve Elm 2026-12-06 09:00 1h Choir")
    parts = laptop.export("law")
    for part in parts:
        assert not laptop.take("music", part).startswith("Failed")
    assert laptop.log("music").csn == 9
    assert "Elm 09:00" in laptop.ask("music", "schedule 2026-12-06")
    assert [laptop.take("music", part) for part in parts] == [NOTHING] * len(parts)
    out_of_order = laptop.export("law")[1:2]
    laptop.crash("music")
    laptop.empty_disk("music")
    laptop.restart("music")
    assert "import the pieces in order" in laptop.take("music", out_of_order[0])


def test_a_laptop_with_an_empty_disk_learns_from_a_file() -> None:
    replicas = Replicas("biology law +music")
    replicas.book("law", book(9))
    replicas.isolate("music")
    replicas.restart("music")
    replicas.book("biology", "truncate")
    for part in replicas.export("biology"):
        assert not replicas.take("music", part).startswith("Failed")
    assert "Maple 09:00" in replicas.ask("music", "schedule 2026-12-01", "committed")


def test_a_damaged_part_is_refused_whatever_byte_is_wrong(laptop: Replicas) -> None:
    part = laptop.export("law")[0]
    data = bytearray(base64.urlsafe_b64decode(part))
    before = laptop.core("music").status()
    for place in range(0, len(data), 7):
        damaged = bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert "checksum" in laptop.take("music", base64.urlsafe_b64encode(damaged).decode())
    for cut in (1, 10, len(part) // 2, len(part) - 1):
        assert laptop.take("music", part[:cut]).startswith("Failed")
    assert laptop.core("music").status() == before


def test_a_part_of_another_site_or_app_is_refused(laptop: Replicas) -> None:
    other = Replicas("biology chemistry")
    other.book("chemistry", book(9))
    tickets = Replicas("biology law music", app="tickets")
    tickets.book("law", "reserve bob 2")
    assert "of another site" in laptop.take("music", other.export("chemistry")[0])
    assert "of the app 'tickets'" in laptop.take("music", tickets.export("law")[0])


def test_a_cursor_that_is_none_or_too_old_says_to_begin_again(laptop: Replicas) -> None:
    assert "begin without a cursor" in laptop.ask("law", "export nonsense")
    laptop.ask("law", "export")
    cursor = laptop.replies[-1][2].cursor  # type: ignore[attr-defined]
    laptop.book("law", "truncate")
    assert "begin again without a cursor" in laptop.ask("law", f"export {cursor}")


@given(st.binary(max_size=200))
def test_what_is_written_is_read(data: bytes) -> None:
    assert read(written(data)) == data


@given(st.text(max_size=60))
def test_no_text_is_read_by_mistake(text: str) -> None:
    with pytest.raises(MalformedInput):
        read(text)


# -- Parts of a given size


def parts_of(replicas: Replicas, name: str, bytes_max: int) -> list[str]:
    parts, cursor = [], ""
    while not parts or cursor:
        replicas.ask(name, f"export {cursor} --bytes {bytes_max}")
        reply: Any = replicas.replies.pop()[2]
        parts.append(reply.part)
        cursor = reply.cursor
    return parts


@pytest.mark.parametrize("bytes_max", [500, 501, 777, 1000, 3000, 60_000])
def test_parts_are_as_small_as_they_are_asked_for(laptop: Replicas, bytes_max: int) -> None:
    for name in ("law", "biology"):
        parts = parts_of(laptop, name, bytes_max)
        assert max(map(len, parts)) <= bytes_max
        assert len(parts) <= max(5, 20_000 // bytes_max)
    assert not any(laptop.take("music", part).startswith("Failed") for part in parts)
    assert same(laptop, "biology", "music")


@pytest.mark.parametrize("bytes_max", [500, 1000, 60_000])
def test_a_state_is_cut_into_pieces_of_that_size(laptop: Replicas, bytes_max: int) -> None:
    laptop.book("law", "truncate")
    laptop.submit("music", "reserve Elm 2026-12-06 09:00 1h Choir")
    parts = parts_of(laptop, "law", bytes_max)
    assert max(map(len, parts)) <= bytes_max
    assert not any(laptop.take("music", part).startswith("Failed") for part in parts)
    assert (laptop.log("music").csn, len(laptop.log("music").tail)) == (9, 10)
    assert "Maple 09:00" in laptop.ask("music", "schedule 2026-12-01", "committed")


def test_a_write_that_is_larger_has_a_part_of_its_own(laptop: Replicas) -> None:
    laptop.submit("law", f"reserve Ash 2026-12-06 09:00 1h {'x' * 190} --or {','.join(['Oak@2026-12-06@09:00'] * 30)}")
    parts = parts_of(laptop, "law", 500)
    assert [len(part) > 500 for part in parts].count(True) == 1
    assert not any(laptop.take("music", part).startswith("Failed") for part in parts)
    assert same(laptop, "law", "music")


def test_pieces_of_two_sizes_are_not_mixed(laptop: Replicas) -> None:
    laptop.book("law", "truncate")
    laptop.ask("law", "export --bytes 500")
    cursor = laptop.replies[-1][2].cursor  # type: ignore[attr-defined]
    laptop.ask("law", "export --bytes 600")
    assert "begin again without a cursor" in laptop.ask("law", f"export {cursor} --bytes 500")


def test_a_retired_replica_says_that_it_is(laptop: Replicas) -> None:
    laptop.book("law", "retire")
    laptop.wait(3 * SECOND_US)
    assert laptop.ask("law", "export") == "Failed: this replica has retired; export at another node."


# -- Promises in files


@pytest.fixture
def quiet() -> Replicas:
    """music's laptop never sees the network and writes nothing; law's booking waits for it."""
    replicas = Replicas("biology law music")
    replicas.isolate("music")
    replicas.submit("law", book(9))
    replicas.wait(3 * SECOND_US)
    assert replicas.log("biology").csn == 0
    return replicas


def heard_ms(replicas: Replicas, name: str) -> int:
    ms: int = replicas.core("biology").primary.heard_ms(name)
    return ms


def test_the_last_part_alone_promises(laptop: Replicas) -> None:
    laptop.submit("music", "reserve Elm 2026-12-06 09:00 1h Choir")
    for part in laptop.export("law"):
        laptop.take("music", part)
    parts = laptop.export("music")
    assert len(parts) > 2
    before_ms = heard_ms(laptop, "music")
    for part in parts[:-1]:
        assert "heard of" not in laptop.take("biology", part)
    assert "music is heard of up to " in laptop.take("biology", parts[-1])
    assert heard_ms(laptop, "music") > before_ms
    assert laptop.log("biology").tail == []


def test_what_was_promised_is_kept_over_a_crash_and_a_clock_set_back(quiet: Replicas) -> None:
    quiet.export("music")
    promised_ms = quiet.unix_ms(quiet["music"])
    quiet.crash("music")
    quiet["music"].skew_ms = -HOUR_US // 1000
    quiet.restart("music")
    assert quiet.core("music").replica.promised_ms == promised_ms
    quiet.submit("music", book(9))
    assert quiet.log("music").tail[-1].write.ms > promised_ms


def test_nobody_promises_in_a_file_what_the_others_would_not_believe(quiet: Replicas) -> None:
    """The laptop's clock was an hour ahead, and is right again."""
    quiet["music"].skew_ms = HOUR_US // 1000
    quiet.submit("music", book(9))
    quiet["music"].skew_ms = 0
    quiet.export("music")
    replica = quiet.core("music").replica
    assert quiet.unix_ms(quiet["music"]) <= replica.promised_ms <= replica.bound_ms < replica.clock.milliseconds


def test_a_promise_does_not_count_before_all_the_writes_are_in(quiet: Replicas) -> None:
    """The laptop's clock is an hour ahead: its write waits in quarantine, so nothing behind it is heard of."""
    quiet["music"].skew_ms = HOUR_US // 1000
    quiet.submit("music", book(9))
    for part in quiet.export("music"):
        assert "0 new writes" in quiet.take("biology", part)
    (held,) = quiet.core("biology").replica.held["music"]
    assert heard_ms(quiet, "music") == held.ms - 1
    assert quiet.core("biology").primary.promises["music"][1] == 1


def test_an_older_file_takes_nothing_back(quiet: Replicas) -> None:
    old = quiet.export("music")
    quiet.wait(3 * SECOND_US)
    for part in quiet.export("music"):
        quiet.take("biology", part)
    before_ms = heard_ms(quiet, "music")
    assert [quiet.take("biology", part) for part in old] == [NOTHING] * len(old)
    assert heard_ms(quiet, "music") == before_ms == quiet.unix_ms(quiet["music"])


def test_a_file_of_a_disk_that_was_replaced_since_does_not_count(quiet: Replicas) -> None:
    old = quiet.export("music")
    quiet.crash("music")
    quiet.empty_disk("music")
    quiet.connect("law", "music")
    quiet.isolate("biology")
    quiet.restart("music")
    quiet.wait(5 * SECOND_US)
    quiet.connect("biology", "law")
    quiet.deliver_all()
    assert quiet.core("biology").replica.log.members["music"].state == "replaced"
    assert [quiet.take("biology", part) for part in old] == [NOTHING] * len(old)


def test_only_the_primary_counts_it_and_not_its_own(quiet: Replicas) -> None:
    parts = quiet.export("music")
    assert [quiet.take("law", part) for part in parts] == [NOTHING] * len(parts)
    own = quiet.export("biology")
    assert [quiet.take("biology", part) for part in own] == [NOTHING] * len(own)
    assert quiet.log("biology").csn == 0


def test_who_commits_at_once_asks_for_no_promise() -> None:
    replicas = Replicas("biology law", policy="immediate")
    replicas.export("law")
    assert replicas.core("law").replica.promised_ms == 0


def test_what_an_import_holds_back_it_says() -> None:
    """music's clock was ahead when it wrote; its file brings what nobody takes in yet."""
    replicas = Replicas("biology law music")
    replicas.isolate("music")
    replicas["music"].skew_ms = 26 * 3_600_000
    replicas.submit("music", book(14), book(15))
    parts = replicas.export("music")
    told = [replicas.take("law", part) for part in parts]
    assert told == ["0 new writes, 0 new commits. 2 wait, for they are stamped too far ahead."]
    assert [replicas.take("law", part) for part in parts] == [NOTHING] * len(parts), "they wait there already"
