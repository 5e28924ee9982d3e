"""`place`: a snapshot to a decision. The first form: services by priority, each filled greedily."""

from collections.abc import Iterable

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.legs import Path
from orchestrator.model.snapshot import Decision, PlacementSettings, ServiceDecision, Snapshot
from orchestrator.model.specs import ServiceSpec
from orchestrator.placement.bound import BOUND, lower_bound_usd_per_hour
from orchestrator.placement.candidates import Field, Paths, survey
from orchestrator.placement.filling import Filling
from orchestrator.placement.ledger import Ledger, ledger_of
from orchestrator.placement.reasons import chosen_sites, refused_sites, shares_of, unserved_of


def place(snapshot: Snapshot, settings: PlacementSettings, seed: int) -> Decision:
    """Replicas, routing shares and the reason for every refused site. Never raises; same input, same answer.

    Higher priority takes capacity first. Within a service a zone's calls go to the site with the highest preference,
    then the least expected p99, then price, then name; a running site is left only for more than `min_gain`, or when
    it violates a limit. `seed` is for planners that search: this one makes no random choice.
    """
    sites = {site.name: site for site in sorted(snapshot.sites, key=lambda site: site.name)}
    paths = _best_paths(snapshot.paths)
    services = sorted(snapshot.services, key=lambda service: (-service.policy.priority, service.ref))
    ledger = ledger_of(sites, services, snapshot.claims)
    decided: list[ServiceDecision] = []
    bound_usd_per_hour = 0.0
    for service in services:
        seen = survey(service, sites, paths, ledger, settings)
        filled = _fill(service, seen, ledger)
        decided.append(_decision(service, list(sites), seen, filled))
        bound_usd_per_hour += lower_bound_usd_per_hour(service, list(sites.values()), seen, filled, settings)
    decided.sort(key=lambda decision: decision.service)
    return Decision(
        services=tuple(decided),
        usd_per_hour=sum(decision.usd_per_hour for decision in decided),
        lower_bound_usd_per_hour=bound_usd_per_hour,
        bound=BOUND,
    )


def _best_paths(paths: Iterable[Path]) -> Paths:
    """By zone and site; of several the quickest, so that their order does not matter."""
    best: dict[tuple[ZoneName, SiteName], Path] = {}
    for path in paths:
        known = best.get((path.zone, path.site))
        if known is None or _order(path) < _order(known):
            best[path.zone, path.site] = path
    return best


def _order(path: Path) -> tuple[float, str, str]:
    return path.rtt_p99_ms, path.kind, repr(path.legs)


def _fill(service: ServiceSpec, seen: Field, ledger: Ledger) -> Filling:
    filled = Filling(service, seen.candidates, ledger)
    filled.serve()
    filled.stand_by()
    for site, count in sorted(filled.replicas.items()):
        candidate = seen.candidates[site]
        ledger.take(service, candidate.site, candidate.variant, count)
    ledger.planned.add(service.ref)
    return filled


def _decision(service: ServiceSpec, sites: list[SiteName], seen: Field, filled: Filling) -> ServiceDecision:
    return ServiceDecision(
        service=service.ref,
        version=service.version.ref,
        policy=service.policy.name,
        chosen=chosen_sites(filled),
        shares=shares_of(filled),
        refused=refused_sites(sites, seen, filled),
        unserved=unserved_of(sites, seen, filled),
        usd_per_hour=filled.usd_per_hour,
    )
