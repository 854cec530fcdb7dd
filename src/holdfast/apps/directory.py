"""The directory: who serves what, where. The "central repository" of seed 003.

A server registers a name (`events/TOR`) with its host, port and node, and says which *term* of that
name it knows: compare and set. Each registration and each withdrawal begins the next term, and terms
never begin anew. So of two servers that reach for the same name one is refused, and a server that was
taken over learns it as soon as it asks: the term is no longer its own.

To register is for the nodes of the site: for persons with the role `node`, and for nobody in
particular where the service believes everybody (`identity = "trusted"`). To look is for all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from holdfast.apps.values import Name, check_name, shown
from holdfast.kernel.contracts import Command, Context, Person, Query, Refusal, Reply
from holdfast.kernel.stamps import utc_text
from holdfast.kernel.store import Condition, Row, Select

if TYPE_CHECKING:
    from holdfast.kernel.store import TupleStore

NODE = "node"
"""The role of those who register."""
NAMES_MAX = 1_000
"""Names that one directory holds, those that nobody serves now among them."""
HOST_CHARACTERS_MAX = 253
PORT_MAX = 65_535
TERM_MAX = 10**15

Host = Annotated[str, Meta(min_length=1, max_length=HOST_CHARACTERS_MAX)]
Port = Annotated[int, Meta(ge=1, le=PORT_MAX)]
Term = Annotated[int, Meta(ge=0, le=TERM_MAX)]
Prefix = Annotated[str, Meta(max_length=64)]


class Registration(Row, frozen=True):
    """A name's newest term. `host` is "" where the server has withdrawn; the row stays, so that the next
    term is a later one. `since_ms`: the replicated time at which the term began, Unix milliseconds."""

    table = "registrations"
    key = ("name",)
    ordered = True

    name: str
    term: int
    host: str
    port: int
    node: str
    since_ms: int


class Register(Command, frozen=True, tag="register"):
    """Serve a name from now on, unless its term is another one than the given (0 for a name never served)."""

    name: Name
    host: Host
    port: Port
    node: Name
    term: Term


class Withdraw(Command, frozen=True, tag="withdraw"):
    """Serve a name no more, unless its term is another one than the given."""

    name: Name
    term: Term


class Lookup(Query, frozen=True, tag="lookup"):
    """Tell who serves a name, and where."""

    name: Name


class ListNames(Query, frozen=True, tag="list"):
    """Tell who serves the names that begin with the given letters, or all names."""

    prefix: Prefix = ""


class Registered(Reply, frozen=True, tag="registered"):
    """The name is served there, in this term; whoever served it in an earlier one does so no more."""

    name: str
    host: str
    port: int
    node: str
    term: int

    def text(self) -> str:
        return f"{self.name} is served by {self.node} at {self.host}:{self.port}, term {self.term}."


class Withdrawn(Reply, frozen=True, tag="withdrawn"):
    """Nobody serves the name; `term`: the one that this began."""

    name: str
    term: int

    def text(self) -> str:
        return f"{self.name} is served by nobody now, term {self.term}."


class Entry(Reply, frozen=True, tag="entry"):
    """Who serves a name. `since`: since when, in UTC."""

    name: str
    host: str
    port: int
    node: str
    term: int
    since: str

    def text(self) -> str:
        return f"{self.listing()}."

    def listing(self) -> str:
        """The answer without its end, to stand in a row of them."""
        return f"{self.name} is served by {self.node} at {self.host}:{self.port} since {self.since}, term {self.term}"


class Entries(Reply, frozen=True, tag="entries"):
    """All that is served, in the order of the names."""

    entries: tuple[Entry, ...]

    def text(self) -> str:
        return "; ".join(entry.listing() for entry in self.entries) + "." if self.entries else "No entries."


class TakenOver(Refusal, frozen=True, tag="taken_over"):
    """The name's term is another one than was said. `node`, `host`, `port`: who serves it now; "" and 0 for nobody."""

    name: str
    term: int
    host: str
    port: int
    node: str

    def text(self) -> str:
        if not self.host:
            return f"Failed: {self.name} is served by nobody, term {self.term}."
        return f"Failed: {self.name} is served by {self.node} at {self.host}:{self.port}, term {self.term}."


class NotServed(Refusal, frozen=True, tag="not_served"):
    """Nobody serves the name; `term`: what to register it with, 0 if nobody ever did."""

    name: str
    term: int

    def text(self) -> str:
        return f"Failed: nobody serves {self.name}, term {self.term}."


class NotANode(Refusal, frozen=True, tag="not_a_node"):
    """A person who is no node of the site asked to register or withdraw."""

    person: str

    def text(self) -> str:
        return f"Failed: only nodes of the site register what they serve, and {self.person} is none."


