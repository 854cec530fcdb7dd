"""Planted bugs: each breaks one law of Bayou in one small place, to prove that the simulator finds it.

Nothing here is in the product. A bug bends the parts of a core after they were made, or takes
another gate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from holdfast.kernel.contracts import App, Context, Reply, Request, Token
from holdfast.kernel.gate import Gate
from holdfast.replication.bayou import Bayou
from holdfast.replication.bayou.log import Entry
from holdfast.replication.bayou.messages import Store, Updates, Vow, Write
from holdfast.replication.bayou.words import Imported
from holdfast.sim.bugs import HastyGate

Bend = Callable[[Bayou], None]
HOUR_MS = 3_600_000


class Bug(msgspec.Struct, frozen=True):
    """How it is planted: in a core, in the gate before it, or in the app, everywhere."""

    bend: Bend
    gate: Callable[[], Gate] = Gate
    bend_app: Callable[[App], None] | None = None

    def apps(self, make: Callable[[], App]) -> Callable[[], App]:
        """What makes apps with this bug."""
        bend = self.bend_app
        if bend is None:
            return make

        def bent() -> App:
            app = make()
            bend(app)
            return app

        return bent


def _put(owner: object, name: str, method: Callable[..., Any]) -> None:
    """Put a method of one instance in the place of its class's."""
    setattr(owner, name, method)


def _nothing(_core: Bayou) -> None:
    """The bug is elsewhere, or nowhere."""


def _tie_by_replica(core: Bayou) -> None:
    """Of two writes of the same millisecond, the one of the lesser replica comes first, whoever wrote them."""
    log = core.replica.log
    insert = log.insert

    def bent(writes: Sequence[Write], place: int) -> None:
        insert(writes, place)
        later = log.tail[place:]
        later.sort(key=lambda entry: (entry.write.ms, entry.write.replica, entry.write.first_name))
        log.tail[place:] = later

    _put(log, "insert", bent)


def _no_roll_back(core: Bayou) -> None:
    """A peer's write goes to its place in the log, and what stands behind it stays as it was executed."""
    views, log = core.replica.views, core.replica.log

    def insert(writes: Sequence[Write]) -> None:
        log.insert(writes, log.place(writes))

    _put(views, "insert", insert)


def _author_order(core: Bayou) -> None:
    """The primary commits what it may in the order of the first names."""
    proposals = core.epochs.proposals
    propose = proposals.propose

    def bent(entries: Sequence[Entry]) -> None:
        propose(sorted(entries, key=lambda entry: entry.write.first_name))

    _put(proposals, "propose", bent)


def _forgotten_promise(core: Bayou) -> None:
    """A promise is given, and not journaled: a restart stamps below it."""
    replica = core.replica

    def promise(ms: int) -> None:
        replica.promised_ms = max(ms, replica.promised_ms)
        replica.clock.observe(ms)

    _put(replica, "promise", promise)


def _commit_unexecuted(core: Bayou) -> None:
    """A commit notice for a write within the tail moves it to the prefix without executing it there."""
    views = core.replica.views
    execute = views._execute
    elsewhere = views._commit_elsewhere

    def bent(*arguments: Any) -> list[Entry]:
        _put(
            views, "_execute", lambda entry, latest: entry.reply if entry.reply is not None else execute(entry, latest)
        )
        try:
            return elsewhere(*arguments)
        finally:
            _put(views, "_execute", execute)

    _put(views, "_commit_elsewhere", bent)


def _old_epoch_stored(core: Bayou) -> None:
    """A voter stores for a primary of an epoch that it has vowed to leave."""
    proposals, replica = core.epochs.proposals, core.replica
    on_store = proposals.on_store

    def bent(peer: int, store: Store) -> None:
        known = replica.vowed, replica.epoch
        replica.vowed, replica.epoch = min(known[0], store.epoch), min(known[1], store.epoch)
        try:
            on_store(peer, store)
        finally:
            replica.vowed, replica.epoch = max(known[0], replica.vowed), max(known[1], replica.epoch)

    core._handlers[Store] = bent


