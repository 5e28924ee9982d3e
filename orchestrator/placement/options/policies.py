"""Changes of the service's policy."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from orchestrator.model.snapshot import Refusal, RefusedSite, Snapshot
from orchestrator.model.specs import SILENT, ServiceSpec
from orchestrator.placement.costs import HOUR_S, replica_price, weight
from orchestrator.placement.estimates import response_ms
from orchestrator.placement.options.figures import down_to_accuracy, up
from orchestrator.placement.options.lost import PER_KIND, Effort, Lost, Option


def of_policy(lost: Lost) -> Iterator[Option]:
    yield from _slow(lost)
    yield from _old(lost)
    yield from _replicas(lost)
    yield from _costs(lost)
    yield from _domain_share(lost)
    yield from _accuracy(lost)
    yield from _wan(lost)
    yield from _rules(lost)
    yield from _jurisdictions(lost)


def _number(
    lost: Lost,
    field: str,
    unit: str,
    before: float,
    wanted: Iterable[float],
    those: Iterable[RefusedSite],
    attribute: str,
    whole: bool = False,
    most: float = math.inf,
    each: float = 1.0,
) -> Option:
    """A figure of the policy that is raised; `attribute` of a PolicySpec is `each` times as much."""

    def change(figure: float) -> Snapshot:
        return lost.under(**{attribute: round(figure) if whole else figure * each})

    figures = sorted({min(up(value, whole), most) for value in wanted if value > before})
    return Option(
        field=field,
        object=_policy(lost),
        unit=unit,
        before=before,
        figures=tuple(figures),
        change=change,
        after=lambda figure: figure,
        said=lambda figure: f"{field} {before:g} -> {figure:g} {'' if field.startswith('replicas') else unit}".rstrip(),
        effort=Effort.FIGURE,
        estimate_usd_per_hour=lost.estimate_of(those),
        least=before,
        whole=whole,
    )


def _policy(lost: Lost) -> str:
    return f"PlacementPolicy {lost.service.ref.namespace}/{lost.policy.name}"


def _slow(lost: Lost) -> Iterator[Option]:
    """What each variant would take at each site, not only what was recorded: a smaller one may be quick enough."""
    slow = lost.of(Refusal.TOO_SLOW)
    small = lost.of(Refusal.MEMORY, Refusal.COMPUTE, Refusal.COST)
    limit_ms = lost.policy.latency_p99_ms
    if limit_ms is None or not (slow or small):
        return
    wanted_ms = [
        response_ms(path, lost.demand, variant, lost.settings).expected
        for one in (*slow, *small)
        for variant in lost.variants(lost.site(one.site))
        for path in lost.paths(one.site)
    ]
    wanted_ms += [one.actual for one in slow if one.actual is not None]
    yield _number(
        lost,
        "latency.p99_ms",
        "ms",
        limit_ms,
        wanted_ms,
        slow or small,
        "latency_p99_ms",
    )


def _old(lost: Lost) -> Iterator[Option]:
    stale, policy = lost.of(Refusal.STALE_LEG), lost.policy
    ages_s = [path.age_s for one in stale for path in lost.paths(one.site)]
    yield _number(
        lost,
        "stability.max_sample_age_s",
        "s",
        policy.max_sample_age_s,
        ages_s,
        stale,
        "max_sample_age_s",
    )


def _replicas(lost: Lost) -> Iterator[Option]:
    those, policy = lost.of(Refusal.REPLICAS_MAX, Refusal.FAILURE_DOMAIN), lost.policy
    more = lost.replicas(lost.service.version.variants) if those else 0
    more += policy.min_failure_domains if lost.of(Refusal.FAILURE_DOMAIN) else 0
    yield _number(
        lost,
        "replicas.max",
        "replicas",
        policy.replicas_max,
        [policy.replicas_max + count for count in range(1, more + 1)],
        those,
        "replicas_max",
        whole=True,
    )


def _costs(lost: Lost) -> Iterator[Option]:
    """A cap on all replicas, or what an unserved call counts: a refusal by cost names one of the two as its limit."""
    those, policy = lost.of(Refusal.COST), lost.policy
    cap = policy.max_usd_per_hour
    if cap is not None:
        capped, wanted_usd = [one for one in those if one.limit == cap], []
        for one in capped:
            site = lost.site(one.site)
            variants = lost.variants(site)
            dearest = max((replica_price(site, variant) for variant in variants), default=0.0)
            wanted_usd += [(one.actual or 0.0) + count * dearest for count in range(lost.replicas(variants))]
        yield _number(
            lost,
            "cost.max_usd_per_hour",
            "USD/h",
            cap,
            wanted_usd,
            capped,
            "max_usd_per_hour",
        )
    dear = [one for one in those if one.limit != cap]
    call_usd = [
        policy.usd_per_unserved_call * one.actual / one.limit if one.limit else one.actual / (HOUR_S * lost.rps)
        for one in dear
        if one.actual and lost.rps > 0
    ]
    # Fewer calls than were asked about may be left over: each must then pay for more of a replica.
    call_usd += [10 * max(call_usd)] if call_usd else []
    yield _number(
        lost,
        "cost.usd_per_unserved_call",
        "USD",
        policy.usd_per_unserved_call,
        call_usd,
        dear,
        "usd_per_unserved_call",
    )


def _domain_share(lost: Lost) -> Iterator[Option]:
    those, policy = lost.of(Refusal.DOMAIN_SHARE), lost.policy
    most, part = policy.max_share_per_domain, weight(lost.demand, lost.service)
    wanted = [most + (one.missed or 0.0) * part for one in those]
    yield _number(
        lost,
        "replicas.max_share_per_domain",
        "of the calls",
        most,
        [*wanted, 1.0] if wanted else [],
        those,
        "max_share_per_domain",
        most=1.0,
    )


def _accuracy(lost: Lost) -> Iterator[Option]:
    """Also where a variant that is accurate enough is too large, too slow or too dear: another may not be."""
    those = lost.of(Refusal.ACCURACY, Refusal.MEMORY, Refusal.COMPUTE, Refusal.TOO_SLOW, Refusal.COST)
    field, least, variants = "accuracy.min", lost.policy.accuracy_min, lost.service.version.variants
    if least is None or not those:
        return
    known = sorted({v.accuracy for v in variants if v.accuracy is not None and v.accuracy < least}, reverse=True)
    estimate = lost.estimate_of(those)
    yield Option(
        field=field,
        object=_policy(lost),
        unit="",
        before=least,
        figures=tuple(down_to_accuracy(value) for value in known),
        change=lambda figure: lost.under(accuracy_min=figure),
        after=lambda figure: figure,
        said=lambda figure: f"{field} {least:g} -> {figure:g}",
        effort=Effort.FIGURE,
        estimate_usd_per_hour=estimate,
    )
    if any(variant.accuracy is None for variant in variants):
        without = lost.under(accuracy_min=None)
        yield _rule(lost, field, f"{least:g}", "none", f"no {field} (a variant was never measured)", without, estimate)


def _wan(lost: Lost) -> Iterator[Option]:
    those, policy = lost.of(Refusal.BANDWIDTH), lost.policy
    if policy.wan_bps_per_zone is None or not those:
        return
    before = policy.wan_bps_per_zone / 1e6
    wanted = [before + (one.missed or 0.0) for one in those]
    yield _number(
        lost,
        "bandwidth.wan_mbps_per_zone",
        "Mbit/s",
        before,
        [*wanted, before + lost.all_mbps],
        those,
        "wan_bps_per_zone",
        each=1e6,
    )


def _rule(
    lost: Lost, field: str, before: str, after: str, said: str, changed: Snapshot, estimate_usd_per_hour: float
) -> Option:
    return Option(
        field=field,
        object=_policy(lost),
        unit="",
        before=before,
        figures=(0.0,),
        change=lambda _: changed,
        after=lambda _: after,
        said=lambda _: said,
        effort=Effort.RULE,
        estimate_usd_per_hour=estimate_usd_per_hour,
    )


def _rules(lost: Lost) -> Iterator[Option]:
    policy = lost.policy
    for one in lost.cheapest(lost.of(Refusal.BANNED)):
        fewer = policy.bans - {one.site}
        yield _rule(
            lost,
            "affinity.bans",
            ", ".join(sorted(policy.bans)),
            ", ".join(sorted(fewer)) or "none",
            f"affinity.bans without {one.site}",
            lost.under(bans=fewer),
            lost.estimate_usd_per_hour(one.site),
        )
    if kept_out := lost.of(Refusal.BURST_TO_CLOUD):
        changed = lost.under(burst_to_cloud=True)
        field = "cost.burst_to_cloud"
        yield _rule(lost, field, "false", "true", f"{field} true", changed, lost.estimate_of(kept_out))
    said = {rule.site: rule.failed_requirement for rule in lost.service.rules}
    seen: set[str] = set()
    for one in lost.cheapest(one for one in lost.of(Refusal.REQUIREMENT) if said.get(one.site) != SILENT):
        expression = said.get(one.site)
        if expression is not None and expression not in seen:
            seen.add(expression)
            yield _rule(
                lost,
                "required",
                expression,
                "none",
                f'required without "{expression}"',
                lost.with_services(partial(_without, expression)),
                lost.estimate_usd_per_hour(one.site),
            )


def _without(expression: str, service: ServiceSpec) -> ServiceSpec:
    rules = []
    for rule in service.rules:
        failed = (rule.failed_requirement, *rule.also_failed)
        left = [text for text in failed if text is not None and text != expression]
        rules.append(replace(rule, failed_requirement=next(iter(left), None), also_failed=tuple(left[1:])))
    return replace(service, rules=tuple(rules))


def _jurisdictions(lost: Lost) -> Iterator[Option]:
    """Of the site, or of the region that its calls pass."""
    policy, regions = lost.policy, lost.sites
    if policy.jurisdictions is None:
        return
    outside: dict[str, list[RefusedSite]] = {}
    for one in lost.of(Refusal.RESIDENCY):
        passed = [lost.site(one.site)] if one.zone is None else []
        passed += [regions[path.transit] for path in lost.paths(one.site) if path.transit and path.transit in regions]
        for jurisdiction in {site.jurisdiction for site in passed} - policy.jurisdictions:
            outside.setdefault(jurisdiction, []).append(one)
    priced = sorted((lost.estimate_of(those), jurisdiction) for jurisdiction, those in outside.items())
    for estimate, jurisdiction in priced[:PER_KIND]:
        allowed = policy.jurisdictions | {jurisdiction}
        option = _rule(
            lost,
            "residency.jurisdictions",
            ", ".join(sorted(policy.jurisdictions)),
            ", ".join(sorted(allowed)),
            f"residency.jurisdictions with {jurisdiction}, if the law allows it,",
            lost.under(jurisdictions=allowed),
            estimate,
        )
        yield replace(option, effort=Effort.LAW)
