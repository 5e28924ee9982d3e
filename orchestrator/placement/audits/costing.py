"""The terms of what a placement minimises, added up anew."""

import math
from collections import Counter
from collections.abc import Iterator

from orchestrator.model.claims import ReplicaHold
from orchestrator.model.ids import ServiceRef, SiteName
from orchestrator.model.snapshot import Costs, Decision
from orchestrator.placement.audits.case import TOLERANCE, Arc, Case, Scene, live
from orchestrator.placement.audits.formulas import HOUR_S, egress_usd_per_call, price_usd_per_hour

IDLE_RPS = 1 / 60
TERMS = ("replicas", "egress", "latency", "unserved", "changes")


def costs_by_service(scene: Scene) -> dict[ServiceRef, Costs]:
    return {ref: _costs(scene, case) for ref, case in scene.cases.items()}


def check_costs(scene: Scene, decision: Decision, found: dict[ServiceRef, Costs]) -> None:
    for ref, case in scene.cases.items():
        _compare(scene, "service", case.decided.costs, found[ref], ref)
        _check_usd(scene, "usd_per_hour", "service", case.decided.usd_per_hour, found[ref].replicas, ref)
        for chosen in case.decided.chosen:
            if chosen.site in case.held:
                arcs = [arc for arc in case.arcs if arc.path.site == chosen.site]
                _compare(scene, f"site {chosen.site}", chosen.costs, _of_site(scene, case, chosen.site, arcs), ref)
    replicas = math.fsum(costs.replicas for costs in found.values())
    _check_usd(scene, "usd_per_hour", "decision", decision.usd_per_hour, replicas, None)
    objective = objective_usd_per_hour(scene)
    _check_objective(scene, decision, objective)
    scene.over(
        "lower_bound_usd_per_hour", "decision", decision.lower_bound_usd_per_hour, decision.objective_usd_per_hour
    )


def _check_objective(scene: Scene, decision: Decision, found: float) -> None:
    """What preferences and freezes add depends on what sites could be chosen: there it is at least the rest."""
    preferring = any(
        case.spec.freeze is not None or len({rule.preference for rule in case.spec.rules} | {0.0}) > 1
        for case in scene.cases.values()
    )
    said = decision.objective_usd_per_hour
    if not preferring:
        _check_usd(scene, "objective_usd_per_hour", "decision", said, found, None)
    elif said < found * (1 - TOLERANCE) - TOLERANCE:
        scene.say("objective_usd_per_hour", "decision", said, f"at least {found}")


def objective_usd_per_hour(scene: Scene) -> float:
    """What is minimised, but for what preferences ask: the cost, less `min_gain` of what runs and of calls to it.

    A zone that nobody calls counts as one call a minute.
    """
    return math.fsum(_objective(scene, case) for case in scene.cases.values())


def _objective(scene: Scene, case: Case) -> float:
    policy, runs = case.spec.policy, running(scene, case.ref)
    rates = {demand.zone: max(demand.rate_rps, IDLE_RPS) for demand in case.spec.demands}
    per_change = HOUR_S / policy.horizon_s
    parts = [(sum(runs.values()) - sum(held.kept for held in case.held.values())) * policy.usd_per_stop * per_change]
    for held in case.held.values():
        price, new = price_usd_per_hour(held.site, held.variant), held.count - held.kept
        parts.append(held.kept * price * (1 - policy.min_gain) + new * (price + policy.usd_per_start * per_change))
    for arc in case.arcs:
        gain = policy.min_gain if runs.get(arc.path.site) else 0.0
        region = scene.sites.get(arc.path.transit) if arc.path.transit else None
        egress = HOUR_S * egress_usd_per_call(arc.path, arc.demand, region, scene.sites[arc.path.site])
        waiting = arc.response.expected / 1000 * policy.usd_per_hour_waited
        parts.append(arc.share * rates[arc.demand.zone] * (egress + waiting) * (1 - gain))
    lost_rps = math.fsum(left.share * rates.get(left.zone, 0.0) for left in case.decided.unserved)
    parts.append(lost_rps * HOUR_S * policy.usd_per_unserved_call)
    return math.fsum(parts)


def _compare(scene: Scene, where: str, said: Costs, found: Costs, ref: ServiceRef) -> None:
    for term in TERMS:
        _check_usd(scene, f"costs.{term}", where, getattr(said, term), getattr(found, term), ref)


def _check_usd(scene: Scene, rule: str, where: str, said: float, found: float, ref: ServiceRef | None) -> None:
    if not math.isclose(said, found, rel_tol=TOLERANCE, abs_tol=1e-9):
        scene.say(rule, where, said, found, ref)


def _of_site(scene: Scene, case: Case, name: SiteName, arcs: list[Arc]) -> Costs:
    held = case.held[name]
    return Costs(
        replicas=held.count * price_usd_per_hour(held.site, held.variant),
        egress=math.fsum(_egress(scene, arcs)),
        # By Little's law rate x seconds are the callers that wait at any moment.
        latency=math.fsum(arc.rate_rps * arc.response.expected / 1000 for arc in arcs)
        * case.spec.policy.usd_per_hour_waited,
    )


def _egress(scene: Scene, arcs: list[Arc]) -> Iterator[float]:
    for arc in arcs:
        region = scene.sites.get(arc.path.transit) if arc.path.transit else None
        yield arc.rate_rps * HOUR_S * egress_usd_per_call(arc.path, arc.demand, region, scene.sites[arc.path.site])


def _costs(scene: Scene, case: Case) -> Costs:
    policy, rates = case.spec.policy, {demand.zone: demand.rate_rps for demand in case.spec.demands}
    of_arcs: dict[SiteName, list[Arc]] = {}
    for arc in case.arcs:
        of_arcs.setdefault(arc.path.site, []).append(arc)
    total = Costs()
    for name in case.held:
        total += _of_site(scene, case, name, of_arcs.get(name, []))
    lost_rps = math.fsum(left.share * rates.get(left.zone, 0.0) for left in case.decided.unserved)
    kept = sum(held.kept for held in case.held.values())
    starts = sum(held.count for held in case.held.values()) - kept
    changes = starts * policy.usd_per_start + (sum(running(scene, case.ref).values()) - kept) * policy.usd_per_stop
    unserved = lost_rps * HOUR_S * policy.usd_per_unserved_call
    return total + Costs(unserved=unserved, changes=changes * HOUR_S / policy.horizon_s)


def running(scene: Scene, service: ServiceRef) -> Counter[SiteName]:
    """Replicas of any version, by site: what this decision does not keep it stops."""
    return Counter(
        claim.site
        for claims in scene.claims.values()
        for claim in claims
        if live(claim) and isinstance(claim.hold, ReplicaHold) and claim.hold.service == service
    )
