"""One file per epoch in the job's folder; a lost worker, driver or whole Ray goes on from the newest whole one."""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from workers.training.reports import write_whole

Arrays: TypeAlias = tuple[NDArray[np.generic], ...]

KEPT = 2  # the newest, and the one before it should the newest turn out unreadable


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State after `epochs_done` epochs; arrays in the order in which model and optimizer list their variables."""

    epochs_done: int
    weights: Arrays
    optimizer: Arrays

    @property
    def weights_digest(self) -> str:
        digest = hashlib.sha256()
        for array in self.weights:
            digest.update(np.ascontiguousarray(array).tobytes())
        return "sha256:" + digest.hexdigest()


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    named = {f"weights-{index:03d}": array for index, array in enumerate(checkpoint.weights)}
    named |= {f"optimizer-{index:03d}": array for index, array in enumerate(checkpoint.optimizer)}
    buffer = io.BytesIO()
    np.savez(buffer, epochs_done=np.int64(checkpoint.epochs_done), **named)  # type: ignore[arg-type]
    path = _path(folder, checkpoint.epochs_done)
    write_whole(path, buffer.getvalue())
    for old in sorted(folder.glob("epoch-*.npz"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def newest(folder: Path) -> Checkpoint | None:
    for path in sorted(folder.glob("epoch-*.npz"), reverse=True):
        try:
            return _read(path)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            continue  # torn by a crash or a full disk: the one before it will do
    return None


def after(folder: Path, epochs_done: int) -> Checkpoint:
    """Raises FileNotFoundError: this machine does not see the folder that the first worker wrote to."""
    return _read(_path(folder, epochs_done))


def _path(folder: Path, epochs_done: int) -> Path:
    return folder / f"epoch-{epochs_done:04d}.npz"


def _read(path: Path) -> Checkpoint:
    # From memory: numpy leaves a file open that turns out to be no archive.
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
        names = sorted(stored.files)
        return Checkpoint(
            epochs_done=int(stored["epochs_done"]),
            weights=tuple(stored[name] for name in names if name.startswith("weights-")),
            optimizer=tuple(stored[name] for name in names if name.startswith("optimizer-")),
        )
