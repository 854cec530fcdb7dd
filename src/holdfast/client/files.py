"""Everything a replica knows, carried in files: for a laptop that never sees the network.

    holdfast export 1 rooms
    <part>
    <part>
    end 2 9f86d081884c7d65

The first line names the format and the service, then each line is one part as the replica wrote it,
and the last tells how many parts the file has and a checksum of all before it. With `--split` the
parts lie in FILE.1, FILE.2, ... Parts can be taken in in any order, and any number of times.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.client.errors import Misuse

if TYPE_CHECKING:
    from holdfast.client.outcomes import Answer
    from holdfast.client.service import Service
    from holdfast.client.site import Site

FORMAT = "holdfast export 1"
_HEADER = re.compile(r"holdfast export (\S+) (\S+)")
_END = re.compile(r"end ([0-9]+) ([0-9a-f]{16})")
_SIZE = re.compile(r"([0-9]+)([KM]?)")
_UNITS = {"": 1, "K": 1000, "M": 1_000_000}
PART_CHARACTERS_MAX = 60_000
"""The longest part that a line of the line protocol carries."""
CHECKSUM_DIGITS = 16


class Carried(msgspec.Struct, frozen=True):
    """What came of it: the files, how many parts they hold, and of an import what was new."""

    files: list[str]
    parts: int
    writes: int = 0
    commits: int = 0


def carry(site: Site, name: str, words: list[str], *, as_json: bool) -> int:
    """The commands `export FILE [--split SIZE]` and `import FILE...` of a service; the exit status.

    Raises `Misuse`, for a damaged file too, and what `Service.call` raises.
    """
    if words[0] == "export":
        file, size = _export_words(words[1:])
        done: Carried | Answer = export_to(site, name, file, size)
        text = "Wrote {parts} parts to {files}."
    else:
        done = import_from(site.service(name), words[1:])
        text = "Took in {parts} parts of {files}: {writes} new writes, {commits} new commits."
    if not isinstance(done, Carried):
        print(done.as_json() if as_json else done, flush=True)
        return 1
    fields: dict[str, Any] = msgspec.to_builtins(done)
    told = text.format(**(fields | {"files": ", ".join(done.files)})).replace(" 1 parts", " 1 part")
    answer = {"ok": True, "text": told, "type": f"{words[0]}ed", "reply": fields, "firm": "committed"}
    print(msgspec.json.encode(answer).decode() if as_json else told, flush=True)
    return 0


def _export_words(words: list[str]) -> tuple[str, int]:
    """(file, bytes a file or 0)."""
    size = 0
    rest = list(words)
    if "--split" in rest:
        place = rest.index("--split")
        found = _SIZE.fullmatch(rest[place + 1]) if place + 1 < len(rest) else None
        size = int(found[1]) * _UNITS[found[2]] if found else 0
        if not size:
            raise Misuse("--split takes the size of each file, as in 100K or 2M")
        del rest[place : place + 2]
    if len(rest) != 1 or rest[0].startswith("--"):
        raise Misuse("usage: export <file> [--split <size>]")
    return rest[0], size


# -- out


def export_to(site: Site, name: str, file: str, size: int = 0) -> Carried | Answer:
    """Write everything one replica has to a file, or to several of about `size` bytes each.

    Returns the refusal where the service refuses. A file appears under its name when it is complete.
    """
    parts: list[str] = []
    for part in _parts_of(site.service(name)):
        if not isinstance(part, str):
            return part
        parts.append(part)
    batches = list(_batches(parts, size)) if size else [parts]
    names = [f"{file}.{number}" for number in range(1, len(batches) + 1)] if size else [file]
    for path, batch in zip(names, batches, strict=True):
        _write(Path(path), name, batch)
    return Carried(names, len(parts))


def _parts_of(service: Service) -> Iterator[str | Answer]:
    """Each part of the export; the refusal instead, where there is one."""
    cursor = ""
    while True:
        answer = service.call("export", *([cursor] if cursor else []))
        if not answer.ok:
            yield answer
            return
        if answer.reply["part"]:
            yield answer.reply["part"]
        cursor = answer.reply["cursor"]
        if not cursor:
            return


def _batches(parts: list[str], size: int) -> Iterator[list[str]]:
    """Parts for files of at most `size` bytes; a part that is larger has a file of its own."""
    batch: list[str] = []
    bytes_in = 0
    for part in parts:
        if batch and bytes_in + len(part) + 1 > size:
            yield batch
            batch, bytes_in = [], 0
        batch.append(part)
        bytes_in += len(part) + 1
    yield batch


def _write(path: Path, service: str, parts: list[str]) -> None:
    text = "".join(f"{line}\n" for line in [f"{FORMAT} {service}", *parts])
    text += f"end {len(parts)} {_checksum(text)}\n"
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:CHECKSUM_DIGITS]


# -- in


def import_from(service: Service, files: list[str]) -> Carried | Answer:
    """Take in files, each read and checked before the first of their parts is sent. Returns the refusal
    where the service refuses a part; what came before it is taken in. Raises `Misuse` for a damaged file."""
    read = [(file, read_parts(Path(file), service.name)) for file in files]
    writes = commits = count = 0
    for _, parts in read:
        for part in parts:
            answer = service.call("import", part)
            if not answer.ok:
                return answer
            count += 1
            writes += answer.reply.get("writes", 0)
            commits += answer.reply.get("commits", 0)
    return Carried(files, count, writes, commits)


def read_parts(path: Path, service: str) -> list[str]:
    """The parts in a file. Raises `Misuse`, naming the file and the line, for one that is damaged, cut
    off, of another service, or no export at all."""
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise Misuse(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _wrong(path, 1, "this is no text, so no export of Holdfast") from error
    lines = text.replace("\r\n", "\n").split("\n")
    header = _HEADER.fullmatch(lines[0])
    if header is None:
        raise _wrong(path, 1, f"this is no export of Holdfast; it would begin with {FORMAT!r}")
    if f"holdfast export {header[1]}" != FORMAT:
        raise _wrong(path, 1, f"this is an export in the format {header[1]}, and only {FORMAT[-1]} is known here")
    if header[2] != service:
        raise _wrong(path, 1, f"this is an export of the service {header[2]}, not of {service}")
    end = next((number for number, line in enumerate(lines) if _END.fullmatch(line)), None)
    if end is None:
        raise _wrong(path, len(lines), "the file is cut off: its last line, 'end', is missing; copy it again")
    parts = lines[1:end]
    for number, part in enumerate(parts, 2):
        if not part or len(part) > PART_CHARACTERS_MAX or not part.isprintable() or " " in part:
            raise _wrong(path, number, "this is no part of an export; the file is damaged, copy it again")
    if any(lines[end + 1 :]):
        raise _wrong(path, end + 2, "something follows the end of the export; the file is damaged, copy it again")
    said = _END.fullmatch(lines[end])
    assert said is not None
    if int(said[1]) != len(parts):
        raise _wrong(path, end + 1, f"the file says it has {said[1]} parts and has {len(parts)}; copy it again")
    if _checksum("".join(f"{line}\n" for line in lines[:end])) != said[2]:
        raise _wrong(path, end + 1, "the checksum does not fit: something in the file has changed; copy it again")
    return parts


def _wrong(path: Path, line: int, why: str) -> Misuse:
    return Misuse(f"{path}, line {line}: {why}")
