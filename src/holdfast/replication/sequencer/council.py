"""What the managers agree on about their replicas, as a function of the order alone.

Front ends report wrong and missing results, managers vote on digests, all of it as entries of the
order; each manager takes them in in that order and so comes to the same standing: who is wrong, who
is being replaced, as of which number, with whose copy.

Where the replicas that are left cannot come to a majority any more, whatever they do, an operator may say
whose is right. Its vote alone then counts, until enough others are begun anew from it.

"Three consecutive client requests wrong" counts by the numbers of the order: three that no other
client's request lies between, whoever reported them (seed 003, "Front End").
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable

import msgspec

from holdfast.kernel.codec import decoder, encode
from holdfast.kernel.errors import MalformedInput
from holdfast.replication.sequencer.messages import (
    CONTROL,
    QUERIES,
    REQUESTS,
    SEQUENCER_ORIGIN,
    AnyControl,
    DigestAt,
    NeedCopy,
    Restored,
    Run,
    Silent,
    Split,
    Stream,
    Trust,
    Wrong,
    decode_control,
)

CONSECUTIVE = 3
"""So many wrong results in a row, and a replica is replaced."""
WRONG_KEPT = 64
CONTROLS_KEPT = 4096
VOTES_KEPT = 8
NO_DONOR = -1


class Copy(msgspec.Struct, frozen=True, array_like=True):
    """A replica takes the state as of `number` from `donor`'s. `keeps`: it lags only, and goes on meanwhile."""

    number: int
    donor: int
    keeps: bool


class Word(msgspec.Struct, frozen=True, array_like=True):
    """An operator's: the replica of `manager` is right from number `since` on; that is needed no more after `until`,
    0 while it is, but for copies as of `since`. `kept`: those that are begun anew from it and had a state: they keep
    that until they have the trusted one."""

    manager: int
    since: int
    until: int = 0
    kept: tuple[int, ...] = ()


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """A council in canonical bytes. Maps are tuples in the order of their keys."""

    position: int
    streams: tuple[Stream, ...]
    lives: tuple[int, ...]
    begun: tuple[int, ...]
    copies: tuple[tuple[int, int, int, bool], ...]
    wrong: tuple[tuple[int, ...], ...]
    controls: tuple[int, ...]
    votes: tuple[tuple[int, tuple[tuple[int, int, bytes], ...]], ...]
    suspected: tuple[int, ...]
    stable: int
    replacements: int
    restarts: int
    word: Word | None = None
    split: tuple[int, ...] = ()


_decode: Callable[[bytes], Standing] = decoder(Standing, "standing of the replicas")


