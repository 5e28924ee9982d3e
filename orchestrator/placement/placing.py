"""`place`: a snapshot to a decision. The first form: services by priority, each filled greedily."""

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
    paths = _by_ends(snapshot)
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


def _by_ends(snapshot: Snapshot) -> Paths:
    """Quickest first; ties by content, so that their order in the snapshot does not matter."""
    paths: dict[tuple[ZoneName, SiteName], list[Path]] = {}
    for path in sorted(snapshot.paths, key=lambda path: (path.rtt_p99_ms, path.age_s, path.kind, repr(path.legs))):
        paths.setdefault((path.zone, path.site), []).append(path)
    return paths


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
