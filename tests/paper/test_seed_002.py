"""The fault-tolerant ticket reservation, sentence by sentence, on the servers' cores.

Each test quotes what it shows. (Real processes, sockets and the command line have tests of their own.)
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.replication.lamport.servers import Servers

from holdfast.client.addresses import Addresses
from holdfast.client.outcomes import Server
from holdfast.client.session import Connect, Session, Wait
from holdfast.replication.lamport import LamportConfiguration

BOB = "@phone:1 reserve bob 3"
BOB_BOOKED = "The seats have been reserved for bob: 1,2,3."
SECOND_US = 1_000_000


def theatre(names: str = "a b c", seats: int = 10) -> Servers:
    servers = Servers(names, seats=seats)
    servers.start_all()
    return servers


def said(servers: Servers, name: str, line: str) -> str:
    """What this server answers, once everything is delivered."""
    (servers.ask if line.split()[0] in ("search", "seats", "list") else servers.submit)(name, line)
    servers.deliver_all()
    server, asked, text = servers.replies[-1]
    assert (server, asked) == (name, line)
    return text


def gone(servers: Servers, *names: str) -> None:
    """They crash, and those who are left find the connection refused."""
    for name in names:
        servers.crash(name)
        servers.deliver_all()
        for other in servers.names:
            servers.refuse(other, name)
    servers.deliver_all()


def identical(servers: Servers) -> bool:
    running = [server.core.replica for server in servers.servers if server.runs]
    return len({(replica.position, replica.machine.digest()) for replica in running}) == 1


# -- "the movie theatre has c total seats and there are n servers that keep the current reservation"


@pytest.mark.parametrize("names", ["a", "a b", "a b c", "a b c d e"])
def test_every_one_of_n_servers_keeps_the_reservation_of_c_seats(names: str) -> None:
    servers = theatre(names, seats=4)
    said(servers, "a", "reserve bob 3")
    for name in servers.names:
        assert said(servers, name, "search bob") == "1,2,3"
        assert said(servers, name, "seats") == "1 seats are free: 4."


# -- (a) reserve


def test_if_the_theater_does_not_have_enough_seats_the_request_is_rejected() -> None:
    servers = theatre(seats=4)
    said(servers, "a", "reserve bob 3")
    assert said(servers, "b", "reserve ann 2") == "Failed: only 1 seats left but 2 seats are requested."
    assert said(servers, "c", "search ann") == "Failed: no reservation is made by ann."


def test_if_a_reservation_has_been_made_using_the_name_the_client_shows_the_seats_previously_reserved() -> None:
    servers = theatre()
    said(servers, "a", "reserve bob 3")
    assert said(servers, "b", "reserve bob 1") == "Failed: bob has booked the following seats: 1,2,3."


def test_too_few_seats_is_told_before_an_earlier_reservation_is() -> None:
    servers = theatre(seats=4)
    said(servers, "a", "reserve bob 3")
    assert said(servers, "a", "reserve bob 2") == "Failed: only 1 seats left but 2 seats are requested."


def test_otherwise_the_seats_are_assigned_to_the_name() -> None:
    assert said(theatre(), "a", "reserve bob 3") == BOB_BOOKED


# -- (b) search


def test_search_returns_the_seat_numbers_that_are_reserved_for_the_name_at_every_server() -> None:
    servers = theatre()
    said(servers, "a", "reserve ann 2")
    said(servers, "b", "reserve bob 3")
    assert [said(servers, name, "search bob") for name in "abc"] == ["3,4,5"] * 3


def test_if_no_reservation_is_found_for_the_name_search_says_so() -> None:
    assert said(theatre(), "b", "search bob") == "Failed: no reservation is made by bob."


# -- (c) delete


def test_delete_frees_up_the_seats_that_are_assigned_to_the_name() -> None:
    servers = theatre()
    said(servers, "a", "reserve bob 3")
    assert said(servers, "b", "delete bob") == "3 seats have been released. 10 seats are now available."
    assert said(servers, "c", "reserve eve 10") == "The seats have been reserved for eve: 1,2,3,4,5,6,7,8,9,10."


def test_if_no_reservation_is_found_for_the_name_delete_says_so() -> None:
    assert said(theatre(), "b", "delete bob") == "Failed: no reservation is made by bob."


# -- "behave correctly in presence of multiple concurrent clients"


@pytest.mark.parametrize("seed", range(10))
def test_concurrent_clients_at_all_servers_never_get_one_seat_twice(seed: int) -> None:
    chance = random.Random(seed)
    servers = theatre(seats=7)
    pairs = [(one, other) for one in "abc" for other in "abc" if one != other]
    lines = [f"reserve guest{number} {chance.randint(1, 3)}" for number in range(8)]
    for line in lines:
        servers.submit(chance.choice("abc"), line)
        for one, other in chance.sample(pairs, 3):
            servers.deliver_any(one, other)
    servers.deliver_all()
    booked = [text.split(": ")[1].rstrip(".") for _, _, text in servers.replies if text.startswith("The seats")]
    seats = [seat for text in booked for seat in text.split(",")]
    assert len(seats) == len(set(seats)) > 0
    assert all(len(servers.told(line)) == 1 for line in lines)


@pytest.mark.parametrize("seed", range(10))
def test_the_reservation_is_identical_at_all_servers_since_every_update_is_made_in_the_same_order(seed: int) -> None:
    chance = random.Random(seed)
    servers = theatre()
    for number in range(12):
        name, guest = chance.choice("abc"), chance.choice(["ann", "bob", "eve"])
        servers.submit(name, chance.choice([f"@c{number}:1 reserve {guest} 2", f"@c{number}:1 delete {guest}"]))
        servers.deliver_any(*chance.sample("abc", 2))
    servers.deliver_all()
    histories = [[entry[:2] for entry in server.core.replica.history] for server in servers.servers]
    assert histories[0] == histories[1] == histories[2] == sorted(histories[0])
    assert identical(servers)


# -- "Lamport's algorithm requires the messages between servers are delivered in FIFO order"


def test_a_connection_that_breaks_with_messages_on_their_way_costs_neither_order_nor_update() -> None:
    servers = theatre()
    servers.submit("a", "reserve ann 1")
    servers.disconnect("a", "b")
    servers.submit("a", "reserve bob 1")
    servers.connect("a", "b")
    servers.wait(SECOND_US)
    assert servers.told("reserve ann 1") == ["The seats have been reserved for ann: 1."]
    assert servers.told("reserve bob 1") == ["The seats have been reserved for bob: 2."]
    assert identical(servers)


# -- "every server has a file that holds its IP address and port number as well as those of other servers"


def servers_file(folder: Path) -> Path:
    file = folder / "servers.txt"
    file.write_text("127.0.0.1 7101\n127.0.0.1 7102\n127.0.0.1 7103\n")
    return file


def test_a_client_first_reads_the_file_of_all_servers(tmp_path: Path) -> None:
    found = Addresses.of_servers(servers_file(tmp_path)).servers("tickets")
    assert [(server.host, server.port) for server in found] == [("127.0.0.1", port) for port in (7101, 7102, 7103)]


# -- "the illusion of a single immortal server"


def test_clients_see_one_server_that_never_dies_while_each_of_them_dies_and_comes_back() -> None:
    servers = theatre()
    assert said(servers, "a", BOB) == BOB_BOOKED
    for name, other in ("ab", "bc", "ca"):
        gone(servers, name)
        assert said(servers, other, BOB) == BOB_BOOKED
        assert said(servers, other, f"reserve guest-of-{other} 1").startswith("The seats have been reserved")
        servers.restart(name)
        servers.wait(SECOND_US)
        assert said(servers, name, "search bob") == "1,2,3"
    assert identical(servers)
    assert said(servers, "a", "seats") == "4 seats are free: 7-10."


# -- "perfect failure detection, i.e., a server does not respond in the timeout interval iff it is crashed"


def test_the_timeout_is_five_seconds_unless_configured() -> None:
    assert LamportConfiguration(me=0, servers=("a",), model="perfect", disk="d").timeout_us == 5 * SECOND_US


def test_a_server_that_is_silent_within_the_timeout_is_waited_for() -> None:
    servers = theatre()
    servers.submit("a", BOB)
    servers.crash("c")
    servers.deliver_all()
    servers.wait(4 * SECOND_US)
    assert servers.told(BOB) == []
    assert servers.core("a").status()["view"] == ["a", "b", "c"]


def test_a_server_that_is_silent_past_the_timeout_has_crashed_and_the_others_go_on() -> None:
    servers = theatre()
    servers.submit("a", BOB)
    servers.crash("c")
    servers.deliver_all()
    servers.wait(6 * SECOND_US)
    assert servers.told(BOB) == [BOB_BOOKED]
    assert servers.core("a").status()["view"] == ["a", "b"]


# -- "at least one server is available. However, DO NOT assume that it is the same server that is always up"


@pytest.mark.parametrize("last", ["a", "b", "c"])
def test_the_last_server_goes_on_alone_whichever_it_is(last: str) -> None:
    servers = theatre()
    said(servers, "a", "reserve ann 1")
    gone(servers, *(name for name in "abc" if name != last))
    assert said(servers, last, "reserve bob 1") == "The seats have been reserved for bob: 2."
    assert said(servers, last, "list") == "ann: 1; bob: 2"


def test_the_one_that_is_up_changes_and_nothing_is_lost_on_the_way() -> None:
    servers = theatre("a b")
    said(servers, "a", "reserve ann 1")
    gone(servers, "a")
    said(servers, "b", "reserve bob 1")
    servers.restart("a")
    servers.wait(SECOND_US)
    gone(servers, "b")
    assert said(servers, "a", "list") == "ann: 1; bob: 2"


# -- "When a server comes up again, it would need to synchronize with existing servers"


@pytest.mark.parametrize("emptied", [False, True])
def test_a_server_that_comes_up_again_has_synchronized_before_it_serves(emptied: bool) -> None:
    servers = theatre()
    gone(servers, "c")
    said(servers, "a", BOB)
    if emptied:
        servers.empty_disk("c")
    servers.restart("c")
    servers.ask("c", "search bob")
    servers.wait(SECOND_US)
    assert "1,2,3" in servers.told("search bob") or servers.told("search bob")[0].startswith("Failed: not served here")
    assert said(servers, "c", "search bob") == "1,2,3"
    assert identical(servers)


# -- "randomly connects to one of the servers. If [it] is not available, the client contacts some other server"


def client(seed: int, tmp_path: Path) -> Session:
    found = Addresses.of_servers(servers_file(tmp_path)).servers("tickets")
    return Session(found, identify=lambda: "phone", chooser=random.Random(seed))


def test_a_client_chooses_its_server_at_random(tmp_path: Path) -> None:
    chosen: list[Server] = []
    for seed in range(40):
        session = client(seed, tmp_path)
        session.submit("search bob", 60 * SECOND_US)
        action = session.act(0)
        assert isinstance(action, Connect)
        chosen.append(action.server)
    assert sorted({server.port for server in chosen}) == [7101, 7102, 7103]


def test_after_the_timeout_a_client_contacts_some_other_server(tmp_path: Path) -> None:
    session = client(1, tmp_path)
    session.submit("search bob", 60 * SECOND_US)
    first = session.act(0)
    assert isinstance(first, Connect)
    assert first.until_us == 5 * SECOND_US
    now_us = first.until_us
    session.lost(now_us, "no answer")
    actions = [session.act(now_us)]
    while not isinstance(actions[-1], Connect):
        now_us = actions[-1].until_us if isinstance(actions[-1], Wait) else now_us
        actions.append(session.act(now_us))
        assert len(actions) < 5
    assert actions[-1].server != first.server
    assert now_us - first.until_us < SECOND_US


# -- "server processes may crash (e.g., aborted by ctrl+c command) at anytime"

MOMENTS = 30
"""More than one booking has, from its request to the last release."""


@pytest.mark.parametrize("dying", ["a", "b"])
@pytest.mark.parametrize("lost", [False, True], ids=["what it sent arrives", "what it sent is lost"])
def test_wherever_a_server_dies_the_booking_is_made_once_and_what_was_answered_holds(dying: str, lost: bool) -> None:
    retried = "b" if dying == "a" else "a"
    outcomes = set()
    for moment in range(MOMENTS):
        servers = theatre()
        servers.submit("a", BOB)
        pairs = list(servers.channels)
        for act in range(moment):
            one, other = pairs[act * 5 % len(pairs)]
            servers.deliver_any(servers.names[one], servers.names[other])
        outcomes.add(len(servers.told(BOB)))
        servers.crash(dying)
        if lost:
            for other in servers.names:
                servers.lose(dying, other)
        servers.deliver_all()
        for other in servers.names:
            servers.refuse(other, dying)
        servers.deliver_all()
        assert said(servers, retried, BOB) == BOB_BOOKED
        assert {said(servers, name, "list") for name in "abc" if name != dying} == {"bob: 1,2,3"}
        assert set(servers.told(BOB)) == {BOB_BOOKED}
        assert identical(servers)
    assert outcomes == {0, 1}
