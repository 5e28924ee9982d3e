"""From claims to each node's whole desired state."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import NodeName, ServiceRef, SiteName
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.specs import Isolation
from orchestrator.reconcile.pacing import Pace
from orchestrator.reconcile.replicas import DRAIN_S


@dataclass(frozen=True, slots=True)
class AssignedReplica:
    """One replica that a node should hold. `draining`: it finishes what is under way and takes no more."""

    replica: str
    namespace: str
    service: str
    version: str
    digest: str
    size_bytes: int
    format: str
    memory_bytes: int
    decision: str
    valid_offline_s: int
    draining: bool
    isolation: Isolation | None = None  # None: as it runs, since its policy cannot be read now
    compute_millis: int = 0
    rollout_bps: int = 0  # over the WAN to this node; 0: no limit
    manifest: str = ""  # digests of what is said of the artifact; empty: nothing yet
    signature: str = ""
    single_writer: bool = False


_NO_PACES: Mapping[ServiceRef, Pace] = MappingProxyType({})


def assignments(
    nodes: Iterable[NodeName],
    claims: Iterable[Claim],
    sizes: Mapping[str, int],
    valid_offline_s: Mapping[ServiceRef, float],
    now_s: float,
    single_writers: Collection[ServiceRef] = (),
    isolation: Mapping[ServiceRef, Isolation] = MappingProxyType({}),
    paces: Mapping[ServiceRef, Pace] = _NO_PACES,
) -> dict[NodeName, tuple[AssignedReplica, ...]]:
    """For each of `nodes` and each node with a claim, in order of replica ids: none is a whole state too.

    `sizes`: bytes of each artifact by digest. `isolation`: of the services whose policy is known.
    """
    found: dict[NodeName, list[AssignedReplica]] = {node: [] for node in nodes}
    claims = sorted(claims, key=lambda c: c.id)
    shares = _shares(claims)
    for claim in claims:
        if claim.node is None or not isinstance(claim.hold, ReplicaHold):
            continue
        replicas = found.setdefault(claim.node, [])
        draining = claim.phase is ClaimPhase.DRAINING
        if claim.phase is ClaimPhase.RELEASED or (draining and now_s - claim.since_s >= DRAIN_S):
            continue
        pace = paces.get(claim.hold.service)
        rollout_bps = _share_of(pace, shares[claim.site, claim.hold.service]) if pace else 0
        where, single = isolation.get(claim.hold.service), claim.hold.service in single_writers
        replicas.append(_assigned(claim, claim.hold, sizes, valid_offline_s, draining, where, rollout_bps, single))
    return {node: tuple(replicas) for node, replicas in found.items()}


def _assigned(
    claim: Claim,
    hold: ReplicaHold,
    sizes: Mapping[str, int],
    valid_offline_s: Mapping[ServiceRef, float],
    draining: bool,
    isolation: Isolation | None,
    rollout_bps: int,
    single_writer: bool,
) -> AssignedReplica:
    return AssignedReplica(
        replica=claim.id,
        namespace=hold.service.namespace,
        service=hold.service.name,
        version=hold.version.name,
        digest=hold.digest,
        size_bytes=sizes.get(hold.digest, 0),
        format=hold.variant.artifact_format,
        memory_bytes=claim.need.memory_bytes,
        decision=claim.decision or "",
        valid_offline_s=int(valid_offline_s.get(hold.service, 0.0)),
        draining=draining,
        isolation=isolation,
        compute_millis=claim.need.compute_millis,
        rollout_bps=rollout_bps,
        single_writer=single_writer,
    )


def _shares(claims: Iterable[Claim]) -> Counter[tuple[SiteName, ServiceRef]]:
    """Nodes of each site that hold replicas of a service: all of them may fetch at once."""
    holders = {
        (claim.site, claim.hold.service, claim.node)
        for claim in claims
        if claim.node is not None and isinstance(claim.hold, ReplicaHold)
    }
    return Counter((site, service) for site, service, _ in holders)


def _share_of(pace: Pace, nodes: int) -> int:
    """Of the site's budget, in whole bits per second: at least one, since 0 is no limit."""
    return max(1, int(pace.bps_per_site / nodes)) if pace.bps_per_site is not None else 0
