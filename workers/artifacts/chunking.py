"""Where an artifact is cut: by its content, so that what was inserted or changed leaves the other cuts where they were.

For the cloud alone: a node is told the cuts by a manifest and never makes any. Another release of the chunker that cuts
elsewhere costs bytes, never correctness.
"""

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from pyfastcdc import FastCDC

from workers.artifacts.digest import digest_of_hash
from workers.artifacts.manifest import CHUNK_MOST_BYTES, CHUNKS_MOST, Manifest, manifest_of

# Smaller chunks share more and cost more: each takes 36 bytes of a manifest (docs/decisions/0020-artifacts.md).
AVERAGE_BYTES = 64 << 10
SPREAD = 4  # the least is a quarter of the average, the most four times as much


def cut(stream: BinaryIO, size_bytes: int, format: str, namespace: str) -> Manifest:
    """The manifest of the bytes that are left in `stream`, in bounded memory. Raises ManifestInvalid."""
    whole = hashlib.sha256()

    def pieces() -> Iterator[tuple[int, bytes]]:
        average = average_bytes(size_bytes)
        cutter = FastCDC(average, min_size=average // SPREAD, max_size=average * SPREAD)
        for chunk in cutter.cut_stream(stream):
            whole.update(chunk.data)
            yield chunk.length, hashlib.sha256(chunk.data).digest()

    found = list(pieces())  # before its digest is asked for
    return manifest_of(digest_of_hash(whole.hexdigest()), size_bytes, format, namespace, found)


def average_bytes(size_bytes: int) -> int:
    """Doubled for what would have more chunks than a manifest holds; versions of one model are of one size, mostly."""
    average = AVERAGE_BYTES
    while size_bytes > CHUNKS_MOST * average // SPREAD and average * SPREAD < CHUNK_MOST_BYTES:
        average *= 2
    return average
