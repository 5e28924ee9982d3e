"""What each rule of a policy changes. A 1 ms variant takes 600 calls/s and answers in 4.45 ms at p99."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from orchestrator.model.claims import Claim
from orchestrator.model.ids import ServiceRef, SiteName
from orchestrator.model.legs import Leg
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Refusal, ServiceDecision
from orchestrator.model.specs import (
    AntiAffinity,
    Pin,
    QuotaSpec,
    ServiceSpec,
    SiteSpec,
    Variant,
    Within,
    ZoneSpec,
)
from orchestrator.placement import place
from tests.placement.worlds import (
    MIB,
    POLICY,
    SETTINGS,
    ZONE,
    by_service,
    claim,
    cloud,
    cloud_leg,
    counts,
    decide,
    edge,
    reasons,
    refusal,
    relay_leg,
    service,
    shares,
    snapshot,
    variant,
)

A, B, C = edge("edge-a"), edge("edge-b"), edge("edge-c")
LEGS = [relay_leg("edge-a", 10), relay_leg("edge-b", 20), relay_leg("edge-c", 30)]
WAITED_MS = 10 + 4.454  # of a call to edge-a


def several(
    sites: Sequence[SiteSpec],
    services: Sequence[ServiceSpec],
    claims: Sequence[Claim] = (),
    quotas: Sequence[QuotaSpec] = (),
    legs: Sequence[Leg] = LEGS,
) -> dict[str, ServiceDecision]:
    world = replace(snapshot(sites, legs, services, claims), quotas=tuple(quotas))
    return by_service(place(world, SETTINGS, 0))


def against(decided: ServiceDecision) -> Refusal:
    """What stands against the nearest site for the one zone that nobody serves."""
    (left,) = decided.unserved
    assert left.share == 1.0
    assert left.nearest is not None
    return left.nearest.reason


def rules(decided: ServiceDecision) -> list[str]:
    return [shortfall.rule for shortfall in decided.shortfalls]


def apart(*names: str, within: Within = Within.SITE) -> tuple[AntiAffinity, ...]:
    return tuple(AntiAffinity(ServiceRef("default", name), within) for name in names)


# ---- pins and bans


def test_a_pinned_site_holds_its_replicas_and_the_best_one_serves() -> None:
    decided = decide([A, B, C], LEGS, service(replace(POLICY, pins=(Pin(SiteName("edge-c"), 2),))))
    assert counts(decided) == {"edge-a": 1, "edge-c": 2}
    assert shares(decided) == {"edge-a": 1.0, "edge-c": 0.0}
    assert "its pin" in decided.chosen[1].reason
    assert decided.shortfalls == ()


@pytest.mark.parametrize(
    ("pinned", "changed", "said"),
    [
        ("edge-c", {"jurisdictions": frozenset({"EU"})}, "residency"),
        ("edge-z", {}, "there is no Site of that name"),
        ("edge-b", {"latency_p99_ms": 20.0}, "too-slow"),
        ("edge-b", {"replicas_max": 1}, "replicas-max"),
        ("cloud", {"burst_to_cloud": False}, "burst-to-cloud"),
    ],
)
def test_a_pin_that_cannot_be_kept_is_planned_around_and_said(
    pinned: str, changed: dict[str, object], said: str
) -> None:
    pins = (Pin(SiteName("edge-a"), 1), Pin(SiteName(pinned), 1))
    policy = replace(POLICY, pins=pins, **changed)  # type: ignore[arg-type]
    sites = [A, B, replace(C, jurisdiction="US"), cloud()]
    decided = decide(sites, [*LEGS, cloud_leg(1)], service(policy))
    assert "edge-a" in counts(decided)
    (shortfall,) = decided.shortfalls
    assert (shortfall.rule, shortfall.actual, shortfall.wanted) == ("affinity.pins", 0, 1)
    assert said in shortfall.detail


def test_a_banned_site_holds_nothing_although_it_runs() -> None:
    wanted = service(replace(POLICY, bans=frozenset({SiteName("edge-a")})))
    decided = decide([A, B], LEGS, wanted, [claim("edge-a", wanted)])
    assert counts(decided) == {"edge-b": 1}
    assert reasons(decided) == {"edge-a": Refusal.BANNED}


def test_without_burst_no_region_is_taken() -> None:
    legs = [*LEGS, cloud_leg(1)]
    assert counts(decide([A, cloud()], legs, service())) == {"cloud": 1}
    decided = decide([A, cloud()], legs, service(replace(POLICY, burst_to_cloud=False)))
    assert counts(decided) == {"edge-a": 1}
    assert reasons(decided) == {"cloud": Refusal.BURST_TO_CLOUD}


# ---- neighbours


def test_services_kept_apart_share_no_site_whoever_says_it() -> None:
    shy, other = service(replace(POLICY, anti_affinity=apart("zebra")), name="ant"), service(name="zebra")
    decided = several([A, B], [shy, other])
    assert (counts(decided["ant"]), counts(decided["zebra"])) == ({"edge-a": 1}, {"edge-b": 1})
    refused = refusal(decided["zebra"], "edge-a")
    assert refused.reason is Refusal.ANTI_AFFINITY
    assert "default/ant holds edge-a" in refused.detail


def test_services_kept_apart_by_domain_share_none() -> None:
    hall = [replace(A, failure_domain="hall"), replace(B, failure_domain="hall"), C]
    shy = service(replace(POLICY, anti_affinity=apart("zebra", within=Within.FAILURE_DOMAIN)), name="ant")
    decided = several(hall, [shy, service(name="zebra")])
    assert (counts(decided["ant"]), counts(decided["zebra"])) == ({"edge-a": 1}, {"edge-c": 1})


def test_a_neighbour_that_runs_is_not_driven_out_by_an_equal_one() -> None:
    shy, other = service(replace(POLICY, anti_affinity=apart("zebra")), name="ant"), service(name="zebra")
    decided = several([A, B], [shy, other], [claim("edge-a", other)])
    assert (counts(decided["ant"]), counts(decided["zebra"])) == ({"edge-b": 1}, {"edge-a": 1})
    urgent = replace(shy, policy=replace(shy.policy, priority=1))
    decided = several([A, B], [urgent, other], [claim("edge-a", other)])
    assert (counts(decided["ant"]), counts(decided["zebra"])) == ({"edge-a": 1}, {"edge-b": 1})


def test_a_new_rule_separates_two_that_run_together() -> None:
    shy, other = service(replace(POLICY, anti_affinity=apart("zebra")), name="ant"), service(name="zebra")
    decided = several([A, B], [shy, other], [claim("edge-a", other), claim("edge-a", shy)])
    assert (counts(decided["ant"]), counts(decided["zebra"])) == ({"edge-a": 1}, {"edge-b": 1})


def test_a_cycle_of_anti_affinities_is_planned_in_order_and_the_last_is_told_why() -> None:
    names = ("ant", "bee", "cat")
    ring = [service(replace(POLICY, anti_affinity=apart(*(set(names) - {name}))), name=name) for name in names]
    decided = several([A, B], ring)
    assert [counts(decided[name]) for name in names] == [{"edge-a": 1}, {"edge-b": 1}, {}]
    assert reasons(decided["cat"]) == {"edge-a": Refusal.ANTI_AFFINITY, "edge-b": Refusal.ANTI_AFFINITY}
    assert against(decided["cat"]) is Refusal.ANTI_AFFINITY


def test_a_service_is_not_kept_apart_from_itself_and_that_is_said() -> None:
    decided = decide([A], LEGS, service(replace(POLICY, anti_affinity=apart("digits", "nobody"))))
    assert counts(decided) == {"edge-a": 1}
    assert rules(decided) == ["affinity.anti_affinity"]


# ---- spread and survival


def test_no_failure_domain_carries_more_than_its_share() -> None:
    hall = [replace(A, failure_domain="hall"), replace(B, failure_domain="hall"), C]
    policy = replace(POLICY, max_share_per_domain=0.75)
    decided = decide(hall, LEGS, service(policy))
    assert shares(decided) == pytest.approx({"edge-a": 0.75, "edge-c": 0.25})
    assert reasons(decided) == {"edge-b": Refusal.DOMAIN_SHARE}
    alone = decide(hall[:2], LEGS, service(policy))
    assert alone.unserved[0].share == pytest.approx(0.25)


def test_a_domains_share_is_of_all_the_services_calls() -> None:
    """Half of the calls come from the hall and stay there; the callers' half must then go elsewhere."""
    lan = ZoneSpec(SiteName("hall"), None, SiteName("edge-a"))  # type: ignore[arg-type]
    wanted = service(replace(POLICY, max_share_per_domain=0.5), zones=["callers", "hall"])
    decided = decide([A, B], LEGS, wanted, zones=[ZONE, lan])
    assert shares(decided, "hall") == {"edge-a": 1.0}
    assert shares(decided, "callers") == {"edge-a": 0.0, "edge-b": 1.0}


