"""What outlives an agent's process: its lock, its boot counter, its last assignment, its last contact, its status.

Every file is replaced as a whole; one that cannot be read is ignored with a warning, since the front can give all of it
again and a node that refuses to start serves nobody.
"""

import fcntl
import hashlib
import json
import logging
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from protos.link.v1 import link_pb2
from workers.artifacts.files import sync_folder
from workers.edge.assignment import Assignment
from workers.edge.errors import StateFolderUnusable
from workers.edge.wire import assignment_from, assignment_to

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

BOOT_CHARACTERS = 8
# Of one disk, newest first: as many as may fail to attach while the front still takes an earlier one for attached.
BOOTS_KEPT = 8
MOST_EPOCH = 2**63

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Boot:
    """One start of the agent; `before`: ids of earlier ones on this disk, the newest first."""

    epoch: int
    id: str
    before: tuple[str, ...]


class StateFolder:
    """One agent's folder, locked as long as this process lives."""

    def __init__(self, root: Path) -> None:
        """Raises StateFolderUnusable."""
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as err:
            raise StateFolderUnusable(f"--state-dir {root}: {err.strerror}: give a folder to write to") from err
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            os.close(self._lock)
            holder = _read_text(root / "lock").strip() or "unknown"
            remedy = "stop it, or give this agent a --state-dir of its own"
            raise StateFolderUnusable(
                f"--state-dir {root}: another agent holds it, process {holder}: {remedy}"
            ) from err
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"{os.getpid()}\n".encode())

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    def close(self) -> None:
        os.close(self._lock)

    def next_boot(self) -> Boot:
        """This one, written down: its epoch is higher than every earlier one's.

        Without a readable counter it starts at the wall clock's milliseconds: a node whose disk was replaced must not
        be taken for an old boot of itself.
        """
        saved = self._read_json("boots.json")
        last, known = saved.get("epoch"), saved.get("boots")
        epoch = last + 1 if isinstance(last, int) and 0 < last < MOST_EPOCH else int(time.time() * 1000)
        before = [str(one)[:BOOT_CHARACTERS] for one in (known if isinstance(known, list) else [])][:BOOTS_KEPT]
        boot = Boot(epoch, secrets.token_hex(BOOT_CHARACTERS // 2), tuple(before))
        boots: list[Json] = [boot.id, *before]
        self._write("boots.json", json.dumps({"epoch": epoch, "boots": boots[:BOOTS_KEPT]}).encode())
        return boot

    def save_assignment(self, assignment: Assignment) -> None:
        """Behind its digest: a truncated protobuf message may well parse, as another assignment."""
        data = assignment_to(assignment).SerializeToString(deterministic=True)
        self._write("assignment.pb", hashlib.sha256(data).digest() + data)

    def assignment(self) -> Assignment | None:
        """The last one held. None: there is none, or it cannot be read."""
        try:
            return saved_assignment(self.root)
        except (OSError, ValueError) as err:
            _log.warning("ignoring a half-written or unreadable saved assignment", extra={"error": str(err)})
            return None

    def forget_assignment(self) -> None:
        """Another control plane counts its revisions from another beginning. Raises OSError."""
        for name in ("assignment.pb", "contact.json", "status.json"):
            (self.root / name).unlink(missing_ok=True)

    def save_contact(self, offline_s: float) -> None:
        self._write("contact.json", json.dumps({"offline_s": offline_s, "wall_s": time.time()}).encode())

    def offline_s(self) -> float:
        """Since the last contact: by the wall clock, but at least what was counted, since clocks reset at a reboot."""
        saved = self._read_json("contact.json")
        counted_s, wall_s = saved.get("offline_s"), saved.get("wall_s")
        if not isinstance(counted_s, int | float) or not isinstance(wall_s, int | float):
            return 0.0
        return float(counted_s) + max(0.0, time.time() - wall_s)

    def save_status(self, status: dict[str, Json]) -> None:
        self._write("status.json", json.dumps({**status, "wall_s": time.time()}).encode(), durable=False)

    def _write(self, name: str, data: bytes, durable: bool = True) -> None:
        """Replace a file as a whole; `durable`: it survives a power cut."""
        path, passing = self.root / name, self.root / f".{name}.new"
        with passing.open("wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        passing.replace(path)
        if durable:
            sync_folder(self.root)

    def _read_json(self, name: str) -> dict[str, Json]:
        return read_json(self.root / name)


def saved_assignment(root: Path) -> Assignment | None:
    """The one on disk. Raises OSError, ValueError when it cannot be read."""
    path = root / "assignment.pb"
    try:
        saved = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, data = saved[:32], saved[32:]
    if hashlib.sha256(data).digest() != digest:
        raise ValueError(f"{path}: half-written or spoilt")
    return assignment_from(link_pb2.Assignment.FromString(data))


def running(root: Path) -> bool:
    """Does an agent hold the folder now?"""
    try:
        handle = os.open(root / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def read_json(path: Path) -> dict[str, Json]:
    """An object, empty if there is none; one that cannot be read is ignored with a warning."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        _log.warning("ignoring an unreadable state file", extra={"path": str(path), "error": str(err)})
        return {}
    return found if isinstance(found, dict) else {}


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
