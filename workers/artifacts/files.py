"""Files that are there as a whole or not at all, also after a power cut."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, data: bytes, private: bool = False) -> None:
    """Its content is `data` or what it was; `private`: for its owner alone, from its first byte. Raises OSError."""
    passing = path.with_name(f".{path.name}.new")
    passing.unlink(missing_ok=True)
    handle = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if private else 0o666)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    passing.replace(path)
    sync_folder(path.parent)