@pytest.mark.parametrize(
    ("rate_rps", "expected"), [(0.0, [1, 1]), (100.0, [1, 1]), (1_000.0, [2, 2]), (1_300.0, [3, 3])]
)
def test_one_more_site_stands_by_for_all_calls(rate_rps: float, expected: list[int]) -> None:
    policy = replace(POLICY, survive_site_losses=1)
    decided = decide([A, B, C], LEGS, service(policy, rate_rps=rate_rps))
    assert list(counts(decided).values()) == expected
    assert shares(decided) == {"edge-a": 1.0, "edge-b": 0.0}
    assert decided.shortfalls == ()
    assert "loss of another site" in decided.chosen[1].reason


def test_slack_is_kept_on_links_too() -> None:
    """10 Mbit/s of calls: edge-b's link would not bear them, so edge-c stands by."""
    wanted = service(replace(POLICY, survive_site_losses=1), request_bytes=12_500, response_bytes=0)
    thin = replace(B, link_in_bps=5e6)
    assert counts(decide([A, B, C], LEGS, wanted)) == {"edge-a": 1, "edge-b": 1}
    decided = decide([A, thin, C], LEGS, wanted)
    assert counts(decided) == {"edge-a": 1, "edge-b": 1, "edge-c": 1}
    assert decided.shortfalls == ()