def _nothing_adopted(core: Bayou) -> None:
    """A new primary begins with an empty list, whatever the voters hold."""
    epochs = core.epochs
    consider = epochs._consider_vows

    def bent() -> None:
        bare = {peer: msgspec.structs.replace(vow, proposals=(), ballots=()) for peer, vow in epochs.vows.items()}
        kept: dict[int, Vow] = dict(epochs.vows)
        epochs.vows.update(bare)
        consider()
        if epochs.vows:
            epochs.vows.update(kept)

    _put(epochs, "_consider_vows", bent)


def _lost_tentative(core: Bayou) -> None:
    """A state taken from a peer takes the place of everything, one's own tentative writes too."""
    _put(core.transfer, "_put_back", lambda entries: None)


def _without_basis(core: Bayou) -> None:
    """What a peer or a file brings is taken in, whatever it rests on."""
    entropy, replica = core.anti_entropy, core.replica
    take = entropy.take

    def bent(updates: Updates) -> Any:
        return take(msgspec.structs.replace(updates, basis=(), csn=replica.log.csn))

    _put(entropy, "take", bent)


def _unstable_truncated(core: Bayou) -> None:
    """Truncation takes the newest tentative write with the committed ones."""
    log, views = core.replica.log, core.replica.views
    truncate = log.truncate

    def bent(keep: int) -> None:
        truncate(keep)
        if keep == 0 and log.tail:
            views.cut_tail(len(log.tail) - 1)

    _put(log, "truncate", bent)


def _retirement_forgotten(core: Bayou) -> None:
    """When a replica has retired, everything about it is forgotten: it might as well never have been heard of."""
    log = core.replica.log
    forget = log._forget

    def bent(replica: str) -> None:
        forget(replica)
        log.committed_vector.pop(replica)
        log.members.pop(replica)
        log.committed_members.pop(replica)

    _put(log, "_forget", bent)
    _put(log, "known_to", lambda vector, replica, number: number <= vector.get(replica, 0))


def _followed_future(core: Bayou) -> None:
    """Every stamp is believed, however far ahead."""

    class Believing(type(core.replica)):  # type: ignore[misc]
        bound_ms = 1 << 62

    core.replica.__class__ = Believing


def _nobody_heard(core: Bayou) -> None:
    """The primary takes silence for a promise: it commits at once what it has, and calls it all-heard."""
    _put(core.primary, "frontier_ms", lambda: 1 << 62)


def _nobody_asked(core: Bayou) -> None:
    """The primary asks nobody for a promise, ever: what is written becomes firm at its deadline."""
    _put(core.primary, "_ask_promises", lambda: None)


