"""The cloud side's artifacts, through fsspec: a folder by default, s3:// or gs:// where their drivers are installed."""

import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, cast

from workers.artifacts.digest import BLOCK_BYTES, digest_of_bytes, digest_of_file, hex_of, parse_digest
from workers.artifacts.disk import ArtifactFolder
from workers.artifacts.errors import ArtifactCorrupt, ArtifactUnknown, OffsetBeyondEnd
from workers.artifacts.files import replace_file, sync_folder


class _FileSystem(Protocol):
    """What of fsspec's AbstractFileSystem is used here."""

    def size(self, path: str) -> int | None: ...
    def open(self, path: str, mode: str, block_size: int) -> BinaryIO: ...
    def pipe_file(self, path: str, value: bytes) -> None: ...
    def put_file(self, lpath: str, rpath: str) -> None: ...
    def makedirs(self, path: str, exist_ok: bool) -> None: ...
    def mv(self, path1: str, path2: str) -> None: ...
    def invalidate_cache(self) -> None: ...


class OpenArtifact:
    """One artifact that is read in places; close it, or use it as a context."""

    def __init__(self, digest: str, size_bytes: int, stream: BinaryIO) -> None:
        self.digest, self.size_bytes, self._stream = digest, size_bytes, stream

    def __enter__(self) -> "OpenArtifact":
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def read(self, offset: int, limit: int) -> bytes:
        """At most `limit` bytes from `offset` on; empty at the end. Raises OffsetBeyondEnd for one past the end."""
        if not 0 <= offset <= self.size_bytes:
            raise OffsetBeyondEnd(self.digest, offset, self.size_bytes)
        self._stream.seek(offset)
        return self._stream.read(limit)

    def close(self) -> None:
        self._stream.close()


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

    def open(self, digest: str) -> OpenArtifact:
        """Raises ArtifactUnknown, DigestInvalid."""
        return OpenArtifact(digest, self.size(digest), self._open(digest))

    def stream(self, digest: str) -> BinaryIO:
        """All of it, from its beginning. Raises ArtifactUnknown, DigestInvalid."""
        self.size(digest)
        return self._open(digest)

    def add_bytes(self, data: bytes) -> str:
        """Store what is small enough to be in memory, in place of what may be spoilt; answers its digest."""
        digest = digest_of_bytes(data)
        self._put_bytes(data, self._name(digest))
        return digest

    def note(self, name: str, data: bytes) -> None:
        """Replace a note: a small file that is not named by what it says."""
        self._files.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
        self._put_bytes(data, f"{self._root}/{name}")

    def noted(self, name: str, most_bytes: int) -> bytes:
        """The note's first bytes; empty if there is none."""
        self._files.invalidate_cache()
        try:
            with self._files.open(f"{self._root}/{name}", "rb", block_size=BLOCK_BYTES) as stream:
                return stream.read(most_bytes)
        except FileNotFoundError:
            return b""

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
        with folder.partial(digest, size_bytes, apart=secrets.token_hex(4)) as partial, self.open(digest) as source:
            while block := source.read(partial.offset, BLOCK_BYTES):
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

    def _open(self, digest: str) -> BinaryIO:
        # What a store reads ahead by default is 50 MB.
        return self._files.open(self._name(digest), "rb", block_size=BLOCK_BYTES)

    def _put_bytes(self, data: bytes, name: str) -> None:
        if self._local:
            replace_file(Path(name), data)
        else:
            self._files.pipe_file(name, data)  # a bucket shows all of it or nothing

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
