"""Messages: staff write to each other, in twos and in groups, and every app's notices arrive here.

A message lies in its conversation and, by a number of its own, in the inbox of each recipient, where it
is *stored*; it is *delivered* when a device of theirs has it, then *read*, then *acknowledged*. Urgent
ones are told again, by the replicated time, until they are acknowledged. Only who has a part in a
conversation sees it; what is refused, counted or found is the same whether there is more or not.

Whose id is a person's only the door knows (`admit`), from the site's file: replicas may learn of a new
colleague at different times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from holdfast.apps.messages import aging, asking, groups
from holdfast.apps.messages.finding import find_item, find_message
from holdfast.apps.messages.posting import (
    SERVICE,
    acknowledge,
    bury,
    is_address,
    open_conversation,
    open_item,
    pair,
    post,
    see,
    time_of,
)
from holdfast.apps.messages.refusals import (
    BadGroupName,
    BadText,
    GroupExists,
    GroupFull,
    IdsMissing,
    NobodyNamed,
    NoSuchConversation,
    NoSuchMessage,
    NoSuchPerson,
    ToYourself,
    WhichGroup,
)
from holdfast.apps.messages.replies import (
    AckHeard,
    Acknowledged,
    Arrived,
    AuditLog,
    CursorMoved,
    Deleted,
    Devices,
    Found,
    GroupMade,
    Groups,
    History,
    Inbox,
    Joined,
    Left,
    Opened,
    People,
    Sent,
    Shown,
    Since,
    States,
    Unread,
)
from holdfast.apps.messages.rows import (
    Audit,
    Box,
    Conversation,
    Counts,
    Delivery,
    Device,
    Item,
    Membership,
    Message,
    Oldest,
    Reminder,
    Terms,
)
from holdfast.apps.messages.words import (
    ADMINISTRATOR,
    Ack,
    AskAudit,
    AskDevices,
    AskGroups,
    AskHistory,
    AskInbox,
    AskSince,
    AskStates,
    AskUnread,
    Delete,
    Got,
    Invite,
    Leave,
    MakeGroup,
    Read,
    Search,
    Seen,
    Send,
    Who,
)
from holdfast.kernel.contracts import Command, Context, Person, Query, Refusal, Reply
from holdfast.kernel.stamps import utc_text
from holdfast.kernel.store import Condition, Row, Select

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore

DEVICES_MAX = 32
"""Devices of one person whose cursors are kept: the ones seen last."""
DAY_MS = 24 * 3600 * 1000
REPEAT_SECONDS_MAX = 7 * 24 * 3600
DAYS_MAX = 36_500


class Messages:
    """The app. `people`: whom the site knows. The options are fixed with the first start of the data:
    `urgent_repeat_seconds`, `emergency_repeat_seconds`: how often those are told again; `retention_days`: after
    how many days messages go, and `audit_days`: lines of the audit log, 0 for never."""

    name = "messages"
    rows: tuple[type[Row], ...] = (
        *(Conversation, Membership, Message, Item, Box, Device, Delivery, Reminder, Oldest, Audit, Counts, Terms),
    )
    commands: tuple[type[Command], ...] = (Send, Read, Seen, Ack, Got, Delete, MakeGroup, Invite, Leave)
    queries: tuple[type[Query], ...] = (
        *(AskInbox, AskSince, AskHistory, AskUnread, Search, Who, AskGroups, AskStates, AskDevices, AskAudit),
    )
    replies: tuple[type[Reply], ...] = (
        *(Sent, Opened, Shown, Acknowledged, CursorMoved, Deleted, GroupMade, Joined, Left, Arrived, AckHeard),
        *(Inbox, Since, Devices, History, Found, Unread, People, Groups, States, AuditLog),
        *(NobodyNamed, NoSuchPerson, ToYourself, NoSuchConversation, NoSuchMessage, WhichGroup, BadGroupName),
        *(GroupExists, GroupFull, BadText, IdsMissing),
    )

    def __init__(
        self,
        people: Iterable[Person] = (),
        urgent_repeat_seconds: float = 300,
        emergency_repeat_seconds: float = 60,
        retention_days: float = 0,
        audit_days: float = 0,
    ) -> None:
        repeats, days = (urgent_repeat_seconds, emergency_repeat_seconds), (retention_days, audit_days)
        if not all(1 <= seconds <= REPEAT_SECONDS_MAX for seconds in repeats):
            raise ValueError(f"messages are repeated after 1 to {REPEAT_SECONDS_MAX} seconds, not {repeats}")
        if not all(0 <= kept <= DAYS_MAX for kept in days):
            raise ValueError(f"messages and the audit log are kept for 0 to {DAYS_MAX} days, not {days}")
        self.people = {person.id: person for person in people}
        self._repeat_ms = {"routine": 0, "urgent": round(repeats[0] * 1000), "emergency": round(repeats[1] * 1000)}
        kept_ms = (round(retention_days * DAY_MS), round(audit_days * DAY_MS))
        self._terms = Terms(0, self._repeat_ms["urgent"], self._repeat_ms["emergency"], *kept_ms)
        self._apply: dict[type, Callable[[TupleStore, Any, str, Context], Reply]] = {
            Read: self._read,
            Seen: self._seen,
            Ack: self._ack,
            Got: self._got,
            MakeGroup: groups.make_group,
            Invite: groups.invite,
            Leave: groups.leave,
        }

    def create(self, store: TupleStore) -> None:
        """Nobody has written yet."""
        store.table(Terms).put(self._terms)

    def check(self, store: TupleStore) -> str | None:
        """The terms belong to the data: they can be set only before the first start."""
        terms = store.table(Terms).get(0)
        if terms is None:
            return "the data is of no messages: it is not of this app; set it aside and start from an empty directory"
        if terms != self._terms:
            return (
                "the data is of messages on other terms than the configuration says; set "
                f"urgent_repeat_seconds = {terms.urgent_repeat_ms / 1000:g}, "
                f"emergency_repeat_seconds = {terms.emergency_repeat_ms / 1000:g}, "
                f"retention_days = {terms.retention_ms / DAY_MS:g}, audit_days = {terms.audit_ms / DAY_MS:g}, "
                "or set the data aside"
            )
        return None

    def firm_by_ms(self, command: Any) -> int | None:
        """Messages do not mind."""
        return None

    def time_text(self, ms: int) -> str:
        """UTC."""
        return utc_text(ms)

    def due_ms(self, store: TupleStore) -> int | None:
        """When something is to be told again, or goes, next; see `kernel.contracts.Timely`."""
        return aging.due_ms(store, self._terms)

    def pass_time(self, store: TupleStore, context: Context) -> None:
        """Tell again what nobody has acknowledged, and let go what is too old; a bounded part of it."""
        aging.pass_time(store, self._terms, context)

    # -- the door -------------------------------------------------------------------------------

    def admit(self, command: Any, person: Person | None, now_ms: int) -> Refusal | None:
        """Who is nobody's colleague, names that no group can have, and text that cannot be stored."""
        if person is None:
            return NobodyNamed()
        if type(command) is Send:
            return self._admit_send(command, person.id)
        if isinstance(command, MakeGroup):
            named = command.members
            refusal = groups.group_name_refusal(command.name)
            if refusal is not None:
                return refusal
        else:
            named = (command.person,) if isinstance(command, Invite) else ()
        return next((NoSuchPerson(id) for id in named if id not in self.people), None)

    def _admit_send(self, command: Send, me: str) -> Refusal | None:
        to = command.to
        if to == me:
            return ToYourself()
        if to not in self.people and not to.startswith("#") and "+" not in to:
            return NoSuchPerson(to)
        try:
            (command.text + command.subject).encode()
        except UnicodeEncodeError as error:
            return BadText(f"has half a character at {error.start + 1}, which no text can have")
        return None if command.text.strip() else BadText("must not be empty")

    # -- commands -------------------------------------------------------------------------------

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        """Execute one command. Total over every decodable command; a refusal changes nothing."""
        person = context.person
        if person is None:
            return NobodyNamed()
        if type(command) is Send:
            return self._send(store, command, person.id, context)
        if type(command) is Delete:
            return self._delete(store, command, person, context)
        return self._apply[type(command)](store, command, person.id, context)

    def _send(self, store: TupleStore, command: Send, me: str, context: Context) -> Reply:
        to = command.to
        conversation: Conversation | None
        if is_address(to):
            if to == me:
                return ToYourself()
            name = pair(me, to)
            conversation = store.table(Conversation).get(name)
            if conversation is None:
                members = (me, to) if me < to else (to, me)
                conversation = open_conversation(store, name, members)
            # The names as they are stored already: a million messages need not have them a million times.
            me, to = conversation.members if conversation.members[0] == me else conversation.members[::-1]
            recipients: tuple[str, ...] = (to,)
        else:
            part = groups.part_in(store, me, to)
            if not isinstance(part, Membership):
                return part
            conversation = store.table(Conversation).get(part.conversation)
            if conversation is None or not part.is_present or conversation.id.startswith(SERVICE):
                return NoSuchConversation(to)
            recipients = tuple(person for person in conversation.members if person != me)
            to = conversation.id if conversation.id[0] == "#" else recipients[0]
        see(store, me, time_of(context))
        id = context.id
        subject, priority = command.subject, command.priority
        repeat_ms = self._repeat_ms[priority]
        number = post(store, conversation, me, recipients, command.text, context, id, subject, priority, repeat_ms)
        return Sent(conversation.id, number, id, to)

    def take_notice(self, store: TupleStore, source: str, number: int, to: str, text: str, context: Context) -> None:
        """A notice of a service becomes a message from it; see `kernel.notices.NoticeTaker`."""
        sender = f"{SERVICE}{source}"
        name = f"{sender}+{to}"
        conversation = store.table(Conversation).get(name)
        if conversation is None:
            conversation = open_conversation(store, name, (to,))
        post(store, conversation, sender, (to,), text, context, f"{context.id}/{number}")

    def _read(self, store: TupleStore, command: Read, me: str, context: Context) -> Reply:
        found = find_item(store, me, command.number, command.id)
        if found is None:
            return NoSuchMessage("", command.number)
        item, message = found
        see(store, me, time_of(context))
        item = open_item(store, item, message, context)
        return Opened(
            *(item.number, message.id, message.conversation, message.number, message.sender, message.subject),
            *(message.priority, message.content, message.sent_ms, item.repeats, item.read_ms, item.acked_ms),
            message.deleted_ms,
        )

    def _seen(self, store: TupleStore, command: Seen, me: str, context: Context) -> Reply:
        """What is not there is told and does not keep the others from being read: who says it may be late."""
        if command.ids and len(command.ids) != len(command.numbers):
            return IdsMissing(len(command.numbers), len(command.ids))
        see(store, me, time_of(context))
        read: dict[int, None] = {}
        missing: dict[int, None] = {}
        ids = command.ids or ("",) * len(command.numbers)
        for number, id in zip(command.numbers, ids, strict=True):
            found = find_item(store, me, number, id)
            if found is None:
                missing[number] = None
            else:
                read[open_item(store, *found, context).number] = None
        return Shown(tuple(read), tuple(missing))

    def _ack(self, store: TupleStore, command: Ack, me: str, context: Context) -> Reply:
        found = find_item(store, me, command.number, command.id)
        if found is None:
            return NoSuchMessage("", command.number)
        item, message = found
        if message.deleted_ms and not item.acked_ms:  # its text is gone: nobody can say that they know it
            return NoSuchMessage("", command.number)
        see(store, me, time_of(context))
        item = acknowledge(store, item, message, context)
        return Acknowledged(item.number, message.id, message.sender, item.acked_ms)

    def _got(self, store: TupleStore, command: Got, me: str, context: Context) -> Reply:
        devices, boxes = store.table(Device), store.table(Box)
        now_ms = time_of(context)
        see(store, me, now_ms)
        box, device = boxes.get(me) or Box(me), devices.get((me, command.device))
        before = 0 if device is None else device.cursor
        cursor = max(before, min(command.number, box.last))
        if device is None:
            _forget_devices(store, me)
        if device is None or cursor > before or now_ms - device.seen_ms >= DAY_MS:
            devices.put(Device(me, command.device, cursor, now_ms))
        if cursor > box.delivered:
            boxes.put(Box(me, box.last, cursor, box.unread, box.seen_ms))
            store.table(Delivery).put(Delivery(me, cursor, now_ms))
        return CursorMoved(command.device, cursor)

    def _delete(self, store: TupleStore, command: Delete, person: Person, context: Context) -> Reply:
        part = groups.part_in(store, person.id, command.conversation)
        may_all = ADMINISTRATOR in person.roles
        if isinstance(part, Membership):
            name = part.conversation
        elif may_all:
            name = command.conversation
        else:
            return part
        message = find_message(store, name, command.number, command.id)
        if message is None or not (may_all or message.sender == person.id):
            return NoSuchMessage(command.conversation, command.number)
        see(store, person.id, time_of(context))
        message = bury(store, message, person.id, context)
        return Deleted(name, message.number, message.id, message.deleted_ms)

    # -- queries --------------------------------------------------------------------------------

    def answer(self, store: TupleStore, query: Any, context: Context) -> Reply:
        """Answer one query; changes nothing."""
        person = context.person
        if person is None:
            return NobodyNamed()
        if isinstance(query, Who):
            return asking.who(store, query, self.people)
        return asking.ANSWERS[type(query)](store, query, person, context)


def _forget_devices(store: TupleStore, person: str) -> None:
    """Make room for one more: the device that was seen longest ago goes. It says itself how far it has got."""
    known = store.select(Select(Device.table, (Condition("person", "=", person),), order=("seen_ms",)))
    for device in known[: max(0, len(known) - DEVICES_MAX + 1)]:
        store.table(Device).delete((person, device.device))
