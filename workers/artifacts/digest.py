"""Digests: the name of bytes is their SHA-256."""

import hashlib
import re
from pathlib import Path
from typing import BinaryIO, NewType

from workers.artifacts.errors import DigestInvalid

Digest = NewType("Digest", str)  # "sha256:<hex>"

BLOCK_BYTES = 1 << 20  # what is in memory at once while hashing or copying

_FORM = re.compile(r"sha256:[0-9a-f]{64}")


def parse_digest(text: str) -> Digest:
    """Raises DigestInvalid. Strict, because a digest becomes a file name."""
    if not _FORM.fullmatch(text):
        raise DigestInvalid(text)
    return Digest(text)


def hex_of(digest: str) -> str:
    """The digits alone: the file name. Raises DigestInvalid."""
    return parse_digest(digest).removeprefix("sha256:")


def digest_of_hash(hexadecimal: str) -> Digest:
    """The digest for what `hashlib.sha256(...).hexdigest()` says."""
    return parse_digest(f"sha256:{hexadecimal}")


def digest_of_bytes(data: bytes) -> Digest:
    return digest_of_hash(hashlib.sha256(data).hexdigest())


def digest_of_stream(stream: BinaryIO) -> tuple[Digest, int]:
    """Digest and byte count of what is left in `stream`, in bounded memory."""
    sha, size_bytes = hashlib.sha256(), 0
    while block := stream.read(BLOCK_BYTES):
        sha.update(block)
        size_bytes += len(block)
    return digest_of_hash(sha.hexdigest()), size_bytes


def digest_of_file(path: Path) -> tuple[Digest, int]:
    """Digest and byte count of a file, in bounded memory."""
    with path.open("rb") as stream:
        return digest_of_stream(stream)
