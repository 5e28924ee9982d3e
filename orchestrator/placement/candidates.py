"""Sites that may hold a service's replicas, and for each of the others the reason why not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.legs import Path
from orchestrator.model.snapshot import Interval, PlacementSettings, Refusal
from orchestrator.model.specs import DemandSpec, ServiceSpec, SiteSpec, VariantSpec
from orchestrator.placement.estimates import replica_rps
from orchestrator.placement.ledger import Ledger
from orchestrator.placement.rules import Limits, Objection, Reachable, limits_of, variants_for

Paths = Mapping[tuple[ZoneName, SiteName], Sequence[Path]]  # quickest first
Rank = tuple[float, float, bool, float, str]


@dataclass(frozen=True, slots=True)
class Arc:
    """A zone's calls may go to a site over this path."""

    demand: DemandSpec
    path: Path
    response: Interval
    cost_ms: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A site that may hold replicas of a service, and how it compares."""

    site: SiteSpec
    variant: VariantSpec
    fit: int  # replicas that it bears
    full: Objection  # against one more than that
    arcs: Mapping[ZoneName, Arc]
    preference: float
    running: bool
    cost_ms: float  # mean over the zones it can serve, weighted by their rates
    replica_usd_per_hour: float
    replica_rps: float

    def rank(self, cost_ms: float, min_gain: float) -> Rank:
        """Preference, then cost, then what runs, price, name. A running site's cost counts less by `min_gain`.

        So another takes its place only if it is better by more than that share.
        """
        felt_ms = cost_ms * (1 - min_gain) if self.running else cost_ms
        return (-self.preference, felt_ms, not self.running, self.replica_usd_per_hour, self.site.name)


@dataclass(slots=True)
class Field:
    """All sites as one service sees them."""

    candidates: dict[SiteName, Candidate] = field(default_factory=dict)
    of_site: dict[SiteName, Objection] = field(default_factory=dict)
    of_zone: dict[tuple[SiteName, ZoneName], Objection] = field(default_factory=dict)


def survey(
    service: ServiceSpec,
    sites: Mapping[SiteName, SiteSpec],
    paths: Paths,
    ledger: Ledger,
    settings: PlacementSettings,
) -> Field:
    """Sorts every site into candidates and refused ones."""
    limits = limits_of(service, sites, settings)
    preferences = {rule.site: rule.preference for rule in service.rules}
    running = ledger.runs(service.ref)
    seen = Field()
    for name in sorted(sites):
        site = sites[name]
        looked = _look(service, site, paths, ledger, limits)
        if isinstance(looked, Objection):
            seen.of_site[name] = looked
            continue
        seen.of_zone |= {(name, zone): found for zone, found in looked.refused.items()}
        if looked.arcs:
            seen.candidates[name] = _candidate(
                service, site, looked, preferences.get(name, 0.0), name in running, settings
            )
    return seen


@dataclass(frozen=True, slots=True)
class _Look:
    variant: VariantSpec
    fit: int
    full: Objection
    arcs: Mapping[ZoneName, Arc]
    refused: Mapping[ZoneName, Objection]


def _look(service: ServiceSpec, site: SiteSpec, paths: Paths, ledger: Ledger, limits: Limits) -> _Look | Objection:
    """The site with the first variant that fits it and is quick enough for some zone; else what the first one met.

    What a rule forbids is said first, also of a silent site: nothing may be kept there until it comes back.
    """
    if found := limits.check_site(site):
        return found
    variants = variants_for(service.version.variants_on(site.hardware_class), service.policy, site.kind)
    if isinstance(variants, Objection):
        return variants
    if found := Reachable().check(site):
        return found
    looks = []
    for variant in variants:
        look = _try(service, site, variant, paths, ledger, limits)
        if isinstance(look, _Look) and look.arcs:
            return look
        looks.append(look)
    return looks[0]


def _try(
    service: ServiceSpec, site: SiteSpec, variant: VariantSpec, paths: Paths, ledger: Ledger, limits: Limits
) -> _Look | Objection:
    if found := _too_dear(service, site, variant):
        return found
    fit, full = ledger.fit(service, site, variant)
    if fit == 0:
        return full
    arcs: dict[ZoneName, Arc] = {}
    refused: dict[ZoneName, Objection] = {}
    for demand in service.demands:
        arc = _arc(demand, paths.get((demand.zone, site.name), ()), site, variant, limits)
        if isinstance(arc, Objection):
            refused[demand.zone] = arc
        else:
            arcs[demand.zone] = arc
    return _Look(variant, fit, full, arcs, refused)


def _arc(
    demand: DemandSpec, paths: Sequence[Path], site: SiteSpec, variant: VariantSpec, limits: Limits
) -> Arc | Objection:
    """Over the cheapest path that keeps the limits; else what stands against the quickest."""
    arcs: list[Arc] = []
    objections: list[Objection] = []
    for path in paths:
        checked = limits.check_path(path, demand, variant)
        if isinstance(checked, Objection):
            objections.append(checked)
        else:
            arcs.append(Arc(demand, path, checked, limits.soonest.cost_ms(checked)))
    if arcs:
        return min(arcs, key=lambda arc: arc.cost_ms)
    return objections[0] if objections else _no_path(demand.zone, site)


def _candidate(
    service: ServiceSpec,
    site: SiteSpec,
    look: _Look,
    preference: float,
    running: bool,
    settings: PlacementSettings,
) -> Candidate:
    return Candidate(
        site=site,
        variant=look.variant,
        fit=look.fit,
        full=look.full,
        arcs=look.arcs,
        preference=preference,
        running=running,
        cost_ms=_mean_ms([look.arcs[zone] for zone in sorted(look.arcs)]),
        replica_usd_per_hour=replica_price(site, look.variant),
        replica_rps=replica_rps(look.variant, settings.target_utilisation),
    )


def _mean_ms(arcs: Sequence[Arc]) -> float:
    total_rps = sum(arc.demand.rate_rps for arc in arcs)
    if total_rps <= 0:
        return sum(arc.cost_ms for arc in arcs) / len(arcs)
    return sum(arc.cost_ms * arc.demand.rate_rps for arc in arcs) / total_rps


def replica_price(site: SiteSpec, variant: VariantSpec) -> float:
    """USD per hour: the site's price of a core, prorated."""
    return site.price_usd_per_hour * variant.need.compute_millis / 1000


def _too_dear(service: ServiceSpec, site: SiteSpec, variant: VariantSpec) -> Objection | None:
    limit, price = service.policy.max_usd_per_hour, replica_price(site, variant)
    if limit is None or price <= limit:
        return None
    detail = f"one replica costs {price:g} USD/h there, the policy allows {limit:g}: raise cost.max_usd_per_hour"
    return Objection(Refusal.COST, price, limit, "USD/h", detail)


def _no_path(zone: ZoneName, site: SiteSpec) -> Objection:
    detail = f"nobody measured a path from zone {zone} to {site.name}: declare the Zone, or wait for its probes"
    return Objection(Refusal.NO_PATH, None, None, "", detail)
