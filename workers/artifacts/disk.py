"""A folder of verified artifacts on a machine's disk: fetched in pieces, resumed, checked, never half there.

Whole artifacts are `sha256/<hex>`, partial ones `partial/<hex>`, what was said of them `papers/<hex>.<hex>`; the rename
of a partial one happens after the digest was right and the bytes were flushed, so that a file under its final name was
once right. `verified` says if it is.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from workers.artifacts.assembly import Assembly, Held
from workers.artifacts.digest import BLOCK_BYTES, Digest, digest_of_file, digest_of_hash, hex_of, parse_digest
from workers.artifacts.errors import ArtifactCorrupt
from workers.artifacts.files import sync_folder
from workers.artifacts.manifest import Manifest
from workers.artifacts.papers import Papers


class ArtifactFolder:
    """One process's folder: two that resume the same fetch would spoil it, so that the agent locks its state folder."""

    def __init__(self, root: Path) -> None:
        self._whole = root / "sha256"
        self._partial = root / "partial"
        self._whole.mkdir(parents=True, exist_ok=True)
        self._partial.mkdir(parents=True, exist_ok=True)
        self.papers = Papers(root / "papers")
        # What a file looked like when its digest was last right; a change of any of these means: hash again.
        self._seen: dict[Digest, tuple[int, int, int]] = {}

    def verified(self, digest: str) -> Path | None:
        """The artifact's file if its bytes are right now; a wrong one is deleted. None: fetch it."""
        wanted = parse_digest(digest)
        path = self._whole / hex_of(wanted)
        try:
            signature = _signature(path)
            if self._seen.get(wanted) == signature:
                return path
            found, _ = digest_of_file(path)
        except FileNotFoundError:
            return None
        if found != wanted:
            self._seen.pop(wanted, None)
            path.unlink(missing_ok=True)
            return None
        self._seen[wanted] = signature
        return path

    def path(self, digest: str) -> Path:
        """Where the whole one is, if it is. Raises DigestInvalid."""
        return self._whole / hex_of(digest)

    def held(self) -> list[tuple[Digest, int]]:
        """Whole ones with their sizes, the oldest first; not checked."""
        files = [(path.stat(), path.name) for path in self._whole.iterdir() if len(path.name) == 64]
        return [(digest_of_hash(name), found.st_size) for found, name in sorted(files, key=lambda f: f[0].st_mtime_ns)]

    def partial(self, digest: str, size_bytes: int, apart: str = "") -> "PartialArtifact":
        """Take up the fetch of an artifact where it was left; close it, or use it as a context.

        `apart` names a second fetch of the same artifact at the same time.
        """
        wanted = parse_digest(digest)
        name = hex_of(wanted)
        return PartialArtifact(self._partial / f"{name}{apart}", self._whole / name, wanted, size_bytes)

    def assembly(self, manifest: Manifest) -> Assembly:
        """Take up, or begin, what is put together from chunks; close it, or use it as a context."""
        name = hex_of(manifest.artifact)
        return Assembly(self._partial / name, self._whole / name, manifest, self._held(manifest))

    def _held(self, wanted: Manifest) -> dict[bytes, Held]:
        """Where the chunks that it needs lie in whole artifacts of its namespace."""
        needed = {chunk.sha256 for chunk in wanted.chunks}
        found: dict[bytes, Held] = {}
        for manifest in self.papers.manifests(wanted.namespace):
            path = self._whole / hex_of(manifest.artifact)
            if path.exists():
                found |= {c.sha256: Held(path, c.offset) for c in manifest.chunks if c.sha256 in needed}
        return found

    def prune(self, keep: Iterable[str]) -> list[Digest]:
        """Delete every artifact, whole or partial, that is not in `keep`; answers the digests of the whole ones."""
        names = {hex_of(digest) for digest in keep}
        for path in self._partial.iterdir():
            if path.name not in names:
                path.unlink(missing_ok=True)
        self.papers.prune(names)
        gone = sorted(path for path in self._whole.iterdir() if path.name not in names)
        for path in gone:
            path.unlink(missing_ok=True)
        return [Digest(f"sha256:{path.name}") for path in gone]


class PartialArtifact:
    """The bytes of an artifact so far. `offset` is where the next ones belong."""

    def __init__(self, path: Path, final: Path, digest: Digest, size_bytes: int) -> None:
        self._path, self._final, self._digest, self._size_bytes = path, final, digest, size_bytes
        self._sha = hashlib.sha256()
        self._stream = path.open("a+b")
        self.offset = 0
        self._rehash()

    def __enter__(self) -> "PartialArtifact":
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def append(self, data: bytes) -> None:
        """Raises ArtifactCorrupt, and forgets all bytes, when there are more than the artifact has."""
        if self.offset + len(data) > self._size_bytes:
            self.discard()
            raise ArtifactCorrupt(self._digest, f"more than its {self._size_bytes} bytes came")
        self._stream.write(data)
        self._sha.update(data)
        self.offset += len(data)

    def commit(self) -> Path:
        """Flush, check and rename. Raises ArtifactCorrupt, and forgets all bytes, when they are not the artifact's.

        A short one is refused but kept: the rest can still come.
        """
        if self.offset < self._size_bytes:
            raise ArtifactCorrupt(self._digest, f"truncated at {self.offset} of {self._size_bytes} bytes")
        found = digest_of_hash(self._sha.hexdigest())
        if found != self._digest:
            self.discard()
            raise ArtifactCorrupt(self._digest, f"the bytes that came have digest {found}")
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._path.replace(self._final)
        sync_folder(self._final.parent)
        return self._final

    def discard(self) -> None:
        """Start again from nothing."""
        self._stream.truncate(0)
        self._sha = hashlib.sha256()
        self.offset = 0

    def close(self) -> None:
        self._stream.close()

    def _rehash(self) -> None:
        """What a former process left counts as it is on disk; too much of it counts as nothing."""
        self._stream.seek(0)
        while block := self._stream.read(BLOCK_BYTES):
            self._sha.update(block)
            self.offset += len(block)
        if self.offset > self._size_bytes:
            self.discard()


def _signature(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
