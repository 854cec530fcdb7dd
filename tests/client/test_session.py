"""The client's core, as a table of transitions: what happened, and what it does next. No I/O, no clock."""

from __future__ import annotations

import random

import pytest
from tests.client.session_shell import DEADLINE_US, DONE, GREETED, SERVERS, Shell, reply

from holdfast.client.outcomes import Answer, Denied, Undone, Unknown
from holdfast.client.session import Close, Connect, Idle, Send, Session, Wait


def test_a_request_goes_out_behind_the_greeting_under_its_name() -> None:
    shell = Shell()
    call = shell.submit()
    shell.reach()
    assert shell.sent() == ["mode json", "@p:1/1 reserve bob 3"]
    shell.hear(GREETED, DONE)
    assert shell.act() == Idle()
    assert call.outcome == Answer(True, "reserved", "reserved", {})


def test_the_next_request_takes_the_next_number_and_tells_what_is_answered() -> None:
    shell = Shell()
    shell.submit()
    shell.reach()
    shell.sent()
    shell.hear(GREETED, DONE)
    shell.submit("search bob")
    assert shell.sent() == ["@p:2/2 search bob"]


@pytest.mark.parametrize(
    ("answer", "ends_as"),
    [
        (DONE, "reserved"),
        (reply("no_reservation"), "no_reservation"),
        (reply("malformed"), "malformed"),
        (reply("forgotten"), "forgotten"),
        (reply("forbidden"), "forbidden"),
    ],
)
def test_a_final_answer_ends_the_request_and_keeps_the_connection(answer: bytes, ends_as: str) -> None:
    shell = Shell()
    call = shell.submit()
    shell.reach()
    shell.sent()
    shell.hear(GREETED, answer)
    assert isinstance(call.outcome, Answer)
    assert call.outcome.type == ends_as
    shell.submit()
    assert isinstance(shell.act(), Send)


@pytest.mark.parametrize(
    ("answer", "doubtful"),
    [
        (reply("unavailable"), False),
        (reply("overloaded"), False),
        (reply("unknown"), True),
        (b"HTTP/1.1 400 Bad Request", True),
        (b"{}", True),
        (b'{"ok": "yes"}', True),
        (b"[1]", True),
        (b"\xff\xfe", True),
        (b"", True),
    ],
)
def test_what_is_no_final_answer_sends_the_same_number_to_another_server(answer: bytes, doubtful: bool) -> None:
    shell = Shell()
    call = shell.submit()
    first = shell.reach()
    shell.sent()
    shell.hear(GREETED, answer)
    assert shell.act() == Close()
    assert shell.reach() != first
    assert shell.sent()[-1] == "@p:1/1 reserve bob 3"
    assert call.doubtful is doubtful


def test_a_connection_that_ends_sends_everything_unanswered_elsewhere_in_order() -> None:
    shell = Shell()
    calls = [shell.submit(f"reserve {name} 1") for name in ("ann", "bob", "cyd")]
    shell.reach()
    shell.sent()
    shell.hear(GREETED, DONE)
    shell.session.lost(shell.now_us, "it closed the connection")
    shell.reach()
    assert shell.sent() == ["mode json", "@p:2/2 reserve bob 1", "@p:3/2 reserve cyd 1"]
    assert [call.doubtful for call in calls] == [False, True, True]


def test_a_refusal_amid_many_waits_for_the_others_then_goes_elsewhere_first() -> None:
    shell = Shell()
    calls = [shell.submit(f"reserve {name} 1") for name in ("ann", "bob", "cyd")]
    shell.reach()
    shell.sent()
    shell.hear(GREETED, reply("overloaded"), DONE)
    late = shell.submit("reserve dee 1")
    assert isinstance(shell.act(), Wait), "nothing more is asked of an overloaded server, but what was asked is awaited"
    shell.hear(DONE)
    assert shell.act() == Close()
    shell.reach()
    assert shell.sent()[1:] == ["@p:1/1 reserve ann 1", "@p:4/1 reserve dee 1"]
    assert [call.outcome is None for call in [*calls, late]] == [True, False, False, True]


def test_a_silent_server_is_left_at_the_timeout_and_not_before() -> None:
    shell = Shell()
    shell.submit()
    shell.reach()
    shell.sent()
    assert shell.act() == Wait(5_000_000)
    shell.now_us = 4_999_999
    assert isinstance(shell.act(), Wait)
    shell.now_us = 5_000_000
    assert shell.act() == Close()
    assert isinstance(shell.act(), Connect)


def test_a_slow_but_talking_server_is_not_silent() -> None:
    shell = Shell()
    for _ in range(3):
        shell.submit()
    shell.reach()
    shell.sent()
    shell.hear(GREETED)
    for _ in range(2):
        shell.now_us += 4_000_000
        shell.hear(DONE)
        assert isinstance(shell.act(), Wait)


