"""The golden stories: each is told again and must come out word for word as it stands.

To change them on purpose: `python -m tests.replication.bayou.story --write`, then read the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.replication.bayou.story import GOLDEN, Story, stories

from holdfast.kernel.contracts import Step
from holdfast.kernel.gate import Gate
from holdfast.replication.bayou import log
from holdfast.replication.bayou.antientropy import AntiEntropy
from holdfast.replication.bayou.epochs import Epochs
from holdfast.replication.bayou.files import Files
from holdfast.replication.bayou.log import Entry, WriteLog, name_of
from holdfast.replication.bayou.members import Members
from holdfast.replication.bayou.primary import Primary
from holdfast.replication.bayou.proposals import Proposals
from holdfast.replication.bayou.replica import Replica
from holdfast.replication.bayou.transfer import Transfer
from holdfast.replication.bayou.views import Views


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_the_story_comes_out_as_it_is_told(path: Path) -> None:
    told = path.read_text()
    assert Story(told).tell() == told


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_a_story_says_what_it_demonstrates_and_fits_a_screen_or_two(path: Path) -> None:
    told = path.read_text()
    assert told.startswith("# This demonstrates ")
    assert told.count("\n") <= 75


def test_an_effect_written_by_hand_does_not_stand() -> None:
    told = (GOLDEN / "02_tie.txt").read_text()
    forged = told.replace("comes first by name", "comes second by name")
    assert forged != told
    assert Story(forged).tell() == told


class EagerGate(Gate):
    """Lets messages leave at once."""

    def absorb(self, step: Step) -> None:
        self.promises += step.promises
        step.promises = []
        super().absorb(step)


def test_a_gate_that_lets_a_message_out_early_is_caught() -> None:
    told = (GOLDEN / "22_durable_first.txt").read_text()
    with pytest.raises(AssertionError, match="promises what is not on its disk"):
        Story(told, gate=EagerGate).tell()


def nothing(*arguments: Any) -> None:
    """A handler that forgot its work."""


def at_the_end(self: WriteLog, writes: Sequence[Any]) -> int:
    return len(self.tail)


def everything_is_firm(self: Primary) -> int:
    return len(self.replica.log.tail)


def nobody_is_asked(self: Primary) -> int:
    return 1 << 60


def no_name(write: Any) -> Entry:
    return Entry(write, name_of(write), (write.ms, "", write.replica))


def knows_nothing(self: WriteLog, vector: dict[str, int]) -> dict[str, int]:
    return dict.fromkeys(self.vector, 0)


def everything_fits(self: WriteLog, vector: Any, beside: Any = None) -> list[Any]:
    return []


def never_foreign(self: Transfer, checkpoint: Any) -> list[Any]:
    return []


def believes_everything(self: Replica) -> int:
    return 1 << 62


def one_vote_is_enough(self: Proposals) -> None:
    replica = self.replica
    if replica.is_primary and replica.proposed:
        self._commit(replica.proposed)


def adopts_nothing(self: Epochs) -> None:
    if self.claimed and 2 * len(self.vows) > len(self.replica.voters):
        self._enthrone(self.claimed, self.replica.me)


def forgets_what_it_wrote(self: Members, old: str, number: int) -> None:
    original_forget(self, old, number)
    self.replica.anew = []


original_forget = Members.forget_own


def rolls_forward_at_once(self: Views, writes: Sequence[Any]) -> None:
    original_insert(self, writes)
    self.roll_forward(1000)


original_insert = Views.insert


def as_if_early(self: Views, entry: Any, latest: Any) -> Any:
    return original_execute(self, entry, (0, "", ""))


original_execute = Views._execute


def promises_unwritten(self: Files) -> tuple[str, int, int]:
    replica = self.replica
    return replica.replica, replica.deadline_ms, replica.log.vector.get(replica.replica, 0)


PLANTED: list[tuple[type, str, Any, str]] = [
    (WriteLog, "place", at_the_end, "03_earliest_entry_prevails"),
    (Primary, "_firm_count", everything_is_firm, "08_deadline"),
    (Primary, "frontier_ms", nobody_is_asked, "08_deadline"),
    (Primary, "_note_deadlines", nothing, "09_horizon"),
    (Primary, "on_release", nothing, "01_six_steps"),
    (log, "entry_of", no_name, "02_tie"),
    (WriteLog, "lacking", knows_nothing, "11_commit_notice"),
    (WriteLog, "missing", everything_fits, "10_anti_entropy"),
    (Transfer, "_beyond", never_foreign, "12_truncation"),
    (Members, "on_create", nothing, "13_creation"),
    (Members, "retired_known", nothing, "14_retirement"),
    (Files, "_foreign", lambda self, carried: "another site", "15_transport_media"),
    (Replica, "bound_ms", property(believes_everything), "16_quarantine"),
    (AntiEntropy, "release_held", nothing, "16_quarantine"),
    (Epochs, "on_yield", nothing, "17_hand_over"),
    (Proposals, "confirm", one_vote_is_enough, "19_old_primary_confirms_nothing"),
    (Epochs, "_consider_vows", adopts_nothing, "20_adopted_proposals"),
    (Members, "forget_own", forgets_what_it_wrote, "23_old_copy"),
    (Views, "insert", rolls_forward_at_once, "27_rollback_and_redo"),
    (Views, "_execute", as_if_early, "07_immediate"),
    (Files, "_promise", promises_unwritten, "28_promise_by_file"),
    (Files, "_promise", nothing, "28_promise_by_file"),
]


@pytest.mark.parametrize(
    ("where", "name", "bug", "story"), PLANTED, ids=lambda value: getattr(value, "__name__", str(value)[:20])
)
def test_a_planted_bug_spoils_its_story(
    where: type, name: str, bug: Callable[..., Any], story: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (GOLDEN / f"{story}.txt").read_text()
    monkeypatch.setattr(where, name, bug)
    try:
        retold = Story(told).tell()
    except Exception:
        return
    assert retold != told
