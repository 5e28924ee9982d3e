"""What is said of an artifact in the library: its manifest, made once for each namespace, and who signed both.

Both are artifacts themselves, named by their digests; a note beside the artifact says which ones belong to it.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workers.artifacts.chunking import cut
from workers.artifacts.digest import Digest, digest_of_bytes, hex_of, parse_digest
from workers.artifacts.errors import ArtifactCorrupt, ArtifactError, DigestInvalid
from workers.artifacts.library import ArtifactLibrary
from workers.artifacts.manifest import MANIFEST_MOST_BYTES, Manifest
from workers.artifacts.signing import SigningKey
from workers.artifacts.trust import BUNDLE_MOST_BYTES

_log = logging.getLogger(__name__)

NOTE_MOST_BYTES: Final = 4096
FILE_NAMES: Final = {"tflite": "model.tflite", "savedmodel.tar": "model.savedmodel.tar"}


@dataclass(frozen=True, slots=True)
class Described:
    """Digests of an artifact's manifest and signature."""

    manifest: Digest
    signature: Digest


class Describer:
    """Calls block on the library."""

    def __init__(self, library: ArtifactLibrary, key: SigningKey) -> None:
        self.library, self.key = library, key

    def add(self, path: Path, format: str, namespace: str) -> tuple[str, int]:
        """Store a file and describe it; answers digest and size."""
        digest, size_bytes = self.library.add(path)
        self.describe(digest, size_bytes, format, namespace)
        return digest, size_bytes

    def describe(self, digest: str, size_bytes: int, format: str, namespace: str) -> Described:
        """As it was described before, unless by another key, or the papers are gone. Raises ArtifactError, OSError."""
        name = f"described/{namespace}/{hex_of(digest)}"
        if found := self._noted(name):
            return found
        manifest = self._cut(digest, size_bytes, format, namespace).encode()
        signed = self.key.sign(FILE_NAMES[format], digest, digest_of_bytes(manifest))
        described = Described(Digest(self.library.add_bytes(manifest)), Digest(self.library.add_bytes(signed)))
        note = {"manifest": described.manifest, "signature": described.signature, "key": self.key.id}
        self.library.note(name, json.dumps(note).encode())
        _log.info("artifact described", extra={"digest": digest, "namespace": namespace, **note})
        return described

    def _cut(self, digest: str, size_bytes: int, format: str, namespace: str) -> Manifest:
        with self.library.stream(digest) as stream:
            manifest = cut(stream, size_bytes, format, namespace)
        if manifest.artifact != digest:
            raise ArtifactCorrupt(digest, f"the library's file has digest {manifest.artifact}")
        return manifest

    def _noted(self, name: str) -> Described | None:
        try:
            note = json.loads(self.library.noted(name, NOTE_MOST_BYTES) or b"null")
            if not isinstance(note, dict) or note.get("key") != self.key.id:
                return None
            described = Described(parse_digest(str(note["manifest"])), parse_digest(str(note["signature"])))
        except (ValueError, KeyError, RecursionError, DigestInvalid):
            return None
        for digest, most_bytes in ((described.manifest, MANIFEST_MOST_BYTES), (described.signature, BUNDLE_MOST_BYTES)):
            if not self._right(digest, most_bytes):
                return None
        return described

    def _right(self, digest: str, most_bytes: int) -> bool:
        try:
            with self.library.open(digest) as paper:
                return digest_of_bytes(paper.read(0, most_bytes)) == digest
        except ArtifactError:
            return False
