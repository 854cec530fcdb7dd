"""`holdfast bench messages --soak MINUTES`: people write to each other while nodes and clients are killed.

Three durable nodes; pairs of people, each in a process of its own (`holdfast.bench.messages_soak_client`): who
sends writes in turn to its watcher and to a group of all. Every few seconds something is ended with SIGKILL: a
node, two of them, all three, who sends or who watches. At the end every watcher's file is compared with what the
senders were answered: nothing lost, nothing double, everything in its order, the group's in the same for all.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from holdfast.bench.cluster import NAMES, POLL_SECONDS, ClusterError
from holdfast.bench.measure import Progress
from holdfast.bench.messages import MessagesCluster
from holdfast.bench.messages_load import TOKEN, sender_of, watcher_of
from holdfast.bench.messages_soak_client import SoakClientOptions

GROUP = "#ward"
KILLS = ("a node", "a node", "two nodes", "all nodes", "who sends", "who watches", "who sends", "who watches")
"""What may be killed; equally likely each."""
PAUSE_SECONDS = (0.5, 3.0)
"""Between one kill's end and the next."""
DOWN_SECONDS = (0.0, 1.0)
"""How long a killed node stays down."""
END_SECONDS = 120.0
"""How long all that was sent may take to arrive at the end."""


class SoakPlan(msgspec.Struct, frozen=True, kw_only=True):
    """`a_second`: messages of each sender, at most."""

    seconds: float
    pairs: int = 6
    a_second: float = 20.0
    seed: int = 1


class SoakFound(msgspec.Struct, frozen=True, kw_only=True):
    """`sent`: messages answered; `received`: what all watchers have of them, `pushed` or fetched after a gap.
    `kills`: how many of each kind."""

    plan: SoakPlan
    sent: int
    received: int
    pushed: int
    kills: dict[str, int]
    errors: list[str]


