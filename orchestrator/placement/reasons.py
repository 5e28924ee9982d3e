"""What a decision says of itself: why these sites, why not the others, and who came nearest."""

import math
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.model.ids import SiteName, ZoneName
from orchestrator.model.legs import Leg
from orchestrator.model.snapshot import (
    ChosenSite,
    Costs,
    Refusal,
    RefusalCount,
    RefusedSite,
    ServiceDecision,
    Share,
    Unserved,
)
from orchestrator.model.specs import PolicySpec
from orchestrator.placement.candidates import Candidate, Field
from orchestrator.placement.costs import changes_usd_per_hour, unserved_usd_per_hour
from orchestrator.placement.filling import Filling
from orchestrator.placement.rules import Objection

NEAREST = 3  # sites that a count of refusals names

# How near a refused site came: it took what it could, it is too slow, it would need something else to change first.
_NEAR = {
    Refusal.TOO_SLOW: 1,
    Refusal.STALE_LEG: 2,
    Refusal.NO_PATH: 4,
    Refusal.REQUIREMENT: 5,
    Refusal.BANNED: 5,
    Refusal.BURST_TO_CLOUD: 5,
    Refusal.RESIDENCY: 6,
    Refusal.TOO_MANY: 7,
}


def chosen_sites(filled: Filling) -> tuple[ChosenSite, ...]:
    """By rank: the site that most zones would take first comes first."""
    ranked = filled.ranked()
    others = [candidate for candidate in ranked if candidate.site.name not in filled.replicas]
    chosen = [candidate for candidate in ranked if candidate.site.name in filled.replicas]
    next_best = min(others, key=lambda other: other.rank(0.0), default=None)
    stopped = {site for site, _ in filled.stopped}
    open_to_all = [other for other in others if other.site.name not in stopped]
    return tuple(_chosen(candidate, next_best, open_to_all, filled) for candidate in chosen)


def _chosen(
    candidate: Candidate, next_best: Candidate | None, others: Sequence[Candidate], filled: Filling
) -> ChosenSite:
    """`others`: that nothing stopped."""
    name = candidate.site.name
    kept = candidate.running and any(
        other.preference == candidate.preference
        and (other.usd_per_hour, other.cost_ms) < (candidate.usd_per_hour, candidate.cost_ms)
        for other in others
    )
    return ChosenSite(
        site=name,
        replicas=filled.replicas[name],
        variant=candidate.variant.variant,
        cost_ms=candidate.cost_ms,
        preference=candidate.preference,
        kept_by_hysteresis=kept,
        next_best=next_best.site.name if next_best else None,
        margin_ms=next_best.cost_ms - candidate.cost_ms if next_best else None,
        margin_usd_per_hour=next_best.usd_per_hour - candidate.usd_per_hour if next_best else None,
        reason=_why(candidate, next_best, kept, filled),
        costs=_costs(candidate, filled),
    )


def kept_decision(before: ServiceDecision, filled: Filling) -> ServiceDecision:
    """With the figures of now of what it keeps."""
    chosen = tuple(_kept(one, filled) for one in before.chosen)
    return replace(
        before,
        chosen=chosen,
        shares=shares_of(filled),
        usd_per_hour=filled.usd_per_hour,
        costs=costs_of(filled, chosen),
        kept=True,
    )


def _kept(chosen: ChosenSite, filled: Filling) -> ChosenSite:
    candidate = filled.candidates[chosen.site]
    return replace(chosen, cost_ms=candidate.cost_ms, costs=_costs(candidate, filled))


def _costs(candidate: Candidate, filled: Filling) -> Costs:
    """What this site's replicas and the calls that it is given cost; starts and stops count for the whole service."""
    name = candidate.site.name
    calls = Costs()
    for zone, arc in sorted(candidate.arcs.items()):
        share = filled.shares.get((zone, name), 0.0)
        calls += Costs(egress=arc.calls.egress * share, latency=arc.calls.latency * share)
    return calls + Costs(replicas=filled.replicas[name] * candidate.replica_usd_per_hour)


def costs_of(filled: Filling, chosen: Sequence[ChosenSite]) -> Costs:
    """Of the whole service. Against what runs: a replica of another version or variant counts as a start and a stop."""
    service, ledger = filled.service, filled.ledger
    kept = sum(
        min(count, ledger.running(service, site, filled.candidates[site].variant))
        for site, count in filled.replicas.items()
    )
    changes = changes_usd_per_hour(filled.total - kept, len(ledger.live(service.ref)) - kept, service.policy)
    rates = {demand.zone: demand.rate_rps for demand in service.demands}
    lost_rps = math.fsum(share * rates[zone] for zone, share in sorted(filled.left.items()))
    costs = Costs(unserved=unserved_usd_per_hour(lost_rps, service.policy), changes=changes)
    return sum((one.costs for one in chosen), costs)


