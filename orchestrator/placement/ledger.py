"""What is left of sites and links while one decision hands it out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import NodeName, ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Refusal
from orchestrator.model.specs import AntiAffinity, QuotaSpec, ServiceSpec, SiteKind, SiteSpec, VariantSpec, Within
from orchestrator.placement.links import Links
from orchestrator.placement.outline import Outline
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
    of services of the same or a higher priority. Live claims of a lower priority do not: they make way, unless frozen.
    """

    sites: Mapping[SiteName, SiteSpec]
    services: Mapping[ServiceRef, ServiceSpec]
    claims: Mapping[SiteName, Sequence[Claim]]
    links: Links
    quotas: Sequence[QuotaSpec] = ()
    planned: dict[ServiceRef, frozenset[SiteName]] = field(default_factory=dict)
    added: dict[SiteName, list[tuple[NodeName | None, Resources]]] = field(default_factory=dict)
    taken: dict[str, Resources] = field(default_factory=dict)  # by namespace: of all that is planned
    reserved: dict[ServiceRef, Outline] = field(default_factory=dict)  # for services whose turn is yet to come

    def runs(self, service: ServiceRef) -> frozenset[SiteName]:
        """Sites where a version of the service runs or is about to."""
        return frozenset(claim.site for claim in self.live(service))

    def live(self, service: ServiceRef) -> list[Claim]:
        """Replicas of any version that run or are about to."""
        return [
            claim
            for _, claims in sorted(self.claims.items())
            for claim in claims
            if is_live(claim) and isinstance(claim.hold, ReplicaHold) and claim.hold.service == service
        ]

    def running(self, service: ServiceSpec, site: SiteName, variant: VariantSpec) -> int:
        """Replicas that the wanted ones would simply keep."""
        return sum(_is_own(claim, service, variant) for claim in self.claims.get(site, ()))

    def running_at(self, service: ServiceSpec, site: SiteName, variant: VariantSpec) -> Mapping[NodeName | None, int]:
        claims = self.claims.get(site)
        return Counter(claim.node for claim in claims if _is_own(claim, service, variant)) if claims else {}

    def stands(self, service: ServiceSpec, site: SiteSpec, variant: VariantSpec) -> Mapping[NodeName | None, Resources]:
        """What each node of an edge site, or a region's pool (None), has for the service's replicas, running ones
        included."""
        free, nodes = self._free(service, site, variant)
        return {None: free} if site.kind is SiteKind.REGION else dict(nodes.items())

    def fit(self, service: ServiceSpec, site: SiteSpec, variant: VariantSpec) -> tuple[int, "Full"]:
        """How many replicas the site bears, its own running ones included; and what stands against one more."""
        free, nodes = self._free(service, site, variant)
        need, count = variant.need, variant.need.times_in(free)
        if site.kind is SiteKind.EDGE:
            count = min(count, sum(need.times_in(left) for left in nodes.values()))
        return count, Full(site, need, free, nodes)

    def touched(self) -> Set[SiteName]:
        """Where a service may fit less often by now: what runs may count, places or outlines may have taken room.

        While services of one priority are planned nowhere does one fit more often than before the first of them.
        """
        outlined = (outline.added.keys() for outline in self.reserved.values())
        return self.claims.keys() | self.added.keys() | set().union(*outlined)

    def take(self, service: ServiceSpec, site: SiteSpec, variant: VariantSpec, count: int) -> None:
        """Record a placement: what is not running yet goes to the nodes with most free memory, as it will at commit."""
        running = self.running(service, site.name, variant)
        space = service.ref.namespace
        self.taken[space] = self.taken.get(space, Resources()) + variant.need * count
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
        for node, need in self._taken(service, site.name, variant):
            free -= need
            if node in nodes:
                nodes[node] -= need
        return free, nodes

    def _taken(
        self, service: ServiceSpec, site: SiteName, variant: VariantSpec
    ) -> Iterator[tuple[NodeName | None, Resources]]:
        for claim in self.claims.get(site, ()):
            if self._counts(claim, service, variant):
                yield claim.node, claim.need
        yield from self.added.get(site, ())
        for ref, outline in self.reserved.items():
            if (added := outline.added.get(site)) and ref != service.ref:
                yield from added

    def copy(self) -> "Ledger":
        """For a plan that may be dropped."""
        return replace(
            self,
            links=self.links.copy(),
            planned=dict(self.planned),
            added={site: list(added) for site, added in self.added.items()},
            taken=dict(self.taken),
            reserved=dict(self.reserved),
        )

    def _counts(self, claim: Claim, service: ServiceSpec, variant: VariantSpec) -> bool:
        if claim.phase is ClaimPhase.RELEASED or _is_own(claim, service, variant):
            return False
        if not is_live(claim) or not isinstance(claim.hold, ReplicaHold):
            return True
        other = self.services.get(claim.hold.service)
        if other is None or other.ref == service.ref or other.ref in self.planned:
            return True
        return _keeps_from(other, service)

    # ---- namespaces and neighbours

    def quota_left(self, service: ServiceSpec) -> list[tuple[QuotaSpec, Resources]]:
        """What each quota of its namespace leaves to the service's replicas, its own running ones included.

        Jobs have their queue's quota. A predecessor beside its successor, and what drains, does not count twice.
        """
        quotas = [quota for quota in self.quotas if quota.namespace == service.ref.namespace]
        if not quotas:
            return []
        taken = self.taken.get(service.ref.namespace, Resources())
        for ref, outline in self.reserved.items():
            if ref.namespace == service.ref.namespace and ref != service.ref:
                taken += outline.need
        for claims in self.claims.values():
            for claim in claims:
                hold = claim.hold
                if not isinstance(hold, ReplicaHold) or not is_live(claim) or hold.service == service.ref:
                    continue
                if hold.service.namespace == service.ref.namespace and self._goes_first(hold.service, service):
                    taken += claim.need
        return [(quota, quota.limit - taken) for quota in quotas]

    def _goes_first(self, other: ServiceRef, service: ServiceSpec) -> bool:
        """Whether a service that is not planned yet, and has no outline either, keeps what it runs."""
        spec = self.services.get(other)
        return spec is None or (other not in self.planned and other not in self.reserved and _keeps_from(spec, service))

    def occupied(self, service: ServiceSpec) -> dict[SiteName, AntiAffinity]:
        """Sites that hold what the service is kept apart from.

        One that is not planned yet counts where it runs and keeps its place, but not where both run already: then the
        service planned first stays.
        """
        found: dict[SiteName, AntiAffinity] = {}
        own = self.runs(service.ref)
        own_domains = self._domains(own)
        for rule in rivals(service, self.services):
            there = self.planned.get(rule.service)
            if there is None and rule.service in self.reserved:
                there = frozenset(self.reserved[rule.service].replicas)
            elif there is None:
                there = self.runs(rule.service) if self._goes_first(rule.service, service) else frozenset()
                spec = self.services.get(rule.service)
                if spec is not None and spec.freeze is None:
                    there = frozenset(
                        site
                        for site in there - own
                        if rule.within is Within.SITE or not self._domains([site]) & own_domains
                    )
            domains = self._domains(there) if rule.within is Within.FAILURE_DOMAIN else frozenset()
            for name, site in self.sites.items():
                if name in there or site.failure_domain in domains:
                    found.setdefault(name, rule)
        return found

    def _domains(self, names: Iterable[SiteName]) -> frozenset[str]:
        return frozenset(self.sites[name].failure_domain for name in names if name in self.sites)


