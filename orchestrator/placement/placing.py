"""`place`: a snapshot to a decision. The first form: services by priority, each filled greedily."""

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.legs import Path
from orchestrator.model.snapshot import Decision, PlacementSettings, ServiceDecision, Snapshot
from orchestrator.model.specs import ServiceSpec
from orchestrator.placement.bound import BOUND, lower_bound_usd_per_hour
from orchestrator.placement.candidates import Field, Paths, survey
from orchestrator.placement.caps import ByCost, ByCount, ByDomains, ByQuota, Cap
from orchestrator.placement.filling import Filling
from orchestrator.placement.ledger import Ledger, ledger_of
from orchestrator.placement.reasons import chosen_sites, costs_of, refused_sites, shares_of, unserved_of
from orchestrator.placement.shortfalls import shortfalls_of
from orchestrator.placement.survival import Survival


def place(snapshot: Snapshot, settings: PlacementSettings, seed: int) -> Decision:
    """Replicas, routing shares and the reason for every refused site. Never raises; same input, same answer.

    Higher priority takes capacity first. Within a service a zone's calls go to the site with the highest preference,
    then the least cost per hour (its replicas, egress, the callers' waiting), then p99, price and name; a running site
    is left only for more than `min_gain`, or when it violates a limit. Rules that cannot be kept together are planned
    around and named in `shortfalls`. `seed` is for planners that search: this one makes no random choice.
    """
    sites = {site.name: site for site in sorted(snapshot.sites, key=lambda site: site.name)}
    paths = _by_ends(snapshot)
    services = sorted(snapshot.services, key=lambda service: (-service.policy.priority, service.ref))
    ledger = ledger_of(sites, services, snapshot.claims, snapshot.quotas)
    decided: list[ServiceDecision] = []
    bound_usd_per_hour = 0.0
    for service in services:
        seen = survey(service, sites, paths, ledger, settings)
        filled, survival = _fill(service, seen, ledger)
        decided.append(_decision(service, list(sites), seen, filled, survival))
        _take(service, seen, filled, ledger)
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


def _fill(service: ServiceSpec, seen: Field, ledger: Ledger) -> tuple[Filling, Survival]:
    caps: list[Cap] = [ByCount(), ByDomains(), ByCost(), ByQuota(ledger.quota_left(service))]
    filled = Filling(service, seen.candidates, ledger, caps)
    filled.hold()
    filled.serve()
    filled.stand_by()
    survival = Survival(filled)
    if service.policy.survive_site_losses:
        survival.reserve()
    return filled, survival


def _take(service: ServiceSpec, seen: Field, filled: Filling, ledger: Ledger) -> None:
    for site, count in sorted(filled.replicas.items()):
        candidate = seen.candidates[site]
        ledger.take(service, candidate.site, candidate.variant, count)
    ledger.planned[service.ref] = frozenset(filled.replicas)


def _decision(
    service: ServiceSpec, sites: list[SiteName], seen: Field, filled: Filling, survival: Survival
) -> ServiceDecision:
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
        shortfalls=shortfalls_of(seen, filled, survival),
        costs=costs_of(filled, chosen),
    )
