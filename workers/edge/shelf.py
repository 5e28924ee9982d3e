"""Which artifacts stay on the disk: what is needed, then as many of the former ones as its budget allows. Pure."""

from collections.abc import Iterable

from workers.edge.assignment import Artifact

SPARE_ARTIFACTS = 3  # kept after their use, because placements come back, and for the chunks of a next version
MIB = 1 << 20


class Shelf:
    """What the disk holds, as far as the agent made it so."""

    def __init__(self, budget_bytes: int) -> None:
        """0: no budget."""
        self._budget_bytes = budget_bytes
        self._sizes: dict[str, int] = {}
        self._spare: list[str] = []  # oldest use first
        self._needed: dict[str, int] = {}
        self._reasons: dict[str, str] = {}
        self._left: frozenset[str] | None = None  # by the last pruning
        self._pressed = False

    def found(self, artifacts: Iterable[tuple[str, int]]) -> None:
        """What a former process left."""
        self._sizes = dict(artifacts)
        self._spare = list(self._sizes)

    def need(self, running: Iterable[Artifact], assigned: Iterable[Artifact]) -> None:
        """From now on. What runs has its room; of what is assigned the first has it first."""
        before, self._needed, self._reasons = self._needed, {}, {}
        used_bytes = 0
        for artifact in running:
            used_bytes += 0 if artifact.digest in self._needed else artifact.size_bytes
            self._needed[artifact.digest] = artifact.size_bytes
        for artifact in assigned:
            if artifact.digest in self._needed:
                continue
            if self._budget_bytes and used_bytes + artifact.size_bytes > self._budget_bytes:
                self._reasons[artifact.digest] = self._reason(artifact, used_bytes)
            else:
                used_bytes += artifact.size_bytes
            self._needed[artifact.digest] = artifact.size_bytes
        self._spare = [digest for digest in self._spare if digest not in self._needed]
        self._spare += [digest for digest in sorted(before) if digest not in self._needed]
        self._sizes |= self._needed

    def lacks_room(self, digest: str) -> str:
        """Why an artifact that is needed cannot be fetched; empty: it can."""
        return self._reasons.get(digest, "")

    def spare_nothing(self) -> None:
        """The disk is full, whatever its budget."""
        self._spare, self._pressed = [], True

    def tidied(self, settled: bool) -> frozenset[str] | None:
        """What to keep; None: as it is. Before the node has settled only for want of room."""
        spare = self._spare[-SPARE_ARTIFACTS:]
        used_bytes = sum(size for digest, size in self._needed.items() if digest not in self._reasons)
        while spare and self._budget_bytes and used_bytes + sum(map(self._size, spare)) > self._budget_bytes:
            del spare[0]
            self._pressed = True
        kept = frozenset(spare) | self._needed.keys()
        if not (settled or self._pressed) or kept == self._left:
            return None
        self._spare, self._left, self._pressed = spare, kept, False
        return kept

    def _size(self, digest: str) -> int:
        return self._sizes.get(digest, 0)

    def _reason(self, artifact: Artifact, used_bytes: int) -> str:
        free = max(0, self._budget_bytes - used_bytes)
        said = f"{artifact.size_bytes / MIB:.1f} MiB are needed, {free / MIB:.1f} MiB are left"
        return f"{said} of the {self._budget_bytes / MIB:.1f} MiB for artifacts: raise --disk-mib, or assign less here"