def ledger_of(
    sites: Mapping[SiteName, SiteSpec],
    services: Sequence[ServiceSpec],
    claims: Sequence[Claim],
    quotas: Sequence[QuotaSpec] = (),
) -> Ledger:
    at_site: dict[SiteName, list[Claim]] = {}
    for claim in sorted(claims, key=lambda claim: claim.id):
        if claim.phase is not ClaimPhase.RELEASED:
            at_site.setdefault(claim.site, []).append(claim)
    ordered = sorted(quotas, key=lambda quota: (quota.namespace, quota.name))
    return Ledger(sites, {service.ref: service for service in services}, at_site, Links(sites), ordered)


def _keeps_from(other: ServiceSpec, service: ServiceSpec) -> bool:
    """Whether what `other` runs stays, although `service` is planned before it."""
    return other.policy.priority >= service.policy.priority or other.freeze is not None


def rivals(service: ServiceSpec, services: Mapping[ServiceRef, ServiceSpec]) -> list[AntiAffinity]:
    """Whom the service is kept apart from: by its own policy, or by theirs. A service is not its own rival."""
    said = {rule for rule in service.policy.anti_affinity if rule.service != service.ref}
    for ref, other in services.items():
        for rule in other.policy.anti_affinity:
            if ref != service.ref == rule.service:
                said.add(AntiAffinity(ref, rule.within))
    return sorted(said, key=lambda rule: (rule.service, rule.within))


