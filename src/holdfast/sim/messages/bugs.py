"""Planted bugs in messages: each breaks one law in one small place, to prove that the simulator finds it.

Nothing here is in the product. A bug bends the app or the core of a process, or takes another device or gate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.apps.messages import words
from holdfast.apps.messages.finding import find_item
from holdfast.apps.messages.posting import acknowledge
from holdfast.apps.messages.replies import AckHeard, Acknowledged, Arrived, Deleted, GroupMade, History, Joined
from holdfast.apps.messages.rows import Audit, Box, Item, Message, Reminder
from holdfast.apps.messages.rows import Device as DeviceRow
from holdfast.kernel.contracts import Reply, Request, Step
from holdfast.kernel.gate import Gate
from holdfast.sim.host import Host, Setup, machine_of
from holdfast.sim.messages.device import Device


def _nothing(_bent: Any) -> None:
    """The bug is elsewhere, or nowhere."""


class Bug(msgspec.Struct, frozen=True):
    """How it is planted."""

    app: Callable[[Any], None] = _nothing
    core: Callable[[Any], None] = _nothing
    device: type[Device] = Device
    gate: Callable[[], Gate] = Gate

    def setup(self, setup: Setup) -> Setup:
        """The same with the bug in each core."""

        def core(host: Host) -> Any:
            made = setup.core(host)
            self.core(made)
            return made

        return msgspec.structs.replace(setup, core=core, gate=self.gate)


def _put(owner: object, name: str, method: Callable[..., Any]) -> None:
    """Put a method of one instance in the place of its class's."""
    setattr(owner, name, method)


# ---- gates and cores ----


class HastyPush(Gate):
    """Tells who watches at once, before what is told lies on any disk."""

    def absorb(self, step: Step) -> None:
        told = [*step.changes, *step.settled_changes]
        step.changes, step.settled_changes = [], []
        super().absorb(step)
        self.changes += told


class SilentReset(Gate):
    """Takes over a state, and tells nobody who watches that something was missed."""

    def written(self) -> None:
        super().written()
        self.missed = False


def _retry_twice(core: Any) -> None:
    """Executes a retry again."""
    machine = machine_of(core)

    def execute_once(request: Request, now_ms: int) -> Reply:
        return machine.app.apply(machine.store, request.command, machine._context)

    _put(machine, "_execute_once", execute_once)


def _told_at_home(core: Any) -> None:
    """Only the replica that was asked tells who watches."""
    replica = core.replica
    execute = replica._execute

    def bent(pending: Any) -> None:
        before = len(replica.step.settled_changes)
        execute(pending)
        if pending.tokens is None:
            del replica.step.settled_changes[before:]

    _put(replica, "_execute", bent)


def _told_each_time(core: Any) -> None:
    """Who watches is told a message each time its write is executed (under `bayou`)."""
    views = core.replica.views
    execute = views._execute

    def bent(entry: Any, latest: Any) -> Reply:
        entry.reply = None
        reply: Reply = execute(entry, latest)
        return reply

    _put(views, "_execute", bent)


def _pushes(bend: Callable[[Any], list[Any]]) -> Callable[[Any], None]:
    """What a process pushes of what its app tells: `bend(change)` instead of each (under `bayou`)."""

    def core(made: Any) -> None:
        machine = made.replica.machine
        take_told = machine.take_told

        def bent(firm: str = "committed") -> list[Any]:
            return [other for change in take_told(firm) for other in bend(change)]

        _put(machine, "take_told", bent)

    return core


def _never(*kinds: type) -> Callable[[Any], list[Any]]:
    """Nobody is told of these."""
    return lambda change: [] if isinstance(change.reply, kinds) else [change]


def _other_text(change: Any) -> list[Any]:
    """Each message is pushed without its text."""
    if isinstance(change.reply, Arrived):
        return [msgspec.structs.replace(change, reply=msgspec.structs.replace(change.reply, content="x"))]
    return [change]


