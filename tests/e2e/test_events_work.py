"""Customers and managers of three cities at work over their branches, while one replica answers wrongly, is found
out and replaced, and another node is killed.

Every customer keeps account of what the answers promised, every manager of who was told to have lost a place: at
the end that is what the branches have, event by event, and what their logs and the people's logs tell.
"""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.e2e.cities import HOMES, Cities, open_for_all
from tests.e2e.cluster import PATIENCE_S, until

from holdfast.client import Answer, Site
from holdfast.client.events import Events
from holdfast.sim.city import check_text

PLACES = 2
SEMINARS = [f"{city}{day}" for city in HOMES for day in ("M021126", "A091126", "E161126")]
"""Nobody removes these: who has one keeps it."""
CONFERENCES = [f"{city}{day}" for city in HOMES for day in ("M051026", "A191026", "M031126", "A101126", "E171126")]
"""Managers remove these, and add them again."""
OFFER = [*((id, "Seminars") for id in SEMINARS), *((id, "Conferences") for id in CONFERENCES)]
THINKS_S = 0.02


class Worker(ABC):
    """One person at work in a thread. `answers`: the request's word and the text, of each."""

    def __init__(self, cities: Cities, who: str, stop: threading.Event) -> None:
        self.who = who
        self.answers: list[tuple[str, str]] = []
        self.problems: list[str] = []
        self.chooser = random.Random(who)
        self.thread = threading.Thread(target=self._run, args=(cities, stop))

    def _run(self, cities: Cities, stop: threading.Event) -> None:
        try:
            with Site(cities.site, as_=self.who, chooser=random.Random(self.who)) as site:
                while not stop.wait(THINKS_S):
                    self.turn(site.events())
        except Exception as error:  # whatever it is, it is told where the test looks
            self.problems.append(f"{type(error).__name__}: {error}")

    @abstractmethod
    def turn(self, events: Events) -> None:
        """One thing that the person does."""

    def heard(self, word: str, answer: Answer) -> Answer:
        """Note an answer. Raises `Violation` for one that is wrong in itself."""
        self.answers.append((word, answer.text))
        check_text(answer.text)
        return answer


class Customer(Worker):
    """Books everywhere, cancels and swaps. `seminars`: what the answers gave; `conferences`: how many they gave."""

    def __init__(self, cities: Cities, who: str, stop: threading.Event) -> None:
        super().__init__(cities, who, stop)
        self.seminars: set[str] = set()
        self.conferences = 0

    def turn(self, events: Events) -> None:
        id, kind = self.chooser.choice(OFFER)
        old = self.chooser.choice([(id, "Seminars") for id in sorted(self.seminars)] or OFFER)
        if self.chooser.random() < 0.3:
            old = self.chooser.choice(OFFER)
        die = self.chooser.random()
        if die < 0.5:
            if self.heard("bookEvent", events.bookEvent(self.who, id, kind)).ok:
                self._gains(id, kind)
        elif die < 0.65:
            self._loses(*old, is_done=self.heard("cancelEvent", events.cancelEvent(self.who, *old)).ok)
        elif die < 0.9:
            said = self.heard("swapEvent", events.swapEvent(self.who, id, kind, *old))
            if said.ok:
                self._loses(*old, is_done=True)
                self._gains(id, kind)
            elif "has not booked" in said.text:
                self._loses(*old, is_done=False)
        else:
            self.heard("getBookingSchedule", events.getBookingSchedule(self.who))

    def _gains(self, id: str, kind: str) -> None:
        if kind == "Conferences":
            self.conferences += 1
        elif id in self.seminars:
            self.problems.append(f"{id} was booked, and could be booked again")
        else:
            self.seminars.add(id)

    def _loses(self, id: str, kind: str, is_done: bool) -> None:
        if kind == "Conferences":
            self.conferences -= is_done
        elif is_done is not (id in self.seminars):
            self.problems.append(f"{id} is said {'' if is_done else 'not '}to have been booked")
        else:
            self.seminars.discard(id)


class Manager(Worker):
    """Asks what is left everywhere, and removes and adds conferences of the own city. `cancelled`: who lost one."""

    def __init__(self, cities: Cities, who: str, stop: threading.Event) -> None:
        super().__init__(cities, who, stop)
        self.cancelled: Counter[str] = Counter()

    def turn(self, events: Events) -> None:
        if self.chooser.random() < 0.6:
            kind = self.chooser.choice(("Seminars", "Conferences"))
            assert self.heard("listEventAvailability", events.listEventAvailability(kind)).ok
            return
        id = self.chooser.choice([id for id in CONFERENCES if id[:3] == self.who[:3]])
        removed = self.heard("removeEvent", events.removeEvent(id, "Conferences"))
        assert removed.ok, removed.text
        told = re.search(r"; cancelled: ([^;.]+)", removed.text)
        self.cancelled.update(told[1].split(", ") if told else ())
        added = self.heard("addEvent", events.addEvent(id, "Conferences", PLACES))
        assert added.text == f"{id} Conferences is added with {PLACES} places."


@contextlib.contextmanager
def at_work(workers: Sequence[Worker], stop: threading.Event) -> Iterator[None]:
    """All of them, until this is left; then each finishes what was begun."""
    for worker in workers:
        worker.thread.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.thread.join(PATIENCE_S)
            assert not worker.thread.is_alive(), worker.who


