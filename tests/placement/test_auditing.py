"""A valid decision is spoilt in one way at a time, or a rule is tightened after it was made: the audit names it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.model.claims import Claim
from orchestrator.model.ids import NodeName, SiteName
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Costs, Decision, ServiceDecision, ShadowPrice, Snapshot
from orchestrator.model.specs import (
    AntiAffinity,
    NodeSpec,
    Pin,
    QuotaSpec,
    ServiceSpec,
    SiteRule,
    Variant,
    Within,
)
from orchestrator.placement import place
from orchestrator.placement.auditing import audit
from tests.placement.worlds import (
    MIB,
    POLICY,
    SETTINGS,
    claim,
    cloud,
    cloud_leg,
    edge,
    relay_leg,
    service,
    snapshot,
    variant,
)

DIGITS = service(
    replace(
        POLICY,
        replicas_min=4,
        min_failure_domains=3,
        survive_site_losses=1,
        max_share_per_domain=0.6,
        pins=(Pin(SiteName("mill"), 1), Pin(SiteName("gone"), 1)),
        bans=frozenset({SiteName("attic")}),
        max_usd_per_hour=2.0,
        accuracy_min=0.9,
        wan_bps_per_zone=8e7,
        usd_per_start=0.1,
        usd_per_stop=0.1,
    ),
    rate_rps=900.0,
)
WORDS = service(
    replace(POLICY, max_usd_per_hour=0.25, wan_bps_per_zone=8e7, bans=frozenset({SiteName("mill"), SiteName("quay")})),
    variants=(variant(Variant.LITERT_INT8),),
    name="words",
    version="words-1",
    rate_rps=2_000.0,
    request_bytes=2_000,
)
LEG = {"up_bps": 1e8, "down_bps": 1e8}
WORLD = replace(
    snapshot(
        [
            edge("mill", 400, 4, nodes=2, price_usd_per_hour=0.2, link_in_bps=1e8, link_out_bps=1e8),
            edge("quay", 400, 4, price_usd_per_hour=0.2, link_in_bps=1e8, link_out_bps=1e8, egress_usd_per_gb=0.1),
            edge("yard", 128, 2, price_usd_per_hour=0.3),
            edge("attic"),
            cloud(egress_usd_per_gb=0.1, front_bps=1e9),
        ],
        [
            relay_leg("mill", 4.0, **LEG),
            relay_leg("quay", 6.0, **LEG),
            relay_leg("yard", 8.0, **LEG),
            relay_leg("attic", 500.0, **LEG),
            cloud_leg(9.0, **LEG),
        ],
        [DIGITS, WORDS],
        [claim("yard", DIGITS), claim("quay", DIGITS, version="digits-1")],
    ),
    quotas=(QuotaSpec("default", "all", Resources(4_000 * MIB, 16_000)),),
)
DECISION = place(WORLD, SETTINGS, 0)


def rules_broken(world: Snapshot, decision: Decision) -> set[str]:
    return {violation.rule for violation in audit(world, SETTINGS, decision).violations}


def test_the_decision_that_is_spoilt_below_is_valid_and_says_something_of_everything() -> None:
    found = audit(WORLD, SETTINGS, DECISION)
    assert [str(violation) for violation in found.violations] == []
    digits, words = DECISION.services
    assert digits.shortfalls
    assert words.unserved
    assert found.usd_per_hour == pytest.approx(digits.costs.total + words.costs.total)
    assert found.unserved_value == pytest.approx(words.unserved[0].share * 2_000 / 2_900)
    assert min(digits.costs.replicas, digits.costs.egress, digits.costs.latency, digits.costs.changes) > 0


def of(name: str, change: Callable[[ServiceDecision], ServiceDecision]) -> Callable[[Decision], Decision]:
    def changed(decision: Decision) -> Decision:
        return replace(decision, services=tuple(change(s) if s.service.name == name else s for s in decision.services))

    return changed


def priced(usd: float) -> Callable[[Decision], Decision]:
    price = ShadowPrice(("memory", "mill", "mill-1"), usd, "MiB")
    return lambda decision: replace(decision, prices=(*decision.prices, price))


def chosen(site: str, **changed: object) -> Callable[[ServiceDecision], ServiceDecision]:
    def change(decided: ServiceDecision) -> ServiceDecision:
        assert site in {one.site for one in decided.chosen}
        there = tuple(replace(o, **changed) if o.site == site else o for o in decided.chosen)  # type: ignore[arg-type]
        return replace(decided, chosen=there)

    return change


def more(site: str, count: int) -> Callable[[ServiceDecision], ServiceDecision]:
    def change(decided: ServiceDecision) -> ServiceDecision:
        (has,) = (one.replicas for one in decided.chosen if one.site == site)
        return chosen(site, replicas=has + count)(decided)

    return change


def without(field: str) -> Callable[[ServiceDecision], ServiceDecision]:
    """The first of the field's entries."""

    def change(decided: ServiceDecision) -> ServiceDecision:
        assert getattr(decided, field)
        return replace(decided, **{field: getattr(decided, field)[1:]})

    return change


