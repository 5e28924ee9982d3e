"""What a folder may hold after the power went: rebuilt from the journal that `journal.c` kept.

The model is POSIX at its harshest: a file's bytes are sure once it was synced, its name once the folder was. Of what
came later any subset may be there, split at sectors and in any order.
"""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR_BYTES = 512
_HEADER = struct.Struct("<cIqq")


@dataclass(frozen=True, slots=True)
class Record:
    """One operation: W write, T truncate, S sync, C create, U unlink, R rename (data = the new name)."""

    op: str
    path: str
    offset: int
    data: bytes


def read_journal(path: Path) -> list[Record]:
    return list(_records(memoryview(path.read_bytes())))


def _records(raw: memoryview) -> Iterator[Record]:
    at = 0
    while at < len(raw):
        op, path_length, offset, length = struct.unpack_from("<cIqq", raw, at)
        at += _HEADER.size
        name = bytes(raw[at : at + path_length]).decode()
        at += path_length
        has_data = op in (b"W", b"R")
        data = bytes(raw[at : at + length]) if has_data else b""
        at += length if has_data else 0
        yield Record(op.decode(), name, offset, data)


@dataclass(slots=True)
class _File:
    sure: bytearray = field(default_factory=bytearray)
    pending: list[Record] = field(default_factory=list)

    def sync(self) -> None:
        for record in self.pending:
            _apply(self.sure, record.op, record.offset, record.data)
        self.pending.clear()

    def after_crash(self, rng: random.Random, kept: float) -> bytes:
        content = bytearray(self.sure)
        for record in self.pending:
            if record.op == "T" and rng.random() < kept:
                _apply(content, "T", record.offset, b"")
            elif record.op == "W":
                for start in range(0, len(record.data), SECTOR_BYTES):
                    if rng.random() < kept:
                        sector = record.data[start : start + SECTOR_BYTES]
                        _apply(content, "W", record.offset + start, sector)
        return bytes(content)


def _apply(content: bytearray, op: str, offset: int, data: bytes) -> None:
    end = offset if op == "T" else offset + len(data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if op == "T":
        del content[offset:]
    else:
        content[offset:end] = data


@dataclass(slots=True)
class Disk:
    """The folder, one record after the other."""

    live: dict[str, _File] = field(default_factory=dict)
    _sure_names: dict[str, _File] = field(default_factory=dict)
    _pending_names: list[tuple[Record, _File | None]] = field(default_factory=list)

    def step(self, record: Record) -> None:
        match record.op:
            case "C" | "U" | "R":
                change = (record, _File() if record.op == "C" else None)
                self._pending_names.append(change)
                _rename(self.live, *change)
            case "S" if record.path == "":
                for change in self._pending_names:
                    _rename(self._sure_names, *change)
                self._pending_names.clear()
            case "S":
                if record.path in self.live:
                    self.live[record.path].sync()
            case _:
                if record.path in self.live:
                    self.live[record.path].pending.append(record)

    def crash_into(self, folder: Path, rng: random.Random) -> None:
        """Write what is left after a crash now."""
        kept = rng.choice([0.0, 0.3, 0.7, 1.0])
        names = dict(self._sure_names)
        for record, file in self._pending_names:
            if rng.random() < kept:
                _rename(names, record, file)
        for name, file in names.items():
            (folder / name).write_bytes(file.after_crash(rng, kept))


def _rename(names: dict[str, _File], record: Record, file: _File | None) -> None:
    if record.op == "C" and file is not None:
        names[record.path] = file
        return
    moved = names.pop(record.path, None)
    if record.op == "R" and moved is not None:
        names[record.data.decode()] = moved
