"""From a region's claims to what its Serve should run."""

from collections import Counter
from collections.abc import Iterable

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.running import CloudReplicas
from orchestrator.reconcile.replicas import DRAIN_S


def cloud_replicas(claims: Iterable[Claim], now_s: float) -> list[CloudReplicas]:
    """One entry for each version of a service; a draining claim keeps its replica until calls under way have ended."""
    counts: Counter[tuple[ReplicaHold, int, int]] = Counter()
    for claim in claims:
        if claim.node is None and isinstance(claim.hold, ReplicaHold) and _runs(claim, now_s):
            counts[claim.hold, claim.need.memory_bytes, claim.need.compute_millis] += 1
    return [
        CloudReplicas(
            namespace=hold.service.namespace,
            service=hold.service.name,
            version=hold.version.name,
            digest=hold.digest,
            format=hold.variant.artifact_format,
            count=count,
            memory_bytes=memory_bytes,
            compute_millis=compute_millis,
        )
        for (hold, memory_bytes, compute_millis), count in sorted(counts.items(), key=repr)
    ]


def _runs(claim: Claim, now_s: float) -> bool:
    if claim.phase is ClaimPhase.DRAINING:
        return now_s - claim.since_s < DRAIN_S
    return claim.phase is not ClaimPhase.RELEASED