class Council:
    """`managers`: their nodes. `agreeing`: how many must say the same. `name`: what people call a node.

    `position`: the last number taken in. `streams`: of each node, its incarnation and the last serial
    of it in the order. `lives`: of each manager, how often its replica was begun anew, `begun`: as of
    which number the last time. `stable`: the last number as of which enough had the same state. `copies`:
    those that are being copied. `suspected`: those that a front end has reported as silent since they were
    last heard of in the order. `votes`: by number, of each manager (life, digest). `split`: those whose results
    were too few alike, last; `word`: the last that an operator gave on whose replica is right, `refusal`: why the
    last one was not taken, if so.
    """

    def __init__(self, managers: tuple[int, ...], agreeing: int, name: Callable[[int], str] = str) -> None:
        self.managers = managers
        self.name = name
        self.agreeing = agreeing
        self.position = 0
        self.streams: dict[int, tuple[int, int]] = {}
        self.lives = dict.fromkeys(managers, 0)
        self.begun = dict.fromkeys(managers, 0)
        self.copies: dict[int, Copy] = {}
        self.wrong: dict[int, list[int]] = {manager: [] for manager in managers}
        self.controls: list[int] = []
        self.votes: dict[int, dict[int, tuple[int, bytes]]] = {}
        self.suspected: dict[int, int] = {}
        self.stable = 0
        self.replacements = 0
        self.restarts = 0
        self.word: Word | None = None
        self.split: tuple[int, ...] = ()
        self.refusal = ""
        self.events: list[str] = []

    # -- As bytes

    def standing(self) -> bytes:
        """Everything, to go into a snapshot."""
        return encode(
            Standing(
                self.position,
                tuple((node, *self.streams[node]) for node in sorted(self.streams)),
                tuple(self.lives[manager] for manager in self.managers),
                tuple(self.begun[manager] for manager in self.managers),
                tuple((manager, *msgspec.structs.astuple(self.copies[manager])) for manager in sorted(self.copies)),
                tuple(tuple(self.wrong[manager]) for manager in self.managers),
                tuple(self.controls),
                tuple(
                    (number, tuple((manager, *voted[manager]) for manager in sorted(voted)))
                    for number, voted in sorted(self.votes.items())
                ),
                tuple(sorted(self.suspected)),
                self.stable,
                self.replacements,
                self.restarts,
                self.word,
                self.split,
            )
        )

    def adopt(self, data: bytes) -> None:
        """The inverse of `standing`. Raises `MalformedInput`, before anything is changed."""
        standing = _decode(data)
        if not len(self.managers) == len(standing.lives) == len(standing.begun) == len(standing.wrong):
            raise MalformedInput(f"a standing of {len(standing.lives)} replicas, where there are {len(self.managers)}")
        self.position = standing.position
        self.streams = {node: (incarnation, serial) for node, incarnation, serial in standing.streams}
        self.lives = dict(zip(self.managers, standing.lives, strict=True))
        self.begun = dict(zip(self.managers, standing.begun, strict=True))
        self.copies = {manager: Copy(number, donor, keeps) for manager, number, donor, keeps in standing.copies}
        self.wrong = {manager: list(known) for manager, known in zip(self.managers, standing.wrong, strict=True)}
        self.controls = list(standing.controls)
        self.votes = {
            number: {manager: (life, digest) for manager, life, digest in voted} for number, voted in standing.votes
        }
        self.suspected = dict.fromkeys(standing.suspected, 0)
        self.stable = standing.stable
        self.replacements = standing.replacements
        self.restarts = standing.restarts
        self.word = standing.word
        self.split = standing.split

    # -- In order

    def take(self, first: int, run: Run) -> None:
        """The next run of the order."""
        assert first == self.position + 1
        self.position += run.count
        if run.origin != SEQUENCER_ORIGIN:
            self.streams[run.origin] = (run.incarnation, run.serial + run.count - 1)
        if run.kind in (REQUESTS, QUERIES):
            return
        self.controls.append(first)
        if len(self.controls) > CONTROLS_KEPT:
            del self.controls[: CONTROLS_KEPT // 2]
        if run.kind == CONTROL:
            try:
                control = decode_control(run.batch)
            except MalformedInput as error:  # the same at every manager of this version
                self.events.append(f"number {first} of the order is passed over: {error}")
                return
            self._control(control)

    def _control(self, control: AnyControl) -> None:
        if isinstance(control, Split):
            self.split = tuple(manager for manager in control.managers if manager in self.lives)
            return
        manager = control.manager
        if manager not in self.lives:
            return
        if isinstance(control, Wrong):
            self._wrong(manager, control.numbers)
        elif isinstance(control, Silent):
            if manager not in self.suspected and self.has_state(manager):
                self.events.append(f"the replica of {self.name(manager)} is suspected: it gives no results")
            self.suspected[manager] = control.number
        elif isinstance(control, DigestAt):
            if control.life == self.lives[manager]:
                self.suspected.pop(manager, None)
                self._vote(control)
        elif isinstance(control, NeedCopy):
            if control.life == self.lives[manager]:
                self.restarts += self.has_state(manager)
                self._begin_copy(manager, control.why, keeps=not control.is_lost and self.has_state(manager))
        elif isinstance(control, Restored) and control.life == self.lives[manager]:
            self.copies.pop(manager, None)
            self.suspected.pop(manager, None)
            self.split = ()
            self.events.append(
                f"the replica of {self.name(manager)} has the agreed state of {control.number} and goes on"
            )
            self._consider_word()
        elif isinstance(control, Trust):
            self._trust(manager)

    # -- Wrong results

    def _wrong(self, manager: int, numbers: tuple[int, ...]) -> None:
        self.split = ()  # what is not wrong is believed
        known = self.wrong[manager]
        for number in numbers:
            if self.begun[manager] < number <= self.position and number not in known:
                insort(known, number)
        row = self._consecutive(known)
        del known[:-WRONG_KEPT]  # not before they were looked at: one report may bring more
        if self.has_state(manager) and row:
            self._replace(manager, f"its results {row} were wrong, {CONSECUTIVE} in a row")

    def _consecutive(self, numbers: list[int]) -> list[int]:
        """The first three of them that have no other client's request between them; [] if there are none."""
        for place, (first, last) in enumerate(zip(numbers, numbers[CONSECUTIVE - 1 :], strict=False)):
            between = bisect_left(self.controls, last) - bisect_right(self.controls, first)
            if last - first - between == CONSECUTIVE - 1:
                return numbers[place : place + CONSECUTIVE]
        return []

    # -- Votes on the state

    def _vote(self, vote: DigestAt) -> None:
        voted = self.votes.setdefault(vote.number, {})
        voted[vote.manager] = (vote.life, vote.digest)
        agreed = self.agreed(vote.number)
        if agreed is not None:
            self.stable = max(self.stable, vote.number)
            for manager in self.managers:
                life, digest = voted.get(manager, (0, agreed))
                if digest != agreed and life == self.lives[manager] and self.has_state(manager):
                    self._replace(manager, f"its state as of {vote.number} is not that of the others")
        copied = [copy.number for copy in self.copies.values()]
        for number in sorted(self.votes)[:-VOTES_KEPT]:
            if number not in copied:
                del self.votes[number]

    def agreed(self, number: int) -> bytes | None:
        """The digest that enough replicas have as of that number, if they have said so."""
        counts: dict[bytes, int] = {}
        voted = self.votes.get(number, {})
        for _, digest in voted.values():
            counts[digest] = counts.get(digest, 0) + 1
        agreed = next((digest for digest, count in sorted(counts.items()) if count >= self.agreeing), None)
        word = self.word
        if agreed is None and word is not None and (number == word.since or (number > word.since and not word.until)):
            _, agreed = voted.get(word.manager, (0, None))
        return agreed

    # -- Replacing

    def has_state(self, manager: int) -> bool:
        """Whether its replica goes on with what it has, as far as is known."""
        return manager not in self.copies or self.copies[manager].keeps

    def _replace(self, manager: int, why: str) -> None:
        self.replacements += 1
        self.events.append(f"the replica of {self.name(manager)} is replaced: {why}")
        for voted in self.votes.values():  # or another one, wrong in the same way, would be one of two some day
            voted.pop(manager, None)
        self._begin_copy(manager, "")

    def _begin_copy(self, manager: int, why: str, *, keeps: bool = False) -> None:
        if why:
            self.events.append(f"the replica of {self.name(manager)} is begun anew: {why}")
        self.split = ()
        if self.trusted == manager and not keeps:
            self._take_back("it is gone")
        self.lives[manager] += 1
        self.begun[manager] = self.position
        self.wrong[manager] = []
        before = self.copies.get(manager)
        donor = self._donor(manager, before.donor if before else manager)
        self.copies[manager] = Copy(self.position, donor, keeps)

    def _donor(self, manager: int, last: int) -> int:
        """The next one in the ring after the last that was asked, of those that are whole as far as is known."""
        if self.trusted not in (None, manager):
            return self.trusted
        count = len(self.managers)
        begin = self.managers.index(last) if last in self.managers else 0
        ring = [self.managers[(begin + step) % count] for step in range(1, count + 1)]
        whole = [other for other in ring if other != manager and other not in self.copies]
        return next((other for other in whole if other not in self.suspected), whole[0] if whole else NO_DONOR)

    # -- An operator's word

    @property
    def trusted(self) -> int | None:
        """Whose replica is taken to be right now, because an operator has said so."""
        return self.word.manager if self.word is not None and not self.word.until else None

    @property
    def is_undecided(self) -> bool:
        """Whether the vote cannot decide by itself, as far as is known: too few replicas have a state and are heard;
        or all that do have voted, and too few alike; or have answered so, and nobody else comes."""
        voters = self._voters
        if len(voters) < self.agreeing:
            return True
        for number in sorted(self.votes, reverse=True):
            if all(self._has_voted(manager, number) for manager in voters):
                if self.agreed(number) is None:
                    return True
                break
        is_split = bool(self.split) and all(manager in self.split for manager in voters)
        return is_split and all(manager in self.suspected for manager in self.copies)

    @property
    def _voters(self) -> list[int]:
        return [manager for manager in self.managers if self.has_state(manager) and manager not in self.suspected]

    def _has_voted(self, manager: int, number: int) -> bool:
        life, _ = self.votes[number].get(manager, (-1, b""))
        return life == self.lives[manager]

    def _why_not(self, manager: int) -> str:
        """Why an operator's word for this one is not taken."""
        if not self.has_state(manager):
            return "it has no state, and waits for that of another itself"
        if self.trusted is not None:
            return f"that of {self.name(self.trusted)} is trusted already"
        if not self.is_undecided:
            return "the vote can decide by itself"
        return "it is suspected to be gone: it gives no results" if manager in self.suspected else ""

    def _trust(self, manager: int) -> None:
        """From this number on that replica is right; all that are not known to be like it are begun anew."""
        self.refusal = ""
        if self.trusted == manager:
            return
        if self.trusted is not None and self.word is not None and manager in self.word.kept and self._waits(manager):
            self._take_back("an operator says that another is")
        else:
            self.refusal = self._why_not(manager)
        if self.refusal:
            who = self.name(manager)
            self.events.append(f"an operator's word that the replica of {who} is right is not taken: {self.refusal}")
            return
        doubted = [other for other in self.managers if other != manager and not self._is_like(manager, other)]
        self.copies.pop(manager, None)
        self.word = Word(manager, self.position, 0, tuple(other for other in doubted if self.has_state(other)))
        self.events.append(f"the replica of {self.name(manager)} is right, as an operator says")
        for other in doubted:
            self.restarts += self.has_state(other)
            self._begin_copy(other, f"that of {self.name(manager)} is trusted")
        self._consider_word()

    def _is_like(self, manager: int, other: int) -> bool:
        """Whether the other's replica is heard, and had the same state as of the last number that both voted on."""
        if other not in self._voters or self.split:
            return False
        for number in sorted(self.votes, reverse=True):
            if self._has_voted(manager, number) and self._has_voted(other, number):
                voted = self.votes[number]
                return voted[manager][1] == voted[other][1]
        return False

    def _consider_word(self) -> None:
        """An operator's word is needed only until enough replicas have a state."""
        if self.trusted is not None and len(self.managers) - len(self.copies) >= self.agreeing:
            self._end_word("enough replicas have the trusted state: the vote decides again")

    def _end_word(self, why: str) -> None:
        assert self.word is not None
        self.word = Word(self.word.manager, self.word.since, self.position, self.word.kept)
        self.events.append(why)

    def _waits(self, manager: int) -> bool:
        """Whether it is begun anew, and has no other state than it had."""
        return manager in self.copies and not self.copies[manager].keeps

    def _take_back(self, why: str) -> None:
        """Nobody has the trusted state but the one that is trusted no more: all others have what they had."""
        word, self.word = self.word, None
        assert word is not None
        self.events.append(f"the replica of {self.name(word.manager)} is trusted no more: {why}")
        for other in word.kept:
            if self._waits(other):
                del self.copies[other]
                self.events.append(f"the replica of {self.name(other)} goes on with the state that it had")