def test_idle_time_is_not_silence() -> None:
    shell = Shell()
    shell.submit()
    shell.reach()
    shell.sent()
    shell.hear(GREETED, DONE)
    shell.now_us += 60_000_000
    shell.submit()
    assert isinstance(shell.act(), Send)
    assert shell.act() == Wait(shell.now_us + 5_000_000)


def test_a_dial_without_end_is_left_at_the_timeout() -> None:
    shell = Shell()
    shell.submit()
    action = shell.act()
    assert isinstance(action, Connect)
    assert action.until_us == 5_000_000
    assert shell.act() == Wait(5_000_000)
    shell.now_us = 5_000_000
    assert shell.act() == Close()


def test_each_server_is_tried_once_before_any_is_tried_again_after_a_pause() -> None:
    shell = Shell()
    shell.submit()
    tried = []
    for _ in SERVERS:
        tried.append(shell.reach())
        shell.session.lost(shell.now_us, "connection refused")
    assert sorted(server.port for server in tried) == [1, 2, 3]
    assert shell.now_us == 0, "no pause within a round"
    assert isinstance(shell.act(), Wait)
    pauses = []
    for _ in range(8):
        before_us = shell.now_us
        for _ in SERVERS:
            shell.reach()
            shell.session.lost(shell.now_us, "connection refused")
        pauses.append(shell.now_us - before_us)
    assert 0 < pauses[0] <= 10_000
    assert pauses == sorted(pauses)
    assert pauses[-1] <= 500_000


def test_the_choice_is_random_and_repeats_with_its_seed() -> None:
    def chosen(seed: int) -> int:
        session = Session(SERVERS, identify=lambda: "p", chooser=random.Random(seed))
        session.submit("seats", DEADLINE_US)
        action = session.act(0)
        assert isinstance(action, Connect)
        return action.server.port

    assert {chosen(seed) for seed in range(30)} == {1, 2, 3}
    assert [chosen(seed) for seed in range(30)] == [chosen(seed) for seed in range(30)]


def test_a_server_that_failed_is_asked_last_for_a_while() -> None:
    for seed in range(20):
        session = Session(SERVERS, identify=lambda: "p", chooser=random.Random(seed))
        session.submit("seats", 90_000_000)
        ports = []
        for now_us in (0, 1):
            action = session.act(now_us)
            assert isinstance(action, Connect)
            ports.append(action.server.port)
            session.connected(now_us)
            if now_us == 0:
                session.lost(now_us, "closed")
        assert isinstance(session.act(2), Send)
        session.received(3, GREETED)
        session.received(3, DONE)
        session.submit("seats", 90_000_000)
        session.lost(4, "closed")
        action = session.act(5)
        assert isinstance(action, Connect)
        assert action.server.port not in ports


def test_at_the_deadline_a_request_under_way_is_unknown_and_one_never_sent_is_undone() -> None:
    shell = Shell(greeting=("mode json", "login bob"))
    never_sent = shell.submit(deadline_us=1_000_000)
    shell.reach()
    assert shell.sent() == ["mode json", "login bob"]
    shell.now_us = 1_000_000
    shell.act()
    assert isinstance(never_sent.outcome, Undone)
    under_way = shell.submit(deadline_us=1_000_000)
    shell.hear(GREETED, reply("login", ok=True))
    assert shell.sent() == ["@p:2/2 reserve bob 3"]
    shell.now_us += 1_000_000
    shell.act()
    assert isinstance(under_way.outcome, Unknown)


def test_refused_by_every_server_until_the_deadline_is_certainly_undone() -> None:
    shell = Shell()
    call = shell.submit()
    while call.outcome is None:
        action = shell.act()
        if isinstance(action, Connect):
            shell.session.connected(shell.now_us)
        elif isinstance(action, Send):
            shell.hear(GREETED, reply("unavailable", text="the minority side"))
        elif isinstance(action, Wait):
            shell.now_us = action.until_us
    assert isinstance(call.outcome, Undone)
    assert "the minority side" in call.outcome.why
    assert shell.now_us == DEADLINE_US


def test_after_an_unknown_the_old_number_is_kept_and_new_requests_use_a_new_id() -> None:
    shell = Shell()
    unknown = shell.submit(deadline_us=1_000_000)
    shell.reach()
    shell.sent()
    shell.now_us = 1_000_000
    shell.act()
    assert isinstance(unknown.outcome, Unknown)
    shell.submit("seats")
    assert shell.sent() == ["@q:1/1 seats"]
    shell.hear(GREETED, DONE, DONE)
    shell.session.resume(unknown, shell.now_us + DEADLINE_US)
    assert shell.sent() == ["@p:1/1 reserve bob 3"]


