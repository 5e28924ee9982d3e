"""What the links report, as the pure rooms see it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import NodeName, ReplicaId, ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import ClaimPhase, NodePhase, ReplicaPhase
from orchestrator.model.resources import Resources


@dataclass(frozen=True, slots=True)
class SeenReplica:
    """A replica as its holder last reported it. `address` is set for those that a gateway dials."""

    replica: ReplicaId
    incarnation: str
    phase: ReplicaPhase
    reason: str = ""
    address: str = ""
    restarts: int = 0  # of a process that its node starts again


@dataclass(frozen=True, slots=True)
class SeenNode:
    """A node as a front holds it. `silent_s` is 0 while it is attached; `away_s` as in `brake.Heard`.

    `witnessed`: every front that we know is attached to us, so that none can hold the node without our knowing.
    """

    node: NodeName
    site: SiteName
    phase: NodePhase
    silent_s: float
    capacity: Resources
    lan_address: str
    held_revision: int
    replicas: Mapping[ReplicaId, SeenReplica]
    peer_address: str = ""  # where it gives artifacts to nodes of its site; empty: it does not
    witnessed: bool = True
    away_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SeenCloudReplica:
    """A cloud replica that holds its registration open."""

    seen: SeenReplica
    site: SiteName
    service: ServiceRef
    version: VersionRef
    digest: str


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything seen at one moment."""

    nodes: Mapping[NodeName, SeenNode]
    cloud: Mapping[ReplicaId, SeenCloudReplica]

    def cloud_of(self, hold: ReplicaHold, site: SiteName) -> list[SeenCloudReplica]:
        """The registered replicas that a region's claims of this kind stand for, by id."""
        wanted = (site, hold.service, hold.version, hold.digest)
        found = [c for c in self.cloud.values() if (c.site, c.service, c.version, c.digest) == wanted]
        return sorted(found, key=lambda c: c.seen.replica)

    def claims_served(self, claims: Iterable[Claim]) -> dict[ReplicaId, ReplicaPhase]:
        """For each claim of a region the phase of one registered replica; ready ones for the claims that were bound.

        Ray chooses the machine and Serve the process: `n` claims stand for `n` replicas, whichever they are.
        """
        groups: dict[tuple[ReplicaHold, SiteName], list[Claim]] = {}
        for claim in claims:
            if claim.node is None and isinstance(claim.hold, ReplicaHold) and claim.phase in LIVE:
                groups.setdefault((claim.hold, claim.site), []).append(claim)
        phases: dict[ReplicaId, ReplicaPhase] = {}
        for (hold, site), held in groups.items():
            seen = sorted((c.seen.phase for c in self.cloud_of(hold, site)), key=_READY_FIRST.index)
            ordered = sorted(held, key=lambda c: (c.phase is not ClaimPhase.BOUND, c.id))
            phases |= {claim.id: phase for claim, phase in zip(ordered, seen, strict=False)}
        return phases


LIVE = (ClaimPhase.RESERVED, ClaimPhase.BOUND)
_READY_FIRST = [ReplicaPhase.READY, *(phase for phase in ReplicaPhase if phase is not ReplicaPhase.READY)]
