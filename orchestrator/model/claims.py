"""The one ledger: what placement and training hold of a site's capacity."""

from dataclasses import dataclass

from orchestrator.model.ids import DecisionId, Digest, JobRef, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.specs import Variant


@dataclass(frozen=True, slots=True)
class ReplicaHold:
    """Why a claim exists: a replica of a service's version in one variant."""

    service: ServiceRef
    version: VersionRef
    variant: Variant
    digest: Digest


@dataclass(frozen=True, slots=True)
class JobHold:
    """Why a claim exists: a worker group of a training job."""

    job: JobRef


@dataclass(frozen=True, slots=True)
class Claim:
    """A reservation of one site's resources. `id` is the replica's id, or "job/NAMESPACE/NAME/UID" of a job.

    `epoch` is the fencing token: the leader epoch that wrote it. `since_s` counts on the store's clock.
    """

    id: ReplicaId
    site: SiteName
    node: NodeName | None  # None in a region: Ray chooses the machine
    need: Resources
    phase: ClaimPhase
    hold: ReplicaHold | JobHold
    decision: DecisionId | None
    epoch: int
    since_s: float
