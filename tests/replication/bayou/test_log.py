"""The write log: order, vectors, what is known of replicas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.errors import BrokenInvariant, MalformedInput
from holdfast.replication.bayou.log import WriteLog, as_vector, entry_of, id_of, parse_id
from holdfast.replication.bayou.messages import CREATION, RETIREMENT, Creation, MemberRow, Retirement, Write, encode


def founded(*names: str) -> WriteLog:
    log = WriteLog()
    for name in names:
        log.members[name] = MemberRow(name, name, "", 0, "live")
        log.vector[name] = 0
    return log


def insert(log: WriteLog, *writes: Write) -> None:
    log.insert(writes, log.place(writes))


def commit(log: WriteLog, count: int, epoch: int = 0) -> None:
    entries = log.tail[:count]
    del log.tail[:count]
    for entry in entries:
        del log.entries[(entry.write.replica, entry.write.number)]
    log.commit(entries, epoch)


def of(name: str, number: int, ms: int, first_name: str = "") -> Write:
    return Write(ms, first_name, name, number, b"")


stamps = st.tuples(st.integers(1, 6), st.sampled_from(["Ann", "Bob"]), st.sampled_from(["a", "b", "c"]))


@given(st.lists(stamps, unique=True, max_size=12), st.data())
def test_the_tail_stands_in_stamp_order_however_the_writes_arrive(
    found: list[tuple[int, str, str]], data: st.DataObject
) -> None:
    """Milliseconds, then first names, then replicas."""
    writes, last = [], dict.fromkeys("abc", (0, 0))
    for ms, first_name, name in sorted(found):
        number, before = last[name]
        if ms > before:
            last[name] = (number + 1, ms)
            writes.append(of(name, number + 1, ms, first_name))
    log = founded("a", "b", "c")
    for name in data.draw(st.permutations("abc")):
        for write in (write for write in writes if write.replica == name):
            insert(log, write)
    assert [entry.write for entry in log.tail] == writes
    assert log.vector == {name: number for name, (number, _) in last.items()}


def test_several_writes_at_once_find_their_places_between_those_that_are_there() -> None:
    log = founded("a", "b")
    insert(log, of("a", 1, 10), of("a", 2, 30))
    insert(log, of("b", 1, 5), of("b", 2, 20), of("b", 3, 40))
    assert [id_of(entry.write) for entry in log.tail] == ["b-1", "a-1", "b-2", "a-2", "b-3"]


def test_a_write_that_is_there_already_is_a_broken_invariant() -> None:
    log = founded("a")
    insert(log, of("a", 1, 10))
    with pytest.raises(BrokenInvariant):
        insert(log, of("a", 1, 10))


def test_commits_must_follow_each_authors_own_order() -> None:
    log = founded("a")
    insert(log, of("a", 1, 10), of("a", 2, 20))
    second = log.tail[1]
    with pytest.raises(BrokenInvariant):
        log.commit([second], 0)


def test_a_commit_is_known_by_its_number_also_when_the_log_has_dropped_it() -> None:
    log = founded("a")
    insert(log, *(of("a", number, number) for number in range(1, 6)))
    commit(log, 4)
    log.truncate(1)
    assert (log.csn, log.omitted, len(log.committed), len(log.tail)) == (4, 3, 1, 1)
    assert log.is_committed(("a", 4))
    assert not log.is_committed(("a", 5))
    assert [write.number for write in log.after(3)] == [4]
    log.truncate(1)
    assert log.omitted == 3


def test_the_epoch_of_each_commit_is_kept() -> None:
    log = founded("a")
    insert(log, *(of("a", number, number) for number in range(1, 6)))
    commit(log, 2, 0)
    commit(log, 1, 65)
    commit(log, 2, 65)
    assert [log.epoch_at(csn) for csn in range(6)] == [0, 0, 0, 65, 65, 65]
    assert log.epochs_from(0) == ((1, 0), (3, 65))
    assert log.epochs_from(1) == ((2, 0), (3, 65))
    assert log.epochs_from(3) == ((4, 65),)
    assert log.epochs_from(5) == ()


# -- Never heard of, or retired (Petersen et al. 1997, section 5)


def created(replica: str, creator: str, number: int, ms: int) -> Write:
    return Write(ms, "", creator, number, encode(Creation(replica, replica, ())), CREATION)


def retired(replica: str, number: int, ms: int) -> Write:
    return Write(ms, "", replica, number, encode(Retirement(replica)), RETIREMENT)


def test_a_peer_that_lacks_a_replica_s_creation_has_never_heard_of_it() -> None:
    log = founded("a", "b")
    insert(log, created("c", "a", 1, 10), of("c", 1, 11))
    assert not log.known_to({"a": 0, "b": 0}, "c", 1)
    assert log.known_to({"a": 1, "b": 0, "c": 1}, "c", 1)
    assert not log.known_to({"a": 1, "b": 0, "c": 0}, "c", 1)


def test_a_peer_that_had_the_creation_and_lacks_the_entry_knows_that_it_has_retired() -> None:
    log = founded("a", "b")
    insert(log, created("c", "a", 1, 10), of("c", 1, 11), retired("c", 2, 12))
    assert log.known_to({"a": 1, "b": 0}, "c", 2)


def test_a_replica_made_by_one_that_is_gone_too_is_judged_by_that_one_s_creation() -> None:
    log = founded("a", "b")
    insert(log, created("c", "a", 1, 10), created("d", "c", 1, 11), of("d", 1, 12))
    assert not log.known_to({"a": 0, "b": 0}, "d", 1)
    assert log.known_to({"a": 1, "b": 0}, "d", 1)


def test_a_retired_replica_leaves_the_vector_when_its_last_write_is_committed() -> None:
    log = founded("a", "b")
    insert(log, of("a", 1, 10), retired("a", 2, 11))
    assert log.live == ["b"]
    assert log.vector["a"] == 2
    commit(log, 2)
    assert "a" not in log.vector
    assert log.members["a"].state == "gone"
    assert log.includes((("a", 2),)), "what it wrote is here all the same"


def test_a_creation_takes_the_place_of_the_node_s_earlier_replicas() -> None:
    log = founded("a", "b")
    insert(log, Write(10, "", "a", 1, encode(Creation("b~2", "b", ("b",))), CREATION))
    assert log.live == ["a", "b~2"]
    assert (log.members["b"].state, log.vector["b"]) == ("replaced", 0)


def test_a_write_of_a_kind_of_tomorrow_is_malformed() -> None:
    with pytest.raises(MalformedInput):
        insert(founded("a"), Write(10, "", "a", 1, b"", 9))


@given(st.text("ab-~0123456789", max_size=12))
def test_ids_are_read_as_they_are_written(text: str) -> None:
    name = parse_id(text)
    assert name is None or parse_id(id_of(of(name[0], name[1], 1))) == name


def test_ids_of_all_kinds() -> None:
    assert parse_id("biology-42") == ("biology", 42)
    assert parse_id("law~ab-cd-7") == ("law~ab-cd", 7)
    for text in ("", "7", "-7", "law-", "law-x", "law--", "law-²", "law-" + "9" * 16):
        assert parse_id(text) is None


def test_vectors_are_canonical() -> None:
    assert as_vector({"b": 1, "a": 2}) == (("a", 2), ("b", 1))
    assert entry_of(of("a", 1, 5, "Ann")).stamp == (5, "Ann", "a")
