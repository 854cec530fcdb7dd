"""The settings of a site.toml: each table as a struct, and a reader that names every mistake.

A field here is a key there; docs/site.md describes each of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from holdfast.kernel.errors import ConfigurationError

Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(ge=0.05, le=3600)]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
Line = Annotated[str, Meta(max_length=200)]


class SiteSettings(msgspec.Struct, frozen=True):
    """`[site]`"""

    name: Word = "site"
    data: Annotated[str, Meta(min_length=1)] = "data"
    key: Annotated[str, Meta(min_length=1)] = "site.key"
    notices: Annotated[str, Meta(max_length=64)] | None = None


class NodeSettings(msgspec.Struct, frozen=True):
    """`[nodes.NAME]`"""

    host: Annotated[str, Meta(min_length=1, max_length=253)]
    peer_port: Port
    http_port: Port | None = None
    line_port: Port | None = None


class ServiceSettings(msgspec.Struct, frozen=True):
    """`[services.NAME]`, without the options of its app."""

    app: Word
    nodes: tuple[str, ...] | dict[str, Port]
    protocol: str = ""
    failure_model: Literal["perfect", "majority"] | None = None
    timeout_seconds: Seconds = 5.0
    deadline_seconds: Seconds | None = None
    identity: Literal["trusted", "token"] = "token"


class Limits(msgspec.Struct, frozen=True):
    """`[limits]`, of each node"""

    line_bytes_max: Annotated[int, Meta(ge=256, le=16 * 1024 * 1024)] = 65_536
    connections_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    requests_waiting_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    unread_bytes_max: Annotated[int, Meta(ge=4096, le=1024**3)] = 4 * 1024 * 1024


class PersonSettings(msgspec.Struct, frozen=True):
    """`[people.ID]`"""

    first_name: Line = ""
    roles: tuple[Word, ...] = ()
    department: Line = ""
    unit: Line = ""
    token: Line = ""


TABLES: Mapping[str, type[msgspec.Struct]] = {
    "site": SiteSettings,
    "limits": Limits,
    "nodes": NodeSettings,
    "services": ServiceSettings,
    "people": PersonSettings,
}

S = TypeVar("S", bound=msgspec.Struct)


class Mistakes(ConfigurationError):
    """Everything that is wrong with a configuration, one line each."""

    def __init__(self, mistakes: list[ConfigurationError]) -> None:
        first = mistakes[0]
        super().__init__(first.why, file=first.file, key=first.key, line=first.line)
        self.args = ("\n".join(str(mistake) for mistake in mistakes),)
        self.mistakes = tuple(mistakes)

    class Gathering:
        """The mistakes found so far in one file."""

        def __init__(self, file: str) -> None:
            self._file = file
            self._found: list[ConfigurationError] = []

        def __len__(self) -> int:
            return len(self._found)

        def add(self, key: str, why: str) -> None:
            self._found.append(ConfigurationError(why, file=self._file, key=key))

        def raise_any(self) -> None:
            """Raise `Mistakes` if there are any."""
            if self._found:
                raise Mistakes(self._found)


def read_table(
    table: Mapping[str, Any],
    struct: type[S],
    where: str,
    gathering: Mistakes.Gathering,
    *,
    others: tuple[str, ...] = (),
) -> S | None:
    """A table as a struct; what is wrong with it is named, key by key. None if no struct can be made.

    `others` are further settings that could stand here, for the hint about an unknown one.
    """
    known = (*struct.__struct_fields__, *others)
    for key in table:
        if key not in known:
            gathering.add(f"{where}.{key}", f"there is no such setting{similar(key, known)}")
    hints = get_type_hints(struct, include_extras=True)
    values: dict[str, Any] = {}
    complete = True
    for field in msgspec.structs.fields(struct):
        if field.name in table:
            try:
                values[field.name] = msgspec.convert(table[field.name], hints[field.name])
            except msgspec.ValidationError as error:
                gathering.add(f"{where}.{field.name}", _lowered(str(error)) + _choices(str(error), hints[field.name]))
                complete = False
        elif field.required:
            gathering.add(f"{where}.{field.name}", "is missing")
            complete = False
    return struct(**values) if complete else None


def similar(word: str, known: Iterable[str]) -> str:
    """A hint at the end of a complaint: what may have been meant, or what there is."""
    names = sorted(known)
    near = difflib.get_close_matches(word[:64], names, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known are {', '.join(names)}" if names else ""


def _choices(message: str, hint: Any) -> str:
    """Behind a complaint about a word that is none of some: which there are."""
    if not message.startswith("Invalid enum value"):
        return ""
    kinds, words = [hint], list[str]()
    while kinds:
        kind = kinds.pop()
        is_choice = get_origin(kind) is Literal
        words += map(str, get_args(kind)) if is_choice else ()
        kinds += () if is_choice else get_args(kind)
    return f"; there are {', '.join(words)}"


def _lowered(message: str) -> str:
    """msgspec's complaint as the end of a sentence, with the place inside the value if there is one."""
    what, _, place = message.replace("`", "").partition(" - at ")
    inside = place.removeprefix("$").replace("[...]", "one of its values")
    return f"{what[0].lower()}{what[1:]}" + (f" (at {inside})" if inside else "")
