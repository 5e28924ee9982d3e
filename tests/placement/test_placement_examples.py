"""Decisions that a reader can check by hand. A 1 ms variant takes 600 calls/s and answers in 4.45 ms at p99."""

from dataclasses import replace

import pytest

from orchestrator.model.claims import Claim, JobHold
from orchestrator.model.ids import FrontName, JobRef, ReplicaId, SiteName, ZoneName
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Refusal
from orchestrator.model.specs import HardwareProfile, Pin, Variant, ZoneSpec
from orchestrator.placement import place
from orchestrator.placement.paths import compose
from tests.placement.worlds import (
    FP32,
    FRONTS,
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
NO_LIMIT = replace(POLICY, latency_p99_ms=None)
SERVICE_P99_MS = 4.454  # 1 ms * (1 + ln(100) * 0.6 / (2 * 0.4))


def test_the_quickest_site_is_taken_and_the_next_best_is_named() -> None:
    decided = decide([A, B], [relay_leg("edge-a", 20), relay_leg("edge-b", 10)], service())
    (chosen,) = decided.chosen
    assert (chosen.site, chosen.replicas, chosen.next_best) == ("edge-b", 1, "edge-a")
    assert chosen.cost_ms == pytest.approx(10 + SERVICE_P99_MS, abs=0.01)
    assert chosen.margin_ms == pytest.approx(10.0)
    assert shares(decided) == {"edge-b": 1.0}
    refused = refusal(decided, "edge-a")
    assert refused.reason is Refusal.OUTRANKED
    assert (refused.actual, refused.limit) == pytest.approx((20 + SERVICE_P99_MS, 10 + SERVICE_P99_MS), abs=0.01)
    assert decided.shares[0].legs == ("site/edge-b -> front/f1 10.0 ms, 0.5 s old",)


def test_a_slowed_site_is_left_with_the_numbers() -> None:
    wanted = service()
    running = [claim("edge-a", wanted)]
    before = decide([A, B], [relay_leg("edge-a", 10), relay_leg("edge-b", 20)], wanted, running)
    after = decide([A, B], [relay_leg("edge-a", 90), relay_leg("edge-b", 20)], wanted, running)
    assert counts(before) == {"edge-a": 1}
    assert counts(after) == {"edge-b": 1}
    refused = refusal(after, "edge-a")
    assert (refused.reason, refused.limit, refused.unit) == (Refusal.TOO_SLOW, 40.0, "ms")
    assert refused.actual == pytest.approx(90 + SERVICE_P99_MS, abs=0.01)
    assert "SLO 40 ms, edge-a 94.5 ms" in refused.detail


def test_an_impossible_policy_names_the_nearest_site_and_its_margin() -> None:
    decided = decide([A, B], [relay_leg("edge-a", 60), relay_leg("edge-b", 47.9)], service())
    assert decided.chosen == ()
    (left,) = decided.unserved
    assert (left.share, left.nearest and left.nearest.site) == (1.0, "edge-b")
    assert left.nearest is not None
    assert left.nearest.detail == "SLO 40 ms, nearest edge-b 52.4 ms"


@pytest.mark.parametrize(("rival_ms", "kept"), [(19.0, True), (17.0, False)])
def test_a_running_site_is_left_only_for_more_than_min_gain(rival_ms: float, kept: bool) -> None:
    """At 20 + 4.45 ms and min_gain 0.1 another must be below 22.0 ms, its leg below 17.55."""
    wanted = service()
    legs = [relay_leg("edge-a", 20), relay_leg("edge-b", rival_ms)]
    decided = decide([A, B], legs, wanted, [claim("edge-a", wanted)])
    assert counts(decided) == {"edge-a" if kept else "edge-b": 1}
    assert decided.chosen[0].kept_by_hysteresis is kept
    if kept:
        assert "runs already" in refusal(decided, "edge-b").detail


def test_a_predecessors_site_is_kept_for_the_successor() -> None:
    wanted = service()
    legs = [relay_leg("edge-a", 20), relay_leg("edge-b", 19)]
    decided = decide([A, B], legs, wanted, [claim("edge-a", wanted, version="digits-1")])
    assert counts(decided) == {"edge-a": 1}


def test_a_draining_replica_keeps_no_site() -> None:
    wanted = service()
    legs = [relay_leg("edge-a", 20), relay_leg("edge-b", 19)]
    decided = decide([A, B], legs, wanted, [claim("edge-a", wanted, ClaimPhase.DRAINING)])
    assert counts(decided) == {"edge-b": 1}


def test_preference_ranks_before_cost() -> None:
    legs = [relay_leg("edge-a", 30), cloud_leg(1)]
    decided = decide([A, cloud()], legs, service(preferred=["edge-a"]))
    assert counts(decided) == {"edge-a": 1}
    assert "prefers edge-a by 10" in refusal(decided, "cloud").detail


def test_equal_costs_go_to_the_cheaper_and_then_to_the_least_name() -> None:
    legs = [relay_leg("edge-a", 10), relay_leg("edge-b", 10), relay_leg("edge-c", 10)]
    assert counts(decide([C, B, A], legs, service())) == {"edge-a": 1}
    dear = replace(A, price_usd_per_hour=0.1)
    assert counts(decide([C, B, dear], legs, service())) == {"edge-b": 1}


def test_replicas_follow_the_rate_and_the_rest_spills() -> None:
    """600 calls/s each: 1,500 need three; edge-a has room for two."""
    small = edge("edge-a", cores=2)
    legs = [relay_leg("edge-a", 10), relay_leg("edge-b", 20)]
    decided = decide([small, B], legs, service(rate_rps=1_500))
    assert counts(decided) == {"edge-a": 2, "edge-b": 1}
    assert shares(decided) == pytest.approx({"edge-a": 0.8, "edge-b": 0.2})


def test_what_no_site_can_take_is_unserved_with_what_was_full() -> None:
    small = edge("edge-a", cores=2)
    decided = decide([small], [relay_leg("edge-a", 10)], service(rate_rps=1_500))
    (left,) = decided.unserved
    assert left.share == pytest.approx(0.2)
    assert left.nearest is not None
    assert (left.nearest.site, left.nearest.reason) == ("edge-a", Refusal.COMPUTE)


def test_one_replica_must_fit_one_node() -> None:
    """Two nodes of 50 MiB do not hold a replica of 64."""
    halved = edge("edge-a", memory_mib=100, nodes=2)
    refused = refusal(decide([halved], [relay_leg("edge-a", 10)], service()), "edge-a")
    assert (refused.reason, refused.actual, refused.limit, refused.unit) == (Refusal.MEMORY, 64, 50, "MiB")


def test_claims_of_jobs_and_draining_replicas_count() -> None:
    small, wanted = edge("edge-a", memory_mib=150, cores=16), service()
    job = Claim(
        id=ReplicaId("job/default/train"),
        site=SiteName("edge-a"),
        node=None,
        need=Resources(100 * MIB, 1_000),
        phase=ClaimPhase.BOUND,
        hold=JobHold(JobRef("default", "train")),
        decision=None,
        epoch=1,
        since_s=0.0,
    )
    legs = [relay_leg("edge-a", 10)]
    draining = [claim("edge-a", wanted, ClaimPhase.DRAINING, number=n) for n in range(2)]
    assert counts(decide([small], legs, wanted)) == {"edge-a": 1}
    assert reasons(decide([small], legs, wanted, [job])) == {"edge-a": Refusal.MEMORY}
    assert reasons(decide([small], legs, wanted, draining)) == {"edge-a": Refusal.MEMORY}


def test_its_own_running_replica_does_not_stand_in_its_way_but_a_predecessor_does() -> None:
    small, wanted, legs = edge("edge-a", memory_mib=100), service(), [relay_leg("edge-a", 10)]
    assert counts(decide([small], legs, wanted, [claim("edge-a", wanted)])) == {"edge-a": 1}
    beside = decide([small], legs, wanted, [claim("edge-a", wanted, version="digits-1")])
    assert reasons(beside) == {"edge-a": Refusal.MEMORY}


def test_higher_priority_takes_capacity_first_and_equal_priority_displaces_nobody() -> None:
    small, legs = edge("edge-a", memory_mib=100), [relay_leg("edge-a", 10)]
    running = service(name="zebra")
    claims = [claim("edge-a", running)]
    rival = service(name="ant")
    kept = by_service(place(snapshot([small], legs, [rival, running], claims), SETTINGS, 0))
    assert (counts(kept["zebra"]), counts(kept["ant"])) == ({"edge-a": 1}, {})
    urgent = service(replace(POLICY, priority=1), name="ant")
    taken = by_service(place(snapshot([small], legs, [urgent, running], claims), SETTINGS, 0))
    assert (counts(taken["zebra"]), counts(taken["ant"])) == ({}, {"edge-a": 1})


def test_replicas_min_spreads_over_sites_that_stand_by() -> None:
    legs = [relay_leg("edge-a", 10), relay_leg("edge-b", 20), relay_leg("edge-c", 30)]
    decided = decide([A, B, C], legs, service(replace(POLICY, replicas_min=2)))
    assert counts(decided) == {"edge-a": 1, "edge-b": 1}
    assert shares(decided) == {"edge-a": 1.0, "edge-b": 0.0}


def test_failure_domains_go_before_latency_for_the_stand_by() -> None:
    hall = [replace(A, failure_domain="hall"), replace(B, failure_domain="hall"), C]
    legs = [relay_leg("edge-a", 10), relay_leg("edge-b", 11), relay_leg("edge-c", 30)]
    decided = decide(hall, legs, service(replace(POLICY, replicas_min=2, min_failure_domains=2)))
    assert counts(decided) == {"edge-a": 1, "edge-c": 1}


def test_replicas_max_keeps_room_for_the_failure_domains() -> None:
    """2,400 calls/s want four replicas; of three at most, one is kept for the second domain."""
    hall = [replace(A, failure_domain="hall"), replace(B, failure_domain="hall"), C]
    legs = [relay_leg("edge-a", 10), relay_leg("edge-b", 11), relay_leg("edge-c", 30)]
    policy = replace(POLICY, replicas_max=3, min_failure_domains=2)
    decided = decide(hall, legs, service(policy, rate_rps=2_400))
    assert counts(decided) == {"edge-a": 2, "edge-c": 1}
    assert reasons(decided) == {"edge-b": Refusal.FAILURE_DOMAIN}
    assert decided.unserved[0].share == pytest.approx(0.25)


def test_too_few_failure_domains_are_said() -> None:
    decided = decide([A], [relay_leg("edge-a", 10)], service(replace(POLICY, replicas_min=2, min_failure_domains=2)))
    assert counts(decided) == {"edge-a": 2}
    assert "only 1 of 2 failure domains" in decided.chosen[0].reason


def test_the_cost_cap_counts_all_replicas() -> None:
    """0.1 USD/h each: two fit in 0.25."""
    policy = replace(POLICY, max_usd_per_hour=0.25)
    decided = decide([cloud()], [cloud_leg(2)], service(policy, rate_rps=1_800))
    assert counts(decided) == {"cloud": 2}
    assert decided.usd_per_hour == pytest.approx(0.2)
    assert decided.unserved[0].share == pytest.approx(1 / 3)
    assert decided.unserved[0].nearest is not None
    assert decided.unserved[0].nearest.reason is Refusal.COST


def test_the_wan_cap_of_a_zone_spills_to_nobody_and_says_so() -> None:
    """100 calls/s of 12,500 bytes both ways are 10 Mbit/s; half of it may leave the zone."""
    policy = replace(POLICY, wan_bps_per_zone=5e6)
    wanted = service(policy, request_bytes=12_000, response_bytes=500)
    decided = decide([A, B], [relay_leg("edge-a", 10), relay_leg("edge-b", 12)], wanted)
    assert shares(decided) == pytest.approx({"edge-a": 0.5})
    assert reasons(decided) == {"edge-b": Refusal.BANDWIDTH}
    assert decided.unserved[0].share == pytest.approx(0.5)


def test_a_full_leg_spills_to_the_next_site() -> None:
    """4 Mbit/s of requests; they travel a relay leg against the direction that the agent measured it in."""
    wanted = service(replace(POLICY, latency_p99_ms=None), request_bytes=5_000, response_bytes=0)
    legs = [relay_leg("edge-a", 10, down_bps=1e6, up_bps=1e9), relay_leg("edge-b", 300)]
    assert shares(decide([A, B], legs, wanted)) == pytest.approx({"edge-a": 0.25, "edge-b": 0.75})
    turned = [relay_leg("edge-a", 10, down_bps=1e9, up_bps=1e6), relay_leg("edge-b", 300)]
    assert shares(decide([A, B], turned, wanted)) == {"edge-a": 1.0}


def test_transfer_counts_with_its_share_of_the_link() -> None:
    """10,000 bytes over a quarter of 16 Mbit/s take 20 ms."""
    wanted = service(request_bytes=10_000, response_bytes=0, rate_rps=1)
    decided = decide([A], [relay_leg("edge-a", 10, down_bps=16e6, up_bps=1e3)], wanted)
    assert decided.chosen[0].cost_ms == pytest.approx(10 + 20 + SERVICE_P99_MS, abs=0.01)


def test_a_hard_objective_is_not_judged_by_an_old_sample_and_without_one_age_only_widens() -> None:
    legs = [relay_leg("edge-a", 10, age_s=50.0)]
    refused = refusal(decide([A], legs, service()), "edge-a")
    assert (refused.reason, refused.actual, refused.limit) == (Refusal.STALE_LEG, 50.0, 30.0)
    decided = decide([A], legs, service(replace(POLICY, latency_p99_ms=None)))
    response = decided.shares[0].response_ms
    assert response.high - response.expected == pytest.approx(5.0)  # half of the round trip after 50 s
    assert response.low == pytest.approx(8 + 2)  # the usual round trip, and the slowest call on an idle replica


def test_what_the_samples_do_not_know_of_the_p99_widens_the_interval_and_refuses_nothing() -> None:
    known = relay_leg("edge-a", 10, age_s=0.0)
    unsure = replace(known, rtt_p99_low_ms=9.0, rtt_p99_high_ms=200.0)
    plain, wide = (decide([A], [leg], service()).shares[0].response_ms for leg in (known, unsure))
    assert wide.expected == plain.expected
    assert (wide.low, wide.high) == pytest.approx((9 + 2, 200 + SERVICE_P99_MS), abs=0.01)
    old = decide([A], [replace(unsure, age_s=25.0)], service()).shares[0].response_ms
    assert (old.low, old.high) == pytest.approx((8.75 + 2, 202.5 + SERVICE_P99_MS), abs=0.01)


def test_slow_transfers_are_in_the_high_end_only() -> None:
    """10,000 bytes over a quarter of 16 Mbit/s take 20 ms, of 8 Mbit/s 40 ms."""
    wanted = service(request_bytes=10_000, response_bytes=0, rate_rps=1)
    leg = relay_leg("edge-a", 10, age_s=0.0, down_bps=16e6, down_p10_bps=8e6, up_bps=1e3, up_p10_bps=1.0)
    response = decide([A], [leg], wanted).shares[0].response_ms
    assert response.expected == pytest.approx(10 + 20 + SERVICE_P99_MS, abs=0.01)
    assert response.high - response.expected == pytest.approx(20)


def test_a_fresh_front_is_used_where_the_quicker_ones_sample_is_old() -> None:
    legs = [relay_leg("edge-a", 5, front="f1", age_s=300.0), relay_leg("edge-a", 12, front="f2")]
    paths = compose([ZONE], [A], legs, FRONTS | {FrontName("f2"): "cloud"})
    world = replace(snapshot([A], legs, [service()]), paths=paths)
    (decided,) = place(world, SETTINGS, 0).services
    assert decided.shares[0].legs == ("site/edge-a -> front/f2 12.0 ms, 0.5 s old",)


def test_residency_binds_the_site_and_the_region_that_calls_pass() -> None:
    policy = replace(POLICY, jurisdictions=frozenset({"EU"}))
    legs = [relay_leg("edge-a", 10), cloud_leg(1)]
    abroad = replace(A, jurisdiction="US")
    decided = decide([abroad, cloud()], legs, service(policy))
    assert counts(decided) == {"cloud": 1}
    assert reasons(decided) == {"edge-a": Refusal.RESIDENCY}
    over_abroad = decide([A, cloud(jurisdiction="US")], legs, service(policy))
    assert over_abroad.chosen == ()
    assert reasons(over_abroad) == {"edge-a": Refusal.RESIDENCY, "cloud": Refusal.RESIDENCY}
    undeclared = decide([A], legs, service(policy))
    assert "has no Site object" in refusal(undeclared, "edge-a").detail


def test_callers_on_a_lan_reach_their_own_site_only() -> None:
    lan = ZoneSpec(ZoneName("hall"), None, SiteName("edge-b"))
    decided = decide([A, B], [relay_leg("edge-a", 1)], service(zones=["hall"]), zones=[lan])
    assert counts(decided) == {"edge-b": 1}
    assert decided.chosen[0].cost_ms == pytest.approx(SERVICE_P99_MS, abs=0.01)
    assert reasons(decided) == {"edge-a": Refusal.NO_PATH}


def test_a_zone_with_one_way_out_opens_the_site_that_others_can_share() -> None:
    lan = ZoneSpec(ZoneName("hall"), None, SiteName("edge-b"))
    wanted = service(replace(POLICY, replicas_max=1), zones=["callers", "hall"])
    legs = [relay_leg("edge-a", 10), relay_leg("edge-b", 20)]
    decided = decide([A, B], legs, wanted, zones=[ZONE, lan])
    assert counts(decided) == {"edge-b": 1}
    assert (shares(decided, "callers"), shares(decided, "hall")) == ({"edge-b": 1.0}, {"edge-b": 1.0})
    assert decided.unserved == ()


@pytest.mark.parametrize(
    ("site", "variants", "accuracy_min", "expected"),
    [
        ("edge-a", ("litert-int8", "litert-fp32"), None, Variant.LITERT_FP32),
        ("edge-a", ("litert-int8", "litert-fp32"), 0.9, Variant.LITERT_INT8),
        ("edge-a", ("litert-int8", "litert-fp32"), 0.96, Variant.LITERT_FP32),
        ("edge-a", ("savedmodel",), None, Refusal.NO_VARIANT),
        ("edge-a", ("litert-int8",), 0.96, Refusal.ACCURACY),
        ("cloud", ("savedmodel",), None, Variant.SAVEDMODEL),
        ("cloud", ("savedmodel", "litert-fp16"), None, Variant.LITERT_FP16),
    ],
)
def test_the_variant_is_chosen_by_site_and_accuracy(
    site: str, variants: tuple[str, ...], accuracy_min: float | None, expected: Variant | Refusal
) -> None:
    known = {
        "litert-int8": variant(Variant.LITERT_INT8, memory_mib=20, accuracy=0.95),
        "litert-fp16": variant(Variant.LITERT_FP16, memory_mib=40),
        "litert-fp32": variant(Variant.LITERT_FP32, memory_mib=64),
        "savedmodel": variant(Variant.SAVEDMODEL, memory_mib=400),
    }
    wanted = service(replace(POLICY, accuracy_min=accuracy_min), [known[name] for name in variants])
    place_of = {"edge-a": (A, relay_leg("edge-a", 10)), "cloud": (cloud(), cloud_leg(1))}
    decided = decide([place_of[site][0]], [place_of[site][1]], wanted)
    if isinstance(expected, Refusal):
        assert reasons(decided) == {site: expected}
    else:
        assert [chosen.variant for chosen in decided.chosen] == [expected]


def test_a_smaller_variant_is_taken_where_the_precise_one_does_not_fit() -> None:
    wanted = service(variants=[variant(Variant.LITERT_FP32, 300), variant(Variant.LITERT_INT8, 50)])
    decided = decide([edge("edge-a", memory_mib=100)], [relay_leg("edge-a", 10)], wanted)
    assert [chosen.variant for chosen in decided.chosen] == [Variant.LITERT_INT8]


def test_a_silent_site_is_refused_after_what_is_forbidden() -> None:
    policy = replace(POLICY, jurisdictions=frozenset({"EU"}))
    silent = replace(A, reachable=False)
    legs = [relay_leg("edge-a", 10)]
    assert reasons(decide([silent, cloud()], legs, service(policy)))["edge-a"] is Refusal.UNREACHABLE
    abroad = replace(silent, jurisdiction="US")
    assert reasons(decide([abroad, cloud()], legs, service(policy)))["edge-a"] is Refusal.RESIDENCY


def test_the_bound_is_of_all_that_was_minimised() -> None:
    """Replicas and waiting; 100 calls/s that wait 10 ms and the service's p99."""
    cheap = replace(A, price_usd_per_hour=0.02)
    found = place(snapshot([cheap], [relay_leg("edge-a", 10)], [service()]), SETTINGS, 0)
    waited = 100 * found.services[0].shares[0].response_ms.expected / 1000 * 10
    assert found.objective_usd_per_hour == pytest.approx(0.02 + waited)
    assert found.lower_bound_usd_per_hour == pytest.approx(found.objective_usd_per_hour)
    assert found.gap == pytest.approx(0, abs=1e-6)
    assert found.bound == "branch and bound"


def test_a_site_is_judged_by_what_was_measured_on_its_hardware() -> None:
    """1 ms anywhere, 20 ms on a pi: 30 calls/s fit on one replica there, and it answers in 89 ms."""
    profiled = replace(FP32, profiles=(HardwareProfile("pi", 20.0, 25.0, None),))
    wanted = service(replace(POLICY, latency_p99_ms=50.0), [profiled], rate_rps=60)
    legs = [relay_leg("edge-a", 5), relay_leg("edge-b", 20)]
    decided = decide([edge("edge-a", hardware_class="pi"), B], legs, wanted)
    assert counts(decided) == {"edge-b": 1}
    refused = refusal(decided, "edge-a")
    assert refused.reason is Refusal.TOO_SLOW
    assert refused.actual == pytest.approx(5 + 20 * SERVICE_P99_MS, abs=0.1)
    on_pis = decide([edge("edge-a", hardware_class="pi")], legs, replace(wanted, policy=NO_LIMIT))
    assert counts(on_pis) == {"edge-a": 2}
    assert counts(decide([A, B], legs, wanted)) == {"edge-a": 1}  # no profile for their class


def test_the_slowest_call_that_was_measured_on_the_hardware_counts_where_it_is_more_than_waiting() -> None:
    profiled = replace(FP32, profiles=(HardwareProfile("pi", 1.0, 90.0, None),))
    decided = decide([edge("edge-a", hardware_class="pi")], [relay_leg("edge-a", 5)], service(NO_LIMIT, [profiled]))
    assert decided.chosen[0].cost_ms == pytest.approx(5 + 90)


def test_a_replica_takes_the_memory_that_was_measured_on_the_hardware() -> None:
    profiled = replace(FP32, profiles=(HardwareProfile("jetson", 1.0, 2.0, 600 * MIB),))
    small = edge("edge-a", memory_mib=500, hardware_class="jetson")
    refused = refusal(decide([small], [relay_leg("edge-a", 5)], service(variants=[profiled])), "edge-a")
    assert (refused.reason, refused.actual, refused.limit) == (Refusal.MEMORY, 600, 500)
    assert counts(decide([replace(small, hardware_class="any")], [relay_leg("edge-a", 5)], service())) == {"edge-a": 1}
    roomy = edge("edge-a", memory_mib=1300, hardware_class="jetson")
    wanted = service(replace(POLICY, replicas_min=3), [profiled])
    assert counts(decide([roomy], [relay_leg("edge-a", 5)], wanted)) == {"edge-a": 2}


def test_which_variant_is_smallest_depends_on_the_hardware() -> None:
    """Where an accuracy is given, the least memory wins."""
    policy = replace(POLICY, accuracy_min=0.9)
    fp16 = variant(Variant.LITERT_FP16, memory_mib=40)
    int8 = replace(variant(Variant.LITERT_INT8, memory_mib=32), profiles=(HardwareProfile("pi", 1.0, 2.0, 48 * MIB),))
    for hardware_class, taken in (("any", Variant.LITERT_INT8), ("pi", Variant.LITERT_FP16)):
        sites = [edge("edge-a", hardware_class=hardware_class)]
        decided = decide(sites, [relay_leg("edge-a", 5)], service(policy, [fp16, int8]))
        assert decided.chosen[0].variant is taken


def test_the_bound_knows_what_hardware_takes() -> None:
    """20 ms on the region's hardware: 30 calls/s a replica, so 100 calls/s need four at 0.1 USD/h, and cost no less."""
    profiled = replace(FP32, profiles=(HardwareProfile("old", 20.0, 25.0, None),))
    decided = place(
        snapshot([cloud(hardware_class="old")], [cloud_leg(1)], [service(NO_LIMIT, [profiled])]), SETTINGS, 0
    )
    assert decided.usd_per_hour == pytest.approx(0.4)
    assert decided.services[0].costs.total == pytest.approx(decided.lower_bound_usd_per_hour)


def test_of_too_many_sites_the_nearest_are_looked_at_and_where_it_runs_or_is_pinned() -> None:
    sites = [edge(f"edge-{number}") for number in range(6)]
    legs = [relay_leg(f"edge-{number}", 35 - 5 * number) for number in range(6)]
    pinned = replace(POLICY, pins=(Pin(SiteName("edge-1"), 1),), replicas_min=2)
    wanted = service(pinned)
    world = snapshot(sites, legs, [wanted], [claim("edge-0", wanted)])
    (decided,) = place(world, replace(SETTINGS, most_pairs=3), 0).services
    far = [f"edge-{number}" for number in (2, 3, 4)] + ["cloud"]
    assert {one.site for one in decided.refused if one.reason is Refusal.TOO_MANY} <= set(far)
    assert {one.site for one in decided.chosen} <= {"edge-0", "edge-1", "edge-5"}
    told = refusal(decided, "edge-2")
    assert (told.reason, told.actual, told.limit) == (Refusal.TOO_MANY, 6, 3)
    assert told.detail == "of 6 sites the nearest 3 are looked at: divide the fleet, or its services"
