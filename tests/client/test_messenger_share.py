"""A person whose client ids without a birth are used up: what a messenger makes of the service's refusal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.client.conftest import reply
from tests.client.test_messenger_faults import messenger

from holdfast.client import Kept, Refused, Sent
from holdfast.kernel.replies import OutOfClients

REFUSAL = OutOfClients("ann", 1_000)


def test_who_waits_is_told_and_nothing_is_tried_again(house: Any, tmp_path: Path) -> None:
    server = house.server("out_of_clients", login="login ann t")
    with messenger(house, tmp_path) as ann:
        with pytest.raises(Refused) as refused:
            ann.send("bob", "m1")
        assert refused.value.type == REFUSAL.__struct_config__.tag
        assert ann.drafts == []
        assert ann.send("bob", "m2") == Sent("bob", "1-1", "a+b", 1), "the next one is asked anew"
    assert [line.split()[0].partition(":")[2] for line in server.requests()] == ["1/1", "2/2"]


def test_what_nobody_waits_for_any_more_is_kept_with_the_reason(
    house: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    server = house.server(always="silence", login="login ann t")
    with messenger(house, tmp_path, wait_s=0.05) as ann:
        assert isinstance(ann.send("bob", "m1"), Kept)
        server.always, server.more = "out_of_clients", reply(False, REFUSAL.text(), "out_of_clients")
        until(lambda: ann.drafts[0].refused)
        (draft,) = ann.drafts
        assert (draft.text, draft.refused) == ("m1", REFUSAL.text().removeprefix("Failed: "))
        assert "use one of those again" in draft.refused
    tried = len(server.requests())
    with messenger(house, tmp_path) as ann:
        assert [kept.text for kept in ann.drafts] == ["m1"], "it is not lost"
        server.always, server.more = "", {}
        assert ann.send("bob", "m2") == Sent("bob", "1-1", "a+b", 1)
    assert len(server.requests()) == tried + 1, "and is not sent again"