def _repeats_twice(change: Any) -> list[Any]:
    """What is told again is told twice each time."""
    return [change, change] if isinstance(change.reply, Arrived) and change.reply.repeats else [change]


def _wrong_number(core: Any) -> None:
    """A process tells each message by the number behind its own."""
    context = core.replica.machine._context
    tell = context.tell

    def bent(to: str, id: str, reply: Reply) -> None:
        if isinstance(reply, Arrived):
            reply = msgspec.structs.replace(reply, number=reply.number + 1)
        tell(to, id, reply)

    _put(context, "tell", bent)


# ---- the app ----


def _after(word: type, deed: Callable[[Any, Any, Any], None]) -> Callable[[Any], None]:
    """Something more is done after each such command: `deed(store, command, context)`."""

    def bend(app: Any) -> None:
        apply = app.apply

        def bent(store: Any, command: Any, context: Any) -> Reply:
            reply: Reply = apply(store, command, context)
            if type(command) is word and not reply.failed:
                deed(store, command, context)
            return reply

        _put(app, "apply", bent)

    return bend


def _repeats_untold(app: Any) -> None:
    """An urgent message is due again and again, and nobody hears of it."""
    pass_time = app.pass_time

    def bent(store: Any, context: Any) -> None:
        tell, context.tell = context.tell, lambda _to, _id, _reply: None
        try:
            pass_time(store, context)
        finally:
            context.tell = tell

    _put(app, "pass_time", bent)


def _reminds_still(store: Any, command: words.Ack, context: Any) -> None:
    """It is acknowledged, and stands on the list all the same."""
    item = store.table(Item).get((context.person.id, command.number))
    if item is not None:
        store.table(Reminder).put(Reminder(context.now_ms + 1_000, item.person, item.number))


def _cursor_back(store: Any, command: words.Got, context: Any) -> None:
    """A device's cursor is what it said last."""
    devices, key = store.table(DeviceRow), (context.person.id, command.device)
    device = devices.get(key)
    devices.put(msgspec.structs.replace(device, cursor=min(device.cursor, command.number)))


def _acks_what_is_gone(app: Any) -> None:
    """A message that was deleted is acknowledged, though its reader may never have had the text."""
    apply = app.apply

    def bent(store: Any, command: Any, context: Any) -> Reply:
        found = find_item(store, context.person.id, command.number, command.id) if type(command) is words.Ack else None
        if found is None or not found[1].deleted_ms:
            reply: Reply = apply(store, command, context)
            return reply
        item, message = found
        item = acknowledge(store, msgspec.structs.replace(item, read_ms=item.read_ms or 1), message, context)
        return Acknowledged(item.number, message.id, message.sender, item.acked_ms)

    _put(app, "apply", bent)


def _counted_once_more(store: Any, command: words.Ack, context: Any) -> None:
    """Who acknowledges without reading has one more to read."""
    box = store.table(Box).get(context.person.id)
    store.table(Box).put(msgspec.structs.replace(box, unread=box.unread + 1))


def _told_to_all(app: Any) -> None:
    """Everybody is told what is sent to a group."""
    apply = app.apply

    def bent(store: Any, command: Any, context: Any) -> Reply:
        reply: Reply = apply(store, command, context)
        if type(command) is words.Send and command.to.startswith("#") and not reply.failed:
            arrived = Arrived(1, "x", command.to, 1, context.person.id, "", "routine", command.text, context.now_ms, 0)
            for person in app.people:
                context.tell(person, context.id, arrived)
        return reply

    _put(app, "apply", bent)


def _shown_as_pair(app: Any) -> None:
    """A conversation of two is shown to whoever names it."""
    answer = app.answer

    def bent(store: Any, query: Any, context: Any) -> Reply:
        if type(query) is words.AskHistory and "+" in query.conversation:
            context.person = msgspec.structs.replace(context.person, id=query.conversation.partition("+")[0])
        reply: Reply = answer(store, query, context)
        return reply

    _put(app, "answer", bent)