def test_the_wan_cap_holds_on_the_day_of_a_loss_and_is_not_counted_twice() -> None:
    policy = replace(POLICY, survive_site_losses=1, wan_bps_per_zone=10e6)
    decided = decide([A, B], LEGS, service(policy, request_bytes=12_500, response_bytes=0))
    assert (counts(decided), decided.shortfalls) == ({"edge-a": 1, "edge-b": 1}, ())


def test_a_later_service_does_not_take_the_slack_of_a_link() -> None:
    """edge-b's 10 Mbit/s are kept for the first service's calls, on the day on which edge-a is gone."""
    first = service(replace(POLICY, survive_site_losses=1), name="ant", request_bytes=12_500, response_bytes=0)
    second = service(name="bee", request_bytes=12_500, response_bytes=0)
    sites = [edge("edge-a", memory_mib=100), replace(B, link_in_bps=10e6)]
    decided = several(sites, [first, second])
    assert counts(decided["ant"]) == {"edge-a": 1, "edge-b": 1}
    assert against(decided["bee"]) is Refusal.BANDWIDTH


def test_a_loss_that_cannot_be_survived_is_said_and_the_rest_is_placed() -> None:
    lan = ZoneSpec(SiteName("hall"), None, SiteName("edge-a"))  # type: ignore[arg-type]
    wanted = service(replace(POLICY, survive_site_losses=1), zones=["callers", "hall"])
    decided = decide([A, B], LEGS, wanted, zones=[ZONE, lan])
    assert counts(decided) == {"edge-a": 1, "edge-b": 1}
    (shortfall,) = decided.shortfalls
    assert (shortfall.rule, shortfall.actual, shortfall.wanted) == ("replicas.survive_site_losses", 0.0, 1.0)
    assert "without edge-a nobody takes 100% of zone hall" in shortfall.detail


