"""What a decision says of itself: each site chosen or refused, each reason true, each rule that is not kept named."""

from collections import Counter
from collections.abc import Callable, Iterator

from orchestrator.model.ids import ZoneName
from orchestrator.model.snapshot import Refusal, RefusedSite
from orchestrator.model.specs import SiteSpec
from orchestrator.placement.audits.case import Case, Scene, passes_residency
from orchestrator.placement.audits.formulas import response
from orchestrator.placement.audits.policies import forbidden


def check_sayings(scene: Scene) -> None:
    for case in scene.cases.values():
        _check_refusals(scene, case)
        _check_shortfalls(scene, case)


def _check_refusals(scene: Scene, case: Case) -> None:
    said = Counter((one.site, one.zone) for one in case.decided.refused)
    zones = [demand.zone for demand in case.spec.demands]
    chosen = {one.site for one in case.decided.chosen}
    for name in scene.sites:
        single = sum(said[name, zone] for zone in zones)
        rest = int(single < len(zones) or not zones)  # one more, for the zones that have none of their own
        if name in chosen:
            if single or said[name, None]:
                scene.say("refused", f"site {name}", "chosen and refused", "one of both", case.ref)
        elif said[name, None] != rest or any(said[name, zone] > 1 for zone in zones):
            what = f"{single} reasons for single zones, {said[name, None]} for the rest"
            scene.say("refused", f"site {name}", what, "chosen, or one reason for each zone", case.ref)
    for one in case.decided.refused:
        site = scene.sites.get(one.site)
        where = f"site {one.site}" + (f" for zone {one.zone}" if one.zone else "")
        if site is None or (one.zone is not None and one.zone not in zones) or not one.detail:
            scene.say("refused", where, one.detail or "no detail", "a known site and zone, with a detail", case.ref)
        elif (holds := _TRUE.get(one.reason)) is not None and not holds(scene, case, site, one):
            scene.say("reason", where, one.reason, "one that is true", case.ref)


def _expected_ms(scene: Scene, case: Case, site: SiteSpec, zone: ZoneName | None) -> Iterator[float]:
    variants = case.spec.version.variants_on(site.hardware_class)
    for demand in case.spec.demands:
        if zone in (None, demand.zone):
            for path in scene.paths.get((demand.zone, site.name), ()):
                for variant in variants:
                    yield response(path, demand, variant, scene.settings).expected


def _is_forbidden(rule: str) -> Callable[[Scene, Case, SiteSpec, RefusedSite], bool]:
    def holds(scene: Scene, case: Case, site: SiteSpec, one: RefusedSite) -> bool:
        variants = case.spec.version.variants_on(site.hardware_class)
        return any(rule == found for v in variants for found, _, _ in forbidden(scene, case.spec, site, v))

    return holds


def _is_no_path(scene: Scene, case: Case, site: SiteSpec, one: RefusedSite) -> bool:
    own = {other.zone for other in case.decided.refused if other.site == site.name} if one.zone is None else set()
    zones = {demand.zone for demand in case.spec.demands} - own if one.zone is None else {one.zone}
    return not any(scene.paths.get((zone, site.name)) for zone in zones)


def _is_stale(scene: Scene, case: Case, site: SiteSpec, one: RefusedSite) -> bool:
    paths = scene.paths.get((one.zone, site.name), ()) if one.zone else ()
    return any(leg.age_s > case.spec.policy.max_sample_age_s for path in paths for leg in path.legs)


def _is_slow(scene: Scene, case: Case, site: SiteSpec, one: RefusedSite) -> bool:
    limit = case.spec.policy.latency_p99_ms
    return limit is not None and any(ms > limit for ms in _expected_ms(scene, case, site, one.zone))


def _is_abroad(scene: Scene, case: Case, site: SiteSpec, one: RefusedSite) -> bool:
    if one.zone is None:
        return _is_forbidden("residency.jurisdictions")(scene, case, site, one)
    return any(not passes_residency(scene, case, path) for path in scene.paths.get((one.zone, site.name), ()))


# Reasons that the snapshot alone proves. Of the others two values are told, which depend on how the plan was found.
_TRUE: dict[Refusal, Callable[[Scene, Case, SiteSpec, RefusedSite], bool]] = {
    Refusal.UNREACHABLE: _is_forbidden("reachable"),
    Refusal.BANNED: _is_forbidden("affinity.bans"),
    Refusal.BURST_TO_CLOUD: _is_forbidden("cost.burst_to_cloud"),
    Refusal.REQUIREMENT: _is_forbidden("required"),
    Refusal.ACCURACY: _is_forbidden("accuracy.min"),
    Refusal.RESIDENCY: _is_abroad,
    Refusal.NO_PATH: _is_no_path,
    Refusal.STALE_LEG: _is_stale,
    Refusal.TOO_SLOW: _is_slow,
}


def _check_shortfalls(scene: Scene, case: Case) -> None:
    """Least replicas, failure domains and pins: kept, or a shortfall says what there is. N+1: see `losses`."""
    policy = case.spec.policy
    total = sum(held.count for held in case.held.values())
    domains = len({held.site.failure_domain for held in case.held.values()})
    short: Counter[tuple[str, float, float]] = Counter()
    if total < policy.replicas_min:
        short["replicas.min", total, policy.replicas_min] += 1
    if domains < policy.min_failure_domains:
        short["replicas.min_failure_domains", domains, policy.min_failure_domains] += 1
    for pin in policy.pins:
        count = case.held[pin.site].count if pin.site in case.held else 0
        if count < pin.replicas:
            short["affinity.pins", count, pin.replicas] += 1
    rules = ("replicas.min", "replicas.min_failure_domains", "affinity.pins")
    said = Counter((one.rule, one.actual, one.wanted) for one in case.decided.shortfalls if one.rule in rules)
    for rule, actual, wanted in sorted(short - said):
        scene.say(rule, "service", actual, f"{wanted:g}, or a shortfall that says so", case.ref)
    for rule, actual, wanted in sorted(said - short):
        scene.say(rule, "service", f"a shortfall of {actual:g} of {wanted:g}", "none like it", case.ref)
    for one in case.decided.shortfalls:
        if not one.detail:
            scene.say(one.rule, "service", "no detail", "a sentence with the remedy", case.ref)