def test_the_late_answer_of_a_call_that_has_ended_is_not_taken_for_the_next_ones() -> None:
    shell = Shell()
    ended = shell.submit(deadline_us=1_000_000)
    shell.reach()
    shell.sent()
    shell.now_us = 1_000_000
    shell.act()
    following = shell.submit("seats")
    shell.sent()
    shell.hear(GREETED, DONE, reply("seats", ok=True))
    assert isinstance(ended.outcome, Unknown)
    assert isinstance(following.outcome, Answer)
    assert following.outcome.type == "seats"


def test_an_expired_id_is_replaced_once() -> None:
    shell = Shell()
    call = shell.submit()
    shell.reach()
    shell.sent()
    shell.hear(GREETED, reply("expired"))
    assert shell.sent() == ["@q:1/1 reserve bob 3"]
    shell.hear(reply("expired"))
    assert isinstance(call.outcome, Answer)
    assert call.outcome.type == "expired"


def test_an_expired_id_of_a_doubtful_request_leaves_it_unknown() -> None:
    shell = Shell()
    call = shell.submit()
    shell.reach()
    shell.sent()
    shell.session.lost(shell.now_us, "closed")
    shell.reach()
    shell.sent()
    shell.hear(GREETED, reply("expired"))
    assert isinstance(call.outcome, Unknown), "it may have been executed before its id expired"


def test_nothing_is_sent_behind_a_login_before_it_is_accepted() -> None:
    shell = Shell(greeting=("mode json", "login bob secret"))
    call = shell.submit()
    shell.reach()
    assert shell.sent() == ["mode json", "login bob secret"]
    shell.hear(GREETED)
    assert isinstance(shell.act(), Wait)
    shell.hear(reply("forbidden", text="Failed: unknown token."))
    assert call.outcome == Denied("Failed: unknown token.")
    assert shell.act() == Close()
    assert shell.act() == Idle()


def test_a_login_that_cannot_be_checked_here_is_tried_elsewhere() -> None:
    shell = Shell(greeting=("mode json", "login bob secret"))
    shell.submit()
    first = shell.reach()
    shell.sent()
    shell.hear(GREETED, reply("unavailable"))
    assert shell.act() == Close()
    assert shell.reach() != first


def test_what_a_server_says_unasked_is_no_answer() -> None:
    shell = Shell()
    call = shell.submit()
    shell.reach()
    shell.sent()
    shell.hear(GREETED, b"* 17 bob: your seats are released")
    assert call.outcome is None
    shell.hear(DONE)
    assert isinstance(call.outcome, Answer)
    shell.hear(DONE)
    assert shell.act() == Close(), "a line too many: its answers cannot be matched to the questions any more"


def test_at_most_a_window_of_requests_is_under_way() -> None:
    shell = Shell()
    for _ in range(100):
        shell.submit("seats")
    shell.reach()
    assert len(shell.sent()) == 1 + 64
    shell.hear(GREETED, DONE, DONE)
    assert shell.sent() == ["@p:65/3 seats", "@p:66/3 seats"]


def test_a_request_of_an_earlier_process_goes_out_under_its_old_name_and_claims_nothing_answered() -> None:
    shell = Shell()
    call = shell.session.repeat("reserve bob 3", "k3f9.1795218000000", 7, DEADLINE_US)
    shell.reach()
    assert shell.sent()[1:] == ["@k3f9.1795218000000:7/0 reserve bob 3"]
    shell.now_us = DEADLINE_US
    shell.act()
    assert isinstance(call.outcome, Unknown), "it may have been executed in its earlier life"


def test_a_session_tells_where_it_moves() -> None:
    shell = Shell(servers=SERVERS[:2])
    shell.submit()
    first = shell.reach()
    shell.sent()
    shell.session.lost(shell.now_us, "it closed the connection")
    second = shell.reach()
    shell.sent()
    shell.hear(GREETED, DONE)
    shell.submit()
    shell.session.lost(shell.now_us, "it closed the connection")
    shell.reach()
    shell.sent()
    shell.hear(GREETED, DONE)
    assert shell.session.notes == [
        f"{first}: it closed the connection. Trying another server.",
        f"{second}: it closed the connection. Trying another server.",
        f"{first} answers now.",
    ]


def test_of_a_lone_server_nobody_is_told_that_another_one_is_tried() -> None:
    shell = Shell(servers=SERVERS[:1])
    shell.submit()
    for _ in range(3):
        shell.reach()
        shell.session.lost(shell.now_us, "connection refused")
    told = "a:1: connection refused. There is no other server: trying on until the deadline."
    assert shell.session.notes == [told]


def test_the_same_trouble_is_told_once_however_often_it_comes_around() -> None:
    shell = Shell(servers=SERVERS[:2])
    shell.submit()
    for _ in range(10):
        shell.reach()
        shell.session.lost(shell.now_us, "connection refused")
    assert sorted(shell.session.notes) == [
        "No server takes it now. Trying on until the deadline.",
        "a:1: connection refused. Trying another server.",
        "b:2: connection refused. Trying another server.",
    ]
