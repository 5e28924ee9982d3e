"""Claims brought to what a decision wants: successors are ready before predecessors stop."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import DecisionId, Digest, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import ClaimPhase, NodePhase, ReplicaPhase
from orchestrator.model.resources import Resources
from orchestrator.model.specs import SiteKind, SiteSpec, Variant
from orchestrator.reconcile.observed import Observed

DRAIN_S = 2.0  # calls under way end; a caller's retry budget covers longer ones


@dataclass(frozen=True, slots=True)
class Want:
    """So many replicas of one variant at one site."""

    service: ServiceRef
    version: VersionRef
    variant: Variant
    digest: Digest
    need: Resources
    site: SiteName
    count: int


def replica_phase(claim: Claim, observed: Observed) -> ReplicaPhase | None:
    """As its holder reports it; UNKNOWN while its node is silent, None when nobody reports it."""
    if claim.node is None:
        return _cloud_phase(claim, observed)
    node = observed.nodes.get(claim.node)
    if node is None:
        return None
    seen = node.replicas.get(claim.id)
    if node.phase is not NodePhase.ATTACHED:
        return ReplicaPhase.UNKNOWN if node.phase is NodePhase.UNKNOWN else None
    return seen.phase if seen else None


def _cloud_phase(claim: Claim, observed: Observed) -> ReplicaPhase | None:
    # Ray chooses the machine and Serve the replica: a region's claim stands for "one of those that registered".
    if not isinstance(claim.hold, ReplicaHold):
        return None
    phases = [
        r.seen.phase
        for r in observed.cloud.values()
        if (r.service, r.version, r.site) == (claim.hold.service, claim.hold.version, claim.site)
    ]
    for phase in (ReplicaPhase.READY, ReplicaPhase.STARTING, ReplicaPhase.FAILED):
        if phase in phases:
            return phase
    return None


def serves(claim: Claim, observed: Observed) -> bool:
    return replica_phase(claim, observed) is ReplicaPhase.READY


def diff(
    wants: Sequence[Want],
    claims: Sequence[Claim],
    observed: Observed,
    sites: Mapping[SiteName, SiteSpec],
    *,
    decision: DecisionId,
    epoch: int,
    now_s: float,
    ids: Iterator[str],
) -> list[Claim]:
    """Claims to write so that the ledger comes a step closer to `wants`; empty once they agree.

    `ids` yields fresh name suffixes. A claim whose node is lost is released; one on a silent node is kept.
    """
    writer = _Writer(decision, epoch, now_s)
    replica_claims = [c for c in claims if isinstance(c.hold, ReplicaHold)]
    by_service: dict[ServiceRef, list[Want]] = {}
    for want in wants:
        by_service.setdefault(want.service, []).append(want)
    services = sorted(by_service.keys() | {c.hold.service for c in replica_claims if isinstance(c.hold, ReplicaHold)})
    changed: list[Claim] = []
    nodes = _FreeNodes(sites, claims)
    for service in services:
        held = [c for c in replica_claims if isinstance(c.hold, ReplicaHold) and c.hold.service == service]
        changed += _diff_service(by_service.get(service, []), held, observed, sites, nodes, writer, ids)
    return changed


@dataclass(frozen=True, slots=True)
class _Writer:
    decision: DecisionId
    epoch: int
    now_s: float

    def move(self, claim: Claim, phase: ClaimPhase) -> Claim:
        return replace(claim, phase=phase, epoch=self.epoch, since_s=self.now_s)


def _diff_service(
    wants: Sequence[Want],
    held: Sequence[Claim],
    observed: Observed,
    sites: Mapping[SiteName, SiteSpec],
    nodes: "_FreeNodes",
    writer: _Writer,
    ids: Iterator[str],
) -> list[Claim]:
    changed: list[Claim] = []
    live: list[Claim] = []
    for claim in sorted(held, key=lambda c: c.id):
        if _gone(claim, observed, writer.now_s):
            changed.append(writer.move(claim, ClaimPhase.RELEASED))
        elif claim.phase is not ClaimPhase.DRAINING:
            live.append(claim)
    kept, surplus = _match(wants, live, observed)
    changed += [
        writer.move(claim, ClaimPhase.BOUND)
        for claim in kept
        if claim.phase is ClaimPhase.RESERVED and serves(claim, observed)
    ]
    started = [
        _start(want, sites, nodes, writer, ids)
        for want in wants
        for _ in range(want.count - sum(_matches(want, c) for c in kept))
    ]
    wanted = sum(w.count for w in wants)
    ready = sum(serves(c, observed) for c in kept)
    # A predecessor goes once every successor serves, or when it serves nobody itself.
    changed += [
        writer.move(claim, ClaimPhase.DRAINING)
        for claim in surplus
        if ready >= wanted or replica_phase(claim, observed) not in (ReplicaPhase.READY, ReplicaPhase.UNKNOWN)
    ]
    return changed + [claim for claim in started if claim is not None]


def _gone(claim: Claim, observed: Observed, now_s: float) -> bool:
    if claim.node is not None and (node := observed.nodes.get(claim.node)) and node.phase is NodePhase.LOST:
        return True
    if claim.phase is not ClaimPhase.DRAINING or now_s - claim.since_s < DRAIN_S:
        return False
    if claim.node is None:
        return True  # Serve stops it; what Ray still holds of it shows in Ray's own resources
    node = observed.nodes.get(claim.node)
    return node is None or claim.id not in node.replicas or node.replicas[claim.id].phase is ReplicaPhase.STOPPED


def _matches(want: Want, claim: Claim) -> bool:
    hold = claim.hold
    return isinstance(hold, ReplicaHold) and (want.site, want.version, want.digest) == (
        claim.site,
        hold.version,
        hold.digest,
    )


def _match(wants: Sequence[Want], live: Sequence[Claim], observed: Observed) -> tuple[list[Claim], list[Claim]]:
    """Which claims stay: ready ones first, then by id."""
    kept: list[Claim] = []
    for want in wants:
        fitting = sorted((c for c in live if _matches(want, c)), key=lambda c: (not serves(c, observed), c.id))
        kept += fitting[: want.count]
    taken = {c.id for c in kept}
    return kept, [c for c in live if c.id not in taken]


def _start(
    want: Want, sites: Mapping[SiteName, SiteSpec], nodes: "_FreeNodes", writer: _Writer, ids: Iterator[str]
) -> Claim | None:
    """None when no single node of the site has room: the next tick looks again."""
    site = sites[want.site]
    node: NodeName | None = None
    if site.kind is SiteKind.EDGE:
        node = nodes.take(want.site, want.need)
        if node is None:
            return None
    return Claim(
        id=ReplicaId(f"{want.service.name}-{want.site}-{next(ids)}"),
        site=want.site,
        node=node,
        need=want.need,
        phase=ClaimPhase.RESERVED,
        hold=ReplicaHold(want.service, want.version, want.variant, want.digest),
        decision=writer.decision,
        epoch=writer.epoch,
        since_s=writer.now_s,
    )


class _FreeNodes:
    """What each node of an edge site has left, while one diff hands it out."""

    def __init__(self, sites: Mapping[SiteName, SiteSpec], claims: Sequence[Claim]) -> None:
        self._free = {(s.name, n.name): n.capacity for s in sites.values() for n in s.nodes}
        for claim in claims:
            if claim.node is not None and (claim.site, claim.node) in self._free:
                self._free[claim.site, claim.node] -= claim.need

    def take(self, site: SiteName, need: Resources) -> NodeName | None:
        """The node with the most free memory that fits; the least name among equals."""
        fitting = [
            (-free.memory_bytes, node) for (s, node), free in self._free.items() if s == site and need.fits_in(free)
        ]
        if not fitting:
            return None
        node = min(fitting)[1]
        self._free[site, node] -= need
        return node
