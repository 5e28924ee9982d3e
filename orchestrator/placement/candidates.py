"""Sites that may hold a service's replicas, and for each of the others the reason why not."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from heapq import nsmallest

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.legs import Path
from orchestrator.model.snapshot import Costs, Interval, PlacementSettings, Refusal
from orchestrator.model.specs import AntiAffinity, DemandSpec, ServiceSpec, SiteKind, SiteSpec, VariantSpec
from orchestrator.placement.costs import calls_usd_per_hour, changes_usd_per_hour, replica_price, total_rps, weight
from orchestrator.placement.estimates import replica_rps
from orchestrator.placement.ledger import Full, Ledger, rivals
from orchestrator.placement.rules import Limits, Objection, Reachable, limits_of, variants_for

Paths = Mapping[SiteName, Mapping[ZoneName, Sequence[Path]]]  # quickest first
Rank = tuple[bool, float, float, float, bool, float, str]


@dataclass(frozen=True, slots=True)
class Arc:
    """A zone's calls may go to a site over this path."""

    demand: DemandSpec
    path: Path
    response: Interval
    cost_ms: float
    call: Costs  # egress and waiting of one call per second
    calls: Costs  # of all of the zone's calls
    usd_per_hour: float  # `calls`, and the zone's part of the replicas and of the changes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A site that may hold replicas of a service, and how it compares."""

    site: SiteSpec
    variant: VariantSpec
    fit: int  # replicas that it bears
    full: Full  # against one more than that
    arcs: Mapping[ZoneName, Arc]
    preference: float
    running: bool
    held: bool  # a freeze keeps what runs here
    cost_ms: float  # mean over the zones it can serve, weighted by their rates
    usd_per_hour: float  # as if it served the whole service, at that mean: what sites are compared by
    replica_usd_per_hour: float
    replica_rps: float

    def rank(self, gain: float, zone: ZoneName | None = None) -> Rank:
        """What a freeze holds, then preference, cost, p99, what runs, price, name. Least is best.

        A running site's cost counts less by `gain`: another takes its place only if it is better by more than that.
        """
        arc = self.arcs[zone] if zone is not None else None
        usd, ms = (arc.usd_per_hour, arc.cost_ms) if arc else (self.usd_per_hour, self.cost_ms)
        part = 1 - gain if self.running else 1.0
        return (
            not self.held,
            -self.preference,
            usd * part,
            ms * part,
            not self.running,
            self.replica_usd_per_hour,
            self.site.name,
        )


@dataclass(slots=True)
class Field:
    """All sites as one service sees them."""

    candidates: dict[SiteName, Candidate] = field(default_factory=dict)
    of_site: dict[SiteName, Objection] = field(default_factory=dict)
    of_zone: dict[tuple[SiteName, ZoneName], Objection] = field(default_factory=dict)  # where there is a path
    of_rest: dict[SiteName, Objection] = field(default_factory=dict)  # for the zones that have no path there
    occupied: Mapping[SiteName, AntiAffinity] = field(default_factory=dict)  # by what the service is kept apart from


def survey(
    service: ServiceSpec,
    sites: Mapping[SiteName, SiteSpec],
    paths: Paths,
    ledger: Ledger,
    settings: PlacementSettings,
    among: Iterable[SiteName] | None = None,
) -> Field:
    """Sorts every site, or those `among` them, into candidates and refused ones."""
    occupied = ledger.occupied(service)
    eye = _Eye(service, paths, ledger, limits_of(service, sites, occupied, settings))
    view = _view(service, sites, ledger, settings)
    seen = Field(occupied=occupied)
    if among is None:
        among = _nearest(service, sites, paths, ledger, settings)
        if len(among) < len(sites):
            seen.of_site |= dict.fromkeys(sites.keys() - among, _too_many(len(sites), len(among)))
    for name in sorted(among):
        site = sites[name]
        looked = eye.look(site)
        if isinstance(looked, Objection):
            seen.of_site[name] = looked
            continue
        for zone, found in looked.refused.items():
            seen.of_zone[name, zone] = found
        if len(looked.arcs) + len(looked.refused) < len(service.demands):
            seen.of_rest[name] = no_path(service, name, looked.arcs.keys() | looked.refused.keys())
        if looked.arcs:
            seen.candidates[name] = view.candidate(site, looked)
    return seen