class Clients:
    """The processes of the people, by id."""

    def __init__(self, cluster: MessagesCluster, plan: SoakPlan, group: str) -> None:
        self.options: dict[str, SoakClientOptions] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.directory = cluster.directory
        for pair in range(plan.pairs):
            for person in (sender_of(pair), watcher_of(pair)):
                self.options[person] = SoakClientOptions(
                    role="send" if person == sender_of(pair) else "watch",
                    person=person,
                    token=TOKEN,
                    servers=cluster.addresses,
                    file=str(self.file(person)),
                    partner=watcher_of(pair),
                    group=group,
                    a_second=plan.a_second,
                )
                self.start(person)

    def file(self, person: str) -> Path:
        """Where the person's process keeps what is done."""
        return self.directory / f"{person}.txt"

    def lines(self, person: str) -> list[str]:
        """What it has kept so far."""
        path = self.file(person)
        return path.read_text().splitlines() if path.exists() else []

    def start(self, person: str) -> None:
        """Begin, or go on."""
        options = msgspec.json.encode(self.options[person]).decode()
        with (self.directory / f"{person}.log").open("ab") as log:
            self.processes[person] = subprocess.Popen(
                [sys.executable, "-m", "holdfast.bench.messages_soak_client", options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self, person: str) -> None:
        """With SIGKILL."""
        process = self.processes.pop(person)
        process.kill()
        process.wait()

    def check_running(self) -> None:
        """Raise where one has ended by itself."""
        for person, process in self.processes.items():
            if process.poll() is not None:
                words = (self.directory / f"{person}.log").read_text(errors="replace")[-800:]
                raise ClusterError(f"the process of {person} ended with {process.returncode}: {words}")

    def stop(self) -> None:
        """End them all."""
        for person in list(self.processes):
            self.kill(person)


def soak(plan: SoakPlan, directory: Path, progress: Progress) -> SoakFound:
    """Carry out the plan, with all data in `directory`, which must exist."""
    with MessagesCluster(directory / "soak", plan.pairs) as cluster:
        group = make_group(cluster, plan.pairs)
        clients = Clients(cluster, plan, group)
        try:
            kills = trouble(cluster, clients, plan, progress)
            finish(cluster, clients, plan)
        finally:
            clients.stop()
        errors = [*compare(clients, plan, group), *equal_stores(cluster)]
        received = [line for pair in range(plan.pairs) for line in clients.lines(watcher_of(pair))]
        return SoakFound(
            plan=plan,
            sent=sum(len(clients.lines(sender_of(pair))) for pair in range(plan.pairs)),
            received=len(received),
            pushed=sum(line.startswith("p ") for line in received),
            kills=kills,
            errors=errors,
        )


def make_group(cluster: MessagesCluster, pairs: int) -> str:
    """A group of everybody; its id."""
    first, *others = [person for pair in range(pairs) for person in (sender_of(pair), watcher_of(pair))]
    told = cluster.ask("a", f"login {first} {TOKEN}", f"group {GROUP} {','.join(others)}")
    if not told.startswith(f"{GROUP}@{first} is made"):
        raise ClusterError(f"the group was answered {told!r}")
    return f"{GROUP}@{first}"


def trouble(cluster: MessagesCluster, clients: Clients, plan: SoakPlan, progress: Progress) -> dict[str, int]:
    """Kill and start again until the time is over; how many of each kind."""
    chance, kills = random.Random(plan.seed), Counter[str]()
    begin = last = time.monotonic()
    while time.monotonic() - begin < plan.seconds:
        time.sleep(chance.uniform(*PAUSE_SECONDS))
        kind = chance.choice(KILLS)
        kills[kind] += 1
        if "node" in kind:
            names = chance.sample(NAMES, {"a node": 1, "two nodes": 2, "all nodes": 3}[kind])
            kill_nodes(cluster, names, lambda: time.sleep(chance.uniform(*DOWN_SECONDS)))
        else:
            person = (sender_of if kind == "who sends" else watcher_of)(chance.randrange(plan.pairs))
            clients.kill(person)
            clients.start(person)
        clients.check_running()
        if time.monotonic() - last > 20:
            last = time.monotonic()
            sent = sum(len(clients.lines(sender_of(pair))) for pair in range(plan.pairs))
            progress(f"{last - begin:.0f} s: {sent:,} messages sent, {sum(kills.values())} kills")
    return dict(kills)


def kill_nodes(cluster: MessagesCluster, names: Sequence[str], pause: Callable[[], None]) -> None:
    """One after the other, then start them all; back when all are members again."""
    for name in names:
        cluster.kill(name)
    pause()
    for name in names:
        cluster.start(name)
    cluster.wait_until_served()


def finish(cluster: MessagesCluster, clients: Clients, plan: SoakPlan) -> None:
    """Let the senders end, then wait until every watcher has as much as was sent to it."""
    deadline = time.monotonic() + END_SECONDS
    for pair in range(plan.pairs):
        clients.processes[sender_of(pair)].terminate()
    for pair in range(plan.pairs):
        person = sender_of(pair)
        status = clients.processes.pop(person).wait(max(1.0, deadline - time.monotonic()))
        if status:
            raise ClusterError(f"the process of {person} ended with {status}")
    wanted = expected(clients, plan)
    while any(len(clients.lines(watcher_of(pair))) < len(texts) for pair, texts in enumerate(wanted)):
        clients.check_running()
        cluster.check_running(deadline, "what was sent")
        time.sleep(POLL_SECONDS)


def expected(clients: Clients, plan: SoakPlan) -> list[list[str]]:
    """For each watcher the texts of all that was sent to it and to the group, by sender."""
    sent = [len(clients.lines(sender_of(pair))) for pair in range(plan.pairs)]
    everybodys = [f"{sender_of(pair)}:{number}" for pair in range(plan.pairs) for number in range(2, sent[pair] + 1, 2)]
    return [
        [*everybodys, *(f"{sender_of(pair)}:{number}" for number in range(1, sent[pair] + 1, 2))]
        for pair in range(plan.pairs)
    ]


def compare(clients: Clients, plan: SoakPlan, group: str) -> list[str]:
    """What is wrong with what the watchers have, one line each."""
    errors = []
    in_group: list[list[str]] = []
    for pair, wanted in enumerate(expected(clients, plan)):
        watcher = watcher_of(pair)
        rows = [line.split(" ", 4) for line in clients.lines(watcher)]
        texts = [row[4] for row in rows]
        have, want = Counter(texts), Counter(wanted)
        errors += [f"{watcher}: lost {text}" for text in want - have]
        errors += [f"{watcher}: double or of nobody: {text}" for text in have - want]
        if [int(row[1]) for row in rows] != list(range(1, len(rows) + 1)):
            errors.append(f"{watcher}: the inbox is not numbered without gaps")
        for conversation in {row[2] for row in rows}:
            numbers = [int(row[3]) for row in rows if row[2] == conversation]
            if numbers != list(range(1, len(numbers) + 1)):
                errors.append(f"{watcher}: {conversation} is not in its order")
        for sender in {text.partition(":")[0] for text in texts}:
            for parity in (0, 1):
                numbers = [int(text.partition(":")[2]) for text in texts if text.startswith(f"{sender}:")]
                numbers = [number for number in numbers if number % 2 == parity]
                if numbers != sorted(numbers):
                    errors.append(f"{watcher}: what {sender} wrote came in another order")
        in_group.append([row[4] for row in rows if row[2] == group])
    if any(each != in_group[0] for each in in_group):
        errors.append("the group's messages have another order for some than for others")
    return errors


def equal_stores(cluster: MessagesCluster) -> list[str]:
    """What is wrong with the replicas: equal positions have equal digests."""
    deadline = time.monotonic() + END_SECONDS
    while True:
        found = [cluster.status(name) or {} for name in NAMES]
        if len({one.get("position") for one in found}) == 1:
            digests = {one.get("digest") for one in found}
            return [] if len(digests) == 1 else [f"the replicas differ: {sorted(map(str, digests))}"]
        cluster.check_running(deadline, "an equal position of all replicas")
        time.sleep(POLL_SECONDS)


def soak_text(found: SoakFound) -> str:
    """The findings as a few lines of Markdown."""
    kills = ", ".join(f"{kind} {count}" for kind, count in sorted(found.kills.items()))
    lines = [
        f"# A soak of {found.plan.seconds / 60:g} minutes",
        "",
        f"{found.plan.pairs} pairs and a group of all {2 * found.plan.pairs}; kills: {kills or 'none'}.",
        "",
        f"{found.sent:,} messages sent and answered; the watchers have {found.received:,}, {found.pushed:,} of them "
        f"pushed, {found.received - found.pushed:,} fetched.",
        "",
        "Nothing lost, nothing double, all in order." if not found.errors else "**Errors**",
        *(f"- {error}" for error in found.errors),
    ]
    return "\n".join(lines)
