"""`place`: a snapshot to a decision. Priorities one after the other; services of the same priority together."""

from itertools import groupby

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.legs import Path
from orchestrator.model.snapshot import Decision, PlacementSettings, ServiceDecision, ShadowPrice, Snapshot
from orchestrator.placement.candidates import Paths
from orchestrator.placement.ledger import ledger_of
from orchestrator.placement.planning import Planned, Planner
from orchestrator.placement.reasons import chosen_sites, costs_of, refused_sites, shares_of, unserved_of


def place(snapshot: Snapshot, settings: PlacementSettings, seed: int) -> Decision:
    """Replicas, routing shares and the reason for every refused site. Never raises; same input, same answer.

    Higher priority takes capacity first. Services of one priority are planned greedily, one by one, and then all
    together; the better of the two plans is taken, see `objective`. Rules that cannot be kept together are planned
    around and named in `shortfalls`. `seed` is of the search that plans large fleets.
    """
    sites = {site.name: site for site in sorted(snapshot.sites, key=lambda site: site.name)}
    services = sorted(snapshot.services, key=lambda service: (-service.policy.priority, service.ref))
    ledger = ledger_of(sites, services, snapshot.claims, snapshot.quotas)
    planner = Planner(sites, by_ends(snapshot), settings, seed)
    decided: list[ServiceDecision] = []
    objective_usd_per_hour = bound_usd_per_hour = 0.0
    bounds: set[str] = set()
    prices: list[ShadowPrice] = []
    for _, group in groupby(services, key=lambda service: service.policy.priority):
        found = planner.plan(list(group), ledger)
        ledger = found.plan.ledger
        decided += [service_decision(planned, list(sites)) for planned in found.plan.services]
        objective_usd_per_hour += found.plan.score.usd_per_hour
        bound_usd_per_hour += found.bound_usd_per_hour
        bounds |= {found.bound}
        prices += found.prices
    decided.sort(key=lambda decision: decision.service)
    return Decision(
        services=tuple(decided),
        usd_per_hour=sum(decision.usd_per_hour for decision in decided),
        objective_usd_per_hour=objective_usd_per_hour,
        lower_bound_usd_per_hour=bound_usd_per_hour,
        bound=", ".join(sorted(bounds)),
        prices=tuple(prices),
    )


def by_ends(snapshot: Snapshot) -> Paths:
    """Quickest first; ties by content, so that their order in the snapshot does not matter."""
    paths: dict[SiteName, dict[ZoneName, list[Path]]] = {}
    for path in sorted(snapshot.paths, key=lambda path: (path.rtt_p99_ms, path.age_s, path.kind, repr(path.legs))):
        paths.setdefault(path.site, {}).setdefault(path.zone, []).append(path)
    return paths


def service_decision(planned: Planned, sites: list[SiteName]) -> ServiceDecision:
    service, seen, filled = planned.service, planned.seen, planned.filled
    chosen = chosen_sites(filled)
    return ServiceDecision(
        service=service.ref,
        version=service.version.ref,
        policy=service.policy.name,
        chosen=chosen,
        shares=shares_of(filled),
        refused=refused_sites(sites, seen, filled),
        unserved=unserved_of(sites, seen, filled),
        usd_per_hour=filled.usd_per_hour,
        shortfalls=planned.shortfalls,
        costs=costs_of(filled, chosen),
    )
