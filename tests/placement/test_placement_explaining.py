"""What a decision says of itself: refusals counted by reason, by how much they missed, and margins in both units."""

from dataclasses import replace

import pytest

from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Refusal, RefusalCount, ServiceDecision
from orchestrator.model.specs import Variant
from tests.placement.worlds import (
    MIB,
    POLICY,
    claim,
    cloud,
    decide,
    edge,
    refusal,
    relay_leg,
    service,
    variant,
)


def counted(decided: ServiceDecision) -> dict[Refusal, RefusalCount]:
    (left,) = decided.unserved
    return {count.reason: count for count in left.refused}


def test_sites_are_counted_by_reason_with_the_nearest_few() -> None:
    names = [f"edge-{letter}" for letter in "abcdef"]
    slow = [relay_leg(name, 60 + number) for number, name in enumerate(names)]
    small = [edge("small-a", memory_mib=40), edge("small-b", memory_mib=60)]
    legs = [*slow, relay_leg("small-a", 10), relay_leg("small-b", 10)]
    decided = decide([*(edge(name) for name in names), *small, edge("far")], legs, service())
    found = counted(decided)
    assert [(reason, count.sites) for reason, count in found.items()] == [
        (Refusal.TOO_SLOW, 6),
        (Refusal.MEMORY, 2),
        (Refusal.NO_PATH, 1),
    ]
    assert [one.site for one in found[Refusal.TOO_SLOW].nearest] == names[:3]
    assert found[Refusal.TOO_SLOW].missed == pytest.approx(24.454, abs=1e-3)
    assert ([one.site for one in found[Refusal.MEMORY].nearest], found[Refusal.MEMORY].missed) == (
        ["small-b", "small-a"],
        4.0,
    )
    assert found[Refusal.NO_PATH].missed is None


def test_a_chosen_site_that_could_not_take_the_rest_counts_too() -> None:
    decided = decide([edge("edge-a", memory_mib=100)], [relay_leg("edge-a", 10)], service(rate_rps=900))
    (count,) = counted(decided).values()
    (nearest,) = count.nearest
    assert (count.reason, nearest.site, nearest.node, nearest.missed) == (Refusal.MEMORY, "edge-a", "edge-a-0", 28.0)
    assert nearest.detail.startswith("one more replica needs 64 MiB, node edge-a-0 of edge-a has 36 left")


def test_replicas_that_no_longer_fit_are_missed_from_the_limit_on() -> None:
    policy = replace(POLICY, replicas_max=2)
    decided = decide([edge("edge-a")], [relay_leg("edge-a", 10)], service(policy, rate_rps=3_000))
    (nearest,) = counted(decided)[Refusal.REPLICAS_MAX].nearest
    assert (nearest.actual, nearest.limit) == (3.0, 2.0)
    capped = replace(POLICY, max_usd_per_hour=0.25)
    sites, legs = [edge("edge-a", price_usd_per_hour=0.1)], [relay_leg("edge-a", 10)]
    (nearest,) = counted(decide(sites, legs, service(capped, rate_rps=3_000)))[Refusal.COST].nearest
    assert (nearest.actual, nearest.limit) == (pytest.approx(0.3), 0.25)


def test_too_slow_names_the_largest_term() -> None:
    """100 kB over 1 Mbit/s, of which one transfer counts on a quarter, take 3,200 ms."""
    legs = [relay_leg("edge-a", 60), relay_leg("edge-b", 10, down_bps=1e6), relay_leg("edge-c", 1)]
    sites = [edge("edge-a"), edge("edge-b"), edge("edge-c", hardware_class="slow")]
    wanted = service(request_bytes=100_000, variants=[variant(Variant.LITERT_FP32, p50_ms=1)])
    decided = decide(sites[:2], legs, wanted)
    found = {one.site: one.terms for one in decided.refused}
    assert found["edge-a"] is not None  # type: ignore[index]
    assert found["edge-a"].largest == ("round trip", 60.0)  # type: ignore[index,union-attr]
    assert found["edge-b"].largest == ("transfer", 3_200.0)  # type: ignore[index,union-attr]
    busy = decide(sites[2:], legs, service(variants=[variant(Variant.LITERT_FP32, p50_ms=30)]))
    terms = refusal(busy, "edge-c").terms
    assert terms is not None
    assert terms.largest == ("service time", pytest.approx(133.6, abs=0.1))
    assert refusal(busy, "edge-c").actual == pytest.approx(terms.round_trip_ms + terms.transfer_ms + terms.service_ms)


def test_of_variants_that_are_all_too_slow_the_quickest_is_told() -> None:
    variants = [variant(Variant.LITERT_FP32, p50_ms=10), variant(Variant.LITERT_INT8, p50_ms=5)]
    decided = decide([edge("edge-a")], [relay_leg("edge-a", 30)], service(variants=variants))
    assert refusal(decided, "edge-a").actual == pytest.approx(30 + 5 * 4.454, abs=0.01)


def test_the_node_that_lacks_least_is_named() -> None:
    """The first has no core left, the second lacks 34 MiB."""
    site = edge("edge-a", memory_mib=60, cores=4, nodes=2)
    blocked = replace(claim("edge-a", service(name="other")), need=Resources(0, 2_000))
    found = refusal(decide([site], [relay_leg("edge-a", 10)], service(), [blocked]), "edge-a")
    assert (found.reason, found.node, found.missed) == (Refusal.MEMORY, "edge-a-1", 34.0)


def test_what_is_claimed_beyond_the_offer_is_lacking_too() -> None:
    site = edge("edge-a", memory_mib=40)
    blocked = replace(claim("edge-a", service(name="other")), need=Resources(50 * MIB, 0))
    found = refusal(decide([site], [relay_leg("edge-a", 10)], service(), [blocked]), "edge-a")
    assert (found.limit, found.missed) == (-10.0, 74.0)


def test_the_margin_to_the_next_best_is_told_in_both_units() -> None:
    """The region is nearer but its core costs: 100 calls/s that wait 10 ms longer are 10 USD/h."""
    sites = [edge("edge-a"), cloud(price_usd_per_hour=30.0)]
    legs = [relay_leg("edge-a", 15), replace(relay_leg("edge-a", 5), source="front/f1", target="region/cloud")]
    (chosen,) = decide(sites, legs, service()).chosen
    assert (chosen.site, chosen.next_best, chosen.margin_ms) == ("edge-a", "cloud", pytest.approx(-10.0))
    assert chosen.margin_usd_per_hour == pytest.approx(30.0 - 10.0)
    (alone,) = decide(sites[:1], legs[:1], service()).chosen
    assert (alone.next_best, alone.margin_ms, alone.margin_usd_per_hour) == (None, None, None)