def go_on(workers: Sequence[Worker], count: int) -> None:
    """Until each has so many answers more."""
    before = [len(worker.answers) for worker in workers]

    def all_have() -> bool:
        problems = [problem for worker in workers for problem in worker.problems]
        assert not problems, problems
        return all(len(worker.answers) >= had + count for worker, had in zip(workers, before, strict=True))

    until(all_have, f"{count} answers more for each")


def check_records(cities: Cities, customers: Sequence[Customer], managers: Sequence[Manager]) -> None:
    """Nothing is lost, nothing is there twice, nothing is overbooked: what was answered is what there is."""
    cancelled = sum((manager.cancelled for manager in managers), Counter[str]())
    taken: Counter[str] = Counter()
    for customer in customers:
        (text,) = cities.tell("a", customer.who, f"getBookingSchedule {customer.who}")
        check_text(text)
        booked = re.findall(r"(\w{10}) (Seminars|Conferences)", text)
        assert {id for id, kind in booked if kind == "Seminars"} == customer.seminars, text
        conferences = sum(kind == "Conferences" for _, kind in booked)
        assert conferences == customer.conferences - cancelled[customer.who], text
        taken.update(f"{id} {kind}" for id, kind in booked)
    for kind in ("Seminars", "Conferences"):
        (text,) = cities.tell("a", "TORM2345", f"listEventAvailability {kind}")
        left = {f"{id} {kind}": int(places) for id, places in re.findall(r"(\w{10}) (\d+)", text)}
        assert left == {f"{id} {of}": PLACES - taken[f"{id} {of}"] for id, of in OFFER if of == kind}


def untold(cities: Cities, worker: Worker, answers: Sequence[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Those of a person's answers that no log of the person's branch has, at whichever node."""
    lines = (line for node in "abc" for line in cities.branch_log(node, worker.who[:3]))
    return Counter(answers) - Counter((line[2], line[5]) for line in lines if line[1] == worker.who)


def all_told(cities: Cities, workers: Sequence[Worker]) -> list[int]:
    """Until the branches' logs have all that was answered until now. Returns how many answers that was, for each."""
    counts = [len(worker.answers) for worker in workers]
    pairs = list(zip(workers, counts, strict=True))
    until(lambda: not any(untold(cities, worker, worker.answers[:count]) for worker, count in pairs), "all is logged")
    return counts


def check_logs(cities: Cities, workers: Sequence[Worker], before: Sequence[int], after: Sequence[int]) -> None:
    """People's logs tell every answer in order. So do the branches' logs; but the node that was killed, where OTW was,
    may have taken with it what it answered between these two counts."""
    for worker in workers:
        assert [(line[1], line[4]) for line in cities.person_log(worker.who)] == worker.answers

    def missing() -> list[tuple[str, str]]:
        found = []
        for worker, first, last in zip(workers, before, after, strict=True):
            excused = worker.answers[first:last] if worker.who[:3] == "OTW" else []
            found += list(untold(cities, worker, worker.answers) - Counter(excused))
        return found

    until(lambda: not missing(), "what was answered stands in the branches' logs")


def three_cities_at_work(directory: Path, seconds: float) -> None:
    """At least for so long: work, a wrong replica, work, a dead node, work; then look."""
    began = time.monotonic()
    with open_for_all(directory) as cities:
        for city, node in HOMES.items():
            lines = [f"addEvent {id} {kind} {PLACES}" for id, kind in OFFER if id[:3] == city]
            assert all("is added" in said for said in cities.tell(node, f"{city}M2346", *lines))
        stop = threading.Event()
        customers = [Customer(cities, f"{city}C{number}", stop) for city in HOMES for number in (2345, 2346)]
        managers = [Manager(cities, f"{city}M2345", stop) for city in HOMES]
        workers = [*customers, *managers]
        with at_work(workers, stop):
            go_on(workers, 10)
            assert cities.command("fault", "b", "wrong").returncode == 0

            def is_replaced() -> bool:
                status = cities.status("a")
                states = {(row["node"], row["life"], row["state"]) for row in status.get("votes", ())}
                return ("b", 1, "right") in states and status["replacements"] == 1

            cities.wait(is_replaced, "the wrong replica is found out and replaced")
            assert "the replica of b is replaced: its results" in cities.log("a")
            go_on(workers, 10)
            before = all_told(cities, workers)
            cities.kill("c")
            cities.wait_branches("a", "b", TOR="a", MTL="b", OTW="a")
            after = [len(worker.answers) for worker in workers]
            go_on(workers, 40)
            until(lambda: time.monotonic() > began + seconds, "the time is over", timeout_s=seconds + PATIENCE_S)
        assert [worker.problems for worker in workers] == [[]] * len(workers)
        check_records(cities, customers, managers)
        cities.wait_equal("a", "b")
        check_logs(cities, workers, before, after)
        texts = [text for worker in workers for _, text in worker.answers]
        for rule in (" which is all that one may have.", " is full; ", "; moved: ", "; cancelled: ", ", and "):
            assert sum(rule in text for text in texts) > 3, f"nobody came upon {rule!r}"


def test_three_cities_work_on_while_a_replica_is_wrong_and_a_node_dies(tmp_path: Path) -> None:
    three_cities_at_work(tmp_path, seconds=0.0)


@pytest.mark.slow
def test_the_same_for_a_minute(tmp_path: Path) -> None:
    three_cities_at_work(tmp_path, seconds=60.0)