def _is_own(claim: Claim, service: ServiceSpec, variant: VariantSpec) -> bool:
    """A claim that the wanted replica would simply keep."""
    hold = claim.hold
    if not isinstance(hold, ReplicaHold) or not is_live(claim):
        return False
    kept: tuple[ServiceRef, VersionRef, str] = (hold.service, hold.version, hold.digest)
    return kept == (service.ref, service.version.ref, variant.digest) and claim.need == variant.need


def _lack(left: Resources, need: Resources) -> tuple[int, float]:
    """What one more replica lacks: of how many resources, and how much, in replicas."""
    parts = [
        max(wants - has, 0) / wants
        for wants, has in ((need.memory_bytes, left.memory_bytes), (need.compute_millis, left.compute_millis))
        if wants
    ]
    return sum(part > 0 for part in parts), sum(parts)


@dataclass(frozen=True, slots=True)
class Full:
    """Against one more replica than fit in what is free of a site and its nodes."""

    site: SiteSpec
    need: Resources
    free: Resources
    nodes: Mapping[NodeName, Resources]

    def objection(self) -> Objection:
        """Worded when somebody asks: most sites are never filled."""
        need, count, node = self.need, self.need.times_in(self.free), None
        left = self.free - need * count
        if self.site.kind is SiteKind.EDGE:
            times = {name: need.times_in(free) for name, free in self.nodes.items()}
            on = {name: free - need * times[name] for name, free in self.nodes.items()}
            node = min(on, key=lambda name: (*_lack(on[name], need), name), default=None)
            if sum(times.values()) <= count:
                left = on[node] if node else Resources()
        cordoned = any(one.name == node and not one.schedulable for one in self.site.nodes)
        return _lacking(self.site.name, node, left, need, cordoned)


def _lacking(site: SiteName, node: NodeName | None, left: Resources, need: Resources, cordoned: bool) -> Objection:
    """`left`: of the site or of the node that lacks least, beside the replicas that fit.

    Below 0: more is claimed than is offered.
    """
    where = f"node {node} of {site}" if node else site
    cure = f"it is cordoned: `skerry uncordon {node}`" if cordoned else ""
    memory_times = left.memory_bytes / need.memory_bytes if need.memory_bytes else float("inf")
    compute_times = left.compute_millis / need.compute_millis if need.compute_millis else float("inf")
    if memory_times <= compute_times:
        wants, has = need.memory_bytes / MIB, left.memory_bytes / MIB
        detail = f"one more replica needs {wants:.0f} MiB, {where} has {has:.0f} left: "
        detail += cure or "offer more or build smaller"
        return Objection(Refusal.MEMORY, wants, has, "MiB", detail, node)
    wants, has = need.compute_millis / 1000, left.compute_millis / 1000
    detail = f"one more replica needs {wants:g} cores, {where} has {has:g} left: {cure or 'offer more or claim less'}"
    return Objection(Refusal.COMPUTE, wants, has, "cores", detail, node)