def entry(field: str, at: int = 0, **changed: object) -> Callable[[ServiceDecision], ServiceDecision]:
    def change(decided: ServiceDecision) -> ServiceDecision:
        entries = list(getattr(decided, field))
        entries[at] = replace(entries[at], **changed)
        return replace(decided, **{field: tuple(entries)})

    return change


def shifted(source: str, target: str, part: float) -> Callable[[ServiceDecision], ServiceDecision]:
    """A part of the callers goes to another site."""

    def change(decided: ServiceDecision) -> ServiceDecision:
        by = {source: -part, target: part}
        assert by.keys() <= {share.site for share in decided.shares}
        return replace(decided, shares=tuple(replace(s, share=s.share + by.get(s.site, 0.0)) for s in decided.shares))

    return change


SPOILT: dict[str, tuple[Callable[[Decision], Decision], str]] = (
    {
        "a replica more": (of("digits", more("mill", 1)), "costs.replicas"),
        "a replica less": (of("digits", more("mill", -1)), "costs.replicas"),
        "a replica less than the calls need": (of("words", more("cloud", -1)), "calls per replica"),
        "a hundred replicas more": (of("digits", more("mill", 100)), "memory"),
        "no replicas": (of("digits", chosen("mill", replicas=0)), "chosen"),
        "another variant": (of("digits", chosen("mill", variant=Variant.LITERT_INT8)), "chosen"),
        "a site that is not there": (of("digits", entry("chosen", site=SiteName("nowhere"))), "chosen"),
        "a chosen site left out": (of("digits", without("chosen")), "share"),
        "calls moved": (of("digits", shifted("mill", "quay", 0.2)), "costs.latency"),
        "a share lowered": (of("digits", shifted("mill", "mill", -0.1)), "shares"),
        "a share left out": (of("words", without("shares")), "shares"),
        "a stand-by that no calls reach": (of("digits", without("shares")), "chosen"),
        "a share of nobody's zone": (of("digits", entry("shares", zone="nobody")), "share"),
        "a share below 0": (of("digits", shifted("yard", "mill", 0.9)), "share"),
        "another estimate": (of("digits", lambda d: entry("shares", response_ms=d.shares[1].response_ms)(d)), "path"),
        "other legs": (of("digits", lambda d: entry("shares", legs=d.shares[1].legs)(d)), "path"),
        "unserved calls dropped": (of("words", without("unserved")), "shares"),
        "unserved calls without the nearest site": (of("words", entry("unserved", nearest=None)), "unserved"),
        "a refused site left out": (of("digits", without("refused")), "refused"),
        "a refused site twice": (of("digits", lambda d: replace(d, refused=d.refused * 2)), "refused"),
        "a refusal without a detail": (of("digits", entry("refused", detail="")), "refused"),
        "a wrong reason": (of("words", lambda d: entry("refused", reason="banned")(d)), "reason"),
        "a shortfall dropped": (of("digits", without("shortfalls")), "affinity.pins"),
        "a shortfall that says another figure": (of("digits", entry("shortfalls", wanted=2.0)), "affinity.pins"),
        "another version": (of("digits", lambda d: replace(d, version=WORDS.version.ref)), "version"),
        "another policy": (of("digits", lambda d: replace(d, policy="other")), "policy"),
        "another price": (of("digits", lambda d: replace(d, usd_per_hour=d.usd_per_hour * 1.001)), "usd_per_hour"),
        "a total of its own": (lambda d: replace(d, usd_per_hour=d.usd_per_hour + 0.01), "usd_per_hour"),
        "another objective": (
            lambda d: replace(d, objective_usd_per_hour=d.objective_usd_per_hour * 1.001),
            "objective_usd_per_hour",
        ),
        "a bound above the objective": (lambda d: replace(d, lower_bound_usd_per_hour=1e9), "lower_bound_usd_per_hour"),
        "a negative price": (priced(-1.0), "prices"),
        "a price that is no number": (priced(float("nan")), "prices"),
        "a service left out": (lambda d: replace(d, services=d.services[1:]), "services"),
        "a service twice": (lambda d: replace(d, services=d.services * 2), "services"),
    }
    | {
        f"another cost of {term}": (
            of("digits", lambda d, term=term: replace(d, costs=d.costs + Costs(**{term: 0.001}))),  # type: ignore[misc]
            f"costs.{term}",
        )
        for term in ("replicas", "egress", "latency", "unserved", "changes")
    }
    | {
        f"another cost of {term} at a site": (
            of("digits", entry("chosen", costs=Costs(**{term: 99.0}))),
            f"costs.{term}",
        )
        for term in ("replicas", "egress", "latency")
    }
)