def _history_shows_all(app: Any) -> None:
    """A conversation is shown with its texts, whether they were read or not."""
    answer = app.answer

    def bent(store: Any, query: Any, context: Any) -> Reply:
        reply: Reply = answer(store, query, context)
        if isinstance(reply, History):
            rows = [store.table(Message).get((said.conversation, said.message)) for said in reply.messages]
            texts = [
                msgspec.structs.replace(said, content=row.content)
                for said, row in zip(reply.messages, rows, strict=True)
            ]
            return msgspec.structs.replace(reply, messages=tuple(texts))
        return reply

    _put(app, "answer", bent)


def _leaves_no_line(store: Any, command: words.Seen, context: Any) -> None:
    """What was seen counts as read, and the log does not say so."""
    items = [store.table(Item).get((context.person.id, number)) for number in command.numbers]
    read = {(item.conversation, item.message): None for item in items if item is not None}
    for line in list(store.table(Audit)):
        if (line.person, line.what) == (context.person.id, "read") and (line.conversation, line.message) in read:
            store.table(Audit).delete((line.conversation, line.number))


# ---- devices ----


class CursorFirst(Device):
    """Moves its cursor, and only then keeps the message."""

    def take(self, item: Any) -> None:
        self.cursor = item.number
        if not self.calm and self.world.chance(self.habits.dies):
            self.hang_up()
            return
        self.taken.append(item)


class CursorFollows(Device):
    """Takes whatever is pushed, and believes to have all up to there: what is told again moves it back."""

    def pushed(self, told: Arrived) -> None:
        if told.number > self.cursor + 1:
            self.fetch()
        elif told.number <= self.cursor and told.repeats:
            self.cursor = told.number - 1
            self.take(told)
        elif told.number == self.cursor + 1:
            self.take(told)


class GapsIgnored(Device):
    """Takes what is pushed as the next one, whatever was missed before."""

    def pushed(self, told: Arrived) -> None:
        if told.number > self.cursor:
            self.take(told)


class NeverAsks(Device):
    """Watches, and does not ask what it has missed."""

    def fetch(self, then: Callable[[], None] | None = None) -> None:
        if self.calm or self._life == 0:
            super().fetch(then)


BUGS: dict[str, Bug] = {
    "push-before-sync": Bug(gate=HastyPush),
    "silent-reset": Bug(gate=SilentReset),
    "retry-twice": Bug(core=_retry_twice),
    "told-at-home": Bug(core=_told_at_home),
    "told-each-time": Bug(core=_told_each_time),
    "acks-unheard": Bug(core=_pushes(_never(AckHeard))),
    "deletions-untold": Bug(core=_pushes(_never(Deleted))),
    "groups-untold": Bug(core=_pushes(_never(GroupMade, Joined))),
    "other-text-pushed": Bug(core=_pushes(_other_text)),
    "repeats-twice": Bug(core=_pushes(_repeats_twice)),
    "wrong-number-pushed": Bug(core=_wrong_number),
    "repeats-untold": Bug(app=_repeats_untold),
    "repeats-after-ack": Bug(app=_after(words.Ack, _reminds_still)),
    "deleted-acked": Bug(app=_acks_what_is_gone),
    "cursor-back": Bug(app=_after(words.Got, _cursor_back)),
    "unread-miscounted": Bug(app=_after(words.Ack, _counted_once_more)),
    "history-shows-all": Bug(app=_history_shows_all),
    "seen-without-a-line": Bug(app=_after(words.Seen, _leaves_no_line)),
    "told-to-all": Bug(app=_told_to_all),
    "shown-to-all": Bug(app=_shown_as_pair),
    "cursor-first": Bug(device=CursorFirst),
    "cursor-follows": Bug(device=CursorFollows),
    "gaps-ignored": Bug(device=GapsIgnored),
    "never-asks": Bug(device=NeverAsks),
}
"""By name."""

NO_BUG = Bug()
