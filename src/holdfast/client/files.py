"""Everything a replica knows, carried in files: for a laptop that never sees the network.

    holdfast export 1 rooms
    <part>
    <part>
    end 2 9f86d081884c7d65

The first line names the format and the service, then each line is one part as the replica wrote it,
and the last tells how many parts the file has and a checksum of all before it. With `--split` the
parts lie in FILE.1, FILE.2, ..., and are as small as that takes. A part may have to wait for another
one; so those that a replica does not take yet are given to it again after the others. Nothing is harmed
by taking a part twice.
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
from holdfast.client.outcomes import Answer
from holdfast.private import make_file

if TYPE_CHECKING:
    from holdfast.client.service import Service
    from holdfast.client.site import Site

FORMAT = "holdfast export 1"
_HEADER = re.compile(r"holdfast export (\S+) (\S+)")
_END = re.compile(r"end ([0-9]+) ([0-9a-f]{16})")
_SIZE = re.compile(r"([0-9]+)([KM]?)")
_UNITS = {"": 1, "K": 1000, "M": 1_000_000}
PART_CHARACTERS_MAX = 60_000
"""The longest part that a line of the line protocol carries."""
SPLIT_BYTES_MIN = 1000
"""The smallest file that can be asked for: a part has its head, too."""
PARTS_MAX = 10**9
"""More than a file has, for the length of their number."""
CHECKSUM_DIGITS = 16


class Carried(msgspec.Struct, frozen=True):
    """What came of it: the files, how many parts they hold, and of an import what was new, and in words whom the
    primary has heard of by it; `held`: writes that wait there, for they are stamped too far ahead. `larger`: those
    of the files that are larger than they were to be."""

    files: list[str]
    parts: int
    writes: int = 0
    commits: int = 0
    heard: str = ""
    held: int = 0
    larger: list[str] = []


def carry(site: Site, name: str, words: list[str], *, as_json: bool) -> int:
    """The commands `export FILE [--split SIZE]` and `import FILE...` of a service; the exit status.

    Raises `Misuse`, for a damaged file too, and what `Service.call` raises.
    """
    answer = carried(site, name, words)
    print(answer.as_json() if as_json else answer, flush=True)
    return 0 if answer else 1


def carried(site: Site, name: str, words: list[str]) -> Answer:
    """The same as an answer."""
    done: Carried | Answer
    if words[0] == "export":
        file, size = _export_words(words[1:])
        done = export_to(_one_replica(site, name), file, size)
        text = "Wrote {parts} parts to {files}.{larger}"
    else:
        read = read_files(words[1:], name)
        done = import_from(_one_replica(site, name), read)
        text = "Took in {parts} parts of {files}: {writes} new writes, {commits} new commits.{held} {heard}"
    if not isinstance(done, Carried):
        return done
    fields: dict[str, Any] = msgspec.to_builtins(done)
    larger = f" Larger than was asked for, as one write is: {', '.join(done.larger)}." if done.larger else ""
    held = f" {done.held} wait there, for they are stamped too far ahead." if done.held else ""
    in_words = fields | {"files": ", ".join(done.files), "larger": larger, "held": held}
    told = text.format(**in_words).rstrip().replace(" 1 parts", " 1 part")
    return Answer(True, told, f"{words[0]}ed", fields)


def _one_replica(site: Site, name: str) -> Service:
    """The service at one node only: an export is what one replica has, and its parts follow each other."""
    service = site.service(name)
    service.call("help")
    if site.node or service.server is None or not service.server.name:
        return service
    return site.but(at=service.server.name).service(name)


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
        if size < SPLIT_BYTES_MIN:
            raise Misuse(f"--split takes at least {SPLIT_BYTES_MIN} bytes a file, not {size}")
        del rest[place : place + 2]
    if len(rest) != 1 or rest[0].startswith("--"):
        raise Misuse("usage: export <file> [--split <size>]")
    _check_file(Path(rest[0]))
    return rest[0], size


def _check_file(path: Path) -> None:
    """Raises `Misuse` for what no file can be written to, before anything is asked for."""
    try:
        if path.is_dir():
            raise Misuse(f"{path} is a folder; name a file in it, as in {path / 'rooms.txt'}")
        if not path.parent.is_dir():
            raise Misuse(f"{path} cannot be written: there is no folder {path.parent}; make it first")
        if path.exists() and not path.is_file():
            raise Misuse(f"{path} is no ordinary file; name another one")
    except OSError as error:
        raise Misuse(f"{path} cannot be written: {error.strerror}") from error


# -- out


def export_to(service: Service, file: str, size: int = 0) -> Carried | Answer:
    """Write everything one replica has to a file, or to several of at most `size` bytes each. A single write may be
    larger, and has a larger file of its own then.

    Returns the refusal where the service refuses. The files appear under their names when all are complete. Raises
    `Misuse` where they cannot be written, and leaves nothing behind.
    """
    parts: list[str] = []
    room = size - _around(service.name) if size else 0
    for part in _parts_of(service, min(room - 1, PART_CHARACTERS_MAX)):
        if not isinstance(part, str):
            return part
        parts.append(part)
    batches = list(_batches(parts, room)) if size else [parts]
    names = [f"{file}.{number}" for number in range(1, len(batches) + 1)] if size else [file]
    texts = [_text_of(service.name, batch) for batch in batches]
    _write_all([Path(name) for name in names], texts)
    return Carried(
        names, len(parts), larger=[name for name, text in zip(names, texts, strict=True) if 0 < size < len(text)]
    )


def _around(service: str) -> int:
    """What a file has before and after its parts, at most."""
    return len(_text_of(service, [])) + len(str(PARTS_MAX))


def _parts_of(service: Service, bytes_max: int) -> Iterator[str | Answer]:
    """Each part of the export, of so many bytes where they are given; the refusal instead, where there is one."""
    cursor = ""
    bound = ["--bytes", str(bytes_max)] if bytes_max > 0 else []
    while True:
        answer = service.call("export", *([cursor] if cursor else []), *bound)
        if not answer.ok:
            yield answer
            return
        if answer.reply["part"]:
            yield answer.reply["part"]
        cursor = answer.reply["cursor"]
        if not cursor:
            return


def _batches(parts: list[str], room: int) -> Iterator[list[str]]:
    """Parts for files with room for so many bytes of them; a part that is larger has a file of its own."""
    batch: list[str] = []
    bytes_in = 0
    for part in parts:
        if batch and bytes_in + len(part) + 1 > room:
            yield batch
            batch, bytes_in = [], 0
        batch.append(part)
        bytes_in += len(part) + 1
    yield batch


def _text_of(service: str, parts: list[str]) -> str:
    text = "".join(f"{line}\n" for line in [f"{FORMAT} {service}", *parts])
    return f"{text}end {len(parts)} {_checksum(text)}\n"


def _write_all(paths: list[Path], texts: list[str]) -> None:
    """All files or none."""
    unfinished: list[Path] = []
    for path in paths:
        _check_file(path)
    try:
        for path, text in zip(paths, texts, strict=True):
            place = path.with_name(f"{path.name}.unfinished")
            make_file(place)
            unfinished.append(place)
            with place.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for place, path in zip(unfinished, paths, strict=True):
            place.replace(path)
    except OSError as error:
        raise Misuse(f"{path} cannot be written: {error.strerror}") from error
    finally:
        for place in unfinished:
            place.unlink(missing_ok=True)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:CHECKSUM_DIGITS]


# -- in


def read_files(files: list[str], service: str) -> list[tuple[str, list[str]]]:
    """Each file with its parts; FILE.2 before FILE.10. Raises `Misuse` for a damaged one."""
    if not files:
        raise Misuse("usage: import <file>...")
    return [(file, read_parts(Path(file), service)) for file in sorted(files, key=_place_of)]


def _place_of(file: str) -> tuple[str, int]:
    stem, _, number = file.rpartition(".")
    return (stem, int(number)) if stem and number.isdecimal() else (file, 0)


def import_from(service: Service, read: list[tuple[str, list[str]]]) -> Carried | Answer:
    """Have a replica take in what was read. Returns its refusal where parts are left that it does not take;
    the others are taken in."""
    waiting = [part for _, parts in read for part in parts]
    count = len(waiting)
    writes = commits = 0
    heard = ""
    held = 0
    while waiting:
        refused: list[tuple[str, Answer]] = []
        for part in waiting:
            answer = service.call("import", part)
            if not answer.ok:
                refused.append((part, answer))
                continue
            writes += answer.reply.get("writes", 0)
            commits += answer.reply.get("commits", 0)
            heard = answer.reply.get("heard", "") or heard
            held += answer.reply.get("held", 0)
        if len(refused) == len(waiting):
            return refused[0][1]
        waiting = [part for part, _ in refused]
    return Carried([file for file, _ in read], count, writes, commits, heard, held)


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