def test_what_the_policy_lacks_is_said_by_field() -> None:
    decided = decide([A], LEGS, service(replace(POLICY, replicas_min=20, min_failure_domains=2)))
    assert rules(decided) == ["replicas.min", "replicas.min_failure_domains"]


# ---- tenants


def test_a_tenants_quota_holds_over_all_sites_and_by_priority() -> None:
    quota = QuotaSpec("default", "small", Resources(1 << 40, 2_000))
    busy = service(name="ant", rate_rps=1_500)  # wants three cores
    urgent = service(replace(POLICY, priority=1), name="zebra")
    decided = several([A, B], [busy, urgent], quotas=[quota])
    assert (counts(decided["zebra"]), counts(decided["ant"])) == ({"edge-a": 1}, {"edge-a": 1})
    assert decided["ant"].unserved[0].share == pytest.approx(0.6)
    nearest = decided["ant"].unserved[0].nearest
    assert nearest is not None
    assert (nearest.reason, nearest.actual, nearest.limit, nearest.unit) == (Refusal.QUOTA, 2.0, 1.0, "cores")
    assert "TenantQuota default/small" in nearest.detail
    other = several([A, B], [busy], quotas=[replace(quota, namespace="elsewhere")])
    assert counts(other["ant"]) == {"edge-a": 3}


def test_what_runs_counts_once_and_a_predecessor_not_beside_its_successor() -> None:
    quota = QuotaSpec("default", "tight", Resources(64 * MIB, 1 << 40))
    running, rival = service(name="zebra"), service(name="ant")
    held = [claim("edge-a", running)]
    decided = several([A, B], [running, rival], held, quotas=[quota])
    assert (counts(decided["zebra"]), counts(decided["ant"])) == ({"edge-a": 1}, {})
    assert set(reasons(decided["ant"]).values()) == {Refusal.QUOTA}
    succeeded = several([A, B], [running], [claim("edge-a", running, version="digits-1")], quotas=[quota])
    assert counts(succeeded["zebra"]) == {"edge-a": 1}


# ---- costs


def test_the_costs_of_a_decision_by_term() -> None:
    """100 calls/s that wait 14.454 ms are 1.4454 hours of waiting an hour; 400 bytes of a request leave the region."""
    dear, region = replace(A, price_usd_per_hour=0.02, egress_usd_per_gb=0.5), cloud(egress_usd_per_gb=0.1)
    decided = decide([dear, region], LEGS, service(replace(POLICY, usd_per_hour_waited=3.0)))
    (chosen,) = decided.chosen
    assert chosen.costs.replicas == pytest.approx(0.02)
    assert chosen.costs.latency == pytest.approx(0.1 * WAITED_MS * 3.0, rel=1e-3)
    assert chosen.costs.egress == pytest.approx(100 * 3600 * (400 * 0.1 + 100 * 0.5) / 1e9)
    assert decided.costs == chosen.costs
    nowhere = decide([replace(A, reachable=False)], LEGS, service(replace(POLICY, usd_per_unserved_call=0.001)))
    assert nowhere.costs.unserved == nowhere.costs.total == pytest.approx(100 * 3600 * 0.001)