def _why(candidate: Candidate, next_best: Candidate | None, kept: bool, filled: Filling) -> str:
    name, policy = candidate.site.name, filled.service.policy
    zones = sorted(zone for zone, site in filled.shares if site == name)
    task = f"serves {', '.join(zones)}" if zones else f"stands by for {_stands_by_for(name, policy)}"
    short = max(policy.replicas_min - filled.total, 0)
    lacking = f"; {short} of the policy's {policy.replicas_min} replicas fit nowhere" if short else ""
    if len(filled.domains) < policy.min_failure_domains:
        lacking += f"; only {len(filled.domains)} of {policy.min_failure_domains} failure domains are within the limits"
    said = f"{task}: expected p99 {candidate.cost_ms:.1f} ms"
    if candidate.held:
        return f"{said}, runs already and the freeze {filled.service.freeze} keeps it{lacking}"
    if kept:
        return f"{said}, runs already and no other is better by more than {policy.min_gain:.0%}{lacking}"
    if next_best is None:
        return f"{said}, no other site is left{lacking}"
    if candidate.preference > next_best.preference:
        ahead = candidate.preference - next_best.preference
        return f"{said}, preferred to {next_best.site.name} by {ahead:g}{lacking}"
    more = next_best.usd_per_hour - candidate.usd_per_hour
    dearer = f" and {more:.3g} USD/h more" if next_best.cost_ms <= candidate.cost_ms and more > 0 else ""
    return f"{said}, next is {next_best.site.name} with {next_best.cost_ms:.1f} ms{dearer}{lacking}"


def _stands_by_for(site: SiteName, policy: PolicySpec) -> str:
    if any(pin.site == site for pin in policy.pins):
        return "its pin"
    if policy.survive_site_losses:
        return "the policy's replicas, failure domains or the loss of another site"
    return "the policy's replicas or failure domains"


def shares_of(filled: Filling) -> tuple[Share, ...]:
    """Of every zone to every chosen site that may serve it; 0 where a site only stands by for it."""
    return tuple(
        Share(
            zone=zone,
            site=site,
            share=filled.shares.get((zone, site), 0.0),
            response_ms=arc.response,
            legs=tuple(_leg_text(leg) for leg in arc.path.legs),
        )
        for site in sorted(filled.replicas)
        for zone, arc in sorted(filled.candidates[site].arcs.items())
    )


def _leg_text(leg: Leg) -> str:
    return f"{leg.source} -> {leg.target} {leg.rtt_p99_ms:.1f} ms, {leg.age_s:.1f} s old"


def refused_sites(sites: Sequence[SiteName], seen: Field, filled: Filling) -> tuple[RefusedSite, ...]:
    """Of every site without a replica: one reason for all zones, or one for each in reach and one for the rest."""
    refused: list[RefusedSite] = []
    zones = sorted(demand.zone for demand in filled.service.demands)
    takers = {zone: _best_taker(zone, filled) for zone in zones}
    for site in sites:
        if site in filled.replicas:
            continue
        if (objection := seen.of_site.get(site)) is not None:
            refused.append(objection.at(site, None))
            continue
        objections = ((zone, _for_zone(site, zone, seen, filled, takers[zone])) for zone in zones)
        refused += [objection.at(site, zone) for zone, objection in objections if objection is not None]
        if site in seen.of_rest:
            refused.append(seen.of_rest[site].at(site, None))
    return tuple(refused)


def _best_taker(zone: ZoneName, filled: Filling) -> Candidate | None:
    takers = (filled.candidates[site] for served, site in filled.shares if served == zone)
    return min(takers, key=lambda one: one.rank(filled.gain, zone), default=None)


def _for_zone(
    site: SiteName, zone: ZoneName, seen: Field, filled: Filling, taker: Candidate | None
) -> Objection | None:
    """None: the zone has no path there."""
    if (refused := seen.of_zone.get((site, zone))) is not None:
        return refused
    candidate = seen.candidates.get(site)
    if candidate is None or zone not in candidate.arcs:
        return None
    stopped = filled.stopped.get((site, zone)) or filled.stopped.get((site, None))
    return stopped or _outranked(candidate, zone, filled, taker)


