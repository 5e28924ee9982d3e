"""The usual ways to place a snapshot, as decisions.

They know the hard rules, as a scheduler's filters do, through the planner's survey and ledger. N+1 they keep by
replicas alone; where links would not bear a loss the audit finds it and the decision says so, as it must.
"""

from dataclasses import replace

from benchmarks.placement.suite.spreading import Spread, Way
from benchmarks.placement.suite.telling import SURVIVE, told
from orchestrator.model.snapshot import Decision, PlacementSettings, ServiceDecision, Shortfall, Snapshot
from orchestrator.placement.auditing import audit
from orchestrator.placement.candidates import survey
from orchestrator.placement.ledger import ledger_of
from orchestrator.placement.placing import by_ends

__all__ = ["Way", "usual"]


def usual(snapshot: Snapshot, settings: PlacementSettings, way: Way) -> Decision:
    """A decision without violations. Its bound is 0: these ways prove nothing."""
    sites = {site.name: site for site in sorted(snapshot.sites, key=lambda site: site.name)}
    paths = by_ends(snapshot)
    services = sorted(snapshot.services, key=lambda service: (-service.policy.priority, service.ref))
    ledger = ledger_of(sites, services, snapshot.claims, snapshot.quotas)
    free = {name: site.capacity for name, site in sites.items()}
    for claim in snapshot.claims:
        if claim.site in free:
            free[claim.site] -= claim.need
    decided: list[ServiceDecision] = []
    for service in services:
        seen = survey(service, sites, paths, ledger, settings)
        spread = Spread(service, seen, ledger, way, free, ledger.quota_left(service))
        spread.place()
        decided.append(told(spread, list(sites)))
        for site, count in sorted(spread.replicas.items()):
            ledger.take(service, sites[site], seen.candidates[site].variant, count)
        ledger.planned[service.ref] = frozenset(spread.replicas)
    decided.sort(key=lambda one: one.service)
    whole = Decision(tuple(decided), sum(one.usd_per_hour for one in decided), 0.0, "none")
    return _owning_up(snapshot, settings, whole)


def _owning_up(snapshot: Snapshot, settings: PlacementSettings, decision: Decision) -> Decision:
    """With the objective; and of each service whose calls a loss leaves without room on links it says so."""
    found = audit(snapshot, settings, decision)
    broken = {violation.service: violation for violation in found.violations if violation.rule == SURVIVE}
    services = tuple(
        replace(
            one,
            shortfalls=(*one.shortfalls, Shortfall(SURVIVE, 0.0, 1.0, "losses", f"{broken[one.service]}: widen links")),
        )
        if one.service in broken
        else one
        for one in decision.services
    )
    return replace(decision, services=services, objective_usd_per_hour=found.objective_usd_per_hour)