@pytest.mark.parametrize(("usd_per_hour_waited", "taken"), [(0.08, "edge-a"), (0.2, "cloud")])
def test_latency_and_price_trade_in_one_objective(usd_per_hour_waited: float, taken: str) -> None:
    """The region costs 0.1 USD/h more and saves 0.9 hours of waiting an hour."""
    policy = replace(POLICY, usd_per_hour_waited=usd_per_hour_waited)
    decided = decide([A, cloud()], [relay_leg("edge-a", 10), cloud_leg(1)], service(policy))
    assert counts(decided) == {taken: 1}
    if taken == "edge-a":
        refused = refusal(decided, "cloud")
        assert (refused.reason, refused.unit) == (Refusal.OUTRANKED, "USD/h")
        assert "latency.usd_per_hour_waited" in refused.detail


def test_egress_counts_where_calls_leave_a_site() -> None:
    """36 GB an hour of answers: at edge-a, behind a metered link, each GB costs."""
    wanted = service(request_bytes=0, response_bytes=100_000)
    legs = [relay_leg("edge-a", 10), relay_leg("edge-b", 12)]
    assert counts(decide([A, B], legs, wanted)) == {"edge-a": 1}
    metered = replace(A, egress_usd_per_gb=0.1)
    assert counts(decide([metered, B], legs, wanted)) == {"edge-b": 1}
    lan = ZoneSpec(SiteName("callers"), None, SiteName("edge-a"))  # type: ignore[arg-type]
    assert decide([metered, B], legs, wanted, zones=[lan]).costs.egress == 0


def test_calls_that_cost_more_than_they_are_worth_are_left_unserved() -> None:
    """1,201 calls/s take three replicas at 0.1 USD/h, the third for one call; replicas.min pays the first."""
    worth = replace(POLICY, usd_per_unserved_call=1e-4, usd_per_hour_waited=0.0)
    assert counts(decide([cloud()], [cloud_leg(2)], service(worth, rate_rps=1_201))) == {"cloud": 3}
    most = decide([cloud()], [cloud_leg(2)], service(replace(worth, usd_per_unserved_call=1e-7), rate_rps=1_201))
    assert counts(most) == {"cloud": 2}
    assert most.unserved[0].share == pytest.approx(1 / 1_201)
    mean = replace(worth, usd_per_unserved_call=1e-8)
    left = decide([cloud()], [cloud_leg(2)], service(mean, rate_rps=1_201))
    assert counts(left) == {"cloud": 1}  # replicas.min is kept, and carries what it can
    (missed,) = left.unserved
    assert missed.share == pytest.approx(601 / 1_201)
    assert missed.nearest
    assert missed.nearest.reason is Refusal.COST


@pytest.mark.parametrize(
    ("changed", "taken"),
    [
        ({}, "edge-b"),
        ({"usd_per_start": 5.0}, "edge-a"),
        ({"usd_per_stop": 5.0}, "edge-a"),
        ({"usd_per_start": 5.0, "horizon_s": 36_000.0}, "edge-b"),
    ],
)
def test_a_move_earns_its_start_and_stop_within_the_horizon(changed: dict[str, float], taken: str) -> None:
    """edge-b saves 0.5 hours of waiting an hour, 5 USD of 10 each, less min_gain."""
    wanted = service(replace(POLICY, **changed))  # type: ignore[arg-type]
    legs = [relay_leg("edge-a", 20), relay_leg("edge-b", 15)]
    decided = decide([A, B], legs, wanted, [claim("edge-a", wanted)])
    assert counts(decided) == {taken: 1}
    moved = taken == "edge-b"
    starts_and_stops = changed.get("usd_per_start", 0.0) + changed.get("usd_per_stop", 0.0)
    per_hour = starts_and_stops * 3600 / changed.get("horizon_s", 3600.0)
    assert decided.costs.changes == pytest.approx(per_hour if moved else 0.0)
    assert counts(decide([A, B], legs, wanted)) == {"edge-b": 1}  # nothing runs: both would have to start


# ---- links


