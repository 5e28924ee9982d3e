"""What an artifact is made of: its chunks in order, so that a node fetches only those that it does not hold.

The bytes of a manifest are one line of JSON and a record of 36 bytes for each chunk (size, SHA-256). There is one way
to write a manifest, so that its own digest names it, and its parts are bounded before anything is built of them: it
comes from a link or a disk.
"""

import json
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from workers.artifacts.digest import Digest, digest_of_bytes, parse_digest
from workers.artifacts.errors import DigestInvalid, ManifestInvalid

SCHEMA: Final = "skerry.dev/manifest/v1"
FORMATS: Final = frozenset({"tflite", "savedmodel.tar"})
CHUNK_MOST_BYTES: Final = 4 << 20  # what is in memory at once while one is checked
CHUNKS_MOST: Final = 1 << 18
HEAD_MOST_BYTES: Final = 1024

_RECORD = struct.Struct(">I32s")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")

MANIFEST_MOST_BYTES: Final = HEAD_MOST_BYTES + CHUNKS_MOST * _RECORD.size


@dataclass(frozen=True, slots=True)
class Chunk:
    offset: int
    size_bytes: int
    sha256: bytes

    @property
    def end(self) -> int:
        return self.offset + self.size_bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """The chunks lie end to end. `namespace`: chunks are shared only with artifacts of the same one."""

    artifact: Digest
    size_bytes: int
    format: str
    namespace: str
    chunks: tuple[Chunk, ...] = field(repr=False)

    def encode(self) -> bytes:
        records = [_RECORD.pack(chunk.size_bytes, chunk.sha256) for chunk in self.chunks]
        return _head(self.artifact, len(self.chunks), self.format, self.namespace, self.size_bytes) + b"".join(records)

    @property
    def digest(self) -> Digest:
        """The manifest's own name."""
        return digest_of_bytes(self.encode())


def manifest_of(
    artifact: Digest, size_bytes: int, format: str, namespace: str, pieces: Iterable[tuple[int, bytes]]
) -> Manifest:
    """From the size and SHA-256 of each chunk. Raises ManifestInvalid."""
    chunks, offset = [], 0
    for chunk_bytes, sha256 in pieces:
        chunks.append(Chunk(offset, chunk_bytes, sha256))
        offset += chunk_bytes
    manifest = Manifest(artifact, size_bytes, format, namespace, tuple(chunks))
    _check(manifest, offset)
    return manifest


def parse_manifest(data: bytes) -> Manifest:
    """Raises ManifestInvalid for anything that `Manifest.encode` would not have written."""
    end = data.find(b"\n", 0, HEAD_MOST_BYTES)
    if end < 0:
        raise ManifestInvalid(f"no head in its first {HEAD_MOST_BYTES} bytes")
    head, records = data[: end + 1], memoryview(data)[end + 1 :]
    artifact, count, format, namespace, size_bytes = _fields(head)
    if not 0 <= count <= CHUNKS_MOST:
        raise ManifestInvalid(f"chunks: {count}: at most {CHUNKS_MOST} are")
    if len(records) != count * _RECORD.size:
        raise ManifestInvalid(f"chunks: {count} take {count * _RECORD.size} bytes, {len(records)} are there")
    return manifest_of(artifact, size_bytes, format, namespace, _RECORD.iter_unpack(records))


def _head(artifact: str, count: int, format: str, namespace: str, size_bytes: int) -> bytes:
    fields = {
        "artifact": artifact,
        "chunks": count,
        "format": format,
        "namespace": namespace,
        "schema": SCHEMA,
        "size_bytes": size_bytes,
    }
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _fields(head: bytes) -> tuple[Digest, int, str, str, int]:
    try:
        found = json.loads(head)
        artifact, count, format = found["artifact"], found["chunks"], found["format"]
        namespace, size_bytes = found["namespace"], found["size_bytes"]
        if [*map(type, (artifact, count, format, namespace, size_bytes))] != [str, int, str, str, int]:
            raise TypeError("a field is of another type")
        if _head(artifact, count, format, namespace, size_bytes) != head:
            raise ManifestInvalid("its head is not in the one form that a head has")
        return parse_digest(artifact), count, format, namespace, size_bytes
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as err:
        raise ManifestInvalid(f"its head cannot be read: {type(err).__name__}") from err
    except DigestInvalid as err:
        raise ManifestInvalid(str(err)) from err


def _check(manifest: Manifest, end: int) -> None:
    if manifest.format not in FORMATS:
        raise ManifestInvalid(f"format: {manifest.format!r}: one of {', '.join(sorted(FORMATS))}")
    if not _NAMESPACE.fullmatch(manifest.namespace):
        raise ManifestInvalid(f"namespace: {manifest.namespace!r}: is no name of a namespace")
    if len(manifest.chunks) > CHUNKS_MOST:
        raise ManifestInvalid(f"chunks: {len(manifest.chunks)}: at most {CHUNKS_MOST} are")
    if any(not 0 < chunk.size_bytes <= CHUNK_MOST_BYTES for chunk in manifest.chunks):
        raise ManifestInvalid(f"chunks: one is not of 1 to {CHUNK_MOST_BYTES} bytes")
    if end != manifest.size_bytes:
        raise ManifestInvalid(f"size_bytes: {manifest.size_bytes}: its chunks add up to {end}")