def _office_hours(core: Bayou) -> None:
    """What could be firm is committed in one hour of six only."""
    primary, replica = core.primary, core.replica
    count = primary._firm_count
    _put(primary, "_firm_count", lambda: count() if replica.wall_ms // HOUR_MS % 6 == 3 else 0)


def _word_kept(core: Bayou) -> None:
    """An operator who has accepted a loss once has accepted any, for whatever this node claims later."""
    epochs = core.epochs
    take_over, claim = epochs.take_over, epochs._claim
    said: list[bool] = []

    def taken_over(token: Token, accept_loss: bool) -> None:
        said.extend([True] * accept_loss)
        take_over(token, accept_loss)

    def claimed(epoch: int, *, accepts_loss: bool = False) -> None:
        claim(epoch, accepts_loss=accepts_loss or bool(said))

    _put(epochs, "take_over", taken_over)
    _put(epochs, "_claim", claimed)


def _loss_in_hand(core: Bayou) -> None:
    """A loss is taken when patience ends, though the voter has given its word, and what it confirmed is on its way."""
    epochs, replica = core.epochs, core.replica
    tick = epochs.tick

    def bent() -> None:
        is_late = replica.now_us - epochs.claimed_us >= replica.configuration.patience_us
        if epochs.claimed and epochs._accepts_loss and is_late:
            epochs._take_with_loss()
        tick()

    _put(epochs, "tick", bent)


def _file_unread(core: Bayou) -> None:
    """Who takes in a file does not look who the primary was that has confirmed what is in it."""
    epochs, files = core.epochs, core.files
    take = files.take

    def bent(part: str) -> Any:
        enthrone = epochs._enthrone
        _put(epochs, "_enthrone", lambda *_arguments: None)
        try:
            return take(part)
        finally:
            _put(epochs, "_enthrone", enthrone)

    _put(files, "take", bent)


def _undone_dropped(core: Bayou) -> None:
    """Commits that the history which stands does not have are dropped, not tentative again."""
    transfer, log = core.transfer, core.replica.log
    beyond = transfer._beyond

    def bent(checkpoint: Any) -> list[Entry]:
        committed, log.committed = log.committed, []
        try:
            return beyond(checkpoint)
        finally:
            log.committed = committed

    _put(transfer, "_beyond", bent)


def _never_reminded(core: Bayou) -> None:
    """A primary that has given its word to another one's claim never looks after what has come of it."""
    _put(core.epochs, "_remind", lambda: None)


def _hasty_deadline(core: Bayou) -> None:
    """What comes at its deadline is committed at once: nobody is asked whether there is something earlier."""
    primary = core.primary
    note = primary._note_deadlines

    def bent() -> None:
        note()
        primary._fresh = deque((core.replica.now_us, entry) for _, entry in primary._fresh)
        note()

    _put(primary, "_note_deadlines", bent)


def _number_ignored(core: Bayou) -> None:
    """A promise counts, whether or not what was written before it has come."""
    primary = core.primary
    heard_ms = primary.heard_ms
    _put(primary, "heard_ms", lambda name: max(heard_ms(name), primary.promises.get(name, (0, 0))[0]))


def _no_alarm(core: Bayou) -> None:
    """The primary does not wake for deadlines: it looks at them when something else happens."""
    primary = core.primary
    pump = primary.pump

    def bent() -> None:
        pump()
        primary.due_us = None

    _put(primary, "pump", bent)


def _slept_through(core: Bayou) -> None:
    """A primary that wakes commits at once what has become due while it slept."""
    primary = core.primary
    pump = primary.pump

    def bent() -> None:
        primary._pumped_us = core.replica.now_us
        pump()

    _put(primary, "pump", bent)


def _behind_ignored(core: Bayou) -> None:
    """A session is served wherever it comes, whatever it has read and written elsewhere."""
    _put(core, "_behind", lambda *_arguments: None)


def _executed_again(core: Bayou) -> None:
    """A retry that was taken elsewhere, as another write, is executed like any other."""
    machine = core.replica.machine
    execute = machine.execute_write

    def bent(request: Request, stamp: tuple[int, str, str], name: str, late: bool) -> Reply:
        return execute(msgspec.structs.replace(request, client=""), stamp, name, late)

    _put(machine, "execute_write", bent)


def _whole_tail(core: Bayou) -> None:
    """With what is due at the primary, all else that is there is committed, too."""
    primary = core.primary
    count = primary._firm_count
    log = core.replica.log

    def bent() -> int:
        noted = len(primary._deadlines)
        firm = count()
        return len(log.tail) if len(primary._deadlines) < noted else firm

    _put(primary, "_firm_count", bent)


def _late_deadline(core: Bayou) -> None:
    """The primary takes every deadline for six hours later than people are told."""
    primary, replica = core.primary, core.replica
    note, firm_by_ms = primary._note_deadlines, replica.firm_by_ms

    def bent() -> None:
        _put(replica, "firm_by_ms", lambda entry: firm_by_ms(entry) + 6 * HOUR_MS)
        note()
        _put(replica, "firm_by_ms", firm_by_ms)

    _put(primary, "_note_deadlines", bent)


def _told_early(core: Bayou) -> None:
    """People are told that a write is firm ten hours before the primary will commit it."""
    replica = core.replica
    _put(replica, "firm_by", lambda entry: (replica.time_text(replica.firm_by_ms(entry) - 10 * HOUR_MS), False))


def _own_clock(core: Bayou) -> None:
    """The primary measures deadlines by its own clock, whatever all others' show."""

    class Stubborn(type(core.replica)):  # type: ignore[misc]
        deadline_ms = property(lambda self: self.wall_ms)

    core.replica.__class__ = Stubborn


def _no_warning(core: Bayou) -> None:
    """Nobody is told that a clock is wrong."""

    class Silent(type(core.replica)):  # type: ignore[misc]
        warning = property(lambda self: "")

    core.replica.__class__ = Silent


def _never_pushed(core: Bayou) -> None:
    """Whoever watches hears of no change."""
    _put(core.replica, "_change", lambda entry, firm: None)


def _old_reply_pushed(core: Bayou) -> None:
    """Whoever watches hears what a write has come to the time before."""
    views = core.replica.views
    on_outcome = views._on_outcome

    def bent(entry: Entry, reply: Reply, before: Reply | None) -> None:
        entry.reply = reply if before is None else before
        on_outcome(entry, reply, before)
        entry.reply = reply

    _put(views, "_on_outcome", bent)


def _nothing_imported(core: Bayou) -> None:
    """A file is taken in, and nothing of it is kept."""
    _put(core.files, "take", lambda *_arguments: Imported(0, 0))


def _mute_notices(app: App) -> None:
    """Whoever loses is told no more than that."""
    apply = app.apply

    def bent(store: Any, command: Any, context: Context) -> Reply:
        notify = context.notify
        context.notify = lambda to, _text: notify(to, "x")
        try:
            return apply(store, command, context)
        finally:
            context.notify = notify

    _put(app, "apply", bent)


BUGS: dict[str, Bug] = {
    "hasty-gate": Bug(_nothing, HastyGate),
    "tie-by-replica": Bug(_tie_by_replica),
    "no-roll-back": Bug(_no_roll_back),
    "author-order": Bug(_author_order),
    "forgotten-promise": Bug(_forgotten_promise),
    "commit-unexecuted": Bug(_commit_unexecuted),
    "old-epoch-stored": Bug(_old_epoch_stored),
    "nothing-adopted": Bug(_nothing_adopted),
    "lost-tentative": Bug(_lost_tentative),
    "without-basis": Bug(_without_basis),
    "unstable-truncated": Bug(_unstable_truncated),
    "retirement-forgotten": Bug(_retirement_forgotten),
    "followed-future": Bug(_followed_future),
    "nobody-heard": Bug(_nobody_heard),
    "nobody-asked": Bug(_nobody_asked),
    "office-hours": Bug(_office_hours),
    "word-kept": Bug(_word_kept),
    "loss-in-hand": Bug(_loss_in_hand),
    "file-unread": Bug(_file_unread),
    "undone-dropped": Bug(_undone_dropped),
    "never-reminded": Bug(_never_reminded),
    "hasty-deadline": Bug(_hasty_deadline),
    "number-ignored": Bug(_number_ignored),
    "no-alarm": Bug(_no_alarm),
    "slept-through": Bug(_slept_through),
    "behind-ignored": Bug(_behind_ignored),
    "executed-again": Bug(_executed_again),
    "whole-tail": Bug(_whole_tail),
    "late-deadline": Bug(_late_deadline),
    "told-early": Bug(_told_early),
    "own-clock": Bug(_own_clock),
    "no-warning": Bug(_no_warning),
    "never-pushed": Bug(_never_pushed),
    "old-reply-pushed": Bug(_old_reply_pushed),
    "nothing-imported": Bug(_nothing_imported),
    "mute-notices": Bug(_nothing, bend_app=_mute_notices),
}
"""By name."""

NO_BUG = Bug(_nothing)
