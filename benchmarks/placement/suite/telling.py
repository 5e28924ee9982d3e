"""What was handed out as a decision, with the reasons that one owes."""

import math
from collections.abc import Sequence

from benchmarks.placement.suite.spreading import Spread
from orchestrator.model.ids import SiteName
from orchestrator.model.snapshot import (
    ChosenSite,
    Costs,
    Refusal,
    RefusedSite,
    ServiceDecision,
    Share,
    Shortfall,
    Unserved,
)
from orchestrator.placement.candidates import Arc
from orchestrator.placement.costs import changes_usd_per_hour, unserved_usd_per_hour

SURVIVE = "replicas.survive_site_losses"


def told(spread: Spread, sites: Sequence[SiteName]) -> ServiceDecision:
    service, candidates = spread.service, spread.seen.candidates
    chosen = tuple(_chosen(spread, site, count) for site, count in sorted(spread.replicas.items()))
    kept = sum(min(n, spread.running(candidates[site])) for site, n in spread.replicas.items())
    changes = changes_usd_per_hour(spread.total - kept, len(spread.ledger.live(service.ref)) - kept, service.policy)
    rates = {demand.zone: demand.rate_rps for demand in service.demands}
    lost_rps = math.fsum(share * rates[zone] for zone, share in spread.left.items())
    costs = Costs(unserved=unserved_usd_per_hour(lost_rps, service.policy), changes=changes)
    refused = tuple(found for site in sites if site not in spread.replicas for found in _refused(spread, site))
    nearest = refused[0] if refused else RefusedSite(sites[0], None, Refusal.OUTRANKED, None, None, "", "took its part")
    return ServiceDecision(
        service=service.ref,
        version=service.version.ref,
        policy=service.policy.name,
        chosen=chosen,
        shares=tuple(
            Share(zone, site, spread.shares.get((zone, site), 0.0), arc.response, _legs(arc))
            for site in sorted(spread.replicas)
            for zone, arc in sorted(candidates[site].arcs.items())
        ),
        refused=refused,
        unserved=tuple(Unserved(zone, left, nearest) for zone, left in sorted(spread.left.items()) if left > 0),
        usd_per_hour=spread.usd_per_hour,
        shortfalls=_shortfalls(spread),
        costs=sum((one.costs for one in chosen), costs),
    )


def _chosen(spread: Spread, site: SiteName, count: int) -> ChosenSite:
    candidate = spread.seen.candidates[site]
    costs = Costs(replicas=count * candidate.replica_usd_per_hour)
    for zone, arc in sorted(candidate.arcs.items()):
        share = spread.shares.get((zone, site), 0.0)
        costs += Costs(egress=arc.calls.egress * share, latency=arc.calls.latency * share)
    return ChosenSite(
        site=site,
        replicas=count,
        variant=candidate.variant.variant,
        cost_ms=candidate.cost_ms,
        preference=candidate.preference,
        kept_by_hysteresis=False,
        next_best=None,
        margin_ms=None,
        reason=spread.way,
        costs=costs,
    )


def _legs(arc: Arc) -> tuple[str, ...]:
    return tuple(
        f"{leg.source} -> {leg.target} {leg.rtt_p99_ms:.1f} ms, {leg.age_s:.1f} s old" for leg in arc.path.legs
    )


def _refused(spread: Spread, site: SiteName) -> list[RefusedSite]:
    if (objection := spread.seen.of_site.get(site)) is not None:
        return [objection.at(site, None)]
    found: list[RefusedSite] = []
    for demand in sorted(spread.service.demands, key=lambda demand: demand.zone):
        candidate = spread.seen.candidates.get(site)
        if (site, demand.zone) in spread.seen.of_zone:
            found.append(spread.seen.of_zone[site, demand.zone].at(site, demand.zone))
        elif candidate is not None and demand.zone in candidate.arcs:
            found.append(RefusedSite(site, demand.zone, Refusal.OUTRANKED, None, None, "", "others came first"))
    if site in spread.seen.of_rest:
        found.append(spread.seen.of_rest[site].at(site, None))
    return found


def _shortfalls(spread: Spread) -> tuple[Shortfall, ...]:
    policy, said = spread.service.policy, list[tuple[str, float, float]]()
    if spread.total < policy.replicas_min:
        said.append(("replicas.min", spread.total, policy.replicas_min))
    if len(spread.domains()) < policy.min_failure_domains:
        said.append(("replicas.min_failure_domains", len(spread.domains()), policy.min_failure_domains))
    for pin in policy.pins:
        if spread.replicas.get(pin.site, 0) < pin.replicas:
            said.append(("affinity.pins", spread.replicas.get(pin.site, 0), pin.replicas))
    if spread.unsurvived:
        said.append((SURVIVE, 0.0, 1.0))
    return tuple(Shortfall(rule, has, wanted, "", "not kept") for rule, has, wanted in said)
