"""What a policy asks of the sites and numbers of one service's replicas, and of two services together."""

import math
from collections.abc import Iterator

from orchestrator.model.claims import ReplicaHold
from orchestrator.model.ids import ServiceRef, SiteName
from orchestrator.model.resources import Resources
from orchestrator.model.specs import ServiceSpec, SiteKind, SiteSpec, Variant, VariantSpec, Within
from orchestrator.placement.audits.case import Case, Held, Scene, is_of, live, passes_residency
from orchestrator.placement.audits.formulas import price_usd_per_hour
from orchestrator.placement.audits.room import bears_more


def check_policies(scene: Scene) -> None:
    for case in scene.cases.values():
        for held in case.held.values():
            for rule, actual, limit in forbidden(scene, case.spec, held.site, held.variant):
                scene.say(rule, f"site {held.site.name}", actual, limit, case.ref)
        _check_counts(scene, case)
        _check_domain_shares(scene, case)
        _check_freeze(scene, case)
        _check_neighbours(scene, case)
    _check_quotas(scene)


def forbidden(scene: Scene, spec: ServiceSpec, site: SiteSpec, variant: VariantSpec) -> Iterator[tuple[str, str, str]]:
    """Hard rules of a site and a variant that hold in a freeze too."""
    policy = spec.policy
    failed = scene.failed[spec.ref].get(site.name)
    if not site.reachable:
        yield "reachable", "nobody answers there", "an attached node, or a region that answers"
    if policy.jurisdictions is not None and site.jurisdiction not in policy.jurisdictions:
        yield "residency.jurisdictions", site.jurisdiction, ", ".join(sorted(policy.jurisdictions))
    if site.name in policy.bans:
        yield "affinity.bans", "banned", "none there"
    if site.kind is SiteKind.REGION and not policy.burst_to_cloud:
        yield "cost.burst_to_cloud", "a region", "edge sites"
    if failed is not None:
        yield "required", "false", failed
    if site.kind is SiteKind.EDGE and variant.variant is Variant.SAVEDMODEL:
        yield "variant", variant.variant, "litert-* at an edge site"
    if policy.accuracy_min is not None and (variant.accuracy is None or variant.accuracy < policy.accuracy_min):
        yield "accuracy.min", str(variant.accuracy), str(policy.accuracy_min)


def _check_counts(scene: Scene, case: Case) -> None:
    """`replicas.max` and the cost cap bind all but what a freeze keeps. Least numbers: see `saying`."""
    policy, total = case.spec.policy, sum(held.count for held in case.held.values())
    usd = math.fsum(held.count * price_usd_per_hour(held.site, held.variant) for held in case.held.values())
    frozen = [held for held in case.held.values() if case.frozen_at(held.site.name)]
    kept = sum(held.kept for held in frozen)
    scene.over("replicas.max", "service", total, max(policy.replicas_max, kept), case.ref)
    if policy.max_usd_per_hour is not None:
        kept_usd = math.fsum(held.kept * price_usd_per_hour(held.site, held.variant) for held in frozen)
        scene.over("cost.max_usd_per_hour", "service", usd, max(policy.max_usd_per_hour, kept_usd), case.ref)


def _check_domain_shares(scene: Scene, case: Case) -> None:
    carried: dict[str, float] = {}
    for arc in case.arcs:
        domain = scene.sites[arc.path.site].failure_domain
        carried[domain] = carried.get(domain, 0.0) + arc.share * case.part(arc.demand)
    for domain, part in sorted(carried.items()):
        scene.over(
            "replicas.max_share_per_domain", f"domain {domain}", part, case.spec.policy.max_share_per_domain, case.ref
        )


def _check_freeze(scene: Scene, case: Case) -> None:
    """What runs stays in its number and variant, as far as hard rules, a path and room let it."""
    if case.spec.freeze is None:
        return
    for name, site in sorted(scene.sites.items()):
        variants = case.spec.version.variants_on(site.hardware_class)
        running = {v: sum(is_of(claim, case.spec, v) for claim in scene.claims.get(name, ())) for v in variants}
        held = case.held.get(name)
        allowed = [v for v, count in running.items() if count and _may_stay(scene, case, site, v)]
        if not allowed or (held is not None and any(held.variant == v and held.count >= running[v] for v in allowed)):
            continue
        if held is not None and held.variant not in allowed:
            # Also where what runs would fit no more: another variant is a change.
            scene.say("stability.freeze", f"site {name}", held.variant.variant, allowed[0].variant, case.ref)
        elif any(bears_more(scene, case, site, v) for v in ([held.variant] if held else allowed)):
            scene.say("stability.freeze", f"site {name}", held.count if held else 0, max(running.values()), case.ref)


def _may_stay(scene: Scene, case: Case, site: SiteSpec, variant: VariantSpec) -> bool:
    if any(forbidden(scene, case.spec, site, variant)):
        return False
    most = case.spec.policy.max_usd_per_hour
    if most is not None and price_usd_per_hour(site, variant) > most:
        return False
    if any(shares_place(scene, site, rival, within) for rival, within in rivals(scene, case)):
        return False
    zones = [demand.zone for demand in case.spec.demands]
    return any(passes_residency(scene, case, path) for zone in zones for path in scene.paths.get((zone, site.name), ()))


def rivals(scene: Scene, case: Case) -> list[tuple[ServiceRef, Within]]:
    """Whom a service is kept apart from, whoever of the two says it; not from itself."""
    said = {(rule.service, rule.within) for rule in case.spec.policy.anti_affinity}
    for spec in scene.snapshot.services:
        said |= {(spec.ref, rule.within) for rule in spec.policy.anti_affinity if rule.service == case.ref}
    return sorted(one for one in said if one[0] != case.ref)


def shares_place(scene: Scene, site: SiteSpec, rival: ServiceRef, within: Within) -> bool:
    """Whether the rival is placed there; or runs there, if it is not for this decision to move it."""
    other = scene.cases.get(rival)
    names = set(other.held) if other else _runs(scene, rival)
    if within is Within.SITE:
        return site.name in names
    return site.failure_domain in {scene.sites[name].failure_domain for name in names if name in scene.sites}


def _runs(scene: Scene, service: ServiceRef) -> set[SiteName]:
    return {
        name
        for name, claims in scene.claims.items()
        for claim in claims
        if live(claim) and isinstance(claim.hold, ReplicaHold) and claim.hold.service == service
    }


def _check_neighbours(scene: Scene, case: Case) -> None:
    for rival, within in rivals(scene, case):
        for held in case.held.values():
            if shares_place(scene, held.site, rival, within):
                scene.say(
                    "affinity.anti_affinity", f"{within} of {held.site.name}", f"beside {rival}", "apart", case.ref
                )


def _check_quotas(scene: Scene) -> None:
    """All replicas of a namespace together, but for what freezes keep."""
    for quota in scene.snapshot.quotas:
        taken, frozen = Resources(), Resources()
        for case in scene.cases.values():
            if case.ref.namespace == quota.namespace:
                for held in case.held.values():
                    taken += held.variant.need * held.count
                    frozen += held.variant.need * (_frozen_count(case, held))
        where = f"quota {quota.namespace}/{quota.name}"
        for rule, actual, limit, kept in (
            ("memory_mib", taken.memory_bytes, quota.limit.memory_bytes, frozen.memory_bytes),
            ("cores", taken.compute_millis, quota.limit.compute_millis, frozen.compute_millis),
        ):
            scene.over(f"quota {rule}", where, actual, max(limit, kept))


def _frozen_count(case: Case, held: Held) -> int:
    return held.kept if case.frozen_at(held.site.name) else 0
