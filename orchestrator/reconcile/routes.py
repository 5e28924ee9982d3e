"""From claims, what is seen and a decision's shares to the route table that gateways use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import DecisionId, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef, ZoneName
from orchestrator.model.phases import ClaimPhase, NodePhase, ReplicaPhase
from orchestrator.model.snapshot import ServiceDecision
from orchestrator.reconcile.observed import Observed, SeenReplica

ANY_ZONE = ZoneName("")


@dataclass(frozen=True, slots=True)
class Route:
    """One replica that a gateway may send a call to: it dials `address`, or without one relays to `node`."""

    replica: ReplicaId
    incarnation: str
    site: SiteName
    node: NodeName | None
    address: str
    version: str
    share: float  # of the zone's calls; 0: only when the others fail
    predicted_ms: float


@dataclass(frozen=True, slots=True)
class ServiceRoutes:
    service: ServiceRef
    version: str
    decision: DecisionId
    zones: Mapping[ZoneName, tuple[Route, ...]]
    unavailable_reason: str  # why there is no route at all


@dataclass(frozen=True, slots=True)
class Serving:
    """A replica that can take calls, before any zone's view of it. `preferred`: the decision wants it there."""

    claim: Claim
    seen: SeenReplica
    version: str
    preferred: bool


def service_routes(
    decided: ServiceDecision,
    decision: DecisionId,
    claims: Sequence[Claim],
    observed: Observed,
    shares: Mapping[ZoneName, Mapping[SiteName, float]],
    versions: Mapping[SiteName, VersionRef] = MappingProxyType({}),
) -> ServiceRoutes:
    """Every ready replica that is not draining has a route in every zone.

    A zone's share of a site is divided among the site's replicas, those that the decision wants if there are any: a
    predecessor serves until its successor does. Where no site with a share has a ready replica, all ready ones divide
    the calls equally. `versions`: what a rollout wants at sites where it is not the decision's version.
    """
    serving = serving_replicas(decided, claims, observed, versions)
    return ServiceRoutes(
        service=decided.service,
        version=decided.version.name,
        decision=decision,
        zones={zone: _zone_routes(decided, zone, serving, shares.get(zone, {})) for zone in zones_of(decided)},
        unavailable_reason="" if serving else _why_none(decided, claims, observed),
    )


def zones_of(decided: ServiceDecision) -> list[ZoneName]:
    """Those with routes of their own, and the one for all other callers."""
    return sorted({s.zone for s in decided.shares} | {u.zone for u in decided.unserved} | {ANY_ZONE})


def serving_replicas(
    decided: ServiceDecision,
    claims: Sequence[Claim],
    observed: Observed,
    versions: Mapping[SiteName, VersionRef] = MappingProxyType({}),
) -> list[Serving]:
    """The service's replicas that are ready, not draining and not silent. `versions`: as for `service_routes`."""
    wanted_sites = {c.site for c in decided.chosen}
    serving: list[Serving] = []
    seen_regions: set[tuple[SiteName, ReplicaHold]] = set()
    for claim in sorted(claims, key=lambda c: c.id):
        hold = claim.hold
        if not isinstance(hold, ReplicaHold) or hold.service != decided.service:
            continue
        if claim.phase not in (ClaimPhase.RESERVED, ClaimPhase.BOUND):
            continue
        preferred = claim.site in wanted_sites and hold.version == versions.get(claim.site, decided.version)
        if claim.node is not None:
            node = observed.nodes.get(claim.node)
            seen = node.replicas.get(claim.id) if node and node.phase is NodePhase.ATTACHED else None
            if seen and seen.phase is ReplicaPhase.READY:
                serving.append(Serving(claim, seen, hold.version.name, preferred))
        elif (claim.site, hold) not in seen_regions:
            # A region's claims stand for all of its registered replicas together.
            seen_regions.add((claim.site, hold))
            serving += [
                Serving(claim, cloud.seen, hold.version.name, preferred)
                for cloud in observed.cloud_of(hold, claim.site)
                if cloud.seen.phase is ReplicaPhase.READY
            ]
    return serving


def _zone_routes(
    decided: ServiceDecision, zone: ZoneName, serving: Sequence[Serving], shares: Mapping[SiteName, float]
) -> tuple[Route, ...]:
    predicted = {s.site: s.response_ms.expected for s in decided.shares if s.zone == zone or zone == ANY_ZONE}
    costs = {c.site: c.cost_ms for c in decided.chosen}
    takers: dict[SiteName, list[ReplicaId]] = {}
    for one in sorted(serving, key=lambda s: not s.preferred):
        mates = takers.setdefault(one.claim.site, [])
        if one.preferred or not any(other.preferred for other in serving if other.claim.site == one.claim.site):
            mates.append(one.seen.replica)
    covered = sum(shares.get(site, 0.0) for site in takers)
    routes: list[Route] = []
    for one in serving:
        site = one.claim.site
        if covered > 0:
            share = shares.get(site, 0.0) / covered / len(takers[site]) if one.seen.replica in takers[site] else 0.0
        else:
            share = 1.0 / len(serving)
        routes.append(
            Route(
                replica=one.seen.replica,
                incarnation=one.seen.incarnation,
                site=site,
                node=one.claim.node,
                address=one.seen.address,
                version=one.version,
                share=share,
                predicted_ms=predicted.get(site, costs.get(site, 0.0)),
            )
        )
    return tuple(sorted(routes, key=lambda r: (-r.share, r.predicted_ms, r.replica)))


def _why_none(decided: ServiceDecision, claims: Sequence[Claim], observed: Observed) -> str:
    for unserved in decided.unserved:
        if unserved.nearest is not None:
            near = unserved.nearest
            return f"no site meets policy {decided.policy}: nearest is {near.site}, {near.reason}: {near.detail}"
    mine = [c for c in claims if isinstance(c.hold, ReplicaHold) and c.hold.service == decided.service]
    for claim in mine:
        node = observed.nodes.get(claim.node) if claim.node else None
        seen = node.replicas.get(claim.id) if node else None
        if seen and seen.phase is ReplicaPhase.FAILED:
            return f"replica {claim.id} failed: {seen.reason}"
    if not mine:
        return f"no replica is placed yet under policy {decided.policy}"
    return "its replicas are starting: " + ", ".join(sorted(c.id for c in mine))
