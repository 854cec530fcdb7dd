"""The golden stories: each is told again and must come out word for word as it stands.

To change them on purpose: `python -m tests.replication.lamport.story --write`, then read the difference.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.replication.lamport.story import GOLDEN, Story, stories

from holdfast.kernel.contracts import Step
from holdfast.kernel.gate import Gate
from holdfast.replication.lamport.exclusion import Exclusion
from holdfast.replication.lamport.joining import Joining
from holdfast.replication.lamport.reads import Reads
from holdfast.replication.lamport.replica import Replica
from holdfast.replication.lamport.views import Views


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_the_story_comes_out_as_it_is_told(path: Path) -> None:
    told = path.read_text()
    assert Story(told).tell() == told


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_a_story_says_what_it_demonstrates_and_fits_a_screen_or_two(path: Path) -> None:
    told = path.read_text()
    assert told.startswith("# This demonstrates ")
    assert told.count("\n") <= 75


def test_a_story_told_twice_is_the_same_to_the_byte() -> None:
    for path in stories()[:3]:
        assert Story(path.read_text()).tell() == Story(path.read_text()).tell()


def test_an_effect_written_by_hand_does_not_stand() -> None:
    told = (GOLDEN / "01_five_rules.txt").read_text()
    forged = told.replace("bob: 1,2,3", "bob: 4,5,6")
    assert forged != told
    assert Story(forged).tell() == told


class EagerGate(Gate):
    """Lets promises leave at once."""

    def absorb(self, step: Step) -> None:
        self.promises += step.promises
        step.promises = []
        super().absorb(step)


def test_a_gate_that_lets_a_promise_out_early_is_caught() -> None:
    told = (GOLDEN / "03_acknowledgement_waits_for_disk.txt").read_text()
    with pytest.raises(AssertionError, match="promises what is not on its disk"):
        Story(told, gate=EagerGate).tell()


def granted_without_acknowledgements(self: Exclusion) -> bool:
    return bool(self._replica.queue)


def leaves_out_of_order(self: Exclusion) -> None:
    replica = self._replica
    for time, server in list(replica.queue):
        if all(self.on_disk[member][server] >= time for member in range(len(self.seen))):
            replica.execute_upto((time, server))


def nothing(*arguments: Any) -> None:
    """A handler that forgot its work."""


def takes_any_order(self: Exclusion, server: int, message: Any) -> None:
    self.seen[server] = message.previous
    original_on_request(self, server, message)


original_on_request = Exclusion.on_request


def acknowledges_before_the_sync(self: Exclusion, pending: Any) -> None:
    self._replica.enqueue(pending)
    here = list(self.on_disk[self._replica.me])
    here[pending.server] = pending.time
    self.on_disk[self._replica.me] = tuple(here)
    self.acknowledge(self._replica.other_members)


def reads_at_once(self: Reads) -> None:
    for read in self.waiting:
        self._replica.reply_executed(read.token, self._replica.machine.answer(read.request))
    self.waiting = []


def forgets_the_queue(self: Replica) -> tuple[Any, ...]:
    return ()


def never_damaged(self: Joining, server: int, message: Any) -> bool:
    return False


def any_disk_counts(self: Replica, server: int, disk: str, installed: int) -> bool:
    return True


def alone_is_enough(self: Views, servers: list[int]) -> bool:
    return True


def votes_as_data(self: Replica, server: int, message: Any) -> None:
    self.step.data.append((server, message))


PLANTED: list[tuple[type, str, Callable[..., Any], str]] = [
    (Exclusion, "granted", granted_without_acknowledgements, "04_slowest_member"),
    (Exclusion, "leave", leaves_out_of_order, "02_tie"),
    (Exclusion, "on_synced", nothing, "01_five_rules"),
    (Exclusion, "release_to", nothing, "01_five_rules"),
    (Exclusion, "_enqueue", acknowledges_before_the_sync, "03_acknowledgement_waits_for_disk"),
    (Exclusion, "on_request", takes_any_order, "10_lost_request"),
    (Exclusion, "repeat_to", nothing, "10_lost_request"),
    (Reads, "pump", reads_at_once, "11_read"),
    (Replica, "pending_entries", forgets_the_queue, "07_holder_dies_heard_by_one"),
    (Replica, "promise", votes_as_data, "26_vote_waits_for_disk"),
    (Joining, "_is_damaged", never_damaged, "22_damaged_journal"),
    (Replica, "is_whole", any_disk_counts, "16_empty_disk_never_counts"),
    (Views, "_is_quorum", alone_is_enough, "20_split"),
]


@pytest.mark.parametrize(
    ("where", "name", "bug", "story"), PLANTED, ids=lambda value: getattr(value, "__name__", value)
)
def test_a_planted_bug_spoils_its_story(
    where: type, name: str, bug: Callable[..., Any], story: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (GOLDEN / f"{story}.txt").read_text()
    monkeypatch.setattr(where, name, bug)
    try:
        retold = Story(told).tell()
    except (AssertionError, KeyError, IndexError):
        return
    assert retold != told
