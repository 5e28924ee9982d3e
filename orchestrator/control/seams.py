"""What the loops ask of the outside world. Adapters implement these; fakes pass the same contracts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from orchestrator.model.claims import Claim
from orchestrator.model.ids import DecisionId, NodeName
from orchestrator.model.running import CloudReplicas, JobProgress
from orchestrator.model.stored import Batch, Change, DecisionRecord, Key, Lease, StoredDecision, StoredObject
from orchestrator.reconcile.assignments import AssignedReplica
from workers.artifacts.trust import Trust


class Store(Protocol):
    """Desired state. Calls block (about a millisecond on SQLite): loops call them off the event loop.

    Every call raises StoreUnavailable when the database does not answer.
    """

    def get(self, key: Key) -> StoredObject:
        """Raises NotFound."""
        ...

    def list_objects(self, kind: str, namespace: str | None = None) -> tuple[list[StoredObject], int]:
        """Objects by key, and the sequence to watch from. `kind` "": all kinds; `namespace` None: all namespaces."""
        ...

    def commit(self, batch: Batch) -> list[StoredObject]:
        """Write all of it in one transaction; answers the objects in order of `batch.writes` (a deleted one as it was).

        An unchanged object keeps its revision and leaves no change. Raises RevisionStale, OwnerConflict, NotFound
        (delete), ClaimRefused, EpochStale; then nothing was written.
        """
        ...

    def changes(self, after_sequence: int, limit: int = 500) -> list[Change]:
        """Raises Compacted when the log no longer reaches back so far."""
        ...

    def claims(self) -> list[Claim]:
        """All that are not released, by id."""
        ...

    def acquire_lease(self, name: str, holder: str, ttl_s: float) -> Lease:
        """Take or renew. A new holder, or the same after expiry, gets a higher epoch.

        Raises EpochStale while another holds it.
        """
        ...

    def release_lease(self, lease: Lease) -> None: ...

    def decision(self, id: DecisionId) -> StoredDecision:
        """Raises NotFound; Damaged where what is stored is not what was written."""
        ...

    def latest_decision(self) -> StoredDecision | None:
        """The one in force. Raises Damaged."""
        ...

    def decisions(self, limit: int = 500) -> list[DecisionRecord]:
        """Of those that are kept, the newest first."""
        ...

    def compact(self, keep_changes: int) -> int:
        """Forget all but the newest changes; watchers that are behind list again. How many went."""
        ...

    def prune_decisions(self, keep: int, made_after_wall_s: float, limit: int = 200) -> int:
        """Forget decisions beyond the newest `keep` or made before, at most `limit` at a time. How many went.

        The one in force is never forgotten.
        """
        ...


class Cloud(Protocol):
    """One region's Ray Serve. Raises CloudUnavailable."""

    async def deploy(self, wanted: Sequence[CloudReplicas]) -> None:
        """Bring the region's replicas to this, in place: the unchanged are not touched, the absent are removed."""
        ...

    async def problems(self) -> Mapping[tuple[str, str], str]:
        """Per (namespace, service) the reason why Serve cannot bring it up; empty when all is well."""
        ...


class Trainer(Protocol):
    """A cluster that runs training jobs. `job` names the submission; submitting a known one again changes nothing."""

    async def submit(self, job: str, spec_json: str, out_dir: Path) -> None: ...

    async def progress(self, job: str) -> JobProgress | None:
        """None: the cluster does not know the job (it was restarted): submit again, it resumes from its checkpoint."""
        ...

    async def stop(self, job: str) -> None: ...

    async def logs(self, job: str, offset: int) -> tuple[list[str], int]:
        """Lines from `offset` on, and the next offset."""
        ...


class Papers(Protocol):
    """What is said of artifacts, and who is trusted to say it."""

    @property
    def trust(self) -> Trust | None:
        """None: nodes go on with what they were told before."""
        ...

    async def described(
        self, assigned: Mapping[NodeName, tuple[AssignedReplica, ...]]
    ) -> dict[NodeName, tuple[AssignedReplica, ...]]:
        """With the manifest and signature of each artifact; those that take long come later."""
        ...
