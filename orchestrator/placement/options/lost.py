"""Calls that nobody serves, what stands against each site, and what an option to change is."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.legs import Path
from orchestrator.model.snapshot import Decision, PlacementSettings, Refusal, RefusedSite, Snapshot, Unserved
from orchestrator.model.specs import DemandSpec, PolicySpec, ServiceSpec, SiteSpec, VariantSpec
from orchestrator.placement.costs import calls_usd_per_hour, replica_price
from orchestrator.placement.estimates import replica_rps, response_ms
from orchestrator.placement.rules import Objection, variants_for

PER_KIND = 3  # sites, expressions or jurisdictions of one kind: those that look cheapest
MOST_FIGURES = 1_000


class Effort(IntEnum):
    """Of equally dear changes the one that takes least is told."""

    FIGURE = 0  # of a policy
    RULE = 1  # of a policy
    QUOTA = 2
    CAPACITY = 3  # of machines and links
    LAW = 4


@dataclass(frozen=True, slots=True)
class Option:
    """One thing to change. `figures` rise from the least change; a rule that is dropped has a single one."""

    field: str
    object: str
    unit: str
    before: float | str
    figures: tuple[float, ...]
    change: Callable[[float], Snapshot]
    after: Callable[[float], float | str]
    said: Callable[[float], str]
    effort: Effort
    estimate_usd_per_hour: float
    least: float | None = None  # figures lie above it, on the grid of `figures.py`; None: no other figure is sensible
    whole: bool = False
    likely: bool = True  # no refusal names it: tried when the others were


@dataclass(frozen=True, slots=True)
class Lost:
    """Calls of one zone that nobody serves, and what stands against each site."""

    snapshot: Snapshot
    settings: PlacementSettings
    service: ServiceSpec
    demand: DemandSpec
    share: float
    rps: float  # of all the service's zones that nobody serves
    all_mbps: float  # of all calls of any service that nobody serves: who comes first takes what is added first
    met: tuple[RefusedSite, ...]
    sites: Mapping[SiteName, SiteSpec]
    ways: Mapping[SiteName, Sequence[Path]]  # of the zone, quickest first
    estimates: dict[SiteName, float] = field(default_factory=dict)

    @property
    def policy(self) -> PolicySpec:
        return self.service.policy

    def of(self, *reasons: Refusal) -> list[RefusedSite]:
        return [one for one in self.met if one.reason in reasons]

    def site(self, name: SiteName) -> SiteSpec:
        return self.sites[name]

    def paths(self, site: SiteName) -> Sequence[Path]:
        """Quickest first."""
        return self.ways.get(site, ())

    def variants(self, site: SiteSpec) -> Sequence[VariantSpec]:
        """What the site may run, best first; all, where the policy accepts none."""
        built = self.service.version.variants_on(site.hardware_class)
        found = variants_for(built, self.policy, site.kind)
        return built if isinstance(found, Objection) else found

    def replicas(self, variants: Iterable[VariantSpec]) -> int:
        """Enough for all that is lost, however it is spread over the sites."""
        slowest_rps = min((replica_rps(v, self.settings.target_utilisation) for v in variants), default=math.inf)
        return min(math.ceil(self.rps / slowest_rps) + len(self.met), MOST_FIGURES)

    def estimate_usd_per_hour(self, name: SiteName) -> float:
        """Of serving the lost calls there: an order to try in, no more."""
        if name not in self.estimates:
            self.estimates[name] = self._estimate_usd_per_hour(name)
        return self.estimates[name]

    def _estimate_usd_per_hour(self, name: SiteName) -> float:
        site, paths = self.site(name), self.paths(name)
        variants = self.variants(site)
        if not variants or not paths:
            return math.inf
        rate_rps = self.demand.rate_rps * self.share
        count = max(math.ceil(rate_rps / replica_rps(variants[0], self.settings.target_utilisation)), 1)
        response = response_ms(paths[0], self.demand, variants[0], self.settings)
        calls = calls_usd_per_hour(paths[0], response, self.demand, self.policy, self.sites).total
        return count * replica_price(site, variants[0]) + calls * self.share

    def cheapest(self, those: Iterable[RefusedSite]) -> list[RefusedSite]:
        """One for each site."""
        by_site = {one.site: one for one in those}
        priced = [(self.estimate_usd_per_hour(name), one.missed or 0.0, name) for name, one in by_site.items()]
        return [by_site[name] for _, _, name in sorted(priced)[:PER_KIND]]

    def estimate_of(self, those: Iterable[RefusedSite]) -> float:
        return min((self.estimate_usd_per_hour(one.site) for one in those), default=math.inf)

    def under(self, **changed: object) -> Snapshot:
        """With these fields of the policy changed, for all services that share it."""
        return self.with_services(lambda one: replace(one, policy=replace(one.policy, **changed)))  # type: ignore[arg-type]

    def with_services(self, changed: Callable[[ServiceSpec], ServiceSpec]) -> Snapshot:
        """With all services changed that share the policy."""
        services = tuple(
            changed(one)
            if (one.ref.namespace, one.policy.name) == (self.service.ref.namespace, self.policy.name)
            else one
            for one in self.snapshot.services
        )
        return replace(self.snapshot, services=services)

    def with_site(self, changed: SiteSpec) -> Snapshot:
        sites = tuple(changed if site.name == changed.name else site for site in self.snapshot.sites)
        return replace(self.snapshot, sites=sites)


def call_mbit(demand: DemandSpec) -> float:
    """Of one call, both ways."""
    return 8 * (demand.request_bytes + demand.response_bytes) / 1e6


def lost_of(
    snapshot: Snapshot, settings: PlacementSettings, service: ServiceSpec, now: Decision, left: Unserved
) -> Lost:
    """Chosen sites that could not take the rest are in the unserved demand's own counts only."""
    decided = next(one for one in now.services if one.service == service.ref)
    demands = {(one.ref, demand.zone): demand for one in snapshot.services for demand in one.demands}
    lost = [
        (one.service, demands[one.service, other.zone], other.share) for one in now.services for other in one.unserved
    ]
    said = [one for one in decided.refused if one.zone in (None, left.zone)]
    counted = [one for count in left.refused for one in count.nearest]
    met = {(one.site, one.reason): one for one in (*said, *counted)}
    return Lost(
        snapshot=snapshot,
        settings=settings,
        service=service,
        demand=next(demand for demand in service.demands if demand.zone == left.zone),
        share=left.share,
        rps=math.fsum(share * demand.rate_rps for ref, demand, share in lost if ref == service.ref),
        all_mbps=math.fsum(share * demand.rate_rps * call_mbit(demand) for _, demand, share in lost),
        met=tuple(met[key] for key in sorted(met)),
        sites={site.name: site for site in snapshot.sites},
        ways=_ways(snapshot, left.zone),
    )


def _ways(snapshot: Snapshot, zone: ZoneName) -> dict[SiteName, list[Path]]:
    ways: dict[SiteName, list[Path]] = {}
    for path in snapshot.paths:
        if path.zone == zone:
            ways.setdefault(path.site, []).append(path)
    for found in ways.values():
        found.sort(key=lambda path: (path.rtt_p99_ms, path.age_s, path.kind, repr(path.legs)))
    return ways
