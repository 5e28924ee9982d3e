"""A model that is to share the agent's process loads once in a process of its own first: a bad file ends only that.

It costs a quarter of a second (benchmarks.edge) and is done once for each artifact: a mark on disk says that it passed,
so that a node that boots is ready as soon as before.
"""

import contextlib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from workers.artifacts.digest import hex_of, parse_digest
from workers.edge.apart import Limits, Processes
from workers.edge.assignment import Isolation, ReplicaAssignment
from workers.inference.dataplane import ModelSource

# Shared replicas are not held to their claims, so that a claim is no reason to refuse one: only a runaway is.
ROOM_BYTES = 256 << 20
CLAIMS = 4


class Trials:
    """`folder` holds a mark for each digest that passed."""

    def __init__(self, folder: Path, processes: Processes) -> None:
        self._folder, self._processes = folder, processes

    def pass_first(self, replica: ReplicaAssignment, source: ModelSource) -> None:
        """Blocks for a trial where one is due. Raises ModelLoadFailed, ReplicaEnded."""
        mark = self._mark(replica.content.artifact.digest)
        # A SavedModel's runtime, TensorFlow, takes more than any bound that would help.
        if replica.content.isolation is Isolation.PROCESS or source.format != "tflite" or mark.exists():
            return
        memory_bytes = ROOM_BYTES + CLAIMS * replica.memory_bytes
        trial = self._processes.start(replace(source, metadata={}), Limits(memory_bytes, replica.compute_millis))
        self._processes.end(trial)
        with contextlib.suppress(OSError):  # on a full disk it is tried again at the next boot
            self._folder.mkdir(exist_ok=True)
            mark.touch()

    def forget(self, keep: Collection[str]) -> None:
        """Marks of artifacts that are not in `keep`."""
        kept = {self._mark(digest) for digest in keep}
        with contextlib.suppress(FileNotFoundError):
            for mark in self._folder.iterdir():
                if mark not in kept:
                    mark.unlink(missing_ok=True)

    def _mark(self, digest: str) -> Path:
        return self._folder / hex_of(parse_digest(digest))
