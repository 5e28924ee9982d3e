"""An artifact that is put together on a node's disk from the chunks of its manifest.

They take their places in order: a chunk that another artifact of the namespace holds is copied from it, the others are
asked for. So the file grows from its beginning, and what a killed process leaves is looked at again chunk by chunk:
what is right stays, the bytes at its end may be the beginning of the next chunk, and the rest is asked for again.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from workers.artifacts.digest import digest_of_file
from workers.artifacts.errors import ArtifactCorrupt
from workers.artifacts.files import sync_folder
from workers.artifacts.manifest import Chunk, Manifest


@dataclass(frozen=True, slots=True)
class Held:
    """A chunk inside a whole artifact on this disk; it is checked when it is used."""

    path: Path
    offset: int


class Assembly:
    """One artifact on its way. Close it, or use it as a context. Its calls block on the disk; one thread at a time."""

    def __init__(self, path: Path, final: Path, manifest: Manifest, held: Mapping[bytes, Held]) -> None:
        """Takes up what a former process left at `path`. `held`: the chunks that lie on this disk, by SHA-256."""
        self.path, self._final, self.manifest = path, final, manifest
        self._held = dict(held)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._arriving = bytearray()  # of the chunk that is next: on disk too, not checked yet
        self._next = 0
        self._right = [False] * len(manifest.chunks)
        self.asked_bytes = 0  # that came through `put`
        self._look_again()

    def __enter__(self) -> "Assembly":
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def complete(self) -> bool:
        return self._next == len(self.manifest.chunks)

    @property
    def right_bytes(self) -> int:
        """All before this was checked."""
        return self._start

    @property
    def there_bytes(self) -> int:
        """How far it is, with what came of the next chunk."""
        return self._start + len(self._arriving)

    def wanted(self, most_bytes: int) -> list[tuple[int, int]]:
        """Copy what is held up to the first chunk that is not; answers (offset, bytes) to ask for from there on.

        Empty when nothing is missing. At least a chunk, however little `most_bytes` is.
        """
        self._copy_held()
        ranges: list[tuple[int, int]] = []
        left_bytes, skip = most_bytes, len(self._arriving)
        for index in range(self._next, len(self.manifest.chunks)):
            chunk = self.manifest.chunks[index]
            if self._right[index] or chunk.sha256 in self._held:
                continue
            if ranges and left_bytes < chunk.size_bytes:
                break
            offset, size_bytes = chunk.offset + skip, chunk.size_bytes - skip
            if ranges and sum(ranges[-1]) == offset:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + size_bytes)
            else:
                ranges.append((offset, size_bytes))
            left_bytes, skip = left_bytes - size_bytes, 0
        return ranges

    def put(self, offset: int, data: bytes) -> bool:
        """Bytes that were asked for, in the order of `wanted`. False: others are needed now, so ask again.

        Raises ArtifactCorrupt when they make no right chunk; those before it stay.
        """
        view = memoryview(data)
        while view:
            if offset != self.there_bytes:
                self._copy_held()
            if self.complete or offset != self.there_bytes:
                return False
            taken = view[: self._end - offset]
            self._write(offset, taken)
            self._arriving += taken
            self.asked_bytes += len(taken)
            offset, view = offset + len(taken), view[len(taken) :]
            if self.there_bytes == self._end:
                self._check()
        return True

    def commit(self) -> Path:
        """Flush, check the whole and rename.

        Raises ArtifactCorrupt: of one that is not complete all is kept, of one with another digest nothing is.
        """
        self._copy_held()
        if not self.complete:
            problem = f"truncated at {self.there_bytes} of {self.manifest.size_bytes} bytes"
            raise ArtifactCorrupt(self.manifest.artifact, problem)
        os.ftruncate(self._file, self.manifest.size_bytes)
        os.fsync(self._file)
        found, _ = digest_of_file(self.path)
        if found != self.manifest.artifact:
            self.path.unlink()
            raise ArtifactCorrupt(self.manifest.artifact, f"its chunks are right, and together have digest {found}")
        self.path.replace(self._final)
        sync_folder(self._final.parent)
        return self._final

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def _start(self) -> int:
        return self.manifest.size_bytes if self.complete else self.manifest.chunks[self._next].offset

    @property
    def _end(self) -> int:
        return self.manifest.chunks[self._next].end

    def _look_again(self) -> None:
        end = os.fstat(self._file).st_size
        for index, chunk in enumerate(self.manifest.chunks):
            if chunk.offset >= end:
                break
            data = os.pread(self._file, chunk.size_bytes, chunk.offset)
            self._right[index] = _is(chunk, data)
            if chunk.end > end and not any(not right for right in self._right[:index]):
                self._arriving += data
        self._go_on()

    def _go_on(self) -> None:
        """To the next chunk that is not right."""
        while not self.complete and self._right[self._next]:
            self._next += 1

    def _copy_held(self) -> None:
        while not self.complete:
            chunk = self.manifest.chunks[self._next]
            held = self._held.get(chunk.sha256)
            if held is None:
                return
            self._arriving.clear()  # of a copy that was cut off
            data = _read(held, chunk.size_bytes)
            if not _is(chunk, data):
                self._spoilt(chunk, held)
                return
            self._write(chunk.offset, data)
            self._done()

    def _spoilt(self, chunk: Chunk, held: Held) -> None:
        """The chunk is asked for instead; all of them if the artifact that held it was evicted."""
        del self._held[chunk.sha256]
        if not held.path.exists():
            self._held = {sha256: other for sha256, other in self._held.items() if other.path != held.path}

    def _check(self) -> None:
        chunk = self.manifest.chunks[self._next]
        right = _is(chunk, self._arriving)
        self._arriving.clear()
        if not right:
            raise ArtifactCorrupt(self.manifest.artifact, f"the chunk at {chunk.offset} that came has another digest")
        self._done()

    def _done(self) -> None:
        self._right[self._next] = True
        self._go_on()

    def _write(self, offset: int, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file, view, offset)
            offset, view = offset + written, view[written:]


def _is(chunk: Chunk, data: bytes | bytearray) -> bool:
    return len(data) == chunk.size_bytes and hashlib.sha256(data).digest() == chunk.sha256


def _read(held: Held, size_bytes: int) -> bytes:
    """Empty if the artifact is gone."""
    try:
        with held.path.open("rb", buffering=0) as stream:
            stream.seek(held.offset)
            return stream.read(size_bytes)
    except FileNotFoundError:
        return b""