@pytest.mark.parametrize(
    ("site", "region"),
    [
        (replace(A, link_in_bps=8e6), cloud()),
        (replace(A, link_out_bps=2e6), cloud()),
        (A, cloud(front_bps=10e6)),
    ],
)
def test_links_of_sites_and_fronts_are_shared_by_services(site: SiteSpec, region: SiteSpec) -> None:
    """100 calls/s bring 8 and take 2 Mbit/s: room for one of two services."""
    pair = [service(name=name, request_bytes=10_000, response_bytes=2_500) for name in ("ant", "bee")]
    decided = several([site, region], pair, legs=LEGS[:1])
    assert shares(decided["ant"]) == {"edge-a": 1.0}
    assert against(decided["bee"]) is Refusal.BANDWIDTH
    wide = several([A, cloud()], pair, legs=LEGS[:1])
    assert shares(wide["bee"]) == {"edge-a": 1.0}


def test_calls_on_a_lan_do_not_use_the_sites_link() -> None:
    lan = ZoneSpec(SiteName("callers"), None, SiteName("edge-a"))  # type: ignore[arg-type]
    wanted = service(request_bytes=10_000)
    assert shares(decide([replace(A, link_in_bps=1e3)], [], wanted, zones=[lan])) == {"edge-a": 1.0}


# ---- freezes


def frozen(**changed: object) -> ServiceSpec:
    return replace(service(), freeze="Fri 16:00-Mon 06:00 UTC", **changed)  # type: ignore[arg-type]


def test_a_frozen_service_stays_where_it_is_however_much_better_another_site_is() -> None:
    wanted = frozen()
    legs = [relay_leg("edge-a", 300), relay_leg("edge-b", 1)]
    decided = decide([A, B], legs, wanted, [claim("edge-a", wanted)])
    assert counts(decided) == {"edge-a": 1}
    assert reasons(decided) == {"edge-b": Refusal.FROZEN}
    assert "Fri 16:00-Mon 06:00 UTC" in refusal(decided, "edge-b").detail
    thawed = decide([A, B], legs, replace(wanted, freeze=None), [claim("edge-a", wanted)])
    assert counts(thawed) == {"edge-b": 1}


def test_a_frozen_service_keeps_its_count_and_variant_and_a_new_one_starts() -> None:
    built = (variant(Variant.LITERT_INT8, 20), variant(Variant.LITERT_FP32))
    wanted = frozen(version=service(variants=built).version)
    held = [claim("edge-a", wanted, number=number) for number in range(3)]
    decided = decide([A, B], LEGS, wanted, held)
    assert [(one.site, one.replicas, one.variant) for one in decided.chosen] == [("edge-a", 3, Variant.LITERT_INT8)]
    assert counts(decide([A, B], LEGS, wanted)) == {"edge-a": 1}


def test_in_a_freeze_what_is_lost_is_replaced_and_what_is_lacking_is_added() -> None:
    wanted = frozen()
    gone = replace(A, reachable=False, nodes=(), capacity=Resources())
    assert counts(decide([gone, B], LEGS, wanted, [claim("edge-a", wanted)])) == {"edge-b": 1}
    busy = replace(wanted, demands=service(rate_rps=1_000).demands)
    assert counts(decide([edge("edge-a", cores=1), B], LEGS, busy, [claim("edge-a", busy)])) == {
        "edge-a": 1,
        "edge-b": 1,
    }


def test_a_hard_rule_holds_in_a_freeze_and_a_higher_priority_does_not_drive_out() -> None:
    wanted = frozen(policy=replace(POLICY, bans=frozenset({SiteName("edge-a")})))
    assert counts(decide([A, B], LEGS, wanted, [claim("edge-a", wanted)])) == {"edge-b": 1}
    small, running = edge("edge-a", memory_mib=100), replace(service(name="zebra"), freeze="now")
    urgent = service(replace(POLICY, priority=1), name="ant")
    decided = several([small], [urgent, running], [claim("edge-a", running)])
    assert (counts(decided["zebra"]), counts(decided["ant"])) == ({"edge-a": 1}, {})