def _outranked(candidate: Candidate, zone: ZoneName, filled: Filling, taker: Candidate | None) -> Objection:
    """`taker`: the best of those that the zone's calls go to."""
    mine, name = candidate.arcs[zone], candidate.site.name
    if taker is None:
        detail = f"{name} could serve zone {zone} in {mine.cost_ms:.1f} ms, but there is nothing left to serve"
        return Objection(Refusal.OUTRANKED, mine.cost_ms, None, "ms", detail)
    best, other, reason = taker.arcs[zone], taker.site.name, Refusal.OUTRANKED
    actual, limit, unit = mine.cost_ms, best.cost_ms, "ms"
    if taker.held and not candidate.held:
        reason, why = Refusal.FROZEN, f"the freeze {filled.service.freeze} keeps {other}: edit stability.freeze to move"
    elif taker.preference > candidate.preference:
        why = f"the policy prefers {other} by {taker.preference - candidate.preference:g}"
    elif (mine.usd_per_hour, mine.cost_ms) < (best.usd_per_hour, best.cost_ms) and not taker.running:
        why = f"with what other zones and services need, the whole costs less by {other} at {best.cost_ms:.1f} ms"
    elif (mine.usd_per_hour, mine.cost_ms) < (best.usd_per_hour, best.cost_ms):
        why = f"{other} runs already at {best.cost_ms:.1f} ms: lower stability.min_gain to move for less"
    elif mine.cost_ms <= best.cost_ms and mine.usd_per_hour > best.usd_per_hour:
        actual, limit, unit = mine.usd_per_hour, best.usd_per_hour, "USD/h"
        why = (
            f"all told it costs {actual:.3g} USD/h, {other} {limit:.3g} at {best.cost_ms:.1f} ms: "
            "latency.usd_per_hour_waited says what waiting counts"
        )
    else:
        why = f"{other} answers in {best.cost_ms:.1f} ms"
    return Objection(reason, actual, limit, unit, f"{name} fits at {mine.cost_ms:.1f} ms, but {why}")


def unserved_of(sites: Sequence[SiteName], seen: Field, filled: Filling) -> tuple[Unserved, ...]:
    found: list[Unserved] = []
    for zone, left in sorted(filled.left.items()):
        if left:
            met = _met(zone, sites, seen, filled)
            found.append(Unserved(zone, left, _nearest(met), refusal_counts(met)))
    return tuple(found)


def _met(zone: ZoneName, sites: Sequence[SiteName], seen: Field, filled: Filling) -> list[RefusedSite]:
    """What stands against each site that did not take all that was left of the zone's calls, chosen ones too."""
    met: list[RefusedSite] = []
    for site in sites:
        if (objection := seen.of_site.get(site)) is not None:
            met.append(objection.at(site, None))
        elif (against := seen.of_zone.get((site, zone)) or filled.stopped.get((site, zone))) is not None:
            met.append(against.at(site, zone))
        elif site in seen.of_rest and (site not in seen.candidates or zone not in seen.candidates[site].arcs):
            met.append(seen.of_rest[site].at(site, None))
    return met


def refusal_counts(met: Sequence[RefusedSite]) -> tuple[RefusalCount, ...]:
    """By reason, those that stopped most sites first; within a reason the sites that missed by the least."""
    by_reason: dict[Refusal, list[RefusedSite]] = {}
    for one in sorted(met, key=_missed):
        by_reason.setdefault(one.reason, []).append(one)
    counts = [
        RefusalCount(reason, len({one.site for one in those}), tuple(those[:NEAREST]), those[0].missed)
        for reason, those in by_reason.items()
    ]
    return tuple(sorted(counts, key=lambda count: (-count.sites, count.reason)))


def _missed(refused: RefusedSite) -> tuple[float, SiteName]:
    """Relative to what it had or should have had: the units of one reason may differ."""
    if refused.actual is None or refused.limit is None or refused.missed is None:
        return math.inf, refused.site
    return refused.missed / max(abs(refused.actual), abs(refused.limit), 1e-9), refused.site


def _nearest(met: Sequence[RefusedSite]) -> RefusedSite | None:
    """The site that would need the least change; its detail names the objective where it is only too slow."""
    nearest = min(met, key=_distance, default=None)
    if nearest is None or nearest.reason is not Refusal.TOO_SLOW:
        return nearest
    detail = f"SLO {nearest.limit:g} ms, nearest {nearest.site} {nearest.actual:.1f} ms"
    return replace(nearest, detail=detail)


def _distance(refused: RefusedSite) -> tuple[int, float, str]:
    taken = refused.zone is not None and refused.reason not in _NEAR
    near = 0 if taken else _NEAR.get(refused.reason, 3)
    return near, refused.actual if refused.reason is Refusal.TOO_SLOW and refused.actual else 0.0, refused.site
