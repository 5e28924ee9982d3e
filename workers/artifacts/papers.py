"""What was said of an artifact, beside it on a node's disk: its manifests and signatures, each named by its digest."""

import logging
from collections.abc import Iterator
from pathlib import Path

from workers.artifacts.digest import digest_of_bytes, hex_of
from workers.artifacts.errors import ManifestInvalid
from workers.artifacts.files import replace_file
from workers.artifacts.manifest import MANIFEST_MOST_BYTES, Manifest, parse_manifest

_log = logging.getLogger(__name__)


class Papers:
    """`<hex of the artifact>.<hex of the paper>`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def keep(self, artifact: str, data: bytes) -> None:
        """Raises OSError."""
        replace_file(self._path(artifact, digest_of_bytes(data)), data)

    def find(self, artifact: str, digest: str) -> bytes | None:
        """None: fetch it. One whose bytes are not its digest's is deleted."""
        return self._right(self._path(artifact, digest), hex_of(digest))

    def path_of(self, digest: str) -> Path | None:
        """Of a paper, whichever artifact it is about. Raises DigestInvalid."""
        return next(self._root.glob(f"*.{hex_of(digest)}"), None)

    def manifests(self, namespace: str) -> Iterator[Manifest]:
        """Those that can be read; what is none is another paper."""
        for path in sorted(self._root.iterdir()):
            data = self._right(path, path.name.partition(".")[2])
            try:
                manifest = parse_manifest(data) if data else None
            except ManifestInvalid:
                continue
            if manifest and manifest.namespace == namespace:
                yield manifest

    def prune(self, keep: set[str]) -> None:
        """Delete the papers of every artifact whose hex digest is not in `keep`."""
        for path in self._root.iterdir():
            if path.name.partition(".")[0] not in keep:
                path.unlink(missing_ok=True)

    def _right(self, path: Path, name: str) -> bytes | None:
        try:
            with path.open("rb") as stream:
                data = stream.read(MANIFEST_MOST_BYTES + 1)
        except FileNotFoundError:
            return None
        if hex_of(digest_of_bytes(data)) == name:
            return data
        _log.warning("a spoilt paper of an artifact is deleted; it is fetched again", extra={"path": str(path)})
        path.unlink(missing_ok=True)
        return None

    def _path(self, artifact: str, digest: str) -> Path:
        return self._root / f"{hex_of(artifact)}.{hex_of(digest)}"
