"""From two decisions and what runs to what a picture of the placement shows."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import inf

from orchestrator.model.ids import ServiceRef, SiteName, ZoneName
from orchestrator.model.legs import Path, PathKind
from orchestrator.model.plan import Running
from orchestrator.model.snapshot import Decision, Refusal, RefusedSite, ServiceDecision, Snapshot
from orchestrator.model.specs import ServiceSpec, SiteKind
from orchestrator.model.view import (
    FlowView,
    PlacementView,
    RefusedCount,
    ReplicasView,
    ServiceView,
    SiteView,
    UnservedView,
    ZoneView,
)
from orchestrator.reconcile.planning import NOTHING, Replicas, chosen, running

MOST_REFUSED = 24  # sites of one service that are told one by one: more than any picture shows
FITS = frozenset({Refusal.OUTRANKED, Refusal.REPLICAS_MAX, Refusal.FROZEN})


def view(
    before: Decision | None, after: Decision, ran: Replicas, runs: Replicas, snapshot: Snapshot, name: str
) -> PlacementView:
    """`snapshot`: of `after`. `name`: of the decision in force, "" for none."""
    specs = {spec.ref: spec for spec in snapshot.services}
    old = {one.service: one for one in before.services} if before else {}
    new = {one.service: one for one in after.services}
    paths: dict[tuple[ZoneName, SiteName], Path] = {}
    for path in snapshot.paths:  # the quickest: routing takes that one
        known = paths.get((path.zone, path.site))
        if known is None or (path.rtt_p99_ms, path.transit or "") < (known.rtt_p99_ms, known.transit or ""):
            paths[path.zone, path.site] = path
    services = tuple(
        _service(ref, old.get(ref), new.get(ref), ran.get(ref, Counter()), runs.get(ref, Counter()), spec, paths)
        for ref in sorted(old.keys() | new.keys() | ran.keys() | runs.keys())
        for spec in (specs.get(ref),)
    )
    return PlacementView(
        decision=name,
        usd_per_hour_before=before.usd_per_hour if before else 0.0,
        usd_per_hour=after.usd_per_hour,
        objective_usd_per_hour=after.objective_usd_per_hour,
        lower_bound_usd_per_hour=after.lower_bound_usd_per_hour,
        bound=after.bound,
        gap=after.gap,
        weighed_usd_per_hour=sum(one.costs.total for one in after.services),
        sites=tuple(_sites(snapshot)),
        zones=tuple(_zones(services, snapshot)),
        services=services,
    )


def view_in_force(decided: ServiceDecision, snapshot: Snapshot, name: str) -> PlacementView:
    """One service as it is, and what of it still starts and stops. The bound is of all services: it is left out."""
    alone = Decision((decided,), decided.usd_per_hour, 0.0, "")
    ran = {ref: held for ref, held in running(snapshot.claims).items() if ref == decided.service}
    return view(alone, alone, ran, chosen(alone), snapshot, name)


def _sites(snapshot: Snapshot) -> Iterator[SiteView]:
    """With the regions that calls pass although no Site declares them."""
    found = {s.name: SiteView(s.name, s.kind, s.jurisdiction, s.failure_domain) for s in snapshot.sites}
    for region in {path.transit for path in snapshot.paths} - found.keys():
        if region is not None:
            found[region] = SiteView(region, SiteKind.REGION, "not declared", region)
    yield from (found[name] for name in sorted(found))


def _zones(services: Iterable[ServiceView], snapshot: Snapshot) -> Iterator[ZoneView]:
    """Those that call, or called."""
    names = {flow.zone for service in services for flow in service.flows}
    names |= {unserved.zone for service in services for unserved in service.unserved}
    homes = {path.zone: path.site for path in snapshot.paths if path.kind is PathKind.LAN}
    regions = {path.zone: path.transit for path in snapshot.paths if path.kind is not PathKind.LAN}
    for name in sorted(names):
        yield ZoneView(name, homes.get(name), None if name in homes else regions.get(name))


def _service(
    ref: ServiceRef,
    before: ServiceDecision | None,
    after: ServiceDecision | None,
    ran: Counter[Running],
    runs: Counter[Running],
    spec: ServiceSpec | None,
    paths: Mapping[tuple[ZoneName, SiteName], Path],
) -> ServiceView:
    rates_rps = {demand.zone: demand.rate_rps for demand in spec.demands} if spec else {}
    refused = _nearest(after.refused if after else (), {one.site for one in +runs})
    return ServiceView(
        service=ref,
        limit_ms=spec.policy.latency_p99_ms if spec else None,
        replicas=tuple(
            ReplicasView(
                site=one.site,
                version=one.version,
                variant=one.variant,
                stays=min(ran[one], runs[one]),
                starts=max(0, runs[one] - ran[one]),
                stops=max(0, ran[one] - runs[one]),
            )
            for one in sorted(ran | runs, key=lambda one: (one.site, str(one.version), one.variant))
        ),
        flows=tuple(_flows(before, after, rates_rps, paths)),
        unserved=tuple(
            UnservedView(one.zone, one.share * rates_rps.get(one.zone, 0.0), one.share, one.nearest)
            for one in sorted(after.unserved if after else (), key=lambda one: one.zone)
            if one.share > 0
        ),
        refused=tuple(refused[:MOST_REFUSED]),
        refused_more=tuple(
            RefusedCount(reason, sites)
            for reason, sites in sorted(Counter(one.reason for one in refused[MOST_REFUSED:]).items())
        ),
        shortfalls=after.shortfalls if after else (),
    )


def _flows(
    before: ServiceDecision | None,
    after: ServiceDecision | None,
    rates_rps: Mapping[ZoneName, float],
    paths: Mapping[tuple[ZoneName, SiteName], Path],
) -> Iterator[FlowView]:
    """With those that end. Sites that only stand by have none."""
    old = {(one.zone, one.site): one for one in before.shares} if before else {}
    new = {(one.zone, one.site): one for one in after.shares} if after else {}
    for zone, site in sorted(old.keys() | new.keys()):
        was, now = old.get((zone, site)), new.get((zone, site))
        share_before, share = was.share if was else 0.0, now.share if now else 0.0
        if share <= 0 and share_before <= NOTHING:
            continue
        path = paths.get((zone, site))
        yield FlowView(
            zone=zone,
            site=site,
            relay=path.transit if path and path.kind is PathKind.RELAY else None,
            rate_rps=share * rates_rps.get(zone, 0.0),
            share_before=share_before,
            share=share,
            p99_ms=now.response_ms if now and share > 0 else None,
        )


def _nearest(refused: Iterable[RefusedSite], held: set[SiteName]) -> list[RefusedSite]:
    """One for each site that is to hold no replica, or none any more; the nearest first."""
    nearest: dict[SiteName, RefusedSite] = {}
    for one in sorted(refused, key=_distance):
        if one.site not in held:
            nearest.setdefault(one.site, one)
    return list(nearest.values())


def _distance(one: RefusedSite) -> tuple[int, float, SiteName, ZoneName]:
    """First what would fit, then by how many times the limit is missed, then what no number tells; no path is last."""
    zone = one.zone or ZoneName("")
    if one.reason in FITS:
        return 0, 0.0, one.site, zone
    if one.actual is not None and one.limit is not None:
        less, more = sorted((one.actual, one.limit))
        return 1, more / less if less > 0 else inf, one.site, zone
    return (3 if one.reason is Refusal.NO_PATH else 2), 0.0, one.site, zone
