"""The cloud side's artifacts, through fsspec: a folder by default, s3:// or gs:// where their drivers are installed."""

import os
import secrets
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from workers.artifacts.digest import BLOCK_BYTES, digest_of_file, hex_of, parse_digest
from workers.artifacts.disk import ArtifactFolder
from workers.artifacts.errors import ArtifactCorrupt, ArtifactUnknown, OffsetBeyondEnd
from workers.artifacts.files import sync_folder


class _FileSystem(Protocol):
    """What of fsspec's AbstractFileSystem is used here."""

    def size(self, path: str) -> int | None: ...
    def open(self, path: str, mode: str) -> BinaryIO: ...
    def put_file(self, lpath: str, rpath: str) -> None: ...
    def makedirs(self, path: str, exist_ok: bool) -> None: ...
    def mv(self, path1: str, path2: str) -> None: ...
    def invalidate_cache(self) -> None: ...


class ArtifactLibrary:
    """Artifacts under `url`, as `sha256/<hex>`. Calls block on the store; use them off the event loop."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs  # lazily: the edge shares this room and must not load it

        files, root = url_to_fs(url)
        self._files = cast(_FileSystem, files)
        self._root = str(root).rstrip("/")
        self._local = _is_local(files)
        self._files.makedirs(f"{self._root}/sha256", exist_ok=True)

    def add(self, path: Path) -> tuple[str, int]:
        """Store a file's bytes; answers digest and size. The same bytes again change nothing."""
        digest, size_bytes = digest_of_file(path)
        if self._stored_bytes(digest) != size_bytes:
            self._put(path, self._name(digest))
        return digest, size_bytes

    def size(self, digest: str) -> int:
        """Raises ArtifactUnknown, DigestInvalid."""
        size_bytes = self._stored_bytes(digest)
        if size_bytes is None:
            raise ArtifactUnknown(digest)
        return size_bytes

    def read(self, digest: str, offset: int, limit: int) -> bytes:
        """At most `limit` bytes from `offset` on; empty at the end.

        Raises ArtifactUnknown, DigestInvalid, and OffsetBeyondEnd for an offset past the end.
        """
        size_bytes = self.size(digest)
        if not 0 <= offset <= size_bytes:
            raise OffsetBeyondEnd(digest, offset, size_bytes)
        with self._files.open(self._name(digest), "rb") as stream:
            stream.seek(offset)
            return stream.read(limit)

    def local_path(self, digest: str, cache_dir: Path) -> Path:
        """A file on this machine whose bytes were checked just now: the library's own if it is a folder here.

        Raises ArtifactUnknown, DigestInvalid, and ArtifactCorrupt when the library's bytes are wrong.
        """
        size_bytes = self.size(digest)
        if self._local:
            return _checked(Path(self._name(digest)), digest)
        folder = ArtifactFolder(cache_dir)
        return folder.verified(digest) or self._copy_into(folder, digest, size_bytes)

    def _copy_into(self, folder: ArtifactFolder, digest: str, size_bytes: int) -> Path:
        # Other replicas on this machine may be at the same artifact: each copies apart, the last rename wins.
        with folder.partial(digest, size_bytes, apart=secrets.token_hex(4)) as partial:
            while block := self.read(digest, partial.offset, BLOCK_BYTES):
                partial.append(block)
            return partial.commit()

    def _put(self, path: Path, name: str) -> None:
        """Under another name first: who reads meanwhile sees all of it or nothing."""
        passing = f"{name}.{secrets.token_hex(4)}"
        self._files.put_file(str(path), passing)
        if self._local:
            _flush(Path(passing))
            Path(passing).replace(name)
            sync_folder(Path(name).parent)
        else:
            self._files.mv(passing, name)

    def _stored_bytes(self, digest: str) -> int | None:
        self._files.invalidate_cache()  # another process may have stored it since we last looked
        try:
            return self._files.size(self._name(digest))
        except FileNotFoundError:
            return None

    def _name(self, digest: str) -> str:
        return f"{self._root}/sha256/{hex_of(digest)}"


def _is_local(files: object) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(files, LocalFileSystem)


def _checked(path: Path, digest: str) -> Path:
    found, _ = digest_of_file(path)
    if found != parse_digest(digest):
        raise ArtifactCorrupt(digest, f"the library's file has digest {found}")
    return path


def _flush(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