def test_prices_prove_what_one_service_at_one_site_costs() -> None:
    """A call per second costs 0.147 USD/h: at less each is paid for, at more the site takes back what is too much."""
    wanted = service(replace(POLICY, usd_per_unserved_call=1.0), rate_rps=500.0)
    world = snapshot([edge("mill", price_usd_per_hour=1.0)], [relay_leg("mill", 10)], [wanted])
    decision = place(world, SETTINGS, 0)
    cost = decision.objective_usd_per_hour
    assert cost == pytest.approx(500 * 0.147, rel=0.01)
    for usd, proven in ((0.0, 0.0), (0.1, 50.0), (0.2, cost), (9.0, cost)):
        price = ShadowPrice(("demand", "default/digits", "callers"), usd, "calls/s")
        found = audit(world, SETTINGS, replace(decision, prices=(price,)))
        assert found.proven_usd_per_hour == pytest.approx(proven)


@pytest.mark.parametrize("name", SPOILT)
def test_a_decision_spoilt_in_one_way_is_refused(name: str) -> None:
    spoil, rule = SPOILT[name]
    assert rule in rules_broken(WORLD, spoil(DECISION))


def policy(**changed: object) -> Callable[[Snapshot], Snapshot]:
    """Of the service `digits`."""
    return spec(lambda one: replace(one, policy=replace(one.policy, **changed)))  # type: ignore[arg-type]


def spec(change: Callable[[ServiceSpec], ServiceSpec]) -> Callable[[Snapshot], Snapshot]:
    def changed(world: Snapshot) -> Snapshot:
        return replace(world, services=tuple(change(s) if s.ref == DIGITS.ref else s for s in world.services))

    return changed


def site(name: str, **changed: object) -> Callable[[Snapshot], Snapshot]:
    def change(world: Snapshot) -> Snapshot:
        sites = tuple(replace(s, **changed) if s.name == name else s for s in world.sites)  # type: ignore[arg-type]
        return replace(world, sites=sites)

    return change


def legs(**changed: object) -> Callable[[Snapshot], Snapshot]:
    def change(world: Snapshot) -> Snapshot:
        paths = (replace(p, legs=tuple(replace(leg, **changed) for leg in p.legs)) for p in world.paths)  # type: ignore[arg-type]
        return replace(world, paths=tuple(paths))

    return change


def held(*claims: Claim) -> Callable[[Snapshot], Snapshot]:
    return lambda world: replace(world, claims=(*world.claims, *claims))


def nodes(*cores: int) -> tuple[NodeSpec, ...]:
    return tuple(NodeSpec(NodeName(f"mill-{at}"), Resources(200 * MIB, each)) for at, each in enumerate(cores))