class NoAddress(Refusal, frozen=True, tag="no_address"):
    """A parameter that can mean nothing. `field`: which one; `word`: as it was written; `why`: what is wrong."""

    field: Literal["name", "host", "port", "node", "term"]
    word: str
    why: str

    def text(self) -> str:
        return f"Failed: {self.why}."


class DirectoryFull(Refusal, frozen=True, tag="directory_full"):
    """There are as many names as there may be."""

    most: int

    def text(self) -> str:
        return f"Failed: the directory has {self.most} names, which is all."


_HOST = re.compile(r"[A-Za-z0-9._:%-]+", re.ASCII)


class Directory:
    """The app. It has no configuration."""

    name = "directory"
    rows: tuple[type[Row], ...] = (Registration,)
    commands: tuple[type[Command], ...] = (Register, Withdraw)
    queries: tuple[type[Query], ...] = (Lookup, ListNames)
    replies: tuple[type[Reply], ...] = (
        *(Registered, Withdrawn, Entry, Entries),
        *(TakenOver, NotServed, NotANode, NoAddress, DirectoryFull),
    )

    def __init__(self) -> None:
        self._apply: dict[type, Callable[[TupleStore, Any, Context], Reply]] = {
            Register: self._register,
            Withdraw: self._withdraw,
        }

    def create(self, store: TupleStore) -> None:
        """Nobody serves anything."""

    def check(self, store: TupleStore) -> str | None:
        """Nothing is configured, so everything fits."""
        return None

    def admit(self, command: Any, person: Person | None, now_ms: int) -> Refusal | None:
        """Who may not, and words that mean nothing."""
        if person is not None and NODE not in person.roles:
            return NotANode(person.id)
        return _senseless(command)

    def firm_by_ms(self, command: Any) -> int | None:
        """The directory does not mind."""
        return None

    def time_text(self, ms: int) -> str:
        """UTC."""
        return utc_text(ms)

    def apply(self, store: TupleStore, command: Any, context: Context) -> Reply:
        """Execute one command. Total over every decodable command; a refusal changes nothing."""
        return self.admit(command, context.person, 0) or self._apply[type(command)](store, command, context)

    def answer(self, store: TupleStore, query: Any, context: Context) -> Reply:
        """Answer one query; changes nothing."""
        if type(query) is Lookup:
            known = store.table(Registration).get(query.name)
            return _entry(known) if known and known.host else NotServed(query.name, known.term if known else 0)
        where = (Condition("name", ">=", query.prefix),)
        entries = []
        for row in store.select(Select(Registration.table, where=where, order=("name",))):
            if not row.name.startswith(query.prefix):
                break
            if row.host:
                entries.append(_entry(row))
        return Entries(tuple(entries))

    def _register(self, store: TupleStore, command: Register, context: Context) -> Reply:
        registrations = store.table(Registration)
        known = registrations.get(command.name)
        if known is None and command.term == 0 and len(registrations) >= NAMES_MAX:
            return DirectoryFull(NAMES_MAX)
        if command.term != (known.term if known else 0):
            return _taken_over(command.name, known)
        where, term = (command.host, command.port, command.node), command.term + 1
        registrations.put(Registration(command.name, term, *where, context.now_ms))
        return Registered(command.name, *where, term)

    def _withdraw(self, store: TupleStore, command: Withdraw, context: Context) -> Reply:
        registrations = store.table(Registration)
        known = registrations.get(command.name)
        if known is None or not known.host:
            return NotServed(command.name, known.term if known else 0)
        if command.term != known.term:
            return _taken_over(command.name, known)
        registrations.put(Registration(command.name, known.term + 1, "", 0, "", context.now_ms))
        return Withdrawn(command.name, known.term + 1)


def _senseless(command: Register | Withdraw) -> NoAddress | None:
    """Which word of a command can mean nothing, if one."""
    if (why := check_name(command.name)) is not None:
        return NoAddress("name", command.name, f"the name {why}")
    if not 0 <= command.term < TERM_MAX:
        return NoAddress("term", str(command.term), f"a term is a number from 0 to {TERM_MAX - 1}, not {command.term}")
    if type(command) is not Register:
        return None
    if (why := check_name(command.node)) is not None:
        return NoAddress("node", command.node, f"the node's name {why}")
    if len(command.host) > HOST_CHARACTERS_MAX or not _HOST.fullmatch(command.host):
        return NoAddress("host", command.host, f"{shown(command.host)} is no IP address or host name")
    if not 1 <= command.port <= PORT_MAX:
        return NoAddress("port", str(command.port), f"a port is a number from 1 to {PORT_MAX}, not {command.port}")
    return None


def _entry(row: Registration) -> Entry:
    return Entry(row.name, row.host, row.port, row.node, row.term, utc_text(row.since_ms))


def _taken_over(name: str, known: Registration | None) -> TakenOver:
    return TakenOver(name, known.term, known.host, known.port, known.node) if known else TakenOver(name, 0, "", 0, "")
