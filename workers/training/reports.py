"""What a running job tells: files in its folder, so that they outlive every process that wrote them."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

PROGRESS, LOG, RESULT, SPEC = "progress.json", "log.txt", "result.json", "spec.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """`phase` is "running" or "evaluating"; `step` of `steps` over all epochs."""

    phase: str
    step: int
    steps: int
    message: str
    metrics: Mapping[str, float]


def write_whole(path: Path, data: bytes) -> None:
    """Readers see the old file or the new one, also after a crash."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


class Reporter:
    """Writes progress (at most `per_s` times a second, but always a forced one) and log lines into a job's folder."""

    def __init__(self, folder: Path, per_s: float = 10.0) -> None:
        self._folder, self._every_s, self._last_s = folder, 1 / per_s, 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def progress(self, progress: Progress, force: bool = False) -> None:
        now_s = time.monotonic()
        if force or now_s - self._last_s >= self._every_s:
            self._last_s = now_s
            write_whole(self._folder / PROGRESS, json.dumps(asdict(progress)).encode())

    def log(self, line: str) -> None:
        """One write with O_APPEND: lines of several processes do not mix."""
        stamp = time.strftime("%H:%M:%S")
        with (self._folder / LOG).open("ab", buffering=0) as file:
            file.write(f"{stamp} {line}\n".encode())


def read_progress(folder: Path) -> Progress | None:
    try:
        return Progress(**json.loads((folder / PROGRESS).read_bytes()))
    except FileNotFoundError:
        return None


def read_log(folder: Path, offset: int) -> tuple[list[str], int]:
    """Whole lines from byte `offset` on, and the next offset."""
    try:
        with (folder / LOG).open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    return data[:end].decode(errors="replace").splitlines(), offset + end
