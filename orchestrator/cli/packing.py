"""A model made elsewhere as one stream of bytes: a .tflite file as it is, a SavedModel folder as a tar."""

import hashlib
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.cli.failures import CommandFailed

CHUNK_BYTES = 1 << 20
TFLITE_MAGIC = b"TFL3"  # bytes 4 to 8: the FlatBuffers file identifier of TensorFlow Lite's schema


@dataclass(frozen=True, slots=True)
class PackedModel:
    """What will be sent. `format` is a word of control/v1."""

    path: Path
    format: str
    digest: str
    size_bytes: int

    def chunks(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same folder gives the same bytes on every machine: neither times nor owners nor modes."""
    info.mtime = info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o755 if info.isdir() else 0o644
    return info


def write_tar(folder: Path, target: Path) -> None:
    """A deterministic tar of `folder`'s files, by name. Raises CommandFailed for links and the like."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*"), key=lambda one: one.relative_to(folder).as_posix()):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise CommandFailed(f"{path} is neither a file nor a folder", "copy what it points to into its place")
            tar.add(path, path.relative_to(folder).as_posix(), recursive=False, filter=_plain)


def _packed(path: Path, format: str) -> PackedModel:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return PackedModel(path, format, f"sha256:{digest}", path.stat().st_size)


def _tflite(path: Path) -> PackedModel:
    with path.open("rb") as file:
        start = file.read(8)
    if start[4:8] != TFLITE_MAGIC:
        remedy = "give a .tflite file or a SavedModel folder (Keras: model.export(FOLDER))"
        found = f"its bytes 4 to 8 are {start[4:8]!r}, not 'TFL3'"
        raise CommandFailed(f"{path} is no TensorFlow Lite model: {found}", remedy)
    return _packed(path, "tflite")


@contextmanager
def packed_model(path: Path) -> Iterator[PackedModel]:
    """The model at `path`, ready to be sent. Raises CommandFailed when it is neither form."""
    if not path.exists():
        raise CommandFailed(f"{path}: no such file or folder", "give a .tflite file or a SavedModel folder")
    if path.is_file():
        yield _tflite(path)
        return
    if not (path / "saved_model.pb").is_file():
        raise CommandFailed(f"{path} is no SavedModel: it holds no saved_model.pb", "give the folder that holds it")
    with tempfile.TemporaryDirectory(prefix="skerry-push-") as folder:
        target = Path(folder) / "model.tar"
        write_tar(path, target)
        yield _packed(target, "savedmodel.tar")