def _nearest(
    service: ServiceSpec,
    sites: Mapping[SiteName, SiteSpec],
    paths: Paths,
    ledger: Ledger,
    settings: PlacementSettings,
) -> Collection[SiteName]:
    """All sites, or as many as a plan can look at for each service: where it runs or is pinned, then the nearest."""
    most = max(settings.most_pairs // max(len(ledger.services), 1), 1)
    if len(sites) <= most:
        return sites.keys()
    first = ledger.runs(service.ref) | {pin.site for pin in service.policy.pins}
    zones = {demand.zone for demand in service.demands}

    def rank(name: SiteName) -> tuple[bool, float, SiteName]:
        reach = (found[0].rtt_p99_ms for zone, found in paths.get(name, {}).items() if zone in zones)
        return name not in first, min(reach, default=math.inf), name

    return frozenset(nsmallest(most, sites, key=rank))


def _too_many(sites: int, most: int) -> Objection:
    detail = f"of {sites} sites the nearest {most} are looked at: divide the fleet, or its services"
    return Objection(Refusal.TOO_MANY, float(sites), float(most), "sites", detail)


def refit(
    seen: Field,
    service: ServiceSpec,
    sites: Mapping[SiteName, SiteSpec],
    paths: Paths,
    ledger: Ledger,
    settings: PlacementSettings,
) -> Field:
    """As `survey` again, after others of its priority took their places: only what that can change is looked at."""
    candidates, again_at = dict(seen.candidates), set[SiteName]()
    for name in seen.candidates.keys() & ledger.touched():
        candidate = seen.candidates[name]
        fit, full = ledger.fit(service, candidate.site, candidate.variant)
        if fit == 0:
            again_at.add(name)  # another variant may still fit
        elif fit != candidate.fit:
            candidates[name] = replace(candidate, fit=fit, full=full)
    if seen.occupied or rivals(service, ledger.services):
        occupied = ledger.occupied(service)
        again_at |= {name for name in sites if seen.occupied.get(name) != occupied.get(name)}
    if not again_at:
        return replace(seen, candidates=candidates)
    again = survey(service, sites, paths, ledger, settings, again_at)
    return Field(
        candidates={name: c for name, c in candidates.items() if name not in again_at} | again.candidates,
        of_site={name: found for name, found in seen.of_site.items() if name not in again_at} | again.of_site,
        of_zone={key: found for key, found in seen.of_zone.items() if key[0] not in again_at} | again.of_zone,
        of_rest=seen.of_rest | again.of_rest,
        occupied=again.occupied,
    )


@dataclass(frozen=True, slots=True)
class _Look:
    variant: VariantSpec
    fit: int
    full: Full
    arcs: Mapping[ZoneName, "_Way"]
    refused: Mapping[ZoneName, Objection]


@dataclass(frozen=True, slots=True)
class _Way:
    """A path that keeps the limits, before it is priced."""

    demand: DemandSpec
    path: Path
    response: Interval
    cost_ms: float


@dataclass(frozen=True, slots=True)
class _Eye:
    """One service that looks at one site after the other."""

    service: ServiceSpec
    paths: Paths
    ledger: Ledger
    limits: Limits
    variants: dict[tuple[str, SiteKind], tuple[VariantSpec, ...] | Objection] = field(default_factory=dict)

    def look(self, site: SiteSpec) -> _Look | Objection:
        """The site with the first variant that fits it and is quick enough for some zone; else what the first one met.

        What a rule forbids is said first, also of a silent site: nothing may be kept there until it comes back.
        """
        if found := self.limits.check_site(site):
            return found
        variants = self._variants(site)
        if isinstance(variants, Objection):
            return variants
        if found := Reachable().check(site):
            return found
        limits = self.limits
        if self.service.freeze is not None:
            held = tuple(v for v in variants if self.ledger.running(self.service, site.name, v))
            if held:
                # It stays as it is, also where it became slow or another variant would be chosen today.
                variants, limits = held, limits.hard()
        looks = []
        for variant in variants:
            look = self._try(site, variant, limits)
            if isinstance(look, _Look) and look.arcs:
                return look
            looks.append(look)
        return _quickest(looks)

    def _variants(self, site: SiteSpec) -> tuple[VariantSpec, ...] | Objection:
        kind = site.hardware_class, site.kind
        if kind not in self.variants:
            measured = self.service.version.variants_on(site.hardware_class)
            self.variants[kind] = variants_for(measured, self.service.policy, site.kind)
        return self.variants[kind]

    def _try(self, site: SiteSpec, variant: VariantSpec, limits: Limits) -> _Look | Objection:
        if found := _too_dear(self.service, site, variant):
            return found
        fit, full = self.ledger.fit(self.service, site, variant)
        if fit == 0:
            return full.objection()
        reach = self.paths.get(site.name, {})
        demands = [demand for demand in self.service.demands if demand.zone in reach]
        if not demands:
            return no_path(self.service, site.name)
        arcs: dict[ZoneName, _Way] = {}
        refused: dict[ZoneName, Objection] = {}
        for demand in demands:
            arc = _arc(demand, reach[demand.zone], variant, limits)
            if isinstance(arc, _Way):
                arcs[demand.zone] = arc
            else:
                refused[demand.zone] = arc
        return _Look(variant, fit, full, arcs, refused)


def _quickest(looks: Sequence[_Look | Objection]) -> _Look | Objection:
    """What the first variant met, but for zones that it is too slow for: what the quickest one would take."""
    first = looks[0]
    if not isinstance(first, _Look):
        return first
    refused = dict(first.refused)
    for look in looks[1:]:
        for zone, found in look.refused.items() if isinstance(look, _Look) else ():
            if refused[zone].reason is found.reason is Refusal.TOO_SLOW and _ms(found) < _ms(refused[zone]):
                refused[zone] = found
    return replace(first, refused=refused)


def _ms(found: Objection) -> float:
    return math.inf if found.actual is None else found.actual


def _arc(demand: DemandSpec, paths: Sequence[Path], variant: VariantSpec, limits: Limits) -> _Way | Objection:
    """Over the quickest path that keeps the limits; else what stands against the quickest of all. One path at least."""
    arcs: list[_Way] = []
    objections: list[Objection] = []
    for path in paths:
        checked = limits.check_path(path, demand, variant)
        if isinstance(checked, Objection):
            objections.append(checked)
        else:
            arcs.append(_Way(demand, path, checked, limits.soonest.cost_ms(checked)))
    if arcs:
        return min(arcs, key=lambda arc: arc.cost_ms)
    return objections[0]


@dataclass(frozen=True, slots=True)
class _View:
    """What pricing a candidate takes."""

    service: ServiceSpec
    rate_rps: float  # of all of the service's calls
    parts: Mapping[ZoneName, float]  # of these
    sites: Mapping[SiteName, SiteSpec]
    preferences: Mapping[SiteName, float]
    running: Set[SiteName]
    move_usd_per_hour: float
    settings: PlacementSettings

    def candidate(self, site: SiteSpec, look: _Look) -> Candidate:
        running = site.name in self.running
        price, one_rps = replica_price(site, look.variant), replica_rps(look.variant, self.settings.target_utilisation)
        replicas = max(math.ceil(self.rate_rps / one_rps), 1)
        fixed = replicas * price + (0.0 if running else self.move_usd_per_hour)
        arcs = {zone: self._priced(way, fixed) for zone, way in look.arcs.items()}
        known = [arcs[zone] for zone in sorted(arcs)]
        seen_part = math.fsum(self.parts[arc.demand.zone] for arc in known)
        calls = math.fsum(arc.calls.total for arc in known)
        return Candidate(
            site=site,
            variant=look.variant,
            fit=look.fit,
            full=look.full,
            arcs=arcs,
            preference=self.preferences.get(site.name, 0.0),
            running=running,
            held=running and self.service.freeze is not None,
            cost_ms=_mean_ms(known),
            usd_per_hour=fixed + (calls / seen_part if seen_part > 0 else 0.0),
            replica_usd_per_hour=price,
            replica_rps=one_rps,
        )

    def _priced(self, way: _Way, fixed_usd_per_hour: float) -> Arc:
        call = calls_usd_per_hour(way.path, way.response, way.demand, self.service.policy, self.sites)
        calls = call * way.demand.rate_rps
        part = self.parts[way.demand.zone]
        usd_per_hour = calls.total + fixed_usd_per_hour * part
        return Arc(way.demand, way.path, way.response, way.cost_ms, call, calls, usd_per_hour)


def _view(
    service: ServiceSpec, sites: Mapping[SiteName, SiteSpec], ledger: Ledger, settings: PlacementSettings
) -> _View:
    running = ledger.live(service.ref)
    # To move is to start and stop as many as run, the same for each site; what runs at a site need not move.
    moved = len(running)
    return _View(
        service=service,
        rate_rps=total_rps(service),
        parts={demand.zone: weight(demand, service) for demand in service.demands},
        sites=sites,
        preferences={rule.site: rule.preference for rule in service.rules},
        running={claim.site for claim in running},
        move_usd_per_hour=changes_usd_per_hour(moved, moved, service.policy),
        settings=settings,
    )


def _mean_ms(arcs: Sequence[Arc]) -> float:
    total = sum(arc.demand.rate_rps for arc in arcs)
    if total <= 0:
        return sum(arc.cost_ms for arc in arcs) / len(arcs)
    return sum(arc.cost_ms * arc.demand.rate_rps for arc in arcs) / total


def _too_dear(service: ServiceSpec, site: SiteSpec, variant: VariantSpec) -> Objection | None:
    limit, price = service.policy.max_usd_per_hour, replica_price(site, variant)
    if limit is None or price <= limit:
        return None
    detail = f"one replica costs {price:g} USD/h there, the policy allows {limit:g}: raise cost.max_usd_per_hour"
    return Objection(Refusal.COST, price, limit, "USD/h", detail)


def no_path(service: ServiceSpec, site: SiteName, reached: Collection[ZoneName] = ()) -> Objection:
    """From its zones, without those that have one."""
    zones = sorted(demand.zone for demand in service.demands if demand.zone not in reached)
    named = f"zone {zones[0]}" + (f" and {len(zones) - 1} more" if len(zones) > 1 else "") if zones else "no zone"
    detail = f"nobody measured a path from {named} to {site}: declare the Zone, or wait for its probes"
    return Objection(Refusal.NO_PATH, None, None, "", detail)
