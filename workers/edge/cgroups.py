"""Control groups (version 2) for replicas, where the agent may make them: under systemd with `Delegate=yes`.

Elsewhere (no delegation, version 1, a container with a read-only tree) there are none, and each process limits itself.
"""

import contextlib
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path

AGENT = "agent"  # the leaf for the agent itself: a group with controllers on has no processes of its own
PERIOD_US = 100_000
MOST_WEIGHT = 10_000

_log = logging.getLogger(__name__)


def is_delegated(group: Path) -> bool:
    """Whether the group was given to this process. root could write any, also one that is not its own to divide."""
    for name in ("user.delegate", "trusted.delegate"):  # set by systemd
        with contextlib.suppress(OSError):
            if os.getxattr(group, name) == b"1":
                return True
    return os.geteuid() != 0 and os.access(group, os.W_OK)


class Cgroup:
    """One replica's group."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def out_of_memory(self) -> bool:
        """Whether the kernel has ended a process here for the group's limit."""
        with contextlib.suppress(OSError):
            for line in (self._path / "memory.events").read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count) > 0
        return False

    def remove(self) -> None:
        """Its processes have ended."""
        with contextlib.suppress(OSError):
            self._path.rmdir()


class Cgroups:
    """The agent's part of the tree."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def delegated(
        cls,
        tree: Path = Path("/sys/fs/cgroup"),
        proc: Path = Path("/proc/self"),
        is_ours: Callable[[Path], bool] = is_delegated,
    ) -> "Cgroups | None":
        """None where there is no version 2, or where it is not this process's to divide."""
        try:
            own = next(
                line[3:] for line in (proc / "cgroup").read_text().splitlines() if line.startswith("0::")
            )  # version 1's lines have other numbers
            here = tree / own.strip().lstrip("/")
            controllers = (here / "cgroup.controllers").read_text().split()
            root = here.parent if here.name == AGENT else here
            if not {"memory", "cpu"} <= set(controllers) or not is_ours(root):
                return None
            if root == here:
                (root / AGENT).mkdir(exist_ok=True)
                (root / AGENT / "cgroup.procs").write_text("0")  # 0: who writes it
            (root / "cgroup.subtree_control").write_text("+memory +cpu")
        except (OSError, StopIteration) as err:
            _log.info("no control groups for replicas; each process limits itself", extra={"reason": str(err)})
            return None
        return cls(root)

    def place(self, process: int, memory_bytes: int, compute_millis: int) -> Cgroup | None:
        """None where it cannot be made; the process then limits itself. 0: without that limit."""
        path = self._root / f"replica-{process}"
        try:
            path.mkdir()
            if memory_bytes:
                (path / "memory.max").write_text(str(memory_bytes))
                (path / "memory.oom.group").write_text("1")
                with contextlib.suppress(OSError):  # a kernel without swap has no such file
                    (path / "memory.swap.max").write_text("0")
            if compute_millis:
                # Whole cores: held to a quarter of one, a call of 30 ms would wait 75 ms for its next slice. Where
                # cores are short the weight, whose default is 100 and the agent's, gives each as much as it claims.
                (path / "cpu.max").write_text(f"{math.ceil(compute_millis / 1000) * PERIOD_US} {PERIOD_US}")
                (path / "cpu.weight").write_text(str(min(MOST_WEIGHT, max(1, compute_millis // 10))))
            (path / "cgroup.procs").write_text(str(process))
        except OSError as err:
            _log.warning("no control group for a replica", extra={"path": str(path), "reason": str(err)})
            with contextlib.suppress(OSError):
                path.rmdir()
            return None
        return Cgroup(path)
