"""What is left of sites and links while one decision hands it out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import NodeName, ServiceRef, SiteName, VersionRef, ZoneName
from orchestrator.model.legs import Path, PathKind
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Refusal
from orchestrator.model.specs import DemandSpec, ServiceSpec, SiteKind, SiteSpec, VariantSpec
from orchestrator.placement.estimates import request_bps, response_bps
from orchestrator.placement.rules import Objection

_LIVE = (ClaimPhase.RESERVED, ClaimPhase.BOUND)
MIB = 1 << 20


def is_live(claim: Claim) -> bool:
    """Whether the claim stands for a replica that is wanted, not for one on its way out."""
    return claim.phase in _LIVE and isinstance(claim.hold, ReplicaHold)


@dataclass(slots=True)
class Ledger:
    """Capacity of sites and links, less what is taken. Services are planned one after the other, by priority.

    What counts against a service at a site: jobs, draining claims, claims of services that are no longer wanted, its
    own predecessors (a successor stands beside them), all that was placed before it in this decision, and live claims
    of services of the same or a higher priority. Live claims of a lower priority do not: they make way.
    """

    sites: Mapping[SiteName, SiteSpec]
    services: Mapping[ServiceRef, ServiceSpec]
    claims: Mapping[SiteName, Sequence[Claim]]
    planned: set[ServiceRef] = field(default_factory=set)
    added: dict[SiteName, list[tuple[NodeName | None, Resources]]] = field(default_factory=dict)
    wan_bps: dict[ZoneName, float] = field(default_factory=dict)
    legs_bps: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)  # requests, responses

    def runs(self, service: ServiceRef) -> frozenset[SiteName]:
        """Sites where a version of the service runs or is about to."""
        return frozenset(
            site
            for site, claims in self.claims.items()
            for claim in claims
            if is_live(claim) and isinstance(claim.hold, ReplicaHold) and claim.hold.service == service
        )

    def fit(self, service: ServiceSpec, site: SiteSpec, variant: VariantSpec) -> tuple[int, Objection]:
        """How many replicas the site bears, its own running ones included; and what stands against one more."""
        free, nodes = self._free(service, site, variant)
        count = _times(free, variant.need)
        if site.kind is SiteKind.EDGE:
            count = min(count, sum(_times(left, variant.need) for left in nodes.values()))
            free = max(nodes.values(), key=lambda left: (left.memory_bytes, left.compute_millis), default=Resources())
        return max(count, 0), _full(site, free, variant)

    def take(self, service: ServiceSpec, site: SiteSpec, variant: VariantSpec, count: int) -> None:
        """Record a placement: what is not running yet goes to the nodes with most free memory, as it will at commit."""
        running = sum(_is_own(claim, service, variant) for claim in self.claims.get(site.name, ()))
        added = self.added.setdefault(site.name, [])
        for _ in range(count - running):
            _, nodes = self._free(service, site, variant)
            for claim in self.claims.get(site.name, ()):
                if _is_own(claim, service, variant) and claim.node in nodes:
                    nodes[claim.node] -= claim.need
            fitting = [(-left.memory_bytes, node) for node, left in nodes.items() if variant.need.fits_in(left)]
            added.append((min(fitting)[1] if fitting else None, variant.need))

    def _free(
        self, service: ServiceSpec, site: SiteSpec, variant: VariantSpec
    ) -> tuple[Resources, dict[NodeName, Resources]]:
        free, nodes = site.capacity, {node.name: node.capacity for node in site.nodes}
        taken = [
            (claim.node, claim.need)
            for claim in self.claims.get(site.name, ())
            if self._counts(claim, service, variant)
        ]
        for node, need in (*taken, *self.added.get(site.name, ())):
            free -= need
            if node in nodes:
                nodes[node] -= need
        return free, nodes

    def _counts(self, claim: Claim, service: ServiceSpec, variant: VariantSpec) -> bool:
        if claim.phase is ClaimPhase.RELEASED or _is_own(claim, service, variant):
            return False
        if not is_live(claim) or not isinstance(claim.hold, ReplicaHold):
            return True
        other = self.services.get(claim.hold.service)
        if other is None or other.ref == service.ref or other.ref in self.planned:
            return True
        return other.policy.priority >= service.policy.priority

    # ---- links

    def room_rps(self, path: Path, demand: DemandSpec, wan_bps_per_zone: float | None) -> float:
        """Calls per second that the path still bears; legs without a measured throughput bear any number."""
        rooms = [float("inf")]
        request_bits, response_bits = 8 * demand.request_bytes, 8 * demand.response_bytes
        both = request_bits + response_bits
        if wan_bps_per_zone is not None and path.kind is not PathKind.LAN and both:
            rooms.append((wan_bps_per_zone - self.wan_bps.get(path.zone, 0.0)) / both)
        for leg in path.legs:
            used = self.legs_bps.get((leg.source, leg.target), (0.0, 0.0))
            if (bps := request_bps(leg, path)) and request_bits:
                rooms.append((bps - used[0]) / request_bits)
            if (bps := response_bps(leg, path)) and response_bits:
                rooms.append((bps - used[1]) / response_bits)
        return max(min(rooms), 0.0)

    def send(self, path: Path, demand: DemandSpec, rate_rps: float) -> None:
        """Record calls on a path."""
        request, response = 8 * demand.request_bytes * rate_rps, 8 * demand.response_bytes * rate_rps
        if path.kind is not PathKind.LAN:
            self.wan_bps[path.zone] = self.wan_bps.get(path.zone, 0.0) + request + response
        for leg in path.legs:
            used = self.legs_bps.get((leg.source, leg.target), (0.0, 0.0))
            self.legs_bps[leg.source, leg.target] = (used[0] + request, used[1] + response)


def ledger_of(sites: Mapping[SiteName, SiteSpec], services: Sequence[ServiceSpec], claims: Sequence[Claim]) -> Ledger:
    at_site: dict[SiteName, list[Claim]] = {}
    for claim in sorted(claims, key=lambda claim: claim.id):
        if claim.phase is not ClaimPhase.RELEASED:
            at_site.setdefault(claim.site, []).append(claim)
    return Ledger(sites, {service.ref: service for service in services}, at_site)


def _is_own(claim: Claim, service: ServiceSpec, variant: VariantSpec) -> bool:
    """A claim that the wanted replica would simply keep."""
    hold = claim.hold
    if not isinstance(hold, ReplicaHold) or not is_live(claim):
        return False
    kept: tuple[ServiceRef, VersionRef, str] = (hold.service, hold.version, hold.digest)
    return kept == (service.ref, service.version.ref, variant.digest) and claim.need == variant.need


def _times(free: Resources, need: Resources) -> int:
    """How often `need` fits."""
    memory = free.memory_bytes // need.memory_bytes if need.memory_bytes else 1 << 30
    compute = free.compute_millis // need.compute_millis if need.compute_millis else 1 << 30
    return max(min(memory, compute), 0)


def _full(site: SiteSpec, free: Resources, variant: VariantSpec) -> Objection:
    """`free` is the site's, or its freest node's, before the service's own running replicas."""
    where = f"the freest node of {site.name}" if site.kind is SiteKind.EDGE else site.name
    need = variant.need
    memory_times = free.memory_bytes / need.memory_bytes if need.memory_bytes else float("inf")
    compute_times = free.compute_millis / need.compute_millis if need.compute_millis else float("inf")
    if memory_times <= compute_times:
        wants, has = need.memory_bytes / MIB, max(free.memory_bytes, 0) / MIB
        detail = f"a replica needs {wants:.0f} MiB, {where} has {has:.0f} MiB for them: offer more or build smaller"
        return Objection(Refusal.MEMORY, wants, has, "MiB", detail)
    wants, has = need.compute_millis / 1000, max(free.compute_millis, 0) / 1000
    detail = f"a replica needs {wants:g} cores, {where} has {has:g} for them: offer more or claim less"
    return Objection(Refusal.COMPUTE, wants, has, "cores", detail)