HUGE = Resources(300 * MIB, 100)
OTHER = service(name="other", version="other-1")
TIGHTENED: dict[str, tuple[Callable[[Snapshot], Snapshot], str]] = {
    "latency.p99_ms": (policy(latency_p99_ms=6.0), "latency.p99_ms"),
    "old samples": (policy(max_sample_age_s=0.1), "stability.max_sample_age_s"),
    "jurisdiction of a site": (policy(jurisdictions=frozenset({"US"})), "residency.jurisdictions"),
    "jurisdiction of a region passed": (
        lambda w: policy(jurisdictions=frozenset({"EU"}))(site("cloud", jurisdiction="US")(w)),
        "residency.jurisdictions",
    ),
    "bans": (policy(bans=frozenset({SiteName("mill")})), "affinity.bans"),
    "burst_to_cloud": (
        lambda w: replace(
            w, services=tuple(replace(s, policy=replace(s.policy, burst_to_cloud=False)) for s in w.services)
        ),
        "cost.burst_to_cloud",
    ),
    "required": (spec(lambda s: replace(s, rules=(SiteRule(SiteName("mill"), "false", 0.0),))), "required"),
    "accuracy": (policy(accuracy_min=0.99), "accuracy.min"),
    "reachable": (site("mill", reachable=False), "reachable"),
    "memory of a site": (site("mill", capacity=Resources(60 * MIB, 4_000)), "memory"),
    "compute of a site": (site("mill", capacity=Resources(400 * MIB, 900)), "compute"),
    "compute of its nodes": (site("mill", nodes=nodes(*[900] * 4)), "nodes"),
    "a job's claim": (held(replace(claim("quay", OTHER), need=HUGE)), "memory"),
    "a draining claim": (held(replace(claim("quay", DIGITS, ClaimPhase.DRAINING, number=7), need=HUGE)), "memory"),
    "a predecessor's claim": (held(replace(claim("quay", DIGITS, version="digits-0", number=8), need=HUGE)), "memory"),
    "link into a site": (site("mill", link_in_bps=1e5), "link"),
    "link out of a site": (site("mill", link_out_bps=1e5), "link"),
    "fronts": (site("cloud", front_bps=1e6), "link"),
    "legs": (legs(down_bps=1e5), "path"),
    "WAN of a zone": (policy(wan_bps_per_zone=1e6), "bandwidth.wan_mbps_per_zone"),
    "target utilisation": (
        spec(lambda s: replace(s, demands=(replace(s.demands[0], rate_rps=5e3),))),
        "calls per replica",
    ),
    "replicas.max": (policy(replicas_max=3), "replicas.max"),
    "replicas.min": (policy(replicas_min=9), "replicas.min"),
    "failure domains": (policy(min_failure_domains=5), "replicas.min_failure_domains"),
    "share of a domain": (policy(max_share_per_domain=0.5), "replicas.max_share_per_domain"),
    "anti-affinity at a site": (
        policy(anti_affinity=(AntiAffinity(WORDS.ref, Within.SITE),)),
        "affinity.anti_affinity",
    ),
    "anti-affinity in a domain": (
        lambda w: policy(anti_affinity=(AntiAffinity(WORDS.ref, Within.FAILURE_DOMAIN),))(
            site("yard", failure_domain="cloud")(w)
        ),
        "affinity.anti_affinity",
    ),
    "anti-affinity to what runs unwanted": (
        lambda w: policy(anti_affinity=(AntiAffinity(OTHER.ref, Within.SITE),))(held(claim("mill", OTHER))(w)),
        "affinity.anti_affinity",
    ),
    "pins": (policy(pins=(Pin(SiteName("mill"), 9), Pin(SiteName("gone"), 1))), "affinity.pins"),
    "quota of memory": (
        lambda w: replace(w, quotas=(QuotaSpec("default", "q", Resources(64 * MIB, 99_000)),)),
        "quota memory_mib",
    ),
    "quota of cores": (
        lambda w: replace(w, quotas=(QuotaSpec("default", "q", Resources(9_999 * MIB, 999)),)),
        "quota cores",
    ),
    "cost cap": (policy(max_usd_per_hour=0.1), "cost.max_usd_per_hour"),
    "prices": (site("mill", price_usd_per_hour=9.0), "costs.replicas"),
    "egress": (site("quay", egress_usd_per_gb=9.0), "costs.egress"),
    "price of waiting": (policy(usd_per_hour_waited=9.0), "costs.latency"),
    "price of a start": (policy(usd_per_start=9.0), "costs.changes"),
    "what runs": (held(claim("mill", DIGITS, number=5)), "costs.changes"),
}


@pytest.mark.parametrize("name", TIGHTENED)
def test_a_rule_that_the_decision_does_not_keep_is_named(name: str) -> None:
    tighten, rule = TIGHTENED[name]
    assert rule in rules_broken(tighten(WORLD), DECISION)
