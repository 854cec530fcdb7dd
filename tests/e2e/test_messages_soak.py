"""Messages while nodes and clients are killed again and again: nothing lost, nothing double, all in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.bench.messages_soak import SoakPlan, soak

SECONDS, LONG_SECONDS = 20.0, 600.0


@pytest.mark.parametrize("seconds", [SECONDS, pytest.param(LONG_SECONDS, marks=pytest.mark.slow)])
def test_messages_survive_kills_of_nodes_and_clients(tmp_path: Path, seconds: float) -> None:
    found = soak(SoakPlan(seconds=seconds), tmp_path, print)
    assert found.errors == []
    assert sum(found.kills.values()) >= 2
    assert found.sent > found.plan.pairs
    assert found.received >= found.sent  # what goes to the group arrives at every watcher
    assert found.pushed > found.received / 10
